"""Intervals of the moments of clusters that were accepted because of their score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.polarity import Polarity, expected_false
from ferrosight.numerics.selection import selected_quantiles

#: Ends of a 95 % interval, standard normal.
_ENDS = np.array([-1.959964, 1.959964])
#: Where the score that acceptance asks for is sought, and how finely.
_HIGHEST_SCORE, _SCORE_TOLERANCE = 200.0, 0.01


def acceptance_score(polarity: Polarity, n_significant: int, q: float, max_expected_false: float) -> float:
    """Lowest score at which one of the scan's ``n_significant`` candidates would still have been accepted.

    With R accepted, Benjamini and Hochberg accept each whose expected false number is at most q·R: had its score just
    reached that, it would be the last of the same R. In a quiet scan that may be so at any score; but nothing below the
    polarity's floor is looked at. NaN where nothing is significant, or nothing could be.
    """
    if not n_significant:
        return float("nan")
    allowed = min(q * n_significant, max_expected_false)
    low, high = polarity.floor, _HIGHEST_SCORE
    if expected_false(polarity, np.array([high]))[0] > allowed:
        return float("nan")
    while high - low > _SCORE_TOLERANCE:
        middle = (low + high) / 2
        enough = expected_false(polarity, np.array([middle]))[0] <= allowed
        low, high = (low, middle) if enough else (middle, high)
    return high


def select_interval(
    moment: NDArray[np.float64],
    err: NDArray[np.float64],
    score: NDArray[np.float64],
    threshold: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends (n,) of the 95 % interval of each moment, given that its score reached a threshold (NaN: the plain one)."""
    low, high = selected_quantiles(moment, err, score, threshold, _ENDS).T
    return low, high
