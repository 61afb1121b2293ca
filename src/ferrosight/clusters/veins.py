"""Is it a vein? A straight magnetised cylinder fitted in the window of a point, and compared with it.

Outside a cylinder the phase is 2s·(2(b·ρ̂)² - sin²θ)/ρ², with θ between its axis and B0, ρ the distance
from the axis and s its p/V per length (lengths in cube-root-of-voxel-volume units); inside the radius a it is
(2s/3a²)(3cos²θ - 1) (``physics.dipole.cylinder_field``). Blood is darker than tissue: the inside decays by a rate of
its own, as exp(-d·TE). Orientation, place across, that rate and strength, of either sign, are free. Background,
neighbours, voxels and weights are those of the point's own fit.
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
    cut_window,
    discount_neighbours,
    multiply_neighbour,
    multiply_neighbours,
)
from ferrosight.clusters.windows import (
    N_BACKGROUND,
    N_PARAMETERS,
    descend,
    factorise,
    measure_chi2,
    project_background,
    solve_factor,
)
from ferrosight.physics.trigonometry import sin_cos, sinc

#: Radii tried: a vein narrower than the first looks like it, a wider one is no longer taken for a point.
_RADII = np.array([0.2, 0.35, 0.5, 0.7, 1.0])
#: Number of the coarse drawing's radius among them, and that radius.
_SKETCHED_AT = 2
_SKETCHED = float(_RADII[_SKETCHED_AT])
#: ln|s|, two turns of the axis, two moves across it and the inside's decay.
_N_FREE = 6
#: Axes to start from, and strengths as a share of the point's own p/V.
_N_AXES = 18
_SHARES = np.array([-0.5, -0.15, 0.05, 0.15, 0.5, 1.5])
#: So many of the best axes are refined.
_N_REFINED = 3
#: A row of points is looked for towards so many neighbours.
_N_TOWARDS = 3
_REACH = 5.0
#: Larger than any χ² (compiled code may not tell infinity from other numbers).
_NONE = 1e30
#: Fewer points than this are no row.
_LEAST_ROW = 3
#: Cosine of the angle within which two directions are one.
_SAME_AXIS = 0.95
#: Neighbours nearer than this to the line are in the row.
_IN_ROW = 1.5
#: What a vein stands for is told of the points so far along it: windows reach 3.6, and these share most of theirs.
_WELL_WITHIN = 2.7
_MAX_STEPS = 12
#: A fit ends where a step takes off less than this share of χ²: a tenth in what is compared.
_SETTLED = 1e-4
#: Extra decay, by the first echo, of what is inside: to start from, and the most.
_DARK, _MAX_DECAY = np.array([0.0, 0.5]), 4.0
#: A cylinder that explains, at the best start, less than this share of what the point explains is no vein; nor is
#: one that, refined but coarsely drawn, has χ² above so many times the point's.
_LEAST_SHARE = 0.3
_HOPELESS = 1.5
#: A cylinder instead of a row, coarsely drawn, must explain this share of what it is to explain at last.
_LIKELY_SHARE = 0.6
#: The axis stays within this distance of the window's middle.
_MAX_ACROSS = 3.0
#: Cells per voxel edge next to the axis, at last and on the way; farther than this from it one cell, averaged
#: to first order, will do.
_CELLS, _MIDDLING, _COARSE = 3, 2, 1
_FAR = 1.7
#: Share of what a row of points explains that a cylinder, drawn as averages over voxels, may leave.
_MODEL_ERROR = 0.05
#: A point beside a cylinder is still there if it keeps this share of its strength, and takes off χ² this much.
_STILL_THERE = 0.5
_NEEDED = 25.0


#: A cylinder must be better by this much (χ² scaled to χ²/dof = 1) to reject a cluster.
VEIN_MARGIN = 9.0


def compare_cylinders(
    data: WindowData,
    sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    b0_in_array: NDArray[np.float64],
    lowered: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """χ² of the best cylinder less that of the point, in units of the point's χ²/dof, (n,).

    Two questions are asked of each source, and the lower answer counts: whether a cylinder fits better where
    its neighbours are explained; and, since the search explains a vein by a row of points, each of which then
    looks like a point, whether one cylinder fits better than a row of them, what lies beside the row explained.
    The second counts only if with that cylinder there the point is no longer needed; it is then told of the row.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them;
    ``b0_in_array`` (3,) is B0's unit vector along the array's axes; ``lowered`` (n,) is above 0 where
    a point's χ² is that of a fit under another point spread than the data's. Below 0 a vein fits better; NaN where
    the source was not fitted. The cylinder has three free parameters more than the point.
    """
    delta, along = np.full(len(sources), np.nan), np.full((len(sources), 3), np.nan)
    elsewhere = np.zeros(len(sources)) if lowered is None else lowered
    for pattern, table in enumerate(data.tables):
        rows = np.flatnonzero(sources.patterns == pattern)
        some, part, row_axes = sources.pick(rows), delta[rows], along[rows]
        _compare_many(
            (data.signal, data.weights),
            data.model_error,
            (neighbours.centres, neighbours.blocks, neighbours.positions),
            (
                np.asarray(own, np.int64)[rows],
                some.centres,
                some.shifts,
                some.q,
                some.chi2,
                elsewhere[rows],
                some.steps,
            ),
            data.ratios,
            (table.values, table.matrix, table.edges),
            (data.voxels, data.basis),
            np.asarray(b0_in_array, np.float64),
            _spread_axes(_N_AXES),
            part,
            row_axes,
        )
        delta[rows], along[rows] = part, row_axes
    return _judge_rows(sources.positions * data.edges, np.asarray(own) >= 0, delta, along)


def _judge_rows(
    points: NDArray[np.float64], explains: NDArray[np.bool_], delta: NDArray[np.float64], along: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``delta`` (n,), where a vein stands for a row of points taken by all its points that lie well in the window.

    The vein was compared with the whole row: a point in it that is more than the vein would have spoken against it.
    """
    lowest = delta.copy()
    for row in np.flatnonzero(delta < -VEIN_MARGIN):
        apart = points - points[row]
        ahead = apart @ along[row]
        in_row = explains & (np.abs(ahead) < _WELL_WITHIN) & ((apart**2).sum(axis=1) - ahead**2 < _IN_ROW**2)
        lowest[in_row] = np.fmin(lowest[in_row], delta[row])
    return lowest


