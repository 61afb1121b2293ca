"""An interval of what was selected holds the truth in 95 % of the cases that were selected."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.numerics.selection import selected_quantiles

ENDS = np.array([-1.959964, 1.959964])
DRAWS = 800


def draw_selected(d_prime: float, threshold: float, rng: np.random.Generator) -> np.ndarray:
    """The best over three coordinates beside the strength, where it reaches a threshold."""
    drawn = np.sqrt((d_prime + rng.normal(size=1_000_000)) ** 2 + rng.chisquare(3, 1_000_000))
    return drawn[drawn >= threshold][:DRAWS]


@pytest.mark.parametrize(
    ("d_prime", "threshold"), [(3, 4.5), (4, 4.5), (5, 6), (6, 6), (8, 6), (10, 8), (15, 14), (15, 4.5)]
)
def test_intervals_hold_95_percent_of_what_was_selected(d_prime: float, threshold: float) -> None:
    rng = np.random.default_rng(int(100 * d_prime + threshold))
    value = draw_selected(d_prime, threshold, rng)
    n = len(value)
    low, high = selected_quantiles(value, np.ones(n), value, np.full(n, threshold), ENDS).T
    at_least, at_most = binom.ppf([1e-4, 1 - 1e-4], n, 0.025)
    assert at_least <= np.count_nonzero(low > d_prime) <= at_most
    assert at_least <= np.count_nonzero(high < d_prime) <= at_most


def test_without_a_selection_it_is_the_normal_distribution() -> None:
    value, err = np.array([3.0, -1.0]), np.array([0.5, 2.0])
    for nothing in (np.nan, -np.inf):
        found = selected_quantiles(value, err, np.array([6.0, 0.5]), np.full(2, nothing), ENDS)
        np.testing.assert_allclose(found, value[:, None] + err[:, None] * ENDS)


def test_far_above_the_threshold_only_the_best_position_is_taken_off() -> None:
    low, high = selected_quantiles(np.array([40.0]), np.ones(1), np.array([40.0]), np.array([5.0]), ENDS)[0]
    assert [low, high] == pytest.approx([40 - 1.96, 40 + 1.96], abs=0.05)
    # where the two ways of working it out meet, they agree
    near, far = (
        selected_quantiles(np.array([y]), np.ones(1), np.array([y]), np.array([6.0]), ENDS)[0] for y in (13.999, 14.001)
    )
    np.testing.assert_allclose(near, far, atol=0.01)


def test_the_nearer_the_threshold_the_lower_and_the_ends_grow_with_the_measurement() -> None:
    y = np.linspace(5.0, 16.0, 23)
    ends = selected_quantiles(y, np.ones(23), y, np.full(23, 5.0), ENDS)
    assert (np.diff(ends, axis=0) >= -1e-6).all()
    thresholds = np.array([0.1, 3.0, 4.0, 5.0, 5.9])
    by_threshold = selected_quantiles(np.full(5, 6.0), np.ones(5), np.full(5, 6.0), thresholds, ENDS)
    assert (np.diff(by_threshold, axis=0) < 0.01).all()
    assert by_threshold[-1, 0] == 0.0


def test_it_has_no_unit_of_its_own_and_the_score_only_its_share_of_the_threshold() -> None:
    one = selected_quantiles(np.array([6.0]), np.ones(1), np.array([7.0]), np.array([5.6]), ENDS)
    other = selected_quantiles(np.array([6e-13]), np.array([1e-13]), np.array([14.0]), np.array([11.2]), ENDS)
    np.testing.assert_allclose(other, one * 1e-13)
