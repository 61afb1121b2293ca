"""Inner and outer half of a window, each asked for the strength on its own: they must agree."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    open_window,
)
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS, linearise, measure_chi2
from ferrosight.physics.table_reading import Q_MAX

#: A half needs this many voxels per term of the background.
_VOXELS_PER_TERM = 3
_MAX_STEPS = 20
#: Smallest |q| at which a window is linearised: the equations are in ln|q|.
_Q_FLOOR = 1e-3


def split_windows(
    data: WindowData, sources: Sources, neighbours: Neighbours, own: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Strength of every source from the inner and from the outer half of its window alone.

    The halves hold equally many voxels, by distance (mm) from the source; the background is free in each,
    the position stays where the whole window put it. ``own`` (n,) is each source's own row among the
    neighbours, -1 where it is not one of them.

    Returns
    -------
    q_inner, q_inner_err, q_outer, q_outer_err : float64 (n,)
        p/V at the first echo, either sign, and one standard deviation: curvature, the position's own error,
        and √(χ²/dof) of that half where it exceeds 1. NaN where a half holds too little.
    """
    found = np.full((len(sources), 2, 2), np.nan)
    table = data.tables[0]
    _split_many(
        (data.signal, data.weights),
        data.model_error,
        (neighbours.centres, neighbours.blocks),
        (np.asarray(own, np.int64), sources.centres, sources.shifts, sources.q, sources.covariance, sources.steps),
        data.ratios,
        (table.values, table.matrix, table.edges),
        (data.voxels, data.basis),
        found,
    )
    return found[:, 0, 0], found[:, 0, 1], found[:, 1, 0], found[:, 1, 1]


@njit(cache=True, fastmath=True)
def _fit_strength(data, other, weight, ratios, table, voxels, basis, start, shift, gram):  # type: ignore[no-untyped-def]
    """Gauss-Newton in q, which may change sign; fills ``gram`` of (ln|q|, shift). Returns q and χ² (< 0: failed)."""
    gradient = np.empty(N_PARAMETERS)
    q = start
    chi2 = linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient)
    for _ in range(_MAX_STEPS):
        if chi2 < 0.0 or gram[0, 0] <= 0.0:
            return q, -1.0
        # From ln|q| to q: the derivative by q is that by ln|q| over q.
        step = gradient[0] / gram[0, 0] * q
        better = False
        for _ in range(6):
            new_q = min(max(q + step, -Q_MAX), Q_MAX)
            if abs(new_q) < _Q_FLOOR:
                new_q = _Q_FLOOR if new_q >= 0.0 else -_Q_FLOOR
            new_chi2 = measure_chi2(data, other, weight, ratios, table, voxels, basis, new_q, shift)
            if 0.0 <= new_chi2 < chi2:
                better = True
                break
            step *= 0.3
        if not better:
            break
        gain = chi2 - new_chi2
        q = new_q
        chi2 = linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient)
        if gain < 1e-4:
            break
    return q, chi2


@njit(cache=True, fastmath=True)
def _variance(q, gram, covariance):  # type: ignore[no-untyped-def]
    """Variance of q at a fixed position, plus what the position's covariance adds to it."""
    variance = q * q / gram[0, 0]
    for a in range(3):
        for b in range(3):
            variance += (gram[0, 1 + a] * gram[0, 1 + b]) * (q / gram[0, 0]) ** 2 * covariance[1 + a, 1 + b]
    return variance


@njit(cache=True, fastmath=True, parallel=True)
def _split_many(volumes, model_error, neighbours, rows, ratios, table, window, found):  # type: ignore[no-untyped-def]
    """Fill ``found`` (n, half, value and error) for every source."""
    own, centres, shifts, q, covariance, steps = rows
    voxels, basis = window
    edges = table[2]
    n = len(voxels)
    n_echoes = volumes[0].shape[0]
    for f in prange(len(q)):
        if steps[f] < 0:
            continue
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        part = np.empty((n_echoes, n), np.float32)
        distance = np.empty(n)
        gram = np.empty((N_PARAMETERS, N_PARAMETERS))
        used = open_window(volumes, model_error, neighbours, own[f], voxels, centres[f], (data, other, weight))
        for v in range(n):
            distance[v] = 0.0
            for a in range(3):
                distance[v] += ((voxels[v, a] - shifts[f, a]) * edges[a]) ** 2
            if weight[0, v] == 0.0:
                distance[v] = np.inf
        order = np.argsort(distance)
        for half in range(2):
            first = 0 if half == 0 else used // 2
            last = used // 2 if half == 0 else used
            if last - first < _VOXELS_PER_TERM * N_BACKGROUND:
                continue
            part[:] = 0.0
            for v in order[first:last]:
                for e in range(n_echoes):
                    part[e, v] = weight[e, v]
            value, chi2 = _fit_strength(data, other, part, ratios, table, voxels, basis, q[f], shifts[f], gram)
            if chi2 < 0.0:
                continue
            dof = 2.0 * n_echoes * (last - first - N_BACKGROUND) - 1.0
            inflation = max(chi2 / dof, 1.0)
            found[f, half, 0] = value
            found[f, half, 1] = np.sqrt(inflation * _variance(value, gram, covariance[f]))
