"""Where in an image a point of activity would explain more than the background does.

At every voxel the window around it is fitted by generalised least squares with a point there and a smooth background,
in the noise that was measured; the point's amplitude is a fixed weighting of the window's voxels, so one convolution
does it. It is divided by its own error, by what neighbouring places scatter beyond that error, and its skewness, known
from the voxels', is taken out (Cornish & Fisher, Rev Inst Int Stat 5:307, 1938).

A wide window knows the background better where there is nothing else, a narrow one suffers less beside organs. Several
are used, and each place is judged by the one whose error, scatter of its neighbours included, is least there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftn, ifftn
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter, spline_filter, uniform_filter
from scipy.signal import oaconvolve

from ferrosight.pet.noise import PetNoise, correlation_matrix, correlation_spectrum
from ferrosight.pet.template import Templates
from ferrosight.types.pet import PetResponse

Array = NDArray[np.float64]
#: Windows (radius in point spreads) and terms of their background that are chosen from; the first is for wide sources.
FILTERS = ((3.5, 10), (2.5, 10), (2.5, 4), (3.5, 4))
#: Places in a box of the first width, without a box of the second about the middle (point spreads), are asked how much
#: they scatter: a source must not raise what it is measured against.
_NEIGHBOURHOOD_FWHM, _OWN_FWHM = 7.0, 3.0
#: What all places of a kind scatter counts as much as this share of the inner box.
_COMMON_SHARE = 0.25
#: Kinds of places by how near they are to edges, and the range over which edges are asked for, in point spreads.
_N_KINDS, _EDGE_FWHM = 5, 2.5
#: Steps from a voxel's middle at which the statistic is asked for between voxels, per axis.
_STEPS = (-0.5, -0.25, 0.0, 0.25, 0.5)
#: Places never scatter less than this share of what the noise's correlation says.
_LEAST_SCATTER = 0.7
#: Places beyond this many of their neighbours' standard deviations do not count in that.
_CLIP = 3.5


@dataclass(frozen=True)
class Filtered:
    """One filter's output: amplitude (Bq) and its error, scatter included, (x, y, z); and its own numbers."""

    kernel: Array
    skewness: float
    amplitude_bq: Array
    unit_err_bq: Array
    scatter: Array

    def standardise(self, amplitude_bq: Array, place: tuple[int, ...] | tuple[slice, ...] | slice) -> Array:
        """The statistic of an amplitude at a place."""
        return np.asarray(_straighten(amplitude_bq / self.unit_err_bq[place], self.skewness) / self.scatter[place])


@dataclass(frozen=True)
class Screen:
    """The statistic and the amplitude (Bq) of a point at every voxel, all (x, y, z).

    ``z`` is standard normal where there is nothing, and 0 outside the body; ``amplitude_err_bq`` is one standard
    deviation, scatter included. ``choice`` says which of ``filters`` a place is judged by.
    """

    z: Array
    amplitude_bq: Array
    amplitude_err_bq: Array
    choice: NDArray[np.int8]
    filters: tuple[Filtered, ...]

    def filter_at(self, ijk: NDArray[np.int_]) -> Filtered:
        """The filter that judges a voxel (3,)."""
        return self.filters[int(self.choice[tuple(int(n) for n in ijk)])]


def list_window(voxel_mm: tuple[float, float, float], response: PetResponse, radius_fwhm: float) -> NDArray[np.int_]:
    """Offsets (n, 3), in voxels, of the ellipsoid that is fitted."""
    radii = [radius_fwhm * fwhm / edge for fwhm, edge in zip(response.fwhm_mm, voxel_mm, strict=True)]
    axes = [np.arange(-math.ceil(r), math.ceil(r) + 1) for r in radii]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(grid[((grid / radii) ** 2).sum(axis=1) <= 1])


def build_basis(offsets: NDArray[np.int_], scale: Array) -> Array:
    """A smooth background's terms (n, 10): constant, slopes, curvatures, at offsets (n, 3) over ``scale`` (3,)."""
    u = offsets / scale
    squares = [u[:, a] * u[:, b] for a in range(3) for b in range(a, 3)]
    return np.stack([np.ones(len(u)), *u.T, *squares], axis=1)


def screen_image(image: Array, noise: PetNoise, voxel_mm: tuple[float, float, float], response: PetResponse) -> Screen:
    """The screening statistic of ``image`` (x, y, z), Bq/mL."""
    kinds = _sort_by_edges(noise, np.array(response.fwhm_mm) / voxel_mm)
    filters = tuple(_filter_image(image, noise, kinds, voxel_mm, response, *chosen) for chosen in FILTERS)
    errors = np.stack([one.unit_err_bq * one.scatter for one in filters])
    choice = errors.argmin(axis=0)
    z = _pick(np.stack([one.standardise(one.amplitude_bq, slice(None)) for one in filters]), choice)
    return Screen(
        np.where(noise.body, z, 0.0),
        _pick(np.stack([one.amplitude_bq for one in filters]), choice),
        _pick(errors, choice),
        choice.astype(np.int8),
        filters,
    )


