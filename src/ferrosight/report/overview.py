"""The whole scan at a glance: projections along all three axes with the clusters marked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.report.numbers import format_moment
from ferrosight.report.orientation import AnatomicalView, anatomical_view
from ferrosight.report.svg import INK, MUTED, SOFT, new_figure, page_points, plain_log_ticks, to_svg
from ferrosight.types import FLAG_INFO, Catalogue, EvidenceMap, FieldMap, Flag, LimitMap, Scan, Table

_WIDTH_IN = 7.4
_MAX_HEIGHT_IN = 11.0
_MARGIN_IN = {"left": 0.62, "right": 0.34, "bottom": 1.16, "top": 0.30, "gap": 0.38}
#: A projection along a long axis of a thin slab is drawn at least this thick, and says that it is stretched.
_MIN_STRIP = 0.075
#: Larger projections are binned: the page stays small, and a screen shows no more anyhow.
_MAX_PIXELS = 512
#: The limit's colours end where a fiftieth of the tissue lies beyond.
_LIMIT_QUANTILES = (0.02, 0.98)
#: Voxels darker than this, relative to their surroundings, count as part of a dark rim.
_RIM = 0.8
#: A rim is as thick as this at most, and a dark patch wider than this is no cluster's void.
_RIM_VOXELS, _WIDE_VOXELS = 4, 11

#: Marks of rejected candidates: reason → (shape around 0, 0 in points, words). The first reason that fits
#: is drawn; candidates that were not significant, or rejected for other reasons, are not.
REJECTED_MARKS: dict[str, tuple[str, str]] = {
    "bubble": ("M-5-5h10v10h-10z", "rejected: bubble"),
    "vein": ("M0-7l4 7-4 7-4-7z", "rejected: vein"),
    "opposite_polarity": ("M-6-5h12l-6 10z", "rejected: opposite polarity"),
    "outside": ("M-5-5l10 10M5-5l-10 10", "rejected: centre outside the tissue"),
}

EVIDENCE_COLOURS = LinearSegmentedColormap.from_list(
    "evidence", ["#10131c", "#1d2a4d", "#2a5a86", "#3f93a8", "#93cbb0", "#f4f5dc"]
)
#: Clear where PET is at its middle or below, so that the magnitude shows through.
PET_COLOURS = LinearSegmentedColormap.from_list(
    "pet", [(0.75, 0.2, 0.05, 0.0), (0.85, 0.3, 0.05, 0.45), (0.98, 0.65, 0.1, 0.75), (1.0, 0.97, 0.7, 0.95)]
)
MAGNITUDE_COLOURS = LinearSegmentedColormap.from_list("magnitude", ["#0a0b0d", "#eceded"])


@dataclass(frozen=True)
class Layout:
    """Which anatomical axis (0 x, 1 y, 2 z) runs across, up, and through the main panel, and how it is scaled.

    ``stretch`` is how many times too thick the through axis is drawn (1 where it is true to scale).
    """

    across: int
    up: int
    through: int
    stretch: float


@dataclass(frozen=True)
class Projection:
    """How a volume becomes a panel: ``flatten(volume, axis)`` takes an axis away, ``join`` bins what is left."""

    flatten: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
    join: np.ufunc


def choose_layout(extents_mm: tuple[float, float, float]) -> Layout:
    """The largest plane is the main panel; the other two share its axes. Coronal where all are alike."""
    planes = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
    alike = max(extents_mm) < 1.6 * min(extents_mm)
    # Where two are as thin, look along y, then z: coronal and axial are what people expect.
    through = 1 if alike else next(axis for axis in (1, 2, 0) if extents_mm[axis] <= 1.05 * min(extents_mm))
    across, up = planes[through]
    needed = _MIN_STRIP * max(extents_mm[across], extents_mm[up])
    stretch = float(np.ceil(needed / extents_mm[through])) if extents_mm[through] < needed else 1.0
    return Layout(across, up, through, stretch)


def display_echo(scan: Scan, field_map: FieldMap) -> int:
    """The last echo whose median signal in the mask is above five noise standard deviations, else the first."""
    if not field_map.mask.any():
        return 0
    for echo in reversed(range(len(scan.echo_times_s))):
        signal = np.median(np.abs(scan.signal[echo][field_map.mask]))
        if signal > 5 * np.median(field_map.noise.sigma[echo][field_map.mask]):
            return echo
    return 0


def relative_magnitude(scan: Scan, field_map: FieldMap, echo: int) -> NDArray[np.float32]:
    """Magnitude over its smooth surroundings (1 is undisturbed), float32 (x, y, z), NaN outside the mask.

    The surroundings are a blurred mean over blocks of about a sixteenth of the image, so coil shading goes
    and voids stay. A dark rim of up to four voxels that touches the outside is NaN too: it would blacken
    every line of sight along a wall.
    """
    mask = field_map.mask
    magnitude = np.where(mask, np.abs(scan.signal[echo]), 0).astype(np.float32)
    blocks = tuple(max(1, n // 16) for n in mask.shape)
    weight = _blurred_blocks(mask.astype(np.float32), blocks)
    smooth = _blurred_blocks(magnitude, blocks) / np.maximum(weight, 1e-6)
    zoom = [n / m for n, m in zip(mask.shape, smooth.shape, strict=True)]
    around = ndimage.zoom(smooth, zoom, order=1, grid_mode=True, mode="nearest")
    known = mask & (around > 0)
    relative = np.divide(magnitude, around, out=np.full(mask.shape, np.nan, np.float32), where=known)
    if not mask.all():
        rim = ndimage.binary_dilation(~mask, mask=~mask | (relative < _RIM), iterations=_RIM_VOXELS)
        relative[rim] = np.nan
    _drop_dark_faces(relative)
    return relative


def _drop_dark_faces(relative: NDArray[np.float32]) -> None:
    """Set to NaN what is dark all over a wide patch of a layer next to a face of the image: air in the mask."""
    for axis in range(3):
        layers = np.moveaxis(relative, axis, 0)
        for layer in {*range(min(_RIM_VOXELS, len(layers))), *range(max(len(layers) - _RIM_VOXELS, 0), len(layers))}:
            plane = layers[layer]
            wide = ndimage.maximum_filter(np.nan_to_num(plane), _WIDE_VOXELS) < _RIM
            if wide.any():
                plane[ndimage.binary_dilation(wide, iterations=_WIDE_VOXELS // 2, mask=plane < _RIM) | wide] = np.nan


def _blurred_blocks(volume: NDArray[np.float32], blocks: tuple[int, ...]) -> NDArray[np.float32]:
    pad = [(0, -n % b) for n, b in zip(volume.shape, blocks, strict=True)]
    padded = np.pad(volume, pad)
    split = [m for n, b in zip(padded.shape, blocks, strict=True) for m in (n // b, b)]
    means = padded.reshape(split).mean(axis=(1, 3, 5))
    return np.asarray(ndimage.gaussian_filter(means, 0.7, mode="constant"), dtype=np.float32)


def draw_magnitude_overview(scan: Scan, field_map: FieldMap, catalogue: Catalogue) -> str:
    """Minimum-intensity projections of the magnitude, as an SVG element."""
    volume = relative_magnitude(scan, field_map, display_echo(scan, field_map))
    figure, overlay = _draw(
        anatomical_view(scan.grid),
        volume,
        Projection(np.fmin.reduce, np.fmin),
        MAGNITUDE_COLOURS,
        Normalize(0.0, 1.2),
        "darkest magnitude along the line of sight, relative to its surroundings",
        catalogue,
    )
    return to_svg(figure, _alt("Minimum-intensity projections of the magnitude", catalogue), "magnitude", overlay)


def draw_evidence_overview(scan: Scan, evidence: EvidenceMap, catalogue: Catalogue) -> str:
    """Maximum projections of the dipole evidence, as an SVG element."""
    z = evidence.z[0]
    if catalogue.phase_sign == 0:
        z = np.abs(z)
    volume = np.where(np.abs(evidence.z).max(axis=0) > 0, z, np.nan).astype(np.float32)
    finite = volume[np.isfinite(volume)]
    top = max(float(np.quantile(finite, 0.9995)) if finite.size else 0.0, 8.0)
    figure, overlay = _draw(
        anatomical_view(scan.grid),
        volume,
        Projection(np.fmax.reduce, np.fmax),
        EVIDENCE_COLOURS,
        Normalize(0.0, min(top, 30.0)),
        "strongest dipole evidence along the line of sight (standard deviations)",
        catalogue,
    )
    return to_svg(figure, _alt("Maximum projections of the dipole evidence", catalogue), "evidence", overlay)


def draw_limit_overview(limit: LimitMap, scan: Scan) -> str:
    """The limit of detection in three planes through the middle of what was searched, as an SVG element."""
    view = anatomical_view(scan.grid)
    known = np.argwhere(np.isfinite(view.arrange(limit.iron_pg)))
    middle = np.round(known.mean(axis=0)).astype(np.int64)
    low, high = np.nanquantile(limit.iron_pg, _LIMIT_QUANTILES)
    figure, _ = _draw(
        view,
        limit.iron_pg,
        Projection(lambda volume, axis: volume.take(middle[axis], axis), np.fmax),
        EVIDENCE_COLOURS.reversed("limit"),
        LogNorm(low, max(high, 1.2 * low)),
        "least iron that would have been found (pg)",
        None,
    )
    alt = (
        "The least iron that an ideal observer would have found, in three planes through the middle of the tissue: "
        f"from {low:.2g} to {high:.2g} pg over nearly all of it."
    )
    return to_svg(figure, alt, "limit")


def draw_fused_overview(
    scan: Scan, field_map: FieldMap, pet: NDArray[np.float32], unit: str, clusters: Table, words: Sequence[str]
) -> str:
    """PET laid over the magnitude, as an SVG element: both projected, and the accepted rows of a joint list marked.

    ``pet`` (x, y, z) is PET, in ``unit``, on the MRI's own grid, NaN where it does not reach; ``clusters`` (schema
    JOINT_CLUSTERS) are the accepted ones, ``words`` what their marks say. Those beyond the MRI are not drawn.
    """
    view = anatomical_view(scan.grid)
    extents = tuple(axis.extent_mm for axis in view.axes)
    layout = choose_layout((extents[0], extents[1], extents[2]))
    figure, panels = _place_panels(view, layout)
    magnitude = view.arrange(relative_magnitude(scan, field_map, display_echo(scan, field_map)))
    arranged = view.arrange(pet)
    seen = pet[np.isfinite(pet)]
    low, high = (float(np.quantile(seen, q)) for q in (0.5, 0.9995)) if seen.size else (0.0, 1.0)
    norm = Normalize(low, max(high, low * 1.5 + 1e-30))
    coordinates = view.coordinates(np.stack([clusters[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3))
    low_mm, high_mm = (np.array([axis.edges_mm[end] for axis in view.axes]) for end in (0, 1))
    inside = ((coordinates >= low_mm) & (coordinates <= high_mm)).all(axis=1)
    marks = [
        Mark(coordinates[row], f"#joint-{row + 1}", words[row], 7.0, "") for row in np.flatnonzero(inside).tolist()
    ]
    overlay = []
    for axes, across, up in panels:
        through = 3 - across - up
        with warnings.catch_warnings():
            # Lines of sight that miss an image.
            warnings.simplefilter("ignore", RuntimeWarning)
            dark, hot = np.fmin.reduce(magnitude, axis=through), np.fmax.reduce(arranged, axis=through)
        _show(axes, view, _bin(dark, np.fmin), across, up, MAGNITUDE_COLOURS, Normalize(0.0, 1.2))
        _show(axes, view, _bin(hot, np.fmax), across, up, PET_COLOURS, norm)
        overlay.append(_draw_marks(axes, marks, across, up, 1.0))
    _label(panels, view, layout)
    _colour_bar(figure, PET_COLOURS, norm, f"largest PET value along the line of sight ({unit}); grey: darkest voxel")

    alt = f"PET over the magnitude of MRI, projected along three axes, with {len(clusters)} candidates marked"
    return to_svg(figure, alt, "fused", "".join(overlay))


def _alt(what: str, catalogue: Catalogue) -> str:
    n_accepted, n_all = len(catalogue.accepted), len(catalogue.clusters)
    return (
        f"{what} in three planes with {n_accepted} accepted clusters circled and {n_all - n_accepted} other "
        "candidates; positions are in the tables below."
    )


def _draw(
    view: AnatomicalView,
    volume: NDArray[np.float32],
    projection: Projection,
    colours: Colormap,
    norm: Normalize,
    bar_label: str,
    catalogue: Catalogue | None,
) -> tuple[Figure, str]:
    """Three panels that share their axes; with a catalogue, its clusters are marked on them."""
    extents = tuple(axis.extent_mm for axis in view.axes)
    layout = choose_layout((extents[0], extents[1], extents[2]))
    figure, panels = _place_panels(view, layout)
    arranged = view.arrange(volume)
    marks = [] if catalogue is None else list_marks(view, catalogue)
    overlay = []
    for axes, across, up in panels:
        through = 3 - across - up
        image = _bin(projection.flatten(arranged, through), projection.join)
        _show(axes, view, image, across, up, colours, norm)
        is_strip = layout.stretch > 1 and layout.through in (across, up)
        overlay.append(_draw_marks(axes, marks, across, up, 0.4 if is_strip else 1.0))
    _label(panels, view, layout)
    _colour_bar(figure, colours, norm, bar_label)
    return figure, "".join(overlay)


def _place_panels(view: AnatomicalView, layout: Layout) -> tuple[Figure, list[tuple[Axes, int, int]]]:
    """Main panel, the one to its right sharing its vertical, the one below sharing its horizontal."""
    m = _MARGIN_IN
    width_mm = view.axes[layout.across].extent_mm
    height_mm = view.axes[layout.up].extent_mm
    depth_mm = view.axes[layout.through].extent_mm * layout.stretch
    free_width = _WIDTH_IN - m["left"] - m["right"] - m["gap"]
    free_height = _MAX_HEIGHT_IN - m["bottom"] - m["top"] - m["gap"]
    scale = min(free_width / (width_mm + depth_mm), free_height / (height_mm + depth_mm))
    width, height, depth = width_mm * scale, height_mm * scale, depth_mm * scale
    total_height = m["bottom"] + m["top"] + m["gap"] + height + depth
    left = m["left"] + 0.5 * (free_width - width - depth)
    figure = new_figure(_WIDTH_IN, total_height)

    def add(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / _WIDTH_IN, y / total_height, w / _WIDTH_IN, h / total_height))

    top = m["bottom"] + depth + m["gap"]
    right = left + width + m["gap"]
    main = add(left, top, width, height)
    side = add(right, top, depth, height)
    below = add(left, m["bottom"], width, depth)
    return figure, [
        (main, layout.across, layout.up),
        (side, layout.through, layout.up),
        (below, layout.across, layout.through),
    ]


def _show(
    axes: Axes,
    view: AnatomicalView,
    image: NDArray[np.float32],
    across: int,
    up: int,
    colours: Colormap,
    norm: Normalize,
) -> None:
    """Draw an image (first axis is the lower-numbered anatomical axis) with millimetre axes."""
    rows_first = image.T if across < up else image
    low_x, high_x = view.axes[across].edges_mm
    low_y, high_y = view.axes[up].edges_mm
    axes.imshow(
        rows_first,
        cmap=colours,
        norm=norm,
        origin="lower",
        extent=(low_x, high_x, low_y, high_y),
        interpolation="none",
        aspect="auto",
    )
    # Radiological convention: R and A at the left; upwards is A, S, or R.
    axes.set_xlim((high_x, low_x) if across < 2 else (low_x, high_x))
    axes.set_ylim(low_y, high_y)


def _bin(image: NDArray[np.float32], join: np.ufunc) -> NDArray[np.float32]:
    for axis in (0, 1):
        step = -(-image.shape[axis] // _MAX_PIXELS)
        if step > 1:
            image = join.reduceat(image, np.arange(0, image.shape[axis], step), axis=axis)
    return image


@dataclass(frozen=True)
class Mark:
    """A candidate to draw: its position along the anatomical axes (mm), link, words and shape.

    ``radius`` is in points; ``path`` is "" for an accepted cluster's circle.
    """

    coordinates: NDArray[np.float64]
    anchor: str
    words: str
    radius: float
    path: str


def mark_radii(moments_am2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radii of circles, points: they grow as the cube root of the moment, as a dipole's reach does."""
    sizes = np.abs(moments_am2)
    known = np.isfinite(sizes) & (sizes > 0)
    relative = np.ones(len(sizes))
    if known.any():
        relative[known] = np.cbrt(sizes[known] / np.median(sizes[known]))
    return np.asarray(np.clip(5.5 * relative, 3.5, 14.0))


