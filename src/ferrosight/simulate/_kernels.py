"""The two inner loops of the simulator, compiled; they release the interpreter's lock."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@njit(cache=True, nogil=True)
def add_dipoles(
    points: FloatArray,
    positions: FloatArray,
    amplitudes: FloatArray,
    core: float,
    is_sphere: bool,
    b0: FloatArray,
    field: FloatArray,
    gradient: FloatArray,
) -> None:
    """Add A(3cos²θ-1)/r³ of every dipole to ``field`` (n,), and its gradient to ``gradient`` (n, 3).

    Inside ``core`` r³ stays core³, or the field is zero where ``is_sphere``.
    """
    for i in range(len(points)):
        for j in range(len(positions)):
            x, y, z = points[i, 0] - positions[j, 0], points[i, 1] - positions[j, 1], points[i, 2] - positions[j, 2]
            # a millionth of a µm keeps the centre itself finite; no average can tell
            r2 = max(x * x + y * y + z * z, 1e-24)
            r = np.sqrt(r2)
            if r < core and is_sphere:
                continue
            along = b0[0] * x + b0[1] * y + b0[2] * z
            cosine2 = along * along / r2
            # outside ∇ = A/r³ · [6(b·r)b - (15c² - 3)r]/r²; inside the core only the angle still changes
            radial = 6 * cosine2 if r < core else 15 * cosine2 - 3
            scale = amplitudes[j] / max(r, core) ** 3
            field[i] += scale * (3 * cosine2 - 1)
            slope = scale / r2
            gradient[i, 0] += slope * (6 * along * b0[0] - radial * x)
            gradient[i, 1] += slope * (6 * along * b0[1] - radial * y)
            gradient[i, 2] += slope * (6 * along * b0[2] - radial * z)


@njit(cache=True, nogil=True)
def average_linear_phase(
    field: FloatArray, gradient: FloatArray, decay: FloatArray, cell: FloatArray, turns: FloatArray
) -> NDArray[np.complex128]:
    """Mean (echo, n) of exp(2πi f·t - R|t|) over cells of edges ``cell`` (3,) in which the field is linear.

    R is ``decay`` (n,), s⁻¹: infinite in voids.
    """
    result = np.zeros((len(turns), len(field)), dtype=np.complex128)
    for e in range(len(turns)):
        for i in range(len(field)):
            if np.isinf(decay[i]):
                continue
            size = np.exp(-decay[i] * abs(turns[e])) if decay[i] != 0.0 else 1.0
            for axis in range(3):
                half = np.pi * turns[e] * gradient[i, axis] * cell[axis]
                size *= np.sin(half) / half if abs(half) > 1e-3 else 1 - half * half / 6
            phase = 2 * np.pi * turns[e] * field[i]
            result[e, i] = complex(size * np.cos(phase), size * np.sin(phase))
    return result
