"""From a subject's visits to the alarm: what it adds up to, and that it keeps its word when things go wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.relapse import weigh_evidence
from ferrosight.relapse.combine import average_lineages
from ferrosight.relapse.weigh import BIRTH_WEIGHT, VARIANCE_SHARE
from ferrosight.simulate.lineages import LineageSpec, simulate_subject, simulate_test_retest
from ferrosight.types.relapse import StudyDesign

DESIGN = StudyDesign("targeted", test_retest=(1.0, 60), hidden_clusters_max=3)
GROWING = LineageSpec(n_visits=24, doubling_visits=2.0, onset=8)


def simulate(spec=GROWING, seed=1, **statement):
    return simulate_subject(spec, np.random.default_rng(seed), **{"carry_over_max": 0.3, **statement})


def test_the_subjects_evidence_is_the_stated_average():
    series, _ = simulate()
    evidence = weigh_evidence(series, DESIGN)
    growth = average_lineages(evidence.e_values, evidence.births)
    total = (1 - VARIANCE_SHARE) * ((1 - BIRTH_WEIGHT) * growth + BIRTH_WEIGHT * evidence.birth_e_values)
    assert evidence.table["e_value"] == pytest.approx(total)
    assert evidence.table["running_e_value"] == pytest.approx(np.maximum.accumulate(total))
    assert (evidence.table["alarm"] == (evidence.table["running_e_value"] >= 20)).all()
    assert evidence.first_alarm == int(evidence.table["alarm"].argmax())


def test_the_one_that_grows_is_named_and_the_others_are_not():
    for seed in range(6):
        series, truth = simulate(seed=seed)
        evidence = weigh_evidence(series, DESIGN)
        assert evidence.first_alarm > GROWING.onset
        named = np.flatnonzero(evidence.growing[:, -1])
        assert [evidence.members[row] for row in named] == [(truth.grows,)]


def test_two_quantities_are_averaged_not_multiplied():
    series, _ = simulate()
    iron = series.measured[0]
    activity = dataclasses.replace(iron, quantity="activity")
    both = weigh_evidence(dataclasses.replace(series, measured=(iron, activity)), DESIGN)
    alone = weigh_evidence(series, DESIGN)
    half = len(both.members) // 2
    assert both.quantities == ("iron",) * half + ("activity",) * half
    growth = (
        sum(average_lineages(both.e_values[part], both.births[part]) for part in (slice(half), slice(half, None))) / 2
    )
    births = BIRTH_WEIGHT * both.birth_e_values
    assert both.table["e_value"] == pytest.approx((1 - VARIANCE_SHARE) * ((1 - BIRTH_WEIGHT) * growth + births))
    assert both.table["e_value"][-1] < 2 * alone.table["e_value"][-1]


def test_new_clusters_count_only_where_hidden_ones_are_bounded():
    series, _ = simulate(dataclasses.replace(GROWING, doubling_visits=None))
    new = series.new_candidates.copy()
    new[3:12] = 1
    many = dataclasses.replace(series, new_candidates=new)
    assert weigh_evidence(many, dataclasses.replace(DESIGN, hidden_clusters_max=0)).first_alarm > 3
    silent = weigh_evidence(many, dataclasses.replace(DESIGN, hidden_clusters_max=None))
    assert silent.first_alarm == -1
    assert any("New clusters are no evidence" in sentence for sentence in silent.sentences)


def test_the_bound_of_the_variance_is_paid_for():
    series, _ = simulate()
    measured = weigh_evidence(series, DESIGN)
    declared = weigh_evidence(series, dataclasses.replace(DESIGN, test_retest=None, sd_factor_max=1.4))
    noisy = weigh_evidence(series, dataclasses.replace(DESIGN, test_retest=(4.0, 60)))
    assert declared.table["e_value"][0] == pytest.approx(1.0)
    assert measured.table["e_value"][0] == pytest.approx(1 - VARIANCE_SHARE)
    assert noisy.first_alarm >= measured.first_alarm


def test_a_subject_without_clusters_is_calm():
    series, _ = simulate(dataclasses.replace(GROWING, doubling_visits=None, n_clusters=1, sizes=(0.5, 0.6)))
    assert not len(series.measured[0].values)
    evidence = weigh_evidence(series, DESIGN)
    assert evidence.identifiable
    assert evidence.first_alarm == -1
    assert evidence.table["e_value"][-1] < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sd_ratio": 1.25},
        {"tails": "t4"},
        {"factor_sd": 0.2},
        {"carry_over": 0.3},
        {"n_hidden": 3},
        {"false_per_visit": 0.12},
        {"registration": True},
        {"swap_near": 0.1, "swap_far": 0.005},
    ],
    ids=str,
)
def test_a_false_alarm_ever_is_as_rare_as_alpha_says(changes):
    """Each departure alone, 400 subjects over 60 visits; the benchmark has 10,000 of each, and all together."""
    rng = np.random.default_rng(19)
    spec = LineageSpec(**changes)
    alarms = 0
    for _ in range(400):
        series, _ = simulate_subject(spec, rng, carry_over_max=0.3)
        design = dataclasses.replace(DESIGN, test_retest=simulate_test_retest(spec, 60, rng))
        alarms += weigh_evidence(series, design).first_alarm >= 0
    assert alarms <= 20


def test_the_trap_that_each_part_is_there_for_is_real():
    """Without the reference, and with the factor stated away, the same subjects do alarm."""
    rng = np.random.default_rng(20)
    spec = LineageSpec(factor_sd=0.3, reference_err=None, sizes=(15.0, 30.0))
    alarms = 0
    for _ in range(40):
        series, _ = simulate_subject(spec, rng, factor_sd_max=0.0, carry_over_max=0.0)
        alarms += weigh_evidence(series, DESIGN).first_alarm >= 0
    assert alarms > 8


def test_rows_that_are_lineages_already_are_not_added_up_again():
    series, _ = simulate()
    iron = series.measured[0]
    order = np.arange(len(iron.births))[::-1]  # the order of births is found, not expected
    near = dataclasses.replace(
        iron,
        **{name: getattr(iron, name)[order] for name in ("values", "sds", "births")},
        positions_mm=np.zeros((len(order), 3)),
    )
    added = weigh_evidence(dataclasses.replace(series, measured=(near,)), DESIGN)
    assert len(added.members[-1]) == len(order)
    kept = dataclasses.replace(series, measured=(dataclasses.replace(near, pooled=True),))
    evidence = weigh_evidence(kept, DESIGN)
    assert sorted(evidence.members) == [(row,) for row in range(len(order))]
    assert (np.diff(evidence.births) >= 0).all()
    row = evidence.members.index((int(order[0]),))
    plain = weigh_evidence(series, DESIGN)
    assert evidence.e_values[row] == pytest.approx(plain.e_values[plain.members.index((0,))])
