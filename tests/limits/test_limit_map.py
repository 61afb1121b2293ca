"""The map against the observer of each voxel's own signal and noise, and against the protocol that was simulated."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.errors import AnalysisError
from ferrosight.field import measure_field
from ferrosight.limits import find_limit, map_limit
from ferrosight.limits.observer import build_observer, observe_point
from ferrosight.simulate import ScanSpec, build_affine, simulate_scan
from ferrosight.types import AxisSupport, Config, FieldMap, Noise, Protocol, Scan, Search
from ferrosight.types.config import LimitsConfig

SHAPE = (7, 9, 5)
TIMES_S = (0.003, 0.007, 0.015)
SUPPORTS = (AxisSupport(-0.25, 0.5), AxisSupport(), AxisSupport(-0.25, 0.25))
VOXEL_MM = (0.06, 0.1, 0.08)
MS = 93.6


def make_scan(n_echoes: int = 3) -> Scan:
    affine = build_affine(SHAPE, VOXEL_MM, (25.0, 40.0, -10.0))
    return Scan(np.ones((n_echoes, *SHAPE), np.complex64), np.array(TIMES_S[:n_echoes]), 7.0, affine)


def make_field_map(scan: Scan, **changes: object) -> FieldMap:
    """Signal, relaxation and noise that differ from voxel to voxel; one corner lies outside the mask."""
    rng = np.random.default_rng(2)
    zeros = np.zeros(SHAPE, np.float32)
    mask = np.ones(SHAPE, bool)
    mask[:2, :2] = False
    sigma = rng.uniform(0.5, 2.0, scan.signal.shape).astype(np.float32)
    s0, r2star = (rng.uniform(low, high, SHAPE).astype(np.float32) for low, high in ((20, 90), (0, 150)))
    if len(scan.echo_times_s) == 1:
        r2star = np.full(SHAPE, np.nan, np.float32)
    noise = Noise(sigma, np.ones((1, 1, 1)), SUPPORTS)
    made = FieldMap(scan.grid, zeros, zeros, zeros, r2star, zeros, s0, mask, noise)
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("n_echoes", [1, 3])
def test_every_voxel_has_the_limit_of_its_own_signal_and_noise(n_echoes):
    scan = make_scan(n_echoes)
    field_map = make_field_map(scan)
    limit = map_limit(scan, field_map, MS, LimitsConfig())
    assert limit.search == Search(0.9, 1.0, float(np.count_nonzero(field_map.mask)))
    b0 = tuple(scan.b0_in_array.tolist())
    for i, j, k in [(3, 3, 1), (6, 8, 4), (0, 5, 2)]:
        r2star = 0.0 if n_echoes == 1 else float(field_map.r2star_per_s[i, j, k])
        moment = limit.iron_pg[i, j, k] * MS * 1e-15
        # One observer per echo, because the noise differs between echoes.
        total = 0.0
        for echo, time in enumerate(scan.echo_times_s):
            snr = float(field_map.s0[i, j, k] / field_map.noise.sigma[echo, i, j, k])
            protocol = Protocol(7.0, (float(time),), VOXEL_MM, snr, r2star, b0, SUPPORTS)
            total += observe_point(build_observer(protocol), moment).d_prime ** 2
        assert math.sqrt(total) == pytest.approx(limit.d_prime_required, rel=1e-4)


def test_outside_the_mask_and_where_the_signal_is_unknown_there_is_no_limit():
    scan = make_scan()
    field_map = make_field_map(scan)
    r2star = field_map.r2star_per_s.copy()
    r2star[4, 4, 2] = np.nan
    limit = map_limit(scan, dataclasses.replace(field_map, r2star_per_s=r2star), MS, LimitsConfig())
    known = np.isfinite(limit.iron_pg)
    expected = field_map.mask.copy()
    expected[4, 4, 2] = False
    np.testing.assert_array_equal(known, expected)
    assert limit.iron_pg.dtype == np.float32


def test_stronger_magnetisation_and_lower_demands_lower_the_limit():
    scan = make_scan()
    field_map = make_field_map(scan)
    plain = map_limit(scan, field_map, MS, LimitsConfig()).iron_pg
    np.testing.assert_allclose(map_limit(scan, field_map, 2 * MS, LimitsConfig()).iron_pg, plain / 2, rtol=1e-5)
    for easier in (LimitsConfig(power=0.5), LimitsConfig(false_per_scan=5.0)):
        assert np.nanmax(map_limit(scan, field_map, MS, easier).iron_pg / plain) < 1


def test_a_map_without_signal_is_refused():
    scan = make_scan()
    nothing = np.full(SHAPE, np.nan, np.float32)
    with pytest.raises(AnalysisError, match="a signal was expected"):
        map_limit(scan, make_field_map(scan, s0=nothing), MS, LimitsConfig())


@pytest.mark.slow
def test_a_simulated_scan_has_the_limit_of_its_protocol():
    shape, voxel_mm = (48, 40, 36), (0.1, 0.12, 0.15)
    supports = (AxisSupport(-0.25, 0.25), AxisSupport(), AxisSupport(-0.5, 0.25))
    affine = build_affine(shape, voxel_mm, (10.0, 0.0, 30.0))
    spec = ScanSpec(
        shape, affine, (0.004, 0.008, 0.012), 9.4, snr=40.0, r2star_per_s=35.0, point_spread="kspace", support=supports
    )
    scan, _ = simulate_scan(spec, seed=6)
    field_map = measure_field(scan, Config().field)
    limit = map_limit(scan, field_map, MS, LimitsConfig())
    b0 = tuple(scan.b0_in_array.tolist())
    protocol = Protocol(9.4, (0.004, 0.008, 0.012), voxel_mm, 40.0, 35.0, b0, supports)
    expected = find_limit(protocol, Search(0.9, 1.0, np.count_nonzero(field_map.mask)))
    median = float(np.nanmedian(limit.iron_pg)) * MS * 1e-15
    assert median == pytest.approx(expected.moment_am2, rel=0.05)
    assert limit.d_prime_required == pytest.approx(expected.d_prime_required, rel=0.01)
