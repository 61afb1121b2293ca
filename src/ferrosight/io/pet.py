"""PET as BIDS lays it out: an image, its sidecar, and what participants.tsv says of the body."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import BidsError, SidecarError
from ferrosight.io.bids_names import IMAGE_EXTENSIONS, clean_label, parse_name, same_label, visit_stem
from ferrosight.io.nifti import read_nifti
from ferrosight.io.sidecars import Metadata, read_metadata
from ferrosight.io.tables import MISSING, read_tsv
from ferrosight.physics.isotopes import decay_factor, find_isotope, frame_correction
from ferrosight.types.pet import PetScan, PetUnit

_LOG = logging.getLogger(__name__)
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_UNITS: dict[str, tuple[PetUnit, float]] = {
    **{
        f"{prefix}Bq/{volume}": (PetUnit.BQ_ML, scale)
        for prefix, scale in _PREFIXES.items()
        for volume in ("mL", "ml", "cm3")
    },
    **dict.fromkeys(("SUV", "SUVbw", "g/mL", "g/ml"), (PetUnit.SUV_BW, 1.0)),
    **{str(unit): (unit, 1.0) for unit in PetUnit if unit.is_suv},
}
#: One curie is 3.7e10 Bq by definition.
_DOSES = {
    **{f"{prefix}Bq": scale for prefix, scale in _PREFIXES.items()},
    "Ci": 3.7e10,
    "mCi": 3.7e7,
    "uCi": 3.7e4,
    "µCi": 3.7e4,
}
_MASSES, _LENGTHS = {"kg": 1.0, "g": 1e-3}, {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_SAME_HALF_LIFE = 0.01
#: A time of injection and one of decay correction that differ by less than this are the same.
_SAME_TIME_S = 1.0


@dataclass(frozen=True)
class PetFile:
    """One PET image of a BIDS folder; labels without their prefix, "" where there is none.

    ``rivals`` names other images whose products would have the same names; such a visit is refused when analysed.
    """

    path: Path
    subject: str
    session: str
    run: str
    tracer: str = ""
    reconstruction: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def bids_dir(self) -> Path:
        """The data set that it lies in: three folders up, four where there is a session."""
        return self.path.parents[3 if self.session else 2]

    @property
    def name(self) -> str:
        """``sub-01[_ses-d07][_trc-FDG][_rec-osem][_run-1]_pet``."""
        stem = visit_stem(
            self.subject, self.session, run=self.run, tracer=self.tracer, reconstruction=self.reconstruction
        )
        return f"{stem}_pet"


def find_pet_files(bids_dir: Path | str, subject: str = "") -> tuple[PetFile, ...]:
    """Every ``sub-X[_ses-Y]…_pet.nii[.gz]`` under ``bids_dir``, sorted; of one subject where one is named."""
    root, wanted = Path(bids_dir), clean_label("sub", subject)
    found = []
    for pattern in ("sub-*/pet/*_pet.nii*", "sub-*/ses-*/pet/*_pet.nii*"):
        for path in root.glob(pattern):
            name = parse_name(path.name)
            if name is None or name.extension not in IMAGE_EXTENSIONS or name.suffix != "pet":
                continue
            owner, session, run, tracer, reconstruction = (
                name.entities.get(entity, "") for entity in ("sub", "ses", "run", "trc", "rec")
            )
            if not wanted or same_label(owner, wanted):
                found.append(PetFile(path, owner, session, run, tracer, reconstruction))
    return tuple(sorted(found, key=lambda file: file.path))


def find_pet_visits(
    bids_dir: Path | str, subjects: Iterable[str] | None = None, sessions: Iterable[str] | None = None
) -> tuple[PetFile, ...]:
    """The PET images of a BIDS folder, sorted; of all subjects and sessions unless some are named; () without any.

    An image whose name does not fit its folder is left out.
    """
    root = Path(bids_dir)
    wanted = None if subjects is None else {clean_label("sub", label) for label in subjects}
    chosen = None if sessions is None else {clean_label("ses", label) for label in sessions}
    by_name: dict[str, list[PetFile]] = {}
    for file in find_pet_files(root):
        parts = (f"sub-{file.subject}", *([f"ses-{file.session}"] if file.session else []), "pet")
        if file.path.parent != root.joinpath(*parts):
            _LOG.warning("%s is left out: its name does not fit its folder.", file.path)
            continue
        if (wanted is None or file.subject in wanted) and (chosen is None or file.session in chosen):
            by_name.setdefault(file.name, []).append(file)
    return tuple(
        replace(files[0], rivals=tuple(file.path.name for file in files) if len(files) > 1 else ())
        for files in by_name.values()
    )


def read_bids_pet(bids_dir: Path | str, subject: str, session: str = "", run: str = "") -> PetScan:
    """Read one PET scan of a BIDS folder, in Bq/mL or SUV.

    Raises
    ------
    BidsError
        Where there is not exactly one such image.
    ImageError, SidecarError
        As ``read_pet_file``.
    """
    root = Path(bids_dir)
    files = [
        file
        for file in find_pet_files(root, subject)
        if same_label(file.session, clean_label("ses", session))
        and (not run or same_label(file.run, clean_label("run", run)))
    ]
    if len(files) != 1:
        names = ", ".join(file.path.name for file in files) or "none"
        raise BidsError(f"{root}: one PET image of sub-{subject} was expected, but found {names}.")
    return read_pet_file(files[0], root)


def read_pet_file(file: PetFile, bids_dir: Path) -> PetScan:
    """Read a PET image with its sidecars and the body of its subject.

    Values are Bq/mL corrected for decay to the scan's start (an image that was not, or to another moment, is corrected
    to it; one that was to the injection stays so), or SUV as stored, never scaled again.

    Raises
    ------
    ImageError
        As ``read_nifti``.
    SidecarError
        Naming the field without which, or because of whose contradiction, the voxels' numbers have no meaning. What
        only uptake values need is kept as a reason in ``PetScan.unknown``.
    """
    metadata = read_metadata(file.path, bids_dir)
    image = read_nifti(file.path)
    unknown: dict[str, str] = {}
    notes: list[str] = []
    unit, scale = _read_unit(metadata)
    half_life_s, isotope = _read_isotope(metadata, unknown)
    starts, durations = _read_frames(metadata, len(image.data))
    origin = float(starts[0])
    injection_s = _read_injection_time(metadata, origin, unknown)
    corrected_to, factors = _read_decay(metadata, unit, starts, durations, half_life_s, injection_s, unknown, notes)
    body = _read_body(metadata, bids_dir, file, unknown)
    injected_bq = _read_dose(metadata, unknown)
    if metadata.text("AttenuationCorrection").lower() in ("none", "false", "no"):
        unknown["attenuation"] = f"{file.path}: AttenuationCorrection is none, so uptake would be low."
    return PetScan(
        data=(image.data * (scale * factors).astype(np.float32)[:, None, None, None]).astype(np.float32),
        unit=unit,
        affine=image.grid.affine,
        frame_start_s=starts - origin,
        frame_duration_s=durations,
        half_life_s=half_life_s,
        isotope=isotope,
        decay_corrected_to=corrected_to,
        injected_bq=injected_bq,
        injection_s=injection_s,
        weight_kg=body[0],
        height_m=body[1],
        sex=body[2],
        subject=file.subject,
        session=file.session,
        run=file.run,
        point_spread_mm=_read_point_spread(metadata),
        unknown=unknown,
        notes=tuple(notes),
    )


def _read_point_spread(metadata: Metadata) -> tuple[float, float, float] | None:
    """``PointSpreadFWHM``, a field of Ferrosight's own: one width, or one per array axis, mm."""
    value = metadata.values.get("PointSpreadFWHM")
    if value is None:
        return None
    widths = value if isinstance(value, list) else [value] * 3
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < math.inf for v in widths)
    if not good or len(widths) != 3:
        raise metadata.wrong("PointSpreadFWHM", "a positive width in mm, or a list of three")
    x, y, z = (float(v) for v in widths)
    return x, y, z