def _spread_axes(n: int) -> NDArray[np.float64]:
    """Unit vectors (n, 3) spread evenly over a hemisphere (Fibonacci's spiral)."""
    z = (np.arange(n) + 0.5) / n
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)


@njit(cache=True, fastmath=True)
def _across(axis, first, second):  # type: ignore[no-untyped-def]
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
    _across(axis, first, second)
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
        near = mx * mx + my * my + mz * mz - along * along < _FAR * _FAR
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
            return np.inf
        total += chi2
    return total


@njit(cache=True, fastmath=True)
def _linearise(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells, gram, gradient):  # type: ignore[no-untyped-def]
    """χ² of a cylinder; fills its normal equations with the background projected out."""
    data, other, weight = window
    n = len(voxels)
    signal = np.empty(n, np.complex64)
    slopes = np.empty((_N_FREE, n), np.complex64)
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
            return np.inf
        total += chi2
        for v in range(n):
            column = other[e, v] * smooth_background(coefficients, basis, v)
            slopes[5, v] *= ratios[e]
            for p in range(_N_FREE):
                slopes[p, v] *= column
        project_columns(slopes, signal, weight[e], basis, low)
        add_normal_equations(slopes, residual, weight[e], gram, gradient)
    return total


@njit(cache=True, fastmath=True)
def _refine(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells):  # type: ignore[no-untyped-def]
    """Levenberg-Marquardt from a start; returns strength and χ². Changes ``axis`` and ``place``."""
    gram = np.empty((_N_FREE, _N_FREE))
    damped = np.empty((_N_FREE, _N_FREE))
    gradient = np.empty(_N_FREE)
    step = np.empty(_N_FREE)
    first, second = np.empty(3), np.empty(3)
    new_axis, new_place = np.empty(3), np.empty(3)
    chi2 = _linearise(window, ratios, b0, edges, voxels, basis, s, axis, place, radius, decay, cells, gram, gradient)
    damping = 1e-2
    for _ in range(_MAX_STEPS):
        damped[:] = gram
        for p in range(_N_FREE):
            damped[p, p] += damping * gram[p, p] + 1e-9
            step[p] = gradient[p]
        if (decay <= 0.0 and gradient[5] < 0.0) or (decay >= _MAX_DECAY and gradient[5] > 0.0):
            # At its bound the decay is held.
            step[5] = 0.0
            damped[5, :5] = 0.0
        if not factorise(damped):
            break
        solve_factor(damped, step)
        for p in range(_N_FREE):
            step[p] = min(max(step[p], -0.5), 0.5)
        new_s = s * np.exp(step[0])
        new_decay = min(max(decay + step[5], 0.0), _MAX_DECAY)
        _across(axis, first, second)
        for a in range(3):
            new_axis[a] = axis[a] + step[1] * first[a] + step[2] * second[a]
            new_place[a] = place[a] + step[3] * first[a] + step[4] * second[a]
        _settle(new_axis, new_place)
        new_chi2 = _chi2(window, ratios, b0, edges, voxels, basis, new_s, new_axis, new_place, radius, new_decay, cells)
        if new_chi2 < chi2:
            gain = chi2 - new_chi2
            s = new_s
            decay = new_decay
            axis[:] = new_axis
            place[:] = new_place
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
def _sketch_cylinder(window, ratios, b0, edges, voxels, basis, q, starts, axes, decays, cells, good, nothing, found):  # type: ignore[no-untyped-def]
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
        chi2[i] = np.inf
        axis[:] = axes[i]
        place[:] = starts[i]
        _settle(axis, place)
        for share in _SHARES:
            for dark in decays:
                s = q * share
                tried = _chi2(window, ratios, b0, edges, voxels, basis, s, axis, place, _SKETCHED, dark, cells)
                if tried < chi2[i]:
                    chi2[i], strength[i], decay_of[i] = tried, s, dark
    first = np.argmin(chi2)
    axis[:] = axes[first]
    place[:] = starts[first]
    _settle(axis, place)
    _keep(found, strength[first], _SKETCHED, axis, place, decay_of[first])
    if nothing - chi2[first] < _LEAST_SHARE * (nothing - good):
        return chi2[first]
    lowest = np.inf
    for i in np.argsort(chi2)[:_N_REFINED]:
        axis[:] = axes[i]
        place[:] = starts[i]
        _settle(axis, place)
        s, decay, tried = _refine(
            window, ratios, b0, edges, voxels, basis, strength[i], axis, place, _SKETCHED, decay_of[i], cells
        )
        if tried < lowest:
            lowest = tried
            _keep(found, s, _SKETCHED, axis, place, decay)
    return lowest


