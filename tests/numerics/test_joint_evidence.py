"""Two opinions made one: counted as often false as drawn pairs are, and never much worse than the better alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from ferrosight.numerics.joint_evidence import expect_false, join_scores, score_of_expected

THREE = np.array([0.0, np.pi / 4, np.pi / 2])


@pytest.mark.parametrize("angles", [THREE, np.array([0.0]), np.array([0.6]), np.array([np.pi / 2])])
@pytest.mark.parametrize("score", [2.5, 3.2])
def test_false_candidates_are_counted_as_they_come(angles: np.ndarray, score: float) -> None:
    rng = np.random.default_rng(1)
    n, floor, repeats = 20_000, 2.2, 300
    counts = []
    for _ in range(repeats):
        own = rng.normal(size=n)
        own = own[own > floor]
        counts.append(np.count_nonzero(join_scores(own, rng.normal(size=own.size), angles) >= score))
    expected = expect_false(score, n, floor, angles)
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(max(expected, 0.01) / repeats))


def test_one_alone_is_the_tail_of_one() -> None:
    assert expect_false(4.0, 1000.0, 3.0, np.array([0.0])) == pytest.approx(1000 * norm.sf(4.0), rel=1e-3)


def test_trying_three_ways_costs_little_and_agreement_pays() -> None:
    """What the better alone needs for one in a hundred is reached by both with a few per cent more of it."""
    alone = norm.isf(0.01 / 1000)
    needed = next(z for z in np.arange(3, 8, 0.01) if expect_false(z, 1000.0, 3.0, THREE) <= 0.01)
    assert alone < needed < 1.07 * alone
    weak = needed / np.sqrt(2)
    assert join_scores(np.array([weak]), np.array([weak]), THREE)[0] == pytest.approx(needed)


def test_what_is_not_known_says_nothing() -> None:
    np.testing.assert_allclose(join_scores(np.array([3.0]), np.array([np.nan]), THREE), [3.0])


def test_scores_are_quantiles_of_expected_numbers() -> None:
    score = score_of_expected(np.array([1.0, 1e-3, 1e9]), 1e5)
    np.testing.assert_allclose(norm.sf(score[:2]), [1e-5, 1e-8])
    assert score[2] == 0