def _pick(stack: Array, choice: NDArray[np.int_]) -> Array:
    return np.asarray(np.take_along_axis(stack, choice[None], axis=0)[0])


def _filter_image(
    image: Array,
    noise: PetNoise,
    kinds: NDArray[np.int8],
    voxel_mm: tuple[float, float, float],
    response: PetResponse,
    radius_fwhm: float,
    n_background: int,
) -> Filtered:
    kernel = match_kernel(noise, voxel_mm, response, radius_fwhm, n_background)
    amplitude = weigh(image, kernel)
    # The window's voxels have noise of their own strengths: as much as each weighs.
    weights = kernel**2 / (kernel**2).sum()
    mean_variance = weigh(noise.sigma**2, weights)
    error = np.sqrt(np.maximum(mean_variance, 1e-12 * float(mean_variance.max())) * _variance(kernel, noise))
    error *= border_errors(image.shape, kernel, noise)
    skewness = _output_skewness(kernel, noise)
    z = _straighten(np.where(noise.body, amplitude / error, 0.0), skewness)
    scatter = np.maximum(measure_scatter(z, noise.body, kinds, np.array(response.fwhm_mm) / voxel_mm), _LEAST_SCATTER)
    return Filtered(kernel, skewness, amplitude, error, scatter)


def find_peaks(z: Array, inside: NDArray[np.bool_], fwhm_voxels: Array, least: float) -> NDArray[np.int_]:
    """Voxels (n, 3) that are highest within half a point spread of theirs, and at least ``least``; highest first."""
    radii = np.maximum(fwhm_voxels / 2, 1.0)
    axes = [np.arange(-math.ceil(r), math.ceil(r) + 1) for r in radii]
    shape = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    footprint = ((shape / radii) ** 2).sum(axis=-1) <= 1
    highest = (z >= maximum_filter(z, footprint=footprint, mode="constant")) & inside & (z >= least)
    places = np.argwhere(highest)
    return np.asarray(places[np.argsort(-z[highest], kind="stable")])


def find_between(z: Array, inside: NDArray[np.bool_], fwhm_voxels: Array, least: float) -> tuple[Array, Array]:
    """Fractional voxels (n, 3) and heights (n,) of the peaks of at least ``least``, highest first.

    A point half-way between voxels shows up to a quarter less at the nearest of them.
    """
    places, heights = refine_peaks(z, find_peaks(z, inside, fwhm_voxels, 0.75 * least))
    # Voxels that are exactly as high lead to the same place.
    first = np.unique(places, axis=0, return_index=True)[1]
    places, heights = places[first], heights[first]
    order = np.argsort(-heights, kind="stable")
    order = order[heights[order] >= least]
    return places[order], heights[order]


def refine_peaks(z: Array, peaks: NDArray[np.int_]) -> tuple[Array, Array]:
    """Where within half a voxel of each of ``peaks`` (n, 3) the cubic spline through z is highest, and how high."""
    steps = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.asarray(peaks, dtype=np.float64)[:, None] + steps
    heights = interpolate(z, places.reshape(-1, 3)).reshape(len(peaks), len(steps))
    best = heights.argmax(axis=1) if len(peaks) else np.zeros(0, np.int_)
    numbers = np.arange(len(peaks))
    return places[numbers, best], heights[numbers, best]


def interpolate(image: Array, places: Array) -> Array:
    """An image's cubic spline at fractional voxels (n, 3)."""
    return np.asarray(map_coordinates(spline_filter(image, order=3), places.T, order=3, prefilter=False))