@njit(cache=True, fastmath=True)
def _finish_cylinder(window, ratios, b0, edges, voxels, basis, good, nothing, found):  # type: ignore[no-untyped-def]
    """χ² of the best finely drawn cylinder that starts from ``found``, which it replaces.

    From the coarse drawing's radius on, narrower and then wider ones are tried while they fit better; none where
    the first is far from ``good``.
    """
    axis, place = np.empty(3), np.empty(3)
    lowest = np.inf
    for step in (-1, 1):
        at = _SKETCHED_AT if step < 0 else _SKETCHED_AT + 1
        while 0 <= at < len(_RADII):
            axis[:] = found[2:5]
            place[:] = found[5:8]
            s, decay, tried = _refine(
                window, ratios, b0, edges, voxels, basis, found[0], axis, place, _RADII[at], found[8], _CELLS
            )
            if not tried < lowest:
                break
            lowest = tried
            _keep(found, s, _RADII[at], axis, place, decay)
            if nothing - lowest < _LIKELY_SHARE * (nothing - good):
                return lowest
            at += step
        if found[1] < _SKETCHED:
            break
    return lowest


@njit(cache=True, fastmath=True)
def _keep(found, s, radius, axis, place, decay):  # type: ignore[no-untyped-def]
    found[0] = s
    found[1] = radius
    found[2:5] = axis
    found[5:8] = place
    found[8] = decay


@njit(cache=True, fastmath=True)
def _row_axes(place, own, positions, edges):  # type: ignore[no-untyped-def]
    """Unit vectors (n, 3) towards the nearest neighbours, each direction once: a vein runs along its row of points."""
    near = np.empty((len(positions), 4))
    n = 0
    for b in range(len(positions)):
        apart = (positions[b] - place) * edges
        distance = np.sqrt((apart * apart).sum())
        if b != own and 0.1 < distance < _REACH:
            near[n, 0] = distance
            near[n, 1:] = apart / distance
            n += 1
    axes = np.empty((_N_TOWARDS, 3))
    kept = 0
    for b in np.argsort(near[:n, 0]):
        new = kept < _N_TOWARDS
        for k in range(kept):
            new &= abs((axes[k] * near[b, 1:]).sum()) < _SAME_AXIS
        if new:
            axes[kept] = near[b, 1:]
            kept += 1
    return axes[:kept]


