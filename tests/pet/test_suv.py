"""Decay and uptake values by tables worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import SidecarError
from ferrosight.pet.suv import compute_suv, correct_decay, lean_mass_kg
from ferrosight.types.pet import PetScan, PetUnit


def build(**changes: Any) -> PetScan:
    """5 kBq/mL in 20 g, of 10 MBq injected one half-life before the scan."""
    fields: dict[str, Any] = {
        "data": np.full((1, 3, 2, 4), 5e3, np.float32),
        "unit": PetUnit.BQ_ML,
        "affine": np.eye(4),
        "frame_start_s": [0.0],
        "frame_duration_s": [600.0],
        "half_life_s": 6000.0,
        "injected_bq": 1e7,
        "injection_s": -6000.0,
        "weight_kg": 0.020,
    }
    return PetScan(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "suv"),
    [
        # Half of the dose is left at the scan: 5e3 · 20 / 5e6.
        ({}, 0.02),
        # The image belongs to the injection: all of the dose counts.
        ({"decay_corrected_to": "injection"}, 0.01),
        # Injected as the scan starts.
        ({"injection_s": 0.0}, 0.01),
        # Two half-lives.
        ({"injection_s": -12000.0}, 0.04),
        ({"weight_kg": 70.0}, 70.0),
    ],
)
def test_uptake_by_body_weight(changes: dict[str, Any], suv: float) -> None:
    result = compute_suv(build(**changes))
    assert result.unit == PetUnit.SUV_BW
    np.testing.assert_allclose(result.data, suv, rtol=1e-6)


def test_uptake_values_are_never_scaled_again() -> None:
    scan = build(unit=PetUnit.SUV_BW, injected_bq=np.nan, weight_kg=np.nan)
    assert compute_suv(scan) is scan


@pytest.mark.parametrize(
    ("weight", "height", "sex", "formula", "lean"),
    [
        (80.0, 1.80, "M", "james", 1.10 * 80 - 128 * (80 / 180) ** 2),
        (60.0, 1.65, "F", "james", 1.07 * 60 - 148 * (60 / 165) ** 2),
        (110.0, 1.78, "M", "janmahasatian", 9270 * 110 / (6680 + 216 * 110 / 1.78**2)),
        (60.0, 1.65, "F", "janmahasatian", 9270 * 60 / (8780 + 244 * 60 / 1.65**2)),
    ],
)
def test_lean_mass(weight: float, height: float, sex: str, formula: Any, lean: float) -> None:
    assert lean_mass_kg(weight, height, sex, formula) == pytest.approx(lean)
    assert 0.5 * weight < lean < weight


def test_both_formulas_roughly_agree_for_a_lean_man() -> None:
    james = lean_mass_kg(75.0, 1.80, "M", "james")
    assert james == pytest.approx(lean_mass_kg(75.0, 1.80, "M", "janmahasatian"), rel=0.06)


def test_james_is_refused_where_it_falls_as_weight_grows() -> None:
    with pytest.raises(SidecarError, match="James"):
        lean_mass_kg(150.0, 1.60, "F", "james")
    assert lean_mass_kg(150.0, 1.60, "F", "janmahasatian") > lean_mass_kg(140.0, 1.60, "F", "janmahasatian")


def test_lean_uptake_is_the_bodys_times_the_lean_share() -> None:
    scan = build(weight_kg=80.0, height_m=1.80, sex="M")
    lean = compute_suv(scan, PetUnit.SUV_LBM_JAMES)
    share = lean_mass_kg(80.0, 1.80, "M", "james") / 80.0
    np.testing.assert_allclose(lean.data, compute_suv(scan).data * share, rtol=1e-6)
    np.testing.assert_allclose(compute_suv(compute_suv(scan), PetUnit.SUV_LBM_JAMES).data, lean.data, rtol=1e-6)


@pytest.mark.parametrize("name", ["injected_bq", "injection_s", "half_life_s", "weight_kg"])
def test_uptake_is_refused_with_the_reason_where_a_number_is_not_known(name: str) -> None:
    with pytest.raises(SidecarError, match="because of this"):
        compute_suv(build(unknown={name: "because of this"}))
    with pytest.raises(SidecarError, match=name):
        compute_suv(build(**{name: np.nan}))


def test_times_are_not_asked_for_where_they_change_nothing() -> None:
    scan = build(
        decay_corrected_to="injection",
        injection_s=np.nan,
        half_life_s=np.nan,
        unknown={"injection_s": "contradiction", "half_life_s": "contradiction"},
    )
    np.testing.assert_allclose(compute_suv(scan).data, 0.01, rtol=1e-6)


def test_uptake_without_attenuation_correction_is_refused() -> None:
    with pytest.raises(SidecarError, match="ATTN"):
        compute_suv(build(unknown={"attenuation": "no ATTN"}))


def test_lean_uptake_of_an_unstated_formula_is_not_turned_into_another() -> None:
    with pytest.raises(SidecarError, match="SUVType"):
        compute_suv(build(unit=PetUnit.SUV_LBM))


def test_decay_to_injection_and_back() -> None:
    scan = build()
    early = correct_decay(scan, "injection")
    np.testing.assert_allclose(early.data, 1e4, rtol=1e-6)
    np.testing.assert_allclose(correct_decay(early, "scan").data, scan.data, rtol=1e-6)
    np.testing.assert_allclose(compute_suv(early).data, compute_suv(scan).data, rtol=1e-6)


def test_activity_from_uptake_values() -> None:
    scan = build()
    np.testing.assert_allclose(correct_decay(compute_suv(scan), "scan").data, scan.data, rtol=1e-6)
    blind = dataclasses.replace(compute_suv(scan), unknown={"injected_bq": "no dose"})
    with pytest.raises(SidecarError, match="no dose"):
        correct_decay(blind, "scan")
