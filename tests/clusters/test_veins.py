"""A vein is told from a point, and a point from a vein."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.veins import VEIN_MARGIN, compare_cylinders
from ferrosight.physics.constants import GAMMA_RAD_PER_S_T
from ferrosight.simulate import Point, ScanSpec, Vein, build_affine, simulate_scan
from ferrosight.types import Scan

FloatArray = NDArray[np.float64]
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
    position_mm: FloatArray, axis: FloatArray, s: float, radius_edges: float, edge: float, half_edges: float = 12
) -> Vein:
    """A vein far longer than a window whose phase is 2s·(…)/ρ², lengths in voxel edges."""
    delta_chi = 4 * s / (GAMMA_RAD_PER_S_T * B0_T * ECHO_S * radius_edges**2)
    ends = (position_mm + side * half_edges * edge * axis for side in (-1, 1))
    start, end = (tuple(float(x) for x in point) for point in ends)
    return Vein(start, end, 1e3 * radius_edges * edge, delta_chi)


def random_axis(rng: np.random.Generator, b0: Any, least_sin2: float) -> NDArray[np.float64]:
    while True:
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        if 1 - (axis @ np.array(b0)) ** 2 > least_sin2:
            return np.asarray(axis)


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


# Rows of points -------------------------------------------------------------------------------------------


def simulate_all(sources: Any, voxel_mm: Any) -> Scan:
    """A scan large enough to hold a row."""
    shape = (26, 25, 24)
    affine = build_affine(shape, voxel_mm, (20, -10, 30))
    spec = ScanSpec(shape, affine, (ECHO_S,), B0_T, TILTED, sources=tuple(sources), point_spread="box", sub_sampling=8)
    return simulate_scan(spec, 1)[0]


def search_and_compare(workshop: Any, scan: Scan, rng: np.random.Generator) -> tuple[Sources, FloatArray]:
    """What a search takes for strong sources of any class, and by how much a vein explains each better."""
    found = workshop.search(workshop.add_noise(scan, 1 / 30, rng), 1 / 30)
    likely = found.sources.score > 6
    some = found.sources.pick(likely)
    return some, compare_cylinders(found.data, some, found.neighbours, found.own[likely], scan.b0_in_array)


def explain_vein(
    workshop: Any, s: float, radius_edges: float, voxel_mm: Any, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """The verdicts on the row of points that a search puts in place of a vein right across the image, and on those
    of them with a whole window."""
    edge = edge_mm(voxel_mm)
    position, axis = rng.uniform(-0.5, 0.5, 3) * edge, random_axis(rng, TILTED, 0.3)
    scan = simulate_all([make_vein(position, axis, s, radius_edges, edge, 60)], voxel_mm)
    some, delta = search_and_compare(workshop, scan, rng)
    away = scan.grid.to_mm(some.positions - PAD) - position
    across = np.linalg.norm(away - np.outer(away @ axis, axis), axis=1) / edge
    whole = ((some.centres >= PAD + 4) & (some.centres < np.array(scan.grid.shape) + PAD - 4)).all(axis=1)
    return delta[across < 1.5], delta[(across < 1.5) & whole]


@pytest.mark.parametrize(("s", "radius_edges"), [(0.7, 0.6), (2.0, 0.7)])
@pytest.mark.parametrize("voxel_mm", [CUBE, BRICK], ids=["cubes", "bricks"])
def test_every_point_of_a_row_that_stands_for_a_vein_is_called_a_vein(
    workshop: Any, voxel_mm: Any, s: float, radius_edges: float
) -> None:
    every, whole = explain_vein(workshop, s, radius_edges, voxel_mm, np.random.default_rng(21))
    assert len(whole) >= 5
    assert (whole < -VEIN_MARGIN).all(), whole.round()
    # cut by the image's faces, a window may tell less
    assert (every < -VEIN_MARGIN).mean() > 0.8, every.round()


@pytest.mark.slow
@pytest.mark.parametrize(("s", "radius_edges"), [(0.3, 0.45), (0.7, 0.22), (2.0, 0.22), (0.7, 0.6), (2.0, 0.7)])
def test_rows_that_stand_for_veins_of_any_direction_are_called_veins(
    workshop: Any, s: float, radius_edges: float
) -> None:
    rng = np.random.default_rng(22)
    whole = np.concatenate([explain_vein(workshop, s, radius_edges, voxel, rng)[1] for voxel in (CUBE, BRICK) * 4])
    missed = whole[~(whole < -VEIN_MARGIN)]
    assert len(whole) > 20
    # Which of the least certain are missed depends on how a processor rounds.
    assert len(missed) <= 0.03 * len(whole), missed.round()


@pytest.mark.parametrize("n_draws", [4, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_points", [2, 3])
def test_real_points_in_a_row_are_not_called_a_vein(workshop: Any, n_points: int, n_draws: int) -> None:
    """At unequal distances and of unequal strengths, in cubes and in bricks; half of the rows of one sign."""
    rng = np.random.default_rng(23)
    for draw in range(n_draws):
        voxel_mm = (CUBE, BRICK)[draw % 2]
        edge = edge_mm(voxel_mm)
        axis = random_axis(rng, TILTED, 0.0)
        along = np.cumsum(rng.uniform(2.2, 4.5, n_points))
        places = rng.uniform(-0.5, 0.5, 3) * edge + np.outer(along - along.mean(), axis) * edge
        q = rng.uniform(0.5, 3, n_points) * (1 if draw % 4 < 2 else rng.choice([-1, 1], n_points))
        points = [
            Point(tuple(mm), workshop.moment_am2(one, voxel_mm, ECHO_S)) for mm, one in zip(places, q, strict=True)
        ]
        scan = simulate_all(points, voxel_mm)
        some, delta = search_and_compare(workshop, scan, rng)
        apart = np.linalg.norm(scan.grid.to_mm(some.positions - PAD)[None] - places[:, None], axis=2) / edge
        np.testing.assert_array_less(apart.min(axis=1), 0.7)
        assert (delta[apart.argmin(axis=1)] > 0).all(), delta.round()


@pytest.mark.parametrize("distance_edges", [2.5, 3.0, 4.0])
@pytest.mark.parametrize(("s", "voxel_mm"), [(0.3, CUBE), (1.0, BRICK)], ids=["weak", "strong"])
def test_a_point_beside_a_vein_is_not_called_a_vein(
    workshop: Any, s: float, voxel_mm: Any, distance_edges: float
) -> None:
    rng = np.random.default_rng(24)
    edge = edge_mm(voxel_mm)
    position, axis = rng.uniform(-0.5, 0.5, 3) * edge, random_axis(rng, TILTED, 0.3)
    side = np.cross(axis, rng.normal(size=3))
    place = position + distance_edges * edge * side / np.linalg.norm(side)
    point = Point(tuple(place), workshop.moment_am2(3.0, voxel_mm, ECHO_S))
    scan = simulate_all([make_vein(position, axis, s, 0.5, edge, 60), point], voxel_mm)
    some, delta = search_and_compare(workshop, scan, rng)
    apart = np.linalg.norm(scan.grid.to_mm(some.positions - PAD) - place, axis=1) / edge
    row = apart.argmin()
    assert apart[row] < 0.2
    assert some.patterns[row] == 0
    assert some.q[row] == pytest.approx(3, rel=0.15)
    assert delta[row] > 20


@pytest.mark.parametrize("n_patterns", [1, 3])
def test_points_of_every_pattern_are_asked_with_their_own_table(workshop: Any, alone: Any, n_patterns: int) -> None:
    """A dipole explained by its own pattern is no vein; the same place told to be a decoy fits worse than one may."""
    rng = np.random.default_rng(25)
    scan = simulate(Point((0.02, 0.01, -0.03), workshop.moment_am2(1.0, CUBE, ECHO_S)), CUBE, TILTED)
    noisy = workshop.add_noise(scan, 1 / 20, rng)
    tables = workshop.all_tables(scan)[:n_patterns]
    data = replace(workshop.window_data(noisy, 1 / 20), tables=tables)
    centre = np.round(scan.grid.to_ijk(np.array([[0.02, 0.01, -0.03]]))).astype(np.int64) + PAD
    kinds = np.arange(n_patterns)
    start = unfitted(kinds, np.ones(n_patterns, np.int64), np.repeat(centre, n_patterns, axis=0), 1)
    fitted = fit_sources(data, start, no_neighbours(data), search=True)
    delta = compare_cylinders(data, fitted, no_neighbours(data), alone(fitted), scan.b0_in_array)
    one_by_one = [
        compare_cylinders(data, fitted.pick(kinds == k), no_neighbours(data), np.array([-1]), scan.b0_in_array)[0]
        for k in kinds
    ]
    np.testing.assert_allclose(delta, one_by_one, rtol=1e-3)
    assert delta[0] > 20
    assert np.isfinite(delta).all()


def test_a_source_that_could_not_be_fitted_has_no_verdict(workshop: Any, alone: Any) -> None:
    scan = simulate(Point((0.0, 0.0, 0.0), 1e-15), CUBE)
    data = workshop.window_data(scan, 0.05)
    point = workshop.fit_near(data, scan, [[0.0, 0.0, 0.0]])
    point.steps[:] = -1
    assert np.isnan(compare_cylinders(data, point, no_neighbours(data), alone(point), scan.b0_in_array)).all()
