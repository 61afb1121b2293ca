"""Screening: at every voxel, how much better a far-field pattern explains the phase than background does.

The complex signal is demodulated by its own smooth background; what remains of the phase, weighted by its
precision, is fitted at every voxel with pattern + quadratic background in a window, all by correlations.
The statistic is the pattern's amplitude over its error, with the error scaled by the *local* residual:
that studentisation is what keeps structure from looking like clusters.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import fft, ndimage

from ferrosight.clusters.prepare import PreparedScan

#: The core left out of the pattern, in cube-root-of-voxel-volume units: 0 keeps all (weak clusters), larger
#: ones serve clusters whose phase wraps near the centre.
_CORES = (0.0, 2.1)
#: Width (one standard deviation) of the smooth background, in the same units.
_BACKGROUND_EDGES = 4.0
_SUB = 6
_N_POLY = 10


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


def mean_patterns(
    matrices: NDArray[np.float64], edges: NDArray[np.float64], voxels: NDArray[np.int64], core: float
) -> NDArray[np.float64]:
    """Box-averaged K (pattern, voxel) of every pattern, 0 within ``core`` voxels of the middle."""
    sub = (np.arange(_SUB) + 0.5) / _SUB - 0.5
    fine = np.stack(np.meshgrid(sub, sub, sub, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (voxels[:, None, :] + fine[None]) * edges
    r = np.linalg.norm(points, axis=-1)
    keep = np.linalg.norm(voxels * edges, axis=1) >= core
    values = []
    for matrix in matrices:
        form = np.einsum("vsa,ab,vsb->vs", points, matrix, points)
        values.append((form / r**5).mean(axis=1) * keep)
    return np.array(values)


def _polynomials(voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Constant, linear and quadratic terms (term, voxel)."""
    x, y, z = (voxels / 4).T
    return np.array([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])


