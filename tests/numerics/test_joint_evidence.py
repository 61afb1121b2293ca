"""Two opinions made one: counted as often false as drawn pairs are, and never much worse than the better alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from ferrosight.numerics.joint_evidence import Routes, Side, add_scores, score_of_expected

Floats = NDArray[np.float64]

#: One searches many places down to few false candidates, the other few places and keeps all that is weak.
FIRST, SECOND = Side(40_000, 2.6), Side(3_000, 1.5)


def draw_false(side: Side, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Own scores above the floor, and the other modality's at the same places."""
    own = rng.normal(size=int(side.n_places))
    own = own[own > side.floor]
    return own, rng.normal(size=own.size)


@pytest.mark.parametrize("angle", [0.3, math.pi / 4, 1.2])
@pytest.mark.parametrize("level", [2.0, 0.3])
def test_false_candidates_are_counted_as_they_come(angle: float, level: float) -> None:
    """All that pass by any route, drawn, against what is expected; and no more than three times the level."""
    routes = Routes(FIRST, SECOND, angle)
    rng = np.random.default_rng(1)
    counts, sums = [], []
    for _ in range(200):
        passed = by_sum = 0
        for side, other_side, seen in ((FIRST, SECOND, angle), (SECOND, FIRST, math.pi / 2 - angle)):
            own, other = draw_false(side, rng)
            summed = routes.expect_sum(add_scores(own, other, seen)) <= level
            alone = (side.n_places * norm.sf(own) <= level) | (other_side.n_places * norm.sf(other) <= level)
            by_sum += int(summed.sum())
            passed += int((summed | alone).sum())
        counts.append(passed)
        sums.append(by_sum)
    expected = float(routes.expect_any(np.array([level]))[0])
    assert np.mean(counts) == pytest.approx(expected, abs=4 * np.sqrt(expected / 200))
    assert np.mean(sums) == pytest.approx(level, abs=4 * np.sqrt(level / 200))
    assert level < expected <= 3.001 * level


def test_either_alone_costs_a_few_per_cent_and_agreement_pays() -> None:
    """What the better alone needs for one false candidate in a hundred visits."""
    routes = Routes(FIRST, SECOND, math.pi / 4)
    level = float(np.exp(np.interp(math.log(0.01), np.log(routes.expect_any(LEVELS)), np.log(LEVELS))))
    for side in (FIRST, SECOND):
        alone = norm.isf(0.01 / side.n_places)
        assert alone < norm.isf(level / side.n_places) < 1.07 * alone
    weak = np.array([3.8])
    assert float(routes.expect_sum(add_scores(weak, weak, math.pi / 4))[0]) < level
    assert FIRST.n_places * norm.sf(3.8) > 1


LEVELS = np.geomspace(1e-6, 1.0, 60)


def test_what_is_not_known_says_nothing() -> None:
    np.testing.assert_allclose(add_scores(np.array([3.0]), np.array([np.nan]), math.pi / 3), [1.5])


def test_scores_are_quantiles_of_expected_numbers() -> None:
    score = score_of_expected(np.array([1.0, 1e-3, 1e9]), 1e5)
    np.testing.assert_allclose(norm.sf(score[:2]), [1e-5, 1e-8])
    assert score[2] == 0
