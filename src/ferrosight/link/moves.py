"""Pairs of clusters that may be one and the same at two visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ferrosight.link.densities import weigh_move
from ferrosight.link.model import Alone, Clusters, Scales
from ferrosight.types.config import LinkConfig
from ferrosight.types.tracks import Detections

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Moves:
    """Pairs near enough to be linked: rows, and log odds of being the same against each standing alone."""

    source: _Ints
    target: _Ints
    log_odds: _Floats


def find_moves(detections: Detections, clusters: Clusters, alone: Alone, config: LinkConfig, scales: Scales) -> Moves:
    """All pairs within the gate and the gap allowed, by source and then by target."""
    source, target = _find_near(detections, clusters, config)
    first, last = clusters.visit[source] + 1, clusters.visit[target]
    missed = sum(clusters.unseen[ends, last] - clusters.unseen[ends, first] for ends in (source, target))
    step = clusters.day[target] - clusters.day[source]
    # as hard to see in between as both ends are, in the mean; neither gone nor split
    log_odds = 0.5 * missed - (scales.gone + scales.split) * step
    log_odds += _weigh_moves(source, target, clusters, scales)
    log_odds += alone.seen[target] - alone.new[target] - alone.end[source]
    return Moves(source, target, log_odds)


@njit(cache=True)
def _weigh_moves(source: _Ints, target: _Ints, clusters: Clusters, scales: Scales) -> _Floats:
    out = np.empty(len(source))
    for k in range(len(source)):
        out[k] = weigh_move(source[k], target[k], clusters, scales)
    return out


def _find_near(detections: Detections, clusters: Clusters, config: LinkConfig) -> tuple[_Ints, _Ints]:
    """Pairs (source, target) within the gate and the gap allowed."""
    rows = [np.flatnonzero(detections.visit == t) for t in range(len(detections.days))]
    trees = [KDTree(detections.position_mm[own]) if len(own) else None for own in rows]
    sources, targets = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for t, own in enumerate(rows):
        for later in range(t + 1, min(t + 2 + config.max_gap_visits, len(rows))):
            tree, others = trees[later], rows[later]
            if tree is None or not len(own):
                continue
            # two parts of a split lie about half their separation from where the whole lay
            scale2 = config.motion_mm**2 * (detections.days[later] - detections.days[t]) + config.separation_mm**2 / 4
            reach = config.gate_sd * np.sqrt(clusters.reach[own] + clusters.reach[others].max() + scale2)
            near = tree.query_ball_point(detections.position_mm[own], reach)
            counts = np.fromiter((len(found) for found in near), dtype=np.int64, count=len(own))
            sources.append(np.repeat(own, counts))
            targets.append(others[np.concatenate([np.asarray(found, dtype=np.int64) for found in near])])
    source, target = np.concatenate(sources), np.concatenate(targets)
    order = np.lexsort((target, source))
    return source[order], target[order]
