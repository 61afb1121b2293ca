"""The chance that a planned study has called a relapse, day by day, beside what rules of size would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ferrosight.report.svg import BLUE, INK, MUTED, ORANGE, new_figure, style_axes, write_figure
from ferrosight.types.plan import Plan


def write_plan_chart(path: Path, plans: Sequence[tuple[str, Plan]], title: str, subtitle: str) -> None:
    """Write the chart as SVG, PDF or PNG, by the path's ending; a curve per plan (two at most), each with its name."""
    write_figure(path, draw_plan_chart(plans, title, subtitle))


def draw_plan_chart(plans: Sequence[tuple[str, Plan]], title: str, subtitle: str) -> Figure:
    """The figure of ``write_plan_chart``."""
    figure = new_figure(8.6, 5.2)
    axes = figure.add_axes((0.105, 0.125, 0.865, 0.62))
    style_axes(axes)
    last = max(float(plan.days[-1]) for _, plan in plans)
    for (name, plan), colour in zip(plans, (BLUE, ORANGE), strict=False):
        axes.fill_between(plan.days, plan.called_low, plan.called_high, step="post", color=colour, alpha=0.18, lw=0)
        axes.step(plan.days, plan.called, where="post", color=colour, linewidth=2.2, label=name)
    # What rules of size would do belongs to the first plan alone; lines of several would not be told apart.
    shown = [lead for lead in plans[0][1].leads if lead.median_day <= 2 * last]
    for lead in shown:
        axes.axvline(lead.median_day, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
        words = lead.rule.partition(" (")[0] + (f", {plans[0][0]}" if len(plans) > 1 else "")
        axes.annotate(
            words,
            (lead.median_day, 0.02),
            (-5, 0),
            "data",
            "offset points",
            rotation=90,
            ha="right",
            va="bottom",
            size=10,
            color=MUTED,
        )
    axes.set(xlim=(0, max([last, *(lead.median_day for lead in shown)]) * 1.02), ylim=(0, 1.02))
    axes.set(xlabel="day since the relapse began", ylabel="relapses called")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    if len(plans) > 1:
        # Above the axes: within them curves may run anywhere.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=11, labelcolor=INK)
    figure.text(0.02, 0.97, title, color=INK, size=14, va="top", weight="bold")
    figure.text(0.02, 0.91, subtitle, color=MUTED, size=10, va="top", linespacing=1.35)
    return figure
