"""Is it a bubble? Gas is a dipole of iron's polarity too, but its moment is bound to its volume, which is dark.

A bubble of radius a in a magnet of B0 has the moment (4π/3)a³·Δχ·B0/μ0, so that in units of the voxel

    q = γ·Δχ·B0·TE·a³ / 3V,

and it differs from a point of the same moment only in having no signal within a. The bubble's factor is
therefore the point's, from the signal table, less what the table's point spread brings in from that ball. Iron
dephases the signal within a ball of its own, a(γΔχB0·TE/3)^⅓ (3.7 a at 11.7 T and 5 ms), so that often nothing is
left to tell the two apart; whether it is, is decided for every source in this scan's own noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.columns import smooth_background
from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    open_window,
)
from ferrosight.clusters.windows import (
    MAX_SHIFT,
    N_BACKGROUND,
    N_PARAMETERS,
    copy_into,
    factorise,
    measure_chi2,
    project_background,
    solve_factor,
)
from ferrosight.physics.cluster_signal import Supports
from ferrosight.physics.constants import CHI_AIR, CHI_WATER, GAMMA_RAD_PER_S_T
from ferrosight.physics.fine_cells import cell_average
from ferrosight.physics.table_reading import Q_MAX, interpolate_signal
from ferrosight.types import AxisSupport

#: Bubble and cluster can be told apart where the expected Δχ² is this many of its own standard deviations
#: from 0, whichever of them is true: at most 2.3 % are then taken for the other.
_SURE = 2.0
#: Fine cells across a bubble's diameter, and per voxel edge where it is larger than a voxel.
_CELLS_ACROSS = 14
_CELLS_PER_EDGE = 6
_MAX_CELLS = 40
#: Strengths to start from, as a share of the point's.
_SHARES = np.array([0.4, 0.7, 1.0, 1.5, 2.5])
_MAX_STEPS = 8
_FULL: Supports = (AxisSupport(), AxisSupport(), AxisSupport())
_STEPS = np.array([0.02, 0.02, 0.02, 0.02])


def compare_bubbles(
    data: WindowData,
    sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    *,
    b0_t: float,
    voxel_mm: Sequence[float],
    echo_time_s: float,
    supports: Supports = _FULL,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """χ² of a gas bubble less that of the point cluster, in units of the point's χ²/dof, and whether it can tell.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them;
    ``echo_time_s`` is the first echo's; ``supports`` are those of the signal table. The bubble's strength (and
    with it its radius) and position are free, as the point's are, and both polarities are given the volume
    that gas of that moment would have. ``testable`` (n,) is false where this scan cannot tell the two apart;
    the difference (n,), NaN where the source was not fitted, then means nothing.
    """
    table = data.tables[0]
    volume = float(np.prod(voxel_mm)) * 1e-9
    phase_rad = GAMMA_RAD_PER_S_T * (CHI_AIR - CHI_WATER) * b0_t * echo_time_s / 3
    if not phase_rad > 0 or not volume > 0:
        raise ValueError("a bubble needs a positive field, echo time and voxel")
    delta = np.full(len(sources), np.nan)
    testable = np.zeros(len(sources), np.bool_)
    _compare_many(
        (data.signal, data.weights),
        data.model_error,
        (neighbours.centres, neighbours.blocks),
        (np.asarray(own, np.int64), sources.centres, sources.shifts, sources.q, sources.steps),
        data.ratios,
        (table.values, table.matrix, table.edges),
        (data.voxels, data.basis),
        (phase_rad, table.kind == "box", np.array([[s.low, s.high] for s in supports])),
        # Δχ² has mean ±d² and standard deviation 2d, with d the distance of the two predictions.
        (2 * _SURE) ** 2,
        delta,
        testable,
    )
    return delta, testable


@njit(cache=True, fastmath=True)
def _spread(is_box, support, offset, size):  # type: ignore[no-untyped-def]
    """Weight in a voxel of a cell of an edge ``size`` at an offset along one axis, all in voxels."""
    if is_box:
        return complex(min(max(0.5 + 0.5 * size - abs(offset), 0.0), size), 0.0)
    width = support[1] - support[0]
    x = np.pi * width * offset
    share = size * width * (1.0 if abs(x) < 1e-6 else np.sin(x) / x)
    turn = np.pi * (support[0] + support[1]) * offset
    return complex(share * np.cos(turn), share * np.sin(turn))


@njit(cache=True, fastmath=True)
def draw_ball(q, radius, matrix, edges, voxels, shift, gas, signal):  # type: ignore[no-untyped-def]
    """What the inside of a ball around a point source brings into every voxel: fills ``signal`` (n,).

    ``radius`` in cube-root-of-voxel-volume units; ``gas`` holds the point spread.
    """
    _, is_box, support = gas
    half = 0
    for v in range(len(voxels)):
        for axis in range(3):
            half = max(half, abs(voxels[v, axis]))
    width = 2 * half + 1
    counts = np.empty(3, np.int64)
    steps = np.empty(3)
    for axis in range(3):
        wanted = max(_CELLS_ACROSS, int(np.ceil(2.0 * radius / edges[axis] * _CELLS_PER_EDGE)))
        counts[axis] = min(wanted, _MAX_CELLS)
        steps[axis] = 2.0 * radius / counts[axis]
    weights = np.zeros((3, width, _MAX_CELLS), np.complex128)
    for axis in range(3):
        for i in range(width):
            for c in range(counts[axis]):
                at = ((c + 0.5) * steps[axis] - radius) / edges[axis] + shift[axis]
                weights[axis, i, c] = _spread(is_box, support[axis], i - half - at, steps[axis] / edges[axis])
    soft = (steps[0] * steps[1] * steps[2]) ** (1.0 / 3.0)
    along_z = np.empty(_MAX_CELLS, np.complex128)
    by_y = np.empty((width, width), np.complex128)
    total = np.zeros((width, width, width), np.complex128)
    for a in range(counts[0]):
        x = (a + 0.5) * steps[0] - radius
        by_y[:] = 0.0
        for b in range(counts[1]):
            y = (b + 0.5) * steps[1] - radius
            if x * x + y * y > (radius + soft) ** 2:
                continue
            for c in range(counts[2]):
                z = (c + 0.5) * steps[2] - radius
                inside = min(max(0.5 + (radius - np.sqrt(x * x + y * y + z * z)) / soft, 0.0), 1.0)
                along_z[c] = 0.0
                if inside > 0.0:
                    along_z[c] = inside * cell_average(q, matrix, 0.0, x, y, z, steps[0], steps[1], steps[2])
            for k in range(width):
                value = 0.0j
                for c in range(counts[2]):
                    value += weights[2, k, c] * along_z[c]
                if value != 0.0:
                    for j in range(width):
                        by_y[j, k] += weights[1, j, b] * value
        for i in range(width):
            w = weights[0, i, a]
            if w != 0.0:
                for j in range(width):
                    for k in range(width):
                        total[i, j, k] += w * by_y[j, k]
    for v in range(len(voxels)):
        signal[v] = total[voxels[v, 0] + half, voxels[v, 1] + half, voxels[v, 2] + half]


@njit(cache=True, fastmath=True)
def _draw_bubble(q, ratio, shift, table, voxels, gas, signal, slopes, ball):  # type: ignore[no-untyped-def]
    """Factor of a bubble: the point's less the ball's, whose radius its strength at the first echo gives."""
    values, matrix, edges = table
    interpolate_signal(values, matrix, edges, voxels, q * ratio, shift, signal, slopes)
    radius = (abs(q) / gas[0]) ** (1.0 / 3.0)
    draw_ball(q * ratio, radius, matrix, edges, voxels, shift, gas, ball)
    for v in range(len(voxels)):
        signal[v] -= ball[v]


@njit(cache=True, fastmath=True)
def _chi2(fitted, ratios, table, voxels, basis, gas, q, shift, residuals):  # type: ignore[no-untyped-def]
    """χ² of a bubble; fills ``residuals`` (echo, n)."""
    data, other, weight = fitted
    n = len(voxels)
    signal = np.empty(n, np.complex64)
    ball = np.empty(n, np.complex64)
    slopes = np.empty((N_PARAMETERS, n), np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    total = 0.0
    for e in range(len(ratios)):
        _draw_bubble(q, ratios[e], shift, table, voxels, gas, signal, slopes, ball)
        for v in range(n):
            signal[v] *= other[e, v]
        chi2 = project_background(data[e], signal, weight[e], basis, residuals[e], coefficients, low)
        if chi2 < 0.0:
            return np.inf
        total += chi2
    return total


@njit(cache=True, fastmath=True)
def _fit_bubble(fitted, ratios, table, voxels, basis, gas, start, start_shift):  # type: ignore[no-untyped-def]
    """Lowest χ² of a bubble around a start, by Levenberg-Marquardt with numerical slopes of the residuals."""
    weight = fitted[2]
    n_echoes, n = weight.shape
    residuals = np.empty((n_echoes, n), np.complex64)
    moved = np.empty((n_echoes, n), np.complex64)
    slopes = np.empty((N_PARAMETERS, n_echoes, n), np.complex64)
    gram = np.empty((N_PARAMETERS, N_PARAMETERS))
    damped = np.empty((N_PARAMETERS, N_PARAMETERS))
    gradient = np.empty(N_PARAMETERS)
    step = np.empty(N_PARAMETERS)
    shift = start_shift.copy()
    trial = shift.copy()
    q, chi2 = start, np.inf
    for share in _SHARES:
        found = _chi2(fitted, ratios, table, voxels, basis, gas, start * share, shift, residuals)
        if found < chi2:
            q, chi2 = start * share, found
    damping = 1e-2
    chi2 = _chi2(fitted, ratios, table, voxels, basis, gas, q, shift, residuals)
    fresh = True
    for _ in range(_MAX_STEPS):
        if not np.isfinite(chi2):
            break
        if fresh:
            for p in range(N_PARAMETERS):
                copy_into(trial, shift)
                new_q = q * np.exp(_STEPS[0]) if p == 0 else q
                if p > 0:
                    trial[p - 1] += _STEPS[p]
                _chi2(fitted, ratios, table, voxels, basis, gas, new_q, trial, moved)
                for e in range(n_echoes):
                    for v in range(n):
                        slopes[p, e, v] = (residuals[e, v] - moved[e, v]) / _STEPS[p]
            for p in range(N_PARAMETERS):
                gradient[p] = 0.0
                gram[p, :] = 0.0
                for e in range(n_echoes):
                    for v in range(n):
                        s = slopes[p, e, v]
                        gradient[p] += weight[e, v] * (s.real * residuals[e, v].real + s.imag * residuals[e, v].imag)
                        for m in range(p + 1):
                            o = slopes[m, e, v]
                            gram[p, m] += weight[e, v] * (s.real * o.real + s.imag * o.imag)
        copy_into(damped, gram)
        for p in range(N_PARAMETERS):
            damped[p, p] += damping * gram[p, p] + 1e-9
            step[p] = gradient[p]
        if not factorise(damped):
            break
        solve_factor(damped, step)
        new_q = np.sign(q) * min(abs(q) * np.exp(min(max(step[0], -0.7), 0.7)), Q_MAX)
        for axis in range(3):
            move = min(max(step[axis + 1], -0.3), 0.3)
            trial[axis] = min(max(shift[axis] + move, -MAX_SHIFT), MAX_SHIFT)
        found = _chi2(fitted, ratios, table, voxels, basis, gas, new_q, trial, moved)
        fresh = found < chi2
        if fresh:
            gain = chi2 - found
            q, chi2 = new_q, found
            copy_into(shift, trial)
            copy_into(residuals, moved)
            damping = max(damping * 0.2, 1e-6)
            if gain < 1e-2 + 1e-5 * chi2:
                break
        else:
            damping *= 6.0
            if damping > 1e3:
                break
    return chi2


@njit(cache=True, fastmath=True)
def _predict_point(fitted, ratios, table, voxels, basis, q, shift, predicted):  # type: ignore[no-untyped-def]
    """The point's own prediction (echo, n), background included."""
    data, other, weight = fitted
    values, matrix, edges = table
    n = len(voxels)
    signal = np.empty(n, np.complex64)
    residual = np.empty(n, np.complex64)
    slopes = np.empty((N_PARAMETERS, n), np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    for e in range(len(ratios)):
        interpolate_signal(values, matrix, edges, voxels, q * ratios[e], shift, signal, slopes)
        for v in range(n):
            signal[v] *= other[e, v]
        project_background(data[e], signal, weight[e], basis, residual, coefficients, low)
        for v in range(n):
            predicted[e, v] = signal[v] * smooth_background(coefficients, basis, v)


@njit(cache=True, fastmath=True, parallel=True)
def _compare_many(volumes, model_error, neighbours, rows, ratios, table, window, gas, limit, delta, testable):  # type: ignore[no-untyped-def]
    """Fill ``delta`` (n,) and ``testable`` (n,); ``limit`` is the squared distance of two tellable predictions."""
    own, centres, shifts, q, steps = rows
    voxels, basis = window
    n = len(voxels)
    n_echoes = volumes[0].shape[0]
    for f in prange(len(q)):
        if steps[f] < 0:
            continue
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        predicted = np.empty((n_echoes, n), np.complex64)
        residuals = np.empty((n_echoes, n), np.complex64)
        used = open_window(volumes, model_error, neighbours, own[f], voxels, centres[f], (data, other, weight))
        point = measure_chi2(data, other, weight, ratios, table, voxels, basis, q[f], shifts[f])
        if point <= 0.0:
            continue
        dof = max(2.0 * n_echoes * (used - N_BACKGROUND) - N_PARAMETERS, 1.0)
        truth = (data, other, weight)
        _predict_point(truth, ratios, table, voxels, basis, q[f], shifts[f], predicted)
        bubble = _chi2(truth, ratios, table, voxels, basis, gas, q[f], shifts[f], residuals)
        apart = _chi2((predicted, other, weight), ratios, table, voxels, basis, gas, q[f], shifts[f], residuals)
        if apart * dof > limit * min(bubble, point):
            # A bubble free to move and grow comes nearer still: only now is it worth the search.
            bubble = _fit_bubble(truth, ratios, table, voxels, basis, gas, q[f], shifts[f])
            apart = _fit_bubble((predicted, other, weight), ratios, table, voxels, basis, gas, q[f], shifts[f])
        delta[f] = (bubble - point) * dof / point
        # What is not noise is what even the better of the two leaves.
        testable[f] = apart * dof > limit * min(bubble, point)
