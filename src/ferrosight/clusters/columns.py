"""The Jacobian of a window, column by column, with the background projected out."""

from __future__ import annotations

import numpy as np
from numba import njit

from ferrosight.clusters.windows import solve_factor


@njit(cache=True, fastmath=True)
def project_columns(columns, factor, weight, basis, low):  # type: ignore[no-untyped-def]
    """Take off each of ``columns`` (p, n) its part within factor · basis, in place (Kaufman's Jacobian).

    ``low`` is the Gram factor that ``project_background`` left for the same factor and weight.
    """
    n_terms, n = basis.shape
    part = np.empty(n_terms, np.complex128)
    for p in range(len(columns)):
        part[:] = 0.0
        for v in range(n):
            if weight[v] > 0.0:
                turned = weight[v] * np.conj(factor[v]) * columns[p, v]
                for r in range(n_terms):
                    part[r] += basis[r, v] * turned
        solve_factor(low, part)
        for v in range(n):
            smooth = 0.0j
            for r in range(n_terms):
                smooth += part[r] * basis[r, v]
            columns[p, v] -= factor[v] * smooth


@njit(cache=True, fastmath=True)
def add_normal_equations(columns, residual, weight, gram, gradient):  # type: ignore[no-untyped-def]
    """Add one echo's projected columns (p, n) to the normal equations; fills the lower half of ``gram``."""
    for p in range(len(columns)):
        for v in range(len(weight)):
            w = weight[v]
            if w > 0.0:
                gradient[p] += w * (columns[p, v].real * residual[v].real + columns[p, v].imag * residual[v].imag)
        for m in range(p + 1):
            total = 0.0
            for v in range(len(weight)):
                total += weight[v] * (columns[p, v].real * columns[m, v].real + columns[p, v].imag * columns[m, v].imag)
            gram[p, m] += total


@njit(cache=True, fastmath=True)
def smooth_background(coefficients, basis, v):  # type: ignore[no-untyped-def]
    """The background polynomial at one voxel."""
    total = 0.0j
    for r in range(len(basis)):
        total += coefficients[r] * basis[r, v]
    return total
