"""What overlapping neighbours cost: a source's covariance with theirs free as well.

A fit holds its neighbours fixed, so that its own covariance is conditional on them. Here the Jacobian of the same
window gets the columns of up to four neighbours too. A neighbour is also held by what its own window sees
beyond this one; that information (no voxel counted twice) is added to its diagonal block, and the neighbours
are marginalised. What is left can only be larger than the conditional covariance.

It is the covariance of the model in use, in which the factors of neighbours multiply. Sources nearer than about
two voxels break that model a little: at 1.7 voxels their spread was found 3 to 4 % above it, besides a bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.clusters.columns import add_normal_equations, project_columns, smooth_background
from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    open_window,
)
from ferrosight.clusters.windows import (
    N_BACKGROUND,
    N_PARAMETERS,
    copy_into,
    factorise,
    linearise,
    project_background,
    solve_factor,
)
from ferrosight.physics.cluster_signal import HALF, PATTERNS
from ferrosight.physics.fine_cells import cell_average
from ferrosight.physics.table_reading import interpolate_signal

#: At most so many neighbours are freed, the nearest.
MAX_NEIGHBOURS = 4
#: Steps of numerical derivatives outside the table: of ln|q|, and of the position, voxels.
_STEP = 1e-3


def joint_covariance(
    data: WindowData,
    sources: Sources,
    neighbours_sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    held: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Covariance (n, 4, 4) of (q, shift) of every source with its neighbours free, and their number (n,).

    ``neighbours_sources`` are the sources that ``neighbours`` were drawn from, in the same order; ``own`` (n,)
    is each source's own row among them, -1 where it is not one. Neighbours are those whose windows share
    voxels with the source's, at most four. ``held`` (neighbour, 3, 3) is what is known beforehand of each neighbour's
    position: the inverse covariance of a prior, voxels⁻². NaN where the source was not fitted.
    """
    n = len(sources)
    if held is None:
        held = np.zeros((len(neighbours_sources), 3, 3))
    held = np.array(held, np.float64, order="C")
    covariance = np.full((n, N_PARAMETERS, N_PARAMETERS), np.nan)
    chosen = _choose_neighbours(data, sources, neighbours_sources, own)
    _cover_many(
        (data.signal, data.weights),
        data.model_error,
        (neighbours.centres, neighbours.blocks),
        (np.asarray(own, np.int64), sources.patterns, sources.centres, sources.shifts, sources.q, sources.steps),
        (neighbours_sources.patterns, neighbours_sources.shifts, neighbours_sources.q, held),
        data.ratios,
        _list_tables(data),
        (data.voxels, data.basis, _index_voxels(data.voxels)),
        chosen,
        covariance,
    )
    return covariance, np.asarray((chosen >= 0).sum(axis=1), dtype=np.int64)


def _list_tables(data: WindowData) -> tuple[tuple[NDArray[Any], ...], ...]:
    """Every pattern's table; always as many, the first once more for each that the data lack.

    The loops are compiled anew for any other number of them.
    """
    tables = data.tables + data.tables[:1] * (len(PATTERNS) - len(data.tables))
    return tuple((table.values, table.matrix, table.edges) for table in tables)


