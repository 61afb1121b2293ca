"""A simulated scan against the analytic field, and against its own truth."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve

from ferrosight.physics.constants import MU0
from ferrosight.physics.dipole import cylinder_field, harmonic_pattern, phase_amplitude_rad_m3, sphere_field
from ferrosight.simulate import (
    Cells,
    Ellipsoid,
    PlacedCells,
    Point,
    ScanSpec,
    Sphere,
    Vein,
    build_affine,
    build_bubble,
    build_graft,
    simulate_scan,
)
from ferrosight.types import AxisSupport, PhaseSign, Scan

#: Binomial weights along each axis: nothing of what changes sign from voxel to voxel passes.
_ROW = np.array([1, 4, 6, 4, 1]) / 16
BINOMIAL = np.multiply.outer(np.multiply.outer(_ROW, _ROW), _ROW)
POSITION = (0.13, -0.21, 0.08)
TILTED = (0.6, 0.0, 0.8)


def make_spec(**changes: Any) -> ScanSpec:
    """Unequal voxels, an oblique affine, odd axes, no noise."""
    shape = (27, 24, 21)
    spec = ScanSpec(shape, build_affine(shape, (0.1, 0.08, 0.13), (20, -10, 30)), (0.005, 0.010), 7.0)
    return dataclasses.replace(spec, **changes)


def offsets_m(scan: Scan, position_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """From a position to every voxel centre (x, y, z, 3), in scanner axes."""
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in scan.grid.shape), indexing="ij"), axis=-1)
    return np.asarray((scan.grid.to_mm(ijk) - np.array(position_mm)) * 1e-3)


@pytest.mark.parametrize("point_spread", ["box", pytest.param("kspace", marks=pytest.mark.slow)])
@pytest.mark.parametrize("b0_direction", [(0.0, 0.0, 1.0), TILTED])
@pytest.mark.parametrize("sign", [PhaseSign.POSITIVE, PhaseSign.NEGATIVE])
def test_far_field_is_the_analytic_dipole(point_spread: str, b0_direction: Any, sign: PhaseSign) -> None:
    moment = 2e-12
    spec = make_spec(
        sources=(Point(POSITION, moment),), b0_direction=b0_direction, phase_sign=sign, point_spread=point_spread
    )
    scan, _ = simulate_scan(spec, 1)
    offsets = offsets_m(scan, POSITION)
    r = np.linalg.norm(offsets, axis=-1)
    far = r > 0.5e-3
    for echo, time in enumerate(scan.echo_times_s):
        p = phase_amplitude_rad_m3(moment, time)
        phase = int(sign) * p * harmonic_pattern("dipole", offsets, b0_direction)
        measured, expected = scan.signal[echo], np.exp(1j * phase)
        if point_spread == "kspace":
            # truncation rings from voxel to voxel all over the image: average it away on both sides
            measured, expected = (convolve(image, BINOMIAL, mode="wrap") for image in (measured, expected))
        error = np.angle(measured * expected.conj())[far]
        assert np.sqrt((error**2).mean() / (phase[far] ** 2).mean()) < 0.02
        slope = (np.angle(measured)[far] * phase[far]).sum() / (phase[far] ** 2).sum()
        assert slope == pytest.approx(1, abs=0.01)


def test_a_saturated_moment_shows_the_same_at_any_field_strength() -> None:
    sources = (Point(POSITION, 2e-12, core_radius_um=15.0),)
    low, _ = simulate_scan(make_spec(sources=sources, b0_t=1.5), 1)
    high, _ = simulate_scan(make_spec(sources=sources, b0_t=9.4), 1)
    np.testing.assert_array_equal(low.signal, high.signal)


def test_phase_sign_conjugates() -> None:
    sources = (Point(POSITION, 2e-12), Vein((-0.5, -0.4, 0.2), (0.5, 0.3, 0.1), 50.0, 2e-7))
    rising, _ = simulate_scan(make_spec(sources=sources), 1)
    falling, _ = simulate_scan(make_spec(sources=sources, phase_sign=PhaseSign.NEGATIVE), 1)
    np.testing.assert_allclose(rising.signal, falling.signal.conj(), atol=1e-6)
    assert falling.phase_sign == PhaseSign.NEGATIVE


def test_sphere_is_the_analytic_sphere() -> None:
    spec = make_spec(sources=(Sphere(POSITION, 150.0, 1e-7, "haemorrhage", inside_per_s=0.0),), b0_direction=TILTED)
    scan, truth = simulate_scan(spec, 1)
    offsets = offsets_m(scan, POSITION)
    phase = 2 * np.pi * 42.577478518e6 * 7.0 * 0.010 * sphere_field(offsets, 150e-6, 1e-7, TILTED)
    r = np.linalg.norm(offsets, axis=-1)
    inside, outside = r < 60e-6, r > 400e-6
    np.testing.assert_allclose(np.angle(scan.signal[1])[inside], 0, atol=0.01)
    np.testing.assert_allclose(np.angle(scan.signal[1])[outside], phase[outside], atol=0.02 * np.abs(phase).max())
    assert truth.table["moment_am2"][0] == pytest.approx(4 / 3 * np.pi * 150e-6**3 * 1e-7 * 7.0 / MU0)


def test_long_vein_is_the_analytic_cylinder() -> None:
    axis = np.array([0.3, 0.9, -0.3]) / np.linalg.norm([0.3, 0.9, -0.3])
    ends = [tuple(np.array(POSITION) + side * 20 * axis) for side in (-1, 1)]
    spec = make_spec(sources=(Vein(ends[0], ends[1], 120.0, 1e-7),), b0_direction=TILTED)
    scan, truth = simulate_scan(spec, 1)
    offsets = offsets_m(scan, POSITION)
    phase = 2 * np.pi * 42.577478518e6 * 7.0 * 0.010 * cylinder_field(offsets, axis, 120e-6, 1e-7, TILTED)
    rho = np.linalg.norm(offsets - (offsets @ axis)[..., None] * axis, axis=-1)
    clear = (rho < 20e-6) | (rho > 300e-6)
    np.testing.assert_allclose(np.angle(scan.signal[1])[clear], phase[clear], atol=0.02 * np.abs(phase).max())
    np.testing.assert_allclose([truth.table[a][0] for a in ("x_mm", "y_mm", "z_mm")], POSITION, atol=1e-9)
    expected = 1e-7 * np.pi * 120e-6**2 * 40e-3 * 7.0 / MU0
    assert truth.table["moment_am2"][0] == pytest.approx(expected)


def test_truth_tells_what_was_put_in() -> None:
    sources = (
        Point(POSITION, 2e-13, iron_pg=2.1, n_cells=1),
        Cells((0.3, 0.2, 0.1), 25.0, 1e-12, 20, iron_pg=10.7),
        build_bubble((-0.4, 0.3, 0.0), 30.0),
        Sphere((0.4, -0.4, 0.2), 60.0, -1e-6, "calcification"),
        Vein((-0.9, 0.0, 0.0), (0.9, 0.0, 0.1), 40.0, 3e-7),
        Point((0.0, 0.5, -0.3), 3e-12, kind="haemorrhage"),
        build_graft((0.5, 0.4, -0.2), (60.0, 90.0, 40.0), 1e-11, 7.0, rotation_deg=(10.0, 20.0, 30.0)),
    )
    _, truth = simulate_scan(make_spec(sources=sources), 5)
    table = truth.table
    assert table["kind"].tolist() == ["labelled", "labelled", "air", "calcification", "vein", "haemorrhage", "labelled"]
    assert (np.sign(table["moment_am2"]) == [1, 1, 1, -1, 1, 1, 1]).all()
    np.testing.assert_array_equal(table["n_cells"], [1, 20, *[math.nan] * 5])
    np.testing.assert_array_equal(table["iron_pg"], [2.1, 10.7, *[math.nan] * 5])
    assert truth.seed == 5
    np.testing.assert_allclose(truth.voxel_mm, make_spec().grid.voxel_mm)
    np.testing.assert_allclose(table["radius_mm"][[0, 2, 3, 4, 5, 6]], [0.0, 0.03, 0.06, 0.04, 0.0, 0.09])
    assert 0.01 < table["radius_mm"][1] < 0.05  # the farthest cell from the centroid of those drawn within 25 µm
    axes = np.column_stack([table[f"axis_{a}_mm"] for a in "xyz"])
    np.testing.assert_allclose(axes[4], [0.9, 0.0, 0.05])
    assert not np.delete(axes, 4, axis=0).any()
    centroid = np.array([table[a][1] for a in ("x_mm", "y_mm", "z_mm")])
    assert 0 < np.linalg.norm(centroid - (0.3, 0.2, 0.1)) < 0.025


def test_no_sources_leave_an_empty_truth() -> None:
    scan, truth = simulate_scan(make_spec(), 0)
    assert len(truth.table) == 0
    np.testing.assert_allclose(scan.signal, 1, atol=1e-6)


FULL: dict[str, Any] = {
    "sources": (Cells(POSITION, 20.0, 1e-12, 5),),
    "snr": 30.0,
    "receive_variation": 0.2,
    "background_hz": 20.0,
    "coil_phase_rad": 0.4,
    "texture_ppm": 0.01,
    "noise_variation": 0.2,
    "tissue_fraction": 0.9,
    "r2star_per_s": 25.0,
}


def test_a_seed_fixes_everything() -> None:
    first, _ = simulate_scan(make_spec(**FULL), 3)
    again, _ = simulate_scan(make_spec(**FULL), 3)
    other, _ = simulate_scan(make_spec(**FULL), 4)
    np.testing.assert_array_equal(first.signal, again.signal)
    assert np.abs(first.signal - other.signal).mean() > 0.01


def test_parts_draw_from_streams_of_their_own() -> None:
    whole, _ = simulate_scan(make_spec(**FULL), 3)
    without, _ = simulate_scan(make_spec(**{**FULL, "sources": ()}), 3)
    far = np.linalg.norm(offsets_m(whole, POSITION), axis=-1) > 0.6e-3
    # the same noise and background: what is left far away is the cluster's own weak phase
    assert np.abs(whole.signal - without.signal)[:, far].max() < 0.05
    silent, _ = simulate_scan(make_spec(**{**FULL, "snr": math.inf}), 3)
    noise = whole.signal - silent.signal
    assert noise.real.std() == pytest.approx(1 / 30, rel=0.1)


def test_cells_spread_over_voxels_dephase_less_than_one_point() -> None:
    # beyond the cluster both look alike; in its centre only the point's field is extreme
    cells, truth = simulate_scan(make_spec(sources=(Cells(POSITION, 120.0, 4e-12, 100),)), 2)
    centroid = tuple(float(truth.table[a][0]) for a in ("x_mm", "y_mm", "z_mm"))
    point, _ = simulate_scan(make_spec(sources=(Point(centroid, 4e-12),)), 2)
    r = np.linalg.norm(offsets_m(cells, centroid), axis=-1)  # type: ignore[arg-type]
    shell = (r > 360e-6) & (r < 700e-6)
    difference = np.abs(cells.signal - point.signal)[1][shell]
    effect = np.abs(1 - point.signal)[1][shell]
    assert np.sqrt((difference**2).mean() / (effect**2).mean()) < 0.05
    assert np.abs(cells.signal - point.signal)[1].max() > 0.2


def test_a_bubble_is_dark_where_iron_of_its_moment_only_dephases() -> None:
    scan, truth = simulate_scan(make_spec(sources=(build_bubble((0.05, 0.0, 0.0), 45.0),), echo_times_s=(1e-6,)), 1)
    missing = float((1 - np.abs(scan.signal[0])).sum())
    assert missing * scan.grid.voxel_volume_m3 == pytest.approx(4 / 3 * np.pi * 45e-6**3, rel=0.02)
    iron = Point((0.05, 0.0, 0.0), float(truth.table["moment_am2"][0]), core_radius_um=45.0)
    same, _ = simulate_scan(make_spec(sources=(iron,), echo_times_s=(1e-6,)), 1)
    assert float((1 - np.abs(same.signal[0])).sum()) < 0.01 * missing


def test_zero_filled_scan_is_empty_beyond_its_support() -> None:
    support = (AxisSupport(-0.5, 0.25), AxisSupport(), AxisSupport(-0.25, 0.25))
    for point_spread in ("box", "kspace"):
        spec = make_spec(**FULL, support=support, point_spread=point_spread)
        spec = dataclasses.replace(spec, noise_variation=0.0)
        scan, _ = simulate_scan(spec, 1)
        spectrum = np.abs(np.fft.fftn(scan.signal, axes=(1, 2, 3)))
        outside = np.fft.fftfreq(27) > 0.26
        assert spectrum[:, outside].max() < 1e-4 * spectrum.max()


@pytest.mark.parametrize("b0_direction", [(0.0, 0.0, 1.0), TILTED])
def test_a_solid_graft_and_its_cells_are_a_dipole_of_the_true_moment_from_afar(b0_direction: Any) -> None:
    rng = np.random.default_rng(20261123)
    graft = build_graft(POSITION, (160.0, 110.0, 90.0), 3e-12, 7.0, rotation_deg=(30, 10, -50), iron_pg=32.0, n_cells=3)
    cells = np.array(POSITION) + rng.uniform(-0.12, 0.12, (40, 3))
    placed = PlacedCells(cells, rng.uniform(0.5, 1.5, 40) * 3e-12 / 40, 7.0, iron_pg=30.0, n_cells=40)
    for source in (graft, placed):
        scan, truth = simulate_scan(make_spec(sources=(source,), b0_direction=b0_direction), 1)
        centre = tuple(float(truth.table[a][0]) for a in ("x_mm", "y_mm", "z_mm"))
        moment = float(truth.table["moment_am2"][0])
        offsets = offsets_m(scan, centre)  # type: ignore[arg-type]
        far = np.linalg.norm(offsets, axis=-1) > 0.7e-3
        phase = phase_amplitude_rad_m3(moment, 0.010) * harmonic_pattern("dipole", offsets, b0_direction)
        measured = np.angle(scan.signal[1])[far]
        assert (measured * phase[far]).sum() / (phase[far] ** 2).sum() == pytest.approx(1, abs=0.02)
    assert moment == pytest.approx(placed.moments_am2.sum())
    assert truth.table["n_cells"][0] == 40


def test_signal_inside_a_solid_graft_decays_at_its_own_rate() -> None:
    body = Ellipsoid(POSITION, (400.0, 350.0, 380.0), 0.0, "labelled", inside_per_s=80.0)
    scan, _ = simulate_scan(make_spec(sources=(body,), r2star_per_s=20.0), 1)
    r = np.linalg.norm(offsets_m(scan, POSITION), axis=-1)
    np.testing.assert_allclose(np.abs(scan.signal[1])[r < 0.2e-3], np.exp(-100 * 0.010), rtol=1e-5)
    np.testing.assert_allclose(np.abs(scan.signal[1])[r > 0.55e-3], np.exp(-20 * 0.010), rtol=1e-5)
