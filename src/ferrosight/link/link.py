"""Clusters of all visits into tracks: the likeliest explanation of all of them at once, and its rivals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.link.hypotheses import (
    Ground,
    Hypotheses,
    PairPools,
    propose_near,
    propose_pairs,
    propose_priced_pairs,
    propose_singles,
    survey_ground,
)
from ferrosight.numerics.packing_odds import weigh_packings
from ferrosight.numerics.set_packing import PRICE_TOLERANCE, Packing, pack_sets
from ferrosight.types.config import LinkConfig
from ferrosight.types.tracks import Detections, LinkKind, Links, Optimality, TrackSet

_Ints = NDArray[np.int64]

#: Explanations with a hypothesis that falls this far short are less likely than the likeliest by exp(−5) = 0.007.
LEAST_LOG_ODDS = -5.0
#: Up to so many links all splits and merges are weighed at once, and the optimum is proven without a gap.
_ALL_AT_ONCE = 20_000
#: How far short of the first prices splits and merges are kept: they need not be weighed again unless prices fall by as
#: much.
_DEPTH = 8.0


def link_detections(detections: Detections, config: LinkConfig) -> TrackSet:
    """The likeliest tracks of a subject's clusters, with the probability of every link and of its rivals.

    Each cluster is false or real; a real one is new or comes from one earlier cluster (perhaps unseen for some
    visits), from one that split or from two that merged; and it ends, goes on, splits or merges. The choice that is
    likeliest in all is found as an integer programme, with a proof; the probabilities come from a sum over all choices
    in each group of clusters that can be linked apart. With ``config.use_mass`` false moments are not read.

    Notes
    -----
    Model, costs and their tests: ``docs/link.md``. Multiple-hypothesis tracking as a multi-dimensional assignment:
    Poore & Gadaleta, Math. Comput. Modelling 43:1074 (2006); splits and merges in it: Jaqaman et al., Nat. Methods
    5:695 (2008).
    """
    ground = survey_ground(detections, config)
    hypotheses, packing, pools = _find_likeliest(ground)
    best = hypotheses.where(packing.chosen)
    near = propose_near(ground, pools, packing.prices, LEAST_LOG_ODDS)
    rivals = near.where(~_are_among(near, best, 2 * len(detections)))
    weighed = Hypotheses.join([best, rivals])
    odds = weigh_packings(weighed.members, weighed.log_odds, packing.prices)
    optimality = Optimality(packing.gain, packing.bound, packing.n_groups, packing.n_branched, odds.n_nearly)
    chosen = np.arange(len(weighed.kind)) < len(best.kind)
    return _build_tracks(detections, weighed, chosen, odds.probability, optimality, config)


def _find_likeliest(ground: Ground) -> tuple[Hypotheses, Packing, PairPools]:
    """The likeliest explanation, among the hypotheses that came into question, and the pairs weighed on the way.

    Where links are many, splits and merges are only looked for where the prices so far would let them in.
    """
    found = [propose_singles(ground)]
    n_ends = 2 * len(ground.alone.new)
    if len(ground.moves.source) <= _ALL_AT_ONCE:
        found = [Hypotheses.join([*found, propose_pairs(ground)])]
        return found[0], pack_sets(found[0].members, found[0].log_odds, n_ends), {}
    pools: PairPools = {}

    def find_more(prices: NDArray[np.float64]) -> tuple[_Ints, NDArray[np.float64]]:
        nonlocal pools
        pairs, pools = propose_priced_pairs(ground, pools, prices, PRICE_TOLERANCE, _DEPTH)
        found.append(pairs)
        return pairs.members, pairs.log_odds

    packing = pack_sets(found[0].members, found[0].log_odds, n_ends, find_more)
    return Hypotheses.join(found), packing, pools


def _are_among(some: Hypotheses, others: Hypotheses, n_ends: int) -> NDArray[np.bool_]:
    key = np.array([(n_ends + 1) ** 2, n_ends + 1, 1])
    return np.isin((some.members + 1) @ key, (others.members + 1) @ key)


def _build_tracks(
    detections: Detections,
    hypotheses: Hypotheses,
    chosen: NDArray[np.bool_],
    probability: NDArray[np.float64],
    optimality: Optimality,
    config: LinkConfig,
) -> TrackSet:
    n = len(detections)
    is_false = hypotheses.kind == LinkKind.FALSE
    false_probability = np.zeros(n)
    false_probability[hypotheses.one[is_false]] = probability[is_false]
    taken = np.zeros(2 * n)
    for ends in hypotheses.members.T:
        np.add.at(taken, ends[ends >= 0], probability[ends >= 0])
    free = np.clip(1 - taken, 0.0, 1.0)
    real = np.ones(n, dtype=np.bool_)
    real[hypotheses.one[is_false & chosen]] = False
    links = _list_links(hypotheses, chosen, probability, n, config.least_probability)
    track, first, parents = _follow(links, real, detections.visit)
    names = detections.cluster_ids[first]
    return TrackSet(
        names,
        tuple(tuple(sorted(names[own].tolist())) for own in parents),
        track,
        links,
        false_probability,
        free[n:],
        free[:n],
        optimality,
    )


def _list_links(
    hypotheses: Hypotheses,
    chosen: NDArray[np.bool_],
    probability: NDArray[np.float64],
    n: int,
    least_probability: float,
) -> Links:
    """The links of all hypotheses, each pair of clusters once: as chosen, else as likeliest."""
    split, merge = hypotheses.kind == LinkKind.SPLIT, hypotheses.kind == LinkKind.MERGE
    rows = np.flatnonzero(hypotheses.kind != LinkKind.FALSE)
    two = np.flatnonzero(split | merge)
    number = np.concatenate([rows, two])
    other = np.concatenate([hypotheses.first[rows], hypotheses.second[two]])
    source = np.where(merge[number], other, hypotheses.one[number])
    target = np.where(merge[number], hypotheses.one[number], other)
    order = np.lexsort((-probability[number], ~chosen[number], target, source))
    number, source, target = number[order], source[order], target[order]
    pair = source * n + target
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    total = np.add.reduceat(probability[number], starts) if len(starts) else np.zeros(0)
    total = np.minimum(total, 1.0)
    best = number[starts]
    keep = chosen[best] | (total >= least_probability)
    return Links(
        source[starts][keep],
        target[starts][keep],
        hypotheses.kind[best][keep],
        total[keep],
        probability[best][keep],
        chosen[best][keep],
    )


def _follow(links: Links, real: NDArray[np.bool_], visit: _Ints) -> tuple[_Ints, _Ints, list[list[int]]]:
    """The track of each cluster (−1: false), each track's first cluster, and the tracks it comes from."""
    n = len(real)
    own = links.chosen & (links.kind == LinkKind.CONTINUE)
    came_from = np.full(n, -1)
    came_from[links.target[own]] = links.source[own]
    order = np.lexsort((np.arange(n), visit))
    track = np.full(n, -1)
    first: list[int] = []
    for row in order.tolist():
        if not real[row]:
            continue
        if came_from[row] >= 0:
            track[row] = track[came_from[row]]
        else:
            track[row] = len(first)
            first.append(row)
    parents: list[list[int]] = [[] for _ in first]
    branch = links.chosen & (links.kind != LinkKind.CONTINUE)
    for source, target in zip(links.source[branch].tolist(), links.target[branch].tolist(), strict=True):
        parents[track[target]].append(int(track[source]))
    return track, np.array(first, dtype=np.int64), parents
