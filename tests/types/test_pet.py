"""PET scans are checked when built, and numbers that are not known are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError, SidecarError
from ferrosight.types.pet import PetScan, PetUnit


def build(**changes: Any) -> PetScan:
    fields: dict[str, Any] = {
        "data": np.ones((2, 3, 4, 5), np.float32),
        "unit": PetUnit.BQ_ML,
        "affine": np.diag([1.0, 2.0, 3.0, 1.0]),
        "frame_start_s": [0.0, 60.0],
        "frame_duration_s": [60.0, 30.0],
    }
    return PetScan(**{**fields, **changes})


def test_a_good_scan_knows_its_grid_and_cannot_be_changed() -> None:
    scan = build()
    assert scan.grid.shape == (3, 4, 5)
    assert scan.grid.voxel_mm == (1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="read-only"):
        scan.data[0] = 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": np.ones((3, 4, 5))}, "frame, x, y, z"),
        ({"data": np.full((2, 3, 4, 5), np.nan)}, "finite"),
        ({"frame_start_s": [0.0]}, "frame_start_s"),
        ({"frame_start_s": [60.0, 0.0]}, "follow one another"),
        ({"frame_duration_s": [60.0, 0.0]}, "take time"),
        ({"half_life_s": -1.0}, "half_life_s"),
        ({"weight_kg": 0.0}, "weight_kg"),
    ],
)
def test_bad_scans_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(**changes)


def test_what_is_not_known_is_refused_with_its_reason() -> None:
    assert build(weight_kg=0.025).require("weight_kg") == 0.025
    with pytest.raises(SidecarError, match="weight_kg is needed"):
        build().require("weight_kg")
    with pytest.raises(SidecarError, match="PatientWeight looks like grams"):
        build(weight_kg=25.0, unknown={"weight_kg": "PatientWeight looks like grams."}).require("weight_kg")
