"""What the JSON sidecars say about an image, by the BIDS inheritance principle."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ferrosight.errors import SidecarError
from ferrosight.io.bids_names import parse_name
from ferrosight.types import PhaseSign

_Value = TypeVar("_Value", str, float, PhaseSign, tuple[float, ...], tuple[float, float, float])
#: Proton gyromagnetic ratio over 2π, MHz per tesla (CODATA 2018: 42.577478518).
_PROTON_MHZ_PER_T = 42.577478518
#: Field strength and imaging frequency may differ by this share: names are rounded ("3 T" is 2.89 T).
_MAX_B0_MISMATCH = 0.05
_MAX_ECHO_TIME_S = 1.0


@dataclass(frozen=True)
class Metadata:
    """The merged sidecars of one image; ``sources`` are the files they came from, outermost first."""

    image: Path
    values: Mapping[str, Any]
    sources: tuple[Path, ...]

    def missing(self, field: str, advice: str) -> SidecarError:
        """The error for a field that no sidecar has."""
        searched = ", ".join(str(path) for path in self.sources) or "no sidecar was found"
        return SidecarError(f"{self.image}: {field} is missing ({searched}); {advice}")

    def wrong(self, field: str, expected: str) -> SidecarError:
        """The error for a field whose value cannot be."""
        return SidecarError(f"{self.image}: {field} must be {expected}, but its sidecar says {self.values[field]!r}.")

    def number(self, field: str) -> float | None:
        """A finite number, or None where the field is absent."""
        value = self.values.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(field, "a number")
        return float(value)

    def text(self, field: str) -> str:
        """A string, "" where the field is absent."""
        value = self.values.get(field, "")
        if not isinstance(value, str):
            raise self.wrong(field, "a string")
        return value.strip()


def read_metadata(image: Path, bids_dir: Path) -> Metadata:
    """Merge every sidecar that applies to ``image``, from ``bids_dir`` down to its own folder.

    A sidecar applies where its suffix is the image's and its entities are some of the image's, with the
    same labels. Deeper folders win; in one folder, more entities win. Two equally specific sidecars of one
    folder that contradict each other are refused.
    """
    name = parse_name(image.name)
    if name is None:
        raise SidecarError(f"{image}: its name is not a BIDS name, so its sidecar cannot be found.")
    inside = image.parent.relative_to(bids_dir)
    folders = [bids_dir.joinpath(*inside.parts[:depth]) for depth in range(len(inside.parts) + 1)]
    values: dict[str, Any] = {}
    sources: list[Path] = []
    for folder in folders:
        layer: dict[str, tuple[int, Path]] = {}
        for n_entities, path in _applicable(folder, name.entities, name.suffix):
            for field, value in _read_object(path).items():
                earlier = layer.get(field)
                if earlier and earlier[0] == n_entities and values[field] != value:
                    raise SidecarError(
                        f"{image}: {earlier[1]} and {path} both apply and disagree about {field} "
                        f"({values[field]!r} and {value!r}); keep one."
                    )
                layer[field] = (n_entities, path)
                values[field] = value
            sources.append(path)
    return Metadata(image, values, tuple(sources))


def _applicable(folder: Path, entities: Mapping[str, str], suffix: str) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob("*.json"):
        name = parse_name(path.name)
        if name and name.extension == ".json" and name.suffix == suffix and name.entities.items() <= entities.items():
            found.append((len(name.entities), path))
    return sorted(found)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SidecarError(f"{path} must be a JSON file, but cannot be read as one ({error}).") from error
    if not isinstance(content, dict):
        raise SidecarError(f"{path} must hold one JSON object, but holds a {type(content).__name__}.")
    return content


def echo_times_s(metadata: Metadata) -> tuple[float, ...] | None:
    """Echo time of each volume of one file, seconds: ``EchoTime`` is a number, or a list for a 4-D file."""
    value = metadata.values.get("EchoTime")
    if value is None:
        return None
    times = value if isinstance(value, list) else [value]
    good = [isinstance(t, int | float) and not isinstance(t, bool) and math.isfinite(t) and t > 0 for t in times]
    if not good or not all(good):
        raise metadata.wrong("EchoTime", "a positive number of seconds, or a list of them")
    if max(times) > _MAX_ECHO_TIME_S:
        raise SidecarError(
            f"{metadata.image}: EchoTime must be in seconds, but is {max(times):g}, which looks like milliseconds; "
            "divide it by 1000."
        )
    return tuple(float(t) for t in times)


def field_strength_t(metadata: Metadata) -> float | None:
    """``MagneticFieldStrength`` in tesla, or what ``ImagingFrequency`` (MHz) implies for protons, or None."""
    stated = metadata.number("MagneticFieldStrength")
    frequency_mhz = metadata.number("ImagingFrequency")
    field = "MagneticFieldStrength" if stated is not None else "ImagingFrequency"
    implied = None if frequency_mhz is None else frequency_mhz / _PROTON_MHZ_PER_T
    if stated is not None and implied is not None and abs(stated - implied) > _MAX_B0_MISMATCH * abs(stated):
        raise SidecarError(
            f"{metadata.image}: MagneticFieldStrength ({stated:g} T) and ImagingFrequency ({frequency_mhz:g} MHz, "
            f"{implied:.4g} T for protons) contradict each other by more than 5 %; correct the wrong one."
        )
    b0_t = stated if stated is not None else implied
    if b0_t is not None and not 0.01 < b0_t < 30:
        unit = "tesla between 0.01 and 30" if stated is not None else "MHz for a field between 0.01 and 30 T"
        raise metadata.wrong(field, f"a number of {unit}")
    return b0_t


def b0_direction(metadata: Metadata) -> tuple[float, float, float] | None:
    """``B0Direction``, a unit vector in scanner RAS+, or None."""
    value = metadata.values.get("B0Direction")
    if value is None:
        return None
    numbers = isinstance(value, list) and len(value) == 3
    if not numbers or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
        raise metadata.wrong("B0Direction", "a list of three numbers (a unit vector in scanner RAS+)")
    length = float(np.linalg.norm(value))
    if not abs(length - 1) <= 1e-3:
        raise metadata.wrong("B0Direction", f"a unit vector (its length is {length:.4g})")
    x, y, z = (float(v) / length for v in value)
    return x, y, z


def phase_sign(metadata: Metadata) -> PhaseSign | None:
    """``PhaseSign``, a field of Ferrosight's own: how stored phase moves where the field is stronger.

    "positive": it grows (phase = +2π f TE); "negative": it falls; "unknown". None where absent: no
    manufacturer is taken to imply a sign.
    """
    value = metadata.text("PhaseSign").lower()
    signs = {sign.name.lower(): sign for sign in PhaseSign}
    if value and value not in signs:
        raise metadata.wrong("PhaseSign", "positive, negative or unknown")
    return signs.get(value)


def agreed_value(field: str, images: Sequence[Metadata], read: Callable[[Metadata], _Value | None]) -> _Value | None:
    """What ``read`` finds in those sidecars that say it, or None; SidecarError names two that differ."""
    stated = [(metadata.image, value) for metadata in images if (value := read(metadata)) is not None]
    if not stated:
        return None
    first_image, first = stated[0]
    for image, value in stated[1:]:
        numbers = not isinstance(value, str) and np.shape(value) == np.shape(first)
        same = np.allclose(value, first, rtol=1e-5, atol=1e-9) if numbers else value == first
        if not same:
            raise SidecarError(
                f"{field} must be the same for {first_image} and {image}, but is {_show(first)} and {_show(value)}; "
                "correct the wrong sidecar."
            )
    return first


def _show(value: object) -> str:
    if isinstance(value, PhaseSign):
        return value.name.lower()
    if isinstance(value, tuple):
        return ", ".join(f"{number:g}" for number in value)
    return f"{value}" or "missing"
