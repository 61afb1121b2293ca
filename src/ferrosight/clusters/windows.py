"""Kernels that work on one window: the background eliminated, the source linearised.

A window's model is, echo by echo, B(v) · O(v) · F(v): a smooth complex background (a quadratic polynomial
of its own per echo), the known factor O of neighbours, and the source's own F from its signal table. The
background is linear and is eliminated exactly (variable projection, Golub & Pereyra 1973, with Kaufman's
Jacobian); what is left are four parameters, ln|q| (q = p/V at the first echo) and the position.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.physics.table_reading import Q_MAX, interpolate_roughly, interpolate_signal, interpolate_value

#: Terms of the background polynomial, real columns of one complex coefficient each.
N_BACKGROUND = 10
#: ln|q| and three coordinates.
N_PARAMETERS = 4
#: A source may move this far from its window's middle before the window is cut anew, voxels.
MAX_SHIFT = 0.66
MAX_STEPS = 20
#: A step that lowers χ² by less, or by less than this share of it, ends a fit: a tenth of a standard deviation.
_CONVERGED, _CONVERGED_SHARE = 0.01, 2e-5
#: So many steps that end at the bound of the shift end a fit too: its window is to be cut anew.
_AT_BOUND = 2
_Q_FLOOR = 1e-4


def background_basis(voxels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Constant, linear and quadratic terms (term, voxel) over a window, of order one."""
    x, y, z = (voxels / np.maximum(np.abs(voxels).max(axis=0), 1)).T
    return np.array([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], dtype=np.float32)


@njit(cache=True, fastmath=True)
def factorise(matrix):  # type: ignore[no-untyped-def]
    """Lower Cholesky factor in place; False where the matrix is not positive."""
    n = len(matrix)
    for r in range(n):
        for c in range(r + 1):
            value = matrix[r, c]
            for m in range(c):
                value -= matrix[r, m] * matrix[c, m]
            if r == c:
                if value <= 0.0:
                    return False
                matrix[r, r] = np.sqrt(value)
            else:
                matrix[r, c] = value / matrix[c, c]
    return True


@njit(cache=True, fastmath=True)
def solve_factor(low, rhs):  # type: ignore[no-untyped-def]
    """Solve low lowᵀ x = rhs in place."""
    n = len(rhs)
    for r in range(n):
        value = rhs[r]
        for m in range(r):
            value -= low[r, m] * rhs[m]
        rhs[r] = value / low[r, r]
    for r in range(n - 1, -1, -1):
        value = rhs[r]
        for m in range(r + 1, n):
            value -= low[m, r] * rhs[m]
        rhs[r] = value / low[r, r]


@njit(cache=True, fastmath=True)
def copy_into(target, source):  # type: ignore[no-untyped-def]
    """Copy an array into another of its shape, element by element.

    As ``target[:] = source`` would; but that brings the words of its error message, and what puts them together,
    into every function that is compiled with it, which then takes up to twice as long to compile.
    """
    for at in range(source.size):
        target.flat[at] = source.flat[at]


@njit(cache=True, fastmath=True)
def dot(one, other):  # type: ignore[no-untyped-def]
    """Sum of products of two float32 rows, added up in float32."""
    total = np.float32(0.0)
    for v in range(len(one)):
        total += one[v] * other[v]
    return total


@njit(cache=True, fastmath=True)
def _smooth(coefficients, basis, real, imag):  # type: ignore[no-untyped-def]
    """Σ c_k basis_k, real and imaginary parts."""
    real[:] = 0.0
    imag[:] = 0.0
    for r in range(len(coefficients)):
        a, b = np.float32(coefficients[r].real), np.float32(coefficients[r].imag)
        for v in range(len(real)):
            real[v] += a * basis[r, v]
            imag[v] += b * basis[r, v]


@njit(cache=True, fastmath=True)
def project_background(data, factor, weight, basis, residual, coefficients, low):  # type: ignore[no-untyped-def]
    """Fit data (n,) by factor · Σ c_k basis_k; fill residual, coefficients and the Gram factor; return χ².

    The Gram matrix is real, because each column is the same complex factor times a real polynomial.
    Negative where the window holds too little to fit a background. Loops run over voxels innermost and in
    float32, which is what makes them fast; χ² is added up in float64.
    """
    n_terms, n = basis.shape
    size = np.empty(n, np.float32)
    real = np.empty(n, np.float32)
    imag = np.empty(n, np.float32)
    scaled = np.empty(n, np.float32)
    for v in range(n):
        w, f, d = weight[v], factor[v], data[v]
        size[v] = w * (f.real * f.real + f.imag * f.imag)
        real[v] = w * (f.real * d.real + f.imag * d.imag)
        imag[v] = w * (f.real * d.imag - f.imag * d.real)
    for r in range(n_terms):
        coefficients[r] = complex(dot(basis[r], real), dot(basis[r], imag))
        for v in range(n):
            scaled[v] = size[v] * basis[r, v]
        for c in range(r + 1):
            low[r, c] = dot(scaled, basis[c])
    for r in range(n_terms):
        low[r, r] += 1e-6 * low[0, 0] + 1e-12
    if not factorise(low):
        return -1.0
    solve_factor(low, coefficients)
    _smooth(coefficients, basis, real, imag)
    chi2 = 0.0
    for v in range(n):
        f, d = factor[v], data[v]
        a = d.real - (f.real * real[v] - f.imag * imag[v])
        b = d.imag - (f.real * imag[v] + f.imag * real[v])
        residual[v] = complex(a, b) if weight[v] > 0.0 else 0.0j
        chi2 += weight[v] * (a * a + b * b)
    return chi2


