"""From a scan and places to a table: neighbours taken off, outside said to be so, the sign of phase asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ferrosight as fs
from ferrosight.clusters import find_clusters, measure_at
from ferrosight.errors import InputError
from ferrosight.field import measure_field
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Catalogue, FieldMap, PhaseSign, Scan, Table
from ferrosight.types.config import ClustersConfig, FieldConfig

SHAPE, VOXEL_MM = (36, 40, 24), (0.11, 0.1, 0.09)
MOMENTS = (4e-13, 8e-13, 1.6e-12, 3e-12)
VOXELS = np.array([[8.2, 8.4, 6.9], [27.7, 9.1, 16.6], [8.8, 30.8, 16.2], [12.9, 30.1, 16.4]])


@pytest.fixture(scope="module")
def measured() -> tuple[Scan, FieldMap, Catalogue]:
    """An oblique scan, phase falling with field, of four clusters, the last two four voxels apart."""
    affine = build_affine(SHAPE, VOXEL_MM, (20.0, 10.0, -15.0))
    mm = VOXELS @ affine[:3, :3].T + affine[:3, 3]
    points = tuple(Point(tuple(at), moment) for at, moment in zip(mm, MOMENTS, strict=True))
    spec = ScanSpec(
        SHAPE,
        affine,
        b0_t=7.0,
        echo_times_s=(0.004, 0.008),
        snr=40.0,
        sources=points,
        point_spread="kspace",
        phase_sign=PhaseSign.NEGATIVE,
    )
    scan, _ = simulate_scan(spec, 5)
    field_map = measure_field(scan, FieldConfig())
    return scan, field_map, find_clusters(scan, field_map, ClustersConfig())[1]


def measure(measured: tuple[Scan, FieldMap, Catalogue], mm: Any, **options: Any) -> Table:
    scan, field_map, catalogue = measured
    return measure_at(scan, field_map, mm, ClustersConfig(), **{"catalogue": catalogue, **options})


def is_right(table: Table, truth: Any) -> NDArray[np.bool_]:
    """Within four errors, and 3 % of the truth for the tabulated point spread."""
    error = np.hypot(table["moment_am2_err"], 0.03 * np.asarray(truth))
    return np.asarray(np.abs(table["moment_am2"] - truth) < 4 * error)


def test_every_cluster_is_measured_where_it_is_and_nothing_where_there_is_none(measured: Any) -> None:
    mm = measured[0].grid.to_mm(np.vstack([VOXELS, [[18.0, 20.3, 11.6]]]))
    table = measure(measured, mm)
    assert is_right(table, [*MOMENTS, 0.0]).all(), table["moment_am2"]
    assert table["moment_am2_err"][4] < 0.3 * MOMENTS[0]
    np.testing.assert_allclose(np.column_stack([table[f"{axis}_mm"] for axis in "xyz"]), mm)
    half = (table["moment_am2_high"] - table["moment_am2_low"]) / 2
    np.testing.assert_allclose(half, 1.959964 * table["moment_am2_err"])
    assert "joint_fit" in table["remarks"][2]
    assert table["n_neighbours"].tolist() == [0, 0, 1, 1, 0]


def test_what_the_catalogue_knows_beside_a_place_is_taken_off_and_the_place_itself_is_not(measured: Any) -> None:
    mm = measured[0].grid.to_mm(VOXELS[2:3])
    table = measure(measured, mm)
    assert is_right(table, MOMENTS[2]).all()
    assert table["n_neighbours"].tolist() == [1]
    without = measure(measured, mm, catalogue=None)
    assert without["n_neighbours"].tolist() == [0]
    assert "poor_fit" in without["remarks"][0]
    assert "poor_fit" not in table["remarks"][0]
    assert without["moment_am2_err"][0] > 3 * table["moment_am2_err"][0]


def test_a_prior_on_the_position_finds_the_cluster_beside_the_place(measured: Any) -> None:
    scan = measured[0]
    mm = scan.grid.to_mm(VOXELS[:2]) + np.array([0.04, -0.03, 0.03])
    assert not is_right(measure(measured, mm), MOMENTS[:2]).any()
    assert is_right(measure(measured, mm, positions_mm_err=0.04), MOMENTS[:2]).all()
    # Where one scanner axis is not known, only along that axis may it move.
    along = np.array([[0.06, 0.0, 0.0]])
    true = scan.grid.to_mm(VOXELS[1:2])
    right, wrong = (measure(measured, true + along, positions_mm_err=err) for err in ([0.05, 0, 0], [0, 0.05, 0.05]))
    assert is_right(right, MOMENTS[1]).all()
    assert right["chi2_dof"][0] < 1.2 < wrong["chi2_dof"][0]


def test_outside_there_is_no_value_and_no_error_rises(measured: Any) -> None:
    scan, field_map, catalogue = measured
    mm = scan.grid.to_mm([[-3, 5, 5], [5, 5, 24.0], [18.0, 20.3, 11.6]])
    mm = np.vstack([mm, [[np.nan, 0, 0]]])
    table = measure(measured, mm)
    assert np.isnan(table["moment_am2"]).tolist() == [True, True, False, True]
    assert np.isnan(table["moment_am2_high"]).tolist() == [True, True, False, True]
    assert [remarks.split(";")[0] for remarks in table["remarks"]] == ["outside", "outside", "", "outside"]
    mask = field_map.mask.copy()
    mask[17:20, 19:22, 10:13] = False
    masked = dataclasses.replace(field_map, mask=mask)
    table = measure_at(scan, masked, mm[2:3], ClustersConfig(), catalogue=catalogue)
    assert table["remarks"].tolist() == ["outside"]
    assert len(measure(measured, np.zeros((0, 3)))) == 0


def test_a_window_that_holds_too_little_has_no_value(measured: Any) -> None:
    scan, field_map, catalogue = measured
    mask = np.zeros_like(field_map.mask)
    mask[17:20, 19:22, 10:13] = True
    table = measure_at(
        scan,
        dataclasses.replace(field_map, mask=mask),
        scan.grid.to_mm([[18.0, 20.3, 11.6]]),
        ClustersConfig(),
        catalogue=catalogue,
    )
    assert np.isnan(table["moment_am2"]).all()
    assert "fit_failed" in table["remarks"][0]


def test_a_cluster_of_the_other_polarity_is_negative(measured: Any) -> None:
    scan, field_map, _ = measured
    other = dataclasses.replace(scan, phase_sign=PhaseSign.POSITIVE)
    table = measure_at(other, field_map, scan.grid.to_mm(VOXELS[:2]), ClustersConfig())
    assert is_right(table, [-MOMENTS[0], -MOMENTS[1]]).all()


def test_the_sign_of_phase_must_be_known(measured: Any) -> None:
    scan, field_map, catalogue = measured
    unsigned = dataclasses.replace(scan, phase_sign=PhaseSign.UNKNOWN)
    mm = scan.grid.to_mm(VOXELS[:1])
    table = measure_at(unsigned, field_map, mm, ClustersConfig(), catalogue=catalogue)
    assert is_right(table, MOMENTS[0]).all()
    with pytest.raises(InputError, match="sign of phase"):
        measure_at(unsigned, field_map, mm, ClustersConfig())
    unsettled = dataclasses.replace(catalogue, phase_sign=PhaseSign.UNKNOWN)
    for one in (scan, unsigned):
        with pytest.raises(InputError, match="sign"):
            measure_at(one, field_map, mm, ClustersConfig(), catalogue=unsettled)


@pytest.mark.parametrize(
    ("mm", "err", "said"),
    [
        (np.zeros(3), None, "positions_mm must have shape"),
        (np.zeros((2, 2)), None, "positions_mm must have shape"),
        (np.zeros((2, 3)), np.zeros((3, 3)), "positions_mm_err must have the shape"),
        (np.zeros((2, 3)), -1.0, "zero or positive"),
        (np.zeros((2, 3)), np.nan, "zero or positive"),
    ],
)
def test_shapes_that_do_not_match_are_refused(measured: Any, mm: Any, err: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure(measured, mm, positions_mm_err=err)


def test_a_script_needs_the_scan_and_the_places(measured: Any) -> None:
    scan, _, catalogue = measured
    mm = scan.grid.to_mm(VOXELS)
    table = fs.measure_at(scan, mm, catalogue=catalogue)
    np.testing.assert_array_equal(table["moment_am2"], measure(measured, mm)["moment_am2"])
