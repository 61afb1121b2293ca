"""Two independent opinions on one candidate made one, and how many false candidates that leaves.

A candidate may be accepted by three routes: by either modality alone, or by both scores weighed together. Where the
strength in one follows from that in the other, so that d₁ standard deviations are to be expected in the one that found
it and d₂ in the other, the best there is is the likelihood ratio (Neyman and Pearson), over the number of places:

    t = d₁ z₁ + d₂ z₂ − (d₁² + d₂²)/2 − log n₁,

the odds that here is what a visit has one of. d₂ is what is left of the second's signal after it was looked for where
the first says: where the place is known too badly for the second to add anything, it is 0, and t the first alone.

Where the ratio of both signals is known nearly all false candidates are left to the odds, and a few to either alone,
for what does not keep to the ratio; where it is not, each route gets as many. The routes' shares add up to one, so that
of e false candidates in all a route with share w has at least w e, whatever the others: what passes it needs the score
of w e false candidates instead of e.

Scores are standard normal quantiles: n φ(z) dz false candidates of a modality are expected between z and z + dz above
its floor, where n is its number of places. A false candidate of the one with score z comes with an independent standard
normal x of the other at its place. So where the routes' thresholds are a₁, a₂ and u,

    n₁ ∫_floor₁^∞ φ(z) P(z ≥ a₁ or t(z, x) ≥ u) dz

begin as candidates of the first by any route, and likewise of the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm

Array = NDArray[np.float64]

#: The shares of false candidates that the first alone, the second alone and the odds are let: where the ratio of both
#: signals is known, and where it is not.
KNOWN_SHARES, UNKNOWN_SHARES = (0.1, 0.1, 0.8), (1 / 3, 1 / 3, 1 / 3)
#: Steps of the integral over a false candidate's own score, and its upper end beyond which nothing is left.
_STEPS, _HIGHEST = 400, 14.0
_ROOT_2_PI = math.sqrt(2 * math.pi)
#: Candidates whose strengths stand for those of all of a side.
_MOST_PAIRS = 7
#: Odds, and expected numbers, at which counts are tabulated.
_ODDS, _LEVELS = np.linspace(-60.0, 100.0, 321), np.geomspace(1e-30, 1e4, 137)


def score_of_expected(expected_false: Array, n_places: float) -> Array:
    """The standard normal's quantile of expected false candidates per place (n,); never below 0."""
    share = np.minimum(np.asarray(expected_false, dtype=np.float64) / n_places, 0.5)
    return np.asarray(norm.isf(np.maximum(share, 1e-300)))


@dataclass(frozen=True)
class Strengths:
    """What is expected of n candidates of a side: ``own`` standard deviations (n,), and ``heard`` (n,) in the other."""

    own: Array
    heard: Array

    def weigh(self, own: Array, other: Array, n_places: float) -> Array:
        """The logarithms (n,) of the odds of candidates with these scores (n,); the lowest tabulated at least.

        A score of the other that is not known (NaN) is left out: neither for nor against.
        """
        known = np.isfinite(other)
        heard = np.where(known, self.heard, 0.0)
        both = self.own * own + heard * np.where(known, other, 0.0)
        return np.asarray(np.maximum(both - (self.own**2 + heard**2) / 2 - math.log(n_places), _ODDS[0]))

    def pick(self) -> Strengths:
        """A few that are spread as all are."""
        if len(self.own) <= _MOST_PAIRS:
            return self
        order = np.lexsort((self.own, self.heard))
        chosen = order[((np.arange(_MOST_PAIRS) + 0.5) / _MOST_PAIRS * len(order)).astype(np.int64)]
        return Strengths(self.own[chosen], self.heard[chosen])


@dataclass(frozen=True)
class Side:
    """One modality's search: its number of places, and the score that its weakest false candidates have."""

    n_places: float
    floor: float

    def count(self, strengths: Strengths, odds: float, own: float = math.inf) -> float:
        """False candidates of this side with such ``odds`` (a logarithm), or an own score of ``own``, or more.

        A false candidate has any of the ``strengths`` alike; without any nobody asks for its odds.
        """
        steps = self.floor + (max(_HIGHEST, self.floor + 1) - self.floor) * np.linspace(0, 1, _STEPS) ** 2
        # The integrand has a step where the own score is enough.
        step = np.clip([own - 1e-9, own + 1e-9], self.floor, _HIGHEST)
        z = np.sort(np.append(steps, step))
        chance = np.zeros(len(z))
        if len(strengths.own):
            first, second = strengths.own[:, None], np.maximum(strengths.heard, 1e-6)[:, None]
            needed = (odds + math.log(self.n_places) + (first**2 + second**2) / 2 - first * z) / second
            chance = ndtr(-needed).mean(axis=0)
        return float(
            self.n_places * np.trapezoid(np.exp(-(z**2) / 2) / _ROOT_2_PI * np.where(z >= own, 1.0, chance), z)
        )


class Routes:
    """What the three routes let through, for two sides.

    Parameters
    ----------
    first, second : Side
    strengths
        Of each side's candidates.
    shares
        Of the first alone, the second alone and the odds; they add up to 1.
    """

    def __init__(
        self, first: Side, second: Side, strengths: tuple[Strengths, Strengths], shares: tuple[float, float, float]
    ) -> None:
        self.sides, self.shares = (first, second), shares
        self._strengths = tuple(one.pick() for one in strengths)
        counts = np.array([self._count(odds) for odds in _ODDS])
        self._log_counts = np.log(np.maximum(counts, 1e-300))
        unions = np.array([self._count_union(level) for level in _LEVELS])
        self._log_unions = np.maximum.accumulate(np.log(np.maximum(unions, 1e-300)))

    def expect_odds(self, odds: Array) -> Array:
        """False candidates (n,) with such odds (n,), or higher."""
        return np.asarray(np.exp(np.interp(odds, _ODDS, self._log_counts)))

    def expect_any(self, first: Array, second: Array, odds: Array) -> Array:
        """False candidates (n,) by any route that are as good as these.

        ``first`` and ``second`` (n,) are the false candidates expected of either modality alone, infinite where it has
        no candidate; ``odds`` (n,) are logarithms.
        """
        routes = (first, second, self.expect_odds(odds))
        level = np.min([expected / share for expected, share in zip(routes, self.shares, strict=True)], axis=0)
        known = np.clip(level, _LEVELS[0], _LEVELS[-1])
        return np.asarray(np.exp(np.interp(np.log(known), np.log(_LEVELS), self._log_unions)))

    def _count(self, odds: float, own: tuple[float, float] = (math.inf, math.inf)) -> float:
        every = zip(self.sides, self._strengths, own, strict=True)
        return sum(side.count(strengths, odds, alone) for side, strengths, alone in every)

    def _count_union(self, level: float) -> float:
        """All that pass where the routes let their shares of ``level`` through."""
        odds = float(np.interp(-math.log(self.shares[2] * level), -self._log_counts, _ODDS))
        first, second = (
            float(norm.isf(min(share * level / side.n_places, 0.5)))
            for share, side in zip(self.shares[:2], self.sides, strict=True)
        )
        return self._count(odds, (first, second))
