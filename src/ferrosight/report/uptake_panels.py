"""Figures of an uptake experiment's page: what cell types are like, how they compare, and how single cells differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferrosight.report.svg import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    RULE,
    SERIES_COLOURS,
    new_figure,
    plain_log_ticks,
    style_axes,
)
from ferrosight.types.uptake import Comparison, Quantity, UptakeCourse, UptakeFit

_MARKERS = ("o", "s", "^", "D", "v")
_CELLS = (("diameter", "diameter (µm)"), ("surface", "surface (µm²)"), ("doubling_time", "doubling time (h)"))


def draw_cells(fits: Sequence[UptakeFit]) -> Figure:
    """Diameter, surface (of a ball of it) and doubling time of each cell type, with 95 % intervals.

    The doubling time is that of the fit with the cell type's first particle: each particle's assays say a little of it.
    """
    of_cells = {fit.cell_type: fit for fit in reversed(fits)}
    of_cells = dict(reversed(of_cells.items()))
    figure = new_figure(9.6, 2.9)
    for column, (name, words) in enumerate(_CELLS):
        axes = figure.add_axes((0.07 + 0.325 * column, 0.14, 0.24, 0.76))
        style_axes(axes)
        top = 0.0
        for i, fit in enumerate(of_cells.values()):
            quantity = _find_cell_quantity(fit, name)
            if quantity is None or not np.isfinite(quantity.value):
                axes.text(i, 0, "not measured", ha="center", va="bottom", color=MUTED, size=10)
                continue
            colour, marker = SERIES_COLOURS[i % len(SERIES_COLOURS)], _MARKERS[i % len(_MARKERS)]
            high = quantity.high if np.isfinite(quantity.high) else quantity.value
            axes.plot([i, i], [quantity.low, high], color=colour, linewidth=1.8)
            axes.plot(i, quantity.value, marker, color=colour, markersize=7, markeredgecolor="white")
            top = max(top, high)
        axes.set_xlim(-0.6, len(of_cells) - 0.4)
        axes.set_ylim(0, 1.12 * top or 1.0)
        axes.set_xticks(range(len(of_cells)), list(of_cells))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(words, loc="left", color=INK, size=12)
    return figure


def _find_cell_quantity(fit: UptakeFit, name: str) -> Quantity | None:
    wanted = "diameter" if name == "surface" else name
    found = next((one for one in fit.quantities if one.name == wanted), None)
    if found is None or name != "surface":
        return found
    value, low, high = (np.pi * end**2 for end in (found.value, found.low, found.high))
    return Quantity(
        "surface", "µm²", float(value), float(low), float(high), "Surface of a ball of the cell's diameter."
    )


def draw_comparisons(comparisons: Sequence[Comparison]) -> Figure:
    """How many times larger each quantity is in one cell type than in the other: a row each, with 95 % intervals."""
    rows = len(comparisons)
    height = 0.3 * rows + 0.9
    figure = new_figure(9.6, height)
    axes = figure.add_axes((0.46, 0.55 / height, 0.51, (height - 0.7) / height))
    style_axes(axes, grid=False)
    particles = list(dict.fromkeys(one.particle for one in comparisons))
    for row, one in enumerate(comparisons):
        colour = SERIES_COLOURS[particles.index(one.particle) % len(SERIES_COLOURS)]
        axes.plot([one.low, one.high], [row, row], color=colour, linewidth=1.8)
        axes.plot(one.ratio, row, _MARKERS[particles.index(one.particle) % len(_MARKERS)], color=colour, markersize=6)
    axes.axvline(1.0, color=MUTED, linewidth=1.0)
    labels = [f"{one.particle}: {name_quantity(one.name)}, {one.larger} / {one.smaller}" for one in comparisons]
    axes.set_yticks(range(rows), labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xscale("log")
    low = min(one.low for one in comparisons)
    high = max(one.high for one in comparisons)
    axes.set_xlim(min(0.8, low / 1.1), max(1.25, high * 1.1))
    for row in range(rows):
        axes.axhline(row, color=RULE, linewidth=0.5, zorder=0)
    plain_log_ticks(axes, "x")
    axes.set_xlabel("ratio (95 % interval)")
    return figure


def name_quantity(name: str) -> str:
    """What a compared quantity is called in words."""
    return name.replace("_", " ")


def draw_single_cells(course: UptakeCourse) -> Figure:
    """How iron is distributed over single cells on each imaging day: a violin per day, with its middle 50 and 95 %."""
    table = course.table
    figure = new_figure(9.6, 4.2)
    axes = figure.add_axes((0.09, 0.14, 0.88, 0.8))
    style_axes(axes)
    shown = _choose_days(len(table))
    lows, highs = [], []
    for at, i in enumerate(shown):
        mean, cell_cv = float(table["iron_per_cell_pg"][i]), float(table["cell_cv"][i])
        log_sd = max(float(np.sqrt(np.log1p(cell_cv**2))), 0.01)
        middle = np.log(mean) - log_sd**2 / 2
        z = np.linspace(-2.8, 2.8, 81)
        iron, width = np.exp(middle + z * log_sd), 0.4 * np.exp(-0.5 * z**2)
        axes.fill_betweenx(iron, at - width, at + width, color=BLUE, alpha=0.2, linewidth=0)
        for reach, thick in ((1.96, 1.2), (0.6745, 4.5)):
            axes.plot([at, at], np.exp(middle + np.array([-reach, reach]) * log_sd), color=BLUE, linewidth=thick)
        axes.plot(at, mean, "o", color=ORANGE, markersize=6, markeredgecolor="white")
        lows.append(iron[0])
        highs.append(iron[-1])
    axes.set_yscale("log")
    axes.set_ylim(min(lows) / 1.2, max(highs) * 1.2)
    plain_log_ticks(axes, "y")
    axes.set_xticks(range(len(shown)), [f"{table['day'][i]:g}" for i in shown])
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_xlabel("days since labelling")
    axes.set_ylabel("iron in a cell (pg)")
    return figure


def _choose_days(n: int, most: int = 12) -> list[int]:
    """All days, or so many of them from the first to the last."""
    return list(range(n)) if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})
