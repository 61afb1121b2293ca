"""What a scan without label holds in a graft's region is measured there, on whatever grid it lies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.field import measure_field
from ferrosight.quantify import measure_grafts, measure_grafts_before
from ferrosight.simulate import build_affine, simulate_scan
from ferrosight.types import GRAFT_ESTIMATOR
from ferrosight.types.config import FieldConfig, QuantifyConfig


@pytest.fixture(scope="module")
def field():
    return lambda scan: measure_field(scan, FieldConfig())


@pytest.fixture
def labelled(specify, empty_catalogue, field):
    """A labelled visit of one graft: scan, field, catalogue, and the spec that it is made from."""
    spec = specify("cells", 1.0)
    scan, _ = simulate_scan(spec, 3)
    field_map = field(scan)
    return scan, field_map, measure_grafts(scan, field_map, empty_catalogue, QuantifyConfig()), spec


def measure_before(labelled, baseline, field):
    scan, field_map, catalogue, _ = labelled
    graft = catalogue.clusters["estimator"] == GRAFT_ESTIMATOR
    moment, err = measure_grafts_before(catalogue, scan, field_map, baseline, field(baseline), QuantifyConfig())
    assert np.isnan(moment[~graft]).all()
    return float(moment[graft][0]), float(err[graft][0])


def test_what_was_there_before_has_the_same_moment(labelled, field):
    _, _, catalogue, spec = labelled
    moment, err = measure_before(labelled, simulate_scan(spec, 3, visit=-1)[0], field)
    both = np.hypot(err, catalogue.clusters["moment_am2_err"][0])
    assert abs(moment - catalogue.clusters["moment_am2"][0]) < 3 * both
    assert moment > 5 * err


def test_where_nothing_was_the_moment_is_nothing_over_draws_of_noise_and_texture(labelled, field):
    spec = dataclasses.replace(labelled[3], sources=())
    z = []
    for seed in range(16):
        moment, err = measure_before(labelled, simulate_scan(spec, seed)[0], field)
        z.append(moment / err)
    # 16 draws: the standard deviation of one has a standard error of 0.18, their mean one of 0.25
    assert abs(np.mean(z)) < 0.75
    assert 0.5 < np.std(z) < 1.6


def test_a_baseline_of_other_voxels_and_tilt_is_measured_at_the_same_place(labelled, field):
    _, _, catalogue, spec = labelled
    shape, voxel_mm = (32, 38, 30), (0.1, 0.09, 0.13)
    other = dataclasses.replace(spec, shape=shape, affine=build_affine(shape, voxel_mm, (5.0, -20.0, 35.0)))
    moment, err = measure_before(labelled, simulate_scan(other, 4)[0], field)
    assert abs(moment - catalogue.clusters["moment_am2"][0]) < 4 * np.hypot(
        err, catalogue.clusters["moment_am2_err"][0]
    )
    assert moment > 5 * err


def test_beyond_the_baselines_image_nothing_is_said(labelled, field):
    spec = labelled[3]
    affine = spec.affine.copy()
    affine[:3, 3] += 20.0
    moment, err = measure_before(
        labelled, simulate_scan(dataclasses.replace(spec, affine=affine, sources=()), 5)[0], field
    )
    assert np.isnan(moment)
    assert np.isnan(err)


def test_a_catalogue_without_grafts_asks_nothing(labelled, empty_catalogue):
    scan, field_map, _, _ = labelled
    moment, err = measure_grafts_before(empty_catalogue, scan, field_map, scan, field_map, QuantifyConfig())
    assert len(moment) == len(err) == 0
