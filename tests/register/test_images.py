"""What registration looks at has no floor of noise, and clusters are marked where they darken."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.field import measure_field
from ferrosight.register import build_visit_image
from ferrosight.register.images import mark_clusters
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Grid
from ferrosight.types.config import FieldConfig

SHAPE = (36, 40, 30)


def test_noise_does_not_raise_what_is_dark() -> None:
    spec = ScanSpec(SHAPE, build_affine(SHAPE, (0.1, 0.12, 0.15)), (0.004, 0.01), 9.4, snr=20.0, tissue_fraction=0.6)
    scan, truth = simulate_scan(spec, 3)
    image = build_visit_image(scan, measure_field(scan, FieldConfig()), truth.table)
    corner = (slice(None, 6),) * 3
    raised = np.sqrt((np.abs(scan.signal) ** 2).mean(axis=0))[corner].mean()
    assert np.abs(image.magnitude[corner].mean()) < 0.2 * raised
    assert np.median(image.magnitude[image.mask]) == pytest.approx(1, abs=0.02)
    assert image.session == scan.session
    assert not image.excluded.any()


def test_a_cluster_is_marked_where_it_darkens() -> None:
    place, moment = (0.31, -0.42, 0.13), 6e-11
    spec = ScanSpec(
        SHAPE,
        build_affine(SHAPE, (0.1, 0.12, 0.15), (20.0, 5.0, -30.0)),
        (0.012,),
        9.4,
        sources=(Point(place, moment),),
    )
    scan, _ = simulate_scan(spec, 3)
    marked = mark_clusters(scan.grid, np.array([place]), np.array([moment]), 0.012)
    lost = 1 - np.abs(scan.signal[0])
    assert lost[marked].max() > 0.5
    assert lost[~marked].max() < 0.15
    assert marked.sum() < 0.05 * marked.size


def test_rows_that_failed_mark_nothing_and_the_faintest_mark_a_voxel() -> None:
    grid = Grid(SHAPE, build_affine(SHAPE, (0.1, 0.12, 0.15)))
    places = np.array([[np.nan, 0, 0], grid.to_mm([10, 11, 12]), [99.0, 0, 0], grid.to_mm([20, 21, 22])])
    marked = mark_clusters(grid, places, np.array([1e-12, 1e-18, 1e-10, np.nan]), 0.01)
    np.testing.assert_array_equal(np.argwhere(marked), [[10, 11, 12]])
