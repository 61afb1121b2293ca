"""An evaluation in four figures: recall against mass, FROC, what false positives sit on, bias and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ferrosight.report.numbers import plural
from ferrosight.report.svg import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    new_figure,
    plain_log_ticks,
    style_axes,
    write_figure,
)
from ferrosight.types import Evaluation
from ferrosight.types.evaluation import Average, PerScan, Share

#: Axis title and the table's unit in the axis's, by column.
_MASSES: Final = {
    "iron_pg": ("true iron of the cluster (pg)", 1.0),
    "moment_am2": ("true moment of the cluster (fA m²)", 1e-15),
}
_QUANTITIES: Final = {"moment_am2": ("moment", BLUE), "iron_pg": ("iron", ORANGE), "n_cells": ("cells", GREEN)}
_CURVES: Final = {"all": ("all candidates", MUTED), "shape": ("not rejected for their shape", BLUE)}
_INTERVALS: Final = {
    "moment_am2 ± 1.96 moment_am2_err": "moment ± 1.96 SD",
    "moment_am2_low to moment_am2_high": "moment, interval",
    "iron_pg_low to iron_pg_high": "iron, interval",
    "n_cells_low to n_cells_high": "cells, interval",
}


def write_evaluation_charts(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Write the charts that there is anything to draw for into ``folder``, as SVG; returns their paths."""
    detection, calibration = evaluation.detection, evaluation.calibration
    figures = {
        "recall": draw_recall(evaluation) if detection.by_mass else None,
        "froc": draw_froc(evaluation) if detection.froc else None,
        "confusers": draw_confusers(evaluation),
        "calibration": draw_calibration(evaluation) if calibration.bias or calibration.coverage else None,
    }
    paths = []
    for name, figure in figures.items():
        if figure is not None:
            paths.append(folder / f"{name}.svg")
            write_figure(paths[-1], figure)
    return tuple(paths)


def draw_recall(evaluation: Evaluation) -> Figure:
    """Share of the labelled bodies that was found, class by class of true mass, with exact intervals."""
    detection = evaluation.detection
    figure, axes = _new_chart(evaluation, "Labelled clusters found, by mass")
    title, unit = _MASSES[detection.mass_column]
    bins = detection.by_mass
    x = np.array([one.median for one in bins]) / unit
    _draw_intervals(axes, x, [one.recall for one in bins], BLUE)
    axes.set(xscale="log", ylim=(0, 1.08), xlim=(bins[0].low / unit, bins[-1].high / unit))
    for at, one in zip(x, bins, strict=True):
        axes.annotate(f"{one.recall.total}", (at, 1.02), ha="center", va="bottom", color=MUTED, size=10)
    axes.set_xlabel(title)
    axes.set_ylabel("found (number of clusters above)")
    _label_shares(axes)
    plain_log_ticks(axes, "x")
    return figure


