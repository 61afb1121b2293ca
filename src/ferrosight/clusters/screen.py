"""Screening: at every voxel, how much better a far-field pattern explains the phase than background does.

The complex signal is demodulated by its own smooth background; what remains of the phase, weighted by its
precision, is fitted at every voxel with pattern + quadratic background in a window. The statistic is the
pattern's amplitude over its error, with the error scaled by the *local* residual: that studentisation is
what keeps structure from looking like clusters. The pattern is tried at every half voxel, because a weak
source between voxels looks little like one at a voxel's middle: searched at the middles only, one at a
corner keeps a fifth of its statistic.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.clusters.prepare import PreparedScan
from ferrosight.clusters.windows import N_BACKGROUND, background_basis, dot, factorise, solve_factor
from ferrosight.physics.cluster_signal import SignalTable, interpolate_value, q_levels

#: Where in its voxel the whole pattern is tried (sources at the other faces belong to the next voxel).
OFFSETS = np.array([[x, y, z] for x in (0.0, 0.5) for y in (0.0, 0.5) for z in (0.0, 0.5)])
#: Strong sources' phase wraps near the centre: for them the pattern is tried once more without what lies
#: within this radius, in cube-root-of-voxel-volume units.
_CORE = 2.1
#: Width (one standard deviation) of the smooth background, in the same units.
_BACKGROUND_EDGES = 4.0
#: The strength whose phase is the pattern of a weak source, and the levels of a table that it takes.
WEAK_LEVELS = slice(5, 9)
_WEAK_Q = float(q_levels()[6])
_N_SHAPES = len(OFFSETS) + 1
_N_PAIRS = N_BACKGROUND * (N_BACKGROUND + 1) // 2
#: Windows summed at once.
_BATCH = 256


def flatten_phase(
    signal: NDArray[np.complex64], weights: NDArray[np.float32], ratios: NDArray[np.float64], sigma_voxels: list[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Phase at the first echo (x, y, z) with its smooth background taken off, and its weight (1/variance).

    ``signal`` complex64 (echo, x, y, z) in units of its noise. The background is the signal itself smoothed
    as a complex number, so that nothing is unwrapped.
    """
    weight = np.zeros(signal.shape[1:])
    weighted = np.zeros(signal.shape[1:])
    for echo, ratio, inside in zip(signal, ratios, weights, strict=True):
        known = np.where(inside > 0, echo, 0)
        smooth = ndimage.gaussian_filter(known.real, sigma_voxels) + 1j * ndimage.gaussian_filter(
            known.imag, sigma_voxels
        )
        phase = np.angle(known * np.conj(smooth))
        precision = np.abs(known) ** 2 * ratio**2
        weight += precision
        weighted += precision * phase / ratio
    phase = np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0)
    return phase.astype(np.float32), weight.astype(np.float32)


def weak_phases(table: SignalTable, offset: NDArray[np.float64]) -> NDArray[np.float32]:
    """Phase (voxel,) over q of a weak source ``offset`` (3,) voxels from a window's middle."""
    signal = np.empty(len(table.voxels), np.complex64)
    interpolate_value(table.values, table.matrix, table.edges, table.voxels, _WEAK_Q, offset, signal)
    return np.asarray(np.angle(signal) / _WEAK_Q, dtype=np.float32)