@njit(cache=True, fastmath=True)
def _project_slopes(slopes, scale, column, factor, weight, basis, low, jacobian):  # type: ignore[no-untyped-def]
    """Kaufman's Jacobian of one echo: each slope times the background, less its part within the background."""
    n_terms, n = basis.shape
    extra = np.empty(n_terms, np.complex128)
    real = np.empty(n, np.float32)
    imag = np.empty(n, np.float32)
    for p in range(N_PARAMETERS):
        by = np.float32(scale if p == 0 else 1.0)
        for v in range(n):
            j, c, f, w = slopes[p, v], column[v], factor[v], weight[v]
            a = by * (j.real * c.real - j.imag * c.imag)
            b = by * (j.real * c.imag + j.imag * c.real)
            jacobian[p, v] = complex(a, b)
            real[v] = w * (f.real * a + f.imag * b)
            imag[v] = w * (f.real * b - f.imag * a)
        for r in range(n_terms):
            extra[r] = complex(dot(basis[r], real), dot(basis[r], imag))
        solve_factor(low, extra)
        _smooth(extra, basis, real, imag)
        for v in range(n):
            f, j = factor[v], jacobian[p, v]
            jacobian[p, v] = complex(
                j.real - (f.real * real[v] - f.imag * imag[v]), j.imag - (f.real * imag[v] + f.imag * real[v])
            )


@njit(cache=True, fastmath=True)
def _weighted_product(one, other, weight):  # type: ignore[no-untyped-def]
    total = 0.0
    for v in range(len(one)):
        total += weight[v] * (one[v].real * other[v].real + one[v].imag * other[v].imag)
    return total


