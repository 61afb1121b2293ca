"""Where every track was: three projections of the subject's own space, coloured in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ferrosight.report.course import Course, Track
from ferrosight.report.numbers import plural
from ferrosight.report.overview import choose_layout
from ferrosight.report.svg import INK, MUTED, SOFT, new_figure, page_points, to_svg
from ferrosight.types.story import Backdrop

_WIDTH_IN = 7.4
_MAX_HEIGHT_IN = 8.6
_MARGIN_IN = {"left": 0.62, "right": 0.34, "bottom": 0.56, "top": 0.30, "gap": 0.38}
#: The thinnest panel is at least this share of the widest, so that its axis can be read.
_LEAST_SHARE = 0.16
#: A lone place still gets an axis of this length, mm.
_LEAST_MM = 2.0
#: Radius, in standard deviations, of an ellipse that holds a place of two coordinates with 95 %.
ELLIPSE_SD = math.sqrt(-2 * math.log(0.05))
#: So many tracks have their number beside them; with more, numbers would hide the places.
MAX_NUMBERS = 40

#: From the first visit to the last; the bright ramp lies on a dark image, the other on any paper.
_ON_IMAGE = ("#6cc5ff", "#c3a6ff", "#ff9ec4", "#ffb45c", "#fff27a")
_ON_PAPER = ("#2379b5", "#6a6bc4", "#a556a4", "#c84f62", "#c2660c")
_DARK = "#0c0d10"
_LETTERS = {"x": ("L", "R"), "y": ("P", "A"), "z": ("I", "S")}


@dataclass(frozen=True)
class _Panel:
    axes: Axes
    across: int
    up: int


def time_colours(course: Course) -> list[str]:
    """A colour for each visit, by its place on the axis of time."""
    stops = np.array(
        [
            [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            for colour in (_ON_PAPER if course.story.backdrop is None else _ON_IMAGE)
        ]
    )
    x = course.x
    used = np.array([not visit.failed and not visit.is_baseline for visit in course.visits], dtype=np.bool_)
    known = x[np.isfinite(x) & used]
    span = float(known.max() - known.min()) if known.size else 0.0
    places = np.clip(np.nan_to_num((x - known.min()) / span), 0, 1) if span > 0 else np.zeros(len(x))
    mixed = [np.interp(places, np.linspace(0, 1, len(stops)), stops[:, channel]) for channel in range(3)]
    return ["#" + "".join(f"{round(float(part[i])):02x}" for part in mixed) for i in range(len(x))]


def draw_map(course: Course) -> str:
    """All tracks in three projections, over the backdrop where there is one, as an SVG element."""
    backdrop = course.story.backdrop
    bounds = _bounds(course, backdrop)
    across, up = _choose_plane(bounds, backdrop)
    figure, panels = _place_panels(bounds, across, up)
    if backdrop is not None:
        _show_backdrop(panels[0].axes, backdrop)
    overlay = []
    for i, panel in enumerate(panels):
        _label(panel, bounds, first=i == 0)
        panel.axes.patch.set_facecolor(SOFT if backdrop is None else _DARK)
        overlay.append(_draw_tracks(panel, course, with_numbers=i == 0))
    panels[0].axes.tick_params(labelbottom=False, bottom=False)
    panels[1].axes.tick_params(labelleft=False, left=False)
    return to_svg(figure, _alt(course), "map", "".join(overlay))


def _alt(course: Course) -> str:
    return (
        f"Map of {plural(len(course.tracks), 'track')} in three projections, coloured from the first to the last "
        "visit; positions are in the table of measurements."
    )


def _positions(course: Course) -> NDArray[np.float64]:
    """Places (n, 3) of all rows of tracks."""
    table = course.story.tracks
    return np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1)


def _bounds(course: Course, backdrop: Backdrop | None) -> NDArray[np.float64]:
    """Ends (3, 2) of the axes, mm: all places, and the backdrop where there is one."""
    rows = [row for track in course.tracks for visit, row in track.rows.items() if track.counts_at(visit)]
    places = _positions(course)[rows]
    bounds = np.zeros((3, 2))
    for axis in range(3):
        known = places[np.isfinite(places[:, axis]), axis]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        pad = max(0.08 * (high - low), 0.5 * (_LEAST_MM - (high - low)), 0.0)
        bounds[axis] = low - pad, high + pad
    if backdrop is not None:
        for index, name in enumerate(backdrop.axes):
            axis = "xyz".index(name)
            low, high = backdrop.extent_mm[2 * index : 2 * index + 2]
            inside = places[:, axis][np.isfinite(places[:, axis])]
            bounds[axis] = min([low, *inside]), max([high, *inside])
    widest = float(np.ptp(bounds, axis=1).max())
    for axis in range(3):
        lack = _LEAST_SHARE * widest - float(np.ptp(bounds[axis]))
        if lack > 0:
            bounds[axis] += (-lack / 2, lack / 2)
    return bounds


def _choose_plane(bounds: NDArray[np.float64], backdrop: Backdrop | None) -> tuple[int, int]:
    if backdrop is not None:
        across, up = ("xyz".index(name) for name in backdrop.axes)
        return across, up
    x, y, z = np.ptp(bounds, axis=1)
    layout = choose_layout((float(x), float(y), float(z)))
    return layout.across, layout.up


def _place_panels(bounds: NDArray[np.float64], across: int, up: int) -> tuple[Figure, list[_Panel]]:
    """Main panel, the one to its right sharing its vertical, the one below sharing its horizontal; all to scale."""
    m = _MARGIN_IN
    through = 3 - across - up
    spans = np.ptp(bounds, axis=1)
    free_width = _WIDTH_IN - m["left"] - m["right"] - m["gap"]
    free_height = _MAX_HEIGHT_IN - m["bottom"] - m["top"] - m["gap"]
    scale = min(free_width / (spans[across] + spans[through]), free_height / (spans[up] + spans[through]))
    width, height, depth = (float(scale * spans[axis]) for axis in (across, up, through))
    total = m["bottom"] + m["top"] + m["gap"] + height + depth
    left = m["left"] + 0.5 * (free_width - width - depth)
    figure = new_figure(_WIDTH_IN, total)

    def add(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / _WIDTH_IN, y / total, w / _WIDTH_IN, h / total))

    top = m["bottom"] + depth + m["gap"]
    return figure, [
        _Panel(add(left, top, width, height), across, up),
        _Panel(add(left + width + m["gap"], top, depth, height), through, up),
        _Panel(add(left, m["bottom"], width, depth), across, through),
    ]


def _show_backdrop(axes: Axes, backdrop: Backdrop) -> None:
    image = np.asarray(backdrop.image.T, dtype=np.float32)
    known = image[np.isfinite(image)]
    top = float(np.quantile(known, 0.995)) if known.size else 1.0
    # Not to white: marks must stand out.
    axes.imshow(
        np.nan_to_num(image), cmap="gray", vmin=0, vmax=1.6 * top if top > 0 else 1.0, origin="lower",
        extent=backdrop.extent_mm, interpolation="none", aspect="auto",
    )  # fmt: skip


def _label(panel: _Panel, bounds: NDArray[np.float64], *, first: bool) -> None:
    """Axes in mm, radiological: R and A at the left, S at the top."""
    axes = panel.axes
    low, high = bounds[panel.across]
    axes.set_xlim((high, low) if panel.across < 2 else (low, high))
    axes.set_ylim(*bounds[panel.up])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=MUTED, labelcolor=INK, length=3, width=0.8, labelsize=11)
    box = axes.get_window_extent()
    axes.xaxis.set_major_locator(MaxNLocator(int(np.clip(box.width / 40, 2, 7))))
    axes.yaxis.set_major_locator(MaxNLocator(int(np.clip(box.height / 30, 2, 8))))
    if not first or panel.across == 2:
        axes.set_xlabel(f"{'xyz'[panel.across]} (mm)", color=INK, size=12)
    axes.set_ylabel(f"{'xyz'[panel.up]} (mm)" if axes.get_position().x0 < 0.5 else "", color=INK, size=12)
    ends = _LETTERS["xyz"[panel.across]]
    left, right = ends[::-1] if panel.across < 2 else ends
    bottom, top = _LETTERS["xyz"[panel.up]]
    for corner, offset, letter, ha, va in (
        ((0, 1), (0, 4), left, "left", "bottom"),
        ((1, 1), (0, 4), right, "right", "bottom"),
        ((1, 0), (5, 0), bottom, "left", "bottom"),
        ((1, 1), (5, -2), top, "left", "top"),
    ):
        axes.annotate(letter, corner, offset, "axes fraction", "offset points", color=INK, size=11, weight="bold",
                      ha=ha, va=va)  # fmt: skip


def _draw_tracks(panel: _Panel, course: Course, *, with_numbers: bool) -> str:
    """One panel's tracks as an SVG group; written by hand, since matplotlib spells every ellipse out."""
    colours = time_colours(course)
    by_name = {track.track_id: track for track in course.tracks}
    below, above = [], []
    for track in course.tracks:
        visits = _shown_visits(course, track)
        if not visits:
            continue
        points = _points(panel, course, track, visits)
        below += [_line(points[i], points[i + 1], colours[later], "") for i, later in enumerate(visits[1:])]
        for parent in (by_name[name] for name in track.parents):
            before = [visit for visit in _shown_visits(course, parent) if visit <= visits[0]]
            if before:
                start = _points(panel, course, parent, before[-1:])[0]
                below.append(_line(start, points[0], colours[visits[0]], ' stroke-dasharray="3 2.5"'))
        marks = [
            _mark(panel, course, track, visit, point, colours) for visit, point in zip(visits, points, strict=True)
        ]
        number = ""
        if with_numbers and track.number <= MAX_NUMBERS and not track.children:
            number = f'<text x="{points[-1][0] + 7:.1f}" y="{points[-1][1] - 5:.1f}">{track.number}</text>'
        title = f"<title>track {track.number}</title>"
        group = f"{title}{''.join(marks)}{number}"
        above.append(f'<a href="#track-{track.number}">{group}</a>' if with_numbers else f"<g>{group}</g>")
    # The largest track comes first in the list and should lie on top.
    kind = "tracks" if course.story.backdrop is None else "tracks onimage"
    return f'<g class="{kind}">{"".join(below)}{"".join(reversed(above))}</g>'


