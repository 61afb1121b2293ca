"""What errors of neighbours' models add to scores: measured against wrong neighbours in simulated noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.crowding import neighbour_spread
from ferrosight.clusters.fit import draw_neighbours, no_neighbours, unfitted

SHAPE = (21, 19, 17)
SIGMA = 0.02


def place_source(where: tuple[int, int, int], q: float, n_echoes: int) -> Any:
    """One source that is said to lie at a voxel (of the padded arrays)."""
    one = unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), np.array([where]), n_echoes)
    return replace(one, q=np.array([q]))


def test_a_source_far_from_any_is_left_as_it_is(workshop: Any, alone: Any) -> None:
    data = workshop.window_data(workshop.simulate_points(SHAPE, [], []), SIGMA)
    sources = place_source((8, 8, 8), 0.1, 1)
    np.testing.assert_array_equal(neighbour_spread(data, sources, no_neighbours(data), alone(sources)), 1.0)


def test_its_own_factor_is_no_neighbour(workshop: Any) -> None:
    data = workshop.window_data(workshop.simulate_points(SHAPE, [], []), SIGMA)
    sources = place_source((8, 8, 8), 5.0, 1)
    assert neighbour_spread(data, sources, draw_neighbours(data, sources), np.array([0]))[0] == 1.0


@pytest.mark.parametrize("voxel_mm", [(0.1, 0.1, 0.1), (0.08, 0.1, 0.15)])
@pytest.mark.parametrize("q", [0.5, 3.0])
def test_it_is_the_rms_error_of_the_neighbours_signal(workshop: Any, alone: Any, q: float, voxel_mm: Any) -> None:
    """By a loop over the window's voxels, in a signal of one over the noise."""
    data = workshop.window_data(workshop.simulate_points(SHAPE, [], [], voxel_mm=voxel_mm), SIGMA)
    data = replace(data, model_error=0.3)
    neighbours = draw_neighbours(data, place_source((11, 9, 8), q, 1))
    source = place_source((8, 8, 8), 0.1, 1)
    change = [
        abs(neighbours.blocks[0, 0][tuple(np.array([8, 8, 8]) + v - [11, 9, 8] + 8)] - 1) ** 2
        for v in data.voxels
        if np.abs(np.array([8, 8, 8]) + v - [11, 9, 8]).max() <= 8
    ]
    rms = np.sqrt(np.sum(change) / len(data.voxels))
    found = neighbour_spread(data, source, neighbours, alone(source))[0]
    assert found == pytest.approx(np.sqrt(1 + 4 * (0.3 * rms / SIGMA) ** 2), rel=1e-3)
    assert found > 1.05


def test_the_echo_that_is_changed_most_counts(workshop: Any) -> None:
    """Two echoes, the second twice as late: as if there were that one alone."""
    both = workshop.window_data(workshop.simulate_points(SHAPE, [], [], echo_times_s=(0.005, 0.010)), SIGMA)
    late = workshop.window_data(workshop.simulate_points(SHAPE, [], [], echo_times_s=(0.010,)), SIGMA)
    both, late = replace(both, model_error=0.3), replace(late, model_error=0.3)
    spreads = [
        neighbour_spread(
            data,
            place_source((8, 8, 8), 0.1, n),
            draw_neighbours(data, place_source((11, 9, 8), q, n)),
            np.array([-1]),
        )[0]
        for data, n, q in ((both, 2, 0.5), (late, 1, 1.0))
    ]
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-4)
