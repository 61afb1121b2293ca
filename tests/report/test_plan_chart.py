"""The figure of a plan shows its curves, their intervals and what other rules would do."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.report.plan_chart import draw_plan_chart, write_plan_chart
from ferrosight.types import Protocol, Search
from ferrosight.types.plan import Plan, PlanDesign, RuleLead


@pytest.fixture
def plan():
    design = PlanDesign(Protocol(7.0, (0.004,), (0.1, 0.1, 0.2), 30.0, 30.0), Search(), 90.0, 1.0, n_visits=4)
    called = np.array([0.0, 0.1, 0.6, 0.9])
    leads = (RuleLead("first visible lesion (1 mm³)", 30.0, 12.0, 1.7), RuleLead("later (never)", 900.0, 880.0, 99.0))
    return Plan(
        design, np.arange(4) * 7.0, called, called * 0.9, called * 1.1, np.array([14.0, np.nan]), 99.0, 0.0, leads, 1, 6
    )


def test_curves_and_rules_are_where_they_belong(plan):
    figure = draw_plan_chart([("weekly", plan)], "Title", "subtitle")
    axes = figure.axes[0]
    x, y = axes.lines[0].get_data()
    assert (list(x), list(y)) == (plan.days.tolist(), plan.called.tolist())
    verticals = [line.get_xdata()[0] for line in axes.lines[1:]]
    assert verticals == [30.0]  # what lies far beyond the study is left out
    assert axes.get_xlim()[1] > 30
    assert axes.get_legend() is None


def test_two_plans_are_told_apart(plan):
    figure = draw_plan_chart([("weekly", plan), ("monthly", plan)], "Title", "subtitle")
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["weekly", "monthly"]


def test_it_is_written_by_its_ending(plan, tmp_path):
    write_plan_chart(tmp_path / "plan.png", [("weekly", plan)], "Title", "subtitle")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="must end in"):
        write_plan_chart(tmp_path / "plan.gif", [("weekly", plan)], "Title", "subtitle")