class Screener:
    """Screens one scan, again and again as its strong sources are explained away."""

    def __init__(self, data: PreparedScan, tables: tuple[SignalTable, ...]):
        """``tables``, one per pattern, need no levels but ``WEAK_LEVELS``."""
        self._ratios = data.ratios
        self._weights = data.weights
        self._mask = data.search_mask
        self._sigma_voxels = [float(_BACKGROUND_EDGES / edge) for edge in data.edges]
        self._voxels = data.voxels
        self._basis = background_basis(data.voxels)
        middle = np.zeros(3)
        far = np.linalg.norm(data.voxels * data.edges, axis=1) >= _CORE
        # (pattern · template, voxel): the whole pattern at every offset, then the hollow one.
        shapes = np.concatenate(
            [
                [*(weak_phases(table, offset) for offset in OFFSETS), weak_phases(table, middle) * far]
                for table in tables
            ]
        )
        shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
        self._n_patterns = len(tables)
        self._shapes = np.ascontiguousarray(shapes.T, dtype=np.float32)
        rows, columns = np.tril_indices(N_BACKGROUND)
        # What is summed over a window with its weights: background by background, shape by shape, and across.
        self._products = np.ascontiguousarray(
            np.concatenate(
                [
                    self._basis[rows] * self._basis[columns],
                    shapes**2,
                    (self._basis[:, None] * shapes[None]).reshape(-1, shapes.shape[1]),
                ]
            ).T,
            dtype=np.float32,
        )

    def screen(self, signal: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Studentised statistic (pattern, x, y, z) of every pattern at every voxel of the search mask.

        The one of largest size over the places in the voxel, with its sign. ``signal`` is the scan's, with the
        phase of explained sources taken off.
        """
        phase, weight = flatten_phase(signal, self._weights, self._ratios, self._sigma_voxels)
        weight /= np.float32(np.median(weight[weight > 0]))
        out = np.zeros((self._n_patterns, *signal.shape[1:]), np.float32)
        windows = (self._voxels, self._basis, self._shapes, self._products)
        _screen_voxels(phase, weight, np.argwhere(self._mask), windows, out)
        return out


@njit(cache=True, fastmath=True, parallel=True)
def _screen_voxels(phase, weight, places, windows, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (pattern, x, y, z) at every place whose window holds enough."""
    voxels, basis, shapes, products = windows
    n = len(voxels)
    n_shapes = shapes.shape[1]
    for batch in prange((len(places) + _BATCH - 1) // _BATCH):
        first = batch * _BATCH
        size = min(_BATCH, len(places) - first)
        phases = np.empty((size, n), np.float32)
        weights = np.empty((size, n), np.float32)
        used = np.empty(size, np.int64)
        for b in range(size):
            used[b] = _cut_phase(phase, weight, places[first + b], voxels, phases[b], weights[b])
        # All sums over windows at once, as matrix products: that is where the time goes.
        sums = np.dot(weights, products)
        coefficients = np.dot(weights * phases, basis.T)
        factors = np.empty((size, N_BACKGROUND, N_BACKGROUND))
        for b in range(size):
            if used[b] >= 3 * N_BACKGROUND and not _solve_background(sums[b], coefficients[b], factors[b]):
                used[b] = 0
        phases -= np.dot(coefficients, basis)
        weights *= phases
        tops = np.dot(weights, shapes)
        across = np.empty((N_BACKGROUND, n_shapes), np.float32)
        for b in range(size):
            if used[b] >= 3 * N_BACKGROUND:
                left = dot(weights[b], phases[b])
                x, y, z = places[first + b]
                _fit_shapes(sums[b], tops[b], factors[b], left, used[b], across, out[:, x, y, z])


@njit(cache=True, fastmath=True)
def _cut_phase(phase, weight, place, voxels, phases, weights):  # type: ignore[no-untyped-def]
    """Copy a window of phase and weight; returns how many voxels have a weight."""
    nx, ny, nz = phase.shape
    used = 0
    for v in range(len(voxels)):
        x, y, z = place[0] + voxels[v, 0], place[1] + voxels[v, 1], place[2] + voxels[v, 2]
        inside = 0 <= x < nx and 0 <= y < ny and 0 <= z < nz
        phases[v] = phase[x, y, z] if inside else 0.0
        weights[v] = weight[x, y, z] if inside else 0.0
        used += weights[v] > 0.0
    return used


@njit(cache=True, fastmath=True)
def _solve_background(sums, coefficients, low):  # type: ignore[no-untyped-def]
    """The weighted quadratic background of a window, in place; ``low`` is filled with the Gram factor."""
    at = 0
    for r in range(N_BACKGROUND):
        for c in range(r + 1):
            low[r, c] = sums[at]
            at += 1
    for r in range(N_BACKGROUND):
        low[r, r] += 1e-6 * low[0, 0] + 1e-30
    if not factorise(low):
        return False
    solve_factor(low, coefficients)
    return True


@njit(cache=True, fastmath=True)
def _fit_shapes(sums, tops, low, left, used, across, best):  # type: ignore[no-untyped-def]
    """The statistic of largest size over each pattern's shapes, into ``best`` (pattern,)."""
    n_shapes = len(tops)
    norms = sums[_N_PAIRS : _N_PAIRS + n_shapes].copy()
    for r in range(N_BACKGROUND):
        first = _N_PAIRS + (r + 1) * n_shapes
        row = across[r]
        row[:] = sums[first : first + n_shapes]
        for m in range(r):
            by = np.float32(low[r, m])
            for t in range(n_shapes):
                row[t] -= by * across[m, t]
        by = np.float32(1.0 / low[r, r])
        for t in range(n_shapes):
            row[t] *= by
            norms[t] -= row[t] * row[t]
    dof = used - N_BACKGROUND - 1
    for p in range(len(best)):
        for t in range(p * _N_SHAPES, (p + 1) * _N_SHAPES):
            # A shape that the background explains tells nothing.
            if norms[t] > 1e-6 * sums[_N_PAIRS + t]:
                explained = tops[t] * tops[t] / norms[t]
                z = tops[t] / np.sqrt(norms[t] * max((left - explained) / dof, 1e-30))
                if abs(z) > abs(best[p]):
                    best[p] = z
