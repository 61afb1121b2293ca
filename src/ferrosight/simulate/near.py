"""What bodies do to the signal around them, sampled finely, and filtered down to half voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.simulate._kernels import add_deviations
from ferrosight.simulate.averaging import THREADS, Cells, cut_boxes, find_reach, sum_far_fields, voxel_points
from ferrosight.simulate.bodies import Body, FloatArray

Index = NDArray[np.int_]
Voxels = tuple[int, int, int]

#: Edge of the tiles, in voxels, that are finely sampled one at a time.
TILE_VOXELS = 8

#: Bodies at least so many voxels from a tile have fields that cubic interpolation between its voxels follows.
_DIRECT_VOXELS = 4.0

#: Voxels beyond a place whose values interpolation there needs.
_MARGIN = 2

#: Fades, in voxels beyond the reach (or half of it) of a body, from 1 to 0, of the coarser cells and of the finer ones;
#: interpolation between voxels softens them further.
_FADE_AROUND, _FADE_NEXT_TO = (0.5, 2.0), (0.0, 1.0)

#: Weight below which a fine cell is left out.
_LEAST_WEIGHT = 2e-3

#: The low-pass that takes fine cells to half voxels: its half length in voxels, and its Kaiser window's shape (60 dB).
_FILTER_VOXELS = 4.0
_KAISER = 5.65

#: Blocks that are filtered before they are added up.
_BATCH = 64


@dataclass(frozen=True)
class _Block:
    """Fine cells, ``per_voxel`` per edge, of a box of ``shape`` voxels from ``first``: those at ``places`` in it."""

    first: Voxels
    shape: Voxels
    per_voxel: int
    places: NDArray[np.int32]
    weights: NDArray[np.float32]
    cells: Cells


@dataclass(frozen=True)
class NearBodies:
    """What makes E - 1 next to bodies, at any time: E is the bodies' signal.

    ``field_hz`` (x, y, z) is that of all bodies at voxels, ``weight`` (x, y, z) the share of E - 1 that is here.
    """

    field_hz: FloatArray
    weight: NDArray[np.float32]
    blocks: tuple[_Block, ...]

    def deviate(self, turn_s: float, start: int, stop: int) -> NDArray[np.float32]:
        """E - 1, weighted, on half voxels (2, x, 2y, 2z), real and imaginary; periodic.

        The first half voxel is the first voxel; along x only those from ``start`` up to but without ``stop``.
        """
        nx, ny, nz = (2 * n for n in self.weight.shape)
        total = np.zeros((2, stop - start, ny, nz), dtype=np.float32)
        seen = []
        for block in self.blocks:
            along_x = [(a, b) for a, b in _wrap(*_reach_half_voxels(block, 0), nx) if a.start < stop and a.stop > start]
            if along_x:
                seen.append((block, [_clip_pair(*pair, start, stop) for pair in along_x]))
        with ThreadPoolExecutor(THREADS) as pool:
            for begin in range(0, len(seen), _BATCH):
                batch = seen[begin : begin + _BATCH]
                filtered = pool.map(lambda one: _filter_block(one[0], turn_s), batch)
                # added in their order, lest rounding depends on which thread is first
                for (block, along_x), part in zip(batch, filtered, strict=True):
                    along_y, along_z = (_wrap(*_reach_half_voxels(block, a), n) for a, n in ((1, ny), (2, nz)))
                    for pieces in product(along_x, along_y, along_z):
                        target, source = (tuple(slices) for slices in zip(*pieces, strict=True))
                        total[:, *target] += part[:, *source]
        return total


def sample_near(
    bodies: Sequence[Body], shape: Voxels, voxel_m: FloatArray, turns_s: FloatArray, sub_sampling: int
) -> NearBodies:
    """Sample bodies finely where one point per voxel is too little, for times up to the longest of ``turns_s``.

    A weight that fades smoothly to zero away from bodies says where: next to them cells of a quarter voxel, around
    that cells of half a voxel (of twice as many per edge where ``sub_sampling`` is 16 and not 8, and so on).
    Weights are cubic splines between voxels, and so are the same at voxels and at fine cells. The field of far
    bodies is interpolated between voxels too.
    """
    field_hz = sum_far_fields(bodies, shape, voxel_m, turns_s, margin=_MARGIN)
    reaches = np.array([find_reach(body, voxel_m, turns_s) for body in bodies])
    around = _fade_around(bodies, reaches, shape, voxel_m, _FADE_AROUND)
    next_to = _fade_around(bodies, reaches / 2, shape, voxel_m, _FADE_NEXT_TO)
    layers = (
        _Layer(max(2, sub_sampling // 2), next_to, _widen(next_to)),
        _Layer(max(2, sub_sampling // 4), around - next_to, _widen(around)),
    )
    tiles = [tile for tile in split_into_tiles(shape) if layers[1].is_seen[cut_window(*tile)].any()]
    gaps_m = measure_gaps(bodies, tiles, voxel_m)
    direct_m = np.maximum(reaches, _DIRECT_VOXELS * float(voxel_m.max()))
    longest_s = float(np.abs(turns_s).max())

    def sample_tile(index: int) -> list[_Block]:
        first, last = tiles[index]
        close = [bodies[i] for i in np.flatnonzero(gaps_m[index] < direct_m).tolist()]
        others = field_hz[cut_window(first, last + 2 * _MARGIN)].copy()
        for body in close:
            points = voxel_points(first - _MARGIN, last + _MARGIN, voxel_m)
            others -= body.far_field(points).reshape(others.shape)
        blocks = (
            _sample_block(layer, close, others, first, last, voxel_m, longest_s, sub_sampling) for layer in layers
        )
        return [block for block in blocks if block is not None]

    with ThreadPoolExecutor(THREADS) as pool:
        blocks = [block for some in pool.map(sample_tile, range(len(tiles))) for block in some]
    inner = tuple(slice(_MARGIN, -_MARGIN) for _ in shape)
    weight = around
    for axis in range(3):
        weight = ndimage.convolve1d(weight, np.array([1, 4, 1]) / 6, axis=axis)
    return NearBodies(field_hz[inner].copy(), weight[inner].copy(), tuple(blocks))


def split_into_tiles(shape: Voxels) -> list[tuple[Index, Index]]:
    """First voxel and one past the last of each tile of the image."""
    starts = np.meshgrid(*(np.arange(0, n, TILE_VOXELS) for n in shape), indexing="ij")
    return [(first, np.minimum(first + TILE_VOXELS, shape)) for first in np.stack(starts, axis=-1).reshape(-1, 3)]


def measure_gaps(bodies: Sequence[Body], tiles: list[tuple[Index, Index]], voxel_m: FloatArray) -> FloatArray:
    """Distance (tile, body), m, that a body has from a tile at least."""
    centres = np.array([(first + last - 1) / 2 * voxel_m for first, last in tiles]).reshape(-1, 3)
    radii = np.array([np.linalg.norm((last - first) * voxel_m) / 2 for first, last in tiles])
    distances = np.array([body.distance(centres) for body in bodies]).reshape(len(bodies), len(tiles))
    return np.asarray(distances.T - radii[:, None])


@dataclass(frozen=True)
class _Layer:
    """Fine cells of one size: their weight's spline coefficients at voxels, and the voxels that have any.

    ``coefficients`` have a margin around the image, ``is_seen`` has none.
    """

    per_voxel: int
    coefficients: NDArray[np.float32]
    is_seen: NDArray[np.bool_]


def _fade_around(
    bodies: Sequence[Body], reaches_m: FloatArray, shape: Voxels, voxel_m: FloatArray, fade: tuple[float, float]
) -> NDArray[np.float32]:
    """At voxels, with a margin: 1 within reach of any body and a little beyond, fading to 0."""
    begin_m, end_m = (one * float(voxel_m.max()) for one in fade)
    outside = np.ones([n + 2 * _MARGIN for n in shape], dtype=np.float32)
    for body, reach in zip(bodies, reaches_m, strict=True):
        low, high = body.bounds()
        first = np.maximum(np.floor((low - reach - end_m) / voxel_m).astype(np.int_), -_MARGIN)
        last = np.minimum(np.ceil((high + reach + end_m) / voxel_m).astype(np.int_) + 1, np.array(shape) + _MARGIN)
        if (last <= first).any():
            continue
        distance = body.distance(voxel_points(first, last, voxel_m)).reshape(tuple(last - first))
        t = np.clip((distance - reach - begin_m) / (end_m - begin_m), 0, 1)
        outside[cut_window(first + _MARGIN, last + _MARGIN)] *= 0.5 - 0.5 * np.cos(np.pi * t)
    return 1 - outside


def _widen(coefficients: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The voxels of the image that a coefficient reaches."""
    wide = ndimage.maximum_filter(coefficients > 0, size=2 * _MARGIN + 1)
    return np.asarray(wide[tuple(slice(_MARGIN, -_MARGIN) for _ in range(3))])


