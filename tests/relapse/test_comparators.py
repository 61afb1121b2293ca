"""The clinical rules as published, floors included."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.relapse import call_first_visible, call_percist, call_rano, call_recist


def days(calls):
    return "".join({"progression": "P", "none": ".", "": "?"}[call] for call in calls)


def test_recist_needs_both_a_fifth_and_five_millimetres():
    assert days(call_recist(np.array([[20.0, 24.0, 24.9, 25.0]]))) == "...P"  # 20 % but not 5 mm until the last
    assert days(call_recist(np.array([[50.0, 56.0, 59.9, 60.0]]))) == "...P"  # 5 mm but not 20 %


def test_recist_counts_from_the_nadir_and_adds_the_targets_up():
    longest = np.array([[30.0, 14.0, 20.0], [40.0, 16.0, 16.0]])
    assert days(call_recist(longest)) == "..P"
    assert days(call_recist(longest[1:])) == "..."


def test_recist_ignores_what_was_too_small_to_measure_until_something_new_is_large_enough():
    assert days(call_recist(np.array([[4.0, 8.0, 20.0]]))) == "..."  # there from the beginning, no target
    assert days(call_recist(np.array([[4.0, 4, 4, 4], [0, 5.0, 9.9, 10.0]]))) == "...P"
    assert days(call_recist(np.array([[12.0, 0.0, 0.0, 9.0, 10.5]]))) == "...PP"  # back after it had gone


def test_recist_follows_five_targets_at_most():
    longest = np.full((7, 2), 20.0)
    longest[5:, 0], longest[5:, 1] = 11.0, 60.0
    assert days(call_recist(longest)) == ".."
    assert days(call_recist(np.concatenate([longest, [[90.0, 120.0]]]))) == ".."


def test_rano_is_a_quarter_in_two_diameters_or_two_fifths_in_volume():
    assert days(call_rano(np.array([[20.0, 22, 25]]), np.array([[10.0, 11, 10]]))) == "..P"
    assert days(call_rano(np.array([[20.0, 20]]), np.array([[20.0, 20]]), np.array([[1000.0, 1399]]))) == ".."
    assert days(call_rano(np.array([[20.0, 20]]), np.array([[20.0, 20]]), np.array([[1000.0, 1400]]))) == ".P"
    assert days(call_rano(np.array([[20.0, 40]]), np.array([[9.0, 9.9]]))) == ".."  # too thin to measure
    assert days(call_rano(np.array([[0.0, 11.0, 11.0]]), np.array([[0.0, 9.0, 10.0]]))) == "..P"


def test_percist_needs_a_third_and_eight_tenths():
    assert days(call_percist(np.array([[2.0, 2.7, 2.8]]), 1.5)) == "..P"
    assert days(call_percist(np.array([[10.0, 12.9, 13.0]]), 1.5)) == "..P"
    assert days(call_percist(np.array([[5.0, 5.0, 5.0], [0.3, 1.4, 1.6]]), 1.5)) == "..P"


def test_first_visible_waits_for_its_floor():
    assert days(call_first_visible(np.array([[0.0, 0.5, 0.99, 1.0, 0.2]]))) == "...PP"
    assert days(call_first_visible(np.array([[8.0, 9.0]]))) == ".."  # visible from the beginning


@pytest.mark.parametrize("call", [call_recist, call_first_visible])
def test_what_was_not_measured_is_no_answer(call):
    assert days(call(np.array([[20.0, np.nan, 20.0]]))) == ".?."