@njit(cache=True, fastmath=True)
def linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient, roughly=False):  # type: ignore[no-untyped-def]
    """χ² at (q, shift); fills the normal equations of (ln|q|, shift) with the background projected out.

    ``data``, ``other``, ``weight`` (echo, voxel); ``table`` is (values, matrix, edges), read ``roughly`` or not.
    """
    values, matrix, edges = table
    n_echoes, n = data.shape
    signal = np.empty(n, np.complex64)
    slopes = np.empty((N_PARAMETERS, n), np.complex64)
    factor = np.empty(n, np.complex64)
    residual = np.empty(n, np.complex64)
    column = np.empty(n, np.complex64)
    jacobian = np.empty((N_PARAMETERS, n), np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    real = np.empty(n, np.float32)
    imag = np.empty(n, np.float32)
    gram[:] = 0.0
    gradient[:] = 0.0
    total = 0.0
    for e in range(n_echoes):
        if roughly:
            interpolate_roughly(values, matrix, edges, voxels, q * ratios[e], shift, signal, slopes)
        else:
            interpolate_signal(values, matrix, edges, voxels, q * ratios[e], shift, signal, slopes)
        for v in range(n):
            factor[v] = other[e, v] * signal[v]
        chi2 = project_background(data[e], factor, weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return -1.0
        total += chi2
        _smooth(coefficients, basis, real, imag)
        for v in range(n):
            column[v] = other[e, v] * complex(real[v], imag[v])
        _project_slopes(slopes, q * ratios[e], column, factor, weight[e], basis, low, jacobian)
        for p in range(N_PARAMETERS):
            gradient[p] += _weighted_product(jacobian[p], residual, weight[e])
            for m in range(p + 1):
                gram[p, m] += _weighted_product(jacobian[p], jacobian[m], weight[e])
    for p in range(N_PARAMETERS):
        for m in range(p):
            gram[m, p] = gram[p, m]
    return total


@njit(cache=True, fastmath=True)
def measure_chi2(data, other, weight, ratios, table, voxels, basis, q, shift):  # type: ignore[no-untyped-def]
    """χ² at (q, shift); q = 0 is the background alone."""
    values, matrix, edges = table
    n_echoes, n = data.shape
    signal = np.empty(n, np.complex64)
    residual = np.empty(n, np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    total = 0.0
    for e in range(n_echoes):
        if q == 0.0:
            signal[:] = 1.0
        else:
            interpolate_value(values, matrix, edges, voxels, q * ratios[e], shift, signal)
        for v in range(n):
            signal[v] *= other[e, v]
        chi2 = project_background(data[e], signal, weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return -1.0
        total += chi2
    return total


@njit(cache=True, fastmath=True)
def measure_phase_chi2(data, other, weight, ratios, table, voxels, basis, q, shift):  # type: ignore[no-untyped-def]
    """χ² of what all echoes together leave in the phase at (q, shift): one residual field per voxel.

    Noise differs from echo to echo; a field that the model lacks is the same in all of them, and counts no
    more often than there are voxels.
    """
    values, matrix, edges = table
    n_echoes, n = data.shape
    factor = np.empty(n, np.complex64)
    residual = np.empty(n, np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    top = np.zeros(n)
    norm = np.zeros(n)
    for e in range(n_echoes):
        interpolate_value(values, matrix, edges, voxels, q * ratios[e], shift, factor)
        for v in range(n):
            factor[v] *= other[e, v]
        if project_background(data[e], factor, weight[e], basis, residual, coefficients, low) < 0.0:
            return -1.0
        for v in range(n):
            model = data[e, v] - residual[v]
            by = weight[e, v] * ratios[e]
            top[v] += by * (model.real * residual[v].imag - model.imag * residual[v].real)
            norm[v] += by * ratios[e] * (model.real * model.real + model.imag * model.imag)
    total = 0.0
    for v in range(n):
        if norm[v] > 0.0:
            total += top[v] * top[v] / norm[v]
    return total


@njit(cache=True, fastmath=True)
def descend(data, other, weight, ratios, table, voxels, basis, start, shift, gram, most_steps, roughly=False):  # type: ignore[no-untyped-def]
    """At most so many steps of Levenberg and Marquardt from ``start`` and ``shift`` (changed in place).

    ``roughly`` is for steps that only find the way: see ``interpolate_roughly``.

    Returns q, χ² and the steps taken (-1: failed).
    """
    gradient = np.empty(N_PARAMETERS)
    new_gram = np.empty((N_PARAMETERS, N_PARAMETERS))
    new_gradient = np.empty(N_PARAMETERS)
    damped = np.empty((N_PARAMETERS, N_PARAMETERS))
    step = np.empty(N_PARAMETERS)
    trial = np.empty(3)
    q = start
    window = (data, other, weight, ratios, table, voxels, basis)
    chi2 = linearise(*window, q, shift, gram, gradient, roughly)
    if chi2 < 0.0:
        return q, chi2, -1
    damping = 1e-2
    at_bound = 0
    for count in range(most_steps):
        copy_into(damped, gram)
        for p in range(N_PARAMETERS):
            damped[p, p] += damping * gram[p, p] + 1e-9
            step[p] = gradient[p]
        if not factorise(damped):
            return q, chi2, -1
        solve_factor(damped, step)
        size = abs(q) * np.exp(min(max(step[0], -1.0), 1.0))
        new_q = np.sign(q) * min(max(size, _Q_FLOOR), Q_MAX)
        for axis in range(3):
            move = min(max(step[axis + 1], -0.4), 0.4)
            trial[axis] = min(max(shift[axis] + move, -MAX_SHIFT), MAX_SHIFT)
        # Nearly every trial is taken, and then its slopes are wanted.
        new_chi2 = linearise(*window, new_q, trial, new_gram, new_gradient, roughly)
        if 0.0 <= new_chi2 < chi2:
            gain = chi2 - new_chi2
            q, chi2 = new_q, new_chi2
            copy_into(shift, trial)
            copy_into(gradient, new_gradient)
            copy_into(gram, new_gram)
            damping = max(damping * 0.2, 1e-6)
            at_bound = at_bound + 1 if np.abs(shift).max() >= MAX_SHIFT else 0
            if gain < _CONVERGED + _CONVERGED_SHARE * chi2 or at_bound == _AT_BOUND:
                return q, chi2, count + 1
        else:
            damping *= 5.0
            if damping > 1e4:
                return q, chi2, count + 1
    return q, chi2, most_steps


@njit(cache=True, fastmath=True)
def invert(gram, q, covariance):  # type: ignore[no-untyped-def]
    """Covariance of (q, shift) from the normal equations of (ln|q|, shift), noise of one per real channel."""
    low = gram.copy()
    for p in range(N_PARAMETERS):
        low[p, p] += 1e-9
    if not factorise(low):
        return
    column = np.empty(N_PARAMETERS)
    for p in range(N_PARAMETERS):
        column[:] = 0.0
        column[p] = 1.0
        solve_factor(low, column)
        for m in range(N_PARAMETERS):
            scale = (q if p == 0 else 1.0) * (q if m == 0 else 1.0)
            covariance[p, m] = column[m] * scale
