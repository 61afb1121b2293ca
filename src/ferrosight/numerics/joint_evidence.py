"""Two independent opinions on one candidate made one, and how many false candidates that leaves.

Where the strength of a source in one modality follows from that in the other, the best statistic is the sum of both
scores weighted by what is expected of each, cos φ z₁ + sin φ z₂ with tan φ = d₂/d₁ the ratio of the signals to be
expected in standard deviations (Neyman and Pearson). Several φ are tried and the largest taken; what trying costs is
in the number of false candidates.

A false candidate of the first modality with score z₁ comes with an independent standard normal z₂ at its place, and
candidates of the second with a z₁. If n φ(z) dz false candidates of one are expected between z and z + dz above its
floor (that is how scores are made from expected numbers), so many of them reach a joint score t or more:

    n ∫_floor^∞ φ(z) P(max_φ (cos φ z + sin φ x) ≥ t) dz,   x a standard normal.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

#: Steps of the integral over a false candidate's own score, and its upper end beyond which nothing is left.
_STEPS, _HIGHEST = 400, 12.0


def score_of_expected(expected_false: Array, n_places: float) -> Array:
    """The standard normal's quantile of expected false candidates per place (n,); never below 0."""
    share = np.minimum(np.asarray(expected_false, dtype=np.float64) / n_places, 0.5)
    return np.asarray(norm.isf(np.maximum(share, 1e-300)))


def join_scores(own: Array, other: Array, angles: Array) -> Array:
    """The largest weighted sum (n,) of two scores (n,) over ``angles`` (n, k) or (k,), rad, 0 to π/2.

    0 takes ``own`` alone, π/2 ``other``; a score that is not known (NaN) is 0: neither for nor against.
    """
    first, second = (np.nan_to_num(np.asarray(one, dtype=np.float64), nan=0.0)[:, None] for one in (own, other))
    return np.asarray((np.cos(angles) * first + np.sin(angles) * second).max(axis=-1))


def expect_false(score: float, n_places: float, floor: float, angles: Array) -> float:
    """False candidates with a joint score of at least ``score`` that begin as candidates of one modality.

    ``n_places`` and ``floor`` are those of that modality; ``angles`` (k,) are seen from it.
    """
    # From the joint score on one alone is enough: the integrand has a step there.
    step = np.maximum([score - 1e-9, score + 1e-9], floor)
    own = np.sort(np.append(np.linspace(floor, max(_HIGHEST, floor + 1), _STEPS), step))
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (score - np.outer(own, np.cos(angles))) / np.sin(angles)
    # Alone: whatever the other says.
    alone = np.sin(angles) < 1e-12
    needed[:, alone] = np.where(own[:, None] >= score, -math.inf, math.inf)
    chance = norm.sf(needed.min(axis=1))
    return float(n_places * np.trapezoid(norm.pdf(own) * chance, own))
