"""Intervals hold what they are intervals of as often as they say, by exact sums and by drawing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferrosight.numerics.intervals import binomial_interval, mean_interval, median_interval, poisson_interval


@pytest.mark.parametrize("total", [1, 7, 40])
def test_a_probability_lies_in_its_interval_at_least_19_times_in_20(total):
    counts = np.arange(total + 1)
    low, high = np.array([binomial_interval(int(count), total) for count in counts]).T
    for p in np.linspace(0.001, 0.999, 97):
        held = stats.binom.pmf(counts, total, p)[(low <= p) & (p <= high)].sum()
        assert held >= 0.95 - 1e-12


@pytest.mark.parametrize(("count", "total"), [(0, 12), (5, 12), (12, 12), (3, 100_000)])
def test_the_interval_is_clopper_and_pearsons(count, total):
    found = stats.binomtest(count, total).proportion_ci(method="exact")
    assert binomial_interval(count, total) == pytest.approx((found.low, found.high))


def test_nothing_tried_says_nothing():
    assert binomial_interval(0, 0) == (0.0, 1.0)


def test_an_expectation_lies_in_its_interval_at_least_19_times_in_20():
    counts = np.arange(120)
    low, high = np.array([poisson_interval(int(count)) for count in counts]).T
    for expected in np.geomspace(0.01, 50, 60):
        held = stats.poisson.pmf(counts, expected)[(low <= expected) & (expected <= high)].sum()
        assert held >= 0.95 - 1e-9
    assert (low[0], high[0]) == (0.0, pytest.approx(-np.log(0.025)))


def test_the_mean_is_students():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert np.isnan(mean_interval(values[:1])).all()


@pytest.mark.parametrize("n", [6, 7, 25, 60])
def test_the_median_lies_between_the_order_statistics_whatever_the_distribution(n):
    low, high = median_interval(np.arange(n) + 1.0)
    lower, upper = int(low), int(high)  # ranks
    # exactly: the median has lower to upper - 1 values below it
    held = stats.binom.cdf(upper - 1, n, 0.5) - stats.binom.cdf(lower - 1, n, 0.5)
    assert held >= 0.95
    tighter = stats.binom.cdf(upper - 2, n, 0.5) - stats.binom.cdf(lower, n, 0.5)
    assert tighter < 0.95
    drawn = np.random.default_rng(n).exponential(size=(4000, n))
    covered = np.mean([low <= np.log(2) <= high for low, high in map(median_interval, drawn)])
    assert covered == pytest.approx(held, abs=4 * np.sqrt(0.05 * 0.95 / 4000))


def test_a_median_of_five_has_no_interval():
    assert np.isnan(median_interval(np.arange(5.0))).all()
    assert np.isnan(median_interval(np.zeros(0))).all()
