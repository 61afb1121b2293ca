"""A straight magnetised cylinder in a window: drawn, and fitted.

Outside a cylinder the phase is 2s·(2(b·ρ̂)² - sin²θ)/ρ², with θ between its axis and B0, ρ the distance
from the axis and s its p/V per length (lengths in cube-root-of-voxel-volume units); inside the radius a it is
(2s/3a²)(3cos²θ - 1) (``physics.dipole.cylinder_field``). Blood is darker than tissue: the inside decays by a rate of
its own, as exp(-d·TE). Orientation, place across, that rate and strength, of either sign, are free.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ferrosight.clusters.columns import add_normal_equations, project_columns, smooth_background
from ferrosight.clusters.windows import N_BACKGROUND, copy_into, factorise, project_background, solve_factor
from ferrosight.physics.trigonometry import sin_cos, sinc

#: Radii tried: a vein narrower than the first looks like it, a wider one is no longer taken for a point.
RADII = np.array([0.2, 0.35, 0.5, 0.7, 1.0])
#: Number of the coarse drawing's radius among them, and that radius.
_SKETCHED_AT = 2
_SKETCHED = float(RADII[_SKETCHED_AT])
#: ln|s|, two turns of the axis, two moves across it and the inside's decay.
N_FREE = 6
#: Larger than any χ² (compiled code may not tell infinity from other numbers).
NONE = 1e30
#: Strengths to start from, as a share of the point's own p/V.
_SHARES = np.array([-0.5, -0.15, 0.05, 0.15, 0.5, 1.5])
#: So many of the best axes are refined.
_N_REFINED = 3
_MAX_STEPS = 12
#: A fit ends where a step takes off less than this share of χ²: a tenth in what is compared.
_SETTLED = 1e-4
#: Extra decay, by the first echo, of what is inside: to start from, and the most.
DARK, _MAX_DECAY = np.array([0.0, 0.5]), 4.0
#: A cylinder that explains, at the best start, less than this share of what the point explains is no vein.
LEAST_SHARE = 0.3
#: A cylinder instead of a row, coarsely drawn, must explain this share of what it is to explain at last.
LIKELY_SHARE = 0.6
#: The axis stays within this distance of the window's middle.
_MAX_ACROSS = 3.0
#: Cells per voxel edge next to the axis, at last and on the way; farther than this from it one cell, averaged
#: to first order, will do.
CELLS, MIDDLING, COARSE = 3.0, 2.0, 1.0
FAR = 1.7


@njit(cache=True, fastmath=True)
def across_axis(axis, first, second):  # type: ignore[no-untyped-def]
    """Two unit vectors at right angles to ``axis`` and to each other."""
    low = 0
    for a in range(1, 3):
        if abs(axis[a]) < abs(axis[low]):
            low = a
    size = np.sqrt(1.0 - axis[low] ** 2)
    for a in range(3):
        first[a] = ((1.0 if a == low else 0.0) - axis[low] * axis[a]) / size
    second[0] = axis[1] * first[2] - axis[2] * first[1]
    second[1] = axis[2] * first[0] - axis[0] * first[2]
    second[2] = axis[0] * first[1] - axis[1] * first[0]


@njit(cache=True, fastmath=True)
def _count(cells):  # type: ignore[no-untyped-def]
    """Whole cells, at least one."""
    return max(int(cells + 0.5), 1)


@njit(cache=True, fastmath=True)
def draw_cylinder(s, axis, place, radius, clear, b0, edges, voxels, cells, signal, slopes):  # type: ignore[no-untyped-def]
    """Factor of a cylinder at every voxel of a window, box-averaged.

    ``axis``, ``place`` (3,) and ``radius``, along the array's axes in cube-root-of-voxel-volume units, the
    window's middle at 0; ``clear`` is what is left of the signal inside, ``cells`` how many a unit length is cut into
    next to the axis. Fills ``signal`` (n,) and, where ``slopes`` (6, n) has room, its derivatives by ln|s|, by the two
    turns of the axis, by the two moves across and by the decay -ln ``clear``.
    """
    first = np.empty(3)
    second = np.empty(3)
    across_axis(axis, first, second)
    cosine = b0[0] * axis[0] + b0[1] * axis[1] + b0[2] * axis[2]
    b_first = b0[0] * first[0] + b0[1] * first[1] + b0[2] * first[2]
    b_second = b0[0] * second[0] + b0[1] * second[1] + b0[2] * second[2]
    sine2 = 1.0 - cosine * cosine
    inside = 2.0 * s / (3.0 * radius * radius) * (3.0 * cosine * cosine - 1.0)
    inside_by_cosine = 4.0 * s * cosine / (radius * radius)
    counts = (_count(cells * edges[0]), _count(cells * edges[1]), _count(cells * edges[2]))
    for v in range(len(voxels)):
        mx = voxels[v, 0] * edges[0] - place[0]
        my = voxels[v, 1] * edges[1] - place[1]
        mz = voxels[v, 2] * edges[2] - place[2]
        along = mx * axis[0] + my * axis[1] + mz * axis[2]
        near = mx * mx + my * my + mz * mz - along * along < FAR * FAR
        nx, ny, nz = counts if near else (1, 1, 1)
        dx, dy, dz = edges[0] / nx, edges[1] / ny, edges[2] / nz
        total = 0.0j
        inner = 0.0j
        by_s = 0.0j
        by_1 = 0.0j
        by_2 = 0.0j
        by_3 = 0.0j
        by_4 = 0.0j
        for i in range(nx):
            x = mx + (i - 0.5 * (nx - 1)) * dx
            for j in range(ny):
                y = my + (j - 0.5 * (ny - 1)) * dy
                for k in range(nz):
                    z = mz + (k - 0.5 * (nz - 1)) * dz
                    t = x * axis[0] + y * axis[1] + z * axis[2]
                    x_first = x * first[0] + y * first[1] + z * first[2]
                    x_second = x * second[0] + y * second[1] + z * second[2]
                    rho2 = x_first * x_first + x_second * x_second
                    if rho2 > radius * radius:
                        alpha = b_first * x_first + b_second * x_second
                        by_alpha = 8.0 * s * alpha / (rho2 * rho2)
                        by_rho2 = 2.0 * s * (sine2 - 4.0 * alpha * alpha / rho2) / (rho2 * rho2)
                        phase = 2.0 * s * (2.0 * alpha * alpha / rho2 - sine2) / rho2
                        by_t = -cosine * by_alpha - 2.0 * t * by_rho2
                        by_cosine = -t * by_alpha + 4.0 * s * cosine / rho2
                        gx = by_t * axis[0] + by_alpha * b0[0] + 2.0 * by_rho2 * x
                        gy = by_t * axis[1] + by_alpha * b0[1] + 2.0 * by_rho2 * y
                        gz = by_t * axis[2] + by_alpha * b0[2] + 2.0 * by_rho2 * z
                        size = sinc(0.5 * gx * dx) * sinc(0.5 * gy * dy) * sinc(0.5 * gz * dz)
                    else:
                        phase = inside
                        by_alpha, by_rho2, by_t = 0.0, 0.0, 0.0
                        by_cosine = inside_by_cosine
                        size = 1.0
                    phase_sine, phase_cosine = sin_cos(phase)
                    value = size * complex(phase_cosine, phase_sine)
                    if rho2 <= radius * radius:
                        value *= clear
                        inner += value
                    total += value
                    if len(slopes):
                        by_s += phase * value
                        by_1 += (by_t * x_first + by_cosine * b_first) * value
                        by_2 += (by_t * x_second + by_cosine * b_second) * value
                        by_3 -= (by_alpha * b_first + 2.0 * by_rho2 * x_first) * value
                        by_4 -= (by_alpha * b_second + 2.0 * by_rho2 * x_second) * value
        share = 1.0 / (nx * ny * nz)
        signal[v] = share * total
        if len(slopes):
            slopes[0, v] = 1j * share * by_s
            slopes[1, v] = 1j * share * by_1
            slopes[2, v] = 1j * share * by_2
            slopes[3, v] = 1j * share * by_3
            slopes[4, v] = 1j * share * by_4
            slopes[5, v] = -share * inner


@njit(cache=True, fastmath=True)
def _chi2(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells):  # type: ignore[no-untyped-def]
    """χ² of a cylinder."""
    data, other, weight = window
    n = len(voxels)
    signal = np.empty(n, np.complex64)
    slopes = np.empty((0, n), np.complex64)
    residual = np.empty(n, np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    total = 0.0
    for e in range(len(ratios)):
        draw_cylinder(
            s * ratios[e], axis, place, radius, np.exp(-decay * ratios[e]), b0, edges, voxels, cells, signal, slopes
        )
        for v in range(n):
            signal[v] *= other[e, v]
        chi2 = project_background(data[e], signal, weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return NONE
        total += chi2
    return total


@njit(cache=True, fastmath=True)
def _linearise(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells, gram, gradient):  # type: ignore[no-untyped-def]
    """χ² of a cylinder; fills its normal equations with the background projected out."""
    data, other, weight = window
    n = len(voxels)
    signal = np.empty(n, np.complex64)
    slopes = np.empty((N_FREE, n), np.complex64)
    residual = np.empty(n, np.complex64)
    coefficients = np.empty(N_BACKGROUND, np.complex128)
    low = np.empty((N_BACKGROUND, N_BACKGROUND))
    gram[:] = 0.0
    gradient[:] = 0.0
    total = 0.0
    for e in range(len(ratios)):
        draw_cylinder(
            s * ratios[e], axis, place, radius, np.exp(-decay * ratios[e]), b0, edges, voxels, cells, signal, slopes
        )
        for v in range(n):
            signal[v] *= other[e, v]
        chi2 = project_background(data[e], signal, weight[e], basis, residual, coefficients, low)
        if chi2 < 0.0:
            return NONE
        total += chi2
        for v in range(n):
            column = other[e, v] * smooth_background(coefficients, basis, v)
            slopes[5, v] *= ratios[e]
            for p in range(N_FREE):
                slopes[p, v] *= column
        project_columns(slopes, signal, weight[e], basis, low)
        add_normal_equations(slopes, residual, weight[e], gram, gradient)
    return total


@njit(cache=True, fastmath=True)
def refine_cylinder(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells):  # type: ignore[no-untyped-def]
    """Levenberg-Marquardt from a start; returns strength and χ². Changes ``axis`` and ``place``."""
    gram = np.empty((N_FREE, N_FREE))
    damped = np.empty((N_FREE, N_FREE))
    gradient = np.empty(N_FREE)
    step = np.empty(N_FREE)
    first, second = np.empty(3), np.empty(3)
    new_axis, new_place = np.empty(3), np.empty(3)
    chi2 = _linearise(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells, gram, gradient)
    damping = 1e-2
    for _ in range(_MAX_STEPS):
        copy_into(damped, gram)
        for p in range(N_FREE):
            damped[p, p] += damping * gram[p, p] + 1e-9
            step[p] = gradient[p]
        if (decay <= 0.0 and gradient[5] < 0.0) or (decay >= _MAX_DECAY and gradient[5] > 0.0):
            # At its bound the decay is held.
            step[5] = 0.0
            damped[5, :5] = 0.0
        if not factorise(damped):
            break
        solve_factor(damped, step)
        for p in range(N_FREE):
            step[p] = min(max(step[p], -0.5), 0.5)
        new_s = s * np.exp(step[0])
        new_decay = min(max(decay + step[5], 0.0), _MAX_DECAY)
        across_axis(axis, first, second)
        for a in range(3):
            new_axis[a] = axis[a] + step[1] * first[a] + step[2] * second[a]
            new_place[a] = place[a] + step[3] * first[a] + step[4] * second[a]
        _settle(new_axis, new_place)
        new_chi2 = _chi2(window, ratios, b0, edges, voxels, basis, new_s, new_axis, new_place, radius, new_decay, cells)
        if new_chi2 < chi2:
            gain = chi2 - new_chi2
            s = new_s
            decay = new_decay
            copy_into(axis, new_axis)
            copy_into(place, new_place)
            chi2 = new_chi2
            if gain < _SETTLED * chi2:
                break
            damping = max(damping * 0.2, 1e-6)
            _linearise(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells, gram, gradient)
        else:
            damping *= 6.0
            if damping > 1e3:
                break
    return s, decay, chi2


@njit(cache=True, fastmath=True)
def _settle(axis, place):  # type: ignore[no-untyped-def]
    """Make the axis a unit vector, and ``place`` its point nearest to the window's middle, not too far out."""
    size = np.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    along = 0.0
    for a in range(3):
        axis[a] /= size
        along += place[a] * axis[a]
    distance = 0.0
    for a in range(3):
        place[a] -= along * axis[a]
        distance += place[a] ** 2
    if distance > _MAX_ACROSS * _MAX_ACROSS:
        for a in range(3):
            place[a] *= _MAX_ACROSS / np.sqrt(distance)


