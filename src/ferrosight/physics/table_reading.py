"""Reading a table of F between its nodes: what a fit does thousands of times for every place it looks at.

A table (``SignalTable``) holds F less a phase that is known in closed form, at evenly spaced levels of |p|/V and
sub-voxel positions of the source. Between them four-point Lagrange interpolation, with its derivatives; roughly,
between the nearest two.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ferrosight.physics.trigonometry import sin_cos

#: Sub-voxel nodes per voxel, and nodes per axis from -0.75 to 0.75 voxels.
NODES_PER_VOXEL = 6
N_NODES = 9
FIRST_NODE = -4 / 6
#: Levels of |p|/V, evenly spaced in the logarithm; between them four-point interpolation.
Q_MIN = 0.02
Q_MAX = 1500.0
N_LEVELS = 40
_LEAST_SOFTENING = 0.9
LOG_STEP = float(np.log(Q_MAX / Q_MIN) / (N_LEVELS - 1))


@njit(cache=True, fastmath=True)
def softening(q):  # type: ignore[no-untyped-def]
    """Radius inside which a source's phase turns by more than π per voxel."""
    return max(_LEAST_SOFTENING, (0.95 * abs(q)) ** 0.25)


@njit(cache=True, fastmath=True)
def demodulating_phase(q, matrix, x, y, z):  # type: ignore[no-untyped-def]
    """Phase of a source, softened inside the radius where it turns by more than π per voxel.

    Taking it off leaves a function smooth enough to interpolate; it is put back after interpolation.
    """
    inner = softening(q)
    r2 = x * x + y * y + z * z
    form = (
        matrix[0, 0] * x * x
        + matrix[1, 1] * y * y
        + matrix[2, 2] * z * z
        + 2.0 * (matrix[0, 1] * x * y + matrix[0, 2] * x * z + matrix[1, 2] * y * z)
    )
    return q * form / (r2 * r2 * np.sqrt(r2) + inner**5)


@njit(cache=True, fastmath=True)
def _lagrange(t, weights, slopes):  # type: ignore[no-untyped-def]
    """Weights of four equidistant nodes at -1, 0, 1, 2 for a value at t, and their derivatives."""
    a, b, c, d = t + 1.0, t, t - 1.0, t - 2.0
    weights[0] = -b * c * d / 6.0
    weights[1] = a * c * d / 2.0
    weights[2] = -a * b * d / 2.0
    weights[3] = a * b * c / 6.0
    slopes[0] = -(b * c + b * d + c * d) / 6.0
    slopes[1] = (a * c + a * d + c * d) / 2.0
    slopes[2] = -(a * b + a * d + b * d) / 2.0
    slopes[3] = (a * b + a * c + b * c) / 6.0


