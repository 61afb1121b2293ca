"""Splits and merges worth weighing, found once and kept while prices change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ferrosight.link.model import Alone, Clusters, Scales
from ferrosight.link.moves import Moves
from ferrosight.link.pairs import weigh_chunk

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

#: Clusters whose pairs one thread weighs at a time.
_CHUNK = 2_000


@dataclass(frozen=True)
class PairPool:
    """Splits (one, first, second), or merges, weighed at some prices, and these prices.

    All are here that fell short of the prices by no more than ``depth``. ``asked_one`` (n,) is what each cluster's end
    as the whole was priced at when its pairs were weighed, ``asked_other`` what that of each link's other cluster was.
    """

    one: _Ints
    first: _Ints
    second: _Ints
    log_odds: _Floats
    depth: float
    asked_one: _Floats
    asked_other: _Floats


@dataclass(frozen=True)
class _Links:
    """Links by the cluster that would be the whole, and what its end and that of a part are worth alone."""

    starts: _Ints
    other: _Ints
    odds: _Floats
    whole: _Floats
    part: _Floats


def find_pairs(
    moves: Moves, clusters: Clusters, alone: Alone, scales: Scales, *, merging: bool
) -> tuple[_Ints, _Ints, _Ints, _Floats]:
    """Splits (one, first, second), or merges, and their log odds against all three standing alone.

    Those with odds above 0 and above those of either link alone.
    """
    links = _sort_links(moves, alone, merging=merging)
    runs, none = _cut_runs(np.arange(len(alone.new))), np.zeros(len(alone.new))
    return _weigh_runs(runs, links, links.odds, none, none, 0.0, clusters, scales, merging=merging)


def pool_pairs(
    pool: PairPool | None,
    moves: Moves,
    clusters: Clusters,
    alone: Alone,
    scales: Scales,
    *,
    merging: bool,
    prices: _Floats,
    least_log_odds: float,
    depth: float,
) -> tuple[PairPool, NDArray[np.bool_]]:
    """All pairs whose log odds exceed the ``prices`` (2 n,) of their ends by ``least_log_odds``: a pool, and which.

    Odds do not depend on prices. A pair that is not in a pool fell short by more than its depth; only where prices have
    fallen by so much since can it come into question, and only the pairs of these clusters are weighed again. A first
    pool is weighed to ``depth``.
    """
    n = len(alone.new)
    links = _sort_links(moves, alone, merging=merging)
    # the ends that are taken: a split takes what comes after the whole, and before its parts
    asked_one, asked_part = (prices[n:], prices[:n]) if merging else (prices[:n], prices[n:])
    asked_other = asked_part[links.other]
    if pool is None:
        nothing = np.zeros(0, dtype=np.int64)
        most = max(depth, -least_log_odds)
        pool = PairPool(nothing, nothing, nothing, np.zeros(0), most, asked_one, asked_other)
        stale = np.arange(n)
    else:
        fallen = pool.asked_one - asked_one
        linked = np.flatnonzero(np.diff(links.starts))
        both = 2 * np.maximum.reduceat(pool.asked_other - asked_other, links.starts[linked]) if len(linked) else 0.0
        stale = linked[fallen[linked] + both > pool.depth + least_log_odds]
    if len(stale):
        unpriced = np.full(len(links.odds), -np.inf)
        weighed = _weigh_runs(
            _cut_runs(stale), links, unpriced, asked_one, asked_part, -pool.depth, clusters, scales, merging=merging
        )
        pool = _renew(pool, stale, weighed, links.starts, asked_one, asked_other)
    asked = asked_one[pool.one] + asked_part[pool.first] + asked_part[pool.second]
    return pool, np.asarray(pool.log_odds - asked >= least_log_odds)


def _renew(
    pool: PairPool,
    stale: _Ints,
    weighed: tuple[_Ints, _Ints, _Ints, _Floats],
    starts: _Ints,
    asked_one: _Floats,
    asked_other: _Floats,
) -> PairPool:
    """The pool with the pairs of ``stale`` clusters as they were ``weighed`` at new prices, in order."""
    is_stale = np.zeros(len(asked_one), dtype=np.bool_)
    is_stale[stale] = True
    kept = ~is_stale[pool.one]
    old = pool.one, pool.first, pool.second, pool.log_odds
    one, first, second, log_odds = (np.concatenate([a[kept], b]) for a, b in zip(old, weighed, strict=True))
    order = np.argsort(one, kind="stable")
    owner = np.repeat(np.arange(len(asked_one)), np.diff(starts))
    return PairPool(
        one[order],
        first[order],
        second[order],
        log_odds[order],
        pool.depth,
        np.where(is_stale, asked_one, pool.asked_one),
        np.where(is_stale[owner], asked_other, pool.asked_other),
    )


def _sort_links(moves: Moves, alone: Alone, *, merging: bool) -> _Links:
    if merging:
        order = np.argsort(moves.target, kind="stable")  # they come by source
        one, other, odds = moves.target[order], moves.source[order], moves.log_odds[order]
        whole, part = alone.seen - alone.new, -alone.end
    else:
        one, other, odds = moves.source, moves.target, moves.log_odds
        whole, part = -alone.end, alone.seen - alone.new
    return _Links(np.searchsorted(one, np.arange(len(alone.new) + 1)), other, odds, whole, part)


def _cut_runs(clusters: _Ints) -> list[tuple[int, int]]:
    """Clusters in order as runs (first, before which to end) without a hole, none longer than `_CHUNK`."""
    if not len(clusters):
        return []
    breaks = np.flatnonzero(np.diff(clusters, prepend=clusters[0] - 2) > 1)
    ends = np.append(breaks[1:], len(clusters))
    runs = zip(clusters[breaks].tolist(), (clusters[ends - 1] + 1).tolist(), strict=True)
    return [(at, min(at + _CHUNK, last)) for first, last in runs for at in range(first, last, _CHUNK)]


def _weigh_runs(
    runs: list[tuple[int, int]],
    links: _Links,
    odds: _Floats,
    asked_one: _Floats,
    asked_part: _Floats,
    least: float,
    clusters: Clusters,
    scales: Scales,
    *,
    merging: bool,
) -> tuple[_Ints, _Ints, _Ints, _Floats]:
    """The pairs of all clusters in the runs, in their order."""

    def weigh(run: tuple[int, int]) -> tuple[_Ints, _Ints, _Ints, _Floats]:
        return weigh_chunk(
            *run,
            links.starts,
            links.other,
            odds,
            links.whole,
            links.part,
            asked_one,
            asked_part,
            least,
            merging,
            clusters,
            scales,
        )

    with ThreadPoolExecutor(numba.get_num_threads()) as executor:
        parts = list(executor.map(weigh, runs))
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing, np.zeros(0)
    ones, firsts, seconds, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return ones, firsts, seconds, values
