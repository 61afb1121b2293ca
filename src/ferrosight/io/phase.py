"""Stored phase to radians, only where its scaling is beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferrosight.errors import ImageError

#: A wrapped phase image with noise in it reaches both ends of its range to within this share.
_REACHED = 0.97
#: Rounding may carry a value this share past the end of its range.
_ROUNDING = 1.001


@dataclass(frozen=True)
class PhaseConvention:
    """How stored values ``v`` become radians: ``v * rad_per_unit + offset_rad``."""

    rad_per_unit: float
    offset_rad: float
    name: str


_RADIANS = PhaseConvention(1.0, 0.0, "radians")
#: Siemens after the DICOM rescale (slope 2, intercept -4096), and as stored in 12 bits.
_SIEMENS_SIGNED = PhaseConvention(np.pi / 4096, 0.0, "Siemens, ±4096")
_SIEMENS_UNSIGNED = PhaseConvention(np.pi / 2048, -np.pi, "Siemens, 0..4095")
#: Philips: the rescale slope and intercept (1.5345, -3142) lead to milliradians.
_PHILIPS = PhaseConvention(1e-3, 0.0, "Philips, milliradians")


def find_phase_convention(low: float, high: float, units: str, manufacturer: str, path: Path) -> PhaseConvention:
    """How to read the phase of a scan whose stored values, scaled by the header, span ``low`` to ``high``.

    ``units`` and ``manufacturer`` are the sidecar's. Units of ``rad`` need values within ±π or 0..2π. Units
    that are ``arbitrary`` or missing need a manufacturer whose range is known (Siemens ±4096 or 0..4095,
    Philips ±3142) and values that fill it. GE's range was found in no source and is not guessed.

    Raises
    ------
    ImageError
        "phase of unknown scaling", naming ``path``, in every other case.
    """
    found = f"its values span {low:g} to {high:g}"
    unit = units.strip().lower()
    if unit in {"rad", "radian", "radians"}:
        signed = max(-low, high) <= np.pi * _ROUNDING
        unsigned = low >= 0 and high <= 2 * np.pi * _ROUNDING
        if signed or unsigned:
            return _RADIANS
        raise ImageError(
            f"{path}: phase of unknown scaling: its sidecar says Units {units!r}, but {found}, "
            "not ±π or 0..2π; rescale the image or correct Units."
        )
    if unit not in {"", "arbitrary", "a.u.", "au"}:
        raise ImageError(f'{path}: phase of unknown scaling: Units must be "rad" or "arbitrary", but is {units!r}.')
    vendor = manufacturer.strip().lower()
    if "siemens" in vendor:
        if _fills(low, high, -4096, 4096):
            return _SIEMENS_SIGNED
        if _fills(low, high, 0, 4095):
            return _SIEMENS_UNSIGNED
    if "philips" in vendor and _fills(low, high, -1e3 * np.pi, 1e3 * np.pi):
        return _PHILIPS
    raise ImageError(
        f"{path}: phase of unknown scaling: Units is {units or 'missing'!r}, Manufacturer is "
        f"{manufacturer or 'missing'!r} and {found}; rescale the phase to radians and "
        'put "Units": "rad" into its sidecar.'
    )


def _fills(low: float, high: float, bottom: float, top: float) -> bool:
    width = top - bottom
    slack = (_ROUNDING - 1) * width
    inside = low >= bottom - slack and high <= top + slack
    return inside and low <= bottom + (1 - _REACHED) * width and high >= top - (1 - _REACHED) * width
