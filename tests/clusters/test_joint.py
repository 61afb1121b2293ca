"""With overlapping neighbours the covariance is that of both fitted at once, and it is right over noise draws."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import Sources, draw_neighbours, fit_sources, multiply_blocks, no_neighbours, unfitted
from ferrosight.clusters.joint import joint_covariance
from ferrosight.clusters.prepare import PAD
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Scan

SHAPE = (17, 16, 18)
ECHO_S = 0.01
CUBE, BRICK = (0.1, 0.1, 0.1), (0.1, 0.08, 0.14)


def simulate_points(workshop: Any, q: list[float], offsets_edges: Any, voxel_mm: Any, echoes: Any = (ECHO_S,)) -> Scan:
    edge = float(np.prod(voxel_mm) ** (1 / 3))
    sources = tuple(
        Point(tuple(float(x) for x in np.array(offset) * edge), workshop.moment_am2(one, voxel_mm, ECHO_S))
        for one, offset in zip(q, offsets_edges, strict=True)
    )
    affine = build_affine(SHAPE, voxel_mm, (20, -10, 30))
    return simulate_scan(ScanSpec(SHAPE, affine, echoes, 7.0, sources=sources, sub_sampling=8), 1)[0]


def fit_together(data: Any, scan: Scan, q: list[float], offsets_edges: Any, rounds: int = 6) -> tuple[Sources, Any]:
    """Each source in its own window with the others held fixed, in turns, from the truth until nothing changes."""
    edge = float(np.prod(scan.grid.voxel_mm) ** (1 / 3))
    ijk = scan.grid.to_ijk(np.array(offsets_edges) * edge) + PAD
    centres = np.round(ijk).astype(int)
    n = len(q)
    start = unfitted(np.zeros(n, np.int64), np.ones(n, np.int64), centres, len(data.ratios))
    found = dataclasses.replace(start, shifts=ijk - centres, q=np.array(q))
    for _ in range(rounds):
        found = fit_sources(data, found, draw_neighbours(data, found), np.arange(n), search=False)
    return found, ijk


def excess(joint: Any, conditional: Any) -> float:
    """Smallest eigenvalue of joint - conditional, each parameter in units of its conditional error."""
    size = np.sqrt(np.diag(conditional))
    return float(np.linalg.eigvalsh((joint - conditional) / np.outer(size, size)).min())


def test_without_neighbours_it_is_the_fit_s_own_covariance(workshop: Any, alone: Any) -> None:
    offsets = [(0.2, -0.3, 0.1)]
    scan = simulate_points(workshop, [1.5], offsets, BRICK, (ECHO_S, 0.017))
    data = workshop.window_data(workshop.add_noise(scan, 0.05, np.random.default_rng(1)), 0.05)
    found, _ = fit_together(data, scan, [1.5], offsets, 2)
    nobody = found.pick(np.zeros(0, np.int64))
    covariance, n_neighbours = joint_covariance(data, found, nobody, no_neighbours(data), alone(found))
    np.testing.assert_allclose(covariance, found.covariance, rtol=2e-3, atol=1e-3 * np.abs(found.covariance).min())
    assert n_neighbours.tolist() == [0]
    # its own row among the neighbours is not a neighbour
    covariance, n_neighbours = joint_covariance(data, found, found, draw_neighbours(data, found), np.zeros(1, np.int64))
    np.testing.assert_allclose(covariance, found.covariance, rtol=2e-3, atol=1e-3 * np.abs(found.covariance).min())
    assert n_neighbours.tolist() == [0]


def conditional(data: Any, found: Sources, neighbours: Any) -> Any:
    """Covariance with the same neighbours held fixed."""
    nobody = found.pick(np.zeros(0, np.int64))
    return joint_covariance(data, found, nobody, neighbours, np.arange(len(found)))[0]


def test_neighbours_only_ever_add_uncertainty_the_more_the_nearer(workshop: Any) -> None:
    rng = np.random.default_rng(2)
    added = []
    for apart in (1.6, 2.5, 4.0, 6.5, 9.0):
        offsets = [(0.1, 0.2, -0.1), (0.1 + 0.6 * apart, 0.2, -0.1 + 0.8 * apart)]
        scan = simulate_points(workshop, [1.0, 2.0], offsets, BRICK)
        data = workshop.window_data(workshop.add_noise(scan, 0.03, rng), 0.03)
        found, _ = fit_together(data, scan, [1.0, 2.0], offsets, 3)
        neighbours = draw_neighbours(data, found)
        covariance, n_neighbours = joint_covariance(data, found, found, neighbours, np.arange(2))
        fixed = conditional(data, found, neighbours)
        assert n_neighbours.tolist() == ([0, 0] if apart > 7.2 else [1, 1])
        for joint, own in zip(covariance, fixed, strict=True):
            assert excess(joint, own) > -1e-4
        added.append(float(np.trace(np.linalg.solve(fixed[0], covariance[0]))) - 4)
    assert added[0] > 0.2
    assert added[0] > added[1] > added[2] > added[3]
    assert added[3] < 0.05
    assert added[4] == 0


def test_at_most_four_neighbours_are_freed(workshop: Any) -> None:
    offsets = [(0, 0, 0), (3, 0, 0), (-3, 0, 0), (0, 3, 0), (0, -3, 0), (0, 0, 3.5)]
    scan = simulate_points(workshop, [1.0] * 6, offsets, CUBE)
    data = workshop.window_data(scan, 0.05)
    found, _ = fit_together(data, scan, [1.0] * 6, offsets, 1)
    neighbours = draw_neighbours(data, found)
    covariance, n_neighbours = joint_covariance(data, found, found, neighbours, np.arange(6))
    assert n_neighbours.max() == 4
    fixed = conditional(data, found, neighbours)
    assert all(excess(joint, own) > -1e-4 for joint, own in zip(covariance, fixed, strict=True))


@pytest.mark.parametrize(
    ("voxel_mm", "q", "apart", "sigma", "n_draws", "simulated"),
    [
        (CUBE, [1.0, 1.5], (0.9, 0.9, 1.2), 0.05, 30, True),
        pytest.param(BRICK, [1.0, 2.0], (0.0, 1.0, 2.5), 0.05, 400, True, marks=pytest.mark.slow),
        # so near that products of factors are no longer what a voxel shows: data made by the model itself
        pytest.param(CUBE, [1.0, 1.0], (0.0, 0.0, 1.7), 0.05, 400, False, marks=pytest.mark.slow),
    ],
)
def test_covariance_of_overlapping_sources_is_right_over_noise_draws(
    workshop: Any, voxel_mm: Any, q: list[float], apart: Any, sigma: float, n_draws: int, simulated: bool
) -> None:
    rng = np.random.default_rng(3)
    offsets = [(0.1, 0.2, -0.1), tuple(np.add((0.1, 0.2, -0.1), apart))]
    scan = simulate_points(workshop, q, offsets, voxel_mm)
    if not simulated:
        data = workshop.window_data(scan, sigma)
        truth, _ = fit_together(data, scan, q, offsets, 0)
        product = multiply_blocks(data.signal.shape, draw_neighbours(data, truth))
        scan = dataclasses.replace(scan, signal=product[:, PAD:-PAD, PAD:-PAD, PAD:-PAD])
    values, expected = [], []
    for _ in range(n_draws):
        data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
        found, _ = fit_together(data, scan, q, offsets)
        covariance, _ = joint_covariance(data, found, found, draw_neighbours(data, found), np.arange(2))
        values.append(np.column_stack([found.q, found.positions]))
        expected.append(np.einsum("nii->ni", covariance))
    spread = np.std(values, axis=0, ddof=1) / np.sqrt(np.mean(expected, axis=0))
    # eight numbers, each known to 1/√(2n), and their mean square to about 1/√(16n)
    np.testing.assert_allclose(spread, 1, atol=3.5 / np.sqrt(2 * n_draws))
    assert np.sqrt(np.mean(spread**2)) == pytest.approx(1, abs=3 / np.sqrt(16 * n_draws))
