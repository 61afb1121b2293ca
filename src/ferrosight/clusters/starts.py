"""Where fits start: a grid of sub-voxel places and strengths, and the descent from the best of them.

The likelihood of a weak source has several optima within a voxel: noise makes them, and the signal itself, which
changes when the source's core crosses a voxel's face. The start that explains most leads to a worse one in a tenth of
all sources, whose strength is then too small: so a few starts are followed for a few steps, and the best to its end.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.clusters.windows import (
    MAX_STEPS,
    N_BACKGROUND,
    copy_into,
    descend,
    dot,
    project_background,
    solve_factor,
)
from ferrosight.physics.cluster_signal import SignalTable
from ferrosight.physics.table_reading import interpolate_value

#: Strengths that a search starts from: the first, at the last echo, stands for every weaker source and those up to so
#: many times stronger, whose signal is linear in q; the others at the first echo.
_Q_STARTS = np.array([0.06, 0.25, 1.0, 4.0, 20.0])
_LINEAR = 8.0
#: Which of the others are tried at every position (the first only where the linear source would be too strong), and
#: at how many of the best positions the rest.
_Q_FIRST = (1, 3)
_N_POSITIONS = 4
#: Starting positions: every combination of the voxel's middle and its two faces along each axis.
START_SHIFTS = np.array([[x, y, z] for x in (0.0, -0.5, 0.5) for y in (0.0, -0.5, 0.5) for z in (0.0, -0.5, 0.5)])
#: At most so many starts are followed, those that explain at least this share of what the best one does, for so many
#: steps. Of dipoles of d' 8 and 12 then 3 and 2 % miss the best optimum of all 27 starts (from one start 11 and 5 %).
N_FOLLOWED = 5
_WORTH_FOLLOWING = 0.6
_FIRST_STEPS = 3


def tabulate_starts(table: SignalTable, ratios: NDArray[np.float64]) -> NDArray[np.complex64]:
    """F at every start (sign, echo, start, voxel), negative sources first; starts run over nodes, then strengths.

    The likelihood has one basin per half voxel: a source between two voxels is lost from a start at either,
    so the grid holds the middle, faces, edges and corners of the voxel. A strength that the table lacks is no source.
    """
    n = len(table.voxels)
    strengths = [weak_start(float(ratios[-1])), *_Q_STARTS[1:]]
    signal = np.empty(n, np.complex64)
    out = np.empty((2, len(ratios), len(START_SHIFTS) * len(strengths), n), np.complex64)
    for side, sign in enumerate((-1.0, 1.0)):
        for echo, ratio in enumerate(ratios):
            for start, (shift, q) in enumerate((shift, q) for shift in START_SHIFTS for q in strengths):
                interpolate_value(
                    table.values, table.matrix, table.edges, table.voxels, sign * q * ratio, shift, signal
                )
                out[side, echo, start] = signal
    return np.nan_to_num(out, copy=False, nan=1.0)


@njit(cache=True, fastmath=True)
def weak_start(last_ratio):  # type: ignore[no-untyped-def]
    """The weakest start's q at the first echo; ``last_ratio`` is the last echo's time over the first's."""
    return _Q_STARTS[0] / last_ratio


@njit(cache=True, fastmath=True)
def find_starts(data, other, weight, basis, starts, last_ratio, best):  # type: ignore[no-untyped-def]
    """Fill ``best`` (start, 4) with |q| and position of the starts worth following, best first.

    ``starts`` (echo, start, voxel) is one sign's part of ``tabulate_starts``. At every position a weak source's own
    best strength is known at once, its signal being linear; beside it a strong source is tried, then the best
    positions at the other strengths. Of one position only the best strength is a start. Returns how many there are,
    and χ² of the first (1e30 where the window holds too little to fit a background).
    """
    n = data.shape[1]
    work = (
        np.empty(n, np.complex64),
        np.empty(n, np.complex64),
        np.empty(N_BACKGROUND, np.complex128),
        np.empty((N_BACKGROUND, N_BACKGROUND)),
    )
    n_strengths = len(_Q_STARTS)
    weak = weak_start(last_ratio)
    sizes = np.zeros((len(START_SHIFTS), 2))
    nothing = _measure_weak(data, other, weight, basis, starts, work, sizes)
    if nothing < 0.0:
        best[0, 0] = weak
        best[0, 1:] = 0.0
        return 1, 1e30
    lowest = np.full(len(START_SHIFTS), 1e30)
    strengths = np.empty(len(START_SHIFTS))
    for position in range(len(START_SHIFTS)):
        along, norm = sizes[position]
        by = max(along / norm, 0.1) if norm > 0.0 else 0.1
        if by <= _LINEAR:
            lowest[position], strengths[position] = nothing - by * (2.0 * along - by * norm), by * weak
        for level in _Q_FIRST:
            if level == _Q_FIRST[0] and by <= _LINEAR:
                continue
            chi2 = _measure_start(data, other, weight, basis, starts, position * n_strengths + level, work)
            if chi2 < lowest[position]:
                lowest[position], strengths[position] = chi2, _Q_STARTS[level]
    for position in np.argsort(lowest)[:_N_POSITIONS]:
        for level in range(1, n_strengths):
            if level != _Q_FIRST[1]:
                chi2 = _measure_start(data, other, weight, basis, starts, position * n_strengths + level, work)
                if chi2 < lowest[position]:
                    lowest[position], strengths[position] = chi2, _Q_STARTS[level]
    order = np.argsort(lowest)
    limit = nothing - _WORTH_FOLLOWING * (nothing - lowest[order[0]])
    count = 0
    for position in order[: len(best)]:
        if count == 0 or lowest[position] < limit:
            best[count, 0] = strengths[position]
            copy_into(best[count, 1:], START_SHIFTS[position])
            count += 1
    return count, lowest[order[0]]


