"""Positron emitters: half-life, range of the positrons, and decay."""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.types.pet import Isotope

_HALF_LIFE_SOURCE = "assumption: nuclear data as evaluated in ENSDF (National Nuclear Data Center), from memory"
_RANGE_SOURCE = (
    "assumption: mean range in water as commonly tabulated (compare Conti & Eriksson, EJNMMI Phys 3:8, 2016, "
    "doi 10.1186/s40658-016-0144-5), from memory"
)


def _isotope(name: str, half_life_s: float, range_mm: float) -> Isotope:
    return Isotope(name, half_life_s, _HALF_LIFE_SOURCE, range_mm, _RANGE_SOURCE)


#: The isotopes known by name.
ISOTOPES: Final[dict[str, Isotope]] = {
    isotope.name: isotope
    for isotope in (
        _isotope("18F", 109.77 * 60, 0.6),
        _isotope("64Cu", 12.701 * 3600, 0.7),
        _isotope("68Ga", 67.71 * 60, 3.5),
        _isotope("89Zr", 78.41 * 3600, 1.3),
        _isotope("124I", 4.1760 * 86400, 3.4),
    )
}
_ELEMENTS = {
    "f": "F",
    "fluorine": "F",
    "cu": "Cu",
    "copper": "Cu",
    "ga": "Ga",
    "gallium": "Ga",
    "zr": "Zr",
    "zirconium": "Zr",
    "i": "I",
    "iodine": "I",
}


def find_isotope(text: str) -> Isotope | None:
    """The isotope that ``F18``, ``18F``, ``F-18``, ``Fluorine-18`` or ``^18^Fluorine`` names, or None."""
    number, letters = re.findall(r"\d+", text), re.findall(r"[a-z]+", text.lower())
    if len(number) != 1 or len(letters) != 1 or letters[0] not in _ELEMENTS:
        return None
    return ISOTOPES.get(number[0] + _ELEMENTS[letters[0]])


def decay_factor(elapsed_s: ArrayLike, half_life_s: float) -> NDArray[np.float64]:
    """Share of an activity that is left after ``elapsed_s`` seconds: 2^(-t/T½)."""
    return np.asarray(np.exp2(-np.asarray(elapsed_s, dtype=np.float64) / half_life_s))


def frame_correction(start_s: ArrayLike, duration_s: ArrayLike, half_life_s: float) -> NDArray[np.float64]:
    """What a frame's mean must be multiplied by to give the activity at time 0.

    The mean of 2^(-t/T½) over the frame, inverted: 2^(start/T½) · λD / (1 - exp(-λD)), with λ = ln 2 / T½ and D the
    frame's duration, all in seconds.
    """
    lost = math.log(2) / half_life_s * np.asarray(duration_s, dtype=np.float64)
    return np.asarray(lost / -np.expm1(-lost) / decay_factor(start_s, half_life_s))