@njit(cache=True, fastmath=True)
def _count_row(place, own, positions, edges, axis, reach):  # type: ignore[no-untyped-def]
    """How many points there are in a row along ``axis`` with ``place``, itself included, within ``reach``."""
    count = 1
    for b in range(len(positions)):
        apart = (positions[b] - place) * edges
        along = (apart * axis).sum()
        in_row = (apart * apart).sum() - along * along < _IN_ROW * _IN_ROW
        count += b != own and in_row and abs(along) < reach
    return count


@njit(cache=True, fastmath=True)
def _multiply_beside(centre, place, voxels, own, neighbours, edges, axis, other):  # type: ignore[no-untyped-def]
    """Product (echo, voxel) of the factors of all neighbours but those in a row along ``axis`` with ``place``."""
    block_centres, blocks, positions = neighbours
    other[:] = 1.0
    for b in range(len(block_centres)):
        apart = (positions[b] - place) * edges
        along = (apart * axis).sum()
        in_row = (apart * apart).sum() - along * along < _IN_ROW * _IN_ROW
        if b != own and not in_row:
            multiply_neighbour(centre, voxels, block_centres[b], blocks[b], other)


@njit(cache=True, fastmath=True)
def _needs_point(window, ratios, table, b0, voxels, basis, cylinder, q, shift, dof):  # type: ignore[no-untyped-def]
    """Whether a point is still there, about as strong, once a cylinder is explained."""
    data, other, weight = window
    n = len(voxels)
    edges = table[2]
    factor = np.empty((len(ratios), n), np.complex64)
    slopes = np.empty((0, n), np.complex64)
    gram = np.empty((N_PARAMETERS, N_PARAMETERS))
    moved = shift.copy()
    for e in range(len(ratios)):
        draw_cylinder(
            cylinder[0] * ratios[e],
            cylinder[2:5],
            cylinder[5:8],
            cylinder[1],
            np.exp(-cylinder[8] * ratios[e]),
            b0,
            edges,
            voxels,
            _CELLS,
            factor[e],
            slopes,
        )
        factor[e] *= other[e]
    without = measure_chi2(data, factor, weight, ratios, table, voxels, basis, 0.0, moved)
    left, chi2, steps = descend(data, factor, weight, ratios, table, voxels, basis, q, moved, gram)
    return steps >= 0 and abs(left) > _STILL_THERE * abs(q) and (without - chi2) * dof > _NEEDED * chi2