@njit(cache=True, fastmath=True)
def descend_from_best(data, other, weight, ratios, table, voxels, basis, sign, starts, shift, gram):  # type: ignore[no-untyped-def]
    """A few rough steps from each of the ``starts`` (start, 4), then all the way from where χ² is lowest.

    Sets ``shift``; returns q, χ² and steps, as ``descend`` does.
    """
    strength, lowest = sign * starts[0, 0], np.inf
    copy_into(shift, starts[0, 1:])
    here = np.empty(3)
    if len(starts) > 1:
        for start in starts:
            copy_into(here, start[1:])
            q, chi2, steps = descend(
                data, other, weight, ratios, table, voxels, basis, sign * start[0], here, gram, _FIRST_STEPS, True
            )
            if steps >= 0 and chi2 < lowest:
                strength, lowest = q, chi2
                copy_into(shift, here)
    return descend(data, other, weight, ratios, table, voxels, basis, strength, shift, gram, MAX_STEPS)


@njit(cache=True, fastmath=True)
def _measure_weak(data, other, weight, basis, starts, work, sizes):  # type: ignore[no-untyped-def]
    """χ² of the background alone, negative where it cannot be fitted; of the change that the weakest start makes at
    every position, less its part within the background, fills ``sizes`` (position, 2): its product with what the
    background leaves, and with itself."""
    factor, residual, coefficients, low = work
    n = data.shape[1]
    real = np.empty(n, np.float32)
    imag = np.empty(n, np.float32)
    extra = np.empty(N_BACKGROUND, np.complex128)
    solved = np.empty(N_BACKGROUND, np.complex128)
    total = 0.0
    for e in range(data.shape[0]):
        chi2 = project_background(data[e], other[e], weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return chi2
        total += chi2
        for v in range(n):
            factor[v] = data[e, v] - residual[v]
        for position in range(len(sizes)):
            signal = starts[e, position * len(_Q_STARTS)]
            along, norm = 0.0, 0.0
            for v in range(n):
                c, s, f, r, w = factor[v], signal[v], other[e, v], residual[v], weight[e, v]
                a = (s.real - np.float32(1.0)) * c.real - s.imag * c.imag
                b = (s.real - np.float32(1.0)) * c.imag + s.imag * c.real
                along += w * (a * r.real + b * r.imag)
                norm += w * (a * a + b * b)
                real[v] = w * (f.real * a + f.imag * b)
                imag[v] = w * (f.real * b - f.imag * a)
            for k in range(N_BACKGROUND):
                extra[k] = complex(dot(basis[k], real), dot(basis[k], imag))
            copy_into(solved, extra)
            solve_factor(low, solved)
            for k in range(N_BACKGROUND):
                norm -= extra[k].real * solved[k].real + extra[k].imag * solved[k].imag
            sizes[position, 0] += along
            sizes[position, 1] += max(norm, 0.0)
    return total


@njit(cache=True, fastmath=True)
def _measure_start(data, other, weight, basis, starts, start, work):  # type: ignore[no-untyped-def]
    """χ² of one start; 1e30 where the window holds too little to fit a background."""
    factor, residual, coefficients, low = work
    total = 0.0
    for e in range(data.shape[0]):
        for v in range(data.shape[1]):
            factor[v] = other[e, v] * starts[e, start, v]
        chi2 = project_background(data[e], factor, weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return 1e30
        total += chi2
    return total
