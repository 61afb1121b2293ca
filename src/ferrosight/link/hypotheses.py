"""Every continuation, split, merge and false candidate worth weighing, each with its log odds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferrosight.link.model import Alone, Clusters, Scales, gather_clusters, gather_scales, weigh_alone
from ferrosight.link.moves import Moves, find_moves
from ferrosight.link.pool import PairPool, find_pairs, pool_pairs
from ferrosight.types.config import LinkConfig
from ferrosight.types.tracks import Detections, LinkKind

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

#: Splits and merges that were weighed, by kind.
PairPools: TypeAlias = Mapping[LinkKind, PairPool]


@dataclass(frozen=True)
class Hypotheses:
    """One row each, weighed against its clusters each standing alone: new, seen once and gone.

    ``one`` is the source of a continuation or a split, the target of a merge, and the false candidate; ``first`` and
    ``second`` are the other clusters, −1 where there are fewer. ``members`` (n, 3) are the ends taken: a cluster's
    number for "what comes after", plus the number of clusters for "what came before"; −1 where there are fewer.
    """

    kind: _Ints
    one: _Ints
    first: _Ints
    second: _Ints
    members: _Ints
    log_odds: _Floats

    def where(self, keep: NDArray[np.bool_]) -> Hypotheses:
        """Those that a mask picks."""
        return Hypotheses(*(getattr(self, field.name)[keep] for field in fields(self)))

    @staticmethod
    def join(parts: list[Hypotheses]) -> Hypotheses:
        """One after another."""
        names = [field.name for field in fields(Hypotheses)]
        return Hypotheses(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Ground:
    """What all hypotheses stand on: the clusters, what each is worth alone, and which lie near each other."""

    clusters: Clusters
    scales: Scales
    alone: Alone
    moves: Moves


def survey_ground(detections: Detections, config: LinkConfig) -> Ground:
    """Gather it from the detections."""
    clusters, scales, alone = gather_clusters(detections), gather_scales(config), weigh_alone(detections, config)
    return Ground(clusters, scales, alone, find_moves(detections, clusters, alone, config, scales))


def propose_singles(ground: Ground) -> Hypotheses:
    """Every false candidate and every continuation, whatever its odds."""
    alone, moves, n = ground.alone, ground.moves, len(ground.alone.new)
    rows = np.arange(n)
    false = _build(LinkKind.FALSE, (rows,), (rows, n + rows), alone.false - alone.new - alone.end)
    links = (moves.source, moves.target), (moves.source, n + moves.target)
    return Hypotheses.join([false, _build(LinkKind.CONTINUE, *links, moves.log_odds)])


def propose_pairs(ground: Ground) -> Hypotheses:
    """Splits and merges with odds above 0, unless one of the links alone has better odds."""
    parts = []
    for kind in (LinkKind.SPLIT, LinkKind.MERGE):
        merging = kind is LinkKind.MERGE
        rows = find_pairs(ground.moves, ground.clusters, ground.alone, ground.scales, merging=merging)
        parts.append(_build_pairs(kind, *rows, len(ground.alone.new)))
    return Hypotheses.join(parts)


def propose_priced_pairs(
    ground: Ground, pools: PairPools, prices: _Floats, least_log_odds: float, depth: float
) -> tuple[Hypotheses, PairPools]:
    """Splits and merges whose odds exceed the prices (2 n,) of their ends by ``least_log_odds`` or more.

    In an order that the data fix; ``pools`` hold what was weighed before, to ``depth`` the first time (`pool_pairs`).
    """
    parts, renewed = [], dict(pools)
    for kind in (LinkKind.SPLIT, LinkKind.MERGE):
        pool, near = pool_pairs(
            pools.get(kind),
            ground.moves,
            ground.clusters,
            ground.alone,
            ground.scales,
            merging=kind is LinkKind.MERGE,
            prices=prices,
            least_log_odds=least_log_odds,
            depth=depth,
        )
        renewed[kind] = pool
        one, a, b, log_odds = pool.one[near], pool.first[near], pool.second[near], pool.log_odds[near]
        parts.append(_build_pairs(kind, one, a, b, log_odds, len(ground.alone.new)))
    return Hypotheses.join(parts), renewed


def _build_pairs(kind: LinkKind, one: _Ints, a: _Ints, b: _Ints, log_odds: _Floats, n: int) -> Hypotheses:
    members = (a, b, n + one) if kind is LinkKind.MERGE else (one, n + a, n + b)
    return _build(kind, (one, a, b), members, log_odds)


def propose_near(ground: Ground, pools: PairPools, prices: _Floats, least_log_odds: float) -> Hypotheses:
    """All hypotheses whose odds exceed the prices of their ends by ``least_log_odds`` (negative) or more."""
    singles = propose_singles(ground)
    asked = np.where(singles.members >= 0, prices[np.maximum(singles.members, 0)], 0.0).sum(axis=1)
    near = singles.where(singles.log_odds - asked >= least_log_odds)
    pairs, _ = propose_priced_pairs(ground, pools, prices, least_log_odds, -least_log_odds)
    return Hypotheses.join([near, pairs])


def _build(kind: LinkKind, rows: tuple[_Ints, ...], ends: tuple[_Ints, ...], log_odds: _Floats) -> Hypotheses:
    none = np.full(len(log_odds), -1)
    one, first, second = (*rows, none, none)[:3]
    members = np.stack((*ends, none)[:3], axis=1)
    return Hypotheses(np.full(len(log_odds), int(kind)), one, first, second, members, log_odds)
