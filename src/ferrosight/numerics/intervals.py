"""95 % intervals of counted shares and rates, of a mean and of a median."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, gammaincinv, stdtrit

_TAIL = 0.025


def binomial_interval(count: int, total: int) -> tuple[float, float]:
    """Exact interval of a probability of which ``count`` of ``total`` trials came true; (0, 1) without trials.

    Clopper & Pearson, Biometrika 26:404, 1934: it holds the truth at least 95 % of the time, whatever it is.
    """
    low = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, _TAIL))
    high = 1.0 if count == total else float(betaincinv(count + 1, total - count, 1 - _TAIL))
    return low, high


def poisson_interval(count: int) -> tuple[float, float]:
    """Exact interval of the expectation of a Poisson number that came out as ``count``.

    Garwood, Biometrika 28:437, 1936.
    """
    return 0.0 if count == 0 else float(gammaincinv(count, _TAIL)), float(gammaincinv(count + 1, 1 - _TAIL))


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Student's interval of the expectation of ``values`` (n,); NaN with fewer than two."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = float(stdtrit(n - 1, 1 - _TAIL)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Interval of the median of ``values``' distribution (n,), whatever that is; NaN with fewer than six.

    Between two order statistics: the median lies below the k-th smallest of n with a probability that is binomial.
    """
    n = len(values)
    below = np.flatnonzero(bdtr(np.arange(n // 2 + 1, dtype=np.float64), n, 0.5) <= _TAIL)
    if not len(below):
        return math.nan, math.nan
    ordered = np.sort(values)
    return float(ordered[below[-1]]), float(ordered[n - 1 - below[-1]])