def _sample_block(
    layer: _Layer,
    close: Sequence[Body],
    others_hz: FloatArray,
    first: Index,
    last: Index,
    voxel_m: FloatArray,
    longest_s: float,
    sub_sampling: int,
) -> _Block | None:
    """The fine cells of a layer in a tile; ``others_hz`` is the field of what is not ``close``, with a margin."""
    seen = np.argwhere(layer.is_seen[cut_window(first, last)])
    if not len(seen):
        return None
    begin, end = seen.min(axis=0), seen.max(axis=0) + 1
    shape = tuple((end - begin).tolist())
    n = layer.per_voxel
    coefficients = layer.coefficients[cut_window(first + begin, first + end + 2 * _MARGIN)]
    weights = _interpolate(coefficients, shape, n, _spline_weights).ravel()
    places = np.flatnonzero(weights > _LEAST_WEIGHT)
    if not len(places):
        return None
    axes = [(a + (np.arange(size * n) + 0.5) / n - 0.5) for a, size in zip(first + begin, shape, strict=True)]
    ijk = np.unravel_index(places, [size * n for size in shape])
    points = np.stack([axis[i] * h for axis, i, h in zip(axes, ijk, voxel_m, strict=True)], axis=-1)
    far_hz = _interpolate(others_hz[cut_window(begin, end + 2 * _MARGIN)], shape, n, _lagrange_weights).ravel()[places]
    parts = cut_boxes(close, points, voxel_m / n, longest_s, sub_sampling, max(1, sub_sampling // n), far_hz)
    order, cells = _join(list(parts))
    return _Block(
        tuple((first + begin).tolist()),
        shape,
        n,
        places[order].astype(np.int32),
        weights[places[order]].astype(np.float32),
        cells,
    )


def _join(parts: list[tuple[Index, Cells]]) -> tuple[Index, Cells]:
    """The boxes of all parts, in the order in which they come, and their cells, in little memory."""
    counts = np.concatenate([np.diff(cells.starts) for _, cells in parts])
    values = np.concatenate([cells.values for _, cells in parts]).astype(np.float32)
    if not values[:, 4].any() and np.allclose(values[:, 5] * np.repeat(counts, counts), 1):
        values = values[:, :4].copy()
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return np.concatenate([boxes for boxes, _ in parts]), Cells(values, starts)


def _interpolate(
    values: NDArray[np.floating], shape: Voxels, per_voxel: int, weigh: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """Values at voxels (with a margin) at the fine cells of a box of ``shape`` voxels."""
    matrices = [_interpolation_matrix(n, per_voxel, weigh) for n in shape]
    return np.asarray(
        np.einsum("xyz,ix,jy,kz->ijk", values, *matrices, optimize=["einsum_path", (0, 3), (0, 2), (0, 1)])
    )


@lru_cache(maxsize=256)
def _interpolation_matrix(n: int, per_voxel: int, weigh: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Weights (fine cell, voxel) of ``n`` voxels and the margin around them."""
    x = _MARGIN + (np.arange(n * per_voxel) + 0.5) / per_voxel - 0.5
    return weigh(x[:, None] - np.arange(n + 2 * _MARGIN))


def _spline_weights(offsets: FloatArray) -> FloatArray:
    """The cubic B-spline."""
    x = np.abs(offsets)
    return np.asarray(np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6))


def _lagrange_weights(offsets: FloatArray) -> FloatArray:
    """The cubic through the two voxels on either side."""
    x = np.abs(offsets)
    inner, outer = (1 - x**2) * (2 - x) / 2, (1 - x) * (2 - x) * (3 - x) / 6
    return np.asarray(np.where(x < 1, inner, np.where(x < 2, outer, 0.0)))


def _reach_half_voxels(block: _Block, axis: int) -> tuple[int, int]:
    """The first half voxel along an axis that a block's filter reaches, and how many."""
    first, matrix = _filter_matrix(block.shape[axis], block.per_voxel)
    return 2 * block.first[axis] + first, len(matrix)


def _filter_block(block: _Block, turn_s: float) -> NDArray[np.float32]:
    """E - 1 of a block's cells, weighted and low-passed, on half voxels (2, x, y, z): real and imaginary."""
    nx, ny, nz = (n * block.per_voxel for n in block.shape)
    fine = np.zeros((2, nx * ny * nz), dtype=np.float32)
    add_deviations(block.cells.values, block.cells.starts, block.weights, block.places, turn_s, fine)
    x, y, z = (_filter_matrix(n, block.per_voxel)[1] for n in block.shape)
    # stacks of small products: large ones BLAS would share out among threads of its own, which take the cores
    along_z = np.matmul(fine.reshape(2, nx, ny, nz), z.T)
    along_y = np.matmul(y, along_z)
    return np.asarray(np.matmul(x, along_y.swapaxes(1, 2)).swapaxes(1, 2))


@lru_cache(maxsize=256)
def _filter_matrix(n: int, per_voxel: int) -> tuple[int, NDArray[np.float32]]:
    """The low-pass of the fine cells of ``n`` voxels: the first half voxel it reaches, weights (half voxel, cell)."""
    x = (np.arange(n * per_voxel) + 0.5) / per_voxel - 0.5
    steps = np.arange(np.ceil(2 * (x[0] - _FILTER_VOXELS)), np.floor(2 * (x[-1] + _FILTER_VOXELS)) + 1)
    return int(steps[0]), _filter_taps(steps[:, None] / 2 - x, per_voxel).astype(np.float32)


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


def _wrap(first: int, n: int, size: int) -> list[tuple[slice, slice]]:
    """Where ``n`` places from ``first`` on lie in a period of ``size``: pieces of the period, and of the places."""
    pieces, done = [], 0
    while done < n:
        at = (first + done) % size
        count = min(n - done, size - at)
        pieces.append((slice(at, at + count), slice(done, done + count)))
        done += count
    return pieces


def _clip_pair(to: slice, of: slice, start: int, stop: int) -> tuple[slice, slice]:
    """Of a piece of the period and of places, what lies from ``start`` to ``stop``, counted from ``start``."""
    low, high = max(to.start, start), min(to.stop, stop)
    return slice(low - start, high - start), slice(of.start + low - to.start, of.start + high - to.start)


def cut_window(first: Index, last: Index) -> tuple[slice, ...]:
    """The voxels from ``first`` up to but without ``last``."""
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