def _choose_neighbours(
    data: WindowData, sources: Sources, others: Sources, own: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows (n, MAX_NEIGHBOURS) of the nearest overlapping neighbours; -1 where there is none."""
    reach = 2 * float(np.linalg.norm(data.voxels * data.edges, axis=1).max())
    chosen = np.full((len(sources), MAX_NEIGHBOURS), -1, np.int64)
    for row, position in enumerate(sources.positions):
        distance = np.linalg.norm((others.positions - position) * data.edges, axis=1)
        distance[own[row] : own[row] + 1 if own[row] >= 0 else 0] = np.inf
        near = np.argsort(distance, kind="stable")[:MAX_NEIGHBOURS]
        near = near[distance[near] < reach]
        chosen[row, : len(near)] = near
    return chosen


def _index_voxels(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of each voxel in the window, on a cube; -1 where it is not in it."""
    index = np.full((2 * HALF + 1,) * 3, -1, np.int64)
    index[tuple((voxels + HALF).T)] = np.arange(len(voxels))
    return index


@njit(cache=True, fastmath=True)
def _find_voxel(index, i, j, k):  # type: ignore[no-untyped-def]
    """Index of a voxel relative to a window's middle, -1 where it is outside."""
    if max(abs(i), abs(j), abs(k)) > HALF:
        return -1
    return index[i + HALF, j + HALF, k + HALF]


@njit(cache=True, fastmath=True)
def _cell(q, table, i, j, k, shift):  # type: ignore[no-untyped-def]
    """Factor of a voxel far from a source, as ``fit.draw_neighbours`` has it."""
    _, matrix, edges = table
    x, y, z = (i - shift[0]) * edges[0], (j - shift[1]) * edges[1], (k - shift[2]) * edges[2]
    return cell_average(q, matrix, 0.0, x, y, z, edges[0], edges[1], edges[2])


@njit(cache=True, fastmath=True)
def _neighbour_slopes(q, ratio, shift, table, voxels, index, away, half, slopes):  # type: ignore[no-untyped-def]
    """Derivatives (4, n) of a neighbour's factor by its own (q, shift) at a window's voxels, ``away`` from it."""
    values, matrix, edges = table
    n = len(voxels)
    near = np.empty(n, np.complex64)
    by = np.empty((N_PARAMETERS, n), np.complex64)
    interpolate_signal(values, matrix, edges, voxels, q * ratio, shift, near, by)
    moved = np.empty(3)
    for v in range(n):
        i, j, k = voxels[v, 0] + away[0], voxels[v, 1] + away[1], voxels[v, 2] + away[2]
        at = _find_voxel(index, i, j, k)
        if at >= 0:
            for p in range(N_PARAMETERS):
                slopes[p, v] = by[p, at] * (ratio if p == 0 else 1.0)
        elif max(abs(i), abs(j), abs(k)) > half:
            for p in range(N_PARAMETERS):
                slopes[p, v] = 0.0
        else:
            here = _cell(q * ratio, table, i, j, k, shift)
            slopes[0, v] = (_cell(q * ratio * (1.0 + _STEP), table, i, j, k, shift) - here) / (_STEP * q)
            for a in range(3):
                copy_into(moved, shift)
                moved[a] += _STEP
                slopes[1 + a, v] = (_cell(q * ratio, table, i, j, k, moved) - here) / _STEP


@njit(cache=True, fastmath=True)
def _fill_columns(data, other, weight, ratio, echo, tables, window, blocks, near, source, others, columns, work):  # type: ignore[no-untyped-def]
    """One echo's projected columns: the source's own four, then four of every chosen neighbour.

    ``source`` is (pattern, q, shift); ``near`` the neighbours' rows and the window's middle seen from each;
    ``others`` all neighbours' patterns, shifts, strengths and priors. Returns
    whether the background could be fitted.
    """
    voxels, basis, index = window
    pattern, q, shift = source
    chosen, aways = near
    patterns, shifts, strengths, _ = others
    signal, factor, residual, coefficients, low = work
    n = len(voxels)
    half = blocks.shape[2] // 2
    values, matrix, edges = tables[pattern]
    interpolate_signal(values, matrix, edges, voxels, q * ratio, shift, signal, columns[:N_PARAMETERS])
    for v in range(n):
        factor[v] = other[v] * signal[v]
    if project_background(data, factor, weight, basis, residual, coefficients, low) < 0.0:
        return False
    for v in range(n):
        smooth = smooth_background(coefficients, basis, v)
        for p in range(N_PARAMETERS):
            columns[p, v] *= other[v] * smooth * (ratio if p == 0 else 1.0)
    for c in range(len(chosen)):
        b = chosen[c]
        part = columns[N_PARAMETERS * (c + 1) : N_PARAMETERS * (c + 2)]
        away = aways[c]
        _neighbour_slopes(strengths[b], ratio, shifts[b], tables[patterns[b]], voxels, index, away, half, part)
        for v in range(n):
            i, j, k = voxels[v, 0] + away[0], voxels[v, 1] + away[1], voxels[v, 2] + away[2]
            rest = 0.0j
            if max(abs(i), abs(j), abs(k)) <= half:
                mine = blocks[b, echo, i + half, j + half, k + half]
                if abs(mine) > 1e-9:
                    # What multiplies the neighbour's factor: everything else in this voxel.
                    rest = factor[v] * smooth_background(coefficients, basis, v) / mine
            for p in range(N_PARAMETERS):
                part[p, v] *= rest
    project_columns(columns, factor, weight, basis, low)
    return True


@njit(cache=True, fastmath=True)
def _outside_information(volumes, model_error, neighbours, ratios, table, window, own, q, shift, inner, gram):  # type: ignore[no-untyped-def]
    """What a neighbour's window tells of its (q, shift) less the window at ``inner``: fills ``gram``."""
    voxels, basis, index = window
    centre = neighbours[0][own]
    n_echoes, n = volumes[0].shape[0], len(voxels)
    data = np.empty((n_echoes, n), np.complex64)
    weight = np.empty((n_echoes, n), np.float32)
    other = np.empty((n_echoes, n), np.complex64)
    gradient = np.empty(N_PARAMETERS)
    open_window(volumes, model_error, neighbours, own, voxels, centre, (data, other, weight))
    away = centre - inner
    used = 0
    for v in range(n):
        if _find_voxel(index, voxels[v, 0] + away[0], voxels[v, 1] + away[1], voxels[v, 2] + away[2]) >= 0:
            weight[:, v] = 0.0
        used += int(weight[0, v] > 0.0)
    gram[:] = 0.0
    if used < 3 * N_BACKGROUND:
        return
    if linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient) < 0.0:
        gram[:] = 0.0
    # From ln|q| to q.
    for p in range(N_PARAMETERS):
        gram[0, p] /= q
        gram[p, 0] /= q


