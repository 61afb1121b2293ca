"""What linking takes in is checked; what it gives says how sure it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import Detections, Links, Optimality


@pytest.fixture
def detections() -> Detections:
    return Detections(
        sessions=("a", "b"),
        days=np.array([0.0, 3.0]),
        cluster_ids=np.array(["one", "two", "three"]),
        visit=np.array([0, 1, 1]),
        position_mm=np.zeros((3, 3)),
        covariance_mm2=np.repeat(np.diag([0.1, 0.2, 0.3])[None], 3, axis=0),
        moment_am2=np.full(3, 1e-13),
        moment_am2_err=np.full(3, 1e-14),
        detection_probability=np.full((3, 2), 0.9),
        false_per_mm3=np.full(3, 1e-4),
        volume_mm3=100.0,
    )


WRONG = {
    "days must increase": {"days": np.array([3.0, 3.0])},
    "must have shape": {"position_mm": np.zeros((3, 2))},
    "must be finite": {"position_mm": np.full((3, 3), np.nan)},
    "visit must lie": {"visit": np.array([0, 1, 2])},
    "occur before": {"cluster_ids": np.array(["one", "one", "two"])},
    "moment_am2 must be above 0": {"moment_am2": np.array([1e-13, 0.0, 1e-13])},
    "moment_am2_err must be 0 or more": {"moment_am2_err": np.full(3, -1.0)},
    "false_per_mm3 must be 0 or more": {"false_per_mm3": np.full(3, -1.0)},
    "between 0 and 1": {"detection_probability": np.full((3, 2), 1.5)},
    "own visit": {"detection_probability": np.zeros((3, 2))},
    "symmetric": {"covariance_mm2": np.zeros((3, 3, 3))},
    "volume_mm3 must be above 0": {"volume_mm3": 0.0},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_impossible_detections_are_refused_with_a_sentence(detections, sentence):
    sentence_of_days = sentence.replace("days must increase", "days of visits must increase")
    with pytest.raises(InputError, match=sentence_of_days):
        dataclasses.replace(detections, **WRONG[sentence])


def test_detections_cannot_be_changed(detections):
    with pytest.raises(ValueError, match="read-only"):
        detections.position_mm[0, 0] = 1.0
    assert len(detections) == 3


def test_links_have_one_length():
    with pytest.raises(InputError, match="target"):
        Links(*(np.zeros(n) for n in (2, 1, 2, 2, 2, 2)))


def test_the_gap_is_relative_and_never_negative():
    assert Optimality(200.0, 200.1, 1, 0, 0).gap == pytest.approx(5e-4)
    assert Optimality(200.0, 200.0 - 1e-9, 1, 0, 0).gap == 0.0
