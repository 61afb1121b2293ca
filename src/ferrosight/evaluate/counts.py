"""Counted shares, rates and averages with their intervals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ferrosight.numerics.intervals import binomial_interval, mean_interval, median_interval, poisson_interval
from ferrosight.types.evaluation import Average, PerScan, Share


def count_share(count: int, total: int) -> Share:
    """``count`` of ``total`` independent trials, with the exact binomial interval."""
    low, high = binomial_interval(count, total)
    return Share(count / total if total else math.nan, low, high, count, total)


def count_per_scan(count: int, n_scans: int) -> PerScan:
    """``count`` independent events in ``n_scans`` scans, with the exact Poisson interval."""
    low, high = poisson_interval(count)
    return PerScan(count / n_scans, low / n_scans, high / n_scans, count)


def average_mean(values: NDArray[np.float64]) -> Average:
    """Mean of ``values`` (n,) with Student's interval."""
    low, high = mean_interval(values)
    return Average(float(np.mean(values)) if len(values) else math.nan, low, high, len(values))


def average_share(shares: NDArray[np.float64]) -> Average:
    """Mean of ``shares`` (n,) with Student's interval, as far as that is shares."""
    mean = average_mean(shares)
    low, high = np.clip([mean.low, mean.high], 0.0, 1.0)
    return Average(mean.value, float(low), float(high), mean.n)


def average_median(values: NDArray[np.float64]) -> Average:
    """Median of ``values`` (n,) with the interval between order statistics."""
    low, high = median_interval(values)
    return Average(float(np.median(values)) if len(values) else math.nan, low, high, len(values))
