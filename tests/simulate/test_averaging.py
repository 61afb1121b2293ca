"""The average over a box against plain dense sampling, and its convergence."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.simulate.averaging import average_over_boxes
from ferrosight.simulate.bodies import Body, Swarm, Tube

VOXEL = np.array([1.0e-4, 0.8e-4, 1.3e-4])
B0 = np.array([0.3, -0.2, 0.93]) / np.linalg.norm([0.3, -0.2, 0.93])
TIME = 0.01
VOXELS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1], [1, -1, 1], [2, 0, 1], [0, 3, 0], [-2, 2, 2]])


def make_point(
    p_over_voxel: float, core_over_voxel: float = 0.0, offset: tuple[float, ...] = (0.2, -0.1, 0.3)
) -> Swarm:
    """A point whose phase is p(3cos²θ-1)/r³ at TIME, p in units of the voxel's volume."""
    volume = float(np.prod(VOXEL))
    amplitude = p_over_voxel * volume / (2 * np.pi * TIME)
    return Swarm((np.array(offset) * VOXEL)[None], np.array([amplitude]), core_over_voxel * np.cbrt(volume), B0)


def average(bodies: list[Body], voxels: NDArray[np.int_] = VOXELS, sub_sampling: int = 16) -> NDArray[np.complex128]:
    turns = np.array([TIME])
    return average_over_boxes(bodies, voxels * VOXEL, VOXEL, turns, sub_sampling, finest=sub_sampling)[0]


def sample_densely(bodies: list[Body], voxel: NDArray[np.int_], n: int = 120) -> complex:
    """Mean over n³ points of a voxel, in slabs; no cell averages, no adaptivity."""
    steps = (np.arange(n) + 0.5) / n - 0.5
    total = 0j
    plane = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    for x in steps:
        points = (voxel + np.column_stack([np.full(len(plane), x), plane])) * VOXEL
        field = np.zeros(len(points))
        decay = np.zeros(len(points))
        for body in bodies:
            field += body.field_and_gradient(points)[0]
            body.add_relaxation(points, decay)
        total += complex(np.exp(2j * np.pi * TIME * field - TIME * decay).mean())
    return total / n


@pytest.mark.parametrize("p", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("core", [0.0, 0.1, 0.35])
def test_average_agrees_with_dense_sampling(p: float, core: float) -> None:
    body = make_point(p, core)
    for voxel, value in zip(VOXELS, average([body]), strict=True):
        dense = sample_densely([body], voxel, 120 if (voxel == 0).all() else 40)
        assert abs(value - dense) < 0.003
        if (voxel == 0).all():
            assert abs(value - dense) < 0.01 * abs(1 - dense)


@pytest.mark.parametrize("p", [0.003, 0.03, 0.3, 3.0, 30.0])
def test_doubling_the_sub_sampling_changes_less_than_a_percent(p: float) -> None:
    rng = np.random.default_rng(20261123)
    for _ in range(5):
        body = make_point(p, offset=tuple(rng.uniform(-0.5, 0.5, 3)))
        once, twice = average([body]), average([body], sub_sampling=32)
        # a percent of what the cluster does to its voxels
        change = np.sqrt((np.abs(once - twice) ** 2).sum() / (np.abs(1 - twice) ** 2).sum())
        assert change < 0.01


def test_too_little_sub_sampling_is_seen() -> None:
    rng = np.random.default_rng(20261123)
    coarse, fine = [], []
    for _ in range(10):
        body = make_point(0.3, offset=tuple(rng.uniform(-0.5, 0.5, 3)))
        reference = average([body], sub_sampling=32)
        coarse.append(np.abs(average([body], sub_sampling=2) - reference).max())
        fine.append(np.abs(average([body]) - reference).max())
    assert np.mean(coarse) > 3 * np.mean(fine)


def test_phases_of_overlapping_sources_add_before_the_average() -> None:
    bodies: list[Body] = [make_point(0.5), make_point(-0.3, offset=(-0.3, 0.2, 0.1))]
    voxel = VOXELS[:1]
    together = average(bodies, voxel)[0]
    error = abs(together - sample_densely(bodies, voxel[0]))
    assert error < 0.003
    product = average(bodies[:1], voxel)[0] * average(bodies[1:], voxel)[0]
    assert abs(together - product) > 10 * error


def test_a_source_and_its_opposite_cancel() -> None:
    np.testing.assert_allclose(average([make_point(2.0), make_point(-2.0)]), 1, atol=1e-9)


def test_negative_time_turns_the_other_way() -> None:
    body = make_point(1.0)
    turns = np.array([TIME, -TIME, TIME / 2])
    values = average_over_boxes([body], VOXELS * VOXEL, VOXEL, turns, 16, finest=16)
    np.testing.assert_allclose(values[0], values[1].conj(), atol=1e-12)
    half = make_point(0.5)
    np.testing.assert_allclose(values[2], average([half]), atol=2e-3)


@pytest.mark.parametrize("radius", [0.3, 0.7])
def test_a_void_takes_its_share_of_the_voxel(radius: float) -> None:
    edge = np.cbrt(np.prod(VOXEL))
    volume = float(np.prod(VOXEL))
    body = Swarm(np.zeros((1, 3)), np.array([1e-9 * volume]), radius * edge, B0, is_sphere=True, inside_per_s=np.inf)
    boxes = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    missing = (1 - average([body], boxes)).sum().real
    assert missing == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)


def test_average_over_a_tube_agrees_with_dense_sampling() -> None:
    axis = np.array([0.5, 0.7, 0.3]) / np.linalg.norm([0.5, 0.7, 0.3])
    body = Tube(-axis * 6e-4 + 2e-5, axis, 1.2e-3, 7e-5, 4e-7, 4e8, B0)
    beyond = np.round(np.outer([7, 8, 9, 11], axis * 1e-4) / VOXEL).astype(int)  # on the axis, past an end
    voxels = np.concatenate([VOXELS, beyond])
    for voxel, value in zip(voxels, average([body], voxels), strict=True):
        assert abs(value - sample_densely([body], voxel, 48)) < 0.01


def test_nothing_leaves_nothing() -> None:
    np.testing.assert_array_equal(average([]), np.ones(len(VOXELS)))
    turns = np.array([TIME])
    assert average_over_boxes([make_point(1.0)], np.zeros((0, 3)), VOXEL, turns, 16, finest=16).shape == (1, 0)
