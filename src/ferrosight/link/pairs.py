"""Compiled weighing of splits and merges: two links that share their source, or their target."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.link.densities import bound_pair_kernel, bound_pair_place, weigh_pair_mass, weigh_pair_place
from ferrosight.link.model import Clusters, Scales

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@njit(cache=True, nogil=True)
def weigh_chunk(
    first: int,
    last: int,
    starts: _Ints,
    other: _Ints,
    odds: _Floats,
    whole: _Floats,
    part: _Floats,
    asked_whole: _Floats,
    asked_part: _Floats,
    least: float,
    merging: bool,
    clusters: Clusters,
    scales: Scales,
) -> tuple[_Ints, _Ints, _Ints, _Floats]:
    """Pairs of links of the clusters from ``first`` to before ``last``.

    A pair is dropped before its matrices are built where even the best place could not save it.
    """
    size, count = 1024, 0
    ones, ends_a, ends_b = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    values = np.empty(size)
    for one in range(first, last):
        begin, end = starts[one], starts[one + 1]
        if end - begin < 2:
            continue
        worth, chance, most = _bound_links(one, other[begin:end], part, asked_part, merging, clusters, scales)
        base = whole[one] - asked_whole[one]
        best_worth = np.max(part[other[begin:end]] - asked_part[other[begin:end]])
        near = np.flatnonzero(worth + best_worth + base + most >= least)
        for p in range(len(near)):
            for q in range(p + 1, len(near)):
                link_a, link_b = begin + near[p], begin + near[q]
                a, b = other[link_a], other[link_b]
                floor = max(least, odds[link_a], odds[link_b])
                gain_a, gain_b = part[a] - asked_part[a], part[b] - asked_part[b]
                if base + most + min(worth[near[p]] + gain_b, worth[near[q]] + gain_a) < floor:
                    continue
                quick = most + min(chance[near[p]], chance[near[q]])
                quick += bound_pair_kernel(one, a, b, merging, clusters, scales)
                if base + gain_a + gain_b + quick < floor:
                    continue
                value = _weigh_pair(one, a, b, floor - base - gain_a - gain_b, merging, clusters, scales)
                if value + base + gain_a + gain_b < floor:
                    continue
                value += whole[one] + part[a] + part[b]
                if count == size:
                    size *= 2
                    ones, ends_a = _grow(ones), _grow(ends_a)
                    ends_b, values = _grow(ends_b), np.append(values, np.empty_like(values))
                ones[count], ends_a[count], ends_b[count], values[count] = one, a, b, value
                count += 1
    return ones[:count], ends_a[:count], ends_b[:count], values[:count]


@njit(cache=True, nogil=True)
def _grow(values: _Ints) -> _Ints:
    return np.append(values, np.empty_like(values))


@njit(cache=True, nogil=True)
def _bound_links(
    one: int, others: _Ints, part: _Floats, asked: _Floats, merging: bool, clusters: Clusters, scales: Scales
) -> tuple[_Floats, _Floats, float]:
    """What each link can be worth at most with the best partner; the chance of the event; what all else can at most.

    The squared distance of a pair's three places, in units of their spread, is at least that of two of them in units
    of the largest spread in any direction.
    """
    n, dof = (3 if merging else 6), scales.dof
    step, spread = np.inf, 0.0
    for other in others:
        step = min(step, abs(clusters.day[other] - clusters.day[one]))
        spread = max(spread, clusters.reach[other])
    top = (scales.peak3 if merging else scales.peak6 - 1.5 * math.log(scales.separation2)) + math.log(2.0)
    top -= 1.5 * math.log(scales.motion2 * step)
    if scales.use_mass:
        top += scales.peak1 - 0.5 * math.log(scales.change2 * step)
    rate = scales.merge if merging else scales.split
    worth, chance = np.empty(len(others)), np.empty(len(others))
    for k, other in enumerate(others):
        days = abs(clusters.day[other] - clusters.day[one])
        variance = clusters.reach[one] + clusters.reach[other] + scales.motion2 * days + 1.1 * scales.separation2
        if merging:  # middle and distance count apart
            variance += clusters.reach[other] + 2 * spread + 2 * scales.motion2 * days
        squared = 0.0
        for i in range(3):
            squared += (clusters.position[other, i] - clusters.position[one, i]) ** 2
        worth[k] = part[other] - asked[other] - 0.5 * (dof + n) * math.log1p(squared / variance / dof)
        # the chance of the event grows with the days more slowly than the peak above falls
        chance[k] = math.log(-math.expm1(-rate * days))
        worth[k] += chance[k]
    return worth, chance, top


@njit(cache=True, nogil=True)
def _weigh_pair(one: int, a: int, b: int, floor: float, merging: bool, clusters: Clusters, scales: Scales) -> float:
    """Log density of ``one`` splitting into ``a`` and ``b``, or of the two merging into it, but for being seen.

    Minus infinity where it is surely below ``floor``.
    """
    days_a, days_b = abs(clusters.day[a] - clusters.day[one]), abs(clusters.day[b] - clusters.day[one])
    step, longer = min(days_a, days_b), max(days_a, days_b)
    # a split: the whole stays until the first part is seen, and the other part from then on; a merge: both stay
    stay = days_a + days_b if merging else longer
    value: float = _weigh_unseen(one, a, b, merging, clusters) - scales.gone * stay
    value += math.log(-math.expm1(-(scales.merge if merging else scales.split) * step))
    share, share_variance = 0.5, 1.0 / 12.0  # of masses not looked at, all shares are alike
    if scales.use_mass:
        share_variance = 0.0
        mass, share = weigh_pair_mass(one, a, b, merging, clusters, scales)
        value += mass
    if value + bound_pair_place(one, a, b, share, share_variance, merging, clusters, scales) < floor:
        return -math.inf
    place: float = weigh_pair_place(one, a, b, share, share_variance, merging, clusters, scales)
    return value + place


@njit(cache=True, nogil=True)
def _weigh_unseen(one: int, a: int, b: int, merging: bool, clusters: Clusters) -> float:
    """Log chance of the visits at which whole or parts went unseen.

    Between the whole and the part nearest in time it is the whole that was missed; from then on, the other part.
    """
    visit, unseen = clusters.visit, clusters.unseen
    near, far = a, b
    if abs(visit[b] - visit[one]) < abs(visit[a] - visit[one]):
        near, far = b, a
    first, last = (visit[near], visit[one]) if merging else (visit[one], visit[near])
    value: float = unseen[one, last] - unseen[one, first + 1]
    if visit[far] != visit[near]:
        # the other part was missed at the visit of the nearer one too
        first, last = (visit[far] + 1, visit[near] + 1) if merging else (visit[near], visit[far])
        value += unseen[far, last] - unseen[far, first]
    return value
