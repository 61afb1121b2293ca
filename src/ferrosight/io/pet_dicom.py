"""PET from DICOM: units, decay, injection and body, with the fields that contradict each other named.

The steps follow the vendor-neutral scheme of the Quantitative Imaging Biomarkers Alliance; the traps met in files are
those listed with the image biomarker standardisation initiative's guide to uptake values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError, SidecarError
from ferrosight.io.dicom import DicomSeries, find_dicom_series, read_dicom_series, read_header
from ferrosight.physics.isotopes import find_isotope, frame_correction
from ferrosight.types.pet import PetScan, PetUnit

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SUV_TYPES = {
    "BW": PetUnit.SUV_BW,
    "LBM": PetUnit.SUV_LBM,
    "LBMJAMES128": PetUnit.SUV_LBM_JAMES,
    "LBMJANMA": PetUnit.SUV_LBM_JANMAHASATIAN,
}
_PHILIPS = "Philips PET Private Group"
_GE = "GEMS_PETD_01"
#: Times of day and half-lives are rounded: they may differ by this much before they contradict each other.
_SAME_TIME_S = 60.0
_SAME_HALF_LIFE = 0.01
_SAME_DECAY = 0.01
#: What lies below these is no dose in Bq, above these no weight in kg and no height in m.
_LEAST_DOSE_BQ, _MOST_WEIGHT_KG, _MOST_HEIGHT_M = 1e4, 400.0, 2.6
#: A time of day without its date tells an injection of the same day: not for isotopes imaged days later.
_LONGEST_SAME_DAY_S = 6 * 3600.0


@dataclass
class _Findings:
    """What a series says, while it is being read."""

    unknown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_pet_dicom(folder: Path | str, subject: str = "", session: str = "") -> PetScan:
    """Read the one PET series in a folder, static or dynamic, in Bq/mL or SUV.

    Values are Bq/mL corrected for decay to the scan's start or to the injection, or SUV as stored: they are never
    scaled again. Data that were not corrected for decay are corrected to the scan's start.

    Raises
    ------
    ImageError
        Where there is no PET series, or several, or one that forms no volume.
    SidecarError
        Naming the field without which, or because of whose contradiction, the voxels' numbers have no meaning. What
        only the uptake values need is kept as a reason in ``PetScan.unknown``.
    """
    series = _read_series(Path(folder))
    header = series.first
    found = _Findings()
    for name in ("Units", "SUVType", "DecayCorrection"):
        values = {str(one.get(name, "")) for volume in series.headers for one in volume}
        if len(values) > 1:
            raise SidecarError(f"{name} must be the same in every slice, but is {' and '.join(sorted(values))}.")
    unit, factor = _read_unit(header, found)
    half_life_s, isotope = _read_isotope(header, found)
    start = _scan_start(series, unit, found)
    frame_start_s, duration_s = _read_frames(series, start)
    corrected_to, correction = _read_decay(series, unit, start, frame_start_s, duration_s, half_life_s, found)
    injected_bq, injection_s = _read_injection(header, start, half_life_s, unit, corrected_to, found)
    weight_kg, height_m, sex = _read_body(header, found)
    if "ATTN" not in _corrections(header):
        found.unknown["attenuation"] = (
            "CorrectedImage (0028,0051) does not contain ATTN, so uptake would be low; reconstruct with correction."
        )
    return PetScan(
        data=(series.data * (factor * correction).astype(np.float32)[:, None, None, None]).astype(np.float32),
        unit=unit,
        affine=series.grid.affine,
        frame_start_s=frame_start_s,
        frame_duration_s=duration_s,
        half_life_s=half_life_s,
        isotope=isotope,
        decay_corrected_to=corrected_to,
        injected_bq=injected_bq,
        injection_s=injection_s,
        weight_kg=weight_kg,
        height_m=height_m,
        sex=sex,
        subject=subject,
        session=session,
        unknown=found.unknown,
        notes=tuple(found.notes),
    )


def _read_series(folder: Path) -> DicomSeries:
    groups = find_dicom_series(folder)
    series = [paths for paths in groups.values() if str(read_header(paths[0]).get("Modality", "")) == "PT"]
    if len(series) != 1:
        raise ImageError(f"{folder}: one PET series (Modality PT) was expected, but {len(series)} were found.")
    return read_dicom_series(series[0])


def _read_unit(header: Dataset, found: _Findings) -> tuple[PetUnit, float]:
    """The unit, and what rescaled values must be multiplied by to be in it."""
    units = str(header.get("Units", "")).upper()
    if units == "BQML":
        return PetUnit.BQ_ML, 1.0
    if units == "GML":
        kind = str(header.get("SUVType", "") or "").upper()
        if not kind:
            found.notes.append("SUVType (0054,1006) is missing: GML without it means body weight.")
        if (kind or "BW") not in _SUV_TYPES:
            raise SidecarError(f"SUVType (0054,1006) must be one of {', '.join(_SUV_TYPES)}, but is {kind}.")
        return _SUV_TYPES[kind or "BW"], 1.0
    if units == "CNTS":
        to_bq_ml, to_suv = _private(header, 0x7053, _PHILIPS, 0x09), _private(header, 0x7053, _PHILIPS, 0x00)
        if to_bq_ml:
            return PetUnit.BQ_ML, to_bq_ml
        if to_suv:
            return PetUnit.SUV_BW, to_suv
        raise SidecarError(
            "Units (0054,1001) are CNTS, which need the vendor's factor (7053,1009) or (7053,1000), but there is none; "
            "export the series in BQML."
        )
    raise SidecarError(f"Units (0054,1001) must be BQML, GML or CNTS, but are {units or 'missing'}.")


def _private(header: Dataset, group: int, creator: str, element: int) -> float | None:
    """A private number that is positive, or None."""
    try:
        value = header.private_block(group, creator)[element].value
        number = float(value)
    except (KeyError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _radiopharmaceutical(header: Dataset) -> Any:
    sequence = header.get("RadiopharmaceuticalInformationSequence")
    return sequence[0] if sequence else None


def _read_isotope(header: Dataset, found: _Findings) -> tuple[float, str]:
    """Half-life, s, and the isotope's name."""
    drug = _radiopharmaceutical(header)
    stated = _positive(drug, "RadionuclideHalfLife")
    codes = drug.get("RadionuclideCodeSequence") if drug is not None else None
    meaning = str(codes[0].get("CodeMeaning", "")) if codes else ""
    isotope = find_isotope(meaning)
    if isotope is None:
        if stated is None:
            found.unknown["half_life_s"] = (
                "RadionuclideHalfLife (0018,1075) is missing, and no RadionuclideCodeSequence (0054,0300) names a "
                "known isotope."
            )
        return stated or math.nan, ""
    if stated is None:
        found.notes.append(f"RadionuclideHalfLife (0018,1075) is missing: that of {isotope.name} is used.")
        return isotope.half_life_s, isotope.name
    if abs(stated / isotope.half_life_s - 1) > _SAME_HALF_LIFE:
        found.unknown["half_life_s"] = (
            f"RadionuclideHalfLife (0018,1075) is {stated:g} s, but RadionuclideCodeSequence (0054,0300) says "
            f"{isotope.name}, whose half-life is {isotope.half_life_s:g} s; correct the wrong one."
        )
        return math.nan, isotope.name
    return stated, isotope.name