@njit(cache=True, fastmath=True)
def _ask_row(window, model_error, neighbours, source, table, shape, dof, best):  # type: ignore[no-untyped-def]
    """χ² of a cylinder less that of a point and the neighbours in a row with it, of the likeliest such row.

    ``_NONE`` without a row, and where the point is needed beside the cylinder. The others, beside the row, are
    explained in both. Every radius is tried. Fills ``best`` (9,) as ``_sketch_cylinder`` does.
    """
    data, alone = window
    own, centre, shift, q, better = source
    ratios, b0, edges, voxels, basis = shape
    here = centre + shift
    row = np.empty(data.shape, np.complex64)
    beside = np.empty(data.shape, np.complex64)
    weight = np.empty(alone.shape, np.float32)
    best_beside, best_weight = beside.copy(), weight.copy()
    found = np.empty(9)
    lowest, allowed, best_together = _NONE, 0.0, 1.0
    starts, ways = np.empty((3, 3)), np.empty((3, 3))
    longest = np.argmax(edges)
    reach = np.sqrt((((voxels * edges) ** 2).sum(axis=1)).max())
    multiply_neighbours(centre, voxels, own, neighbours[0], neighbours[1], row)
    axes = _row_axes(here, own, neighbours[2], edges)
    for a in range(len(axes)):
        if _count_row(here, own, neighbours[2], edges, axes[a], _REACH) < _LEAST_ROW:
            continue
        _multiply_beside(centre, here, voxels, own, neighbours, edges, axes[a], beside)
        weight[:] = alone
        discount_neighbours(data, beside, model_error, weight)
        together = measure_chi2(data, row, weight, ratios, table, voxels, basis, q, shift) - better
        nothing = measure_chi2(data, beside, weight, ratios, table, voxels, basis, 0.0, shift)
        if together <= 0.0:
            continue
        # A row has four parameters per point, a cylinder seven; each is worth ln(data) of χ² (Schwarz's criterion).
        n_more = max(N_PARAMETERS * _count_row(here, own, neighbours[2], edges, axes[a], reach) - _N_FREE - 1, 0)
        good = together * (1 + n_more * np.log(dof) / dof) + _MODEL_ERROR * max(nothing - together, 0.0)
        for k in range(len(starts)):
            starts[k] = shift * edges
            starts[k, longest] += 0.5 * (k - 1)
            ways[k] = axes[a]
        sketch = _sketch_cylinder(
            (data, beside, weight),
            ratios,
            b0,
            edges,
            voxels,
            basis,
            q,
            starts,
            ways,
            _DARK,
            _MIDDLING,
            good,
            nothing,
            found,
        )
        if nothing - sketch > _LIKELY_SHARE * (nothing - good) and sketch / good < lowest:
            lowest, allowed, best_together = sketch / good, good, together
            best[:], best_beside[:], best_weight[:] = found, beside, weight
    if not lowest < _NONE:
        return _NONE
    explained = (data, best_beside, best_weight)
    begin = best.copy()
    cylinder = _NONE
    for radius in _RADII:
        axis, place = begin[2:5].copy(), begin[5:8].copy()
        s, decay, tried = _refine(
            explained, ratios, b0, edges, voxels, basis, begin[0], axis, place, radius, begin[8], _CELLS
        )
        if tried < cylinder:
            cylinder = tried
            _keep(best, s, radius, axis, place, decay)
    gain = (cylinder - allowed) * dof / best_together
    if gain < 0.0 and _needs_point(explained, ratios, table, b0, voxels, basis, best, q, shift, dof):
        return _NONE
    return gain


@njit(cache=True, fastmath=True, parallel=True)
def _compare_many(volumes, model_error, neighbours, rows, ratios, table, window, b0, axes, delta, along):  # type: ignore[no-untyped-def]
    """Fill ``delta`` (n,) for every source, and ``along`` (n, 3) with a vein's axis where that stands for a row."""
    signal, weights = volumes
    block_centres, blocks = neighbours[:2]
    own, centres, shifts, q, fitted, lowered, steps = rows
    voxels, basis = window
    edges = table[2]
    n = len(voxels)
    n_echoes = signal.shape[0]
    for f in prange(len(q)):
        if steps[f] < 0:
            continue
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        found = np.empty(9)
        starts = np.empty((len(axes), 3))
        starts[:] = shifts[f] * edges
        used = cut_window(signal, weights, centres[f], voxels, data, weight)
        dof = max(2.0 * n_echoes * (used - N_BACKGROUND) - N_PARAMETERS, 1.0)
        multiply_neighbours(centres[f], voxels, own[f], block_centres, blocks, other)
        alone = weight.copy()
        discount_neighbours(data, other, model_error, weight)
        point = measure_chi2(data, other, weight, ratios, table, voxels, basis, q[f], shifts[f])
        # What was fitted best under another point spread than that of the data is not as good as that here.
        better = 0.0
        if lowered[f] > 0.0 and fitted[f] < point:
            better = point - fitted[f]
            point = fitted[f]
        if point <= 0.0:
            continue
        nothing = measure_chi2(data, other, weight, ratios, table, voxels, basis, 0.0, shifts[f])
        shape = (ratios, b0, edges, voxels, basis)
        explained = (data, other, weight)
        cylinder = _sketch_cylinder(
            explained, ratios, b0, edges, voxels, basis, q[f], starts, axes, _DARK[:1], _COARSE, point, nothing, found
        )
        if cylinder < _HOPELESS * point and nothing - cylinder >= _LEAST_SHARE * (nothing - point):
            cylinder = min(
                cylinder, _finish_cylinder(explained, ratios, b0, edges, voxels, basis, point, nothing, found)
            )
        delta[f] = (cylinder - point) * dof / point
        if delta[f] < -VEIN_MARGIN:
            continue
        gain = _ask_row(
            (data, alone),
            model_error,
            neighbours,
            (own[f], centres[f], shifts[f], q[f], better),
            table,
            shape,
            dof,
            found,
        )
        if gain < delta[f]:
            delta[f], along[f] = gain, found[2:5]
