"""Screening: at every voxel, how much better a weak source explains phase and magnitude than background does.

The complex signal is divided by its own smooth background; what remains of phase and magnitude, weighted by
its precision, is fitted at every voxel with lobes and void + quadratic backgrounds in a window. The statistic is
the source's amplitude over its error, with the error scaled by the *local* residual of each: that studentisation
is what keeps structure from looking like clusters. The void tells as much as the lobes where magnitude is
smooth, and next to nothing where it is not. The pattern is tried at every half voxel, because a weak
source between voxels looks little like one at a voxel's middle: searched at the middles only, one at a
corner keeps a fifth of its statistic.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.clusters.prepare import PreparedScan
from ferrosight.clusters.windows import N_BACKGROUND, background_basis, copy_into, dot, factorise, solve_factor
from ferrosight.physics.cluster_signal import SignalTable, q_levels
from ferrosight.physics.table_reading import interpolate_value

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


def flatten_signal(
    signal: NDArray[np.complex64], weights: NDArray[np.float32], ratios: NDArray[np.float64], sigma_voxels: list[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Phase at the first echo, darkness and weight (1/variance), (x, y, z) each, the smooth background taken off.

    ``signal`` complex64 (echo, x, y, z) in units of its noise. The background is the signal itself smoothed
    as a complex number, so that nothing is unwrapped. Darkness is the share of the magnitude that is missing;
    its echoes are weighed like those of the phase.
    """
    weight = np.zeros(signal.shape[1:])
    weighted = np.zeros(signal.shape[1:])
    missing = np.zeros(signal.shape[1:])
    for echo, ratio, inside in zip(signal, ratios, weights, strict=True):
        known = np.where(inside > 0, echo, 0)
        smooth = ndimage.gaussian_filter(known.real, sigma_voxels) + 1j * ndimage.gaussian_filter(
            known.imag, sigma_voxels
        )
        phase = np.angle(known * np.conj(smooth))
        precision = np.abs(known) ** 2 * ratio**2
        weight += precision
        weighted += precision * phase / ratio
        # Not the size of the complex mean, which falls where the phase is steep; and over what is known only,
        # lest everything beside a face seem bright.
        size, share = (ndimage.gaussian_filter(a.astype(float), sigma_voxels) for a in (np.abs(known), inside > 0))
        missing += precision * (1 - np.abs(known) * share / np.maximum(size, 1e-9))
    phase, dark = (np.divide(a, weight, out=np.zeros_like(a), where=weight > 0) for a in (weighted, missing))
    return phase.astype(np.float32), dark.astype(np.float32), weight.astype(np.float32)


