"""Compiled densities of places and masses, of one cluster that moves and of two that were, or become, one."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.link.model import Clusters, Scales

_Floats = NDArray[np.float64]


@njit(cache=True, nogil=True)
def log_student(matrix: _Floats, residual: _Floats, dof: float, peak: float) -> tuple[float, float]:
    """Log density of Student's distribution of scale ``matrix`` (n, n) at ``residual`` (n,), and its log kernel.

    The kernel is the density over that at 0, ``peak`` the log density there where the scale is 1 (`log_peak`).
    """
    n = len(residual)
    lower = np.empty((n, n))
    solved = np.empty(n)
    log_det = 0.0
    squared = 0.0
    for a in range(n):
        for b in range(a + 1):
            value = matrix[a, b]
            for c in range(b):
                value -= lower[a, c] * lower[b, c]
            if a == b:
                lower[a, a] = math.sqrt(value)
                log_det += math.log(value)
            else:
                lower[a, b] = value / lower[b, b]
        value = residual[a]
        for c in range(a):
            value -= lower[a, c] * solved[c]
        solved[a] = value / lower[a, a]
        squared += solved[a] * solved[a]
    kernel = -0.5 * (dof + n) * math.log1p(squared / dof)
    return peak - 0.5 * log_det + kernel, kernel


@njit(cache=True, nogil=True)
def log_student_1d(residual: float, variance: float, dof: float, peak: float) -> float:
    """Log density of Student's distribution of one variable; ``variance`` is its scale squared."""
    return peak - 0.5 * math.log(variance) - 0.5 * (dof + 1) * math.log1p(residual * residual / variance / dof)


@njit(cache=True, nogil=True)
def weigh_move(a: int, b: int, clusters: Clusters, scales: Scales) -> float:
    """Log density of place and log mass of the later cluster ``b``, if it is ``a``."""
    days = clusters.day[b] - clusters.day[a]
    matrix = clusters.covariance[a] + clusters.covariance[b]
    for axis in range(3):
        matrix[axis, axis] += scales.motion2 * days
    value, _ = log_student(matrix, clusters.position[b] - clusters.position[a], scales.dof, scales.peak3)
    if scales.use_mass:
        change = clusters.log_mass[b] - clusters.log_mass[a] + scales.loss * days
        variance = scales.change2 * days + clusters.mass_variance[a] + clusters.mass_variance[b]
        value += log_student_1d(change, variance, scales.dof, scales.peak1)
    return value


@njit(cache=True, nogil=True)
def weigh_pair_mass(one: int, a: int, b: int, merging: bool, clusters: Clusters, scales: Scales) -> tuple[float, float]:
    """Log density of the masses of a split (of both parts) or a merge (of the whole), and the share of ``a``.

    The parts make up the whole, whatever share each has.
    """
    days_a, days_b = abs(clusters.day[a] - clusters.day[one]), abs(clusters.day[b] - clusters.day[one])
    days = min(days_a, days_b)
    loss = -scales.loss if merging else scales.loss
    mass_a = clusters.log_mass[a] + loss * (days_a - days)
    mass_b = clusters.log_mass[b] + loss * (days_b - days)
    lighter = math.exp(-abs(mass_a - mass_b))
    share = (1.0 if mass_a >= mass_b else lighter) / (1.0 + lighter)
    total = max(mass_a, mass_b) + math.log1p(lighter)
    variance = scales.change2 * days + clusters.mass_variance[one]
    variance += share * share * (clusters.mass_variance[a] + scales.change2 * (days_a - days))
    variance += (1 - share) * (1 - share) * (clusters.mass_variance[b] + scales.change2 * (days_b - days))
    value = log_student_1d(total - clusters.log_mass[one] + loss * days, variance, scales.dof, scales.peak1)
    if not merging:
        # from total and share to two log masses
        value += math.log(share * (1 - share))
    return value, share