def list_marks(view: AnatomicalView, catalogue: Catalogue) -> list[Mark]:
    """Marks of a catalogue, rejected ones first so that accepted ones lie on top."""
    clusters = catalogue.clusters
    coordinates = view.coordinates(np.stack([clusters[f"{axis}_mm"] for axis in "xyz"], axis=1))
    accepted = clusters["status"] == "accepted"
    radii = np.ones(len(clusters))
    radii[accepted] = mark_radii(clusters["moment_am2"][accepted])
    marks = []
    for row in np.flatnonzero(np.isfinite(coordinates).all(axis=1)):
        if accepted[row]:
            rank = int(np.count_nonzero(accepted[: row + 1]))
            words = f"{rank}: {format_moment(float(clusters['moment_am2'][row]))}"
            marks.append(Mark(coordinates[row], f"#accepted-{rank}", words, float(radii[row]), ""))
            continue
        reasons = str(clusters["reasons"][row]).split(";")
        if FLAG_INFO[Flag.NOT_SIGNIFICANT].name in reasons:
            continue
        shape = next((shape for reason, shape in REJECTED_MARKS.items() if reason in reasons), None)
        if shape is not None:
            marks.append(Mark(coordinates[row], "#rejected", shape[1], 1.0, shape[0]))
    return sorted(marks, key=lambda mark: not mark.path)