def _read_unit(metadata: Metadata) -> tuple[PetUnit, float]:
    units = metadata.text("Units")
    if not units:
        raise metadata.missing("Units", "add it (Bq/mL, kBq/mL or SUV).")
    if units not in _UNITS:
        raise metadata.wrong("Units", f"one of {', '.join(_UNITS)}")
    return _UNITS[units]


def _read_isotope(metadata: Metadata, unknown: dict[str, str]) -> tuple[float, str]:
    stated, name = metadata.number("RadionuclideHalfLife"), metadata.text("TracerRadionuclide")
    isotope = find_isotope(name)
    if isotope is None:
        if stated is None:
            unknown["half_life_s"] = str(
                metadata.missing("TracerRadionuclide" if not name else "RadionuclideHalfLife", "add it, in seconds.")
            )
        return (math.nan if stated is None else stated), ""
    if stated is not None and abs(stated / isotope.half_life_s - 1) > _SAME_HALF_LIFE:
        unknown["half_life_s"] = (
            f"{metadata.image}: RadionuclideHalfLife is {stated:g} s, but TracerRadionuclide is {name}, whose "
            f"half-life is {isotope.half_life_s:g} s; correct the wrong one."
        )
        return math.nan, isotope.name
    return isotope.half_life_s if stated is None else stated, isotope.name


