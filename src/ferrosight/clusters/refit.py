"""Scores of weak sources under every point spread that a scan may have.

A scan's point spread is chosen by its strongest sources. The same choice can cost weak ones a third of their score
where it is a little wrong. So each weak source of every class is fitted again under the other point spreads, from
where it is, and scores by its best fit.

What it holds and where it lies stay with the scan's own point spread: an acquisition has but one. What tissue leaves
lets the wrong one fit best too often, and by far more than noise would: averaged over the voxel, a source at a voxel's
corner is nearly hidden and may be three times as strong.
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
#: Fits that end farther apart than this (voxels) are not of one source.
_SAME_SOURCE = 1.0


@dataclass(frozen=True)
class Refit:
    """``sources``, the weak ones fitted once more; the whitened ``score`` (n,) of their best fit, and by how much
    that ``lowered`` (n,) χ²."""

    sources: Sources
    score: NDArray[np.float64]
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
    lowered = np.zeros(len(sources))
    is_weak = (np.abs(sources.q) * data.ratios[-1] < WEAK_Q) & (sources.steps >= 0)
    weak, strong = np.flatnonzero(is_weak), np.flatnonzero(~is_weak)
    score = np.zeros(len(sources))
    score[strong] = whiten_sources(data, sources.pick(strong), neighbours, own[strong], structure).score
    if not len(weak):
        return Refit(sources, score, lowered)
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
        return Refit(sources, score, lowered)
    gains = np.array([_gain(fit, fits[0]) for fit in fits])
    # By how much they gain: one that ends in the next voxel's window has other data.
    known = np.isfinite(gains[0])
    best = np.where(known, np.argmax(gains, axis=0), 0)
    rows = np.arange(len(weak))
    score[weak] = np.array(scores)[best, rows]
    lowered[weak[known]] = gains[best, rows][known] - gains[0, known]
    return Refit(_put(sources, weak, fits[0]), score, lowered)


def _gain(fit: Sources, first: Sources) -> NDArray[np.float64]:
    """What each source takes off χ²; -inf where the fit failed or went to another place."""
    gain = fit.chi2_background - fit.chi2
    moved = np.linalg.norm(fit.positions - first.positions, axis=1)
    known = (fit.steps >= 0) & np.isfinite(gain) & (moved < _SAME_SOURCE)
    return np.where(known, gain, -np.inf)


def _put(sources: Sources, rows: NDArray[np.int64], chosen: Sources) -> Sources:
    """The sources with some rows replaced."""
    arrays: dict[str, Any] = {}
    for field in fields(Sources):
        if field.name != "n_echoes":
            arrays[field.name] = getattr(sources, field.name).copy()
            arrays[field.name][rows] = getattr(chosen, field.name)
    return replace(sources, **arrays)
