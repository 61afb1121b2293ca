"""Structure of the tissue's own field: learnt from the scan, and scores and strengths whitened by it.

A field is susceptibility through the dipole kernel: random tissue texture gives the dipole along B0 three times the
variance of any other l = 2 pattern, and a background that bends faster than a quadratic polynomial stays in every
echo alike. Neither is noise, and ordinary least squares takes both for evidence. So the covariance K of the field that
the scan itself holds, beyond its noise, is measured over the whole scan, and a window's data are given the covariance
noise + s U K Uᵀ, where U turns a field into the change of all echoes and s, how strong structure is in this window, is
the window's own most likely value. Generalised least squares with it (Aitken 1935) gives χ² with and without the
source, one Gauss-Newton step from the ordinary estimate.

K enters by its leading modes over a window: with A = U V Λ^½ they are random effects, marginalised exactly
(Woodbury). Only the part of a window's data that lies along the change a field would make can tell of it, so each
voxel counts once, whatever the number of echoes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import fft

from ferrosight.clusters.columns import add_normal_equations, project_columns, smooth_background
from ferrosight.clusters.fit import Neighbours, Sources, WindowData, open_window
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS, project_background
from ferrosight.physics.table_reading import interpolate_signal

FloatArray = NDArray[np.float64]

#: A window's structure over the scan's: the values of s that are tried.
LEVELS = np.array([0.0, *(2.0 ** np.arange(-5, 9))])
#: Modes of a window's covariance that are kept at most, and the least variance of one, over the noise's.
_MOST_MODES, _LEAST_VARIANCE = 64, 0.05
#: Phase beyond this many robust standard deviations is a source's or a void's, not the tissue's: cut there.
_CLIP = 4.0
#: A step farther than this in ln|q| or voxels is not of the same source: it is not taken.
_FARTHEST = 0.5
#: Windows whose modes are held at once.
_BATCH = 64
_RESIDUAL, _COLUMNS, _NOTHING = 0, slice(1, 1 + N_PARAMETERS), 1 + N_PARAMETERS


@dataclass(frozen=True)
class Structure:
    """Leading modes (voxel, mode) of the field over a window, rad at the first echo: each of unit variance."""

    modes: FloatArray


def learn_structure(
    phase: NDArray[np.float32], weight: NDArray[np.float32], inside: NDArray[np.bool_], voxels: NDArray[np.int64]
) -> Structure:
    """The covariance of the scan's field over a window, noise taken off.

    ``phase`` (x, y, z), rad at the first echo, has the smooth background and what is explained taken off, ``weight``
    is its inverse variance from noise, ``inside`` says where it counts. Stationary: one autocovariance for the scan.
    """
    used = inside & (weight > 0)
    if np.count_nonzero(used) < len(voxels):
        return Structure(np.zeros((len(voxels), 0)))
    limit = _CLIP * 1.4826 * float(np.median(np.abs(phase[used])))
    values = np.where(used, np.clip(phase, -limit, limit), 0.0)
    size = [
        fft.next_fast_len(n + 2 * int(reach) + 1, True)
        for n, reach in zip(used.shape, np.ptp(voxels, axis=0), strict=True)
    ]
    power, pairs = (fft.irfftn(np.abs(fft.rfftn(a, size)) ** 2, size) for a in (values, used.astype(np.float64)))
    lags = voxels[:, None] - voxels[None]
    at = (lags[..., 0], lags[..., 1], lags[..., 2])
    covariance = power[at] / np.maximum(pairs[at], 1.0)
    noise = float(np.mean(1 / weight[used]))
    covariance[np.diag_indices(len(voxels))] -= noise
    variances, modes = np.linalg.eigh(covariance)
    leading = np.argsort(-variances)[:_MOST_MODES]
    leading = leading[variances[leading] > _LEAST_VARIANCE * noise]
    return Structure(modes[:, leading] * np.sqrt(variances[leading]))


def whiten_sources(
    data: WindowData, fitted: Sources, neighbours: Neighbours, own: NDArray[np.int64], structure: Structure
) -> Sources:
    """The sources with the χ² that generalised least squares leaves them, and so with its scores.

    ``fitted`` are as ordinary least squares fitted them with the tables of ``data``; ``own`` (n,) is each one's row
    among the neighbours, -1 where it is not one of them. Strengths, positions and covariances stay the ordinary ones:
    the covariance of the field is learnt with the scan's weak sources in it, and in the gel errors that rest on it were
    too small.
    """
    if not structure.modes.shape[1] or not len(fitted):
        return fitted
    gathered = _gather(data, fitted, neighbours, own)

    def marginalise(rows: NDArray[np.int64]) -> tuple[FloatArray, ...]:
        return _marginalise(gathered.pick(rows), fitted.chi2[rows], data.basis, structure.modes)

    with ThreadPoolExecutor(get_num_threads()) as pool:
        changed = list(pool.map(marginalise, np.array_split(np.arange(len(fitted)), -(-len(fitted) // _BATCH))))
    with_source, without, phase = (np.concatenate(parts) for parts in zip(*changed, strict=True))
    good = (fitted.steps >= 0) & np.isfinite(with_source + without + phase)
    return replace(
        fitted,
        chi2=np.where(good, np.maximum(fitted.chi2 - with_source, 0.0), fitted.chi2),
        chi2_background=np.where(good, np.maximum(fitted.chi2_background - without, 0.0), fitted.chi2_background),
        chi2_phase=np.where(good, phase, fitted.chi2_phase),
    )


@dataclass(frozen=True)
class _Gathered:
    """What of every window lies along a field's change, and its normal equations.

    ``along`` (n, 6, voxel) of the residual, the four columns of (ln|q|, position) and the residual without the
    source; ``sizes`` (n, 2, voxel) of that change, per rad at the first echo, with and without the source; ``grams``
    JᵀWJ (n, 4, 4); ``gradients`` JᵀWr (n, 4), NaN where the background could not be fitted.
    """

    along: NDArray[np.float32]
    sizes: NDArray[np.float32]
    grams: FloatArray
    gradients: FloatArray

    def pick(self, rows: NDArray[np.int64]) -> _Gathered:
        return _Gathered(self.along[rows], self.sizes[rows], self.grams[rows], self.gradients[rows])


def _gather(data: WindowData, fitted: Sources, neighbours: Neighbours, own: NDArray[np.int64]) -> _Gathered:
    """All windows at the sources' places."""
    n, n_voxels = len(fitted), len(data.voxels)
    along = np.zeros((n, N_PARAMETERS + 2, n_voxels), np.float32)
    sizes = np.zeros((n, 2, n_voxels), np.float32)
    grams, gradients = np.zeros((n, N_PARAMETERS, N_PARAMETERS)), np.zeros((n, N_PARAMETERS))
    for pattern, table in enumerate(data.tables):
        rows = np.flatnonzero((fitted.patterns == pattern) & (fitted.steps >= 0))
        if not len(rows):
            continue
        part = _Gathered(along[rows], sizes[rows], grams[rows], gradients[rows])
        _gather_many(
            (data.signal, data.weights),
            data.model_error,
            (neighbours.centres, neighbours.blocks),
            (np.asarray(own, np.int64)[rows], fitted.centres[rows], fitted.shifts[rows], fitted.q[rows]),
            data.ratios,
            (table.values, table.matrix, table.edges),
            (data.voxels, data.basis),
            (part.along, part.sizes, part.grams, part.gradients),
        )
        along[rows], sizes[rows], grams[rows], gradients[rows] = part.along, part.sizes, part.grams, part.gradients
    return _Gathered(along, sizes, grams + np.tril(grams, -1).transpose(0, 2, 1), gradients)


