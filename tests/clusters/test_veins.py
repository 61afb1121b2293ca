"""A vein is told from a point, and a point from a vein."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import no_neighbours
from ferrosight.clusters.veins import _across, compare_cylinders, draw_cylinder
from ferrosight.physics.cluster_signal import voxel_edges, window_voxels
from ferrosight.physics.constants import GAMMA_RAD_PER_S_T
from ferrosight.physics.dipole import cylinder_field
from ferrosight.simulate import Point, ScanSpec, Vein, build_affine, simulate_scan
from ferrosight.types import Scan

SHAPE = (13, 14, 13)
B0_T = 7.0
ECHO_S = 0.01
CUBE, BRICK = (0.1, 0.1, 0.1), (0.1, 0.08, 0.14)
TILTED = (0.48, -0.36, 0.8)


def edge_mm(voxel_mm: tuple[float, float, float]) -> float:
    return float(np.prod(voxel_mm) ** (1 / 3))


def simulate(source: Any, voxel_mm: Any, b0: Any = (0.0, 0.0, 1.0), kind: Any = "box", echoes: Any = (ECHO_S,)) -> Scan:
    affine = build_affine(SHAPE, voxel_mm, (20, -10, 30))
    return simulate_scan(
        ScanSpec(SHAPE, affine, echoes, B0_T, b0, sources=(source,), point_spread=kind, sub_sampling=8), 1
    )[0]


def make_vein(
    position_mm: NDArray[np.float64], axis: NDArray[np.float64], s: float, radius_edges: float, edge: float
) -> Vein:
    """A vein far longer than a window whose phase is 2s·(…)/ρ², lengths in voxel edges."""
    delta_chi = 4 * s / (GAMMA_RAD_PER_S_T * B0_T * ECHO_S * radius_edges**2)
    ends = (position_mm + side * 12 * edge * axis for side in (-1, 1))
    start, end = (tuple(float(x) for x in point) for point in ends)
    return Vein(start, end, 1e3 * radius_edges * edge, delta_chi)


def random_axis(rng: np.random.Generator, b0: Any, least_sin2: float) -> NDArray[np.float64]:
    while True:
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        if 1 - (axis @ np.array(b0)) ** 2 > least_sin2:
            return np.asarray(axis)


def test_the_drawn_cylinder_is_the_analytic_one_and_its_slopes_are_its_derivatives() -> None:
    edges, voxels = voxel_edges(BRICK), window_voxels(BRICK, 3.6)
    b0 = np.array([0.48, -0.36, 0.8])
    axis, place, s = np.array([0.6, 0.64, -0.48]), np.array([0.3, -0.2, 0.1]), 0.7
    axis /= np.linalg.norm(axis)
    place -= (place @ axis) * axis

    def draw(s: float, axis: Any, place: Any) -> tuple[Any, Any]:
        signal, slopes = np.empty(len(voxels), np.complex64), np.empty((5, len(voxels)), np.complex64)
        draw_cylinder(s, axis, place, b0, edges, voxels, 3, signal, slopes)
        return signal, slopes

    signal, slopes = draw(s, axis, place)
    fine = np.stack(np.meshgrid(*[(np.arange(24) + 0.5) / 24 - 0.5] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    radius = 0.4
    for v in range(0, len(voxels), 5):
        offsets = (voxels[v] + fine) * edges - place
        phase = cylinder_field(offsets, axis, radius, 4 * s / radius**2, b0)
        assert abs(signal[v] - np.exp(1j * phase).mean()) < 0.06, voxels[v]
    distance = np.linalg.norm(np.cross(voxels * edges - place, axis), axis=1)
    # nearer, the slopes leave out how fading changes; at 2.2 the number of cells jumps
    far = (distance > 1.5) & (np.abs(distance - 2.2) > 0.15)
    first, second = np.empty(3), np.empty(3)
    _across(axis, first, second)
    step = 1e-2
    moved = (
        (s * np.exp(step), axis, place),
        (s, axis + step * first, place),
        (s, axis + step * second, place),
        (s, axis, place + step * first),
        (s, axis, place + step * second),
    )
    back = (
        (s * np.exp(-step), axis, place),
        (s, axis - step * first, place),
        (s, axis - step * second, place),
        (s, axis, place - step * first),
        (s, axis, place - step * second),
    )
    for p, (ahead, behind) in enumerate(zip(moved, back, strict=True)):
        numeric = (draw(*ahead)[0] - draw(*behind)[0]) / (2 * step)
        size = np.sqrt(np.mean(np.abs(numeric[far]) ** 2))
        assert np.sqrt(np.mean(np.abs(numeric - slopes[p])[far] ** 2)) < 0.05 * size, p


@pytest.mark.parametrize(
    ("kind", "b0", "n_veins"),
    [
        ("box", TILTED, 4),
        pytest.param("box", (0.0, 0.0, 1.0), 18, marks=pytest.mark.slow),
        pytest.param("kspace", TILTED, 18, marks=pytest.mark.slow),
    ],
)
def test_veins_across_b0_are_called_veins(workshop: Any, alone: Any, kind: str, b0: Any, n_veins: int) -> None:
    rng = np.random.default_rng(7)
    found, missed = 0, []
    for draw in range(n_veins):
        voxel_mm = (CUBE, BRICK)[draw % 2]
        edge = edge_mm(voxel_mm)
        position = rng.uniform(-0.5, 0.5, 3) * edge
        axis = random_axis(rng, b0, 0.2)
        strength, radius = (0.2, 0.7, 2.5)[draw % 3], rng.uniform(0.15, 1.0)
        scan = simulate(make_vein(position, axis, strength, radius, edge), voxel_mm, b0, kind)
        noisy = workshop.add_noise(scan, 1 / 30, rng)
        data = workshop.window_data(noisy, 1 / 30, workshop.table(scan, kind))
        point = workshop.fit_near(data, scan, position[None], reach=1)
        if point.score[0] < 4.5:
            continue
        found += 1
        delta = compare_cylinders(data, point, no_neighbours(data), alone(point), scan.b0_in_array)
        if delta[0] > 0:
            missed.append((draw, strength, radius, float(delta[0])))
    assert found >= 0.75 * n_veins
    assert not missed, f"{len(missed)} of {found} veins missed: {missed}"


@pytest.mark.parametrize(
    ("kind", "n_draws"),
    [
        ("box", 10),
        pytest.param("box", 50, marks=pytest.mark.slow),
        pytest.param("kspace", 50, marks=pytest.mark.slow),
    ],
)
def test_points_near_the_limit_are_not_called_veins(workshop: Any, alone: Any, kind: str, n_draws: int) -> None:
    rng = np.random.default_rng(8)
    n, called = 0, 0
    for voxel_mm, b0 in ((CUBE, TILTED), (BRICK, (0.0, 0.0, 1.0))):
        for q, sigma in ((0.3, 0.14), (1.0, 0.26), (5.0, 0.45), (30.0, 0.75)):
            position = rng.uniform(-0.5, 0.5, 3) * edge_mm(voxel_mm)
            moment = workshop.moment_am2(q, voxel_mm, ECHO_S)
            scan = simulate(Point(tuple(position), moment), voxel_mm, b0, kind)
            for _ in range(n_draws):
                data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma, workshop.table(scan, kind))
                point = workshop.fit_near(data, scan, position[None])
                if point.score[0] < 5:
                    continue
                delta = compare_cylinders(data, point, no_neighbours(data), alone(point), scan.b0_in_array)
                n += 1
                called += int(delta[0] < 0)
    assert n > 4 * n_draws
    assert called <= 0.03 * n, f"{called} of {n} points called veins"


def test_two_echoes_tell_a_vein_from_a_point_too(workshop: Any, alone: Any) -> None:
    rng = np.random.default_rng(9)
    echoes = (ECHO_S, 2 * ECHO_S)
    vein = make_vein(np.array([0.02, 0.01, -0.03]), np.array([0.8, 0.6, 0.0]), 0.7, 0.5, edge_mm(BRICK))
    for source, is_vein in ((vein, True), (Point((0.02, 0.01, -0.03), workshop.moment_am2(1.0, BRICK, ECHO_S)), False)):
        scan = simulate(source, BRICK, TILTED, echoes=echoes)
        data = workshop.window_data(workshop.add_noise(scan, 1 / 20, rng), 1 / 20, workshop.table(scan))
        point = workshop.fit_near(data, scan, [[0.02, 0.01, -0.03]], reach=1)
        delta = compare_cylinders(data, point, no_neighbours(data), alone(point), scan.b0_in_array)
        assert (delta[0] < -20) if is_vein else (delta[0] > 20)


def test_a_source_that_could_not_be_fitted_has_no_verdict(workshop: Any, alone: Any) -> None:
    scan = simulate(Point((0.0, 0.0, 0.0), 1e-15), CUBE)
    data = workshop.window_data(scan, 0.05)
    point = workshop.fit_near(data, scan, [[0.0, 0.0, 0.0]])
    point.steps[:] = -1
    assert np.isnan(compare_cylinders(data, point, no_neighbours(data), alone(point), scan.b0_in_array)).all()