def _draw_marks(axes: Axes, marks: list[Mark], across: int, up: int, scale: float) -> str:
    """Marks of one panel as an SVG group; written by hand, since matplotlib spells every circle out."""
    if not marks:
        return ""
    coordinates = np.stack([mark.coordinates for mark in marks])
    points = page_points(axes, coordinates[:, across], coordinates[:, up])
    drawn = []
    for mark, (x, y) in zip(marks, points, strict=True):
        if mark.path:
            shape = f'<path d="{mark.path}" transform="translate({x:.1f} {y:.1f}) scale({scale:g})"/>'
        else:
            shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{scale * mark.radius:.1f}"/>'
        kind = "" if mark.path else ' class="ok"'
        drawn.append(f'<a href="{mark.anchor}"{kind}><title>{mark.words}</title>{shape}</a>')
    return f'<g class="marks{" thin" if scale < 1 else ""}">{"".join(drawn)}</g>'


def _label(panels: list[tuple[Axes, int, int]], view: AnatomicalView, layout: Layout) -> None:
    (main, *_), (side, *_), (below, *_) = panels
    for axes, _, _ in panels:
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.patch.set_facecolor(SOFT)
        axes.tick_params(colors=MUTED, labelcolor=INK, length=3, width=0.8, labelsize=11)
    main.tick_params(labelbottom=False, bottom=False)
    side.tick_params(labelleft=False, left=False)
    _thin_ticks(side, "x")
    _thin_ticks(below, "y")
    main.set_ylabel(view.axes[layout.up].label, color=INK, size=12)
    below.set_xlabel(view.axes[layout.across].label, color=INK, size=12)
    through = view.axes[layout.through].label
    side.set_xlabel(through, color=INK, size=12)
    below.set_ylabel(through, color=INK, size=12)
    _letters(main, view, layout.across, "x")
    _letters(main, view, layout.up, "y")
    _letters(side, view, layout.through, "x")
    _letters(below, view, layout.through, "y")
    if layout.stretch > 1:
        note = f"drawn {layout.stretch:.0f}× too thick"
        side.annotate(
            note,
            (1, 0.5),
            (5, 0),
            "axes fraction",
            "offset points",
            color=MUTED,
            size=10,
            rotation=270,
            ha="left",
            va="center",
        )


