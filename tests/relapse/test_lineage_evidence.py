"""A lineage's evidence is an e-process for every course that never rises, and grows where something does."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from ferrosight.relapse.increments import tabulate_log_normaliser
from ferrosight.relapse.lineage_evidence import LEVEL_STEP, Bets, _trace_all, trace_growth

SHARE = 0.002
COURSES = {
    "level": lambda t: 9.0 + 0 * t,
    "nothing at all": lambda t: 0.0 * t,
    "slow decay": lambda t: 15 * np.exp(-0.04 * t),
    "treated": lambda t: np.where(t < 5, 12.0, 12.0 * 0.6 ** (t - 5)),
    "steps": lambda t: np.where(t < 4, 20.0, np.where(t < 12, 8.0, 7.0)),
}


def follow(course, n, rng, n_visits=22, tails="normal", sd=1.0, factor_sd=0.0, stated=1.0, stated_factor=None, birth=0):
    """log e-values (n, n_visits) of lineages born at one visit."""
    t = np.arange(n_visits, dtype=float)
    noise = rng.standard_normal((n, n_visits))
    if tails == "t4":
        noise = rng.standard_t(4, (n, n_visits)) / np.sqrt(2)
    factor = np.exp(factor_sd * rng.standard_normal((n, n_visits)) - factor_sd**2 / 2)
    values = course(t) * factor + sd * noise
    return trace_growth(
        values,
        np.full(values.shape, stated),
        t,
        np.full(n, birth),
        factor_sd if stated_factor is None else stated_factor,
        SHARE,
        Bets(),
    )


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
@pytest.mark.parametrize("tails", ["normal", "t4"])
@pytest.mark.parametrize("birth", [0, 2])
def test_the_expectation_never_exceeds_one_whatever_falls(course, tails, birth):
    n = 4000
    e = np.exp(follow(course, n, np.random.default_rng(6), tails=tails, birth=birth))
    mean, error = e.mean(axis=0), e.std(axis=0) / np.sqrt(n)
    assert (mean <= 1 + 3 * error).all()
    assert np.mean(e.max(axis=1) >= 20) <= 0.05


@pytest.mark.parametrize("factor_sd", [0.1, 0.2])
def test_a_factor_of_each_visit_is_paid_for_where_it_is_bounded(factor_sd):
    n = 4000
    e = np.exp(follow(COURSES["level"], n, np.random.default_rng(7), factor_sd=factor_sd, stated_factor=factor_sd))
    assert (e.mean(axis=0) <= 1 + 3 * e.std(axis=0) / np.sqrt(n)).all()


def test_a_factor_that_nobody_bounded_breaks_it():
    e = follow(lambda t: 20.0 + 0 * t, 1000, np.random.default_rng(8), 40, factor_sd=0.4, stated_factor=0.0)
    assert np.mean(e.max(axis=1) >= np.log(20)) > 0.05


def test_a_standard_deviation_far_too_small_breaks_it():
    e = follow(COURSES["level"], 1000, np.random.default_rng(9), 40, sd=3.0)
    assert np.mean(e.max(axis=1) >= np.log(20)) > 0.05


@pytest.mark.parametrize("tails", ["normal", "t4"])
def test_what_was_found_for_being_large_is_no_evidence(tails):
    """Clusters below the threshold, born where noise lifted them over it: birth and before do not count."""
    rng = np.random.default_rng(10)
    n, n_visits = 8_000, 30
    noise = rng.standard_normal((n, n_visits)) if tails == "normal" else rng.standard_t(4, (n, n_visits)) / np.sqrt(2)
    values = rng.uniform(2, 5, (n, 1)) + noise
    found = values >= 5.5
    values, found = values[found.any(axis=1)], found[found.any(axis=1)]
    births = found.argmax(axis=1)
    log_e = trace_growth(values, np.ones(values.shape), np.arange(30.0), births, 0.0, SHARE, Bets())
    assert len(values) > 500
    assert np.mean(log_e.max(axis=1) >= np.log(20)) <= 0.05
    for row in range(0, 200):
        assert (log_e[row, : births[row] + 1] == 0).all()
    back_filled = trace_growth(values, np.ones(values.shape), np.arange(30.0), 0 * births, 0.0, SHARE, Bets())
    moved = np.abs(back_filled - log_e).max()
    assert moved > 0.1  # what comes before would have counted


def test_what_comes_before_the_birth_changes_nothing():
    rng = np.random.default_rng(11)
    values = 8 + rng.standard_normal((3, 15))
    births = np.array([4, 0, 7])
    other = np.where(np.arange(15) < births[:, None], rng.uniform(-50, 50, (3, 15)), values)
    ones = np.ones((3, 15))
    first = trace_growth(values, ones, np.arange(15.0), births, 0.05, SHARE, Bets())
    second = trace_growth(other, ones, np.arange(15.0), births, 0.05, SHARE, Bets())
    assert first == pytest.approx(second)


def test_the_future_changes_nothing():
    """Every visit's factor uses only the past."""
    rng = np.random.default_rng(12)
    values = 8 + rng.standard_normal((1, 15))
    later = values.copy()
    later[:, 9:] += rng.uniform(-5, 40, 6)
    first, second = (
        trace_growth(v, np.ones(v.shape), np.arange(15.0), np.zeros(1, dtype=np.int64), 0.05, SHARE, Bets())
        for v in (values, later)
    )
    assert first[:, :9] == pytest.approx(second[:, :9])


