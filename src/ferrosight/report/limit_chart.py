"""Detection probability against iron, with the limit of detection marked: a figure for a proposal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ferrosight.report.svg import (
    BLUE,
    INK,
    MUTED,
    SERIES_COLOURS,
    new_figure,
    style_axes,
    to_svg,
    write_figure,
)
from ferrosight.types import LimitMap, PowerCurve

#: Told apart by colour-blind readers; more curves than these take a scale of colours.
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (10, 3)))
#: Points of a curve over all voxels.
_N_SHARES = 200
#: Up to this many curves are listed in two lines each.
_FEW = 7


@dataclass(frozen=True)
class LimitCurve:
    """A curve of the figure: ``name`` says what distinguishes it; ``am2_per_pg`` turns its moments into iron.

    ``am2_per_pg`` is None without a label, ``iron_per_cell_pg`` without a load.
    """

    name: str
    curve: PowerCurve
    am2_per_pg: float | None
    iron_per_cell_pg: float | None


def write_limit_chart(path: Path, curves: Sequence[LimitCurve], title: str, subtitle: str) -> None:
    """Write the chart as SVG, PDF or PNG, by the path's ending.

    Iron (pg) along the axis, or the moment (fA m²) where a curve has no label; cells above it, where all curves
    have the same load.
    """
    write_figure(path, draw_limit_chart(curves, title, subtitle))


def draw_limit_chart(curves: Sequence[LimitCurve], title: str, subtitle: str) -> Figure:
    """The figure of ``write_limit_chart``: one curve says its limit where it is, several in a list beside them."""
    figure = new_figure(8.6, 5.4)
    axes = figure.add_axes((0.105, 0.115, 0.865 if len(curves) == 1 else 0.585, 0.60))
    style_axes(axes)
    in_iron = all(curve.am2_per_pg is not None for curve in curves)
    power = curves[0].curve.limit.search.power
    few = len(curves) <= _FEW
    axes.axhline(power, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
    for curve, colour, dashes in zip(curves, _pick_colours(len(curves)), _DASHES * len(curves), strict=False):
        unit = _per_unit(curve, in_iron)
        x, at = curve.curve.moment_am2 / unit, curve.curve.limit.moment_am2 / unit
        words = _describe_limit(at, curve, in_iron)
        axes.plot([at, at], [0, power], color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.plot(
            x,
            curve.curve.power,
            color=colour,
            linewidth=2.0,
            linestyle=dashes,
            label=curve.name + ("\n" if few else ": ") + words,
        )
        axes.plot([at], [power], "o", color=colour, markersize=7, markeredgecolor="white", clip_on=False, zorder=5)
        if len(curves) == 1:
            axes.annotate(words, (at, power), (10, -6), "data", "offset points", color=INK, size=12, va="top")
    low, high = (f([f(c.curve.moment_am2) / _per_unit(c, in_iron) for c in curves]) for f in (np.min, np.max))
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 1.0), ylabel="chance to find the cluster")
    axes.set_xlabel("iron in the cluster (pg)" if in_iron else "magnetic moment of the cluster (fA m²)")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    _label_decades(axes.xaxis, low, high)
    _add_cells_axis(axes, curves, in_iron)
    figure.text(0.02, 0.97, title, color=INK, size=14, va="top", weight="bold")
    figure.text(0.02, 0.915, subtitle, color=MUTED, size=10, va="top", linespacing=1.35)
    if len(curves) > 1:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.03, 1.02), frameon=False, fontsize=10.5 if few else 8.5,
            labelcolor=INK, handlelength=2.4, labelspacing=0.9 if few else 0.3, alignment="left",
        )  # fmt: skip
    return figure


def draw_limit_share(limit: LimitMap) -> str:
    """Share of the tissue in which this much iron, or so many cells, would have been found, as an SVG element."""
    values = np.sort(limit.iron_pg[np.isfinite(limit.iron_pg)].astype(np.float64))
    shown = np.unique(np.linspace(0, len(values) - 1, _N_SHARES).astype(np.int64))
    with_cells = math.isfinite(limit.iron_per_cell_pg)
    figure = new_figure(7.4, 5.2 if with_cells else 4.6)
    axes = figure.add_axes((0.1, 0.135, 0.87, 0.71 if with_cells else 0.83))
    style_axes(axes)
    axes.plot(values[shown], 100 * (shown + 1) / len(values), color=BLUE, linewidth=2.2)
    low, high = np.quantile(values, (0.001, 0.99))
    low, high = 0.8 * low, 1.2 * max(high, 1.5 * low)
    axes.set(xscale="log", xlim=(low, high), ylim=(0, 102))
    _label_decades(axes.xaxis, low, high)
    axes.set(xlabel="iron (pg)", ylabel="tissue in which it would have been found (%)")
    if with_cells:
        _count_in_cells(axes, limit.iron_per_cell_pg)
    half, most = np.quantile(values, (0.5, 0.9))
    alt = f"{half:.3g} pg of iron would have been found in half of the tissue, {most:.3g} pg in nine tenths of it."
    return to_svg(figure, alt, "limit-share")


def _per_unit(curve: LimitCurve, in_iron: bool) -> float:
    """Moment per unit of the axis, A m²."""
    return curve.am2_per_pg if in_iron and curve.am2_per_pg is not None else 1e-15


def _describe_limit(at: float, curve: LimitCurve, in_iron: bool) -> str:
    if not in_iron:
        return f"{at:.3g} fA m²"
    cells = "" if curve.iron_per_cell_pg is None else f" = {at / curve.iron_per_cell_pg:.2g} cells"
    return f"{at:.3g} pg{cells}"


def _pick_colours(n: int) -> list[str]:
    if n <= len(SERIES_COLOURS):
        return list(SERIES_COLOURS[:n])
    return [to_hex(colormaps["viridis"](x)) for x in np.linspace(0, 0.9, n)]


def _label_decades(axis: Axis, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 of every decade of a short axis, at 1 of a long one; written out."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _add_cells_axis(axes: Axes, curves: Sequence[LimitCurve], in_iron: bool) -> None:
    loads = {curve.iron_per_cell_pg for curve in curves}
    if not in_iron or len(loads) > 1 or None in loads:
        return
    _count_in_cells(axes, float(loads.pop() or 1.0))


def _count_in_cells(axes: Axes, load: float) -> None:
    """A second axis above one of iron (pg), in cells of ``load`` pg each."""

    def to_cells(iron: Any) -> Any:
        return iron / load

    def to_iron(cells: Any) -> Any:
        return cells * load

    above = axes.secondary_xaxis("top", functions=(to_cells, to_iron))
    low, high = axes.get_xlim()
    _label_decades(above.xaxis, low, high)
    above.set_xlabel(f"cells of {load:g} pg each", color=INK, size=12)
    above.tick_params(which="major", colors=MUTED, labelcolor=INK, labelsize=11, length=4, width=0.8)
    above.tick_params(which="minor", colors=MUTED, length=2, width=0.6)
    above.spines["top"].set(color=MUTED, linewidth=0.8)
