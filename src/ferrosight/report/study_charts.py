"""The charts of a study's page: every subject and group over time, time to alarm, and a small line per subject."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ferrosight.report.course import Quantity
from ferrosight.report.numbers import plural
from ferrosight.report.study_lines import AlarmCurve, SubjectLine, follow_group
from ferrosight.report.svg import (
    AMBER,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    new_figure,
    plain_log_ticks,
    style_axes,
    to_svg,
)

_SIZE_IN = (7.4, 5.2)
#: Groups beyond these repeat the colours with other dashes and markers.
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY)
_COLOUR_NAMES = ("--blue", "--orange", "--green", "--purple", "--amber", "--sky")
_DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = ("-", (0, (6, 2)), (0, (2, 1.5)))
_MARKERS = "os^Dvp"
_SPARK = (150.0, 34.0)


def _style(i: int) -> tuple[str, str | tuple[float, tuple[float, ...]]]:
    """Colour and dashes of the i-th group."""
    return _COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS) % len(_DASHES)]


def list_groups(groups: Mapping[str, Sequence[SubjectLine]]) -> list[dict[str, str]]:
    """The legend of the charts: each group's name, size, colour (a CSS variable) and dashes."""
    legend = []
    for i, (group, lines) in enumerate(groups.items()):
        dashes = _style(i)[1]
        spaced = "" if isinstance(dashes, str) else " ".join(f"{2 * part:g}" for part in dashes[1])
        colour = f"var({_COLOUR_NAMES[i % len(_COLOUR_NAMES)]})"
        legend.append(
            {
                "group": group,
                "words": f"{group or 'all'} ({plural(len(lines), 'subject')})",
                "colour": colour,
                "dashes": spaced,
            }
        )
    return legend


def draw_groups(groups: Mapping[str, Sequence[SubjectLine]], quantity: Quantity, *, in_days: bool) -> str:
    """Totals of every subject (thin) and of each group (thick, with its interval) over time, as an SVG element."""
    figure = new_figure(*_SIZE_IN)
    axes = figure.add_axes((0.115, 0.125, 0.86, 0.85))
    style_axes(axes)
    values = [
        line.totals[quantity.column].value
        for lines in groups.values()
        for line in lines
        if quantity.column in line.totals
    ]
    known = np.concatenate([*values, np.zeros(0)])
    positive = known[known > 0]
    factor, label = quantity.axis(float(positive.max()) if positive.size else math.nan)
    # What is not above zero is drawn at the lower edge of the logarithmic axis.
    floor = float(positive.min()) / factor / 2.5 if positive.size else 0.1
    for i, lines in enumerate(groups.values()):
        colour, dashes = _style(i)
        for line in lines:
            series = line.totals.get(quantity.column)
            if series is not None:
                x = line.time(series.visit, in_days=in_days)
                width, alpha = (0.8, 0.4) if len(lines) > 1 else (2.0, 1.0)
                axes.plot(x, np.maximum(series.value / factor, floor), color=colour, linewidth=width, alpha=alpha)
        course = follow_group(lines, quantity, in_days=in_days)
        middle = np.maximum(course.middle / factor, floor)
        bounded = np.isfinite(course.low)
        low, high = course.low[bounded] / factor, course.high[bounded] / factor
        axes.fill_between(course.time[bounded], np.maximum(low, floor), high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(
            course.time, middle, color=colour, linewidth=2.4, linestyle=dashes, marker=_MARKERS[i % len(_MARKERS)],
            markersize=5.5, markerfacecolor=colour,
        )  # fmt: skip
    axes.set(yscale="log", xlabel="day" if in_days else "visit", ylabel=f"{label}, all tracks together")
    if positive.size:
        high_end = float(positive.max()) / factor
        axes.set_ylim(0.9 * floor, 1.6 * high_end)
    else:
        axes.set_ylim(0.1, 10)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    plain_log_ticks(axes, "y")
    n = sum(len(lines) for lines in groups.values())
    alt = f"{quantity.words.capitalize()} over time of {plural(n, 'subject')} in {plural(len(groups), 'group')}."
    return to_svg(figure, f"{alt} The numbers of each group are in the table below.", "groups")


def draw_alarms(curves: Mapping[str, AlarmCurve], groups: Sequence[str], *, in_days: bool) -> str:
    """The share of subjects without an alarm over time, as an SVG element; each of the ``groups`` keeps its colour."""
    figure = new_figure(*_SIZE_IN)
    axes = figure.add_axes((0.115, 0.125, 0.86, 0.85))
    style_axes(axes)
    for group, curve in curves.items():
        colour, dashes = _style(groups.index(group))
        axes.fill_between(curve.time, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.step(
            curve.time, curve.share, where="post", color=colour, linewidth=2.2, linestyle=dashes,
        )  # fmt: skip
        # Where one curve hides another, the marks of those who leave it still show.
        axes.plot(curve.left, curve.share_left, linestyle="", marker="|", markersize=11, color=colour)
    axes.set(xlabel="day" if in_days else "visit", ylabel="subjects without alarm", ylim=(-0.02, 1.04))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    told = "; ".join(
        f"{group or 'all'}: {curve.n_alarms} of {plural(curve.n_subjects, 'subject')} with an alarm"
        for group, curve in curves.items()
    )
    return to_svg(figure, f"Share of subjects without an alarm over time. {told}.", "alarms")


def draw_spark(line: SubjectLine, quantity: Quantity, ends: tuple[float, float], *, in_days: bool) -> str:
    """A subject's totals with their intervals in a line of text, from 0 to the subject's own largest.

    ``ends`` are those of the study's axis of time. Written by hand: there may be hundreds.
    """
    series = line.totals.get(quantity.column)
    if series is None or not len(series.visit):
        return ""
    bounded = np.isfinite(series.low) & np.isfinite(series.high)
    top = float(np.concatenate([series.value, series.high[bounded]]).max())
    width, height = _SPARK
    span = ends[1] - ends[0]
    time = line.time(series.visit, in_days=in_days)
    x = 3 + (width - 6) * ((time - ends[0]) / span if span > 0 else np.full(len(time), 0.5))

    def rise(values: NDArray[np.float64]) -> NDArray[np.float64]:
        share = np.clip(values / top, 0, 1) if top > 0 else np.zeros(len(values))
        return np.asarray(height - 3 - (height - 6) * share)

    y = rise(series.value)
    parts = [f'<line class="base" x1="0" y1="{height - 3:g}" x2="{width:g}" y2="{height - 3:g}"/>']
    if bounded.sum() > 1:
        there = _path(x[bounded], rise(series.high[bounded]))
        back = _path(x[bounded][::-1], rise(series.low[bounded])[::-1])
        parts.append(f'<path class="band" d="M{there}L{back}Z"/>')
    parts.append(f'<path class="line" d="M{_path(x, y)}"/><circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2.6"/>')
    at = np.flatnonzero(series.visit == line.alarm)
    if line.alarm >= 0 and at.size:
        parts.append(f'<circle class="alarm" cx="{x[at[0]]:.1f}" cy="{y[at[0]]:.1f}" r="5"/>')
    told = ", ".join(quantity.show(float(value)) for value in series.value)
    label = escape(f"{quantity.words} at {plural(len(y), 'visit')}: {told}")
    return (
        f'<svg class="spark" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return "L".join(f"{across:.1f} {down:.1f}" for across, down in zip(x, y, strict=True))