@pytest.mark.parametrize(("doubling", "most"), [(1.0, 3.5), (2.0, 4.0), (4.0, 5.5)])
def test_growth_is_called_within_a_few_visits(doubling, most):
    onset = 8
    log_e = follow(
        lambda t: 12 * 2 ** (np.maximum(t - onset, 0) / doubling), 500, np.random.default_rng(13), 30, stated=1.3
    )
    called = log_e >= np.log(25)
    assert called.any(axis=1).all()
    delay = called.argmax(axis=1) - onset
    assert np.mean(delay) < most
    assert np.mean(delay <= 0) < 0.02


def test_what_is_born_late_and_grows_is_called_sooner():
    """The same growth, seen from the first scan on or from the second."""
    course = lambda t: 12 * 2.0**t  # noqa: E731
    first, late = (
        (follow(course, 300, np.random.default_rng(13), 12, stated=1.3, birth=birth) >= np.log(25)).argmax(axis=1)
        - birth
        for birth in (0, 1)
    )
    assert np.mean(late) < np.mean(first) - 0.3


def test_regrowth_after_treatment_is_called_long_before_the_old_level_is_back():
    """The null never rises again: the nadir counts, not the beginning."""
    course = lambda t: np.where(t < 6, 100 * 0.4**t, 100 * 0.4**6 * 2.0 ** (t - 6))  # noqa: E731
    log_e = follow(course, 300, np.random.default_rng(14), 20)
    reached = 6 + (log_e[:, 6:] >= np.log(25)).argmax(axis=1)
    assert (log_e[:, 6:] >= np.log(25)).any(axis=1).all()
    assert np.mean(course(reached.astype(float))) < 40


@pytest.mark.parametrize("course", ["level", "slow decay", "steps"])
def test_a_grid_of_levels_never_gives_more_than_a_finer_one(course):
    """The allowance for rounding covers what the coarse levels miss of the best non-growing course."""
    rng = np.random.default_rng(15)
    n, n_visits = 60, 18
    t = np.arange(n_visits)
    grown = np.where(np.arange(n)[:, None] % 2, 2.0 ** (np.maximum(t - 8, 0) / 3), 1.0)
    values = COURSES[course](t) * grown + rng.standard_normal((n, n_visits))
    steps = np.exp2(np.ones(n_visits)[None] / np.array([1.0, 2.0, 4.0])[:, None])
    onset = np.where(np.arange(n)[:, None] % 3, [0.02, 0.02, 0.06], [0.2, 0.2, 0.2])
    common = (np.ones_like(values), np.zeros(n, dtype=np.int64), steps, 0.05, onset)
    table = tabulate_log_normaliser(SHARE)
    coarse = _trace_all(values, *common, table, LEVEL_STEP)
    fine = _trace_all(values, *common, table, 0.04)
    assert (coarse <= fine + 1e-9).mean() > 0.99
    assert (coarse - fine).max() < 0.05
    assert np.abs(coarse - fine).max() < 1.0


def test_missing_visits_are_passed_over():
    rng = np.random.default_rng(16)
    values = 9 + rng.standard_normal((2, 12))
    values[0, [4, 5]] = np.nan
    values[1, 0] = np.nan  # the birth itself: the next visit takes its place
    log_e = trace_growth(values, np.ones((2, 12)), np.arange(12.0), np.zeros(2, dtype=np.int64), 0.05, SHARE, Bets())
    assert np.isfinite(log_e).all()
    assert log_e[0, 5] == log_e[0, 3]
    assert log_e[1, 1] == 0


def test_very_large_clusters_still_have_levels_up_to_their_size():
    rng = np.random.default_rng(17)
    t = np.arange(12)
    values = 5000.0 * np.array([[1.0], [1.0]]) * 2.0 ** (np.array([[0.0], [1.0]]) * np.maximum(t - 5, 0) / 2)
    log_e = trace_growth(
        values + rng.standard_normal((2, 12)),
        np.ones((2, 12)),
        t * 1.0,
        np.zeros(2, dtype=np.int64),
        0.0,
        SHARE,
        Bets(),
    )
    assert log_e[0].max() < np.log(20)
    assert log_e[1].max() > np.log(100)


def test_units_and_calendar_do_not_matter():
    rng = np.random.default_rng(18)
    values = 10 * 2.0 ** (np.maximum(np.arange(14) - 5, 0) / 3)[None] + rng.standard_normal((1, 14))
    births, ones = np.zeros(1, dtype=np.int64), np.ones((1, 14))
    first = trace_growth(values, ones, np.arange(14.0), births, 0.05, SHARE, Bets())
    second = trace_growth(values * 3e-13, 3e-13 * ones, 100 + 7 * np.arange(14.0), births, 0.05, SHARE, Bets())
    assert first == pytest.approx(second)


@njit
def leave_nothing_but_nan(n):
    """Memory of all small sizes is given back with NaN in it."""
    held = [np.full(size, np.nan) for size in range(1, n)]
    return len(held)


def test_what_memory_held_before_changes_nothing():
    """Predictions that nothing is staked on yet must be numbers all the same: 0 times NaN is no evidence."""
    values = np.array([[9.0, 8.5, 9.2, 7.9, 8.8]])
    arguments = (values, np.ones((1, 5)), np.arange(5.0), np.zeros(1, dtype=np.int64), 0.1, 0.002, Bets())
    expected = trace_growth(*arguments)
    assert np.isfinite(expected).all()
    for _ in range(50):
        leave_nothing_but_nan(40)
        np.testing.assert_array_equal(trace_growth(*arguments), expected)
