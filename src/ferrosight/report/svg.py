"""Matplotlib figures as inline SVG that takes its colours and its font from the page around it.

Only matplotlib's object-oriented interface is used. Figures are drawn with the marker colours below, which
leave as CSS variables, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.report.template import write_whole

FIGURE_FORMATS = (".svg", ".pdf", ".png")
_FILE_DPI = 200

INK, MUTED, RULE, SOFT = "#010203", "#616263", "#d1d2d3", "#fdfefd"
BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY = "#0071b3", "#d55e01", "#009e74", "#cc79a8", "#e69f01", "#56b4e8"

#: Curves that lie in one chart, in the order in which they take their colours.
SERIES_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY)

#: Each marker colour's CSS variable. Hues are Okabe and Ito's, told apart by colour-blind readers.
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    SOFT: "--soft",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
    AMBER: "--amber",
    SKY: "--sky",
}


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty transparent figure at 72 points per inch, one point being one CSS pixel."""
    figure = Figure(figsize=(width_in, height_in), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0.0)
    return figure


def style_axes(axes: Axes, *, grid: bool = True) -> None:
    """Quiet axes: two spines, small ticks, pale horizontal lines."""
    axes.patch.set_alpha(0.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(which="major", colors=MUTED, labelcolor=INK, length=4, width=0.8, labelsize=11)
    axes.tick_params(which="minor", colors=MUTED, length=2, width=0.6)
    axes.xaxis.label.set(color=INK, size=12)
    axes.yaxis.label.set(color=INK, size=12)
    axes.title.set(color=INK, size=12)
    if grid:
        axes.grid(visible=True, axis="y", which="major", color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)


def plain_log_ticks(axes: Axes, which: str) -> None:
    """Log ticks as 0.1, 1, 10, 1,000, and 2 and 5 (or 3) between them on a short axis; minor ones unlabelled."""
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
        subs = (1.0, 2.0, 5.0) if high < 60 * low else (1.0, 3.0) if high < 600 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(FuncFormatter(lambda _value, _position: ""))


def to_svg(figure: Figure, alt: str, name: str, overlay: str = "") -> str:
    """The figure as an ``<svg>`` element for a page.

    ``alt`` is read to those who cannot see it; ``name`` keeps its inner ids apart from other figures';
    ``overlay`` is SVG laid over the drawing, in points from the upper left corner (see ``page_points``).
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # In an HTML page the name spaces are implied; without them the page holds no address at all.
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<=id=")(?!#)', f"{name}-", svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r"(\d\.\d{3})\d+", r"\1", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', _open_tag(alt), svg, count=1)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.rstrip().removesuffix("</svg>") + overlay + "</svg>"


def check_figure_path(path: Path) -> None:
    """Raise InputError unless a figure can be written there, judged by its ending and its folder."""
    if path.suffix.lower() not in FIGURE_FORMATS:
        endings = ", ".join(FIGURE_FORMATS)
        raise InputError(f"a plot must end in {endings}, but {path} does not; give it one of these endings.")
    if not path.parent.is_dir():
        raise InputError(f"the plot {path} needs a folder to lie in, but there is no {path.parent}; make it first.")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as SVG, PDF or PNG, by the path's ending, on white: whole, or not at all.

    Raises
    ------
    InputError
        The path has another ending, or cannot be written to.
    """
    check_figure_path(path)
    figure.patch.set(facecolor="white", alpha=1.0)
    # The same numbers give the same bytes, and text stays text.
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure", "pdf.fonttype": 42}):
        figure.savefig(drawn, format=kind, dpi=_FILE_DPI, metadata=metadata)
    write_whole(path, drawn.getvalue())


def page_points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Data coordinates as (n, 2) points from the drawing's upper left corner."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    points = axes.transData.transform(np.column_stack([x, y]))
    points[:, 1] = figure.bbox.height - points[:, 1]
    return np.asarray(points, dtype=np.float64)


def _open_tag(alt: str) -> str:
    label = escape(alt).replace("\\", r"\\")
    return rf'<svg role="img" aria-label="{label}" width="\1" height="\2"'
