"""The charts of a subject's page: each track over time, all tracks together, and the evidence for growth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ferrosight.report.course import Course, Quantity, Track
from ferrosight.report.svg import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RULE,
    new_figure,
    plain_log_ticks,
    style_axes,
    to_svg,
)

_CHART_IN = (7.4, 4.6)
_PANEL_IN = (3.9, 2.5)
#: A log axis of evidence begins here: less is no evidence at all.
_LEAST_EVIDENCE = 0.01
_LINEAGE_DASHES: dict[str, str | tuple[float, tuple[float, ...]]] = {
    "iron": "-",
    "activity": (0, (6, 2)),
    "volume": (0, (2, 1.5)),
    "births": (0, (6, 2, 1.5, 2)),
}


def draw_track(course: Course, track: Track, quantity: Quantity, limits: tuple[float, float]) -> str:
    """One track over time on a log axis with these ``limits``, in the quantity's own unit, as an SVG element.

    Filled: found. Open, with an arrow down from the upper limit: measured but not found. Grey: below the limit of
    detection.
    """
    factor, label = quantity.axis(limits[1])
    low, high = limits[0] / factor, limits[1] / factor
    figure = new_figure(*_PANEL_IN)
    axes = figure.add_axes((0.19, 0.19, 0.78, 0.77))
    style_axes(axes)
    axes.set(yscale="log", ylim=(low, high), xlabel=course.x_label, ylabel=label)
    limit_time(axes, course)
    plain_log_ticks(axes, "y")
    # What replaced it holds its mass from then on.
    visits = [visit for visit in track.rows if visit < track.replaced and math.isfinite(course.x[visit])]
    rows = [track.rows[visit] for visit in visits]
    x = course.x[visits]
    found_below = course.limit_per_row(quantity)[rows] / factor
    if np.isfinite(found_below).any():
        axes.fill_between(x, low, np.where(found_below > 0, found_below, low), color=RULE, alpha=0.55, linewidth=0)
    seen = [(at, row) for at, row in zip(x, rows, strict=True) if course.is_detected(row)]
    values = [course.value(row, quantity.column) / factor for _, row in seen]
    axes.plot([at for at, _ in seen], values, color=BLUE, linewidth=1.2, alpha=0.6)
    for at, row in zip(x, rows, strict=True):
        _draw_measurement(axes, course, row, at, quantity, factor, (low, high))
    alt = f"Track {track.number}: {quantity.words} over time. Its numbers are in the table of measurements."
    return to_svg(figure, alt, f"track-{track.number}-{quantity.column.replace('_', '-')}")


def _draw_measurement(
    axes: Axes, course: Course, row: int, x: float, quantity: Quantity, factor: float, limits: tuple[float, float]
) -> None:
    value, least, most = (
        course.value(row, column) / factor for column in (quantity.column, quantity.low_column, quantity.high_column)
    )
    if course.is_detected(row):
        if math.isfinite(least) and math.isfinite(most):
            axes.plot([x, x], [max(least, limits[0]), most], color=BLUE, linewidth=1.6, solid_capstyle="butt")
        axes.plot([x], [value], "o", color=BLUE, markersize=5.5)
        return
    top = _top(course, row, quantity) / factor
    if not math.isfinite(top):
        return
    if top <= limits[0]:
        axes.plot([x], [limits[0]], "v", color=MUTED, markersize=6, clip_on=False)
        return
    axes.plot([x, x], [limits[0], top], color=MUTED, linewidth=1.0, linestyle=(0, (2, 1.5)))
    axes.plot([x], [top], "v", color=MUTED, markersize=6, markerfacecolor="none", markeredgewidth=1.2)
    if value > limits[0]:
        axes.plot([x], [value], "o", color=BLUE, markersize=5, markerfacecolor="none", markeredgewidth=1.2)


def _top(course: Course, row: int, quantity: Quantity) -> float:
    """The most that a row allows: its upper limit, or the end of its interval where it has none."""
    upper: float = course.value(row, quantity.upper_limit_column)
    most: float = course.value(row, quantity.high_column)
    return upper if math.isfinite(upper) else most


def track_limits(course: Course, tracks: Sequence[Track], quantity: Quantity) -> tuple[float, float]:
    """Ends of a log axis that all these tracks fit on: comparison by eye needs one axis."""
    rows = [row for track in tracks for visit, row in track.rows.items() if visit < track.replaced]
    table = course.story.tracks
    values = [table[quantity.column], table[quantity.high_column], table[quantity.upper_limit_column]]
    known = np.concatenate([column[rows] for column in values] or [np.zeros(0)])
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        return 0.1, 10.0
    found = np.array([course.value(row, quantity.column) for row in rows if course.is_detected(row)])
    missed = np.array([_top(course, row, quantity) for row in rows if not course.is_detected(row)])
    lows = np.concatenate([found, missed, course.limit_per_row(quantity)[rows]])
    lows = lows[np.isfinite(lows) & (lows > 0)]
    low = float(lows.min()) if lows.size else float(known.min())
    high = float(known.max())
    return max(low / 2.5, high / 1e5), high * 1.5


def draw_totals(course: Course, quantity: Quantity, name: str) -> str:
    """All tracks together over time with their interval, as an SVG element."""
    figure = new_figure(*_CHART_IN)
    axes = figure.add_axes((0.115, 0.135, 0.86, 0.83))
    style_axes(axes)
    totals = [one.total for one in course.totals_of(quantity)]
    known = [i for i, total in enumerate(totals) if total is not None and math.isfinite(total.value)]
    x = course.x[known]
    value, low, high = (np.array([getattr(totals[i], end) for i in known]) for end in ("value", "low", "high"))
    tops = [float(part[np.isfinite(part)].max()) for part in (value, high) if np.isfinite(part).any()]
    factor, label = quantity.axis(max(tops, default=math.nan))
    value, low, high = value / factor, low / factor, high / factor
    bounded = np.isfinite(low) & np.isfinite(high)
    positive = bool(len(value)) and bool((value > 0).all()) and value.max() > 30 * value.min()
    if positive:
        axes.set_yscale("log")
        low = np.maximum(low, 0.1 * value.min())
    axes.fill_between(x[bounded], low[bounded], high[bounded], color=BLUE, alpha=0.14, linewidth=0)
    axes.vlines(x[bounded], low[bounded], high[bounded], color=BLUE, linewidth=1.6)
    axes.plot(x, value, "o-", color=BLUE, linewidth=1.8, markersize=6)
    limit_time(axes, course)
    _mark_unknown(axes, course, known)
    if positive:
        plain_log_ticks(axes, "y")
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}".replace("-", "−")))
        axes.set_ylim(bottom=min(0.0, *low[bounded], *value) if len(value) else 0.0)
    axes.set(xlabel=course.x_label, ylabel=f"{label}, all together")
    return to_svg(figure, _totals_alt(course, quantity, known), name)


def _totals_alt(course: Course, quantity: Quantity, known: list[int]) -> str:
    totals = course.totals_of(quantity)
    told = []
    for i in known:
        total = totals[i].total
        assert total is not None
        told.append(f"{course.when(i)}: {quantity.show_with_range(total.value, total.low, total.high)}")
    return f"{quantity.words.capitalize()} of all tracks together. {'; '.join(told) or 'No total is known'}."


def limit_time(axes: Axes, course: Course) -> None:
    """An axis of time over all visits, failed ones included."""
    x = course.x[np.isfinite(course.x)]
    if x.size:
        pad = 0.04 * max(float(x.max() - x.min()), 1.0)
        axes.set_xlim(x.min() - pad, x.max() + pad)
    # A lone visit has a lone tick: fewer than two are allowed, or there would be parts of a visit.
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))


def _mark_unknown(axes: Axes, course: Course, known: Sequence[int]) -> None:
    """Say above the axis which visits failed, and which is the baseline."""
    for i, visit in enumerate(course.visits):
        if i in known or not math.isfinite(course.x[i]):
            continue
        words = "failed" if visit.failed else "baseline" if visit.is_baseline else "no total"
        axes.axvline(course.x[i], color=RULE, linewidth=1.0, linestyle=(0, (3, 3)), zorder=0)
        axes.annotate(
            words, (course.x[i], 1), (3, -3), ("data", "axes fraction"), "offset points", color=MUTED, size=10,
            rotation=90, va="top",
        )  # fmt: skip


def draw_evidence(course: Course) -> str:
    """The evidence for growth over the visits on a log axis, the alarm line, and each lineage, as an SVG element."""
    story = course.story
    relapse = story.relapse
    assert relapse is not None
    figure = new_figure(*_CHART_IN)
    axes = figure.add_axes((0.105, 0.135, 0.87, 0.83))
    style_axes(axes)
    axes.set_yscale("log")
    x = course.x[[story.sessions.index(str(name)) for name in relapse["session_id"]]]
    for lineage in story.lineages:
        grows = bool(lineage.growing.any())
        axes.plot(
            x, _floor(lineage.e_values), color=ORANGE if grows else MUTED, linewidth=1.6 if grows else 0.9,
            linestyle=_LINEAGE_DASHES[lineage.quantity], alpha=1.0 if grows else 0.75, zorder=3 if grows else 2,
        )  # fmt: skip
    threshold = 1 / float(relapse["alpha"][0])
    evidence, running = _floor(relapse["e_value"]), _floor(relapse["running_e_value"])
    axes.step(x, running, where="post", color=BLUE, linewidth=1.1, alpha=0.7)
    axes.plot(x, evidence, "o-", color=BLUE, linewidth=2.2, markersize=6, zorder=4)
    axes.axhline(threshold, color=PURPLE, linewidth=1.6)
    axes.axhline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        f"alarm at {threshold:g}", (0, threshold), (6, 4), ("axes fraction", "data"), "offset points", color=INK,
        size=11, va="bottom",
    )  # fmt: skip
    if story.first_alarm >= 0:
        axes.plot(x[story.first_alarm], running[story.first_alarm], "o", markersize=13, markerfacecolor="none",
                  markeredgecolor=PURPLE, markeredgewidth=2.0, zorder=5)  # fmt: skip
    limit_time(axes, course)
    drawn = [evidence, *(_floor(lineage.e_values) for lineage in story.lineages), np.array([3 * threshold, 0.5])]
    every = np.concatenate(drawn)
    every = every[np.isfinite(every)]
    axes.set_ylim(0.7 * every.min(), 1.6 * every.max())
    plain_log_ticks(axes, "y")
    axes.set(xlabel=course.x_label, ylabel="evidence for growth (e-value)")
    return to_svg(figure, _evidence_alt(course), "evidence")


def _floor(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.where(values < _LEAST_EVIDENCE, _LEAST_EVIDENCE, values))


def _evidence_alt(course: Course) -> str:
    relapse = course.story.relapse
    assert relapse is not None
    told = "; ".join(
        f"{name or 'visit'} {value:.3g}"
        for name, value in zip(relapse["session_id"], relapse["e_value"], strict=True)
        if math.isfinite(value)
    )
    return f"Evidence for growth at each visit; an alarm needs {1 / relapse['alpha'][0]:g}. {told or 'None is known'}."