def _read_frames(metadata: Metadata, n_frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and duration of each frame, seconds from BIDS' time zero."""
    read = []
    for name in ("FrameTimesStart", "FrameDuration"):
        value = metadata.values.get(name)
        if value is None:
            raise metadata.missing(name, "add it, in seconds, one number per frame.")
        numbers = value if isinstance(value, list) else [value]
        good = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers)
        if not good or len(numbers) != n_frames:
            raise metadata.wrong(name, f"a list of {n_frames} numbers, as the image has {n_frames} frames")
        read.append(np.array(numbers, dtype=np.float64))
    return read[0], read[1]


def _read_injection_time(metadata: Metadata, origin: float, unknown: dict[str, str]) -> float:
    """The injection, seconds after the first frame's start."""
    start = metadata.number("InjectionStart")
    if start is None:
        unknown["injection_s"] = str(metadata.missing("InjectionStart", "add it, in seconds from TimeZero."))
        return math.nan
    if start > origin + _SAME_TIME_S:
        unknown["injection_s"] = (
            f"{metadata.image}: InjectionStart ({start:g} s) is after the first of FrameTimesStart ({origin:g} s); "
            "correct the wrong one."
        )
        return math.nan
    return start - origin


def _read_decay(
    metadata: Metadata,
    unit: PetUnit,
    starts: NDArray[np.float64],
    durations: NDArray[np.float64],
    half_life_s: float,
    injection_s: float,
    unknown: dict[str, str],
    notes: list[str],
) -> tuple[Literal["scan", "injection"], NDArray[np.float64]]:
    """The moment that the activity belongs to, and a factor (frame,) that brings it there."""
    factors = np.ones(len(starts))
    corrected, at = metadata.values.get("ImageDecayCorrected"), metadata.number("ImageDecayCorrectionTime")
    problem = ""
    if not isinstance(corrected, bool):
        problem = str(metadata.missing("ImageDecayCorrected", "add it (true or false)."))
    elif corrected and at is None:
        problem = str(metadata.missing("ImageDecayCorrectionTime", "add it, in seconds from TimeZero."))
    if unit.is_suv:
        if problem:
            notes.append(f"{problem} This does not change values that are SUV already.")
        return "injection", factors
    if problem:
        raise SidecarError(problem)
    moved_s = 0.0 if at is None else at - float(starts[0])
    if corrected and abs(moved_s - injection_s) <= _SAME_TIME_S:
        return "injection", factors
    if corrected and moved_s == 0:
        return "scan", factors
    if "half_life_s" in unknown:
        raise SidecarError(unknown["half_life_s"])
    if corrected:
        return "scan", factors * decay_factor(-moved_s, half_life_s)
    return "scan", frame_correction(starts - starts[0], durations, half_life_s)


