"""Is it a vein? A straight magnetised cylinder fitted in the window of a point, and compared with it.

Background, neighbours, voxels and weights are those of the point's own fit.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.cylinders import (
    CELLS,
    COARSE,
    DARK,
    LEAST_SHARE,
    LIKELY_SHARE,
    MIDDLING,
    N_FREE,
    NONE,
    RADII,
    draw_cylinder,
    finish_cylinder,
    keep_cylinder,
    refine_cylinder,
    sketch_cylinder,
)
from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    cut_window,
    discount_neighbours,
    multiply_neighbour,
    multiply_neighbours,
)
from ferrosight.clusters.windows import MAX_STEPS, N_BACKGROUND, N_PARAMETERS, copy_into, descend, measure_chi2

#: Axes to start from.
_N_AXES = 18
#: A row of points is looked for towards so many neighbours.
_N_TOWARDS = 3
_REACH = 5.0
#: Fewer points than this are no row.
_LEAST_ROW = 3
#: Cosine of the angle within which two directions are one.
_SAME_AXIS = 0.95
#: Neighbours nearer than this to the line are in the row.
_IN_ROW = 1.5
#: What a vein stands for is told of the points so far along it: windows reach 3.6, and these share most of theirs.
_WELL_WITHIN = 2.7
#: A cylinder that, refined but coarsely drawn, has χ² above so many times the point's is no vein.
_HOPELESS = 1.5
#: Share of what a row of points explains that a cylinder, drawn as averages over voxels, may leave.
_MODEL_ERROR = 0.05
#: A point beside a cylinder is still there if it keeps this share of its strength, and takes off χ² this much.
_STILL_THERE = 0.5
_NEEDED = 25.0


#: A cylinder must be better by this much (χ² scaled to χ²/dof = 1) to reject a cluster.
VEIN_MARGIN = 9.0


def compare_cylinders(
    data: WindowData,
    sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    b0_in_array: NDArray[np.float64],
    lowered: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """χ² of the best cylinder less that of the point, in units of the point's χ²/dof, (n,).

    Two questions are asked of each source, and the lower answer counts: whether a cylinder fits better where
    its neighbours are explained; and, since the search explains a vein by a row of points, each of which then
    looks like a point, whether one cylinder fits better than a row of them, what lies beside the row explained.
    The second counts only if with that cylinder there the point is no longer needed; it is then told of the row.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them;
    ``b0_in_array`` (3,) is B0's unit vector along the array's axes; ``lowered`` (n,) is above 0 where
    a point's χ² is that of a fit under another point spread than the data's. Below 0 a vein fits better; NaN where
    the source was not fitted. The cylinder has three free parameters more than the point.
    """
    delta, along = np.full(len(sources), np.nan), np.full((len(sources), 3), np.nan)
    elsewhere = np.zeros(len(sources)) if lowered is None else lowered
    for pattern, table in enumerate(data.tables):
        rows = np.flatnonzero(sources.patterns == pattern)
        some, part, row_axes = sources.pick(rows), delta[rows], along[rows]
        _compare_many(
            (data.signal, data.weights),
            data.model_error,
            (neighbours.centres, neighbours.blocks, neighbours.positions),
            (
                np.asarray(own, np.int64)[rows],
                some.centres,
                some.shifts,
                some.q,
                some.chi2,
                elsewhere[rows],
                some.steps,
            ),
            data.ratios,
            (table.values, table.matrix, table.edges),
            (data.voxels, data.basis),
            np.asarray(b0_in_array, np.float64),
            _spread_axes(_N_AXES),
            part,
            row_axes,
        )
        delta[rows], along[rows] = part, row_axes
    return _judge_rows(sources.positions * data.edges, np.asarray(own) >= 0, delta, along)


def _judge_rows(
    points: NDArray[np.float64], explains: NDArray[np.bool_], delta: NDArray[np.float64], along: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``delta`` (n,), where a vein stands for a row of points taken by all its points that lie well in the window.

    The vein was compared with the whole row: a point in it that is more than the vein would have spoken against it.
    """
    lowest = delta.copy()
    for row in np.flatnonzero(delta < -VEIN_MARGIN):
        apart = points - points[row]
        ahead = apart @ along[row]
        in_row = explains & (np.abs(ahead) < _WELL_WITHIN) & ((apart**2).sum(axis=1) - ahead**2 < _IN_ROW**2)
        lowest[in_row] = np.fmin(lowest[in_row], delta[row])
    return lowest


def _spread_axes(n: int) -> NDArray[np.float64]:
    """Unit vectors (n, 3) spread evenly over a hemisphere (Fibonacci's spiral)."""
    z = (np.arange(n) + 0.5) / n
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


