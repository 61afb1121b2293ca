"""Bodies seen through a point spread: the voxel's box, or the k-space that was acquired."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ferrosight.simulate.averaging import THREADS, average_over_boxes, find_reach, sum_far_fields, voxel_points
from ferrosight.simulate.bodies import Body, FloatArray
from ferrosight.simulate.near import Index, NearBodies, cut_window, measure_gaps, sample_near, split_into_tiles
from ferrosight.simulate.spec import PointSpread, Supports
from ferrosight.types import AxisSupport

ComplexArray = NDArray[np.complex128]

#: Half voxels that are held at once, and planes of them that one thread takes through their other two axes at once.
_SLAB_HALF_VOXELS = 8_000_000
_PLANES = 4


def apply_bodies(
    background: ComplexArray,
    bodies: Sequence[Body],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    point_spread: PointSpread,
    support: Supports,
    sub_sampling: int,
) -> ComplexArray:
    """The background (echo, x, y, z) with the bodies' phases in it, as acquired.

    ``box``: background times the average of the bodies' signal over each voxel, then limited to ``support``.
    ``kspace``: background, interpolated between voxels, times the bodies' signal, limited to ``support`` at
    once. ``turns_s`` as in ``average_over_boxes``.
    """
    shape = (background.shape[1], background.shape[2], background.shape[3])
    seen = see_bodies(bodies, shape, voxel_m, turns_s, point_spread, sub_sampling)
    return np.concatenate([seen.acquire(echo, image[None], support) for echo, image in enumerate(background)])


class SeenBodies(ABC):
    """Bodies prepared for some times, to be seen against any background."""

    @abstractmethod
    def acquire(self, echo: int, backgrounds: ComplexArray, support: Supports) -> ComplexArray:
        """Backgrounds (n, x, y, z) of one of the times with the bodies in each."""


def see_bodies(
    bodies: Sequence[Body],
    shape: tuple[int, int, int],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    point_spread: PointSpread,
    sub_sampling: int,
) -> SeenBodies:
    """Prepare bodies for the times ``turns_s``; everything as in ``apply_bodies``."""
    if point_spread == "box":
        return _Averaged(average_over_voxels(bodies, shape, voxel_m, turns_s, sub_sampling))
    return _Truncated(sample_near(bodies, shape, voxel_m, turns_s, sub_sampling), turns_s)


@dataclass(frozen=True)
class _Averaged(SeenBodies):
    """E averaged over each voxel (echo, x, y, z)."""

    average: ComplexArray

    def acquire(self, echo: int, backgrounds: ComplexArray, support: Supports) -> ComplexArray:
        return limit_to_support(backgrounds * self.average[echo], support)


@dataclass(frozen=True)
class _Truncated(SeenBodies):
    """E - 1 in two parts: ``near``, next to bodies, and the rest.

    The rest varies so little from voxel to voxel that sampling it once is exact. What is near is finely sampled
    and filtered down to half voxels, which hold all of its k-space that can meet the background's inside the
    support; there it is multiplied by the background, interpolated as its own k-space says.
    """

    near: NearBodies
    turns_s: FloatArray

    def acquire(self, echo: int, backgrounds: ComplexArray, support: Supports) -> ComplexArray:
        turn = float(self.turns_s[echo])
        near = multiply_on_half_voxels(backgrounds, lambda start, stop: self.near.deviate(turn, start, stop))
        # 1 + (1 - weight)(E - 1), in place: at scanner sizes every copy is a tenth of a gigabyte
        rest = 2j * np.pi * turn * self.near.field_hz
        np.exp(rest, out=rest)
        rest -= 1
        rest *= 1 - self.near.weight
        rest += 1
        acquired = rest[None] if len(backgrounds) == 1 else np.stack([rest] * len(backgrounds))
        acquired *= backgrounds
        acquired = fft.fftn(acquired, axes=(1, 2, 3), workers=THREADS, overwrite_x=True)
        acquired += near
        for axis, one in enumerate(support, start=1):
            acquired *= _along(support_mask(acquired.shape[axis], one), axis)
        return np.asarray(fft.ifftn(acquired, axes=(1, 2, 3), workers=THREADS, overwrite_x=True))


def average_over_voxels(
    bodies: Sequence[Body],
    shape: tuple[int, int, int],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
) -> ComplexArray:
    """Average of the bodies' signal over each voxel's box (echo, x, y, z)."""
    field = sum_far_fields(bodies, shape, voxel_m, turns_s)
    result: ComplexArray = np.empty((len(turns_s), *shape), dtype=np.complex128)
    for echo, turn in enumerate(turns_s):
        np.exp(2j * np.pi * turn * field, out=result[echo])
    reaches = np.array([find_reach(body, voxel_m, turns_s) for body in bodies])
    near = np.zeros(shape, dtype=np.bool_)
    for body, reach in zip(bodies, reaches.tolist(), strict=True):
        first, last = _voxel_window(body, reach, shape, voxel_m)
        if (last > first).all():
            window = cut_window(first, last)
            near[window] |= (body.distance(voxel_points(first, last, voxel_m)) < reach).reshape(near[window].shape)
    tiles = [tile for tile in split_into_tiles(shape) if near[cut_window(*tile)].any()]
    gaps_m = measure_gaps(bodies, tiles, voxel_m)

    def average_tile(index: int) -> None:
        first, last = tiles[index]
        ijk = first + np.argwhere(near[cut_window(first, last)])
        x, y, z = ijk.T
        close = [bodies[i] for i in np.flatnonzero(gaps_m[index] < reaches).tolist()]
        others = field[x, y, z]
        for body in close:
            others -= body.far_field(ijk * voxel_m)
        result[:, x, y, z] = average_over_boxes(
            close, ijk * voxel_m, voxel_m, turns_s, sub_sampling, finest=sub_sampling, others_hz=others
        )

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(average_tile, range(len(tiles))):
            pass
    return result


def support_mask(n: int, support: AxisSupport) -> NDArray[np.bool_]:
    """Which of ``n`` lines of k-space, in numpy's FFT order, were acquired: low ≤ k < high cycles per voxel."""
    k = fft.fftfreq(n)
    return np.asarray((k >= support.low - 1e-9) & (k < support.high - 1e-9))


