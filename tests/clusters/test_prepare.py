"""Signal tables are kept from scan to scan, but only where the protocol is the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.clusters.prepare import PointSpread, build_tables, prepare_scan
from ferrosight.field import measure_field
from ferrosight.physics.cluster_signal import Readout, build_signal_table
from ferrosight.types import AxisSupport, Scan
from ferrosight.types.config import FieldConfig

FULL = AxisSupport()
SPREAD = PointSpread("kspace", (FULL, FULL, FULL), Readout(), "as acquired")
LEVELS = slice(5, 7)


def make_scan(seed: int, voxel_mm: tuple[float, float, float] = (0.1, 0.12, 0.15), turn: float = 0.3) -> Scan:
    rng = np.random.default_rng(seed)
    shape = (2, 9, 8, 7)
    signal = 30 + rng.normal(size=shape) + 1j * rng.normal(size=shape)
    cosine, sine = np.cos(turn), np.sin(turn)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) * voxel_mm
    return Scan(signal.astype(np.complex64), np.array([0.004, 0.008]), 7.0, affine)


def build(scan: Scan, spread: PointSpread = SPREAD, levels: slice = LEVELS):
    prepared = prepare_scan(scan, measure_field(scan, FieldConfig()), 1.0)
    (table,) = build_tables(scan, prepared, spread, ("dipole",), levels)
    return table, prepared


def test_scans_of_one_protocol_share_a_table():
    assert build(make_scan(1))[0] is build(make_scan(2))[0]


def test_with_one_echo_none_is_kept():
    one = [
        dataclasses.replace(scan, signal=scan.signal[:1], echo_times_s=[0.004]) for scan in (make_scan(1), make_scan(2))
    ]
    first, second = (build(scan)[0] for scan in one)
    assert first is not second
    np.testing.assert_array_equal(first.values, second.values)


@pytest.mark.parametrize(
    ("scan", "spread", "levels"),
    [
        (make_scan(1, voxel_mm=(0.1, 0.12, 0.16)), SPREAD, LEVELS),
        (make_scan(1, turn=0.31), SPREAD, LEVELS),
        (make_scan(1), PointSpread("box", (FULL, FULL, FULL), Readout(), ""), LEVELS),
        (make_scan(1), PointSpread("kspace", (FULL, FULL, AxisSupport(-0.5, 0.25)), Readout(), ""), LEVELS),
        (make_scan(1), PointSpread("kspace", (FULL, FULL, FULL), Readout(1, 0.2), ""), LEVELS),
        (make_scan(1), SPREAD, slice(5, 8)),
    ],
    ids=["voxels", "direction of B0", "point spread", "support", "readout", "levels"],
)
def test_another_protocol_has_a_table_of_its_own(scan, spread, levels):
    usual, _ = build(make_scan(1))
    table, prepared = build(scan, spread, levels)
    assert table is not usual
    direct = build_signal_table(
        "dipole",
        scan.grid.voxel_mm,
        scan.b0_in_array,
        spread.kind,
        spread.supports,
        prepared.voxels,
        readout=spread.readout,
        levels=levels,
    )
    np.testing.assert_array_equal(table.values, direct.values)
    assert not np.array_equal(table.values, usual.values, equal_nan=True)
