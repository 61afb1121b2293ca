"""Bodies seen through a point spread: the voxel's box, or the k-space that was acquired."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ferrosight.simulate.averaging import NEGLIGIBLE_RAD, average_over_boxes, find_reach, sum_far_fields, voxel_points
from ferrosight.simulate.bodies import Body, FloatArray
from ferrosight.simulate.spec import PointSpread, Supports
from ferrosight.types import AxisSupport

ComplexArray = NDArray[np.complex128]
Index = NDArray[np.int_]

#: Voxels over which the finely sampled part fades into the part sampled once per voxel.
_TAPER_VOXELS = 4.0

#: The low-pass that takes fine cells to half voxels: its half length in voxels, and its Kaiser window's shape (60 dB).
_FILTER_VOXELS = 4.0
_KAISER = 5.65

#: Threads of the Fourier transforms.
_WORKERS = 2

#: Edge of the tiles, in voxels, that are finely sampled one at a time, to bound memory.
_TILE_VOXELS = 16


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
    return np.stack([seen.acquire(echo, image, support) for echo, image in enumerate(background)])


class SeenBodies(ABC):
    """Bodies prepared for some times, to be seen against any background."""

    @abstractmethod
    def acquire(self, echo: int, background: ComplexArray, support: Supports) -> ComplexArray:
        """The background (x, y, z) of one of the times with the bodies in it."""


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
    near, weight = _deviate_near(bodies, shape, voxel_m, turns_s, sub_sampling)
    return _Truncated(near, weight, sum_far_fields(bodies, shape, voxel_m, turns_s), turns_s)


@dataclass(frozen=True)
class _Averaged(SeenBodies):
    """E averaged over each voxel (echo, x, y, z)."""

    average: ComplexArray

    def acquire(self, echo: int, background: ComplexArray, support: Supports) -> ComplexArray:
        return np.asarray(limit_to_support((background * self.average[echo])[None], support)[0])


@dataclass(frozen=True)
class _Truncated(SeenBodies):
    """E - 1, as ``_deviate_near`` gives it, and the field of all bodies at voxels.

    E - 1 is cut by smooth windows into a part next to the bodies, on fine cells, one around it, on coarser
    cells, and the rest, which varies so little from voxel to voxel that sampling it once is exact. The first two
    are filtered down to half voxels, which hold all of their k-space that can meet the background's inside the
    support; there they are multiplied by the background, interpolated as its own k-space says.
    """

    near: NDArray[np.complex64]
    weight: NDArray[np.float32]
    field_hz: FloatArray
    turns_s: FloatArray

    def acquire(self, echo: int, background: ComplexArray, support: Supports) -> ComplexArray:
        # 1 + (1 - weight)(E - 1), in place: at scanner sizes every copy is a gigabyte
        rest = np.exp(2j * np.pi * self.turns_s[echo] * self.field_hz)
        rest -= 1
        rest *= 1 - self.weight
        rest += 1
        rest *= background
        acquired = fft.fftn(rest, workers=_WORKERS, overwrite_x=True)
        acquired += _halve_k_space(self.near[echo] * double_lines(background))
        for axis, one in enumerate(support):
            acquired *= _along(support_mask(background.shape[axis], one), axis + 1)[0]
        return np.asarray(fft.ifftn(acquired, workers=_WORKERS, overwrite_x=True))


def average_over_voxels(
    bodies: Sequence[Body],
    shape: tuple[int, int, int],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
) -> ComplexArray:
    """Average of the bodies' signal over each voxel's box (echo, x, y, z)."""
    field = sum_far_fields(bodies, shape, voxel_m, turns_s)
    result: ComplexArray = np.exp(2j * np.pi * turns_s[:, None, None, None] * field)
    near = np.zeros(shape, dtype=np.bool_)
    for body in bodies:
        reach = find_reach(body, voxel_m, turns_s)
        first, last = _voxel_window(body, reach, shape, voxel_m)
        if (last <= first).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        close = body.distance(voxel_points(first, last, voxel_m)) < reach
        near[window] |= close.reshape(near[window].shape)
    chosen = np.argwhere(near)
    result[:, near] = average_over_boxes(bodies, chosen * voxel_m, voxel_m, turns_s, sub_sampling, finest=sub_sampling)
    return result


def support_mask(n: int, support: AxisSupport) -> NDArray[np.bool_]:
    """Which of ``n`` lines of k-space, in numpy's FFT order, were acquired: low ≤ k < high cycles per voxel."""
    k = fft.fftfreq(n)
    return np.asarray((k >= support.low - 1e-9) & (k < support.high - 1e-9))


def limit_to_support(signal: ComplexArray, support: Supports) -> ComplexArray:
    """Set the k-space of (echo, x, y, z) to zero beyond ``support``."""
    for axis, one in enumerate(support, start=1):
        n = signal.shape[axis]
        mask = support_mask(n, one)
        if not mask.all():
            spectrum = fft.fft(signal, axis=axis)
            signal = fft.ifft(spectrum * _along(mask, axis), axis=axis)
    return signal