@njit(cache=True, fastmath=True)
def _add_along(values, data, residual, weight, ratio, along):  # type: ignore[no-untyped-def]
    """Add one echo's part of ``values`` (n,) along the change of a field, not yet divided by its size."""
    for v in range(len(values)):
        model = data[v] - residual[v]
        along[v] += weight[v] * ratio * (model.real * values[v].imag - model.imag * values[v].real)


@njit(cache=True, fastmath=True)
def _add_size(data, residual, weight, ratio, size):  # type: ignore[no-untyped-def]
    """Add one echo's part of the squared size of a field's change."""
    for v in range(len(size)):
        model = data[v] - residual[v]
        size[v] += weight[v] * ratio * ratio * (model.real * model.real + model.imag * model.imag)


@njit(cache=True, fastmath=True, parallel=True)
def _gather_many(volumes, model_error, neighbours, rows, ratios, table, window, gathered):  # type: ignore[no-untyped-def]
    """Fill ``gathered`` for every source; the lower half of the Gram matrices alone."""
    own, centres, shifts, q = rows
    voxels, basis = window
    values, matrix, edges = table
    alphas, sizes, grams, gradients = gathered
    n, n_echoes = len(voxels), volumes[0].shape[0]
    for f in prange(len(q)):
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        columns = np.empty((N_PARAMETERS, n), np.complex64)
        factor = np.empty(n, np.complex64)
        residual = np.empty(n, np.complex64)
        coefficients = np.empty(N_BACKGROUND, np.complex128)
        low = np.empty((N_BACKGROUND, N_BACKGROUND))
        good = open_window(volumes, model_error, neighbours, own[f], voxels, centres[f], (data, other, weight)) > 0
        for e in range(n_echoes):
            if project_background(data[e], other[e], weight[e], basis, residual, coefficients, low) < 0.0:
                good = False
                break
            _add_along(residual, data[e], residual, weight[e], ratios[e], alphas[f, N_PARAMETERS + 1])
            _add_size(data[e], residual, weight[e], ratios[e], sizes[f, 1])
            interpolate_signal(values, matrix, edges, voxels, q[f] * ratios[e], shifts[f], factor, columns)
            for v in range(n):
                factor[v] *= other[e, v]
            if project_background(data[e], factor, weight[e], basis, residual, coefficients, low) < 0.0:
                good = False
                break
            for v in range(n):
                smooth = other[e, v] * smooth_background(coefficients, basis, v)
                for p in range(N_PARAMETERS):
                    columns[p, v] *= smooth * (q[f] * ratios[e] if p == 0 else 1.0)
            project_columns(columns, factor, weight[e], basis, low)
            add_normal_equations(columns, residual, weight[e], grams[f], gradients[f])
            _add_along(residual, data[e], residual, weight[e], ratios[e], alphas[f, 0])
            _add_size(data[e], residual, weight[e], ratios[e], sizes[f, 0])
            for p in range(N_PARAMETERS):
                _add_along(columns[p], data[e], residual, weight[e], ratios[e], alphas[f, 1 + p])
        for v in range(n):
            for part in range(2):
                size = np.sqrt(sizes[f, part, v])
                sizes[f, part, v] = size
                first, last = (0, N_PARAMETERS + 1) if part == 0 else (N_PARAMETERS + 1, N_PARAMETERS + 2)
                for k in range(first, last):
                    alphas[f, k, v] = alphas[f, k, v] / size if size > 0.0 else 0.0
        if not good:
            gradients[f] = np.nan