@njit(cache=True, nogil=True)
def weigh_pair_place(
    one: int,
    a: int,
    b: int,
    share: float,
    share_variance: float,
    merging: bool,
    clusters: Clusters,
    scales: Scales,
) -> float:
    """Log density of the places of a split (of both parts) or a merge (of the whole).

    The middle of mass, ``share`` of the way from ``b`` to ``a``, moves as one cluster would; the parts lie apart by
    the separation. A merge counts the chance, 1 at the same place, that two at their distance merge.
    """
    days_a, days_b = abs(clusters.day[a] - clusters.day[one]), abs(clusters.day[b] - clusters.day[one])
    days = min(days_a, days_b)
    joint = np.empty((6, 6))
    residual = np.empty(6)
    for i in range(3):
        between = clusters.position[a, i] - clusters.position[b, i]
        residual[i] = clusters.position[b, i] + share * between - clusters.position[one, i]
        residual[3 + i] = between
        for j in range(3):
            c_a, c_b = clusters.covariance[a, i, j], clusters.covariance[b, i, j]
            middle, apart = clusters.covariance[one, i, j], 0.0
            if i == j:
                c_a += scales.motion2 * (days_a - days)
                c_b += scales.motion2 * (days_b - days)
                middle += scales.motion2 * days + share_variance * scales.separation2
                apart = scales.separation2
            joint[i, j] = middle + share * share * c_a + (1 - share) * (1 - share) * c_b
            joint[i, 3 + j] = joint[3 + j, i] = share * c_a - (1 - share) * c_b
            joint[3 + i, 3 + j] = apart + c_a + c_b
    if not merging:
        value, _ = log_student(joint, residual, scales.dof, scales.peak6)
        return value + math.log(2.0)  # either part may be called the first
    value, _ = log_student(joint[:3, :3].copy(), residual[:3], scales.dof, scales.peak3)
    _, kernel = log_student(joint[3:, 3:].copy(), residual[3:], scales.dof, scales.peak3)
    return value + kernel


@njit(cache=True, nogil=True)
def bound_pair_place(
    one: int,
    a: int,
    b: int,
    share: float,
    share_variance: float,
    merging: bool,
    clusters: Clusters,
    scales: Scales,
) -> float:
    """What `weigh_pair_place` gives at most, from lengths alone.

    Middle and distance are correlated through the parts' own errors: by at most their largest variance over the least
    spread of either.
    """
    days_a, days_b = abs(clusters.day[a] - clusters.day[one]), abs(clusters.day[b] - clusters.day[one])
    days = min(days_a, days_b)
    middle2, apart2 = 0.0, 0.0
    for i in range(3):
        between = clusters.position[a, i] - clusters.position[b, i]
        middle = clusters.position[b, i] + share * between - clusters.position[one, i]
        middle2 += middle * middle
        apart2 += between * between
    reach_a = clusters.reach[a] + scales.motion2 * (days_a - days)
    reach_b = clusters.reach[b] + scales.motion2 * (days_b - days)
    least = scales.motion2 * days + share_variance * scales.separation2
    middle2 /= least + clusters.reach[one] + share * share * reach_a + (1 - share) * (1 - share) * reach_b
    apart2 /= scales.separation2 + reach_a + reach_b
    dof = scales.dof
    if merging:
        top = scales.peak3 - 1.5 * math.log(least)
        return top - 0.5 * (dof + 3) * (math.log1p(middle2 / dof) + math.log1p(apart2 / dof))
    tie = max(share * reach_a, (1 - share) * reach_b) / math.sqrt(least * scales.separation2)
    top = scales.peak6 + math.log(2.0) - 1.5 * math.log(least * scales.separation2)
    return top - 0.5 * (dof + 6) * math.log1p((middle2 + apart2) / (1 + min(tie, 1.0)) / dof)


@njit(cache=True, nogil=True)
def bound_pair_kernel(one: int, a: int, b: int, merging: bool, clusters: Clusters, scales: Scales) -> float:
    """What `weigh_pair_place` gives at most over its peak, from lengths alone and whatever share each part has.

    The middle of mass lies between the parts. Most pairs are dropped by this, before their masses are looked at.
    """
    days_a, days_b = abs(clusters.day[a] - clusters.day[one]), abs(clusters.day[b] - clusters.day[one])
    days = min(days_a, days_b)
    apart2, along = 0.0, 0.0
    for i in range(3):
        between = clusters.position[a, i] - clusters.position[b, i]
        apart2 += between * between
        along += between * (clusters.position[one, i] - clusters.position[b, i])
    share = min(max(along / max(apart2, 1e-30), 0.0), 1.0)
    middle2 = 0.0
    for i in range(3):
        between = clusters.position[a, i] - clusters.position[b, i]
        middle = clusters.position[b, i] + share * between - clusters.position[one, i]
        middle2 += middle * middle
    reach_a = clusters.reach[a] + scales.motion2 * (days_a - days)
    reach_b = clusters.reach[b] + scales.motion2 * (days_b - days)
    least = scales.motion2 * days
    if not scales.use_mass:
        least += scales.separation2 / 12.0  # as `weigh_pair_place` has it where all shares are alike
    larger = max(reach_a, reach_b)
    middle2 /= least + clusters.reach[one] + larger
    apart2 /= scales.separation2 + reach_a + reach_b
    dof = scales.dof
    if merging:
        return -0.5 * (dof + 3) * math.log((1 + middle2 / dof) * (1 + apart2 / dof))
    tie = min(larger / math.sqrt(least * scales.separation2), 1.0)
    return -0.5 * (dof + 6) * math.log1p((middle2 + apart2) / (1 + tie) / dof)
