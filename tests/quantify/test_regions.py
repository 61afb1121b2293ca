"""Regions are where R2* is raised or the signal lost, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from ferrosight.field import measure_field
from ferrosight.quantify.regions import find_regions, find_voids
from ferrosight.simulate import simulate_scan
from ferrosight.types.config import FieldConfig


@pytest.mark.parametrize("magnetisation", [0.4, 2.0, 6.0])
def test_a_graft_is_one_region_about_where_it_is(specify, magnetisation):
    scan, truth = simulate_scan(specify("solid", magnetisation), 1)
    regions = find_regions(scan, measure_field(scan, FieldConfig()), 3.0)
    assert len(regions) == 1
    centre = scan.grid.to_mm(np.argwhere(regions[0])).mean(axis=0)
    expected = [truth.table[f"{axis}_mm"][0] for axis in "xyz"]
    np.testing.assert_allclose(centre, expected, atol=0.1)
    # 86 voxels of graft; what it dephases around it comes on top
    assert 60 < np.count_nonzero(regions[0]) < 500


def test_tissue_without_a_graft_has_no_region(specify):
    for seed in range(4):
        spec = dataclasses.replace(
            specify("point", 0.0), sources=(), r2star_variation=0.2, structure_mm=0.6, tissue_fraction=0.9
        )
        scan, _ = simulate_scan(spec, seed)
        assert find_regions(scan, measure_field(scan, FieldConfig()), 3.0) == []


def test_the_least_width_is_that_of_a_ball(specify):
    scan, _ = simulate_scan(specify("solid", 1.0), 2)
    field_map = measure_field(scan, FieldConfig())
    n = np.count_nonzero(find_regions(scan, field_map, 3.0)[0])
    width = (6 * n / np.pi) ** (1 / 3)
    assert len(find_regions(scan, field_map, width - 0.01)) == 1
    assert find_regions(scan, field_map, width + 0.01) == []


def test_with_one_echo_the_void_speaks(specify):
    scan, _ = simulate_scan(specify("solid", 6.0, echo_times_s=(0.008,)), 3)
    field_map = measure_field(scan, FieldConfig())
    assert not np.isfinite(field_map.r2star_per_s).any()
    (region,) = find_regions(scan, field_map, 3.0)
    assert (region & ~ndimage.binary_dilation(find_voids(scan, field_map))).sum() == 0