@njit(cache=True, fastmath=True)
def sketch_cylinder(window, ratios, b0, edges, voxels, basis, q, starts, axes, decays, cells, good, nothing, found):  # type: ignore[no-untyped-def]
    """χ² of the best coarsely drawn cylinder, from the best of the starting ``axes`` (n, 3), each with its place
    ``starts`` (n, 3) and its best strength.

    ``good`` is a χ² that a vein comes near to, ``nothing`` that without any source; where no start comes near,
    nothing is refined. Fills ``found`` (9,) with strength, radius, axis, place and decay.
    """
    chi2 = np.empty(len(axes))
    strength = np.zeros(len(axes))
    decay_of = np.zeros(len(axes))
    axis, place = np.empty(3), np.empty(3)
    for i in range(len(axes)):
        chi2[i] = NONE
        copy_into(axis, axes[i])
        copy_into(place, starts[i])
        _settle(axis, place)
        for share in _SHARES:
            for dark in decays:
                s = q * share
                tried = _chi2(window, ratios, b0, edges, voxels, basis, s, axis, place, _SKETCHED, dark, cells)
                if tried < chi2[i]:
                    chi2[i], strength[i], decay_of[i] = tried, s, dark
    first = np.argmin(chi2)
    copy_into(axis, axes[first])
    copy_into(place, starts[first])
    _settle(axis, place)
    keep_cylinder(found, strength[first], _SKETCHED, axis, place, decay_of[first])
    if nothing - chi2[first] < LEAST_SHARE * (nothing - good):
        return chi2[first]
    lowest = NONE
    for i in np.argsort(chi2)[:_N_REFINED]:
        copy_into(axis, axes[i])
        copy_into(place, starts[i])
        _settle(axis, place)
        s, decay, tried = refine_cylinder(
            window, ratios, b0, edges, voxels, basis, strength[i], axis, place, _SKETCHED, decay_of[i], cells
        )
        if tried < lowest:
            lowest = tried
            keep_cylinder(found, s, _SKETCHED, axis, place, decay)
    return lowest


