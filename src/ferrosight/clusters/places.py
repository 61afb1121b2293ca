"""Dipoles fitted at given places: q of either sign, with what is known beforehand of each position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.correlation import correct_for_correlation
from ferrosight.clusters.fit import (
    TABLE_REL_SD,
    Neighbours,
    Sources,
    WindowData,
    draw_neighbours,
    fit_sources,
    open_window,
    unfitted,
)
from ferrosight.clusters.halves import split_windows
from ferrosight.clusters.joint import joint_covariance
from ferrosight.clusters.judge import windows_disagree
from ferrosight.clusters.search import learn_model_error
from ferrosight.clusters.strength import fit_strength
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS, copy_into, measure_chi2, measure_phase_chi2
from ferrosight.types import Noise

#: Sizes of the strengths that a fit may start from, of either sign.
_STARTS = np.array([0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
_MAX_MOVES = 3
#: Where a prior on the position is looked at, in its standard deviations, and with which weights: three nodes of
#: Gauss and Hermite along each axis. Nodes nearer than this (voxels) are not worth it.
_NODES = np.ascontiguousarray(np.sqrt(3.0) * (np.indices((3, 3, 3)).reshape(3, -1).T - 1.0))
_NODE_WEIGHTS = np.prod(np.where(_NODES == 0.0, 2 / 3, 1 / 6), axis=1)
_KNOWN_WELL = 0.04
#: What a place changes may be little but a void, which hardly knows its sign: then there are two optima, and iron's
#: stands unless the other explains twice as much, or by this more (three standard deviations, or odds of a hundred
#: to one: an assumption). Where the signal is linear in q there is one optimum of either sign, and this says nothing.
_AGAINST = 9.0
#: Larger than any χ².
_NONE = 1e30
#: Places and neighbours are fitted in turns until no moment moves by more than this share of its error.
_MAX_TURNS, _SETTLED = 12, 0.02


@dataclass(frozen=True)
class Measured:
    """Sources fitted at given places, a row each.

    ``covariance`` (n, 4, 4) of (q, shift) with everything that widens it; ``n_neighbours`` (n,) how many were free
    beside each; ``disagree`` (n,) whether the halves of its window do.
    """

    sources: Sources
    covariance: NDArray[np.float64]
    n_neighbours: NDArray[np.int64]
    disagree: NDArray[np.bool_]


def place_sources(data: WindowData, positions: NDArray[np.float64], q: NDArray[np.float64]) -> Sources:
    """Dipoles at fractional voxels (n, 3) of the padded arrays."""
    n = len(positions)
    # Whole numbers too: shifts of whole numbers could not move.
    positions = np.asarray(positions, dtype=np.float64)
    centres = np.round(positions).astype(np.int64)
    start = unfitted(np.zeros(n, np.int64), np.ones(n, np.int64), centres, len(data.ratios))
    return replace(start, shifts=positions - centres, q=np.asarray(q, dtype=np.float64))


def measure_places(
    data: WindowData, known: Sources, places: NDArray[np.float64], held: NDArray[np.float64], noise: Noise, sign: int
) -> Measured:
    """Fit dipoles at places (n, 3), fractional voxels of the padded arrays, beside the ``known`` sources.

    ``held`` (n, 3, 3) is the inverse covariance of each position's prior, voxels⁻²; ``sign`` that of iron's q.
    """
    forced, open_variance, known, neighbours, data = _fit_in_turns(data, known, places, held, sign)
    return _cover(data, forced, known, neighbours, held, open_variance, noise)


def _fit_in_turns(
    data: WindowData, known: Sources, places: NDArray[np.float64], held: NDArray[np.float64], sign: int
) -> tuple[Sources, NDArray[np.float64], Sources, Neighbours, WindowData]:
    """Places and known neighbours, each with the others held fixed, in turns until the places' moments settle."""
    if len(known):
        known = fit_sources(data, known, draw_neighbours(data, known), np.arange(len(known)), search=False)
    data = replace(data, model_error=learn_model_error(known))
    forced, open_variance = place_sources(data, places, np.zeros(len(places))), np.zeros(len(places))
    own = len(known) + np.arange(len(forced))
    for _ in range(_MAX_TURNS):
        neighbours = draw_neighbours(data, known.join(forced))
        before = forced.q
        forced, open_variance = _measure(data, place_sources(data, places, before), neighbours, own, held, sign)
        moved = np.abs(forced.q - before) / np.sqrt(forced.covariance[:, 0, 0])
        if len(known) + len(forced) == 1 or not (moved > _SETTLED).any():
            break
        if len(known):
            neighbours = draw_neighbours(data, known.join(forced))
            known = fit_sources(data, known, neighbours, np.arange(len(known)), search=False)
    return forced, open_variance, known, draw_neighbours(data, known.join(forced)), data


