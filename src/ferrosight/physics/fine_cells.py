"""A point's signal on a fine lattice of cells around it, before the point spread is applied.

Each cell holds its own average to first order in the phase gradient, which is why few cells suffice.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ferrosight.physics.trigonometry import sin_cos, sinc


@njit(cache=True, fastmath=True, inline="always")
def average_cell(q, matrix, core, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Real and imaginary part of ``cell_average``, without a branch, for loops over many cells."""
    r2 = max(x * x + y * y + z * z, 1e-12)
    mx = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z
    my = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z
    mz = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z
    form = x * mx + y * my + z * mz
    r = np.sqrt(r2)
    outer = max(r, core)
    scale = q / (r2 * outer * outer * outer)
    radial = (5.0 if r > core else 2.0) * form / r2
    gx = scale * (2.0 * mx - radial * x)
    gy = scale * (2.0 * my - radial * y)
    gz = scale * (2.0 * mz - radial * z)
    size = sinc(0.5 * gx * dx) * sinc(0.5 * gy * dy) * sinc(0.5 * gz * dz)
    # At the source itself the phase has every value.
    size = size if r2 > 1e-12 else 0.0
    sine, cosine = sin_cos(scale * form)
    return size * cosine, size * sine


@njit(cache=True, fastmath=True)
def cell_average(q, matrix, core, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Average of exp(i q K) over a small cell at (x, y, z) of edges (dx, dy, dz).

    To first order in the phase gradient g the average over a cell is the centre's value times
    sinc(g·d/2) per axis; inside ``core`` the field stops growing.
    """
    real, imag = average_cell(q, matrix, core, x, y, z, dx, dy, dz)
    return complex(real, imag)


@njit(cache=True, fastmath=True, parallel=True)
def draw_cells(q, matrix, core, edges, counts, cells_per_voxel):  # type: ignore[no-untyped-def]
    """exp(i q K) - 1 averaged over each cell of a box centred on the source: float32 (real or imaginary, cells)."""
    nx, ny, nz = counts
    out = np.empty((2, nx, ny, nz), np.float32)
    dx, dy, dz = edges[0] / cells_per_voxel, edges[1] / cells_per_voxel, edges[2] / cells_per_voxel
    for i in prange(nx // 2):
        x = (i - 0.5 * nx + 0.5) * dx
        for j in range(ny):
            y = (j - 0.5 * ny + 0.5) * dy
            real, imag = out[0, i, j], out[1, i, j]
            for k in range(nz):
                z = (k - 0.5 * nz + 0.5) * dz
                a, b = average_cell(q, matrix, core, x, y, z, dx, dy, dz)
                real[k] = a - 1.0
                imag[k] = b
            # Every l = 2 pattern is even, so half of the box gives the other half.
            for k in range(nz):
                out[0, nx - 1 - i, ny - 1 - j, nz - 1 - k] = real[k]
                out[1, nx - 1 - i, ny - 1 - j, nz - 1 - k] = imag[k]
    return out


@njit(cache=True, fastmath=True, parallel=True)
def displace_cells(fine, q, matrix, core, steps, cells_per_rad):  # type: ignore[no-untyped-def]
    """Move each cell's signal along the *last* axis by its own off-resonance; F - 1 before and after.

    ``steps`` (3,) are the cells' edges, ``matrix`` and ``steps`` ordered like the axes of ``fine``.
    """
    _, n0, n1, n2 = fine.shape
    out = np.zeros(fine.shape, np.float32)
    one = np.float32(1.0)
    for a in prange(n0):
        x = (a - 0.5 * n0 + 0.5) * steps[0]
        at = np.empty(n2, np.float32)
        for b in range(n1):
            y = (b - 0.5 * n1 + 0.5) * steps[1]
            across = matrix[0, 0] * x * x + matrix[1, 1] * y * y + 2.0 * matrix[0, 1] * x * y
            along = 2.0 * (matrix[0, 2] * x + matrix[1, 2] * y)
            for c in range(n2):
                z = (c - 0.5 * n2 + 0.5) * steps[2]
                r2 = max(x * x + y * y + z * z, 1e-12)
                outer = max(np.sqrt(r2), core)
                form = across + (along + matrix[2, 2] * z) * z
                at[c] = c + cells_per_rad * q * form / (r2 * outer * outer * outer)
            real, imag = out[0, a, b], out[1, a, b]
            real[:] = -one
            for c in range(n2):
                if 0.0 <= at[c] < n2 - 1:
                    low = int(at[c])
                    part = at[c] - np.float32(low)
                    value = fine[0, a, b, c] + one
                    real[low] += (one - part) * value
                    real[low + 1] += part * value
                    imag[low] += (one - part) * fine[1, a, b, c]
                    imag[low + 1] += part * fine[1, a, b, c]
    return out
