"""A graft's region is the same part of the body in another scan of it, however that lies."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.field import measure_field
from ferrosight.quantify import GraftRegion, find_graft_regions, measure_grafts, measure_regions
from ferrosight.quantify.regions import Region
from ferrosight.simulate import build_affine, simulate_moved_scan, simulate_scan
from ferrosight.types import Grid, Rigid
from ferrosight.types.config import FieldConfig, QuantifyConfig

#: A box of 3 x 2 x 2 voxels in a tilted grid of unequal voxels.
GRID = Grid((20, 18, 16), build_affine((20, 18, 16), (0.1, 0.2, 0.15), (10.0, 20.0, -15.0)))
BOX = GraftRegion(GRID, Region((slice(8, 11), slice(7, 9), slice(6, 8)), np.ones((3, 2, 2), np.bool_)))


@pytest.fixture(scope="module")
def field():
    return lambda scan: measure_field(scan, FieldConfig())


def test_places_in_and_beside_a_region():
    inside = np.array([[8.0, 7.0, 6.0], [10.4, 8.4, 7.4], [13.0, 8.0, 7.0], [14.6, 8.0, 7.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(BOX.is_inside(GRID.to_mm(inside)), [True, True, True, False, False])


def test_a_graft_that_turned_is_measured_where_it_lies(specify, empty_catalogue, field):
    spec = specify("cells", 1.0)
    scan, _ = simulate_scan(spec, 3)
    field_map = field(scan)
    catalogue = measure_grafts(scan, field_map, empty_catalogue, QuantifyConfig())
    regions = find_graft_regions(catalogue, scan, field_map, QuantifyConfig())
    # The posture leads from the moved scan's space to the body's, which is that of the first scan.
    posture = Rigid.from_twist((0.13, -0.08, 0.11, 0.2, -0.15, 0.25))
    moved, _ = simulate_moved_scan(spec, 3, posture, visit=1)
    moved_map = field(moved)
    (moment,), (err,) = measure_regions(
        list(regions.values()), [posture.inverse()], moved, moved_map, empty_catalogue, QuantifyConfig()
    )
    true, true_err = (float(catalogue.clusters[name][0]) for name in ("moment_am2", "moment_am2_err"))
    assert abs(moment - true) < 3 * np.hypot(err, true_err)
    assert moment > 5 * err
    (still,), _ = measure_regions(
        list(regions.values()), [Rigid.from_twist((1.2, 0, 0, 0, 0, 0))], moved, moved_map, empty_catalogue,
        QuantifyConfig(),
    )  # fmt: skip
    assert not still > 0.5 * moment


def test_no_graft_has_no_region(empty_catalogue, specify, field):
    scan, _ = simulate_scan(specify("cells", 1.0), 3)
    assert find_graft_regions(empty_catalogue, scan, field(scan), QuantifyConfig()) == {}
