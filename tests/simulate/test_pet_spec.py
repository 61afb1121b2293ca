"""What can be asked of the PET simulator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.simulate.pet_spec import PET_SCANNERS, build_pet_spec


@pytest.mark.parametrize("preset", sorted(PET_SCANNERS))
def test_presets_hold_their_body(preset: str) -> None:
    spec = build_pet_spec(preset)
    field = np.array(spec.scanner.shape) * spec.scanner.voxel_mm / 2
    for body in spec.tissue:
        reach = np.abs(body.centre_mm) + np.array(body.half_axes_mm)
        assert (reach[:2] < field[:2]).all()
    assert spec.grid.voxel_mm == pytest.approx(spec.scanner.voxel_mm)
    np.testing.assert_allclose(spec.to_image_mm((1.0, -2.0, 3.0)), (1.0, -2.0, 3.0), atol=1e-9)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match="small-animal"):
        build_pet_spec("large-animal")


def test_an_oblique_image_keeps_its_middle() -> None:
    spec = build_pet_spec("small-animal")
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spec.scanner.voxel_mm)
    affine[:3, 3] = (5, 6, 7)
    oblique = dataclasses.replace(spec, affine=affine)
    middle = oblique.grid.to_mm((np.array(spec.scanner.shape) - 1) / 2)
    np.testing.assert_allclose(oblique.to_image_mm(tuple(middle)), 0, atol=1e-9)
    step = oblique.to_image_mm(tuple(middle + turn @ np.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(step, (1, 2, 3), atol=1e-9)
