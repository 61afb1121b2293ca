"""The plots that say how far to believe the clusters: scores against decoys, fits, windows, masses."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ferrosight.report.summary import compare_windows, expected_false_at, window_moments
from ferrosight.report.svg import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    new_figure,
    plain_log_ticks,
    style_axes,
    to_svg,
)
from ferrosight.types import Catalogue

_SIZE_IN = (7.4, 4.9)

#: Pattern → words, colour, dashes, marker, width.
_CLASSES: dict[str, tuple[str, str, str | tuple[int, tuple[int, ...]], str, float]] = {
    "dipole": ("iron’s dipole (the target)", BLUE, "-", "o", 2.4),
    "opposite": ("opposite polarity", ORANGE, "-", "v", 1.8),
    "xz": ("decoy xz", GREEN, (0, (6, 2)), "s", 1.3),
    "yz": ("decoy yz", PURPLE, (0, (3, 2)), "D", 1.3),
    "xy": ("decoy xy", AMBER, (0, (5, 2, 1, 2)), "^", 1.3),
    "x2-y2": ("decoy x²−y²", SKY, (0, (1, 1)), "P", 1.3),
}


def class_words(name: str, *, counted: bool = False) -> str:
    """What a class of candidates is called on the page; where counted, a decoy says that both its signs are."""
    words = _CLASSES[name][0] if name in _CLASSES else name
    return f"{words}, both signs" if counted and words.startswith("decoy") else words


def survival(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores in rising order and how many are at least as large as each; NaN is left out."""
    ordered = np.sort(scores[np.isfinite(scores)])
    return ordered, np.arange(len(ordered), 0, -1, dtype=np.int64)


def class_scores(catalogue: Catalogue, pattern: str) -> tuple[NDArray[np.float64], int]:
    """Scores of one class of candidates, and the number of polarities that it was searched with (1 or 2)."""
    table = catalogue.null.candidates
    chosen = table["pattern"] == pattern
    n_signs = max(len(np.unique(table["sign"][chosen])), 1)
    return np.abs(table["score"][chosen]), n_signs if pattern not in ("dipole", "opposite") else 1


def draw_scores(catalogue: Catalogue) -> str:
    """Survival counts of target, opposite polarity and each decoy, with the false ones expected and the threshold."""
    figure = new_figure(_SIZE_IN[0], 6.0)
    axes = figure.add_axes((0.1, 0.30, 0.87, 0.68))
    style_axes(axes)
    low, high = _score_range(catalogue)
    for pattern, (words, colour, dashes, marker, width) in _CLASSES.items():
        scores, n_signs = class_scores(catalogue, pattern)
        x, counts = survival(scores)
        if not len(x):
            continue
        every = max(1, len(x) // 9)
        axes.step(
            np.append(x, x[-1]), np.append(counts, 0.5) / n_signs, where="pre", color=colour, linewidth=width,
            linestyle=dashes, marker=marker, markersize=4.5, markevery=every, markerfacecolor="none", label=words,
            zorder=4 if pattern == "dipole" else 3,
        )  # fmt: skip
    _draw_expected(axes, catalogue, low, high)
    threshold = catalogue.null.score_threshold
    if np.isfinite(threshold) and low < threshold < high:
        axes.axvline(threshold, color=INK, linewidth=1.0)
        axes.annotate(
            f"accepted from {threshold:.1f}", (threshold, 1), (5, -3), ("data", "axes fraction"), "offset points",
            color=INK, size=11, ha="left", va="top",
        )  # fmt: skip
    axes.set(
        yscale="log", xlim=(low, high), xlabel="score s (standard deviations)", ylabel="candidates scoring s or more"
    )
    axes.set_ylim(bottom=0.3)
    plain_log_ticks(axes, "y")
    _legend(axes)
    return to_svg(figure, _score_alt(catalogue), "scores")


def _score_range(catalogue: Catalogue) -> tuple[float, float]:
    """From the weakest candidate to well past the threshold; strong targets beyond it are all the same."""
    scores = np.abs(catalogue.null.candidates["score"])
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return 0.0, 10.0
    decoys = scores[catalogue.null.candidates["pattern"][np.isfinite(catalogue.null.candidates["score"])] != "dipole"]
    threshold = catalogue.null.score_threshold
    reach = max(
        [2.2 * threshold if np.isfinite(threshold) else 0.0, 1.15 * float(decoys.max()) if len(decoys) else 0.0]
    )
    high = min(float(scores.max()) * 1.05, reach) if reach > 0 else float(scores.max()) * 1.05
    low = float(scores.min())
    return low, max(high, low + 1.0)


def _draw_expected(axes: Axes, catalogue: Catalogue, low: float, high: float) -> None:
    """False candidates expected, from the first score for which the scan tells it."""
    curve = catalogue.null.curve_scores
    if not len(curve) or curve[0] >= high:
        return
    scores = np.linspace(max(float(curve[0]), low), high, 200)
    axes.plot(
        scores, np.maximum(expected_false_at(catalogue.null, scores), 1e-9), color=INK, linewidth=1.4,
        linestyle=(0, (2, 2)), zorder=5, label="false ones expected",
    )  # fmt: skip


def _legend(axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            frameon=False, fontsize=11, labelcolor=INK, loc="upper left", bbox_to_anchor=(-0.02, -0.16), ncols=2,
            handlelength=3.2, columnspacing=2.4, borderaxespad=0,
        )  # fmt: skip


def _score_alt(catalogue: Catalogue) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in catalogue.null.counts_at_threshold.items())
    return f"Number of candidates scoring s or more, by class. At the acceptance threshold: {counts or 'no counts'}."


