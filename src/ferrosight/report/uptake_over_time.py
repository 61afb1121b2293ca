"""Uptake over time on a subject's page: activity at each place over the visits, beside what MRI has there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ferrosight.report import numbers
from ferrosight.report.course import Course, Track
from ferrosight.report.story_charts import limit_time
from ferrosight.report.svg import BLUE, MUTED, ORANGE, RULE, new_figure, style_axes, to_svg
from ferrosight.report.template import Cell
from ferrosight.types.story import PetCourse

#: Places drawn one by one, the most active first; all are in the table.
MAX_PANELS = 24
_PANEL_IN = (3.9, 4.1)
_UNITS = ((1.0, "Bq"), (1e3, "kBq"), (1e6, "MBq"))


def uptake_context(course: Course) -> dict[str, Any]:
    """What the section needs; without any course it holds nothing."""
    order = sorted(course.story.uptake, key=lambda one: -float(np.nanmax(one.activity_bq)))
    named = [(one, _track_of(course, one), f"Hot spot {k}") for k, one in enumerate(order, start=1)]
    rows = [_cells(course, *one, visit) for one in named for visit in range(len(course.visits))]
    return {
        "n_uptake": len(named),
        "uptake_panels": [
            {"track": track, "words": words, "svg": Markup(draw_uptake(course, one, track, f"uptake-{k}"))}
            for k, (one, track, words) in enumerate(named[:MAX_PANELS])
        ],
        "uptake_columns": [
            ("place", ""), ("visit", ""), ("activity", "95 % interval"), ("PET", ""), ("SUV", "peak"),
            (course.quantity.words, "95 % interval"), ("MRI", ""),
        ],
        "uptake_rows": [("", cells) for cells in rows if cells is not None],
        "uptake_missing": _say_missing(course),
    }  # fmt: skip


def _track_of(course: Course, one: PetCourse) -> Track | None:
    return next((track for track in course.tracks if track.track_id == one.track_id), None) if one.track_id else None


def _say_missing(course: Course) -> str:
    """Which PET scans are not followed, and why."""
    if not course.story.pet:
        return ""
    seen = [any(np.isfinite(one.activity_bq[k]) for one in course.story.uptake) for k in range(len(course.visits))]
    followed = {visit.session for visit, known in zip(course.visits, seen, strict=True) if known}
    missing = [scan.name for scan in course.story.pet if scan.session not in followed]
    if not missing:
        return ""
    return (
        f"Not followed here: {', '.join(missing)}. A PET scan is followed where it was laid beside an MRI with label "
        "that has its place in the subject's space."
    )


def draw_uptake(course: Course, one: PetCourse, track: Track | None, name: str) -> str:
    """Activity above, the track's own quantity below, over one axis of time, as an SVG element."""
    figure = new_figure(*_PANEL_IN)
    upper, lower = figure.add_axes((0.2, 0.57, 0.77, 0.4)), figure.add_axes((0.2, 0.115, 0.77, 0.4))
    known = one.activity_bq[np.isfinite(one.activity_bq)]
    factor, unit = _unit(float(np.abs(known).max()) if known.size else math.nan)
    _draw_values(
        upper,
        course.x,
        np.stack([one.activity_bq, one.activity_bq_low, one.activity_bq_high]) / factor,
        one.found,
        ORANGE,
    )
    upper.set(ylabel=f"activity ({unit})")
    upper.tick_params(labelbottom=False)
    values, found = _read_track(course, track)
    top = float(np.nanmax(np.abs(values[0]))) if np.isfinite(values[0]).any() else math.nan
    divisor, label = course.quantity.axis(top)
    _draw_values(lower, course.x, values / divisor, found, BLUE)
    lower.set(xlabel=course.x_label, ylabel=label)
    if not np.isfinite(values[0]).any():
        lower.set_yticks([])
        lower.text(
            0.5, 0.5, "no cluster of MRI", transform=lower.transAxes, ha="center", va="center", color=MUTED, size=11
        )
    for axes in (upper, lower):
        limit_time(axes, course)
    words = "; ".join(
        f"{course.when(k)}: {_show(one, k)}" for k in np.flatnonzero(np.isfinite(one.activity_bq)).tolist()
    )
    return to_svg(figure, f"Activity over time: {words}. What MRI has there is in the table.", name)


def _draw_values(
    axes: Axes, x: NDArray[np.float64], values: NDArray[np.float64], found: NDArray[np.bool_], colour: str
) -> None:
    """Values (3, n) with the ends of their intervals: filled where found, open where only measured."""
    style_axes(axes)
    value, low, high = values
    seen = np.isfinite(value) & np.isfinite(x)
    if not seen.any():
        return
    axes.axhline(0.0, color=RULE, linewidth=1.0)
    axes.plot(x[seen], value[seen], color=colour, linewidth=1.0, alpha=0.5)
    bounded = seen & np.isfinite(low) & np.isfinite(high)
    axes.vlines(x[bounded], low[bounded], high[bounded], color=colour, linewidth=1.6)
    for chosen, face in ((seen & found, colour), (seen & ~found, "none")):
        axes.plot(
            x[chosen], value[chosen], "o", color=colour, markersize=5.5, markerfacecolor=face, markeredgewidth=1.2
        )
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _read_track(course: Course, track: Track | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A track's quantity with its interval (3, n) over the visits, and where it was found."""
    values, found = np.full((3, len(course.visits)), np.nan), np.zeros(len(course.visits), dtype=np.bool_)
    if track is not None:
        quantity = course.quantity
        for visit, row in track.rows.items():
            columns = (quantity.column, quantity.low_column, quantity.high_column)
            values[:, visit] = [course.value(row, column) for column in columns]
            found[visit] = course.is_detected(row)
    return values, found


def _unit(size: float) -> tuple[float, str]:
    fits = [unit for unit in _UNITS if math.isfinite(size) and size >= unit[0]]
    return fits[-1] if fits else _UNITS[0]


def _show(one: PetCourse, visit: int) -> str:
    """``1.24 (0.81–1.69) kBq``."""
    value, low, high = (float(part[visit]) for part in (one.activity_bq, one.activity_bq_low, one.activity_bq_high))
    factor, unit = _unit(abs(value))
    interval = numbers.format_range(low / factor, high / factor)
    return f"{numbers.format_number(value / factor)}{'' if interval == numbers.NA else f' ({interval})'}\u00a0{unit}"


def _cells(course: Course, one: PetCourse, track: Track | None, words: str, visit: int) -> list[Cell] | None:
    if not math.isfinite(one.activity_bq[visit]):
        return None
    row = None if track is None else track.rows.get(visit)
    quantity = course.quantity
    mri, key, measured = numbers.NA, math.nan, ""
    if row is not None:
        value, low, high = (
            course.value(row, column) for column in (quantity.column, quantity.low_column, quantity.high_column)
        )
        mri, key, measured = (
            quantity.show_with_range(value, low, high),
            value,
            str(course.story.tracks["measurement"][row]),
        )
    return [
        Cell(
            words if track is None else f"track {track.number}", float(1e6 if track is None else track.number), one.name
        ),
        Cell(course.when(visit), float(visit)),
        Cell(_show(one, visit), float(one.activity_bq[visit])),
        Cell("found" if one.found[visit] else "forced"),
        Cell(numbers.format_number(float(one.suv_peak[visit])), float(one.suv_peak[visit])),
        Cell(mri, key),
        Cell(measured or numbers.NA),
    ]