def limit_to_support(signal: NDArray[Any], support: Supports) -> NDArray[Any]:
    """Set the k-space of a complex (echo, x, y, z) to zero beyond ``support``."""
    for axis, one in enumerate(support, start=1):
        n = signal.shape[axis]
        mask = support_mask(n, one)
        if not mask.all():
            spectrum = fft.fft(signal, axis=axis)
            signal = fft.ifft(spectrum * _along(mask, axis), axis=axis)
    return signal


def multiply_on_half_voxels(
    images: ComplexArray, factor: Callable[[int, int], NDArray[np.float32]]
) -> NDArray[np.complex64]:
    """K-space, the lines that whole voxels have, of images (n, x, y, z) times a factor on half voxels.

    ``factor(start, stop)`` (2, x, 2y, 2z), real and imaginary, is asked for some planes of half voxels at a time,
    to bound memory. The first half voxel is the first voxel; between voxels images are what their own k-space says.
    """
    double = _double_lines(images.astype(np.complex64), 1)

    def multiply(planes: slice, by: NDArray[np.float32]) -> None:
        product = _double_lines(_double_lines(double[:, planes], 2), 3)
        product *= by[0] + np.complex64(1j) * by[1]
        double[:, planes] = _halve_k_space(_halve_k_space(product, 3), 2)

    n_planes = double.shape[1]
    n_slab = max(_PLANES, _SLAB_HALF_VOXELS // (4 * math.prod(double.shape[2:])))
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, n_planes, n_slab):
            stop = min(start + n_slab, n_planes)
            by = factor(start, stop)
            parts = [slice(a, min(a + _PLANES, stop)) for a in range(start, stop, _PLANES)]
            for _ in pool.map(multiply, parts, [by[:, part.start - start : part.stop - start] for part in parts]):
                pass
    return _halve_k_space(double, 1)


def _double_lines(image: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """Twice as many points along an axis."""
    n = image.shape[axis]
    spectrum = fft.fft(image, axis=axis)
    spectrum *= 2
    padded = np.zeros([2 * size if a == axis else size for a, size in enumerate(image.shape)], dtype=np.complex64)
    _lines(padded, axis, slice(0, (n + 1) // 2))[...] = _lines(spectrum, axis, slice(0, (n + 1) // 2))
    _lines(padded, axis, slice(2 * n - n // 2, 2 * n))[...] = _lines(spectrum, axis, slice((n + 1) // 2, n))
    return np.asarray(fft.ifft(padded, axis=axis, overwrite_x=True))


def _halve_k_space(image: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """The k-space lines that whole voxels have along an axis, of an image on half voxels along it."""
    twice = image.shape[axis]
    n = twice // 2
    spectrum = fft.fft(image, axis=axis, overwrite_x=True)
    kept = (_lines(spectrum, axis, slice(0, (n + 1) // 2)), _lines(spectrum, axis, slice(twice - n // 2, twice)))
    return np.asarray(np.concatenate(kept, axis=axis) / np.float32(2))


def _lines(array: NDArray[Any], axis: int, kept: slice) -> NDArray[Any]:
    """A view of some of the lines along an axis."""
    return array[tuple(kept if a == axis else slice(None) for a in range(array.ndim))]


def _voxel_window(body: Body, reach_m: float, shape: tuple[int, int, int], voxel_m: FloatArray) -> tuple[Index, Index]:
    """First voxel of the box around a body and its reach, and one past the last, inside the image."""
    low, high = body.bounds()
    first = np.clip(np.floor((low - reach_m) / voxel_m), 0, shape).astype(np.int_)
    last = np.clip(np.ceil((high + reach_m) / voxel_m) + 1, 0, shape).astype(np.int_)
    return first, last


def _along(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    shape = [1, 1, 1, 1]
    shape[axis] = len(mask)
    return mask.reshape(shape)