class _Correlator:
    """Correlates images with small windows through FFTs: out[x] = Σ_v image[x + v] window[v]."""

    def __init__(self, shape: tuple[int, ...], voxels: NDArray[np.int64], workers: int):
        reach = np.abs(voxels).max(axis=0)
        self._shape = shape
        self._size = [fft.next_fast_len(int(n + r), real=True) for n, r in zip(shape, reach, strict=True)]
        self._workers = workers
        self._at = tuple((-voxels % np.array(self._size)).T)

    def transform(self, image: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Spectrum of an image."""
        return np.asarray(fft.rfftn(image, self._size, workers=self._workers))

    def __call__(self, spectrum: NDArray[np.complex64], window: NDArray[np.float64]) -> NDArray[np.float32]:
        kernel = np.zeros(self._size, np.float32)
        kernel[self._at] = window
        product = spectrum * fft.rfftn(kernel, workers=self._workers)
        full = fft.irfftn(product, self._size, workers=self._workers, overwrite_x=True)
        return np.asarray(full[tuple(slice(n) for n in self._shape)], dtype=np.float32)


@njit(cache=True, fastmath=True, parallel=True)
def _solve(gram_pp, rhs_p, gram_tp, gram_tt, rhs_t, energy, count, mask, n_min, out):  # type: ignore[no-untyped-def]
    """Studentised amplitude of each pattern at every voxel of the mask; keeps the larger |z| in ``out``."""
    n_terms = rhs_p.shape[0]
    n_patterns = gram_tp.shape[0]
    nx, ny, nz = mask.shape
    for i in prange(nx):
        low = np.zeros((n_terms, n_terms))
        a = np.empty(n_terms)
        b = np.empty(n_terms)
        for j in range(ny):
            for k in range(nz):
                if not mask[i, j, k] or count[i, j, k] < n_min:
                    continue
                ridge = 1e-6 * gram_pp[0, i, j, k] + 1e-30
                ok = True
                for r in range(n_terms):
                    for c in range(r + 1):
                        value = gram_pp[r * (r + 1) // 2 + c, i, j, k]
                        if r == c:
                            value += ridge
                        for m in range(c):
                            value -= low[r, m] * low[c, m]
                        if r == c:
                            if value <= 0:
                                ok = False
                                value = 1.0
                            low[r, r] = np.sqrt(value)
                        else:
                            low[r, c] = value / low[c, c]
                if not ok:
                    continue
                fit = 0.0
                for r in range(n_terms):
                    value = rhs_p[r, i, j, k]
                    for m in range(r):
                        value -= low[r, m] * a[m]
                    a[r] = value / low[r, r]
                    fit += a[r] * a[r]
                left = energy[i, j, k] - fit
                dof = count[i, j, k] - n_terms - 1
                for t in range(n_patterns):
                    norm = gram_tt[t, i, j, k]
                    top = rhs_t[t, i, j, k]
                    for r in range(n_terms):
                        value = gram_tp[t, r, i, j, k]
                        for m in range(r):
                            value -= low[r, m] * b[m]
                        b[r] = value / low[r, r]
                        norm -= b[r] * b[r]
                        top -= b[r] * a[r]
                    if norm <= 1e-9 * gram_tt[t, i, j, k]:
                        continue
                    explained = top * top / norm
                    scale = max((left - explained) / dof, 1e-30)
                    z = top / np.sqrt(norm * scale)
                    if abs(z) > abs(out[t, i, j, k]):
                        out[t, i, j, k] = z


class Screener:
    """Screens one scan, again and again as its strong sources are explained away.

    What depends on the weights alone (all products of window functions) is computed once.
    """

    def __init__(self, data: PreparedScan, workers: int):
        self._ratios = data.ratios
        self._weights = data.weights
        self._mask = data.search_mask
        self._sigma_voxels = [float(_BACKGROUND_EDGES / edge) for edge in data.edges]
        voxels = data.voxels
        self._poly = _polynomials(voxels)
        self._correlate = _Correlator(data.signal.shape[1:], voxels, workers)
        _, weight = flatten_phase(data.signal, data.weights, data.ratios, self._sigma_voxels)
        self._scale = float(np.median(weight[weight > 0]))
        self._weight = weight / np.float32(self._scale)
        spectrum = self._correlate.transform(self._weight)
        terms = range(_N_POLY)
        self._gram_pp = np.array(
            [self._correlate(spectrum, self._poly[r] * self._poly[c]) for r in terms for c in range(r + 1)]
        )
        self._count = self._correlate(
            self._correlate.transform((self._weight > 0).astype(np.float32)), np.ones(len(voxels))
        )
        self._shapes = [mean_patterns(data.matrices, data.edges, voxels, core) for core in _CORES]
        self._gram_tp = [
            np.array([[self._correlate(spectrum, shape * self._poly[r]) for r in terms] for shape in shapes])
            for shapes in self._shapes
        ]
        self._gram_tt = [
            np.array([self._correlate(spectrum, shape * shape) for shape in shapes]) for shapes in self._shapes
        ]

    def screen(self, signal: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Studentised statistic (pattern, x, y, z) of every pattern at every voxel of the search mask.

        ``signal`` is the scan's, with the phase of explained sources taken off.
        """
        phase, _ = flatten_phase(signal, self._weights, self._ratios, self._sigma_voxels)
        weighted = self._correlate.transform(self._weight * phase)
        rhs_p = np.array([self._correlate(weighted, term) for term in self._poly])
        energy = self._correlate(self._correlate.transform(self._weight * phase**2), np.ones(self._poly.shape[1]))
        out = np.zeros((len(self._shapes[0]), *signal.shape[1:]), np.float32)
        for shapes, gram_tp, gram_tt in zip(self._shapes, self._gram_tp, self._gram_tt, strict=True):
            rhs_t = np.array([self._correlate(weighted, shape) for shape in shapes])
            _solve(self._gram_pp, rhs_p, gram_tp, gram_tt, rhs_t, energy, self._count, self._mask, 3 * _N_POLY, out)
        return out