@njit(cache=True, fastmath=True)
def _mix(weights, rows, mixed):  # type: ignore[no-untyped-def]
    """``mixed`` = Σ weights · rows of four rows: the loop that interpolation spends its time in."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for v in range(len(mixed)):
        mixed[v] = a * rows[0, v] + b * rows[1, v] + c * rows[2, v] + d * rows[3, v]


@njit(cache=True, fastmath=True)
def _mix_both(weights, slopes, rows, value, slope):  # type: ignore[no-untyped-def]
    """``_mix`` by two sets of weights at once: each row is read once, and reading is what takes time."""
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    e, f, g, h = slopes[0], slopes[1], slopes[2], slopes[3]
    for v in range(len(value)):
        one, two, three, four = rows[0, v], rows[1, v], rows[2, v], rows[3, v]
        value[v] = a * one + b * two + c * three + d * four
        slope[v] = e * one + f * two + g * three + h * four


@njit(cache=True, fastmath=True)
def _place_nodes(q, shift, weights, slopes, node):  # type: ignore[no-untyped-def]
    """Interpolation weights and their slopes (4, 4): rows are the three axes, then the level.

    Fills ``node`` (3,) and returns the level of the second of the four points, and |q| within the table. A
    source of negative q is inverted: F(-q, Δ) is the conjugate of F(q, -Δ), whatever the point spread.
    """
    bounded = min(max(abs(q), Q_MIN), Q_MAX)
    side = -1.0 if q < 0 else 1.0
    t = np.log(bounded / Q_MIN) / LOG_STEP
    level = min(max(int(t), 1), N_LEVELS - 3)
    _lagrange(t - level, weights[3], slopes[3])
    for axis in range(3):
        u = (side * shift[axis] - FIRST_NODE) * NODES_PER_VOXEL
        node[axis] = min(max(int(u), 1), N_NODES - 3)
        _lagrange(u - node[axis], weights[axis], slopes[axis])
    return level, bounded


@njit(cache=True, fastmath=True)
def interpolate_value(values, matrix, edges, voxels, q, shift, signal):  # type: ignore[no-untyped-def]
    """F alone at every voxel of a window: ``interpolate_signal`` without derivatives, three times as fast."""
    n = len(voxels)
    w = np.empty((4, 4))
    s = np.empty((4, 4))
    node = np.empty(3, np.int64)
    level, bounded = _place_nodes(q, shift, w, s, node)
    w32 = w.astype(np.float32)
    # One axis at a time, innermost first.
    by_z, by_y, by_x = (
        np.empty((4, 2 * n), np.float32),
        np.empty((4, 2 * n), np.float32),
        np.empty((4, 2 * n), np.float32),
    )
    total = np.empty(2 * n, np.float32)
    for d in range(4):
        for a in range(4):
            for b in range(4):
                line = values[level - 1 + d, node[0] - 1 + a, node[1] - 1 + b, node[2] - 1 : node[2] + 3]
                _mix(w32[2], line.view(np.float32), by_z[b])
            _mix(w32[1], by_z, by_y[a])
        _mix(w32[0], by_y, by_x[d])
    _mix(w32[3], by_x, total)
    turns = np.empty((6, n), np.float32)
    _demodulate_window(matrix, edges, voxels, -1.0 if q < 0 else 1.0, bounded, shift, turns)
    _turn_window(total, turns[0], turns[1], signal.view(np.float32))
    if abs(q) < Q_MIN:
        _weaken(abs(q) / Q_MIN, signal)
    if q < 0:
        _invert_window(signal)


@njit(cache=True, fastmath=True)
def interpolate_signal(values, matrix, edges, voxels, q, shift, signal, slopes):  # type: ignore[no-untyped-def]
    """F and its derivatives at every voxel of a window.

    ``q`` is p/V (either sign), ``shift`` (3,) the source's position in voxels from the window's middle
    voxel, within ±0.75. Fills ``signal`` (n,) with F and ``slopes`` (4, n) with its derivatives by q and by
    the three components of ``shift``.
    """
    n = len(voxels)
    w = np.empty((4, 4))
    s = np.empty((4, 4))
    node = np.empty(3, np.int64)
    level, bounded = _place_nodes(q, shift, w, s, node)
    w32, s32 = w.astype(np.float32), s.astype(np.float32)
    # F and its slopes, one axis at a time, innermost first: (F, by z), (F, by y, by z), (F, by x, by y, by z), each of
    # four nodes; at last F and its slopes by level, x, y, z.
    by_z = np.empty((2, 4, 2 * n), np.float32)
    by_y = np.empty((3, 4, 2 * n), np.float32)
    by_x = np.empty((4, 4, 2 * n), np.float32)
    total = np.empty((5, 2 * n), np.float32)
    for d in range(4):
        for a in range(4):
            for b in range(4):
                line = values[level - 1 + d, node[0] - 1 + a, node[1] - 1 + b, node[2] - 1 : node[2] + 3]
                _mix_both(w32[2], s32[2], line.view(np.float32), by_z[0, b], by_z[1, b])
            _mix_both(w32[1], s32[1], by_z[0], by_y[0, a], by_y[1, a])
            _mix(w32[1], by_z[1], by_y[2, a])
        _mix_both(w32[0], s32[0], by_y[0], by_x[0, d], by_x[1, d])
        for p in range(1, 3):
            _mix(w32[0], by_y[p], by_x[1 + p, d])
    _mix_both(w32[3], s32[3], by_x[0], total[0], total[1])
    for p in range(1, 4):
        _mix(w32[3], by_x[p], total[1 + p])
    _remodulate(total, matrix, edges, voxels, q, bounded, shift, signal, slopes)


@njit(cache=True, fastmath=True)
def interpolate_roughly(values, matrix, edges, voxels, q, shift, signal, slopes):  # type: ignore[no-untyped-def]
    """``interpolate_signal`` between the two nearest nodes of each axis, not four: within 1 to 4 percent of the change
    that the source makes (11 percent at worst, for a weak source seen by a box), from a sixteenth of the
    table, and reading the table is what takes time."""
    n = len(voxels)
    bounded = min(max(abs(q), Q_MIN), Q_MAX)
    side = -1.0 if q < 0 else 1.0
    w, node = np.empty((4, 2), np.float32), np.empty(4, np.int64)
    for axis in range(4):
        u = np.log(bounded / Q_MIN) / LOG_STEP if axis == 3 else (side * shift[axis] - FIRST_NODE) * NODES_PER_VOXEL
        node[axis] = min(max(int(u), 0), (N_LEVELS if axis == 3 else N_NODES) - 2)
        w[axis, 1] = u - node[axis]
        w[axis, 0] = 1.0 - w[axis, 1]
    total = np.zeros((5, 2 * n), np.float32)
    for d in range(2):
        for a in range(2):
            for b in range(2):
                line = values[node[3] + d, node[0] + a, node[1] + b, node[2] : node[2] + 2]
                _add_line(
                    line.view(np.float32),
                    w[2],
                    w[3, d] * w[0, a] * w[1, b],
                    (2 * d - 1) * w[0, a] * w[1, b],
                    w[3, d] * (2 * a - 1) * w[1, b],
                    w[3, d] * w[0, a] * (2 * b - 1),
                    total,
                )
    _remodulate(total, matrix, edges, voxels, q, bounded, shift, signal, slopes)


@njit(cache=True, fastmath=True)
def _add_line(line, across, by, by_level, by_x, by_y, total):  # type: ignore[no-untyped-def]
    """Add a line of two nodes to F and its slopes by level, x, y and z (5, 2n), by the line's weight in each."""
    near, far = np.float32(across[0]), np.float32(across[1])
    f, along_level, along_x, along_y = np.float32(by), np.float32(by_level), np.float32(by_x), np.float32(by_y)
    for v in range(line.shape[1]):
        one, two = line[0, v], line[1, v]
        value = near * one + far * two
        total[0, v] += f * value
        total[1, v] += along_level * value
        total[2, v] += along_x * value
        total[3, v] += along_y * value
        total[4, v] += f * (two - one)


