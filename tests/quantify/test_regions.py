"""Regions are where R2* is raised or the signal lost, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from ferrosight.field import measure_field
from ferrosight.quantify.regions import Region, _find_decay, find_voids
from ferrosight.quantify.regions import find_regions as find_in_voids
from ferrosight.simulate import simulate_scan
from ferrosight.types.config import FieldConfig


def find_regions(scan, field_map, least_voxels):
    """Masks of the whole image."""
    image = tuple(slice(0, n) for n in scan.grid.shape)
    return [region.spread(image) for region in find_in_voids(field_map, find_voids(scan, field_map), least_voxels)]


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


def add_blobs(field_map, rng):
    """Raised R2* over random shapes: hollow ones, ones at the image's faces, and the tissue's edge."""
    shape = field_map.mask.shape
    raised = ndimage.gaussian_filter(rng.normal(size=shape), 1.3, mode="wrap") > 0.11
    raised[5:16, 10:21, 8:19] = True
    raised[7:14, 12:19, 10:17] = False
    mask = field_map.mask.copy()
    mask[:, 25:, 22:] = False
    rate = np.where(raised, 400.0, 20.0) + rng.normal(size=shape)
    return dataclasses.replace(
        field_map, mask=mask, r2star_per_s=rate.astype(np.float32), r2star_per_s_err=np.ones(shape, np.float32)
    )


def find_regions_slowly(field_map, begins, goes_on, least_voxels):
    """Every region looked at in the whole image."""
    labels, n = ndimage.label(ndimage.binary_opening(goes_on, np.ones((2, 2, 2))) & field_map.mask)
    found = []
    for label in range(1, n + 1):
        if not (begins & (labels == label)).any():
            continue
        region = ndimage.binary_fill_holes(labels == label)
        padded = np.pad(region, 1)
        shell = ndimage.binary_dilation(padded) & ~padded
        edge = (shell & ~np.pad(field_map.mask, 1)).sum() / shell.sum()
        if region.sum() > np.pi / 6 * least_voxels**3 and edge <= 0.25:
            found.append(region)
    return sorted(found, key=np.count_nonzero, reverse=True)


def test_boxes_give_the_regions_of_the_whole_image(specify):
    scan, _ = simulate_scan(specify("point", 0.0, texture_ppm=0.0), 5)
    measured = measure_field(scan, FieldConfig())
    n_found = n_filled = 0
    for seed in range(3):
        field_map = add_blobs(measured, np.random.default_rng(seed))
        begins, goes_on = _find_decay(field_map, find_voids(scan, field_map))
        found = find_regions(scan, field_map, 1.5)
        expected = find_regions_slowly(field_map, begins, goes_on, 1.5)
        assert len(found) == len(expected)
        for region in found:
            assert any(np.array_equal(region, other) for other in expected)
        n_found += len(found)
        n_filled += sum((region & ~goes_on).any() for region in found)
    assert n_found > 10
    assert n_filled > 0


def test_a_region_grows_as_in_the_whole_image():
    rng = np.random.default_rng(4)
    image = rng.random((9, 12, 7)) < 0.02
    for at in ((slice(0, 5), slice(3, 12), slice(2, 4)), (slice(0, 9), slice(0, 12), slice(0, 7))):
        cut = np.zeros(image.shape, bool)
        cut[at] = image[at] | (rng.random(image[at].shape) < 0.05)
        for steps in (1, 3):
            grown = Region(at, cut[at]).grow(steps, image.shape)
            whole = tuple(slice(0, n) for n in image.shape)
            np.testing.assert_array_equal(grown.spread(whole), ndimage.binary_dilation(cut, iterations=steps))
            assert grown.n_voxels == ndimage.binary_dilation(cut, iterations=steps).sum()
