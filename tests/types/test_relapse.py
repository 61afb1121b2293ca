"""What the test for relapse takes is checked when it is built."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

GOOD = Measured("iron", np.ones((2, 3)), np.ones((2, 3)), np.array([0, 2]), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantity": "colour"}, "must be one of iron, activity, volume"),
        ({"sds": np.zeros((2, 3))}, "positive standard deviation"),
        ({"births": np.array([0, 3])}, "visits from 0 to 2"),
        ({"positions_mm": np.zeros((2, 2))}, "shape"),
        ({"reference": np.array([1.0, 0.0, 1.0])}, "reference tissue"),
        ({"carry_over_max": 1.2}, "carry_over_max must lie between"),
        ({"factor_sd_max": -0.1}, "factor_sd_max must lie between"),
    ],
)
def test_impossible_measurements_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "unlabelled"}, "prelabelled, targeted, tracer"),
        ({"alpha": 0.0}, "alpha must lie"),
        ({"sd_factor_max": 0.0}, "must be positive"),
        ({"test_retest": (0.0, 5)}, "at least one pair"),
        ({"outlier_share": 0.5}, "outlier_share"),
        ({"false_births_per_visit_max": 0.0}, "false_births_per_visit_max"),
    ],
)
def test_impossible_designs_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(StudyDesign("targeted"), **changes)


def test_a_series_has_as_many_of_everything_as_visits():
    days, new = np.arange(4.0), np.zeros(4, dtype=np.int64)
    with pytest.raises(InputError, match="iron has 3 visits, but the subject has 4"):
        SubjectSeries(("a", "b", "c", "d"), days, ("",) * 4, (GOOD,), new)
    with pytest.raises(InputError, match="needs its protocol"):
        SubjectSeries(("a", "b", "c", "d"), days, ("",) * 3, (), new)


def test_what_is_stored_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        GOOD.values[0, 0] = 5