def _scan_start(series: DicomSeries, unit: PetUnit, found: _Findings) -> datetime:
    """The moment to which START corrects: the series' own, or the first acquisition's where that is older.

    A series that was processed later carries a later time; General Electric then keeps the scan's in a private field.
    """
    acquired = [_moment(header, "Acquisition") for volume in series.headers for header in volume]
    known = [moment for moment in acquired if moment is not None]
    stated = _moment(series.first, "Series")
    first = min(known) if known else None
    if stated is not None and (first is None or stated <= first):
        return stated
    private = _private_moment(series.first)
    if private is not None and (first is None or private <= first):
        found.notes.append("SeriesTime (0008,0031) is later than the scan: the vendor's own scan time is used.")
        return private
    if first is None:
        raise SidecarError("SeriesTime (0008,0031) and AcquisitionTime (0008,0032) are missing: when was the scan?")
    if stated is not None and not unit.is_suv:
        found.notes.append("SeriesTime (0008,0031) is later than AcquisitionTime (0008,0032), which is used.")
    return first


def _private_moment(header: Dataset) -> datetime | None:
    try:
        value = header.private_block(0x0009, _GE)[0x0D].value
    except KeyError:
        return None
    return _parse_moment(str(value))


def _moment(header: Any, kind: str) -> datetime | None:
    """``{kind}DateTime``, or ``{kind}Date`` and ``{kind}Time``."""
    whole = header.get(f"{kind}DateTime")
    if whole:
        return _parse_moment(str(whole))
    day, time = str(header.get(f"{kind}Date") or ""), str(header.get(f"{kind}Time") or "")
    return _parse_moment(day + time) if day and time else None