def _read_dose(metadata: Metadata, unknown: dict[str, str]) -> float:
    """Injected activity, Bq."""
    value, unit = metadata.number("InjectedRadioactivity"), metadata.text("InjectedRadioactivityUnits")
    if value is None or value == 0:
        unknown["injected_bq"] = str(metadata.missing("InjectedRadioactivity", "add what was injected."))
        return math.nan
    if value < 0:
        raise metadata.wrong("InjectedRadioactivity", "positive")
    if unit not in _DOSES:
        unknown["injected_bq"] = (
            f"{metadata.image}: InjectedRadioactivityUnits must be one of {', '.join(_DOSES)}, but is "
            f"{unit or 'missing'}."
        )
        return math.nan
    return value * _DOSES[unit]


def _read_body(metadata: Metadata, bids_dir: Path, file: PetFile, unknown: dict[str, str]) -> tuple[float, float, str]:
    """Weight, kg, height, m, and sex: from the sidecar (PatientWeight, kg, and so on) or participants.tsv."""
    row, units = _read_participant(bids_dir, file.subject)
    weight = _read_size(metadata, "PatientWeight", "weight", row, units, _MASSES, unknown, "weight_kg")
    height = _read_size(metadata, "PatientSize", "height", row, units, _LENGTHS, unknown, "height_m")
    sex = (metadata.text("PatientSex") or row.get("sex", "")).upper()[:1]
    return weight, height, sex if sex in ("M", "F") else ""


def _read_participant(bids_dir: Path, subject: str) -> tuple[dict[str, str], dict[str, str]]:
    """The subject's row of participants.tsv, and the units that participants.json gives its columns."""
    path = bids_dir / "participants.tsv"
    if not path.is_file():
        return {}, {}
    rows = [row for row in read_tsv(path)[1] if same_label(row.get("participant_id", "").removeprefix("sub-"), subject)]
    units: dict[str, str] = {}
    described = path.with_suffix(".json")
    if described.is_file():
        try:
            content: Any = json.loads(described.read_text(encoding="utf-8-sig"))
            units = {name: str(about["Units"]) for name, about in content.items() if "Units" in about}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise SidecarError(f"{described} must be a JSON data dictionary, but is not ({error}).") from error
    return (rows[0] if rows else {}), units


def _read_size(
    metadata: Metadata,
    name: str,
    column: str,
    row: dict[str, str],
    units: dict[str, str],
    scales: dict[str, float],
    unknown: dict[str, str],
    target: str,
) -> float:
    """A weight or a height, in kg or m; the reason why it is not known goes to ``unknown``."""
    stated = metadata.number(name)
    if stated:
        if stated < 0:
            raise metadata.wrong(name, "positive")
        return stated
    text = row.get(column, MISSING)
    if text == MISSING or not text:
        unknown[target] = f"{metadata.image}: {name} is missing, and participants.tsv has no {column} for the subject."
        return math.nan
    unit = units.get(column, "")
    if unit not in scales:
        unknown[target] = (
            f"participants.tsv has a {column}, but participants.json must give its Units ({' or '.join(scales)}); "
            f"found {unit or 'none'}."
        )
        return math.nan
    if not re.fullmatch(r"\d+(\.\d+)?([eE][-+]?\d+)?", text) or float(text) == 0:
        raise SidecarError(f"participants.tsv: {column} must be a positive number, but is {text!r}.")
    return float(text) * scales[unit]
