"""Figures of uptake: load against dose and time, with bands; and the load on imaging days."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ferrosight.report.svg import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SERIES_COLOURS,
    SKY,
    new_figure,
    plain_log_ticks,
    style_axes,
    write_figure,
)
from ferrosight.types.calibration import Calibration, PhantomSpots
from ferrosight.types.uptake import FittedCurve, UptakeCourse

_MARKERS = ("o", "s", "^", "D", "v")
_ALONG = {"dose": "iron in the medium (µg/mL)", "time": "time since label was given (h)"}


def write_fit_chart(path: Path, curves: Sequence[FittedCurve]) -> None:
    """Write ``draw_fit_chart`` as SVG, PDF or PNG, by the path's ending."""
    write_figure(path, draw_fit_chart(curves))


def draw_fit_chart(curves: Sequence[FittedCurve]) -> Figure:
    """A row per particle, dose on the left and time on the right; a colour per cell type, bands of 95 %."""
    particles = list(dict.fromkeys(curve.particle for curve in curves))
    cells = list(dict.fromkeys(curve.cell_type for curve in curves))
    height = 3.1 * len(particles) + 0.9
    figure = new_figure(9.6, height)
    figure.text(0.02, 1 - 0.16 / height, "Iron per cell", color=INK, size=14, va="top", weight="bold")
    said = "lines: fit; bands: 95 % interval of the mean over batches; marks: assays"
    figure.text(0.02, 1 - 0.45 / height, said, color=MUTED, size=10, va="top")
    for row, particle in enumerate(particles):
        for column, along in enumerate(_ALONG):
            bottom = (height - 0.9 - 3.1 * (row + 1) + 0.62) / height
            axes = figure.add_axes((0.085 + 0.49 * column, bottom, 0.395, 2.1 / height))
            of_these = [curve for curve in curves if (curve.particle, curve.along) == (particle, along)]
            _draw_panel(axes, of_these, cells, along)
            axes.set_title(particle if column == 0 else "", loc="left", color=INK, size=12, weight="bold")
    handles = figure.axes[0].get_legend_handles_labels()
    if len(cells) > 1:
        figure.legend(*handles, loc="upper right", bbox_to_anchor=(0.985, 1.0), frameon=False, fontsize=11, ncols=3)
    return figure


def _draw_panel(axes: Axes, curves: Sequence[FittedCurve], cells: Sequence[str], along: str) -> None:
    style_axes(axes)
    for curve in curves:
        i = cells.index(curve.cell_type) % len(SERIES_COLOURS)
        axes.fill_between(curve.x, curve.low, curve.high, color=SERIES_COLOURS[i], alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.value, color=SERIES_COLOURS[i], linewidth=1.8)
        axes.plot(
            curve.measured_x, curve.measured, _MARKERS[i], color=SERIES_COLOURS[i], markersize=4.5, alpha=0.75,
            markeredgecolor="white", markeredgewidth=0.5, label=curve.cell_type,
        )  # fmt: skip
    axes.set_xlabel(_ALONG[along])
    axes.set_ylabel("iron per cell (pg)")
    axes.set_yscale("log")
    if along == "dose":
        axes.set_xscale("log")
        axes.set_xlim(curves[0].x[0], curves[0].x[-1])
        plain_log_ticks(axes, "xy")
    else:
        axes.set_xlim(0, max(curve.x[-1] for curve in curves))
        days = max(curve.x[-1] for curve in curves) / 24
        axes.xaxis.set_major_locator(MultipleLocator(24 * max(round(days / 5), 1)))
        plain_log_ticks(axes, "y")
    conditions = list(dict.fromkeys(curve.condition for curve in curves))
    axes.text(0.99, 1.02, "; ".join(conditions), transform=axes.transAxes, color=MUTED, size=9, ha="right", va="bottom")


def write_calibration_chart(path: Path, calibration: Calibration, spots: PhantomSpots) -> None:
    """Write ``draw_calibration_chart`` as SVG, PDF or PNG, by the path's ending."""
    write_figure(path, draw_calibration_chart(calibration, spots))