def _parse_moment(text: str) -> datetime | None:
    """DICOM's YYYYMMDDhhmmss.ffffff; the offset from UTC is left out, as all times of a file share it."""
    digits = text.strip().split("+")[0].split("-")[0]
    whole, _, fraction = digits.partition(".")
    try:
        moment = datetime.strptime(whole.ljust(14, "0")[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0")) if fraction.isdigit() else 0)


def _read_frames(series: DicomSeries, start: datetime) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and duration of each frame, seconds from the scan's start."""
    starts, durations = [], []
    for volume in series.headers:
        moments = [moment for header in volume if (moment := _moment(header, "Acquisition")) is not None]
        starts.append((min(moments) - start).total_seconds() if moments else math.nan)
        # The beds of a whole body follow one another: each has its own duration, and their mean stands for all.
        lengths = [ms / 1e3 for header in volume if (ms := _positive(header, "ActualFrameDuration"))]
        durations.append(float(np.mean(lengths)) if lengths else math.nan)
    if len(starts) == 1:
        return np.nan_to_num(np.array(starts)), np.where(np.isnan(durations), 1.0, durations)
    if np.isnan(starts).any():
        raise SidecarError("AcquisitionTime (0008,0032) is missing in a dynamic series.")
    if np.isnan(durations).any():
        raise SidecarError("ActualFrameDuration (0018,1242) is missing in a dynamic series.")
    return np.array(starts), np.array(durations)


def _read_decay(
    series: DicomSeries,
    unit: PetUnit,
    start: datetime,
    frame_start_s: NDArray[np.float64],
    duration_s: NDArray[np.float64],
    half_life_s: float,
    found: _Findings,
) -> tuple[Literal["scan", "injection"], NDArray[np.float64]]:
    """The moment that the activity belongs to, and a factor (frame,) that brings it there."""
    header = series.first
    kind = str(header.get("DecayCorrection", "")).upper()
    none = np.ones(len(frame_start_s))
    problem = _decay_problem(series, kind, start, half_life_s)
    if unit.is_suv:
        if problem:
            found.notes.append(f"{problem} This does not change values that are SUV already.")
        return "injection", none
    if problem:
        raise SidecarError(problem)
    if kind == "ADMIN":
        return "injection", none
    if kind == "START":
        return "scan", none
    if "half_life_s" in found.unknown:
        raise SidecarError(found.unknown["half_life_s"])
    if not _positive(header, "ActualFrameDuration"):
        raise SidecarError("ActualFrameDuration (0018,1242) is missing, and DecayCorrection (0054,1102) is NONE.")
    if len(frame_start_s) == 1 and len({_moment(h, "Acquisition") for h in series.headers[0]}) > 1:
        raise SidecarError(
            "AcquisitionTime (0008,0032) differs between slices, and DecayCorrection (0054,1102) is NONE; "
            "reconstruct with decay correction."
        )
    return "scan", frame_correction(frame_start_s, duration_s, half_life_s)


def _decay_problem(series: DicomSeries, kind: str, start: datetime, half_life_s: float) -> str:
    """What is wrong with what the series says of decay; "" where nothing is."""
    if kind not in ("START", "ADMIN", "NONE"):
        return f"DecayCorrection (0054,1102) must be START, ADMIN or NONE, but is {kind or 'missing'}."
    corrected = bool(_corrections(series.first) & {"DECY", "DECAY"})
    if corrected != (kind != "NONE"):
        return (
            f"DecayCorrection (0054,1102) is {kind}, but CorrectedImage (0028,0051) "
            f"{'contains' if corrected else 'does not contain'} DECY."
        )
    stated = _positive(series.first, "DecayFactor")
    moment, milliseconds = _moment(series.first, "Acquisition"), _positive(series.first, "ActualFrameDuration")
    if kind == "NONE" or stated is None or moment is None or math.isnan(half_life_s):
        return ""
    reference = start
    if kind == "ADMIN":
        given = _injection_moments(series.first, start)
        if not given:
            return ""
        reference = given[0]
    elapsed_s = (moment - reference).total_seconds()
    # Some divide by what is left at the frame's start, others by its mean over the frame.
    expected = [float(frame_correction(elapsed_s, s, half_life_s)) for s in (1e-3, (milliseconds or 1.0) / 1e3)]
    if min(abs(stated / value - 1) for value in expected) > _SAME_DECAY:
        return (
            f"DecayFactor (0054,1321) is {stated:g}, but DecayCorrection (0054,1102) {kind} with the times given asks "
            f"for {expected[1]:.4g}."
        )
    return ""


def _injection_moments(header: Dataset, start: datetime) -> list[datetime]:
    """What RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime say, as far as they are there."""
    drug = _radiopharmaceutical(header)
    if drug is None:
        return []
    moments = []
    whole = drug.get("RadiopharmaceuticalStartDateTime")
    if whole and (moment := _parse_moment(str(whole))):
        moments.append(moment)
    time = drug.get("RadiopharmaceuticalStartTime")
    if time and (moment := _parse_moment(f"{start:%Y%m%d}{time}")):
        # A time of day after the scan's was that of the day before.
        moments.append(moment if moment <= start else moment - timedelta(days=1))
    return moments


def _read_injection(
    header: Dataset,
    start: datetime,
    half_life_s: float,
    unit: PetUnit,
    corrected_to: str,
    found: _Findings,
) -> tuple[float, float]:
    """Injected activity, Bq, and when, s after the scan's start."""
    drug = _radiopharmaceutical(header)
    injected_bq = _positive(drug, "RadionuclideTotalDose")
    if injected_bq is None:
        found.unknown["injected_bq"] = "RadionuclideTotalDose (0018,1074) is missing."
    elif injected_bq < _LEAST_DOSE_BQ:
        found.unknown["injected_bq"] = (
            f"RadionuclideTotalDose (0018,1074) must be in Bq, but is {injected_bq:g}, which looks like MBq."
        )
    problem, injection_s = _injection_time(header, drug, start, half_life_s)
    if problem:
        found.unknown["injection_s"] = problem
        injection_s = math.nan
        if unit.is_suv or corrected_to == "injection":
            found.notes.append(f"{problem} Uptake values do not depend on it here.")
    return (math.nan if injected_bq is None else injected_bq), injection_s


def _injection_time(header: Dataset, drug: Any, start: datetime, half_life_s: float) -> tuple[str, float]:
    """What is wrong ("" where nothing is), and the injection in seconds after the scan's start."""
    moments = _injection_moments(header, start)
    if not moments:
        return (
            "RadiopharmaceuticalStartDateTime (0018,1078) and RadiopharmaceuticalStartTime (0018,1072) are missing.",
            math.nan,
        )
    injection_s = (moments[0] - start).total_seconds()
    if not drug.get("RadiopharmaceuticalStartDateTime") and not half_life_s <= _LONGEST_SAME_DAY_S:
        return (
            "RadiopharmaceuticalStartDateTime (0018,1078) is missing, and RadiopharmaceuticalStartTime (0018,1072) "
            "does not tell the day, which an isotope of this half-life needs.",
            injection_s,
        )
    if injection_s > 0:
        return (
            f"RadiopharmaceuticalStartDateTime (0018,1078) is {moments[0]}, which is after the scan's start, {start}; "
            "correct the wrong one.",
            injection_s,
        )
    if len(moments) == 2:
        apart_s = abs((moments[1] - moments[0]).total_seconds()) % 86400
        if min(apart_s, 86400 - apart_s) > _SAME_TIME_S:
            return (
                f"RadiopharmaceuticalStartDateTime (0018,1078), {moments[0]}, and RadiopharmaceuticalStartTime "
                f"(0018,1072), {moments[1]:%H:%M:%S}, contradict each other.",
                injection_s,
            )
    return "", injection_s


def _read_body(header: Dataset, found: _Findings) -> tuple[float, float, str]:
    """Weight, kg, height, m, and sex."""
    weight, height = _positive(header, "PatientWeight"), _positive(header, "PatientSize")
    if weight is None:
        found.unknown["weight_kg"] = "PatientWeight (0010,1030) is missing."
    elif weight > _MOST_WEIGHT_KG:
        found.unknown["weight_kg"] = f"PatientWeight (0010,1030) must be in kg, but is {weight:g}, which looks like g."
    if height is None:
        found.unknown["height_m"] = "PatientSize (0010,1020) is missing."
    elif height > _MOST_HEIGHT_M:
        found.unknown["height_m"] = f"PatientSize (0010,1020) must be in m, but is {height:g}, which looks like cm."
    sex = str(header.get("PatientSex") or "").upper()
    return weight or math.nan, height or math.nan, sex if sex in ("M", "F") else ""


def _corrections(header: Dataset) -> set[str]:
    value = header.get("CorrectedImage") or ()
    return {value} if isinstance(value, str) else {str(item) for item in value}


def _positive(header: Any, name: str) -> float | None:
    """A positive number, or None where it is missing, empty or zero (which is how "not known" is written)."""
    value = header.get(name) if header is not None else None
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise SidecarError(f"{name} must be a positive number, but is {value}.")
    return number or None