@njit(cache=True, fastmath=True)
def _remodulate(total, matrix, edges, voxels, q, bounded, shift, signal, slopes):  # type: ignore[no-untyped-def]
    """Put the demodulating phase back, with its derivatives, and take the sign and the weak limit of q."""
    n = len(voxels)
    side = -1.0 if q < 0 else 1.0
    part = np.float32(min(abs(q) / Q_MIN, 1.0))
    # Rows: cosine and sine of the phase, and the phase's derivatives by q, x, y, z.
    turns = np.empty((6, n), np.float32)
    _demodulate_window(matrix, edges, voxels, side, bounded, shift, turns)
    cosine, sine = turns[0], turns[1]
    f = signal.view(np.float32)
    _turn_window(total[0], cosine, sine, f)
    per_q = np.float32(1.0 / (bounded * LOG_STEP))
    for p in range(4):
        by, along = slopes[p].view(np.float32), turns[2 + p]
        scale = per_q if p == 0 else part * np.float32(NODES_PER_VOXEL)
        more = np.float32(1.0) if p == 0 else part
        row = total[1 + p]
        for v in range(n):
            a, b = row[2 * v], row[2 * v + 1]
            by[2 * v] = scale * (a * cosine[v] - b * sine[v]) - more * along[v] * f[2 * v + 1]
            by[2 * v + 1] = scale * (a * sine[v] + b * cosine[v]) + more * along[v] * f[2 * v]
    if abs(q) < Q_MIN:
        for v in range(n):
            slopes[0, v] = (signal[v] - 1.0) / Q_MIN
        _weaken(abs(q) / Q_MIN, signal)
    if q < 0:
        _invert_window(signal)
        for p in range(4):
            _invert_window(slopes[p])
            for v in range(n):
                slopes[p, v] = -slopes[p, v]