def _shown_visits(course: Course, track: Track) -> list[int]:
    """Visits at which a track is followed and has a place."""
    places = _positions(course)
    return [
        visit for visit, row in track.rows.items() if track.counts_at(visit) and bool(np.isfinite(places[row]).all())
    ]


def _points(panel: _Panel, course: Course, track: Track, visits: Sequence[int]) -> NDArray[np.float64]:
    places = _positions(course)[[track.rows[visit] for visit in visits]]
    return page_points(panel.axes, places[:, panel.across], places[:, panel.up])


def _line(start: NDArray[np.float64], end: NDArray[np.float64], colour: str, dashes: str) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}"{dashes}/>'


def _mark(
    panel: _Panel, course: Course, track: Track, visit: int, point: NDArray[np.float64], colours: Sequence[str]
) -> str:
    """A dot where the track was found, an open one where only its place is known; the 95 % ellipse around it."""
    row = track.rows[visit]
    x, y = point
    found = course.is_detected(row)
    fill = f'fill="{colours[visit]}"' if found else f'fill="none" stroke="{colours[visit]}"'
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if found else 2.4}" {fill}/>'
    errors = [course.value(row, f"{'xyz'[axis]}_mm_err") for axis in (panel.across, panel.up)]
    if not all(math.isfinite(error) for error in errors):
        return dot
    spans = [abs(end - start) for start, end in (panel.axes.get_xlim(), panel.axes.get_ylim())]
    box = panel.axes.get_window_extent()
    radii = [
        ELLIPSE_SD * error / span * size
        for error, span, size in zip(errors, spans, (box.width, box.height), strict=True)
    ]
    ellipse = f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{radii[0]:.1f}" ry="{radii[1]:.1f}" stroke="{colours[visit]}"/>'
    return ellipse + dot
