"""Places that are known with an error, judged by a map: as rare as said where nothing is, seen where something is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ferrosight.numerics.place_evidence import weigh_places
from ferrosight.simulate import build_affine
from ferrosight.types import Grid

SHAPE = (36, 32, 30)
AFFINE = build_affine(SHAPE, (0.2, 0.15, 0.25), (10.0, -20.0, 30.0))
GRID = Grid(SHAPE, AFFINE)

Floats = NDArray[np.float64]


def draw_map(rng: np.random.Generator, width: float = 1.0) -> Floats:
    z = gaussian_filter(rng.normal(size=SHAPE), 0.8)
    return np.asarray(width * z / z.std())


def draw_places(rng: np.random.Generator, n: int) -> Floats:
    return GRID.to_mm(rng.uniform(6, np.array(SHAPE) - 7, (n, 3)))


@pytest.mark.parametrize("sd_mm", [0.0, 0.2])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_p_values_are_uniform_where_nothing_is(sd_mm: float, width: float) -> None:
    """300 places: shares below 0.5, 0.1 and 0.02 within three of their standard errors, or fewer."""
    rng = np.random.default_rng(3)
    inside = np.ones(SHAPE, bool)
    covariance = np.broadcast_to(sd_mm**2 * np.eye(3), (15, 3, 3))
    p = np.concatenate(
        [weigh_places(draw_map(rng, width), GRID, inside, draw_places(rng, 15), covariance)[0] for _ in range(20)]
    )
    for level in (0.5, 0.1, 0.02):
        assert (p < level).mean() < level + 3 * np.sqrt(level * (1 - level) / 300)
    assert 0.4 < np.median(p) < 0.6


def test_a_source_beside_the_place_is_seen_and_its_place_given() -> None:
    rng = np.random.default_rng(4)
    z = draw_map(rng)
    ijk = np.array([20, 15, 14])
    z[tuple(ijk)] += 7.0
    place = GRID.to_mm(ijk + np.array([1.6, -1.4, 0.8]))
    covariance = np.broadcast_to(0.3**2 * np.eye(3), (1, 3, 3))
    p, score, likeliest = weigh_places(z, GRID, np.ones(SHAPE, bool), place[None], covariance)
    assert p[0] < 1e-3
    assert score[0] > 3
    np.testing.assert_allclose(likeliest[0], GRID.to_mm(ijk))
    # Held, the place is another.
    assert weigh_places(z, GRID, np.ones(SHAPE, bool), place[None], 0 * covariance)[0][0] > 0.01


def test_what_lies_below_is_no_source_and_what_lies_outside_is_not_known() -> None:
    rng = np.random.default_rng(5)
    z, inside = draw_map(rng), np.ones(SHAPE, bool)
    inside[:10] = False
    z[20, 15, 14] = -9.0
    places = GRID.to_mm(np.array([[20.0, 15, 14], [3, 15, 14], [99, 0, 0]]))
    p, score, likeliest = weigh_places(z, GRID, inside, places, np.zeros((3, 3, 3)))
    assert p[0] > 0.4
    assert np.isnan(p[1:]).all()
    assert np.isnan(score[1:]).all()
    np.testing.assert_array_equal(likeliest[1:], places[1:])
