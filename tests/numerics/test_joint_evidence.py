"""Two opinions made one: counted as often false as drawn pairs are, and never much worse than the better alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from ferrosight.numerics.joint_evidence import (
    KNOWN_SHARES,
    UNKNOWN_SHARES,
    Routes,
    Side,
    Strengths,
    score_of_expected,
)

Floats = NDArray[np.float64]

#: One searches many places down to few false candidates, the other few places and keeps all that is weak.
FIRST, SECOND = Side(40_000, 2.6), Side(3_000, 1.5)
NONE = np.array([math.inf])


def draw_false(side: Side, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Own scores above the floor, and the other modality's at the same places."""
    own = rng.normal(size=int(side.n_places))
    own = own[own > side.floor]
    return own, rng.normal(size=own.size)


def expect(*pairs: tuple[float, float]) -> Strengths:
    """Own strength and what is heard in the other, for some candidates."""
    own, heard = np.array(pairs).T
    return Strengths(own, heard)


@pytest.mark.parametrize("shares", [KNOWN_SHARES, UNKNOWN_SHARES])
@pytest.mark.parametrize("strengths", [((4.0, 2.0), (3.0, 0.5)), ((2.0, 4.0), (4.0, 0.0)), ((4.5, 0.1), (3.0, 3.0))])
@pytest.mark.parametrize("level", [1.0, 0.3])
def test_false_candidates_are_counted_as_they_come(
    strengths: tuple[tuple[float, float], ...], shares: tuple[float, float, float], level: float
) -> None:
    """All that pass by any route, drawn, against what is expected of them."""
    # The first side's candidates differ from each other.
    pairs = expect(strengths[0], (3.5, 2.5)), expect(strengths[1])
    routes = Routes(FIRST, SECOND, pairs, shares)
    rng = np.random.default_rng(1)
    counts, by_odds = [], []
    for _ in range(300):
        passed = likely = 0
        for k, side in enumerate((FIRST, SECOND)):
            own, other = draw_false(side, rng)
            which = rng.integers(len(pairs[k].own), size=own.size)
            odds = Strengths(pairs[k].own[which], pairs[k].heard[which]).weigh(own, other, side.n_places)
            alone = [np.full(own.size, math.inf)] * 2
            alone[k] = side.n_places * norm.sf(own)
            likely += int((routes.expect_odds(odds) <= level).sum())
            passed += int((routes.expect_any(*alone, odds) <= level).sum())
        counts.append(passed)
        by_odds.append(likely)
    assert np.mean(by_odds) == pytest.approx(level, abs=4 * np.sqrt(level / 300))
    assert np.mean(counts) == pytest.approx(level, abs=4 * np.sqrt(level / 300))


@pytest.mark.parametrize("shares", [KNOWN_SHARES, UNKNOWN_SHARES])
def test_no_route_needs_more_than_the_score_of_its_share(shares: tuple[float, float, float]) -> None:
    """By construction, for anything that passes a route, whatever the others say; and what that is in cells."""
    level = 0.05
    routes = Routes(FIRST, SECOND, (expect((4.0, 2.0)), expect((3.0, 1.0))), shares)
    first, second = (np.array([share * level]) for share in shares[:2])
    # Interpolation between tabulated levels costs less than a hundredth.
    assert routes.expect_any(first, NONE, -NONE)[0] < 1.01 * level
    assert routes.expect_any(NONE, second, -NONE)[0] < 1.01 * level
    lost = norm.isf(shares[2] * level / SECOND.n_places) / norm.isf(level / SECOND.n_places)
    assert lost < (1.02 if shares == KNOWN_SHARES else 1.07)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("cost", [0.0, 1.5])
def test_with_the_ratio_known_both_are_never_worse_by_two_per_cent_and_better_where_alike(
    ratio: float, cost: float
) -> None:
    """The strength at which half of the drawn sources pass, at one false candidate per visit.

    Where one looks at what the other found, ``cost`` of the signal's standard deviations are lost in the search.
    """
    limits = np.array([norm.isf(1 / side.n_places) for side in (FIRST, SECOND)])
    # Strengths at which the better alone is at its limit; what is heard of them in the other.
    first, second = (limits[0], ratio * limits[1]) if ratio <= 1 else (limits[0] / ratio, limits[1])
    heard = np.maximum([second - cost, first - cost], 0.0)
    pairs = expect((first, heard[0])), expect((second, heard[1]))
    routes = Routes(FIRST, SECOND, pairs, KNOWN_SHARES)
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(2, 40_000))

    def share(multiple: float) -> float:
        z = multiple * np.array([[first], [second]]) + noise
        there = (z - cost)[::-1]
        expected = []
        for k, side in enumerate((FIRST, SECOND)):
            alone = [np.full(noise.shape[1], math.inf)] * 2
            alone[k] = side.n_places * norm.sf(z[k])
            of_side = routes.expect_any(*alone, pairs[k].weigh(z[k], there[k], side.n_places))
            expected.append(np.where(z[k] >= side.floor, of_side, math.inf))
        return float((np.minimum(*expected) <= 1.0).mean())

    assert share(1.02) > 0.5
    if ratio == 1.0:
        assert share(0.9 if cost else 0.8) > 0.5


def test_what_is_not_known_says_nothing() -> None:
    pair = expect((4.0, 2.0))
    known, unknown = (pair.weigh(np.array([4.0]), np.array([x]), 1000.0)[0] for x in (1.0, np.nan))
    # What is as likely with a source as without says nothing either.
    assert unknown == pytest.approx(known) == pytest.approx(8.0 - math.log(1000.0))


def test_scores_are_quantiles_of_expected_numbers() -> None:
    score = score_of_expected(np.array([1.0, 1e-3, 1e9]), 1e5)
    np.testing.assert_allclose(norm.sf(score[:2]), [1e-5, 1e-8])
    assert score[2] == 0