def _marginalise(
    windows: _Gathered, chi2: FloatArray, basis: NDArray[np.float32], modes: FloatArray
) -> tuple[FloatArray, ...]:
    """Of a batch of windows, at each one's most likely level of structure: what is taken off χ² (n,) with and without
    the source, and χ² (n,) of the field's part of what is left."""
    along = np.asarray(windows.along, dtype=np.float64)
    with_source, without = (_project_modes(modes, basis, windows.sizes[:, part]) for part in (0, 1))
    values, images = _diagonalise(with_source, along[:, : N_PARAMETERS + 1])
    values_0, images_0 = _diagonalise(without, along[:, _NOTHING:])
    best = np.full(len(along), -np.inf)
    result = tuple(np.zeros(len(along)) for _ in range(3))
    for level in LEVELS:
        share = level / (1 + level * values)
        residual, columns = images[:, _RESIDUAL], images[:, _COLUMNS]
        precision = windows.grams - np.einsum("npk,nk,nqk->npq", columns, share, columns)
        right = windows.gradients - np.einsum("npk,nk,nk->np", columns, share, residual)
        step = _solve(precision, right)
        far = np.abs(step).max(axis=1) > _FARTHEST
        step[far] = 0.0
        less = np.einsum("nk,nk,nk->n", residual, share, residual) + np.einsum("np,np->n", right, step)
        likelihood = 0.5 * less - 0.5 * np.log1p(level * values).sum(axis=1)
        left = along[:, _RESIDUAL] - np.einsum("np,npv->nv", step, along[:, _COLUMNS])
        image = residual - np.einsum("np,npk->nk", step, columns)
        phase = (left**2).sum(axis=1) - (share * image**2).sum(axis=1)
        share_0 = level / (1 + level * values_0)
        less_0 = (share_0 * images_0[:, 0] ** 2).sum(axis=1)
        better = likelihood > best
        best[better] = likelihood[better]
        for array, new in zip(result, (less, less_0, phase), strict=True):
            array[better] = new[better]
    # A level that leaves less than nothing is a window that could not be fitted.
    result[0][~np.isfinite(best) | (result[0] > chi2)] = np.nan
    return result


def _project_modes(modes: FloatArray, basis: NDArray[np.float32], size: NDArray[np.float32]) -> FloatArray:
    """The modes as data, ``size`` times each, less their part within the quadratic background: (n, voxel, mode)."""
    weighted = size[:, :, None] * basis.T.astype(np.float64)
    data = size[:, :, None] * modes
    gram = weighted.transpose(0, 2, 1) @ weighted
    trace = np.trace(gram, axis1=1, axis2=2)
    gram += (1e-9 * trace + 1e-30)[:, None, None] * np.eye(gram.shape[1])
    return np.asarray(data - weighted @ np.linalg.solve(gram, weighted.transpose(0, 2, 1) @ data))


def _diagonalise(modes: FloatArray, along: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (n, mode) of the modes' Gram matrix, and ``along`` (n, k, voxel) in its eigenvectors (n, k, mode)."""
    values, vectors = np.linalg.eigh(modes.transpose(0, 2, 1) @ modes)
    return np.maximum(values, 0.0), (along @ modes) @ vectors


def _solve(matrices: FloatArray, right: FloatArray) -> FloatArray:
    """Solutions (n, 4) of symmetric positive systems whose rows differ by many powers of ten; 0 where there is none."""
    size = np.sqrt(np.maximum(np.einsum("nii->ni", matrices), 1e-300))
    scaled = matrices / (size[:, :, None] * size[:, None, :])
    good = np.isfinite(scaled).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    solution = np.zeros_like(right)
    ridge = 1e-9 * np.eye(matrices.shape[1])
    solution[good] = np.linalg.solve(scaled[good] + ridge, (right / size)[good][..., None])[..., 0] / size[good]
    return solution