def draw_calibration_chart(calibration: Calibration, spots: PhantomSpots) -> Figure:
    """Moment against number of cells on logarithmic axes, the line through the origin and the band of batches."""
    figure = new_figure(7.2, 4.9)
    axes = figure.add_axes((0.115, 0.13, 0.85, 0.66))
    style_axes(axes)
    cells = np.geomspace(spots.n_cells.min() / 1.5, spots.n_cells.max() * 1.5, 61)
    line, log_sd = cells * calibration.moment_per_cell_am2 * 1e15, np.sqrt(np.log1p(calibration.rel_sd**2))
    band = [line * np.exp(-(log_sd**2) / 2 + z * log_sd) for z in (-1.96, 1.96)]
    axes.fill_between(cells, *band, color=BLUE, alpha=0.18, linewidth=0, label="batches, 95 %")
    axes.plot(cells, line, color=BLUE, linewidth=1.8, label="mean over batches")
    axes.set(xscale="log", yscale="log", xlim=(cells[0], cells[-1]), ylim=(line[0] / 2, line[-1] * 2))
    colours = (INK, ORANGE, GREEN, PURPLE, SKY)
    batches = list(dict.fromkeys(spots.batch.tolist()))
    for i, batch in enumerate(batches):
        of_batch = spots.batch == batch
        aside = 1.03 ** (i - (len(batches) - 1) / 2)  # side by side, to be told apart
        axes.errorbar(
            spots.n_cells[of_batch] * aside,
            spots.moment_am2[of_batch] * 1e15,
            1.96 * spots.moment_am2_err[of_batch] * 1e15,
            fmt=_MARKERS[i % len(_MARKERS)],
            color=colours[i % len(colours)],
            markersize=5,
            elinewidth=0.9,
            label=f"batch {batch}" if batch else "spots",
        )
    plain_log_ticks(axes, "xy")
    axes.set_xlabel("cells in the spot")
    axes.set_ylabel("moment (fA m²)")
    axes.legend(loc="upper left", frameon=False, fontsize=10, labelcolor=INK)
    figure.text(0.02, 0.97, "Moment per cell", color=INK, size=14, va="top", weight="bold")
    per_cell = calibration.moment_per_cell_am2 * 1e15
    said = f"{per_cell:.4g} fA m² ± {calibration.mean_rel_sd:.0%}, another batch ± {calibration.rel_sd:.0%}; "
    figure.text(0.02, 0.895, f"{said}{calibration.b0_t:g} T; bars: moments, 95 %", color=MUTED, size=10, va="top")
    return figure


def write_course_chart(path: Path, course: UptakeCourse) -> None:
    """Write ``draw_course_chart`` as SVG, PDF or PNG, by the path's ending."""
    write_figure(path, draw_course_chart(course))


def draw_course_chart(course: UptakeCourse) -> Figure:
    """Iron per cell against days since labelling: the batch's mean with its 95 % interval, and single cells."""
    table = course.table
    day, mean = table["day"], table["iron_per_cell_pg"]
    low, high, cell_cv = (table[name] for name in ("iron_per_cell_pg_low", "iron_per_cell_pg_high", "cell_cv"))
    figure = new_figure(8.2, 4.9)
    axes = figure.add_axes((0.1, 0.13, 0.86, 0.65))
    style_axes(axes)
    median = np.sqrt(low * high)
    log_sd = np.sqrt(np.log1p(cell_cv**2))
    cells = [median * np.exp(-(log_sd**2) / 2 + z * log_sd) for z in (-1.96, 1.96)]
    axes.fill_between(day, *cells, color=MUTED, alpha=0.13, linewidth=0, label="95 % of single cells (log-normal)")
    axes.fill_between(day, low, high, color=BLUE, alpha=0.25, linewidth=0, label="mean of a batch, 95 % interval")
    axes.plot(day, mean, "o-", color=BLUE, linewidth=1.8, markersize=5.5, markeredgecolor="white", label="mean")
    axes.set_yscale("log")
    axes.set_ylim(float(np.min([low, cells[0]])) / 1.2, float(np.max([high, cells[1]])) * 1.2)
    plain_log_ticks(axes, "y")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("days since labelling")
    axes.set_ylabel("iron per living cell (pg)")
    axes.legend(loc="upper right", frameon=False, fontsize=10, labelcolor=INK)
    figure.text(0.02, 0.97, "Iron per cell on imaging days", color=INK, size=14, va="top", weight="bold")
    figure.text(0.02, 0.895, course.source, color=MUTED, size=10, va="top")
    return figure