@njit(cache=True, fastmath=True)
def _marginalise(gram, covariance):  # type: ignore[no-untyped-def]
    """First block of the inverse of a positive matrix whose lower half is given."""
    n = len(gram)
    low = np.empty((n, n))
    size = np.empty(n)
    for p in range(n):
        size[p] = np.sqrt(max(gram[p, p], 1e-30))
    for p in range(n):
        for m in range(p + 1):
            low[p, m] = gram[p, m] / (size[p] * size[m])
        low[p, p] += 1e-9
    if not factorise(low):
        return
    column = np.empty(n)
    for p in range(N_PARAMETERS):
        column[:] = 0.0
        column[p] = 1.0
        solve_factor(low, column)
        for m in range(N_PARAMETERS):
            covariance[p, m] = column[m] / (size[p] * size[m])


@njit(cache=True, fastmath=True, nogil=True)
def _cover_many(volumes, model_error, neighbours, rows, others, ratios, tables, window, chosen, covariance):  # type: ignore[no-untyped-def]
    """Fill ``covariance`` (n, 4, 4) for every source."""
    block_centres, blocks = neighbours
    own, patterns, centres, shifts, q, steps = rows
    other_patterns, other_shifts, other_q, held = others
    voxels = window[0]
    n, n_echoes = len(voxels), volumes[0].shape[0]
    data = np.empty((n_echoes, n), np.complex64)
    weight = np.empty((n_echoes, n), np.float32)
    other = np.empty((n_echoes, n), np.complex64)
    outside = np.empty((N_PARAMETERS, N_PARAMETERS))
    work = (
        np.empty(n, np.complex64),
        np.empty(n, np.complex64),
        np.empty(n, np.complex64),
        np.empty(N_BACKGROUND, np.complex128),
        np.empty((N_BACKGROUND, N_BACKGROUND)),
    )
    for f in range(len(q)):
        if steps[f] < 0:
            continue
        open_window(volumes, model_error, neighbours, own[f], voxels, centres[f], (data, other, weight))
        near = chosen[f][chosen[f] >= 0]
        aways = np.empty((len(near), 3), np.int64)
        for c in range(len(near)):
            for a in range(3):
                aways[c, a] = centres[f, a] - block_centres[near[c], a]
        n_columns = N_PARAMETERS * (1 + len(near))
        columns = np.empty((n_columns, n), np.complex64)
        gram = np.zeros((n_columns, n_columns))
        gradient = np.zeros(n_columns)
        source = (patterns[f], q[f], shifts[f])
        good = True
        for e in range(n_echoes):
            good = good and _fill_columns(
                data[e],
                other[e],
                weight[e],
                ratios[e],
                e,
                tables,
                window,
                blocks,
                (near, aways),
                source,
                others,
                columns,
                work,
            )
            if good:
                add_normal_equations(columns, work[2], weight[e], gram, gradient)
        if not good:
            continue
        for c in range(len(near)):
            b = near[c]
            table = tables[other_patterns[b]]
            _outside_information(
                volumes,
                model_error,
                neighbours,
                ratios,
                table,
                window,
                b,
                other_q[b],
                other_shifts[b],
                centres[f],
                outside,
            )
            at = N_PARAMETERS * (c + 1)
            for p in range(N_PARAMETERS):
                for m in range(N_PARAMETERS):
                    gram[at + p, at + m] += outside[p, m] + (held[b, p - 1, m - 1] if p > 0 and m > 0 else 0.0)
        _marginalise(gram, covariance[f])