@njit(cache=True, fastmath=True)
def _row_axes(place, own, positions, edges):  # type: ignore[no-untyped-def]
    """Unit vectors (n, 3) towards the nearest neighbours, each direction once: a vein runs along its row of points."""
    near = np.empty((len(positions), 4))
    n = 0
    for b in range(len(positions)):
        apart = (positions[b] - place) * edges
        distance = np.sqrt((apart * apart).sum())
        if b != own and 0.1 < distance < _REACH:
            near[n, 0] = distance
            copy_into(near[n, 1:], apart / distance)
            n += 1
    axes = np.empty((_N_TOWARDS, 3))
    kept = 0
    for b in np.argsort(near[:n, 0]):
        new = kept < _N_TOWARDS
        for k in range(kept):
            new &= abs((axes[k] * near[b, 1:]).sum()) < _SAME_AXIS
        if new:
            copy_into(axes[kept], near[b, 1:])
            kept += 1
    return axes[:kept]


@njit(cache=True, fastmath=True)
def _count_row(place, own, positions, edges, axis, reach):  # type: ignore[no-untyped-def]
    """How many points there are in a row along ``axis`` with ``place``, itself included, within ``reach``."""
    count = 1
    for b in range(len(positions)):
        apart = (positions[b] - place) * edges
        along = (apart * axis).sum()
        in_row = (apart * apart).sum() - along * along < _IN_ROW * _IN_ROW
        count += b != own and in_row and abs(along) < reach
    return count


@njit(cache=True, fastmath=True)
def _multiply_beside(centre, place, voxels, own, neighbours, edges, axis, other):  # type: ignore[no-untyped-def]
    """Product (echo, voxel) of the factors of all neighbours but those in a row along ``axis`` with ``place``."""
    block_centres, blocks, positions = neighbours
    other[:] = 1.0
    for b in range(len(block_centres)):
        apart = (positions[b] - place) * edges
        along = (apart * axis).sum()
        in_row = (apart * apart).sum() - along * along < _IN_ROW * _IN_ROW
        if b != own and not in_row:
            multiply_neighbour(centre, voxels, block_centres[b], blocks[b], other)


@njit(cache=True, fastmath=True)
def _needs_point(window, ratios, table, b0, voxels, basis, cylinder, q, shift, dof):  # type: ignore[no-untyped-def]
    """Whether a point is still there, about as strong, once a cylinder is explained."""
    data, other, weight = window
    n = len(voxels)
    edges = table[2]
    factor = np.empty((len(ratios), n), np.complex64)
    slopes = np.empty((0, n), np.complex64)
    gram = np.empty((N_PARAMETERS, N_PARAMETERS))
    moved = shift.copy()
    for e in range(len(ratios)):
        draw_cylinder(
            cylinder[0] * ratios[e],
            cylinder[2:5],
            cylinder[5:8],
            cylinder[1],
            np.exp(-cylinder[8] * ratios[e]),
            b0,
            edges,
            voxels,
            CELLS,
            factor[e],
            slopes,
        )
        for v in range(n):
            factor[e, v] *= other[e, v]
    without = measure_chi2(data, factor, weight, ratios, table, voxels, basis, 0.0, moved)
    left, chi2, steps = descend(data, factor, weight, ratios, table, voxels, basis, q, moved, gram, MAX_STEPS)
    return steps >= 0 and abs(left) > _STILL_THERE * abs(q) and (without - chi2) * dof > _NEEDED * chi2


