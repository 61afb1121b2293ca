"""Weak sources under every point spread that a scan may have.

A scan's point spread is chosen by its strongest sources. Weak ones are smaller than a voxel's near field shows, and
the same choice can cost them a third of their moment and of their score where it is a little wrong. So each weak
source of every class is fitted again under the other point spreads, from where it is, and scores by its best fit.

Which fit's moment and place stand is another question, because noise alone lets the wrong one fit best now and then:
averaged over the voxel, a source at a voxel's corner is nearly hidden and may be three times as strong. Each fit
is therefore weighed by its evidence: its likelihood, times the volume of places and strengths for which that holds
(Laplace's integral), times how common its point spread is among the scan's other sources. By how much the fits
disagree, each with its weight, is part of the error. A likelihood says that only where noise is what is left: where
tissue leaves more, a source keeps the scan's own point spread, and does not speak for others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.fit import Neighbours, Sources, WindowData, fit_sources
from ferrosight.clusters.structure import Structure, whiten_sources
from ferrosight.physics.cluster_signal import SignalTable, q_levels

#: Sources weaker than this (|p|/V at the last echo) are asked: stronger ones chose the scan's point spread.
WEAK_Q = 3.0
#: Levels of their tables: a fit that leaves them, to three times that, is given up.
REFIT_LEVELS = slice(0, int(np.searchsorted(q_levels(), 3 * WEAK_Q)) + 2)
#: Before a scan's sources have spoken, the chosen point spread counts as one of them, another as so much of one (an
#: assumption: an acquisition truncates k-space).
_PRIOR_OTHER = 0.02
#: Sources of this score say which point spreads are common, in so many rounds.
_TELLING, _ROUNDS = 6.0, 20
#: Where more than so many times the noise's variance is left beside a source, its likelihoods say nothing of point
#: spreads: structure decides, by far more than noise would.
_MOST_MISFIT = 2.0
#: Fits that end farther apart than this (voxels) are not of one source.
_SAME_SOURCE = 1.0


@dataclass(frozen=True)
class Refit:
    """``sources`` with the weak ones at the fit that stands, and the whitened ``score`` (n,) of their best fit;
    ``between`` (n, 4, 4) what the choice adds to the covariance of (q, shift); ``lowered`` (n,) by how much it lowered
    χ²."""

    sources: Sources
    score: NDArray[np.float64]
    between: NDArray[np.float64]
    lowered: NDArray[np.float64]


def refit_weak(
    data: WindowData,
    sources: Sources,
    neighbours: Neighbours,
    own: NDArray[np.int64],
    others: Iterable[tuple[SignalTable, ...]],
    structure: Structure,
) -> Refit:
    """Fit the weak sources again with each of the ``others``' tables (one per pattern), as the fit goes on.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them; ``structure`` is what
    whitens each fit's score.
    """
    between, lowered = np.zeros((len(sources), 4, 4)), np.zeros(len(sources))
    is_weak = (np.abs(sources.q) * data.ratios[-1] < WEAK_Q) & (sources.steps >= 0)
    weak, strong = np.flatnonzero(is_weak), np.flatnonzero(~is_weak)
    score = np.zeros(len(sources))
    score[strong] = whiten_sources(data, sources.pick(strong), neighbours, own[strong], structure).score
    if not len(weak):
        return Refit(sources, score, between, lowered)
    # Under the scan's own point spread once more, so that all are compared beside the same neighbours.
    fits = [fit_sources(data, sources.pick(weak), neighbours, own[weak], search=False)]
    scores = [whiten_sources(data, fits[0], neighbours, own[weak], structure).score]
    for tables in others:
        # A data set of its own: what is cached of the tables must not outlive them.
        other = replace(data, tables=tables)
        fits.append(fit_sources(other, fits[0], neighbours, own[weak], search=False))
        scores.append(whiten_sources(other, fits[-1], neighbours, own[weak], structure).score)
    if len(fits) == 1:
        score[weak] = scores[0]
        return Refit(sources, score, between, lowered)
    gains = np.array([_gain(fit, fits[0]) for fit in fits])
    best = np.argmax(gains, axis=0)
    rows = np.arange(len(weak))
    score[weak] = np.array(scores)[best, rows]
    misfits = np.array([np.where(np.isfinite(gain), fit.misfit, np.inf) for gain, fit in zip(gains, fits, strict=True)])
    least_misfit = np.nan_to_num(misfits, nan=np.inf).min(axis=0)
    weights = weigh_fits(gains, np.stack([_log_volume(fit) for fit in fits]), least_misfit, len(strong))
    stands = np.argmax(weights, axis=0)
    chosen = _choose(fits, stands)
    between[weak] = _spread_between(fits, weights, chosen)
    gained = gains[stands, rows]
    known = np.isfinite(gains[0]) & np.isfinite(gained)
    lowered[weak[known]] = np.maximum((gained[known] - gains[0, known]) * np.fmax(fits[0].misfit[known], 1.0), 0.0)
    return Refit(_put(sources, weak, chosen), score, between, lowered)


def weigh_fits(
    gains: NDArray[np.float64], log_volumes: NDArray[np.float64], misfit: NDArray[np.float64], n_of_first: int
) -> NDArray[np.float64]:
    """Chance (fit, n) of each fit of each source, summing to one where any fit is known.

    Parameters
    ----------
    gains : (fit, n)
        What each takes off χ², at its misfit; -inf where it is none.
    log_volumes : (fit, n)
        ln √det of each fit's covariance.
    misfit : (n,)
        What the best of the fits leaves, in units of the noise's variance.
    n_of_first
        Sources known to have the first fit's point spread.

    Notes
    -----
    How common each point spread is, is learnt from the telling sources by expectation and maximisation, and for
    each source from the others, so that no source speaks for itself.
    """
    with np.errstate(invalid="ignore"):
        evidence = np.where(np.isfinite(gains) & np.isfinite(log_volumes), gains / 2 + log_volumes, -np.inf)
    clear = misfit <= _MOST_MISFIT
    evidence[1:, np.isfinite(evidence[0]) & ~clear] = -np.inf
    known = np.isfinite(evidence).any(axis=0)
    top = np.where(known, evidence.max(axis=0), 0.0)
    likelihood = np.exp(evidence - top)
    prior = np.full((len(gains), 1), _PRIOR_OTHER)
    prior[0] = 1.0 + n_of_first
    telling = known & clear & (gains.max(axis=0) >= _TELLING**2)
    weights = np.zeros_like(likelihood)
    for _ in range(_ROUNDS):
        spoken = weights * telling
        common = prior + spoken.sum(axis=1, keepdims=True) - spoken
        weights = likelihood * common
        weights /= np.maximum(weights.sum(axis=0), 1e-300)
    return np.asarray(weights, dtype=np.float64)


def _log_volume(fit: Sources) -> NDArray[np.float64]:
    """ln √det (n,) of the covariance of (q, position); -inf where there is none."""
    out = np.full(len(fit), -np.inf)
    known = np.isfinite(fit.covariance).all(axis=(1, 2))
    sign, log_det = np.linalg.slogdet(fit.covariance[known])
    out[known] = np.where(sign > 0, 0.5 * log_det, -np.inf)
    return out


def _gain(fit: Sources, first: Sources) -> NDArray[np.float64]:
    """What each source takes off χ², at its misfit; -inf where the fit failed or went to another place."""
    gain = (fit.chi2_background - fit.chi2) / np.fmax(first.misfit, 1.0)
    moved = np.linalg.norm(fit.positions - first.positions, axis=1)
    known = (fit.steps >= 0) & np.isfinite(gain) & (moved < _SAME_SOURCE)
    return np.where(known, gain, -np.inf)


def _choose(fits: list[Sources], best: NDArray[np.int64]) -> Sources:
    """Row by row, the fit with the number in ``best``."""
    rows = np.arange(len(best))
    arrays: dict[str, Any] = {
        f.name: np.stack([getattr(fit, f.name) for fit in fits])[best, rows]
        for f in fields(Sources)
        if f.name != "n_echoes"
    }
    return replace(fits[0], **arrays)


def _spread_between(fits: list[Sources], weights: NDArray[np.float64], chosen: Sources) -> NDArray[np.float64]:
    """Σ w d dᵀ (n, 4, 4) of how far each fit's (q, position) lies from the chosen one's."""
    away = np.array(
        [np.column_stack([fit.q - chosen.q, np.atleast_2d(fit.positions - chosen.positions)]) for fit in fits]
    )
    away[~np.isfinite(away)] = 0.0
    return np.asarray(np.einsum("kn,kna,knb->nab", weights, away, away), dtype=np.float64)


def _put(sources: Sources, rows: NDArray[np.int64], chosen: Sources) -> Sources:
    """The sources with some rows replaced."""
    arrays: dict[str, Any] = {}
    for field in fields(Sources):
        if field.name != "n_echoes":
            arrays[field.name] = getattr(sources, field.name).copy()
            arrays[field.name][rows] = getattr(chosen, field.name)
    return replace(sources, **arrays)
