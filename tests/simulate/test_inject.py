"""Injection into a scan equals simulating with the sources there from the start."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.simulate import Point, ScanSpec, build_affine, inject_clusters, simulate_scan
from ferrosight.types import AxisSupport, PhaseSign

POSITIONS = [(0.13, -0.21, 0.08), (-0.31, 0.22, -0.15), (0.33, 0.05, 0.12)]
MOMENTS = [2e-12, 4e-13, -1e-12]
CORES = [30.0, 0.0, 20.0]


def make_spec(**changes: Any) -> ScanSpec:
    shape = (27, 24, 21)
    spec = ScanSpec(
        shape,
        build_affine(shape, (0.1, 0.08, 0.13), (20, -10, 30)),
        (0.005, 0.010),
        7.0,
        r2star_per_s=30.0,
        background_hz=10.0,
        receive_variation=0.2,
        phase_sign=PhaseSign.NEGATIVE,
        b0_direction=(0.6, 0.0, 0.8),
    )
    return dataclasses.replace(spec, **changes)


SOURCES = tuple(Point(p, m, c) for p, m, c in zip(POSITIONS, MOMENTS, CORES, strict=True))


def test_box_injection_equals_simulation() -> None:
    bare, _ = simulate_scan(make_spec(), 1)
    full, _ = simulate_scan(make_spec(sources=SOURCES), 1)
    injected = inject_clusters(bare, POSITIONS, MOMENTS, core_radii_um=CORES)
    np.testing.assert_allclose(injected.signal, full.signal, atol=2e-6)
    assert np.abs(injected.signal - bare.signal).max() > 0.3
    np.testing.assert_array_equal(injected.affine, bare.affine)


@pytest.mark.slow
@pytest.mark.parametrize("low", [-0.5, -0.3])
def test_kspace_injection_equals_simulation(low: float) -> None:
    support = (AxisSupport(low, 0.5), AxisSupport(), AxisSupport())
    spec = make_spec(point_spread="kspace", support=support)
    bare, _ = simulate_scan(spec, 1)
    full, _ = simulate_scan(dataclasses.replace(spec, sources=SOURCES), 1)
    injected = inject_clusters(bare, POSITIONS, MOMENTS, core_radii_um=CORES, point_spread="kspace", support=support)
    # what the support cut off the bare scan is missing under the clusters
    tolerance = 2e-6 if low == -0.5 else 0.03
    np.testing.assert_allclose(injected.signal, full.signal, atol=tolerance)


def test_injecting_one_by_one_differs_where_phases_should_have_added() -> None:
    bare, _ = simulate_scan(make_spec(), 1)
    near = [POSITIONS[0], tuple(np.array(POSITIONS[0]) + 0.03)]
    together = inject_clusters(bare, near, [2e-12, 2e-12])
    apart = inject_clusters(inject_clusters(bare, near[:1], [2e-12]), near[1:], [2e-12])
    assert np.abs(together.signal - apart.signal).max() > 0.05


def test_nothing_injected_changes_nothing() -> None:
    bare, _ = simulate_scan(make_spec(snr=20.0), 1)
    np.testing.assert_allclose(inject_clusters(bare, np.zeros((0, 3)), []).signal, bare.signal, atol=1e-6)


def test_bad_injections_are_refused() -> None:
    bare, _ = simulate_scan(make_spec(), 1)
    with pytest.raises(InputError, match=r"positions must have shape \(n, 3\)"):
        inject_clusters(bare, POSITIONS, MOMENTS[:2])
    with pytest.raises(InputError, match="point_spread must be"):
        inject_clusters(bare, POSITIONS, MOMENTS, point_spread="gauss")  # type: ignore[arg-type]
    unknown = dataclasses.replace(bare, phase_sign=PhaseSign.UNKNOWN)
    with pytest.raises(InputError, match="phase sign to be injected"):
        inject_clusters(unknown, POSITIONS, MOMENTS)