def weigh(image: Array, kernel: Array) -> Array:
    """Sum of the image under the kernel at every voxel; the image goes on mirrored beyond its borders."""
    reach = [min(n // 2, size - 1) for n, size in zip(kernel.shape, image.shape, strict=True)]
    padded = np.pad(image, [(n, n) for n in reach], mode="reflect")
    inner = tuple(slice(n, n + size) for n, size in zip(reach, image.shape, strict=True))
    return np.asarray(oaconvolve(padded, kernel[::-1, ::-1, ::-1], mode="same")[inner])


def border_errors(shape: tuple[int, ...], kernel: Array, noise: PetNoise) -> Array:
    """By how much the mirrored image raises the error of the kernel's output near its borders, (x, y, z)."""
    inner = _variance(kernel, noise)
    out = np.ones(shape)
    for axis, (size, length) in enumerate(zip(shape, kernel.shape, strict=True)):
        moved = np.moveaxis(kernel, axis, 0)
        half = min(length // 2, size - 1)
        profile = np.ones(size)
        held = np.flatnonzero(noise.body.any(axis=tuple(a for a in range(3) if a != axis)))
        if held[0] >= half and held[-1] < size - half:
            continue
        for depth in range(min(half, size)):
            # What lies beyond the border is weighed with its mirror image inside.
            folded = moved[length // 2 - depth :].copy()
            beyond = moved[length // 2 - half : length // 2 - depth][::-1]
            folded[1 : 1 + len(beyond)] += beyond[: len(folded) - 1]
            share = math.sqrt(_variance(np.moveaxis(folded, 0, axis), noise) / inner)
            profile[[depth, size - 1 - depth]] = np.maximum(profile[[depth, size - 1 - depth]], share)
        out *= profile.reshape([-1 if a == axis else 1 for a in range(3)])
    return out


def match_kernel(
    noise: PetNoise,
    voxel_mm: tuple[float, float, float],
    response: PetResponse,
    radius_fwhm: float,
    n_background: int,
) -> Array:
    """Weights (2n+1 …) whose sum with the image is the amplitude of a point in the middle, Bq."""
    offsets = list_window(voxel_mm, response, radius_fwhm)
    half = tuple(int(n) for n in np.abs(offsets).max(axis=0))
    places = tuple((offsets + half).T)
    point = Templates(response, voxel_mm, (half[0], half[1], half[2])).build(np.zeros(3), 0.0)[0][places]
    design = np.column_stack([point, build_basis(offsets, np.array(half, dtype=np.float64))[:, :n_background]])
    solved = cho_solve(cho_factor(correlation_matrix(noise.correlation, offsets)), design)
    rows = np.linalg.solve(design.T @ solved, solved.T)
    kernel = np.zeros([2 * n + 1 for n in half])
    kernel[places] = rows[0]
    return kernel


def _variance(kernel: Array, noise: PetNoise) -> float:
    """Variance of the kernel's output where the noise has unit variance."""
    shape = tuple(2 * n for n in kernel.shape)
    spectrum = correlation_spectrum(noise.correlation, shape)
    return float((np.abs(fftn(kernel, shape)) ** 2 * spectrum).mean() / spectrum.mean())


def _output_skewness(kernel: Array, noise: PetNoise) -> float:
    """Skewness of the kernel's output, if the noise is independent draws seen through a filter of its spectrum."""
    shape = tuple(2 * n for n in kernel.shape)
    root = np.sqrt(correlation_spectrum(noise.correlation, shape))
    filter_ = ifftn(root).real
    combined = ifftn(fftn(kernel, shape) * root).real
    drawn = noise.skewness * (filter_**2).sum() ** 1.5 / (filter_**3).sum()
    return float(drawn * (combined**3).sum() / (combined**2).sum() ** 1.5)


def _straighten(z: Array, skewness: float) -> Array:
    """A standard normal from a standardised variable of this skewness (to first order, kept monotone)."""
    # Beyond its turning point the parabola falls again; nothing is known there but that it is far out.
    turn = 3 / skewness if skewness else math.inf
    inside = np.minimum(z, 0.8 * turn) if skewness > 0 else np.maximum(z, 0.8 * turn)
    straight = inside - skewness / 6 * (inside**2 - 1)
    return np.asarray(straight + (z - inside) * (1 - 0.8))


def measure_scatter(z: Array, inside: NDArray[np.bool_], kinds: NDArray[np.int8], fwhm_voxels: Array) -> Array:
    """Root mean square of the statistic over places of the same kind around each, strong ones clipped.

    Never less than over all places of the kind.
    """
    # Odd, so that both boxes have the same middle.
    wide, own = ([max(int(n), 1) | 1 for n in np.round(f * fwhm_voxels)] for f in (_NEIGHBOURHOOD_FWHM, _OWN_FWHM))

    def add_up(image: Array) -> Array:
        outer, inner = (uniform_filter(image, size, mode="constant") * math.prod(size) for size in (wide, own))
        return np.asarray(np.maximum(outer - inner, 0.0))

    level = np.ones_like(z)
    groups = [inside & (kinds == kind) for kind in range(_N_KINDS)]
    weights = [add_up(same.astype(np.float64))[same] for same in groups]
    common = _COMMON_SHARE * math.prod(own)
    for _ in range(2):
        square = np.clip(z, -_CLIP * level, _CLIP * level) ** 2
        for same, weight in zip(groups, weights, strict=True):
            if same.any():
                mean = float(square[same].mean())
                around = add_up(np.where(same, square, 0.0))[same]
                level[same] = np.sqrt(np.maximum((around + common * mean) / (weight + common), mean))
    return level


def _sort_by_edges(noise: PetNoise, fwhm_voxels: Array) -> NDArray[np.int8]:
    """Kinds of places (x, y, z), from those farthest from any edge of the background to those on one.

    Equally many of the body are of each kind. What the body's structure does to the statistic is alike within one.
    """
    slopes = np.gradient(noise.background)
    rise = sum((slope * width) ** 2 for slope, width in zip(slopes, fwhm_voxels, strict=True))
    relative = rise / np.maximum(noise.background, 1e-3 * float(noise.background.max())) ** 2
    near = gaussian_filter(np.where(noise.body, relative, 0.0), _EDGE_FWHM * fwhm_voxels / math.sqrt(8 * math.log(2)))
    bounds = np.quantile(near[noise.body], np.arange(1, _N_KINDS) / _N_KINDS)
    return np.asarray(np.searchsorted(bounds, near), dtype=np.int8)
