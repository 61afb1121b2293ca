"""Decay and standardised uptake values, refused where what they need is missing or contradicts itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ferrosight.errors import SidecarError
from ferrosight.physics.isotopes import decay_factor
from ferrosight.types.pet import PetScan, PetUnit

_GRAMS_PER_KG = 1000.0
#: James' lean mass falls again with weight; DICOM's and James' own formulas are not meant for what lies beyond.
_LEAN_UNITS = (PetUnit.SUV_LBM_JAMES, PetUnit.SUV_LBM_JANMAHASATIAN)


def correct_decay(scan: PetScan, to: Literal["scan", "injection"]) -> PetScan:
    """The same scan in Bq/mL, corrected for decay to the scan's start or to the injection.

    An SUV does not depend on that moment: a scan in SUV is turned into activity per volume by what was injected and
    the body's mass.

    Raises
    ------
    SidecarError
        Naming the field that is missing or contradicts another.
    """
    if scan.unit.is_suv:
        # Per injected activity as it was at injection, so that is the moment which the product belongs to.
        factor, origin = scan.require("injected_bq") / (_GRAMS_PER_KG * _mass_kg(scan, scan.unit)), "injection"
    else:
        factor, origin = 1.0, scan.decay_corrected_to
    if to != origin:
        delay_s = _delay_s(scan)
        factor *= float(decay_factor(delay_s if to == "scan" else -delay_s, scan.require("half_life_s")))
    return replace(
        scan, data=(scan.data * np.float32(factor)).astype(np.float32), unit=PetUnit.BQ_ML, decay_corrected_to=to
    )


def compute_suv(scan: PetScan, unit: PetUnit = PetUnit.SUV_BW) -> PetScan:
    """Standardised uptake values, g/mL; a scan that is in ``unit`` already comes back as it is.

        SUV = activity per volume · mass / (injected activity, decayed to the moment that the image belongs to)

    with the body's mass, or its lean part: for men (women) of weight W (kg) and height H (cm or, in the body mass index
    W/H², m)

        James:          1.10 W - 128 (W/H)²           (1.07 W - 148 (W/H)²)
        Janmahasatian:  9270 W / (6680 + 216 W/H²)    (9270 W / (8780 + 244 W/H²))

    (Tahari et al., J Nucl Med 55:1481, 2014, doi 10.2967/jnumed.113.136986, compares the two; Janmahasatian et al.,
    Clin Pharmacokinet 44:1051, 2005. DICOM names them LBMJAMES128 and LBMJANMA.) The steps from a file to these numbers
    follow the vendor-neutral scheme of the Quantitative Imaging Biomarkers Alliance.

    Raises
    ------
    SidecarError
        Naming the field that is missing or contradicts another.
    """
    if scan.unit == unit:
        return scan
    if unit == PetUnit.BQ_ML:
        raise ValueError("compute_suv makes uptake values; correct_decay gives activity")
    if scan.unit.is_suv:
        factor = _mass_kg(scan, unit) / _mass_kg(scan, scan.unit)
    else:
        if "attenuation" in scan.unknown:
            raise SidecarError(scan.unknown["attenuation"])
        injected_bq = scan.require("injected_bq")
        # An image that belongs to the injection needs no time.
        if scan.decay_corrected_to == "scan":
            injected_bq *= float(decay_factor(_delay_s(scan), scan.require("half_life_s")))
        factor = _GRAMS_PER_KG * _mass_kg(scan, unit) / injected_bq
    return replace(scan, data=(scan.data * np.float32(factor)).astype(np.float32), unit=unit)


def lean_mass_kg(weight_kg: float, height_m: float, sex: str, formula: Literal["james", "janmahasatian"]) -> float:
    """Lean body mass, kg, by one of the two formulas that ``compute_suv`` gives; sex is "M" or "F".

    Raises SidecarError where the sex is neither, or where James' formula has passed its greatest value and falls as
    weight grows.
    """
    if sex not in ("M", "F"):
        raise SidecarError(f"lean mass needs the sex M or F (PatientSex), but it is {sex or 'not stated'!r}.")
    man = sex == "M"
    if formula == "janmahasatian":
        index = weight_kg / height_m**2
        return 9270 * weight_kg / ((6680 if man else 8780) + (216 if man else 244) * index)
    linear, square = (1.10, 128.0) if man else (1.07, 148.0)
    height_cm = 100 * height_m
    if weight_kg > linear * height_cm**2 / (2 * square):
        raise SidecarError(
            f"James' lean mass is not defined for {weight_kg:g} kg at {height_m:g} m (it would fall as weight grows); "
            "use Janmahasatian's."
        )
    return linear * weight_kg - square * (weight_kg / height_cm) ** 2


def _delay_s(scan: PetScan) -> float:
    """Seconds from injection to the scan's start."""
    return -scan.require("injection_s")


def _mass_kg(scan: PetScan, unit: PetUnit) -> float:
    weight_kg = scan.require("weight_kg")
    if unit == PetUnit.SUV_BW:
        return weight_kg
    if unit not in _LEAN_UNITS:
        raise SidecarError(
            "SUVType is lean body mass by a formula that is not stated, so that it cannot be turned into anything else."
        )
    formula: Literal["james", "janmahasatian"] = "james" if unit == PetUnit.SUV_LBM_JAMES else "janmahasatian"
    return lean_mass_kg(weight_kg, scan.require("height_m"), scan.sex, formula)