def _deviate_near(
    bodies: Sequence[Body], shape: tuple[int, int, int], voxel_m: FloatArray, turns_s: FloatArray, sub_sampling: int
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """E - 1 near bodies on half voxels (echo, 2x, 2y, 2z), and the share of it that this is at voxels (x, y, z)."""
    reaches = np.array([find_reach(body, voxel_m, turns_s) for body in bodies])
    taper = _TAPER_VOXELS * float(voxel_m.max())
    limit_hz = NEGLIGIBLE_RAD / (2 * np.pi * float(np.abs(turns_s).max()))
    horizons = np.array([body.reach_where_field(limit_hz) for body in bodies])
    near = np.zeros((len(turns_s), *(2 * n for n in shape)), dtype=np.complex64)
    weight = np.zeros(shape, dtype=np.float32)
    tiles = _split_into_tiles(shape)
    gaps_m = _measure_gaps(bodies, tiles, voxel_m)
    for (first, last), gap_m in zip(tiles, gaps_m, strict=True):
        close = np.flatnonzero(gap_m < reaches + taper).tolist()
        if not close:
            continue
        around = _Window([bodies[i] for i in close], reaches[close], taper)
        next_to = _Window([bodies[i] for i in close], reaches[close] / 2, taper / 2)
        window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        weight[window] = around.weigh(voxel_points(first, last, voxel_m)).reshape(tuple(last - first))
        seen = [bodies[i] for i in np.flatnonzero(gap_m < horizons).tolist()]
        for per_voxel, inside, outside in ((sub_sampling // 2, next_to, None), (sub_sampling // 4, around, next_to)):
            bounds = inside.bound(first, last, voxel_m)
            if bounds is None:
                continue
            per_voxel = max(2, per_voxel)
            axes = [_fine_axis(a, b, per_voxel) for a, b in zip(*bounds, strict=True)]
            fine = _fine_deviation(seen, inside, outside, axes, voxel_m, turns_s, sub_sampling, per_voxel)
            _add_filtered(near, fine, axes, per_voxel)
    return near, weight


class _Window:
    """A weight in space: 1 within reach of any body, fading smoothly to 0 beyond."""

    def __init__(self, bodies: Sequence[Body], reaches: FloatArray, taper_m: float) -> None:
        self._bodies, self._reaches, self._taper = bodies, reaches, taper_m

    def weigh(self, points: FloatArray) -> FloatArray:
        """The weight (n,) at points (n, 3), metres."""
        outside = np.ones(len(points))
        for body, reach in zip(self._bodies, self._reaches, strict=True):
            t = np.clip((body.distance(points) - reach) / self._taper, 0, 1)
            outside *= 0.5 - 0.5 * np.cos(np.pi * t)
        return 1 - outside

    def bound(self, first: Index, last: Index, voxel_m: FloatArray) -> tuple[Index, Index] | None:
        """The box of voxels, inside the given one, that may have weight; ``None`` where none has."""
        points = voxel_points(first, last, voxel_m)
        margin = self._taper + float(np.linalg.norm(voxel_m)) / 2
        near = np.zeros(len(points), dtype=np.bool_)
        for body, reach in zip(self._bodies, self._reaches, strict=True):
            near |= body.distance(points) < reach + margin
        if not near.any():
            return None
        ijk = np.argwhere(near.reshape(tuple(last - first)))
        return first + ijk.min(axis=0), first + ijk.max(axis=0) + 1


def _split_into_tiles(shape: tuple[int, int, int]) -> list[tuple[Index, Index]]:
    """First voxel and one past the last of each tile of the image."""
    starts = np.meshgrid(*(np.arange(0, n, _TILE_VOXELS) for n in shape), indexing="ij")
    return [(first, np.minimum(first + _TILE_VOXELS, shape)) for first in np.stack(starts, axis=-1).reshape(-1, 3)]


def _measure_gaps(bodies: Sequence[Body], tiles: list[tuple[Index, Index]], voxel_m: FloatArray) -> FloatArray:
    """Distance (tile, body), m, that a body has from a tile at least."""
    centres = np.array([(first + last - 1) / 2 * voxel_m for first, last in tiles])
    radii = np.array([np.linalg.norm((last - first) * voxel_m) / 2 for first, last in tiles])
    distances = np.array([body.distance(centres) for body in bodies]).reshape(len(bodies), len(tiles))
    return np.asarray(distances.T - radii[:, None])


def _fine_deviation(
    bodies: Sequence[Body],
    inside: _Window,
    outside: _Window | None,
    axes: list[FloatArray],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    per_voxel: int,
) -> NDArray[np.complex64]:
    """(E - 1), averaged over each fine cell of a block and weighted by one window less another (echo, x, y, z)."""
    grid = np.meshgrid(*(a * h for a, h in zip(axes, voxel_m, strict=True)), indexing="ij")
    points = np.stack(grid, axis=-1).reshape(-1, 3)
    weight = inside.weigh(points)
    if outside is not None:
        weight -= outside.weigh(points)
    chosen = np.flatnonzero(weight > 0)
    finest = max(1, sub_sampling // per_voxel)
    signal = average_over_boxes(bodies, points[chosen], voxel_m / per_voxel, turns_s, sub_sampling, finest=finest)
    result = np.zeros((len(turns_s), len(points)), dtype=np.complex64)
    result[:, chosen] = weight[chosen] * (signal - 1)
    return result.reshape(len(turns_s), *grid[0].shape)


def _fine_axis(first: int, last: int, per_voxel: int) -> FloatArray:
    """Positions, in voxels, of the centres of the fine cells that fill voxels ``first`` to ``last`` - 1."""
    return np.asarray(first - 0.5 + (np.arange((last - first) * per_voxel) + 0.5) / per_voxel, dtype=np.float64)


def _add_filtered(
    total: NDArray[np.complex64], fine: NDArray[np.complex64], axes: list[FloatArray], per_voxel: int
) -> None:
    """Add (echo, x, y, z) on fine cells, low-passed, to the half voxels of the whole image, periodic."""
    rows, matrices = [], []
    for n, x in zip(total.shape[1:], axes, strict=True):
        low, high = np.ceil(2 * (x[0] - _FILTER_VOXELS)), np.floor(2 * (x[-1] + _FILTER_VOXELS))
        steps = np.arange(low, high + 1)
        wrapped, into = np.unique(steps.astype(np.int_) % n, return_inverse=True)
        weights = np.zeros((len(wrapped), len(x)))
        np.add.at(weights, into, _filter_taps(steps[:, None] / 2 - x, per_voxel))
        rows.append(wrapped)
        matrices.append(weights.astype(np.float32))
    where = np.ix_(*rows)
    for echo, block in enumerate(fine):
        for axis, matrix in enumerate(matrices):
            block = np.moveaxis(np.tensordot(matrix, block, axes=(1, axis)), 0, axis)
        total[echo][where] += block


def _filter_taps(offsets: FloatArray, per_voxel: int) -> FloatArray:
    """Weights of fine cells at ``offsets`` (voxels): one cycle per voxel is let through, and little beyond.

    A cell's average is what a point sees through a box of its size, whose k-space is a sinc: taken out again.
    """
    k = (np.arange(256) + 0.5) / 256
    distances = np.abs(offsets).round(9)
    unique, inverse = np.unique(distances, return_inverse=True)
    taps = 2 * np.cos(2 * np.pi * np.outer(unique, k)) @ (1 / np.sinc(k / per_voxel)) / len(k) / per_voxel
    inside = np.clip(1 - (unique / _FILTER_VOXELS) ** 2, 0, None)
    taps *= np.where(inside > 0, np.i0(_KAISER * np.sqrt(inside)) / np.i0(_KAISER), 0.0)
    return np.asarray(taps[inverse].reshape(offsets.shape))


def double_lines(image: ComplexArray) -> NDArray[np.complex64]:
    """An image (x, y, z) on half voxels, the first of which is the first voxel: as its own k-space says."""
    result: NDArray[Any] = fft.fftn(image.astype(np.complex64), workers=_WORKERS)
    for axis, n in enumerate(image.shape):
        padded = np.zeros([2 * size if a == axis else size for a, size in enumerate(result.shape)], dtype=np.complex64)
        _lines(padded, axis, slice(0, (n + 1) // 2))[...] = _lines(result, axis, slice(0, (n + 1) // 2))
        _lines(padded, axis, slice(2 * n - n // 2, 2 * n))[...] = _lines(result, axis, slice((n + 1) // 2, n))
        padded *= 2
        result = fft.ifft(padded, axis=axis, workers=_WORKERS, overwrite_x=True)
    return np.asarray(result)


def _halve_k_space(image: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The k-space lines that whole voxels have, of an image (2x, 2y, 2z) on half voxels."""
    result: NDArray[Any] = image
    for axis, twice in enumerate(image.shape):
        n = twice // 2
        spectrum = fft.fft(result, axis=axis, workers=_WORKERS)
        kept = (_lines(spectrum, axis, slice(0, (n + 1) // 2)), _lines(spectrum, axis, slice(twice - n // 2, twice)))
        result = np.concatenate(kept, axis=axis) / np.float32(2)
    return np.asarray(result)


def _lines(array: NDArray[Any], axis: int, kept: slice) -> NDArray[Any]:
    """A view of some of the lines along an axis of (x, y, z)."""
    return array[tuple(kept if a == axis else slice(None) for a in range(3))]


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
