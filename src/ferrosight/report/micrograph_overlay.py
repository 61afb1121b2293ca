"""A micrograph with what was found drawn over it, for a person to check."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ferrosight.types.micrograph import MicrographMeasurement

#: Okabe and Ito's hues, told apart by colour-blind readers, on grey.
_BODY, _COVERED, _DENSE, _SCALE = "#d55e00", "#56b4e8", "#f0e442", "#009e73"
_WIDTH_IN = 8.0
_DPI = 150


def draw_overlay(measurement: MicrographMeasurement) -> bytes:
    """A PNG: outlines of bodies, of the area that particles cover and of its dense part, and the scale as read."""
    rows, columns = measurement.light.shape
    figure = Figure(figsize=(_WIDTH_IN, _WIDTH_IN * rows / columns + 0.75), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, _WIDTH_IN * rows / columns / figure.get_figheight()))
    low, high = np.percentile(measurement.light, [0.1, 99.9])
    axes.imshow(measurement.light, cmap="gray", vmin=float(low), vmax=float(high), interpolation="antialiased")
    for mask, colour in ((measurement.covered, _COVERED), (measurement.dense, _DENSE)):
        if mask.any() and not mask.all():
            axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.7)
    ids = measurement.bodies["body_id"]
    for vertices, body_id in zip(measurement.outlines, ids, strict=False):
        closed = np.concatenate([vertices, vertices[:1]])
        axes.plot(closed[:, 1], closed[:, 0], color=_BODY, linewidth=1.6)
        top = closed[closed[:, 0].argmin()]
        axes.annotate(
            str(body_id), (top[1], top[0]), (0, 4), textcoords="offset points", ha="center", color=_BODY, fontsize=9
        )
    _draw_bar(measurement, axes)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.set_axis_off()
    _write_legend(measurement, figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_bar(measurement: MicrographMeasurement, axes: object) -> None:
    bar = measurement.scale.bar
    if bar is None:
        return
    for box in filter(None, (bar.box, bar.text_box)):
        top, left, bottom, right = (edge / measurement.reduction for edge in box)
        frame = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=_SCALE, linewidth=1.5)
        axes.add_patch(frame)  # type: ignore[attr-defined]


def _write_legend(measurement: MicrographMeasurement, figure: Figure) -> None:
    scale = measurement.scale
    said = f"scale {scale.source}: {scale.nm_per_pixel:.4g} nm per pixel"
    if scale.bar is not None:
        said += f"; bar read as “{scale.bar.text}” over {scale.bar.length_pixels} pixels — please check"
    remarks = sorted({word for text in measurement.bodies["remarks"] for word in str(text).split(";") if word})
    high = figure.get_figheight()
    parts = (("body", _BODY), ("area that particles cover", _COVERED), ("its dense part", _DENSE))
    at = 0.42
    figure.text(0.01, 1 - 0.2 / high, measurement.name, fontsize=9, weight="bold", va="center")
    for text, colour in parts:
        figure.text(at, 1 - 0.2 / high, f"━ {text}", fontsize=9, color=_darken(colour), va="center")
        at += 0.05 + 0.0115 * len(text)
    figure.text(0.01, 1 - 0.4 / high, said, fontsize=9, color=_SCALE, va="center")
    figure.text(0.01, 1 - 0.6 / high, "remarks: " + (", ".join(remarks) or "none"), fontsize=9, va="center")


def _darken(colour: str) -> str:
    """Yellow cannot be read on white."""
    return "#8a7f00" if colour == _DENSE else colour
