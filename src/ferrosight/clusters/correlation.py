"""Noise that is correlated between voxels: by how much it changes a fit's variance.

Zero filling and partial Fourier leave the noise correlated. An ordinary least-squares fit stays unbiased but
its variance is no longer that of white noise: with a = (JᵀWJ)⁻¹JᵀW it is a·C·aᵀ instead of a·aᵀ.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.columns import add_normal_equations, project_columns, smooth_background
from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    open_window,
)
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS, factorise, project_background, solve_factor
from ferrosight.physics.cluster_signal import HALF
from ferrosight.physics.table_reading import interpolate_signal
from ferrosight.types import Noise


def correct_for_correlation(
    data: WindowData,
    sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    noise: Noise,
    held: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Variance of every source's strength under the scan's noise over that under white noise, (n,).

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them; ``held`` (n, 3, 3)
    the inverse covariance of a prior on its position, voxels⁻². 1 for white noise; NaN where the source was not
    fitted. Echoes have noise of their own.
    """
    if held is None:
        held = np.zeros((len(sources), 3, 3))
    held = np.array(held, np.float64, order="C")
    table = data.tables[0]
    factors = np.full(len(sources), np.nan)
    _correct_many(
        (data.signal, data.weights),
        data.model_error,
        (neighbours.centres, neighbours.blocks),
        (np.asarray(own, np.int64), sources.centres, sources.shifts, sources.q, sources.steps, held),
        data.ratios,
        (table.values, table.matrix, table.edges),
        (data.voxels, data.basis),
        complex_correlation(noise, 2 * HALF),
        factors,
    )
    return factors


def complex_correlation(noise: Noise, reach: int) -> NDArray[np.complex128]:
    """Correlation of the complex noise at lags of up to ``reach`` voxels along each axis, (2·reach+1,)³.

    Its real part is that of one real channel, as measured where it was; beyond, and in the imaginary part,
    which says how the two channels of an unsymmetric k-space go together, that of the support:
    Π sinc(w d) exp(2πi c d), with w its width and c its centre in cycles per voxel.
    """
    lags = np.arange(-reach, reach + 1)
    axes = [np.sinc(one.width * lags) * np.exp(1j * np.pi * (one.low + one.high) * lags) for one in noise.support]
    full = np.einsum("i,j,k->ijk", *axes)
    n = [length // 2 for length in noise.autocorrelation.shape]
    inner = tuple(slice(reach - m, reach + m + 1) for m in n)
    full[inner] = noise.autocorrelation + 1j * full[inner].imag
    return np.asarray(full, dtype=np.complex128)


@njit(cache=True, fastmath=True)
def _sandwich(estimator, weight, voxels, correlation):  # type: ignore[no-untyped-def]
    """a·C·aᵀ and a·aᵀ of one echo, for a linear estimator Σ Re(conj(a_v) n_v) of complex noise n."""
    reach = correlation.shape[0] // 2
    full = 0.0
    white = 0.0
    for v in range(len(voxels)):
        if weight[v] == 0.0:
            continue
        white += estimator[v].real ** 2 + estimator[v].imag ** 2
        for u in range(len(voxels)):
            if weight[u] == 0.0:
                continue
            i, j, k = voxels[v, 0] - voxels[u, 0], voxels[v, 1] - voxels[u, 1], voxels[v, 2] - voxels[u, 2]
            full += (np.conj(estimator[v]) * correlation[i + reach, j + reach, k + reach] * estimator[u]).real
    return full, white


@njit(cache=True, fastmath=True, parallel=True)
def _correct_many(volumes, model_error, neighbours, rows, ratios, table, window, correlation, factors):  # type: ignore[no-untyped-def]
    """Fill ``factors`` (n,) for every source."""
    own, centres, shifts, q, steps, held = rows
    voxels, basis = window
    values, matrix, edges = table
    n, n_echoes = len(voxels), volumes[0].shape[0]
    for f in prange(len(q)):
        if steps[f] < 0:
            continue
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        columns = np.empty((n_echoes, N_PARAMETERS, n), np.complex64)
        factor = np.empty(n, np.complex64)
        residual = np.empty(n, np.complex64)
        coefficients = np.empty(N_BACKGROUND, np.complex128)
        low = np.empty((N_BACKGROUND, N_BACKGROUND))
        gram = np.zeros((N_PARAMETERS, N_PARAMETERS))
        row = np.zeros(N_PARAMETERS)
        open_window(volumes, model_error, neighbours, own[f], voxels, centres[f], (data, other, weight))
        good = True
        for e in range(n_echoes):
            interpolate_signal(values, matrix, edges, voxels, q[f] * ratios[e], shifts[f], factor, columns[e])
            for v in range(n):
                factor[v] *= other[e, v]
            chi2 = project_background(data[e], factor, weight[e], basis, residual, coefficients, low)
            if chi2 < 0.0:
                good = False
                break
            for v in range(n):
                smooth = other[e, v] * smooth_background(coefficients, basis, v)
                for p in range(N_PARAMETERS):
                    # By ln|q|, as the fit has it: all four columns are then of one size.
                    columns[e, p, v] *= smooth * (q[f] * ratios[e] if p == 0 else 1.0)
            project_columns(columns[e], factor, weight[e], basis, low)
            add_normal_equations(columns[e], residual, weight[e], gram, row)
        for a in range(3):
            for b in range(3):
                gram[1 + a, 1 + b] += held[f, a, b]
        if not good or not factorise(gram):
            continue
        # The first row of (JᵀWJ)⁻¹: how the four columns combine into the estimate of ln|q|.
        row[:] = 0.0
        row[0] = 1.0
        solve_factor(gram, row)
        full, white = 0.0, 0.0
        for e in range(n_echoes):
            for v in range(n):
                factor[v] = 0.0
                for p in range(N_PARAMETERS):
                    factor[v] += weight[e, v] * row[p] * columns[e, p, v]
            more, plain = _sandwich(factor, weight[e], voxels, correlation)
            full += more
            white += plain
        factors[f] = full / white
