"""The same anatomy at every posture, and B0's direction with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ferrosight.simulate import Cells, Ellipsoid, Point, ScanSpec, Sphere, Vein, build_affine, simulate_moved_scan
from ferrosight.simulate.moved import Waves, move_source, see_in_voxels
from ferrosight.simulate.spec import build_rotation
from ferrosight.types import Grid, Rigid

MOTION = Rigid.from_twist([0.4, -0.3, 0.2, 0.3, -0.2, 0.5])
SHAPE = (20, 26, 17)
SPEC = ScanSpec(
    SHAPE,
    build_affine(SHAPE, (0.1, 0.12, 0.15), (10.0, 20.0, -5.0)),
    (0.004, 0.01),
    9.4,
    r2star_per_s=30.0,
    r2star_variation=0.2,
    density_variation=0.1,
    structure_mm=0.5,
    tissue_fraction=0.8,
    point_spread="kspace",
)


def turn_grid(grid: Grid, motion: Rigid) -> Grid:
    return Grid(grid.shape, motion.inverse().affine @ grid.affine)


@pytest.mark.parametrize("changes", [{}, {"texture_ppm": 0.01, "texture_mm": 0.2}, {"fat_share": 0.2}])
def test_a_grid_that_turns_with_subject_and_magnet_shows_the_same(changes: dict[str, float]) -> None:
    spec = replace(SPEC, **changes, sources=(Point((0.2, -0.1, 0.3), 1e-12),))
    here, truth = simulate_moved_scan(spec, 5, Rigid.identity())
    b0 = MOTION.inverse().turn(np.array(spec.b0_direction))
    turned = replace(spec, b0_direction=(float(b0[0]), float(b0[1]), float(b0[2])))
    there, moved = simulate_moved_scan(turned, 5, MOTION, grid=turn_grid(spec.grid, MOTION))
    np.testing.assert_allclose(there.signal, here.signal, atol=2e-5)
    place = [[float(table.table[f"{axis}_mm"][0]) for axis in "xyz"] for table in (moved, truth)]
    np.testing.assert_allclose(MOTION.apply(place[0]), place[1], atol=1e-12)


def test_a_field_turns_when_the_magnet_does_not() -> None:
    spec = replace(SPEC, texture_ppm=0.05, texture_mm=0.2)
    here, _ = simulate_moved_scan(spec, 5, Rigid.identity())
    there, _ = simulate_moved_scan(spec, 5, MOTION, grid=turn_grid(spec.grid, MOTION))
    np.testing.assert_allclose(np.abs(there.signal), np.abs(here.signal), atol=2e-5)
    assert np.abs(there.signal - here.signal).max() > 0.05


def test_waves_have_unit_spread_and_the_correlation_asked_for() -> None:
    grid = Grid((60, 50, 40), np.diag([0.5, 0.6, 0.7, 1.0]))
    drawn = [Waves.draw(1.0, np.random.default_rng(seed)).evaluate(grid, Rigid.identity()) for seed in range(10)]
    assert np.std(drawn) == pytest.approx(1, rel=0.05)
    # white noise smoothed by s correlates as exp(-d²/4s²)
    together = np.mean([np.mean(one[:-2] * one[2:]) for one in drawn])
    assert together == pytest.approx(np.exp(-0.25), abs=0.05)


def test_a_wave_field_is_that_of_the_dipole_kernel() -> None:
    grid = Grid((12, 10, 8), np.diag([0.3, 0.2, 0.4, 1.0]))
    wave = Waves(np.array([[2 * np.pi / 3.6, 2 * np.pi / 2.0, 0.0]]), np.array([1.0 + 0j]))
    b0 = np.array([0.6, 0.0, 0.8])
    from ferrosight.physics.dipole import dipole_kernel

    chi = wave.evaluate(grid, Rigid.identity())
    expected = np.fft.ifftn(np.fft.fftn(chi) * dipole_kernel(grid.shape, grid.voxel_mm, b0)).real
    np.testing.assert_allclose(wave.field(b0).evaluate(grid, Rigid.identity()), expected, atol=1e-12)


def test_what_the_voxels_can_hold_is_seen_as_it_is_at_their_centres() -> None:
    """Cut off in k-space, a wave longer than two voxels keeps its height; averaged over a box it loses some."""
    x = np.arange(2 * SHAPE[0]) / 2 - 0.25
    fine = np.broadcast_to(np.cos(2 * np.pi * 6 * x / SHAPE[0])[:, None, None], [2 * n for n in SHAPE])
    at_centres = np.cos(2 * np.pi * 6 * np.arange(SHAPE[0]) / SHAPE[0])
    seen, averaged = (see_in_voxels(fine, replace(SPEC, point_spread=one))[:, 3, 4] for one in ("kspace", "box"))
    np.testing.assert_allclose(seen, at_centres, atol=1e-12)
    assert 0.8 < averaged.max() < 0.95


@pytest.mark.parametrize(
    "source",
    [
        Point((0.1, 0.2, 0.3), 1e-12),
        Sphere((0.1, 0.2, 0.3), 30.0, 1e-6, "haemorrhage"),
        Cells((0.1, 0.2, 0.3), 50.0, 1e-12, 5),
        Ellipsoid((0.1, 0.2, 0.3), (50.0, 30.0, 20.0), 1e-6, "labelled", (10.0, 50.0, -70.0)),
    ],
)
def test_moved_sources_lie_where_the_motion_takes_them(source: Point | Sphere | Cells | Ellipsoid) -> None:
    moved = move_source(source, MOTION, np.random.default_rng(1))
    if isinstance(source, Cells):
        still = move_source(source, Rigid.identity(), np.random.default_rng(1))
        np.testing.assert_allclose(moved.positions_mm, MOTION.apply(still.positions_mm))
    elif isinstance(source, Ellipsoid):
        np.testing.assert_allclose(moved.centre_mm, MOTION.apply(source.centre_mm))
        turned = MOTION.rotation @ build_rotation(source.rotation_deg)
        np.testing.assert_allclose(build_rotation(moved.rotation_deg), turned, atol=1e-12)
    else:
        np.testing.assert_allclose(moved.position_mm, MOTION.apply(source.position_mm))


def test_a_moved_vein_keeps_its_length() -> None:
    moved = move_source(Vein((0, 0, 0), (1, 2, 3), 50.0, 4e-7), MOTION, np.random.default_rng(1))
    np.testing.assert_allclose(moved.end_mm, MOTION.apply((1, 2, 3)))
    np.testing.assert_allclose(moved.start_mm, MOTION.apply((0, 0, 0)))


def test_visits_differ_in_what_the_scanner_adds_only() -> None:
    spec = replace(SPEC, snr=50.0, receive_variation=0.3)
    first, again, other = (simulate_moved_scan(spec, 5, MOTION, visit=visit)[0].signal for visit in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
