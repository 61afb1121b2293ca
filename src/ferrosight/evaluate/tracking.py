"""Links between clusters of different visits against the true ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.evaluate.counts import count_share
from ferrosight.types.evaluation import EventScore, Reliability, Tracking

_Ints = NDArray[np.int64]


def score_links(found: _Ints, true: _Ints) -> Tracking:
    """Count links, splits and merges that are right; ``found`` and ``true`` are (n_links, 2): source, target.

    A split is right where the same cluster has the same later ones, two at least, all of them and no other; a merge
    where it has the same earlier ones. Clusters need no match of their own: both name rows of the same detections.
    """
    links = [{(int(a), int(b)) for a, b in pairs} for pairs in (found, true)]
    splits, merges = ([_gather(pairs, by) for pairs in links] for by in (0, 1))
    return Tracking(*(_score(*events) for events in (links, splits, merges)))


def _gather(links: set[tuple[int, int]], by: int) -> set[tuple[int, frozenset[int]]]:
    """Ends that two links or more share, with the clusters at the other end of all of them."""
    others: dict[int, set[int]] = {}
    for link in links:
        others.setdefault(link[by], set()).add(link[1 - by])
    return {(end, frozenset(own)) for end, own in others.items() if len(own) > 1}


def _score(found: set[object], true: set[object]) -> EventScore:
    return EventScore(len(true), len(found), len(found & true))


def check_probabilities(
    probability: NDArray[np.float64],
    right: NDArray[np.bool_],
    edges: Sequence[float] = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0),
) -> tuple[Reliability, ...]:
    """Whether links said to be right with probability p are right so often: one row per bin that has any.

    ``probability`` and ``right`` (n_links,) are those of all links that were kept, rivals included.
    """
    number = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    rows = [number == k for k in range(len(edges) - 1)]
    return tuple(
        Reliability(float(probability[own].mean()), count_share(int(right[own].sum()), int(own.sum())))
        for own in rows
        if own.any()
    )
