"""Bodies through the box and through a truncated k-space, against brute force over the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

from ferrosight.simulate import near
from ferrosight.simulate import point_spread as point_spread_module
from ferrosight.simulate.averaging import find_reach
from ferrosight.simulate.bodies import Body, Swarm, Tube
from ferrosight.simulate.point_spread import (
    apply_bodies,
    average_over_voxels,
    limit_to_support,
    support_mask,
)
from ferrosight.simulate.spec import FULL_SUPPORT, PointSpread, Supports
from ferrosight.types import AxisSupport

VOXEL = np.array([1.0e-4, 0.8e-4, 1.25e-4])
B0 = np.array([0.3, -0.2, 0.93]) / np.linalg.norm([0.3, -0.2, 0.93])
TURNS = np.array([0.006, 0.012])
SHAPE = (12, 15, 10)


def make_point(p_over_voxel: float, position: tuple[float, ...], core_over_voxel: float = 0.0) -> Swarm:
    """A point at ``position`` (voxels) whose phase at the last echo is p(3cos²θ-1)/r³."""
    volume = float(np.prod(VOXEL))
    amplitude = p_over_voxel * volume / (2 * np.pi * TURNS[-1])
    return Swarm((np.array(position) * VOXEL)[None], np.array([amplitude]), core_over_voxel * np.cbrt(volume), B0)


def make_waves(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.complex128]:
    """A background of few waves, so that it is known between voxels too; positions in voxels."""
    turns = 2j * np.pi
    return np.asarray(
        1
        + 0.3 * np.exp(turns * (x / SHAPE[0] - y / SHAPE[1]))
        + 0.2j * np.exp(turns * (2 * y / SHAPE[1] + z / SHAPE[2]))
    )


def truncate_by_brute_force(bodies: list[Body], support: Supports, per_voxel: int) -> NDArray[np.complex128]:
    """FFT of the whole volume sampled ``per_voxel`` times per voxel edge, cut to the support."""
    axes = [(np.arange(n * per_voxel) + 0.5) / per_voxel - 0.5 for n in SHAPE]
    grid = np.meshgrid(*axes, indexing="ij")
    points = np.stack([g.ravel() * h for g, h in zip(grid, VOXEL, strict=True)], axis=-1)
    field = np.zeros(len(points))
    for body in bodies:
        field += body.field_and_gradient(points)[0]
    result = []
    for turns in TURNS:
        fine = make_waves(*grid) * np.exp(2j * np.pi * turns * field).reshape(grid[0].shape)
        spectrum = fft.fftn(fine, workers=2) / per_voxel**3
        for axis, (n, one) in enumerate(zip(SHAPE, support, strict=True)):
            lines = np.round(fft.fftfreq(n) * n).astype(int)
            spectrum = np.take(spectrum, lines, axis=axis)  # negative lines count from the end
            # the first sample lies half a voxel less half a cell before the first voxel's centre
            shift = np.exp(-2j * np.pi * lines / n * axes[axis][0]) * support_mask(n, one)
            spectrum *= shift.reshape([-1 if a == axis else 1 for a in range(3)])
        result.append(fft.ifftn(spectrum))
    return np.stack(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    "support",
    [
        FULL_SUPPORT,
        (AxisSupport(-0.5, 0.25), AxisSupport(-0.3, 0.3), AxisSupport()),
    ],
)
def test_truncation_equals_brute_force_over_the_whole_volume(support: Supports) -> None:
    bodies: list[Body] = [
        make_point(0.3, (5.2, 7.4, 4.7), core_over_voxel=0.35),
        make_point(-0.2, (7.1, 6.3, 5.9), core_over_voxel=0.35),
    ]
    expected = truncate_by_brute_force(bodies, support, 16)
    background = np.stack([make_waves(*np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))] * 2)
    result = apply_bodies(background, bodies, VOXEL, TURNS, "kspace", support, 16)
    effect = np.abs(expected - limit_to_support(background, support))
    error = np.abs(result - expected)
    assert np.sqrt((error**2).sum() / (effect**2).sum()) < 0.01
    # and it is not the box
    box = apply_bodies(background, bodies, VOXEL, TURNS, "box", support, 16)
    assert np.sqrt((np.abs(box - expected) ** 2).sum() / (effect**2).sum()) > 0.05


@pytest.mark.slow
def test_a_vein_between_points_and_far_from_one_equals_brute_force() -> None:
    start, end = (np.array(at) * VOXEL for at in ([2.9, 4.2, 6.3], [8.4, 9.8, 3.1]))
    length = float(np.linalg.norm(end - start))
    vein = Tube(start, (end - start) / length, length, 0.5e-4, 4e-7, 4e8, B0)
    # the last one is interpolated between voxels nearly everywhere
    bodies = [vein, make_point(0.2, (5.2, 4.1, 6.9), 0.35), make_point(-0.1, (7.3, 8.1, 6.2), 0.35)]
    bodies.append(make_point(16.0, (2.2, 22.4, 4.7)))
    background = np.stack([make_waves(*np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))] * 2)
    expected = truncate_by_brute_force(bodies, FULL_SUPPORT, 16)
    result = apply_bodies(background, bodies, VOXEL, TURNS, "kspace", FULL_SUPPORT, 16)
    effect, error = np.abs(expected - background), np.abs(result - expected)
    assert np.sqrt((error**2).sum() / (effect**2).sum()) < 0.01
    assert effect[:, :, -1].max() > 0.03


@pytest.mark.slow
def test_planes_at_a_time_and_tiles_of_any_size_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[Body] = [make_point(0.3, (0.2, 7.4, 4.7)), make_point(2.0, (9.1, 13.9, 9.2))]
    background = np.stack([make_waves(*np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))] * 2)
    whole = apply_bodies(background, bodies, VOXEL, TURNS, "kspace", FULL_SUPPORT, 16)
    monkeypatch.setattr(point_spread_module, "_SLAB_HALF_VOXELS", 5 * 4 * SHAPE[1] * SHAPE[2])
    monkeypatch.setattr(point_spread_module, "_PLANES", 2)
    planes = apply_bodies(background, bodies, VOXEL, TURNS, "kspace", FULL_SUPPORT, 16)
    np.testing.assert_allclose(planes, whole, atol=1e-6)
    monkeypatch.setattr(near, "TILE_VOXELS", 5)
    # other bodies are interpolated then
    tiles = apply_bodies(background, bodies, VOXEL, TURNS, "kspace", FULL_SUPPORT, 16)
    np.testing.assert_allclose(tiles, whole, atol=2e-3)


@pytest.mark.parametrize("point_spread", ["box", pytest.param("kspace", marks=pytest.mark.slow)])
@pytest.mark.parametrize("p", [0.01, 0.2, 5.0])
def test_doubling_the_sub_sampling_changes_less_than_a_percent(point_spread: PointSpread, p: float) -> None:
    background = np.ones((2, *SHAPE), dtype=np.complex128)
    bodies: list[Body] = [make_point(p, tuple(5 + np.random.default_rng(20261123).uniform(-0.5, 0.5, 3)))]
    once, twice = (apply_bodies(background, bodies, VOXEL, TURNS, point_spread, FULL_SUPPORT, n) for n in (16, 32))
    change = np.sqrt((np.abs(once - twice) ** 2).sum() / (np.abs(1 - twice) ** 2).sum())
    assert change < 0.01


@pytest.mark.parametrize("p", [0.02, 0.5, 10.0])
def test_no_seam_where_fine_cells_end(p: float) -> None:
    body = make_point(p, (6.2, 7.4, 5.3))
    averages = average_over_voxels([body], SHAPE, VOXEL, TURNS, 16)[-1]
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1).reshape(-1, 3)
    distance = body.distance(ijk * VOXEL)
    reach = find_reach(body, VOXEL, TURNS)
    seam = ijk[np.abs(distance - reach) < 1.5e-4]
    assert len(seam) > 20
    steps = (np.arange(12) + 0.5) / 12 - 0.5
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    for voxel in seam:
        dense = np.exp(2j * np.pi * TURNS[-1] * body.field_and_gradient((voxel + offsets) * VOXEL)[0]).mean()
        assert abs(averages[tuple(voxel)] - dense) < 0.003


def test_bodies_far_apart_and_outside_the_image_are_all_seen() -> None:
    inside, outside = make_point(0.2, (3.1, 3.2, 3.3)), make_point(3.0, (-1.5, 7.2, 4.4))
    beyond = make_point(3.0, (-400.0, 7.2, 4.4))
    both = average_over_voxels([inside, outside, beyond], SHAPE, VOXEL, TURNS, 16)
    field = outside.far_field(np.array([[0, 7, 4]]) * VOXEL)
    assert np.angle(both[0, 0, 7, 4]) == pytest.approx(float(2 * np.pi * TURNS[0] * field[0]), rel=0.2)
    only = average_over_voxels([inside], SHAPE, VOXEL, TURNS, 16)
    assert np.abs(both - only)[:, 0].max() > 0.1
    for point_spread in ("box", "kspace"):
        alone = apply_bodies(only * 0 + 1, [beyond], VOXEL, TURNS, point_spread, FULL_SUPPORT, 16)  # type: ignore[arg-type]
        np.testing.assert_allclose(alone, 1, atol=1e-3)


@pytest.mark.parametrize("n", [8, 9])
def test_support_masks_count_the_lines(n: int) -> None:
    assert support_mask(n, AxisSupport()).all()
    assert support_mask(8, AxisSupport(-0.25, 0.25)).sum() == 4
    assert support_mask(8, AxisSupport(-0.5, 0.25)).sum() == 6
    np.testing.assert_array_equal(np.flatnonzero(~support_mask(8, AxisSupport(-0.25, 0.5))), [4, 5])


def test_limiting_twice_is_limiting_once() -> None:
    rng = np.random.default_rng(20261123)
    signal = rng.normal(size=(2, *SHAPE)) + 1j * rng.normal(size=(2, *SHAPE))
    support = (AxisSupport(-0.5, 0.25), AxisSupport(), AxisSupport(-0.25, 0.25))
    once = limit_to_support(signal, support)
    np.testing.assert_allclose(limit_to_support(once, support), once, atol=1e-12)
    kept = fft.fftn(once[0])
    assert np.abs(kept[support_mask(SHAPE[0], support[0])][:, :, ~support_mask(SHAPE[2], support[2])]).max() < 1e-9