def _thin_ticks(axes: Axes, which: str) -> None:
    """As many ticks along a panel's depth as fit; turned upright where a panel is narrow."""
    box = axes.get_window_extent()
    inches = (box.width if which == "x" else box.height) / 72
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(int(np.clip(inches / 0.4, 2, 6))))
    if which == "x" and inches < 1.3:
        axes.tick_params(axis="x", rotation=90)


def _letters(axes: Axes, view: AnatomicalView, anatomical: int, direction: str) -> None:
    """Orientation letters above (direction "x") or to the right (direction "y") of a panel's corners."""
    low, high = view.axes[anatomical].letters
    if direction == "x":
        start, end = (high, low) if axes.xaxis_inverted() else (low, high)
        places = (((0, 1), (0, 4), start, "left", "bottom"), ((1, 1), (0, 4), end, "right", "bottom"))
    else:
        places = (((1, 0), (5, 0), low, "left", "bottom"), ((1, 1), (5, 0), high, "left", "top"))
    for corner, offset, letter, ha, va in places:
        axes.annotate(
            letter,
            corner,
            offset,
            "axes fraction",
            "offset points",
            color=INK,
            size=12,
            weight="bold",
            ha=ha,
            va=va,
        )


def _colour_bar(figure: Figure, colours: Colormap, norm: Normalize, label: str) -> None:
    height = figure.get_size_inches()[1]
    bar = figure.add_axes((0.25, 0.36 / height, 0.5, 0.09 / height))
    drawn = figure.colorbar(ScalarMappable(norm, colours), cax=bar, orientation="horizontal")
    drawn.outline.set_visible(False)
    if isinstance(norm, LogNorm):
        plain_log_ticks(bar, "x")
    bar.tick_params(colors=MUTED, labelcolor=INK, length=3, width=0.8, labelsize=11)
    bar.set_title(label, color=INK, size=11, pad=3)