def _measure(
    data: WindowData,
    places: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    held: NDArray[np.float64],
    sign: int,
) -> tuple[Sources, NDArray[np.float64]]:
    """Every place fitted in its own window (q is 0 where that failed), and what ``_spread_over_prior`` adds to it.

    The sources' covariance has neighbours fixed.
    """
    held = np.array(held, np.float64, order="C")
    table = data.tables[0]
    n = len(places)
    centres, shifts, q = places.centres.copy(), places.shifts.copy(), places.q.copy()
    information, numbers = np.full((n, N_PARAMETERS, N_PARAMETERS), np.nan), np.full((n, 7), np.nan)
    _measure_many(
        (data.signal, data.weights),
        data.model_error,
        (neighbours.centres, neighbours.blocks),
        (own, places.positions, held, np.einsum("nab,kb->nka", np.linalg.cholesky(np.linalg.inv(held)), _NODES)),
        data.ratios,
        (table.values, table.matrix, table.edges),
        (data.voxels, data.basis),
        (sign * _STARTS, (_NODES**2).sum(axis=1), _NODE_WEIGHTS),
        (centres, shifts, q, information, numbers),
    )
    steps = np.nan_to_num(numbers[:, 4], nan=-1).astype(np.int64)
    covariance = _invert(information)
    fitted = replace(
        places,
        centres=centres,
        shifts=shifts,
        q=q,
        covariance=covariance,
        chi2=numbers[:, 0],
        chi2_background=numbers[:, 1],
        chi2_phase=numbers[:, 2],
        n_data=np.nan_to_num(numbers[:, 3]).astype(np.int64),
        steps=steps,
    )
    return fitted, _spread_over_prior(covariance, held, numbers[:, 5], numbers[:, 6])


