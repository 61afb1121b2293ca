"""Two independent opinions on one candidate made one, and how many false candidates that leaves.

A candidate may be accepted by three routes: by either modality alone, or by the sum of both scores, weighted by what is
expected of each, cos φ z₁ + sin φ z₂ with tan φ = d₂/d₁ the ratio of the signals to be expected in standard deviations,
which is the best there is where the strength in one follows from that in the other (Neyman and Pearson). Each route is
allowed as many false candidates as the others, whatever the number of places that each modality searches.

Scores are standard normal quantiles: n φ(z) dz false candidates of a modality are expected between z and z + dz above
its floor, where n is its number of places. A false candidate of the one with score z comes with an independent standard
normal x of the other at its place. So where the routes' thresholds let e false candidates through each,

    n₁ ∫_floor₁^∞ φ(z) P(z ≥ a₁ or x ≥ a₂ or cos φ z + sin φ x ≥ t) dz

begin as candidates of the first by any route, likewise of the second, and together they are at most 3 e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

#: Steps of the integral over a false candidate's own score, and its upper end beyond which nothing is left.
_STEPS, _HIGHEST = 300, 14.0
#: Thresholds of the sum, and expected numbers, at which counts are tabulated.
_SUMS, _LEVELS = np.linspace(-2.0, 14.0, 161), np.geomspace(1e-30, 1e4, 137)


def score_of_expected(expected_false: Array, n_places: float) -> Array:
    """The standard normal's quantile of expected false candidates per place (n,); never below 0."""
    share = np.minimum(np.asarray(expected_false, dtype=np.float64) / n_places, 0.5)
    return np.asarray(norm.isf(np.maximum(share, 1e-300)))


def add_scores(own: Array, other: Array, angle: Array | float) -> Array:
    """The weighted sum (n,) of two scores (n,), ``angle`` (rad, 0 to π/2) seen from the first.

    A score that is not known (NaN) is 0: neither for nor against.
    """
    first, second = (np.nan_to_num(np.asarray(one, dtype=np.float64), nan=0.0) for one in (own, other))
    return np.asarray(np.cos(angle) * first + np.sin(angle) * second)


@dataclass(frozen=True)
class Side:
    """One modality's search: its number of places, and the score that its weakest false candidates have."""

    n_places: float
    floor: float

    def count(self, angle: float, total: float, own: float = math.inf, other: float = math.inf) -> float:
        """False candidates of this side with a weighted sum of ``total``, an own score of ``own``, or one of the other
        modality of ``other``, or more; ``angle`` is seen from here."""
        # The integrand has a step where the own score is enough.
        step = np.clip([own - 1e-9, own + 1e-9], self.floor, _HIGHEST)
        z = np.sort(np.append(np.linspace(self.floor, max(_HIGHEST, self.floor + 1), _STEPS), step))
        sine = math.sin(angle)
        if sine > 1e-9:
            needed = np.minimum((total - math.cos(angle) * z) / sine, other)
        else:
            needed = np.where(z >= total, -math.inf, other)
        chance = np.where(z >= own, 1.0, norm.sf(needed))
        return float(self.n_places * np.trapezoid(norm.pdf(z) * chance, z))


class Routes:
    """What the three routes let through, for two sides and one ``angle`` (rad, seen from the first)."""

    def __init__(self, first: Side, second: Side, angle: float) -> None:
        self.first, self.second, self.angle = first, second, angle
        counts = np.array([self._count_sum(total) for total in _SUMS])
        self._log_sums = np.log(np.maximum(counts, 1e-300))
        unions = np.array([self._count_union(level) for level in _LEVELS])
        self._log_unions = np.maximum.accumulate(np.log(np.maximum(unions, 1e-300)))

    def expect_sum(self, total: Array) -> Array:
        """False candidates (n,) with a weighted sum of ``total`` (n,) or more."""
        return np.asarray(np.exp(np.interp(total, _SUMS, self._log_sums)))

    def expect_any(self, least: Array) -> Array:
        """False candidates (n,) by any route, where the best of a candidate's routes lets ``least`` (n,) through."""
        return np.asarray(np.exp(np.interp(np.log(np.maximum(least, 1e-30)), np.log(_LEVELS), self._log_unions)))

    def _count_sum(self, total: float) -> float:
        return self.first.count(self.angle, total) + self.second.count(math.pi / 2 - self.angle, total)

    def _count_union(self, level: float) -> float:
        total = float(np.interp(-math.log(level), -self._log_sums, _SUMS))
        own, other = (float(norm.isf(min(level / side.n_places, 0.5))) for side in (self.first, self.second))
        begun = self.first.count(self.angle, total, own, other)
        return begun + self.second.count(math.pi / 2 - self.angle, total, other, own)
