"""Places that are known with an error, judged by a map: as rare as said where nothing is, seen where something is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ferrosight.numerics.place_evidence import STRENGTHS, weigh_places
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
        [weigh_places(draw_map(rng, width), GRID, inside, draw_places(rng, 15), covariance).p_value for _ in range(20)]
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
    seen = weigh_places(z, GRID, np.ones(SHAPE, bool), place[None], covariance)
    assert seen.p_value[0] < 1e-3
    assert seen.score[0] > 3
    np.testing.assert_allclose(seen.likeliest_mm[0], GRID.to_mm(ijk))
    # Held, the place is another.
    assert weigh_places(z, GRID, np.ones(SHAPE, bool), place[None], 0 * covariance).p_value[0] > 0.01


def test_what_lies_below_is_no_source_and_what_lies_outside_is_not_known() -> None:
    rng = np.random.default_rng(5)
    z, inside = draw_map(rng), np.ones(SHAPE, bool)
    inside[:10] = False
    z[20, 15, 14] = -9.0
    places = GRID.to_mm(np.array([[20.0, 15, 14], [3, 15, 14], [99, 0, 0]]))
    seen = weigh_places(z, GRID, inside, places, np.zeros((3, 3, 3)))
    assert seen.p_value[0] > 0.4
    for unknown in (seen.p_value, seen.score, seen.heard):
        assert np.isnan(unknown[1:]).all()
    np.testing.assert_array_equal(seen.likeliest_mm[1:], places[1:])


@pytest.mark.slow
@pytest.mark.parametrize(("sd_mm", "strength"), [(0.0, 4.0), (0.3, 4.0), (0.3, 6.0)])
def test_what_is_to_be_expected_of_a_source_is_what_drawn_sources_get(sd_mm: float, strength: float) -> None:
    """Sources put into maps before they are smoothed, at places that are off by as much as is said."""
    rng = np.random.default_rng(6)
    inside, point = np.ones(SHAPE, bool), np.zeros(SHAPE)
    point[18, 16, 15] = 1.0
    # What a filter leaves of a source that it is matched to.
    response = gaussian_filter(gaussian_filter(point, 0.8), 0.8)
    response *= strength / response.max()
    covariance = np.broadcast_to(sd_mm**2 * np.eye(3), (1, 3, 3))
    scores, expected = [], []
    for _ in range(40):
        centre = GRID.to_mm(np.array([18.0, 16, 15])) + rng.normal(scale=sd_mm, size=3)
        seen = weigh_places(draw_map(rng) + response, GRID, inside, centre[None], covariance)
        scores.append(seen.score[0])
        expected.append(np.interp(strength, STRENGTHS, seen.heard[0]))
    error = np.std(scores) / np.sqrt(len(scores))
    assert abs(np.mean(scores) - np.mean(expected)) < 3 * error + 0.15
    # Looking for it costs something; nothing costs more than there is.
    assert np.mean(expected) < strength
    assert np.interp(0.0, STRENGTHS, seen.heard[0]) == pytest.approx(0.0, abs=0.25)
