"""The interval holds the truth as often as it says, over many draws of noise and of the conversion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from ferrosight.quantify.interval import bound_measurement, invert_measurement

DRAWS = 4000


def _constant(rel_sd: float):
    return lambda number: np.full_like(number, rel_sd)


def _factor(rng: np.random.Generator, rel_sd: float, n: int) -> NDArray[np.float64]:
    log_sd = np.sqrt(np.log1p(rel_sd**2))
    return np.exp(rng.normal(-(log_sd**2) / 2, log_sd, n))


def _assert_tails_are_2_5_percent(too_low: int, too_high: int, draws: int) -> None:
    """Each side misses 2.5 %, within what a binomial allows once in 10,000."""
    low, high = binom.ppf([5e-5, 1 - 5e-5], draws, 0.025)
    assert low <= too_low <= high
    assert low <= too_high <= high


@pytest.mark.parametrize("snr", [4.0, 10.0, 200.0])
@pytest.mark.parametrize("rel_sd", [0.0, 0.05, 0.17, 0.6])
def test_intervals_cover_95_percent(snr, rel_sd):
    rng = np.random.default_rng(int(snr) * 100 + int(rel_sd * 100))
    truth, factor = 30.0, 9.36e-14
    err = truth * factor / snr
    measured = truth * factor * _factor(rng, rel_sd, DRAWS) + rng.normal(0, err, DRAWS)
    kept = measured > 0
    low, high = invert_measurement(measured[kept], np.full(kept.sum(), err), factor, _constant(rel_sd))
    below_zero = np.count_nonzero(~kept)  # these would have had an interval below the truth
    _assert_tails_are_2_5_percent(np.count_nonzero(high < truth) + below_zero, np.count_nonzero(low > truth), DRAWS)


def test_without_spread_the_interval_is_the_gaussian_one():
    low, high = invert_measurement(np.array([50.0]), np.array([5.0]), 2.0, _constant(0.0))
    assert low[0] == pytest.approx(25 - 1.96 * 2.5, rel=1e-3)
    assert high[0] == pytest.approx(25 + 1.96 * 2.5, rel=1e-3)


def test_without_noise_the_interval_is_the_log_normal_one():
    log_sd = np.sqrt(np.log1p(0.2**2))
    low, high = invert_measurement(np.array([50.0]), np.array([0.0]), 2.0, _constant(0.2))
    assert low[0] == pytest.approx(25 * np.exp(log_sd**2 / 2 - 1.96 * log_sd), rel=1e-3)
    assert high[0] == pytest.approx(25 * np.exp(log_sd**2 / 2 + 1.96 * log_sd), rel=1e-3)


@settings(max_examples=60)
@given(
    value=st.floats(0.01, 1e6),
    rel_err=st.floats(1e-4, 2.0),
    rel_sd=st.floats(0.0, 0.8),
    factor=st.floats(1e-16, 1e-9),
)
def test_the_interval_holds_the_point_is_never_negative_and_has_no_unit_of_its_own(value, rel_err, rel_sd, factor):
    measured = np.array([value * factor])
    low, high = invert_measurement(measured, measured * rel_err, factor, _constant(rel_sd))
    assert 0 <= low[0] < value < high[0]
    again = invert_measurement(np.array([value]), np.array([value * rel_err]), 1.0, _constant(rel_sd))
    np.testing.assert_allclose([low[0], high[0]], [again[0][0], again[1][0]], rtol=1e-6)


@pytest.mark.parametrize("rel_sd", [0.05, 0.2, 0.6])
def test_the_two_ways_to_integrate_agree_where_they_meet(rel_sd):
    """Just below and just above equal widths the other variable is integrated out."""
    meeting = np.sqrt(np.log1p(rel_sd**2))
    measured = np.full(2, 10.0)
    ends = invert_measurement(measured, measured * meeting * np.array([1 - 1e-7, 1 + 1e-7]), 1.0, _constant(rel_sd))
    for end in ends:
        assert end[0] == pytest.approx(end[1], rel=1e-4)


def test_an_insignificant_measurement_has_a_lower_end_of_zero():
    low, high = invert_measurement(np.array([1.0]), np.array([1.0]), 1.0, _constant(0.1))
    assert low[0] == 0
    assert high[0] > 2.9


@pytest.mark.parametrize("rel_sd", [0.05, 0.3])
def test_of_what_was_selected_95_percent_are_covered_too(rel_sd):
    """Significance 6, kept from 6 on: the plain interval is high, that of what was selected holds."""
    rng = np.random.default_rng(int(100 * rel_sd))
    truth, factor, n = 6.0, 2.0, 1000
    strength = 6.0 * _factor(rng, rel_sd, 400_000)
    drawn = np.sqrt((strength + rng.normal(size=len(strength))) ** 2 + rng.chisquare(3, len(strength)))
    # As many of each value of the factor: it is one for all clusters of a scan, and selection does not choose it.
    order = np.argsort(strength)[200::400]
    kept = []
    for one in strength[order]:
        again = np.sqrt((one + rng.normal(size=200_000)) ** 2 + rng.chisquare(3, 200_000)) if one < 3 else None
        pool = drawn[np.abs(strength - one) < 0.05] if again is None else again
        kept.append(rng.choice(pool[pool >= 6.0]))
    measured = np.array(kept[:n]) * factor
    err, threshold = np.full(len(measured), factor), np.full(len(measured), 6.0)
    low, high = invert_measurement(measured, err, factor, _constant(rel_sd), measured / factor, threshold)
    bounds = binom.ppf([5e-5, 1 - 5e-5], len(measured), 0.95)
    assert bounds[0] <= np.count_nonzero((low <= truth) & (truth <= high)) <= bounds[1]
    plain_low, _ = invert_measurement(measured, err, factor, _constant(rel_sd))
    assert (plain_low > low).all()


@pytest.mark.parametrize("truth_sd", [0.0, 0.5, 2.0, 30.0])
@pytest.mark.parametrize("rel_sd", [0.0, 0.2])
def test_unselected_measurements_of_little_or_nothing_are_covered_and_their_limits_hold_95_percent(truth_sd, rel_sd):
    rng = np.random.default_rng(int(10 * truth_sd + 100 * rel_sd))
    factor, err = 9.36e-14, 3e-14
    truth = truth_sd * err / factor
    measured = truth * factor * _factor(rng, rel_sd, DRAWS) + rng.normal(0, err, DRAWS)
    of_all = measured, np.full(DRAWS, err), factor, _constant(rel_sd)
    low, high = invert_measurement(*of_all)
    limit = bound_measurement(*of_all)
    assert (limit > 0).all()
    assert (limit <= high).all()
    assert (low <= high).all()
    too_high, too_low = np.count_nonzero(low > truth), np.count_nonzero(high < truth)
    below = np.count_nonzero(limit < truth)
    bounds = binom.ppf([5e-5, 1 - 5e-5], DRAWS, 0.05)
    if truth_sd >= 2:
        _assert_tails_are_2_5_percent(too_low, too_high, DRAWS)
        assert bounds[0] <= below <= bounds[1]
    else:
        # Less than a standard deviation is never excluded: the limit holds more often than it says.
        assert too_high <= binom.ppf(1 - 5e-5, DRAWS, 0.025)
        assert below <= bounds[1]