def draw_weak_source(table: SignalTable, offset: NDArray[np.float64]) -> NDArray[np.float32]:
    """Phase and darkness (2, voxel) of a weak source ``offset`` (3,) voxels from a window's middle."""
    signal = np.empty(len(table.voxels), np.complex64)
    interpolate_value(table.values, table.matrix, table.edges, table.voxels, _WEAK_Q, offset, signal)
    return np.array([np.angle(signal), 1 - np.abs(signal)], dtype=np.float32)


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
        far = np.linalg.norm(data.voxels * data.edges, axis=1) >= _CORE
        # (pattern · shape, phase or darkness, voxel): the whole source at every offset, then its far phase alone.
        shapes = np.concatenate(
            [
                [
                    *(draw_weak_source(table, offset) for offset in OFFSETS),
                    draw_weak_source(table, np.zeros(3)) * [far, np.zeros_like(far)],
                ]
                for table in tables
            ]
        )
        self._n_patterns = len(tables)
        self._shapes = np.ascontiguousarray(shapes.transpose(1, 2, 0), dtype=np.float32)
        rows, columns = np.tril_indices(N_BACKGROUND)
        # What is summed over a window with its weights: background by background; then, for phase and for
        # darkness, shape by shape and across.
        products = [self._basis[rows] * self._basis[columns]]
        for part in shapes.transpose(1, 0, 2):
            products += [part**2, (self._basis[:, None] * part[None]).reshape(-1, part.shape[1])]
        sums = np.ascontiguousarray(np.concatenate(products).T, dtype=np.float32)
        self._backgrounds = np.ascontiguousarray(sums[:, :_N_PAIRS])
        # Weights follow the magnitude, which stays as it is when sources' phase is taken off: once is enough.
        self._weight = self._scaled(self.flatten(data.signal)[2])
        self._places = np.ascontiguousarray(np.argwhere(self._mask))
        shares = np.zeros((len(self._places), 2, shapes.shape[0]), np.uint16)
        tops = np.zeros((len(self._places), 2), np.float32)
        # In a whole window of equal weights, as a unit.
        background = np.linalg.qr(self._basis.T.astype(float))[0]
        left = shapes - (shapes @ background) @ background.T
        units = np.ascontiguousarray((left**2).sum(axis=2).T, dtype=np.float32)
        _norm_windows(self._weight, self._places, (self._voxels, sums), units, shares, tops)
        self._norms = (shares, tops, units)

    def flatten(
        self, signal: NDArray[np.complex64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """``flatten_signal`` of the scan, what is explained taken off its ``signal``."""
        return flatten_signal(signal, self._weights, self._ratios, self._sigma_voxels)

    @staticmethod
    def _scaled(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(weight / np.float32(np.median(weight[weight > 0])))

    def screen(self, signal: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Studentised statistic (pattern, x, y, z) of every pattern at every voxel of the search mask.

        The largest over the places in the voxel and both signs, with the sign that has it; 0 where neither is
        above. ``signal`` is the scan's, with the phase of explained sources taken off; its magnitude is the scan's.
        """
        phase, dark, _ = self.flatten(signal)
        out = np.zeros((self._n_patterns, *signal.shape[1:]), np.float32)
        windows = (self._voxels, self._basis, self._shapes, self._backgrounds)
        _screen_voxels(np.stack([phase, dark]), self._weight, self._places, windows, self._norms, out)
        return out


@njit(cache=True, fastmath=True, parallel=True)
def _norm_windows(weight, places, windows, units, shares, tops):  # type: ignore[no-untyped-def]
    """Norms of what the background leaves of each shape at every place, in two bytes each.

    In ``units`` (phase or darkness, shape) their roots are ``shares`` (place, phase or darkness, shape), in 65,535
    steps, of the largest root, ``tops`` (place, phase or darkness), which stays 0 where a window holds too little.
    """
    voxels, products = windows
    n_shapes = shares.shape[2]
    for batch in prange((len(places) + _BATCH - 1) // _BATCH):
        first = batch * _BATCH
        size = min(_BATCH, len(places) - first)
        weights = np.empty((size, len(voxels)), np.float32)
        used = np.empty(size, np.int64)
        for b in range(size):
            used[b] = _cut_weights(weight, places[first + b], voxels, weights[b])
        # All sums over windows at once, as a matrix product: that is where the time goes.
        sums = np.dot(weights, products)
        factor = np.empty((N_BACKGROUND, N_BACKGROUND))
        norms = np.empty(n_shapes, np.float32)
        across = np.empty((N_BACKGROUND, n_shapes), np.float32)
        for b in range(size):
            if used[b] < 3 * N_BACKGROUND or not _factorise_background(sums[b], factor):
                continue
            for part in range(2):
                begin = _N_PAIRS + part * (1 + N_BACKGROUND) * n_shapes
                _norm_shapes(sums[b, begin:], factor, across, norms)
                top = np.float32(1e-30)
                for t in range(n_shapes):
                    norms[t] = np.sqrt(max(norms[t], np.float32(0.0)) / units[part, t]) if units[part, t] > 0.0 else 0.0
                    top = max(top, norms[t])
                tops[first + b, part] = top
                for t in range(n_shapes):
                    shares[first + b, part, t] = np.uint16(norms[t] / top * np.float32(65535.0) + np.float32(0.5))


@njit(cache=True, fastmath=True, parallel=True)
def _screen_voxels(images, weight, places, windows, norms, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (pattern, x, y, z) at every place whose window holds enough. ``images``: phase and darkness."""
    voxels, basis, shapes, backgrounds = windows
    shares, norm_tops, units = norms
    n = len(voxels)
    n_shapes = shapes.shape[2]
    for batch in prange((len(places) + _BATCH - 1) // _BATCH):
        first = batch * _BATCH
        size = min(_BATCH, len(places) - first)
        values = np.empty((2, size, n), np.float32)
        weights = np.empty((size, n), np.float32)
        used = np.empty(size, np.int64)
        for b in range(size):
            used[b] = _cut_weights(weight, places[first + b], voxels, weights[b])
            for part in range(2):
                _cut_values(images[part], places[first + b], voxels, values[part, b])
        sums = np.dot(weights, backgrounds)
        factors = np.empty((size, N_BACKGROUND, N_BACKGROUND))
        for b in range(size):
            if used[b] >= 3 * N_BACKGROUND and not _factorise_background(sums[b], factors[b]):
                used[b] = 0
        tops = np.empty((2, size, n_shapes), np.float32)
        left = np.zeros((2, size))
        for part in range(2):
            weighted = weights * values[part]
            coefficients = np.dot(weighted, basis.T)
            for b in range(size):
                if used[b] >= 3 * N_BACKGROUND:
                    solve_factor(factors[b], coefficients[b])
            residual = values[part] - np.dot(coefficients, basis)
            weighted = weights * residual
            tops[part] = np.dot(weighted, shapes[part])
            for b in range(size):
                left[part, b] = dot(weighted[b], residual[b])
        kept = np.empty((2, n_shapes), np.float32)
        for b in range(size):
            if used[b] >= 3 * N_BACKGROUND:
                for part in range(2):
                    step = norm_tops[first + b, part] / np.float32(65535.0)
                    for t in range(n_shapes):
                        root = step * np.float32(shares[first + b, part, t])
                        kept[part, t] = root * root * units[part, t]
                x, y, z = places[first + b]
                _fit_shapes(tops[:, b], kept, left[:, b], used[b] - N_BACKGROUND - 1, out[:, x, y, z])


@njit(cache=True, fastmath=True)
def _cut_values(image, place, voxels, values):  # type: ignore[no-untyped-def]
    """Copy a window of an image, 0 outside it."""
    nx, ny, nz = image.shape
    for v in range(len(voxels)):
        x, y, z = place[0] + voxels[v, 0], place[1] + voxels[v, 1], place[2] + voxels[v, 2]
        inside = 0 <= x < nx and 0 <= y < ny and 0 <= z < nz
        values[v] = image[x, y, z] if inside else np.float32(0.0)


@njit(cache=True, fastmath=True)
def _cut_weights(weight, place, voxels, weights):  # type: ignore[no-untyped-def]
    """Copy a window of the weight; returns how many voxels have one."""
    _cut_values(weight, place, voxels, weights)
    used = 0
    for v in range(len(voxels)):
        used += weights[v] > 0.0
    return used


@njit(cache=True, fastmath=True)
def _factorise_background(sums, low):  # type: ignore[no-untyped-def]
    """Gram factor of a window's weighted quadratic background; False where it holds too little for one."""
    at = 0
    for r in range(N_BACKGROUND):
        for c in range(r + 1):
            low[r, c] = sums[at]
            at += 1
    for r in range(N_BACKGROUND):
        low[r, r] += 1e-6 * low[0, 0] + 1e-30
    return factorise(low)


@njit(cache=True, fastmath=True)
def _norm_shapes(sums, low, across, norms):  # type: ignore[no-untyped-def]
    """Norm of what the background leaves of each shape, from its sums by itself and with the background."""
    n_shapes = len(norms)
    copy_into(norms, sums[:n_shapes])
    for r in range(N_BACKGROUND):
        first = (r + 1) * n_shapes
        row = across[r]
        copy_into(row, sums[first : first + n_shapes])
        for m in range(r):
            by = np.float32(low[r, m])
            for t in range(n_shapes):
                row[t] -= by * across[m, t]
        by = np.float32(1.0 / low[r, r])
        for t in range(n_shapes):
            row[t] *= by
            norms[t] -= row[t] * row[t]


@njit(cache=True, fastmath=True)
def _fit_shapes(tops, norms, left, dof, best):  # type: ignore[no-untyped-def]
    """The largest statistic over each pattern's shapes and both signs, into ``best`` (pattern,), with its sign.

    Phase and darkness are weighed by their own residuals; the phase changes its sign with the source, the
    darkness does not.
    """
    precision = np.empty(2)
    for part in range(2):
        precision[part] = dof / max(left[part], 1e-30)
    for p in range(len(best)):
        for t in range(p * _N_SHAPES, (p + 1) * _N_SHAPES):
            norm = norms[0, t] * precision[0] + norms[1, t] * precision[1]
            if norm <= 0.0:
                continue
            lobes = tops[0, t] * precision[0]
            void = tops[1, t] * precision[1]
            top = abs(lobes) + void
            if top <= 0.0:
                continue
            # What the source explains does not count as residual.
            explained = top * top / norm
            z = np.sqrt(explained * (2 * dof - 1) / max(2 * dof - explained, 1.0))
            if z > abs(best[p]):
                best[p] = z if lobes > 0.0 else -z