@njit(cache=True, fastmath=True)
def finish_cylinder(window, ratios, b0, edges, voxels, basis, good, nothing, found):  # type: ignore[no-untyped-def]
    """χ² of the best finely drawn cylinder that starts from ``found``, which it replaces.

    From the coarse drawing's radius on, narrower and then wider ones are tried while they fit better; none where
    the first is far from ``good``.
    """
    axis, place = np.empty(3), np.empty(3)
    lowest = NONE
    for step in (-1, 1):
        at = _SKETCHED_AT if step < 0 else _SKETCHED_AT + 1
        while 0 <= at < len(RADII):
            copy_into(axis, found[2:5])
            copy_into(place, found[5:8])
            s, decay, tried = refine_cylinder(
                window, ratios, b0, edges, voxels, basis, found[0], axis, place, RADII[at], found[8], CELLS
            )
            if not tried < lowest:
                break
            lowest = tried
            keep_cylinder(found, s, RADII[at], axis, place, decay)
            if nothing - lowest < LIKELY_SHARE * (nothing - good):
                return lowest
            at += step
        if found[1] < _SKETCHED:
            break
    return lowest


@njit(cache=True, fastmath=True)
def keep_cylinder(found, s, radius, axis, place, decay):  # type: ignore[no-untyped-def]
    """Put a cylinder's strength, radius, axis, place and decay into ``found`` (9,)."""
    found[0] = s
    found[1] = radius
    copy_into(found[2:5], axis)
    copy_into(found[5:8], place)
    found[8] = decay