@njit(cache=True, fastmath=True)
def _weaken(part, signal):  # type: ignore[no-untyped-def]
    """F of a source weaker than the table only turns the phase: F - 1 is proportional to q."""
    for v in range(len(signal)):
        signal[v] = 1.0 + part * (signal[v] - 1.0)


@njit(cache=True, fastmath=True)
def _turn_window(values, cosine, sine, out):  # type: ignore[no-untyped-def]
    """Complex values (real and imaginary parts in turn) times cosine + i sine."""
    for v in range(len(cosine)):
        a, b = values[2 * v], values[2 * v + 1]
        out[2 * v] = a * cosine[v] - b * sine[v]
        out[2 * v + 1] = a * sine[v] + b * cosine[v]


@njit(cache=True, fastmath=True)
def _demodulate_window(matrix, edges, voxels, side, bounded, shift, turns):  # type: ignore[no-untyped-def]
    """Cosine and sine of ``demodulating_phase`` at every voxel, and the phase's derivatives by q, x, y, z (6, n)."""
    n = len(voxels)
    inner = softening(bounded)
    inner5 = inner**5
    inner5_q = 1.25 * inner5 / bounded if inner > _LEAST_SOFTENING else 0.0
    xx, yy, zz = matrix[0, 0], matrix[1, 1], matrix[2, 2]
    xy, xz, yz = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    at = np.empty((3, n))
    for axis in range(3):
        for v in range(n):
            at[axis, v] = (voxels[v, axis] - side * shift[axis]) * edges[axis]
    for v in range(n):
        x, y, z = at[0, v], at[1, v], at[2, v]
        mx = xx * x + xy * y + xz * z
        my = xy * x + yy * y + yz * z
        mz = xz * x + yz * y + zz * z
        form = x * mx + y * my + z * mz
        r2 = x * x + y * y + z * z
        r3 = r2 * np.sqrt(r2)
        scale = 1.0 / (r2 * r3 + inner5)
        kernel = form * scale
        radial = 5.0 * r3 * kernel
        sine, cosine = sin_cos(bounded * kernel)
        turns[0, v] = cosine
        turns[1, v] = sine
        turns[2, v] = kernel * (1.0 - bounded * inner5_q * scale)
        turns[3, v] = -bounded * scale * (2.0 * mx - radial * x) * edges[0]
        turns[4, v] = -bounded * scale * (2.0 * my - radial * y) * edges[1]
        turns[5, v] = -bounded * scale * (2.0 * mz - radial * z) * edges[2]


@njit(cache=True, fastmath=True)
def _invert_window(values):  # type: ignore[no-untyped-def]
    """Conjugate, and swap each voxel with the one opposite: windows are symmetric and in C order."""
    n = len(values)
    for v in range((n + 1) // 2):
        first = values[v]
        values[v] = np.conj(values[n - 1 - v])
        values[n - 1 - v] = np.conj(first)
