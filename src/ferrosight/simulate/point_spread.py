"""Bodies seen through a point spread: the voxel's box, or the k-space that was acquired."""

from __future__ import annotations

from collections.abc import Sequence

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
    if point_spread == "box":
        signal = background * average_over_voxels(bodies, shape, voxel_m, turns_s, sub_sampling)
        return limit_to_support(signal, support)
    return _truncate(background, bodies, voxel_m, turns_s, support, sub_sampling)


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


def _truncate(
    background: ComplexArray,
    bodies: Sequence[Body],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    support: Supports,
    sub_sampling: int,
) -> ComplexArray:
    """Background·E, E the bodies' signal, limited to ``support``.

    E - 1 is cut by smooth windows into a part next to the bodies, on fine cells, one around it, on coarser
    cells, and the rest, which varies so little from voxel to voxel that sampling it once is exact.
    """
    shape = (background.shape[1], background.shape[2], background.shape[3])
    reaches = np.array([find_reach(body, voxel_m, turns_s) for body in bodies])
    taper = _TAPER_VOXELS * float(voxel_m.max())
    limit_hz = NEGLIGIBLE_RAD / (2 * np.pi * float(np.abs(turns_s).max()))
    horizons = np.array([body.reach_where_field(limit_hz) for body in bodies])
    field = sum_far_fields(bodies, shape, voxel_m, turns_s)
    deviation = np.exp(2j * np.pi * turns_s[:, None, None, None] * field) - 1
    spectrum = fft.fftn(background, axes=(1, 2, 3))
    acquired = np.zeros_like(spectrum)
    for first, last in _split_into_tiles(shape):
        window = (slice(None), *(slice(a, b) for a, b in zip(first, last, strict=True)))
        close = _find_close(bodies, reaches + taper, first, last, voxel_m)
        if not close:
            continue
        around = _Window([bodies[i] for i in close], reaches[close], taper)
        next_to = _Window([bodies[i] for i in close], reaches[close] / 2, taper / 2)
        at_voxels = around.weigh(voxel_points(first, last, voxel_m))
        deviation[window] *= 1 - at_voxels.reshape(tuple(last - first))
        seen = [bodies[i] for i in _find_close(bodies, horizons, first, last, voxel_m)]
        for per_voxel, inside, outside in ((sub_sampling // 2, next_to, None), (sub_sampling // 4, around, next_to)):
            bounds = inside.bound(first, last, voxel_m)
            if bounds is None:
                continue
            axes = [_fine_axis(a, b, max(1, per_voxel)) for a, b in zip(*bounds, strict=True)]
            fine = _fine_deviation(seen, inside, outside, axes, voxel_m, turns_s, sub_sampling, max(1, per_voxel))
            for echo in range(len(turns_s)):
                fine[echo] *= _interpolate(spectrum[echo], axes)
                acquired[echo] += _to_k_space(fine[echo], axes, shape, max(1, per_voxel))
    acquired += fft.fftn(background * (1 + deviation), axes=(1, 2, 3))
    for axis, one in enumerate(support, start=1):
        acquired *= _along(support_mask(shape[axis - 1], one), axis)
    return np.asarray(fft.ifftn(acquired, axes=(1, 2, 3)))


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


def _find_close(
    bodies: Sequence[Body], reaches: FloatArray, first: Index, last: Index, voxel_m: FloatArray
) -> list[int]:
    """Which bodies' reaches may touch a tile."""
    centre = (first + last - 1) / 2 * voxel_m
    radius = float(np.linalg.norm((last - first) * voxel_m)) / 2
    return [i for i, body in enumerate(bodies) if float(body.distance(centre[None])[0]) < radius + reaches[i]]


def _fine_deviation(
    bodies: Sequence[Body],
    inside: _Window,
    outside: _Window | None,
    axes: list[FloatArray],
    voxel_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    per_voxel: int,
) -> ComplexArray:
    """(E - 1), averaged over each fine cell of a block and weighted by one window less another (echo, x, y, z)."""
    grid = np.meshgrid(*(a * h for a, h in zip(axes, voxel_m, strict=True)), indexing="ij")
    points = np.stack(grid, axis=-1).reshape(-1, 3)
    weight = inside.weigh(points)
    if outside is not None:
        weight -= outside.weigh(points)
    chosen = np.flatnonzero(weight > 0)
    finest = max(1, sub_sampling // per_voxel)
    signal = average_over_boxes(bodies, points[chosen], voxel_m / per_voxel, turns_s, sub_sampling, finest=finest)
    result = np.zeros((len(turns_s), len(points)), dtype=np.complex128)
    result[:, chosen] = weight[chosen] * (signal - 1)
    return result.reshape(len(turns_s), *grid[0].shape)


def _fine_axis(first: int, last: int, per_voxel: int) -> FloatArray:
    """Positions, in voxels, of the centres of the fine cells that fill voxels ``first`` to ``last`` - 1."""
    return np.asarray(first - 0.5 + (np.arange((last - first) * per_voxel) + 0.5) / per_voxel, dtype=np.float64)


def _interpolate(spectrum: ComplexArray, axes: list[FloatArray]) -> ComplexArray:
    """The image whose FFT is ``spectrum``, between its voxels, as its own k-space says."""
    matrices = []
    for n, x in zip(spectrum.shape, axes, strict=True):
        matrices.append(np.exp(2j * np.pi * np.outer(x, fft.fftfreq(n))) / n)
    return _transform(spectrum, matrices)


def _to_k_space(
    block: ComplexArray, axes: list[FloatArray], shape: tuple[int, int, int], per_voxel: int
) -> ComplexArray:
    """k-space lines (numpy's FFT order) of an image that is ``block`` on its fine cells and zero elsewhere.

    A cell's average is what a point sees through a box of its size, whose k-space is a sinc: taken out again.
    """
    matrices = []
    for n, x in zip(shape, axes, strict=True):
        k = fft.fftfreq(n)
        matrices.append(np.exp(-2j * np.pi * np.outer(k, x)) / np.sinc(k / per_voxel)[:, None] / per_voxel)
    return _transform(block, matrices)


def _transform(array: ComplexArray, matrices: list[ComplexArray]) -> ComplexArray:
    for axis, matrix in enumerate(matrices):
        array = np.moveaxis(np.tensordot(matrix, array, axes=(1, axis)), 0, axis)
    return array


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
