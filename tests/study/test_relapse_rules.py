"""The clinical rules on lesions as somebody lists them: what is left out, and what is not there yet."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.study.relapse_rules import RULES, compare_rules
from ferrosight.types import Table
from ferrosight.types.schema import LESIONS

VISITS = ("a", "b", "c")


def table(*rows):
    names = ("session_id", "lesion_id", "longest_mm", "perpendicular_mm", "volume_mm3", "sul_peak")
    return Table.from_rows(LESIONS, [dict(zip(names, row, strict=False)) for row in rows])


def said(lesions, rule, **options):
    return compare_rules(lesions, VISITS, **options)[rule].tolist()


def test_without_lesions_no_rule_can_say():
    rules = compare_rules(table(), VISITS, visible_sul=2.0)
    assert set(rules) == set(RULES)
    assert all(calls.tolist() == ["", "", ""] for calls in rules.values())
    assert compare_rules(table(), ())["recist"].shape == (0,)


def test_a_target_that_grows_is_progression_by_each_rule_where_its_own_measure_says_so():
    # + 20 % and + 5 mm is RECIST's; 25 % of the product is RANO's and comes a visit earlier
    lesions = table(
        ("a", "left", 20.0, 15.0, 2000.0), ("b", "left", 23.0, 17.0, 2500.0), ("c", "left", 26.0, 20.0, 4000.0)
    )
    assert said(lesions, "recist") == ["none", "none", "progression"]
    assert said(lesions, "rano") == ["none", "progression", "progression"]
    assert said(lesions, "visible") == ["none", "none", "none"]


def test_a_lesion_that_was_not_listed_before_is_new_only_where_somebody_looked():
    new = ("c", "right", 12.0, 11.0, 700.0)
    looked = table(("a", ""), ("b", ""), new)
    assert said(looked, "recist") == ["none", "none", "progression"]
    assert said(looked, "rano") == ["none", "none", "progression"]
    assert said(looked, "visible") == ["none", "none", "progression"]
    beside = table(("a", "left", 20.0, 15.0, 2000.0), ("b", "left", 20.0, 15.0, 2000.0), new)
    # the left one is left out at c: not measured, and still the new one is progression
    assert said(beside, "recist") == ["none", "none", "progression"]
    assert said(table(new), "recist") == ["", "", "none"]


def test_a_lesion_that_is_left_out_later_was_not_measured_and_one_of_no_size_has_gone():
    left_out = table(
        ("a", "left", 20.0, 15.0, 2000.0), ("a", "right", 20.0, 15.0, 2000.0), ("b", "left", 20.0, 15.0, 2000.0)
    )
    assert said(left_out, "recist") == ["none", "", ""]
    gone = table(("a", "left", 20.0, 15.0, 2000.0), ("b", "left", 0.0, 0.0, 0.0), ("c", "left", 12.0, 11.0, 500.0))
    assert said(gone, "recist") == ["none", "none", "progression"]


def test_a_rule_is_silent_where_its_own_measure_is_missing():
    lesions = table(*((visit, "left", 20.0, np.nan, np.nan) for visit in VISITS))
    assert said(lesions, "recist") == ["none"] * 3
    assert said(lesions, "rano") == [""] * 3
    assert said(lesions, "visible") == [""] * 3


def test_percist_needs_the_peak_and_what_counts_as_tumour():
    lesions = table(
        *((visit, "left", 9.0, 9.0, 9.0, peak) for visit, peak in zip(VISITS, (3.0, 3.1, 5.0), strict=True))
    )
    assert said(lesions, "percist", visible_sul=2.0) == ["none", "none", "progression"]
    assert said(lesions, "percist") == [""] * 3
    assert said(table(("a", "left", 9.0, 9.0, 9.0)), "percist", visible_sul=2.0) == [""] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_order_of_lines_and_lines_of_other_visits_change_nothing(order):
    rows = [
        ("a", "left", 20.0, 15.0, 2000.0),
        ("b", "left", 20.0, 15.0, 2000.0),
        ("c", "left", 40.0, 30.0, 9000.0),
    ]
    lesions = table(*(rows[i] for i in order), ("elsewhere", "left", 1.0, 1.0, 1.0))
    assert said(lesions, "recist") == ["none", "none", "progression"]