def draw_froc(evaluation: Evaluation) -> Figure:
    """Recall against false positives per scan, and where the catalogues work."""
    detection = evaluation.detection
    figure, axes = _new_chart(evaluation, "Recall against false positives, by score")
    n_scans = len(evaluation.visits)
    for curve in detection.froc:
        name, colour = _CURVES[curve.candidates]
        x = np.concatenate([[0.0], curve.false_per_scan[:1], curve.false_per_scan])
        y = np.concatenate([[0.0, 0.0], curve.recall])
        axes.plot(x, y, color=colour, drawstyle="steps-post", linewidth=2.0, label=name)
    false, found = detection.false_positives, detection.recall
    axes.errorbar(
        [false.value], [found.value], xerr=_whiskers([false]), yerr=_whiskers([found]), fmt="o", color=ORANGE,
        markersize=8, markeredgecolor="white", elinewidth=1.2, zorder=5, clip_on=False, label="accepted",
    )  # fmt: skip
    axes.set_xscale("symlog", linthresh=1 / n_scans, linscale=0.6)
    highest = max([false.high, *(float(curve.false_per_scan[-1]) for curve in detection.froc)])
    axes.set(xlim=(0, 1.3 * highest), ylim=(0, 1.0))
    steps = (1.0, 2.0, 5.0) if highest * n_scans < 200 else (1.0,)
    ticks = [step * 10.0**decade for decade in range(-9, 10) for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([0.0, *(tick for tick in ticks if tick * n_scans >= 1)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_xlabel("false positives per scan")
    axes.set_ylabel("labelled clusters found")
    _label_shares(axes)
    axes.legend(loc="lower right", frameon=False, fontsize=11, labelcolor=INK)
    return figure


def draw_confusers(evaluation: Evaluation) -> Figure:
    """False accepted clusters per scan by what they sit on."""
    figure, axes = _new_chart(evaluation, "What false positives sit on", left=0.27)
    confusers = evaluation.detection.confusers[::-1]
    places = np.arange(len(confusers))
    rates = [one.accepted for one in confusers]
    values = np.array([rate.value for rate in rates])
    axes.errorbar(
        values, places, xerr=_whiskers(rates), fmt="o", color=BLUE, markersize=7, elinewidth=1.5, clip_on=False
    )
    axes.set(ylim=(-0.6, len(confusers) - 0.4), xlim=(0, 1.1 * max(rate.high for rate in rates)))
    names = []
    for one in confusers:
        inside = f"\non {one.bodies.count} of {one.bodies.total}" if one.bodies.total else ""
        names.append(f"{one.kind}{inside}")
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("accepted per scan, with 95 % interval")
    return figure


def draw_calibration(evaluation: Evaluation) -> Figure:
    """Median relative error by mass, and how often 95 % intervals hold the truth."""
    calibration = evaluation.calibration
    figure, left = _new_chart(evaluation, "Values and intervals of clusters that were found", right=0.545)
    title, unit = _MASSES[evaluation.detection.mass_column]
    left.axhline(0, color=MUTED, linewidth=0.8)
    for number, bias in enumerate(calibration.bias):
        name, colour = _QUANTITIES[bias.column]
        aside = 1.08 ** (number - (len(calibration.bias) - 1) / 2)
        x = np.array([one.mass_median for one in bias.by_mass]) / unit * aside
        _draw_intervals(left, x, [one.median for one in bias.by_mass], colour, name)
    left.set_xscale("log")
    ends = [end for bias in calibration.bias for one in bias.by_mass for end in (one.low, one.high)]
    if ends:
        left.set_xlim(min(ends) / unit, max(ends) / unit)
        plain_log_ticks(left, "x")
        left.legend(loc="best", frameon=False, fontsize=11, labelcolor=INK)
    left.set_xlabel(title)
    left.set_ylabel("measured over true, less one: median")
    left.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+.3g} %".replace("+0 ", "0 ").replace("-", "−"))
    )

    right = figure.add_axes((0.755, 0.13, 0.195, 0.66))
    style_axes(right)
    shares = [one.covered for one in calibration.coverage][::-1]
    places = np.arange(len(shares))
    right.axvline(0.95, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    if shares:
        values = np.array([share.value for share in shares])
        right.errorbar(
            values, places, xerr=_whiskers(shares), fmt="o", color=BLUE, markersize=7, elinewidth=1.5, clip_on=False
        )
        lowest = min(0.9, *(share.low for share in shares))
        right.set(ylim=(-0.6, len(shares) - 0.4), xlim=(max(0.0, lowest - 0.02), 1.005))
    names = [f"{_INTERVALS[one.interval]}\nn = {one.covered.total}" for one in calibration.coverage][::-1]
    right.set_yticks(places, names)
    right.tick_params(axis="y", length=0, pad=9)
    right.xaxis.set_major_locator(MaxNLocator(3))
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    right.set_xlabel("that hold the truth")
    return figure


def _new_chart(evaluation: Evaluation, title: str, *, left: float = 0.105, right: float = 0.975) -> tuple[Figure, Axes]:
    figure = new_figure(8.6, 5.0)
    axes = figure.add_axes((left, 0.13, right - left, 0.66))
    style_axes(axes)
    detection = evaluation.detection
    subtitle = (
        f"{plural(len(evaluation.visits), 'scan')}, {plural(detection.recall.total, 'labelled cluster')}; "
        f"matched within {evaluation.match_mm:.3g} mm; bars are 95 % intervals"
    )
    figure.text(0.02, 0.965, title, color=INK, size=14, va="top", weight="bold")
    figure.text(0.02, 0.90, subtitle, color=MUTED, size=10.5, va="top")
    return figure, axes


def _draw_intervals(
    axes: Axes, x: NDArray[np.float64], values: Sequence[Share | Average], colour: str,
    name: str | None = None,
) -> None:  # fmt: skip
    y = np.array([one.value for one in values])
    axes.errorbar(
        x, y, yerr=_whiskers(values), fmt="o", color=colour, markersize=7, markeredgecolor="white", elinewidth=1.5,
        clip_on=False, label=name,
    )  # fmt: skip


def _whiskers(values: Sequence[Share | PerScan | Average]) -> NDArray[np.float64]:
    """Lengths of error bars (2, n); zero where there is no interval."""
    ends = np.array([(one.value - one.low, one.high - one.value) for one in values]).T
    return np.asarray(np.nan_to_num(np.maximum(ends, 0.0)))


def _label_shares(axes: Axes) -> None:
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