@njit(cache=True, fastmath=True)
def _ask_row(window, model_error, neighbours, source, table, shape, dof, best):  # type: ignore[no-untyped-def]
    """χ² of a cylinder less that of a point and the neighbours in a row with it, of the likeliest such row.

    ``NONE`` without a row, and where the point is needed beside the cylinder. The others, beside the row, are
    explained in both. Every radius is tried. Fills ``best`` (9,) as ``sketch_cylinder`` does.
    """
    data, alone = window
    own, centre, shift, q, better = source
    ratios, b0, edges, voxels, basis = shape
    here = centre + shift
    row = np.empty(data.shape, np.complex64)
    beside = np.empty(data.shape, np.complex64)
    weight = np.empty(alone.shape, np.float32)
    best_beside, best_weight = beside.copy(), weight.copy()
    found = np.empty(9)
    lowest, allowed, best_together = NONE, 0.0, 1.0
    starts, ways = np.empty((3, 3)), np.empty((3, 3))
    longest = np.argmax(edges)
    reach = np.sqrt((((voxels * edges) ** 2).sum(axis=1)).max())
    multiply_neighbours(centre, voxels, own, neighbours[0], neighbours[1], row)
    axes = _row_axes(here, own, neighbours[2], edges)
    for a in range(len(axes)):
        if _count_row(here, own, neighbours[2], edges, axes[a], _REACH) < _LEAST_ROW:
            continue
        _multiply_beside(centre, here, voxels, own, neighbours, edges, axes[a], beside)
        copy_into(weight, alone)
        discount_neighbours(data, beside, model_error, weight)
        together = measure_chi2(data, row, weight, ratios, table, voxels, basis, q, shift) - better
        nothing = measure_chi2(data, beside, weight, ratios, table, voxels, basis, 0.0, shift)
        if together <= 0.0:
            continue
        # A row has four parameters per point, a cylinder seven; each is worth ln(data) of χ² (Schwarz's criterion).
        n_more = max(N_PARAMETERS * _count_row(here, own, neighbours[2], edges, axes[a], reach) - N_FREE - 1, 0)
        good = together * (1 + n_more * np.log(dof) / dof) + _MODEL_ERROR * max(nothing - together, 0.0)
        for k in range(len(starts)):
            copy_into(starts[k], shift * edges)
            starts[k, longest] += 0.5 * (k - 1)
            copy_into(ways[k], axes[a])
        sketch = sketch_cylinder(
            (data, beside, weight),
            ratios,
            b0,
            edges,
            voxels,
            basis,
            q,
            starts,
            ways,
            DARK,
            MIDDLING,
            good,
            nothing,
            found,
        )
        if nothing - sketch > LIKELY_SHARE * (nothing - good) and sketch / good < lowest:
            lowest, allowed, best_together = sketch / good, good, together
            copy_into(best, found)
            copy_into(best_beside, beside)
            copy_into(best_weight, weight)
    if not lowest < NONE:
        return NONE
    explained = (data, best_beside, best_weight)
    begin = best.copy()
    cylinder = NONE
    for radius in RADII:
        axis, place = begin[2:5].copy(), begin[5:8].copy()
        s, decay, tried = refine_cylinder(
            explained, ratios, b0, edges, voxels, basis, begin[0], axis, place, radius, begin[8], CELLS
        )
        if tried < cylinder:
            cylinder = tried
            keep_cylinder(best, s, radius, axis, place, decay)
    gain = (cylinder - allowed) * dof / best_together
    if gain < 0.0 and _needs_point(explained, ratios, table, b0, voxels, basis, best, q, shift, dof):
        return NONE
    return gain


@njit(cache=True, fastmath=True, parallel=True)
def _compare_many(volumes, model_error, neighbours, rows, ratios, table, window, b0, axes, delta, along):  # type: ignore[no-untyped-def]
    """Fill ``delta`` (n,) for every source, and ``along`` (n, 3) with a vein's axis where that stands for a row."""
    signal, weights = volumes
    block_centres, blocks = neighbours[:2]
    own, centres, shifts, q, fitted, lowered, steps = rows
    voxels, basis = window
    edges = table[2]
    n = len(voxels)
    n_echoes = signal.shape[0]
    for f in prange(len(q)):
        if steps[f] < 0:
            continue
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        found = np.empty(9)
        starts = np.empty((len(axes), 3))
        for k in range(len(axes)):
            copy_into(starts[k], shifts[f] * edges)
        used = cut_window(signal, weights, centres[f], voxels, data, weight)
        dof = max(2.0 * n_echoes * (used - N_BACKGROUND) - N_PARAMETERS, 1.0)
        multiply_neighbours(centres[f], voxels, own[f], block_centres, blocks, other)
        alone = weight.copy()
        discount_neighbours(data, other, model_error, weight)
        point = measure_chi2(data, other, weight, ratios, table, voxels, basis, q[f], shifts[f])
        # What was fitted best under another point spread than that of the data is not as good as that here.
        better = 0.0
        if lowered[f] > 0.0 and fitted[f] < point:
            better = point - fitted[f]
            point = fitted[f]
        if point <= 0.0:
            continue
        nothing = measure_chi2(data, other, weight, ratios, table, voxels, basis, 0.0, shifts[f])
        shape = (ratios, b0, edges, voxels, basis)
        explained = (data, other, weight)
        cylinder = sketch_cylinder(
            explained, ratios, b0, edges, voxels, basis, q[f], starts, axes, DARK[:1], COARSE, point, nothing, found
        )
        if cylinder < _HOPELESS * point and nothing - cylinder >= LEAST_SHARE * (nothing - point):
            cylinder = min(
                cylinder, finish_cylinder(explained, ratios, b0, edges, voxels, basis, point, nothing, found)
            )
        delta[f] = (cylinder - point) * dof / point
        if delta[f] < -VEIN_MARGIN:
            continue
        gain = _ask_row(
            (data, alone),
            model_error,
            neighbours,
            (own[f], centres[f], shifts[f], q[f], better),
            table,
            shape,
            dof,
            found,
        )
        if gain < delta[f]:
            delta[f] = gain
            copy_into(along[f], found[2:5])
