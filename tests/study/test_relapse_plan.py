"""A plan is a simulation of the very test that will be used, and its numbers hang together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.limits import find_limit
from ferrosight.study.relapse_plan import compare_treatments, plan_study
from ferrosight.types import Protocol, Search
from ferrosight.types.plan import PlanDesign

DESIGN = PlanDesign(
    protocol=Protocol(9.4, (0.003, 0.006, 0.009), (0.1, 0.12, 0.15), 40.0, 35.0),
    search=Search(0.9, 0.01, 1e6),
    ms_am2_per_kg_fe=90.0,
    iron_per_cell_pg=0.5,
    n_visits=10,
    noise_over_ideal=1.5,
    start_cells=5.0,
    n_animals=40,
)


@pytest.fixture(scope="module")
def plan():
    return plan_study(DESIGN, np.random.default_rng(1))


def test_the_noise_is_the_ideal_observers_times_what_was_said(plan):
    limit = find_limit(DESIGN.protocol, DESIGN.search)
    per_sd = limit.moment_am2 / limit.d_prime_required
    assert plan.cells_per_sd == pytest.approx(1.5 * per_sd / (90.0 * 0.5e-15))
    assert plan.cells_found == pytest.approx(limit.threshold * plan.cells_per_sd)


def test_the_share_called_rises_and_lies_in_its_interval(plan):
    assert (np.diff(plan.called) >= 0).all()
    assert ((plan.called_low <= plan.called) & (plan.called <= plan.called_high)).all()
    assert plan.called[1] == 0  # evidence starts after the visit of birth
    assert plan.called[-1] > 0.9
    assert plan.called[-1] == pytest.approx(np.isfinite(plan.alarm_days).mean())
    assert plan.false_alarms <= 0.1


def test_the_lead_is_from_the_alarm_to_the_visit_that_shows_the_volume():
    """No spread between animals: everything can be worked out by hand."""
    same = dataclasses.replace(DESIGN, doubling_cv=0.0, interval_days=3.0, doubling_days=6.0, n_visits=16)
    plan = plan_study(same, np.random.default_rng(2))
    visible = plan.leads[0]
    doublings = np.log2(1e6 / 5.0)
    assert visible.median_day == 3 * np.ceil(doublings * 6 / 3)
    assert visible.lead_days == pytest.approx(visible.median_day - np.median(plan.alarm_days))
    assert visible.lead_doublings == pytest.approx(visible.lead_days / 6)
    assert plan.cells_at_alarm == pytest.approx(5 * 2 ** (np.median(plan.alarm_days) / 6), rel=0.5)


def test_a_study_too_short_has_no_lead():
    short = dataclasses.replace(DESIGN, n_visits=3, start_cells=0.05, doubling_days=30.0)
    plan = plan_study(short, np.random.default_rng(3))
    assert plan.called[-1] < 0.5
    assert np.isnan(plan.leads[0].lead_days)
    assert np.isnan(plan.cells_at_alarm) or plan.cells_at_alarm > 0


def test_treatments_that_differ_more_need_fewer_animals(plan):
    def slower(doubling):
        return plan_study(dataclasses.replace(DESIGN, doubling_days=doubling), np.random.default_rng(4))

    little, much = (compare_treatments(plan, slower(days), 10) for days in (14.0, 40.0))
    assert much.animals_per_group < little.animals_per_group
    assert much.power > little.power
    assert 0.5 < little.earlier < much.earlier <= 1


def test_the_power_is_that_of_the_rank_sum_test(plan):
    """By simulation: groups drawn from the planned times, tested by scipy."""
    from scipy.stats import mannwhitneyu

    other = plan_study(dataclasses.replace(DESIGN, doubling_days=12.0), np.random.default_rng(5))
    comparison = compare_treatments(plan, other, 12)
    rng = np.random.default_rng(6)
    times = [np.nan_to_num(one.alarm_days, nan=1e6) for one in (plan, other)]
    hits = [
        mannwhitneyu(rng.choice(times[0], 12), rng.choice(times[1], 12), method="asymptotic").pvalue < 0.05
        for _ in range(1000)
    ]
    # Noether's formula neglects ties, which make the test a little more powerful.
    assert np.mean(hits) == pytest.approx(comparison.power, abs=0.15)


@pytest.mark.parametrize("changes", [{"start_cells": 0.0}, {"n_visits": 2}, {"carry_over": 1.0}, {"n_animals": 3}])
def test_impossible_designs_are_refused(changes):
    with pytest.raises(InputError):
        dataclasses.replace(DESIGN, **changes)
