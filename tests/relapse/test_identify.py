"""Where growth cannot be known it is said, with the scan that would change it, and no number is given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.relapse import weigh_evidence
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

N = 8
DESIGN = StudyDesign("targeted", sd_factor_max=1.3)
IRON = Measured(
    "iron",
    10 * 2.0 ** np.maximum(np.arange(N) - 3, 0)[None],
    np.ones((1, N)),
    np.zeros(1, dtype=np.int64),
    np.array([[1.0, -2.0, 3.0]]),
    factor_sd_max=0.1,
    carry_over_max=0.3,
)
VOLUME = dataclasses.replace(IRON, quantity="volume", factor_sd_max=None, carry_over_max=None)
ACTIVITY = dataclasses.replace(IRON, quantity="activity", carry_over_max=None)


def make(*measured, n=N, days=None, protocols=None):
    cut = [dataclasses.replace(one, values=one.values[:, :n], sds=one.sds[:, :n]) for one in measured]
    return SubjectSeries(
        tuple(f"d{i:02d}" for i in range(n)),
        np.arange(n) * 7.0 if days is None else np.array(days),
        ("gre",) * n if protocols is None else tuple(protocols),
        tuple(cut),
        np.zeros(n, dtype=np.int64),
    )


def assert_refused(evidence, *words):
    assert not evidence.identifiable
    assert evidence.first_alarm == -1
    assert np.isnan(evidence.table["e_value"]).all()
    assert np.isnan(evidence.table["running_e_value"]).all()
    assert not evidence.table["alarm"].any()
    text = " ".join(evidence.sentences)
    assert "ot identifiable" in text
    assert "would make it so" in text
    for word in words:
        assert word in text


def test_the_same_visits_alarm_where_growth_can_be_known():
    evidence = weigh_evidence(make(IRON), DESIGN)
    assert evidence.identifiable
    assert evidence.first_alarm > 3
    assert evidence.growing[0, -1]
    assert any("not malignancy" in sentence for sentence in evidence.sentences)


@pytest.mark.parametrize("kind", ["prelabelled", "tracer"])
def test_iron_alone_of_cells_labelled_beforehand_cannot_show_growth(kind):
    assert_refused(weigh_evidence(make(IRON), dataclasses.replace(DESIGN, kind=kind)), "division", "PET", "volume")


@pytest.mark.parametrize("other", [VOLUME, ACTIVITY], ids=["volume", "activity"])
def test_another_quantity_makes_growth_of_prelabelled_cells_known(other):
    evidence = weigh_evidence(make(IRON, other), dataclasses.replace(DESIGN, kind="prelabelled"))
    assert evidence.identifiable
    assert evidence.quantities == (other.quantity,)
    assert evidence.first_alarm > 3
    assert any("division" in sentence for sentence in evidence.sentences)


def test_two_visits_say_nothing():
    assert_refused(weigh_evidence(make(IRON, n=2), DESIGN), "2 visits", "at least 3")


def test_a_protocol_that_changes_half_way_says_nothing():
    series = make(IRON, protocols=["gre"] * 4 + ["gre-new"] * 4)
    assert_refused(weigh_evidence(series, DESIGN), "protocol changes at d04")


def test_a_common_factor_that_nobody_bounds_says_nothing():
    unknown = dataclasses.replace(IRON, factor_sd_max=None)
    assert_refused(weigh_evidence(make(unknown), DESIGN), "reference tissue")
    known = dataclasses.replace(unknown, reference=np.ones(N), reference_rel_err=0.05)
    assert weigh_evidence(make(known), DESIGN).identifiable


def test_iron_of_earlier_doses_that_nobody_bounds_says_nothing():
    unknown = dataclasses.replace(IRON, carry_over_max=None)
    assert_refused(weigh_evidence(make(unknown), DESIGN), "scan before each dose")
    nothing_left = (np.zeros((1, N)), np.ones((1, N)))
    assert weigh_evidence(make(dataclasses.replace(unknown, before_dose=nothing_left)), DESIGN).identifiable


def test_a_bound_per_visit_needs_even_visits():
    uneven = [0, 7, 14, 21, 60, 67, 74, 81]
    assert_refused(weigh_evidence(make(IRON, days=uneven), DESIGN), "evenly spaced")


def test_errors_of_unknown_size_say_nothing():
    assert_refused(weigh_evidence(make(IRON), StudyDesign("targeted")), "test and retest")


def test_missing_dates_are_bad_input():
    days = [0, 7, np.nan, 21, 28, 35, 42, 49]
    with pytest.raises(InputError, match="needs its date, but d02 has none"):
        make(IRON, days=days)


@pytest.mark.parametrize("day", [7.0, 3.0])
def test_visits_out_of_order_are_bad_input(day):
    days = [0, 7, day, 21, 28, 35, 42, 49]
    with pytest.raises(InputError, match=r"order of their dates, but d02 .* follows d01"):
        make(IRON, days=days)
