"""Particles in a micrograph: how large single ones are, where they lie, and where they lie densely."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.uptake.density import Density

#: A first threshold on density, and its least multiple of the noise.
_FIRST_DENSITY = 0.12
_NOISE_MULTIPLE = 5.0
#: A compact body: box at most this much longer than wide, and filled at least so far (a disc fills 0.785).
_MOST_STRETCH = 1.4
_LEAST_FILL = 0.62
_LEAST_PIXELS = 6
#: Singles have the commonest diameter (weighted by itself) within this, as a natural logarithm; twice it at most.
_WINDOW = 0.25
_FEWEST_SINGLES = 5
#: Gaps up to this many particle diameters belong to the area that particles cover; a monolayer's particles lie about
#: 1.6 diameters apart. Set on micrographs other than those that the results are reported for.
CLOSING_DIAMETERS = 1.6
#: Fewer particle cross-sections than this are no cluster.
_LEAST_CLUSTER = 25.0


@dataclass(frozen=True)
class Singles:
    """Single particles that stand apart.

    ``threshold`` is half of their peak density: a blurred disc is as wide there as it is. ``diameter_nm`` is their
    median diameter with its error, ``cv`` its spread over its mean, ``n`` how many they are (0: none were found, and
    the diameter is NaN or as given). ``boxes`` holds centre row and column, diameter in nm and peak density (n, 4).
    """

    threshold: float
    diameter_nm: float
    diameter_err_nm: float
    cv: float
    n: int
    rows: NDArray[np.float64]


def find_singles(density: Density, particle_nm: float | None = None) -> Singles:
    """Single particles: compact dark bodies of the commonest size, or of about ``particle_nm`` where it is given."""
    threshold = max(_NOISE_MULTIPLE * density.noise, _FIRST_DENSITY)
    found = _find_compact(density, threshold)
    chosen = _choose_commonest(found, particle_nm)
    if len(chosen) >= _FEWEST_SINGLES:
        threshold = max(_NOISE_MULTIPLE * density.noise, 0.5 * float(np.median(chosen[:, 3])))
        again = _choose_commonest(_find_compact(density, threshold), particle_nm)
        chosen = again if len(again) >= _FEWEST_SINGLES else chosen
    if len(chosen) < _FEWEST_SINGLES:
        given = math.nan if particle_nm is None else particle_nm
        return Singles(threshold, given, math.nan, math.nan, 0, np.empty((0, 4)))
    diameters = chosen[:, 2]
    spread = float(diameters.std(ddof=1))
    middle = float(np.median(diameters))
    # The median of n normal values has 1.25 times the error of their mean.
    error = 1.2533 * spread / math.sqrt(len(diameters))
    return Singles(threshold, middle, error, spread / middle, len(diameters), chosen)


def segment_particles(
    density: Density, singles: Singles, *, threshold_factor: float = 1.0, closing_factor: float = 1.0
) -> NDArray[np.bool_]:
    """The area that particles cover, gaps between neighbours included (row, column).

    Darker than half a single particle's density, closed over ``CLOSING_DIAMETERS`` diameters, without what is smaller
    than 25 particles' cross-sections. The factors vary the two choices, for the area's error.
    """
    diameter = singles.diameter_nm / density.nm_per_pixel
    dark = (density.density > threshold_factor * singles.threshold) & ~density.hidden
    if not math.isfinite(diameter):
        return np.zeros(dark.shape, bool)
    covered = close_gaps(dark, max(1.0, closing_factor * CLOSING_DIAMETERS * diameter))
    labels, n = ndimage.label(covered)
    sizes = ndimage.sum_labels(covered, labels, np.arange(1, n + 1))
    large = np.concatenate([[False], sizes >= _LEAST_CLUSTER * math.pi / 4 * diameter**2])
    return np.asarray(large[labels], dtype=bool)


def segment_dense(density: Density, singles: Singles, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The darker of the two parts into which Otsu's threshold divides what is covered (row, column).

    Density is averaged over a particle's diameter within what is covered. Where layers lie over one another is a
    matter of degree; this is a rule, not a boundary that a person would have to agree with.
    """
    from skimage.filters import threshold_otsu

    if not covered.any():
        return covered
    width = singles.diameter_nm / density.nm_per_pixel
    weight = ndimage.gaussian_filter(covered.astype(np.float32), width)
    summed = ndimage.gaussian_filter(np.where(covered, np.minimum(density.density, 3.0), 0), width)
    mean = summed / np.maximum(weight, 1e-3)
    return np.asarray(covered & (mean > float(threshold_otsu(mean[covered]))), dtype=np.bool_)


def close_gaps(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Morphological closing by a disc of ``radius`` pixels, by distances, as if nothing lay outside the image."""
    pad = math.ceil(radius) + 1
    padded = np.pad(mask, pad)
    if not padded.any():
        return mask
    grown = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    return np.asarray(closed[pad:-pad, pad:-pad] | mask, dtype=bool)


def _find_compact(density: Density, threshold: float) -> NDArray[np.float64]:
    """Compact bodies: centre row, centre column, diameter in nm, peak density (n, 4)."""
    labels, n = ndimage.label((density.density > threshold) & ~density.hidden)
    if not n:
        return np.empty((0, 4))
    index = np.arange(1, n + 1)
    area = np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(np.float64)
    boxes = np.array([(r.start, r.stop, c.start, c.stop) for r, c in ndimage.find_objects(labels)], dtype=np.float64)
    height, width = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    inside = (boxes[:, 0] > 0) & (boxes[:, 2] > 0)
    inside &= (boxes[:, 1] < labels.shape[0]) & (boxes[:, 3] < labels.shape[1])
    compact = (area >= _LEAST_PIXELS) & (np.maximum(height, width) <= _MOST_STRETCH * np.minimum(height, width))
    keep = np.flatnonzero(compact & (area > _LEAST_FILL * height * width) & inside)
    peak = ndimage.maximum(density.density, labels, index[keep]) if len(keep) else np.empty(0)
    diameter = 2 * np.sqrt(area[keep] / math.pi) * density.nm_per_pixel
    rows, columns = boxes[keep, :2].mean(axis=1) - 0.5, boxes[keep, 2:].mean(axis=1) - 0.5
    return np.column_stack([rows, columns, diameter, peak])


def _choose_commonest(found: NDArray[np.float64], particle_nm: float | None) -> NDArray[np.float64]:
    if not len(found):
        return found
    logarithms = np.log(found[:, 2])
    if particle_nm is not None:
        return found[np.abs(logarithms - math.log(particle_nm)) < 2 * _WINDOW]
    edges = np.arange(logarithms.min() - 0.1, logarithms.max() + 0.3, 0.1)
    counts, _ = np.histogram(logarithms, edges, weights=found[:, 2])
    pairs = counts[:-1] + counts[1:]
    mode = edges[1 + int(pairs.argmax())]
    near = np.abs(logarithms - mode) < _WINDOW
    # Particles may vary more than the first window lets through.
    middle = float(np.median(logarithms[near]))
    spread = 1.4826 * float(np.median(np.abs(logarithms[near] - middle)))
    return found[np.abs(logarithms - middle) < float(np.clip(3 * spread, _WINDOW, 2 * _WINDOW))]
