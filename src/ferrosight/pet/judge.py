"""From scores to decisions: how many false hot spots of at least this score a scan has.

Below the background there is nothing but noise, for activity cannot be negative: the statistic's minima, from the same
filters and with the skewness of the noise taken out of both sides, are the scan's own false candidates. Their tail
above a threshold u is exponential in s²/2 with rate 1/τ, 1/τ being gamma-distributed about 1 beforehand (noise alone);
averaged over what the minima leave uncertain,

    expected_false(s) = (n + ½) · (1 + e / (b + Σ e_i))^-(a + n),   e = (s² - u²)/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Statistic from which minima are counted and candidates kept.
FLOOR = 3.0
#: What noise alone would do weighs as much as this many minima: with twenty of a tail 1.4 times as wide as noise's,
#: half as many false ones more come as are said to.
_PRIOR_DECOYS = 10.0


@dataclass(frozen=True)
class Tail:
    """The false candidates of a scan: ``n_decoys`` minima beyond the floor and the sum of their excesses."""

    n_decoys: int
    excess: float

    def expected_false(self, scores: Array) -> Array:
        """Expected number of false candidates scoring at least each score (n,)."""
        e = np.maximum(np.asarray(scores, dtype=np.float64) ** 2 - FLOOR**2, 0.0) / 2
        power = _PRIOR_DECOYS + self.n_decoys
        return np.asarray((self.n_decoys + 0.5) * (1 + e / (_PRIOR_DECOYS + self.excess)) ** -power)

    def score_at(self, expected: float) -> float:
        """The score at which so many false candidates are expected."""
        power = _PRIOR_DECOYS + self.n_decoys
        ratio = max((self.n_decoys + 0.5) / expected, 1.0)
        return math.sqrt(FLOOR**2 + 2 * (_PRIOR_DECOYS + self.excess) * (ratio ** (1 / power) - 1))


def fit_tail(decoys: Array) -> Tail:
    """The tail of the minima's statistics (n,), all at least ``FLOOR``."""
    return Tail(len(decoys), float(((decoys**2 - FLOOR**2) / 2).sum()))


def q_values(expected_false: Array) -> Array:
    """Benjamini-Hochberg q from the number of false candidates expected at each candidate's score (n,)."""
    order = np.argsort(expected_false, kind="stable")
    ranked = expected_false[order] / np.arange(1, len(order) + 1)
    q = np.empty(len(order))
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q


def acceptance_score(tail: Tail, n_accepted: int, q: float, max_expected_false: float) -> float:
    """The score from which the accepted would have been so."""
    return tail.score_at(min(q * max(n_accepted, 1), max_expected_false))
