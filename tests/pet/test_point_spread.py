"""The point spread that is measured makes a template look like the scan of another point."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import AnalysisError, SidecarError
from ferrosight.pet import measure_point_spread, state_point_spread
from ferrosight.pet.template import Templates
from ferrosight.simulate import HotSphere, build_pet_spec, expect_counts, simulate_pet_scan
from ferrosight.simulate.pet_projector import reconstruct
from ferrosight.types import PetResponse, PetScan, PetUnit
from ferrosight.types.config import PetConfig


def test_another_point_elsewhere_looks_as_measured(response: PetResponse) -> None:
    place = (3.9, -6.2, 7.7)
    spec, bare = build_pet_spec("small-animal", (HotSphere(place, 0.1, 3e3),)), build_pet_spec("small-animal")
    images = []
    for one in (spec, bare):
        counts = expect_counts(one)
        images.append(reconstruct(one.scanner, counts.prompts, counts.factors, counts.additive).astype(np.float64))
    half = (7, 7, 6)
    ijk = spec.grid.to_ijk(place)
    middle = np.round(ijk).astype(int)
    seen = (images[0] - images[1])[tuple(slice(m - h, m + h + 1) for m, h in zip(middle, half, strict=True))]
    offset = (ijk - middle) * spec.grid.voxel_mm
    model = 3e3 * Templates(response, spec.grid.voxel_mm, half).build(offset, 0.01)[0]
    assert ((seen - model) ** 2).sum() < 0.02 * (seen**2).sum()


def test_what_is_no_point_is_refused(empty_scans: list[PetScan]) -> None:
    with pytest.raises(AnalysisError, match="no point spread"):
        measure_point_spread(empty_scans[0], np.array([-6.0, 0.0, 4.0]), 1.3, 0.6)


def test_a_point_at_the_border_is_refused() -> None:
    scan, _ = simulate_pet_scan(build_pet_spec("small-animal", (HotSphere((0.0, 0.0, 15.0), 0.2, 2e4),)), 1)
    with pytest.raises(AnalysisError, match="border"):
        measure_point_spread(scan, np.array([0.0, 0.0, 15.0]), 1.3, 0.6)


def test_a_stated_width_along_the_scanners_axis_follows_it_into_the_array() -> None:
    """Slices along the array's first axis, as in a reformatted image."""
    turned = np.array([[0, 2.0, 0, 0], [0, 0, 2.0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    scan = PetScan(np.zeros((1, 4, 4, 4), np.float32), PetUnit.BQ_ML, turned, np.zeros(1), np.ones(1), isotope="68Ga")
    response = state_point_spread(scan, PetConfig(fwhm_mm=5.0, axial_fwhm_mm=6.0))
    assert response == PetResponse((6.0, 5.0, 5.0), 3.5)
    with pytest.raises(SidecarError, match="PointSpreadFWHM"):
        state_point_spread(scan, PetConfig())
    stated = dataclasses.replace(scan, point_spread_mm=(4.0, 4.1, 4.2), isotope="")
    assert state_point_spread(stated, PetConfig()) == PetResponse((4.0, 4.1, 4.2), 0.0)
