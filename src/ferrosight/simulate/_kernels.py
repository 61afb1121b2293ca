"""The inner loops of the simulator, compiled; they release the interpreter's lock.

No division here is by zero; numpy's error model spares the checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def _add_dipole(
    x: float,
    y: float,
    z: float,
    amplitude: float,
    core: float,
    is_sphere: bool,
    b0: FloatArray,
    field: FloatArray,
    gradient: FloatArray,
    i: int,
) -> None:
    """Add to point ``i``, at an offset of x, y, z from a dipole, its A(3cos²θ-1)/r³ and the gradient of that."""
    # a millionth of a µm keeps the centre itself finite; no average can tell
    r2 = max(x * x + y * y + z * z, 1e-24)
    r = np.sqrt(r2)
    if r < core and is_sphere:
        return
    along = b0[0] * x + b0[1] * y + b0[2] * z
    cosine2 = along * along / r2
    # outside ∇ = A/r³ · [6(b·r)b - (15c² - 3)r]/r²; inside the core only the angle still changes
    radial = 6 * cosine2 if r < core else 15 * cosine2 - 3
    closest = max(r, core)
    scale = amplitude / (closest * closest * closest)
    field[i] += scale * (3 * cosine2 - 1)
    slope = scale / r2
    gradient[i, 0] += slope * (6 * along * b0[0] - radial * x)
    gradient[i, 1] += slope * (6 * along * b0[1] - radial * y)
    gradient[i, 2] += slope * (6 * along * b0[2] - radial * z)


@njit(cache=True, nogil=True, error_model="numpy")
def add_dipoles(
    points: FloatArray,
    positions: FloatArray,
    amplitudes: FloatArray,
    core: float,
    is_sphere: bool,
    b0: FloatArray,
    centroid: FloatArray,
    far: float,
    field: FloatArray,
    gradient: FloatArray,
) -> None:
    """Add A(3cos²θ-1)/r³ of every dipole to ``field`` (n,), and its gradient to ``gradient`` (n, 3).

    Inside ``core`` r³ stays core³, or the field is zero where ``is_sphere``. Beyond ``far`` from their centroid
    all of them are one.
    """
    whole = amplitudes.sum()
    for i in range(len(points)):
        x, y, z = points[i, 0] - centroid[0], points[i, 1] - centroid[1], points[i, 2] - centroid[2]
        if x * x + y * y + z * z > far * far:
            _add_dipole(x, y, z, whole, core, is_sphere, b0, field, gradient, i)
            continue
        for j in range(len(positions)):
            x, y, z = points[i, 0] - positions[j, 0], points[i, 1] - positions[j, 1], points[i, 2] - positions[j, 2]
            _add_dipole(x, y, z, amplitudes[j], core, is_sphere, b0, field, gradient, i)


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_cells(values: NDArray[Any], first: int, last: int, turn: float) -> complex:
    """Sum of the shares of some cells times their mean signal, see ``average_cells``."""
    real, imaginary = 0.0, 0.0
    for i in range(first, last):
        size = 1.0 / (last - first)
        if values.shape[1] == 6:
            decay = float(values[i, 4])
            if np.isinf(decay):
                continue
            size = float(values[i, 5])
            if decay != 0.0:
                size *= np.exp(-decay * abs(turn))
        for axis in range(3):
            half = np.pi * turn * values[i, 1 + axis]
            h2 = half * half
            # the series is right to 3e-6 there, and most cells are
            size *= np.sin(half) / half if h2 > 1 else 1 - h2 / 6 * (1 - h2 / 20 * (1 - h2 / 42))
        phase = 2 * np.pi * turn * values[i, 0]
        real += size * np.cos(phase)
        imaginary += size * np.sin(phase)
    return complex(real, imaginary)


@njit(cache=True, nogil=True, error_model="numpy")
def average_cells(values: NDArray[Any], starts: NDArray[Any], turns: FloatArray) -> NDArray[np.complex128]:
    """Mean (echo, n) of exp(2πi f·t - R|t|) over boxes, each of the cells from one of ``starts`` (n + 1,) to the next.

    ``values`` (cell, 6): the field, its change from one face of the cell to the opposite one along each axis (Hz;
    linear), R (s⁻¹; infinite in voids), and the cell's share of its box. Without the last two nothing relaxes,
    and cells share their box evenly.
    """
    result = np.empty((len(turns), len(starts) - 1), dtype=np.complex128)
    for e in range(len(turns)):
        for n in range(len(starts) - 1):
            result[e, n] = _sum_cells(values, starts[n], starts[n + 1], turns[e])
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def add_deviations(
    values: NDArray[Any],
    starts: NDArray[Any],
    weights: NDArray[np.float32],
    places: NDArray[np.int32],
    turn: float,
    total: NDArray[np.float32],
) -> None:
    """Add weight (n,) times the mean over each box less 1 at its place (n,) in ``total`` (2, all), real and imaginary.

    ``values`` and ``starts`` as in ``average_cells``.
    """
    for n in range(len(places)):
        mean = _sum_cells(values, starts[n], starts[n + 1], turn)
        total[0, places[n]] += weights[n] * (mean.real - 1)
        total[1, places[n]] += weights[n] * mean.imag


@njit(cache=True, nogil=True, error_model="numpy")
def add_far_dipoles(
    points: FloatArray,
    positions: FloatArray,
    amplitudes: FloatArray,
    floor: float,
    b0: FloatArray,
    centroid: FloatArray,
    far: float,
    field: FloatArray,
) -> None:
    """Add A(3cos²θ-1)/r³ of every dipole to ``field`` (n,), r no less than ``floor``; beyond ``far`` all are one."""
    whole = amplitudes.sum()
    for i in range(len(points)):
        x, y, z = points[i, 0] - centroid[0], points[i, 1] - centroid[1], points[i, 2] - centroid[2]
        r2 = x * x + y * y + z * z
        if r2 > far * far:
            along = b0[0] * x + b0[1] * y + b0[2] * z
            r2 = max(r2, floor * floor)
            field[i] += whole * (3 * along * along / r2 - 1) / (r2 * np.sqrt(r2))
            continue
        for j in range(len(positions)):
            x, y, z = points[i, 0] - positions[j, 0], points[i, 1] - positions[j, 1], points[i, 2] - positions[j, 2]
            r2 = max(x * x + y * y + z * z, floor * floor)
            along = b0[0] * x + b0[1] * y + b0[2] * z
            field[i] += amplitudes[j] * (3 * along * along / r2 - 1) / (r2 * np.sqrt(r2))


@njit(cache=True, nogil=True, error_model="numpy")
def add_curvatures(
    points: FloatArray, positions: FloatArray, strengths: FloatArray, floor: float, radius: float, total: FloatArray
) -> FloatArray:
    """Add S/r⁵ of every dipole, r less ``radius`` and no less than ``floor``; returns the distance to the nearest."""
    nearest = np.empty(len(points))
    for i in range(len(points)):
        least = np.inf
        for j in range(len(positions)):
            x, y, z = points[i, 0] - positions[j, 0], points[i, 1] - positions[j, 1], points[i, 2] - positions[j, 2]
            r = np.sqrt(x * x + y * y + z * z)
            least = min(least, r)
            closest = max(r - radius, floor)
            total[i] += strengths[j] / (closest * closest * closest * closest * closest)
        nearest[i] = least
    return nearest


@njit(cache=True, nogil=True, error_model="numpy")
def measure_to_segment(points: FloatArray, start: FloatArray, axis: FloatArray, length: float) -> FloatArray:
    """Distance (n,) of points from a straight segment."""
    result = np.empty(len(points))
    for i in range(len(points)):
        x, y, z = points[i, 0] - start[0], points[i, 1] - start[1], points[i, 2] - start[2]
        s = min(max(axis[0] * x + axis[1] * y + axis[2] * z, 0.0), length)
        x, y, z = x - s * axis[0], y - s * axis[1], z - s * axis[2]
        result[i] = np.sqrt(x * x + y * y + z * z)
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def _integrate_line(u: float, rho2: float, per_rho2: float, alpha: float, beta: float) -> float:
    """Primitive of (3cos²θ-1)/r³ along a line, as in ``physics.dipole.line_pattern``; ``per_rho2`` is 1/ρ²."""
    per_r = 1 / np.sqrt(rho2 + u * u)
    per_r2, sine = per_r * per_r, u * per_r
    even = alpha * alpha * (per_r2 + 2 * per_rho2) + beta * beta * sine * sine - 1
    return float(sine * per_rho2 * even - 2 * alpha * beta * per_r * per_r2)


@njit(cache=True, nogil=True, error_model="numpy")
def add_tube(
    points: FloatArray,
    start: FloatArray,
    axis: FloatArray,
    length: float,
    radius: float,
    shift_hz: float,
    b0: FloatArray,
    field: FloatArray,
    gradient: FloatArray,
) -> None:
    """Add the field of a cylinder of shift Δχ·γB0 to ``field`` (n,), and its gradient to ``gradient`` (n or 0, 3).

    The gradient only fades steep cells, so that of an infinite cylinder does for it, and none beyond the ends:
    ∇ of S[2(b·x)²/ρ⁴ - sin²θ/ρ²], x across the axis.
    """
    beta = axis[0] * b0[0] + axis[1] * b0[1] + axis[2] * b0[2]
    sine2 = 1 - beta * beta
    bx, by, bz = b0[0] - beta * axis[0], b0[1] - beta * axis[1], b0[2] - beta * axis[2]
    line, strength = shift_hz * radius * radius / 4, shift_hz * radius * radius / 2
    for i in range(len(points)):
        x, y, z = points[i, 0] - start[0], points[i, 1] - start[1], points[i, 2] - start[2]
        s = axis[0] * x + axis[1] * y + axis[2] * z
        x, y, z = x - s * axis[0], y - s * axis[1], z - s * axis[2]
        rho2 = x * x + y * y + z * z
        alpha = x * bx + y * by + z * bz
        within = 0 < s < length
        if rho2 < radius * radius:
            if within:
                field[i] += shift_hz / 6 * (3 * beta * beta - 1)
                continue
            # on the axis beyond an end the line's formula divides by zero: step aside, and no nearer than a radius
            s = min(s, -radius) if s < 0 else max(s, length + radius)
            rho2, alpha = 1e-4 * radius * radius, 0.0
        per_rho2 = 1 / rho2
        whole = _integrate_line(s, rho2, per_rho2, alpha, beta)
        whole -= _integrate_line(s - length, rho2, per_rho2, alpha, beta)
        field[i] += line * whole
        if within and len(gradient):
            across = strength * per_rho2 * per_rho2
            outwards = across * (2 * sine2 - 8 * alpha * alpha * per_rho2)
            gradient[i, 0] += across * 4 * alpha * bx + outwards * x
            gradient[i, 1] += across * 4 * alpha * by + outwards * y
            gradient[i, 2] += across * 4 * alpha * bz + outwards * z


@njit(cache=True, nogil=True, error_model="numpy")
def _integrate_rd(x: float, y: float, z: float) -> float:
    """Carlson's R_D by duplication (Carlson 1995, doi 10.1007/BF02198293), to 1e-13."""
    total, scale = 0.0, 1.0
    mean = (x + y + 3 * z) / 5
    spread = max(abs(mean - x), abs(mean - y), abs(mean - z))
    # the series' error is a sixth power
    while spread * scale > 4e-3 * mean:
        root_x, root_y, root_z = np.sqrt(x), np.sqrt(y), np.sqrt(z)
        step = root_x * root_y + root_x * root_z + root_y * root_z
        total += scale / (root_z * (z + step))
        scale /= 4
        x, y, z = (x + step) / 4, (y + step) / 4, (z + step) / 4
        mean = (x + y + 3 * z) / 5
    a, b = 1 - x / mean, 1 - y / mean
    c = -(a + b) / 3
    e2 = a * b - 6 * c * c
    e3 = (3 * a * b - 8 * c * c) * c
    e4, e5 = 3 * (a * b - c * c) * c * c, a * b * c * c * c
    series = 1 - 3 * e2 / 14 + e3 / 6 + 9 * e2 * e2 / 88 - 3 * e4 / 22 - 9 * e2 * e3 / 52 + 3 * e5 / 26
    return float(3 * total + scale * series / (mean * np.sqrt(mean)))


