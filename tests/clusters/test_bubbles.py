"""A gas bubble is told from a cluster where the scan can show the difference, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.bubbles import compare_bubbles
from ferrosight.clusters.fit import no_neighbours
from ferrosight.physics.constants import CHI_AIR, CHI_WATER, GAMMA_RAD_PER_S_T
from ferrosight.simulate import Point, ScanSpec, build_affine, build_bubble, simulate_scan
from ferrosight.types import Scan

SHAPE = (15, 14, 15)
CUBE, BRICK = (1.0, 1.0, 1.0), (1.0, 0.8, 1.4)
TILTED = (0.48, -0.36, 0.8)


def simulate_pair(
    workshop: Any, radius_edges: float, voxel_mm: Any, b0_t: float, echo_s: float, kind: Any = "box", scale: float = 1.0
) -> tuple[Scan, Scan, Any]:
    """A bubble, a point cluster of the same moment at the same place, and that place."""
    voxel_mm = tuple(scale * edge for edge in voxel_mm)
    edge_mm = float(np.prod(voxel_mm) ** (1 / 3))
    position = tuple(float(x) for x in np.array([0.21, -0.33, 0.12]) * edge_mm)
    q = GAMMA_RAD_PER_S_T * (CHI_AIR - CHI_WATER) * b0_t * echo_s / 3 * radius_edges**3
    sources = (
        build_bubble(position, 1e3 * radius_edges * edge_mm),
        Point(position, workshop.moment_am2(q, voxel_mm, echo_s)),
    )
    affine = build_affine(SHAPE, voxel_mm, (20, -10, 30))
    specs = [
        ScanSpec(SHAPE, affine, (echo_s,), b0_t, TILTED, sources=(s,), point_spread=kind, sub_sampling=8)
        for s in sources
    ]
    bubble, point = (simulate_scan(spec, 1)[0] for spec in specs)
    return bubble, point, position


def compare(workshop: Any, alone: Any, scan: Scan, position: Any, sigma: float, rng: Any, kind: Any = "box") -> Any:
    data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma, workshop.table(scan, kind))
    source = workshop.fit_near(data, scan, [position])
    return compare_bubbles(
        data,
        source,
        no_neighbours(data),
        alone(source),
        b0_t=scan.b0_t,
        voxel_mm=scan.grid.voxel_mm,
        echo_time_s=float(scan.echo_times_s[0]),
    )


@pytest.mark.parametrize(
    ("radius_edges", "voxel_mm", "b0_t", "sigma", "kind"),
    [
        (1.5, BRICK, 3.0, 1 / 50, "box"),
        pytest.param(2.5, CUBE, 3.0, 1 / 30, "box", marks=pytest.mark.slow),
        pytest.param(1.0, BRICK, 1.5, 1 / 60, "box", marks=pytest.mark.slow),
        pytest.param(1.5, CUBE, 3.0, 1 / 50, "kspace", marks=pytest.mark.slow),
    ],
)
def test_a_resolved_bubble_is_told_from_a_cluster(
    workshop: Any, alone: Any, radius_edges: float, voxel_mm: Any, b0_t: float, sigma: float, kind: str
) -> None:
    rng = np.random.default_rng(2)
    bubble, point, position = simulate_pair(workshop, radius_edges, voxel_mm, b0_t, 0.002, kind)
    for scan, is_bubble in ((bubble, True), (point, False)):
        results = [compare(workshop, alone, scan, position, sigma, rng, kind) for _ in range(10)]
        deltas = np.array([float(delta[0]) for delta, _ in results])
        assert all(testable[0] for _, testable in results), (is_bubble, deltas)
        assert ((deltas < 0) == is_bubble).all(), (is_bubble, deltas)


def test_where_iron_dephases_more_than_gas_takes_up_nothing_is_claimed(workshop: Any, alone: Any) -> None:
    rng = np.random.default_rng(3)
    # 11.7 T and 5 ms: the dephased region is 3.7 times as wide as the bubble
    for radius_edges in (0.35, 1.0):
        bubble, point, position = simulate_pair(workshop, radius_edges, CUBE, 11.7, 0.005, scale=0.05)
        for scan in (bubble, point):
            delta, testable = compare(workshop, alone, scan, position, 1 / 40, rng)
            assert not testable[0]
            assert abs(delta[0]) < 1


@pytest.mark.slow
def test_near_the_limit_of_what_can_be_told_few_are_taken_for_the_other(workshop: Any, alone: Any) -> None:
    rng = np.random.default_rng(4)
    bubble, point, position = simulate_pair(workshop, 1.0, BRICK, 1.5, 0.002)
    claimed, wrong = 0, 0
    for sigma in (1 / 30, 1 / 38, 1 / 46, 1 / 54):
        for scan, is_bubble in ((bubble, True), (point, False)):
            for _ in range(40):
                delta, testable = compare(workshop, alone, scan, position, sigma, rng)
                claimed += int(testable[0])
                wrong += int(testable[0] and (delta[0] < 0) != is_bubble)
    assert 40 < claimed < 320, claimed
    assert wrong <= 0.023 * claimed + 3 * np.sqrt(0.023 * claimed), f"{wrong} of {claimed}"


def test_a_source_that_could_not_be_fitted_has_no_verdict(workshop: Any, alone: Any) -> None:
    _, point, position = simulate_pair(workshop, 1.5, BRICK, 3.0, 0.002)
    data = workshop.window_data(point, 0.02)
    source = workshop.fit_near(data, point, [position])
    source.steps[:] = -1
    arguments = {"b0_t": 3.0, "voxel_mm": BRICK, "echo_time_s": 0.002}
    delta, testable = compare_bubbles(data, source, no_neighbours(data), alone(source), **arguments)
    assert np.isnan(delta).all()
    assert not testable.any()
    with pytest.raises(ValueError, match="positive"):
        compare_bubbles(data, source, no_neighbours(data), alone(source), **{**arguments, "b0_t": 0.0})
