"""Trees of veins hang together, thin out as they should, and stop where they leave."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.simulate import Vein, grow_vessel_tree


def grow(seed: int, **changes: object) -> tuple[Vein, ...]:
    options = {"delta_chi": 4e-7, "inside_per_s": 60.0, **changes}
    return grow_vessel_tree((0.0, 0.0, 0.0), (1.0, 0.5, 0.2), 100.0, 30.0, np.random.default_rng(seed), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_every_piece_begins_where_another_ends_and_cubes_of_radii_add_up(seed: int) -> None:
    veins = grow(seed)
    assert veins[0].start_mm == (0, 0, 0)
    ends = {vein.end_mm: vein for vein in veins}
    assert all(vein.start_mm in ends for vein in veins[1:])
    children: dict[tuple[float, float, float], list[Vein]] = {}
    for vein in veins[1:]:
        children.setdefault(vein.start_mm, []).append(vein)
    forks = {start: ones for start, ones in children.items() if len(ones) == 2}
    assert len(forks) > 3
    for start, ones in forks.items():
        assert sum(one.radius_um**3 for one in ones) == pytest.approx(ends[start].radius_um ** 3)
    assert all(vein.radius_um >= 30.0 for vein in veins)
    assert all((vein.delta_chi, vein.inside_per_s) == (4e-7, 60.0) for vein in veins)


def test_daughters_part_by_the_angle_of_least_cost() -> None:
    # of a symmetric fork: cos = 2^(-1/3), 37.5 degrees to each side
    from ferrosight.simulate.vessels import _fork_angle

    half = 0.5 ** (1 / 3)
    assert np.rad2deg(_fork_angle(1.0, half, half)) == pytest.approx(37.5, abs=0.1)
    assert _fork_angle(1.0, 1.0, 0.0) == pytest.approx(0, abs=1e-6)


def test_a_tree_begins_outside_and_ends_where_it_leaves() -> None:
    def is_inside(point: np.ndarray) -> bool:
        return 1.0 < point[0] < 4.0

    veins = grow(1, is_inside=is_inside)
    starts = np.array([vein.start_mm for vein in veins])
    assert starts[:, 0].max() < 4.0
    assert len(veins) > 10


def test_a_chain_of_pieces_is_one_long_vein() -> None:
    """Where two pieces meet their poles cancel, so that no dipole shows there."""
    from ferrosight.simulate.bodies import Tube

    axis, b0 = np.array([0.0, 0.6, 0.8]), np.array([0.0, 0.0, 1.0])
    whole = Tube(np.zeros(3), axis, 4e-3, 5e-5, 4e-7, 4e8, b0)
    parts = [Tube(axis * start, axis, 1e-3, 5e-5, 4e-7, 4e8, b0) for start in (0, 1e-3, 2e-3, 3e-3)]
    points = np.random.default_rng(20261123).normal(scale=3e-4, size=(500, 3)) + axis * 2e-3
    rho = whole._to_axis(points)
    points = points[rho > 5e-5]
    total = sum(part.far_field(points) for part in parts)
    np.testing.assert_allclose(total, whole.far_field(points), atol=1e-9)