@njit(cache=True, nogil=True, error_model="numpy")
def _find_confocal(x2: float, y2: float, z2: float, a2: float, b2: float, c2: float) -> float:
    """The largest root λ of x²/(a² + λ) + y²/(b² + λ) + z²/(c² + λ) = 1: Newton from below, where it is monotone."""
    root = max(x2 + y2 + z2 - max(a2, b2, c2), 0.0)
    for _ in range(60):
        a, b, c = a2 + root, b2 + root, c2 + root
        x, y, z = x2 / a, y2 / b, z2 / c
        step = (x + y + z - 1) / (x / a + y / b + z / c)
        root += max(step, 0.0)
        if not step > 1e-12 * min(a, b, c):
            break
    return float(root)


@njit(cache=True, nogil=True, error_model="numpy")
def measure_ellipsoid(offsets: FloatArray, half_axes: FloatArray, b0: FloatArray) -> FloatArray:
    """Field (n,), over Δχ·B0, of an ellipsoid at offsets (n, 3) along its half axes, see ``Spheroid``."""
    a2, b2, c2 = half_axes[0] ** 2, half_axes[1] ** 2, half_axes[2] ** 2
    product = half_axes[0] * half_axes[1] * half_axes[2]
    result = np.empty(len(offsets))
    for i in range(len(offsets)):
        x, y, z = offsets[i, 0], offsets[i, 1], offsets[i, 2]
        outside = x * x / a2 + y * y / b2 + z * z / c2 > 1
        root = _find_confocal(x * x, y * y, z * z, a2, b2, c2) if outside else 0.0
        a, b, c = a2 + root, b2 + root, c2 + root
        total = b0[0] * b0[0] * _integrate_rd(b, c, a)
        total += b0[1] * b0[1] * _integrate_rd(c, a, b) + b0[2] * b0[2] * _integrate_rd(a, b, c)
        result[i] = (0.0 if outside else 1 / 3) - product / 3 * total
        if outside:
            # D changes with λ too: ∂D_j/∂λ = -(abc/2)/((a_j² + λ)R), ∂λ/∂x_i = 2x_i/(a_i² + λ)/Σ x²/(a² + λ)²
            x, y, z = x / a, y / b, z / c
            along = x * b0[0] + y * b0[1] + z * b0[2]
            result[i] += product * along * along / (np.sqrt(a * b * c) * (x * x + y * y + z * z))
    return result