def draw_mass_histogram(catalogue: Catalogue) -> str:
    """Histogram of the accepted clusters' iron (or moment, where no label is known) on a log axis."""
    accepted = catalogue.accepted
    has_iron = bool(np.isfinite(accepted["iron_pg"]).any())
    values = accepted["iron_pg"] if has_iron else accepted["moment_am2"] / 1e-15
    unit = "iron (pg)" if has_iron else "moment (fA m²)"
    figure = new_figure(*_SIZE_IN)
    axes = figure.add_axes((0.1, 0.135, 0.87, 0.83))
    style_axes(axes)
    values = values[np.isfinite(values) & (values > 0)]
    alt = f"Histogram of {unit} per accepted cluster"
    if len(values):
        edges = _log_edges(values)
        axes.hist(values, bins=list(edges), color=BLUE, alpha=0.85, rwidth=0.94)
        middle = float(np.median(values))
        axes.axvline(middle, color=INK, linewidth=1.0)
        axes.annotate(
            f"median {middle:.3g}",
            (middle, 1),
            (5, -3),
            ("data", "axes fraction"),
            "offset points",
            color=INK,
            size=11,
            va="top",
        )
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        plain_log_ticks(axes, "x")
        alt += f": median {middle:.3g}, from {values.min():.3g} to {values.max():.3g}."
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=f"{unit} per cluster", ylabel="accepted clusters")
    return to_svg(figure, alt, "masses")


def _log_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.log10(values.min()), np.log10(values.max())
    n_bins = int(np.clip(np.sqrt(len(values)) * 1.6, 5, 30))
    pad = max(0.02 * (high - low), 0.05)
    return np.asarray(np.logspace(low - pad, high + pad, n_bins + 1))


def draw_chi2_histogram(catalogue: Catalogue) -> str:
    """Histogram of χ² per degree of freedom of the accepted clusters; the last bar holds all beyond it."""
    values = catalogue.fits["chi2_dof"][catalogue.clusters["status"] == "accepted"]
    values = values[np.isfinite(values)]
    figure = new_figure(*_SIZE_IN)
    axes = figure.add_axes((0.1, 0.135, 0.87, 0.83))
    style_axes(axes)
    alt = "Histogram of chi squared per degree of freedom of the accepted clusters"
    if len(values):
        top = max(3.0, float(np.ceil(np.quantile(values, 0.97) * 2) / 2))
        edges = np.linspace(0, top, 31)
        axes.hist(np.minimum(values, top * 0.999), bins=list(edges), color=BLUE, alpha=0.85, rwidth=0.94)
        axes.set_xlim(0, top)
        beyond = int(np.count_nonzero(values > top))
        if beyond:
            axes.annotate(
                f"{beyond} beyond\n(up to {values.max():.3g})",
                (1, 1),
                (-2, -4),
                "axes fraction",
                "offset points",
                color=MUTED,
                size=11,
                ha="right",
                va="top",
            )
        alt += f": median {np.median(values):.2f}, from {values.min():.2f} to {values.max():.3g}."
    axes.axvline(1.0, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.annotate(
        "noise alone", (1.0, 1), (5, -3), ("data", "axes fraction"), "offset points", color=INK, size=11, va="top"
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="χ² per degree of freedom", ylabel="accepted clusters")
    return to_svg(figure, alt, "chi2")


def draw_windows(catalogue: Catalogue) -> str:
    """Moments from the inner against the outer window, with error bars and the line where they are equal."""
    fits = catalogue.fits.where(catalogue.clusters["status"] == "accepted")
    inner, inner_err, outer, outer_err = (values / 1e-15 for values in window_moments(fits))
    figure = new_figure(*_SIZE_IN)
    axes = figure.add_axes((0.12, 0.135, 0.85, 0.83))
    style_axes(axes)
    windows = compare_windows(catalogue)
    alt = (
        f"Moment from the inner against the outer window: {windows.n_agree} of {windows.n_compared} agree within "
        "their errors."
    )
    positive = (inner > 0) & (outer > 0)
    if positive.any():
        low = 0.7 * float(min(inner[positive].min(), outer[positive].min()))
        high = 1.4 * float(max(inner[positive].max(), outer[positive].max()))
        # On a log axis an error bar that reaches zero ends at the frame.
        x, y, x_err, y_err = (values[positive] for values in (inner, outer, inner_err, outer_err))
        axes.hlines(y, np.maximum(x - x_err, low), x + x_err, color=BLUE, linewidth=0.8, alpha=0.55)
        axes.vlines(x, np.maximum(y - y_err, low), y + y_err, color=BLUE, linewidth=0.8, alpha=0.55)
        axes.plot(x, y, "o", color=BLUE, markersize=3.5)
        axes.plot([low, high], [low, high], color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        plain_log_ticks(axes, "xy")
    axes.set(xlabel="moment from the inner window (fA m²)", ylabel="from the outer window (fA m²)")
    return to_svg(figure, alt, "windows")