def _spread_over_prior(
    covariance: NDArray[np.float64],
    held: NDArray[np.float64],
    likelihood: NDArray[np.float64],
    moved: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Variance of q over the positions that prior and data allow, beyond what the best one's covariance has.

    A weak source leaves the position as open as the prior does, and each position has a strength of its own: the best
    one is then the best of several. ``likelihood`` and ``moved`` are Σ w L and Σ w L (q - best)² over the prior's
    nodes, L relative to the best; a strong source's posterior lies between the nodes, and Laplace's integral, the share
    of the prior's volume that it keeps, stands for it.
    """
    with np.errstate(invalid="ignore"):
        kept = np.sqrt(np.linalg.det(covariance[:, 1:, 1:]) * np.linalg.det(held))
    return np.asarray(moved / np.fmax(likelihood, kept))


@njit(cache=True, fastmath=True)
def _measure_window(window_data, ratios, table, window, starts, shift, mean, precision, gram):  # type: ignore[no-untyped-def]
    """The best of the fits from a start of either sign; sets ``shift``. Returns q and χ² (negative: failed).

    ``starts`` have iron's sign, which is preferred.
    """
    data, other, weight = window_data
    voxels, basis = window
    first = shift.copy()
    here = np.empty((2, 3))
    grams = np.empty((2, N_PARAMETERS, N_PARAMETERS))
    q, chi2, total = np.zeros(2), np.full(2, -1.0), np.full(2, _NONE)
    for side in range(2):
        start, lowest = 0.0, _NONE
        for size in starts:
            tried = size if side == 0 else -size
            cost = measure_chi2(data, other, weight, ratios, table, voxels, basis, tried, first)
            if 0.0 <= cost < lowest:
                start, lowest = tried, cost
        if start == 0.0:
            continue
        copy_into(here[side], first)
        q[side], chi2[side], total[side] = fit_strength(
            data, other, weight, ratios, table, voxels, basis, start, here[side], mean, precision, grams[side]
        )
        if chi2[side] < 0.0:
            total[side] = _NONE
    if total[0] == _NONE and total[1] == _NONE:
        return 0.0, -1.0
    nothing = measure_chi2(data, other, weight, ratios, table, voxels, basis, 0.0, first)
    best = 0 if total[0] <= total[1] else 1
    if q[best] * starts[0] < 0.0 and q[1 - best] * starts[0] > 0.0:
        explained = min(max(nothing - total[1 - best], 0.0), _AGAINST)
        if total[1 - best] < total[best] + explained:
            best = 1 - best
    copy_into(shift, here[best])
    copy_into(gram, grams[best])
    return q[best], chi2[best]


@njit(cache=True, fastmath=True)
def _look_around(volumes, model_error, neighbours, own, ratios, table, window, starts, opened, place, away, seen):  # type: ignore[no-untyped-def]
    """Strength and gain in χ² at a prior's nodes, ``away`` (node, 3) from ``place``: fills ``seen`` (node, 2)."""
    exact = 1e10 * np.eye(3)
    gram = np.empty((N_PARAMETERS, N_PARAMETERS))
    for k in range(len(away)):
        seen[k, 0], seen[k, 1] = 0.0, -_NONE
        there = place + away[k]
        centre = np.floor(there + 0.5).astype(np.int64)
        shift = there - centre
        if open_window(volumes, model_error, neighbours, own, window[0], centre, opened) < 3 * N_BACKGROUND:
            continue
        q, chi2 = _measure_window(opened, ratios, table, window, starts, shift, shift.copy(), exact, gram)
        if chi2 >= 0.0:
            data, other, weight = opened
            nothing = measure_chi2(data, other, weight, ratios, table, window[0], window[1], 0.0, shift)
            seen[k, 0], seen[k, 1] = q, nothing - chi2


@njit(cache=True, fastmath=True, parallel=True)
def _measure_many(volumes, model_error, neighbours, rows, ratios, table, window, looks, found):  # type: ignore[no-untyped-def]
    """Fit every row of ``found`` (centres, shifts, q, information, numbers), in place."""
    own, places, held, away = rows
    voxels, basis = window
    starts, penalties, node_weights = looks
    centres, shifts, q, information, numbers = found
    n_echoes, n = volumes[0].shape[0], len(voxels)
    for f in prange(len(q)):
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        gram = np.empty((N_PARAMETERS, N_PARAMETERS))
        seen = np.empty((len(penalties), 2))
        opened = (data, other, weight)
        best = places[f].copy()
        looked = np.abs(away[f]).max() > _KNOWN_WELL
        if looked:
            _look_around(
                volumes, model_error, neighbours, own[f], ratios, table, window, starts, opened, best, away[f], seen
            )
            best += away[f, np.argmax(seen[:, 1] - penalties)]
        strength, chi2 = 0.0, -1.0
        centre = np.floor(best + 0.5).astype(np.int64)
        shift = best - centre
        for attempt in range(_MAX_MOVES):
            used = open_window(volumes, model_error, neighbours, own[f], voxels, centre, opened)
            numbers[f, 3] = used
            if used < 3 * N_BACKGROUND:
                chi2 = -1.0
                break
            mean = places[f] - centre
            strength, chi2 = _measure_window(opened, ratios, table, window, starts, shift, mean, held[f], gram)
            moved = False
            for axis in range(3):
                whole = int(np.round(shift[axis]))
                inside = centre[axis] + whole
                if attempt < _MAX_MOVES - 1 and abs(shift[axis]) > 0.55 and 0 <= inside < volumes[0].shape[axis + 1]:
                    centre[axis] = inside
                    shift[axis] -= whole
                    moved = True
            if chi2 < 0.0 or not moved:
                break
        if chi2 < 0.0:
            q[f] = 0.0
            continue
        q[f] = strength
        copy_into(centres[f], centre)
        copy_into(shifts[f], shift)
        numbers[f, 0] = chi2
        numbers[f, 1] = measure_chi2(data, other, weight, ratios, table, voxels, basis, 0.0, shift)
        numbers[f, 2] = measure_phase_chi2(data, other, weight, ratios, table, voxels, basis, strength, shift)
        numbers[f, 4] = 0.0
        numbers[f, 5:] = 0.0
        if looked:
            merit = numbers[f, 1] - chi2
            for a in range(3):
                for b in range(3):
                    merit -= (
                        (centre[a] + shift[a] - places[f, a]) * held[f, a, b] * (centre[b] + shift[b] - places[f, b])
                    )
            for k in range(len(penalties)):
                likelihood = node_weights[k] * np.exp(min(0.5 * (seen[k, 1] - merit), 0.0))
                numbers[f, 5] += likelihood
                numbers[f, 6] += likelihood * (seen[k, 0] - strength) ** 2
        for a in range(N_PARAMETERS):
            for b in range(N_PARAMETERS):
                by = (strength if a == 0 else 1.0) * (strength if b == 0 else 1.0)
                information[f, a, b] = gram[a, b] / by + (held[f, a - 1, b - 1] if min(a, b) > 0 else 0.0)


def _invert(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverses (n, m, m); NaN where there is none."""
    good = np.isfinite(matrices).all(axis=(1, 2))
    inverse = np.full_like(matrices, np.nan)
    # Strength and position differ by many powers of ten.
    size = np.sqrt(np.maximum(np.einsum("nii->ni", matrices[good]), 1e-300))
    scale = size[:, :, None] * size[:, None, :]
    inverse[good] = np.linalg.pinv(matrices[good] / scale, hermitian=True) / scale
    return inverse


def _cover(
    data: WindowData,
    forced: Sources,
    known: Sources,
    neighbours: Neighbours,
    held: NDArray[np.float64],
    open_variance: NDArray[np.float64],
    noise: Noise,
) -> Measured:
    """Errors with all that widens them.

    What the data tell is lowered by misfit and correlation; what is known beforehand of the position is not.
    """
    own = len(known) + np.arange(len(forced))
    free = np.concatenate([np.zeros((len(known), 3, 3)), held])
    joint, n_neighbours = joint_covariance(data, forced, known.join(forced), neighbours, own, free)
    correlation = correct_for_correlation(data, forced, neighbours, own, noise, held)
    scale = np.fmax(forced.misfit, 1.0) * np.fmax(correlation, 1.0)
    information = _invert(joint) / scale[:, None, None]
    information[:, 1:, 1:] += held
    covariance = _invert(information)
    # What the best position's covariance lacks, and what no signal mends.
    covariance[:, 0, 0] += open_variance + (TABLE_REL_SD * forced.q) ** 2
    inner, inner_err, outer, outer_err = split_windows(data, replace(forced, covariance=covariance), neighbours, own)
    disagree = windows_disagree(inner, inner_err, outer, outer_err)
    # As for any two measurements that disagree: errors grow by the root of their χ².
    covariance[disagree, 0, 0] *= ((inner - outer) ** 2 / (inner_err**2 + outer_err**2))[disagree]
    return Measured(forced, covariance, n_neighbours, disagree)
