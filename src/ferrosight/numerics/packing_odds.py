"""How likely each set is among all choices of sets that share no member, weighed by their total gains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.numerics.packing_messages import pass_messages
from ferrosight.numerics.set_packing import group_sets

#: Groups of more sets, or whose sweep holds more states than this, are left to messages.
_MOST_SETS = 1_000
_MOST_STATES = 2_000
#: States whose best continuation is surely this much less likely (log odds) than the best one are dropped.
_LEAST_STATE = -9.0
#: In a group that is too large, sets with less belief that also fall short of their prices by more are left out.
_LEAST_BELIEF = 3e-3
_LEAST_SHORT = -2.0


@dataclass(frozen=True)
class PackingOdds:
    """``probability`` (n_sets,) of each set; in ``n_nearly`` of the groups the sum is nearly right, not exact."""

    probability: NDArray[np.float64]
    n_nearly: int


def weigh_packings(members: NDArray[np.int64], gains: NDArray[np.float64], prices: NDArray[np.float64]) -> PackingOdds:
    """Share of each set in all choices of disjoint sets, a choice of total gain G counting exp(G).

    ``members`` (n_sets, k), −1 where a set has fewer; ``gains`` (n_sets,), also below 0; ``prices`` (n_members,) are 0
    or more, and no set gains more than its members' (`pack_sets`).

    Notes
    -----
    Groups that share no member are independent. A group is summed exactly: its members are dealt with one after
    another, and the sum so far is kept for every set of later members that is already taken (a transfer matrix);
    probabilities come from a forward and a backward pass. A state can gain no more than the prices of the members yet
    to come; one that stays far behind another is dropped.

    Where too many states arise, messages between sets and members (`pass_messages`) give probabilities nearly. Sets
    that they find hopeless, and that fall short of their members' prices too, are then left out, and the smaller groups
    that remain are summed.
    """
    short = np.minimum(gains - np.where(members >= 0, prices[np.maximum(members, 0)], 0.0).sum(axis=1), 0.0)
    probability = np.zeros(len(gains))
    rest = _sum_groups(np.arange(len(gains)), members, gains, short, prices, probability)
    n_nearly = len(rest)
    if rest:
        large = np.concatenate(rest)
        belief = pass_messages(members[large], gains[large], len(prices))
        probability[large] = belief
        likely = large[(belief >= _LEAST_BELIEF) | (short[large] >= _LEAST_SHORT)]
        _sum_groups(likely, members, gains, short, prices, probability)
    return PackingOdds(probability, n_nearly)


def _sum_groups(
    sets: NDArray[np.int64],
    members: NDArray[np.int64],
    gains: NDArray[np.float64],
    short: NDArray[np.float64],
    prices: NDArray[np.float64],
    probability: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """Fill in the probabilities of all groups that can be summed; the others are returned and left as they are."""
    group, n_groups = group_sets(members[sets], len(prices))
    sizes = np.bincount(group, minlength=n_groups)
    single = sets[sizes[group] == 1]
    probability[single] = 1.0 / (1.0 + np.exp(-gains[single]))
    left = []
    for own in np.split(sets[np.argsort(group, kind="stable")], np.cumsum(sizes)[:-1]):
        if len(own) < 2:
            continue
        found = _Sweep.build(members[own], short[own], prices).run() if len(own) <= _MOST_SETS else None
        if found is None:
            left.append(own)
        else:
            probability[own] = found
    return left


@dataclass(frozen=True)
class _Sweep:
    """A group's members in the order in which they are dealt with; bit k is the k-th of them.

    ``begins`` are the sets by the first of their members: number, later members as bits, and weight: by how much the
    set falls short of its members' prices. ``skips`` is the weight of leaving a member: its price.
    """

    skips: list[float]
    begins: list[list[tuple[int, int, float]]]

    @classmethod
    def build(cls, members: NDArray[np.int64], short: NDArray[np.float64], prices: NDArray[np.float64]) -> _Sweep:
        """Order the members so that few are taken ahead of their turn: each time the one that adds fewest."""
        sets = [[m for m in row if m >= 0] for row in members.tolist()]
        place = _order_members(sets)
        begins: list[list[tuple[int, int, float]]] = [[] for _ in place]
        for number, (own, behind) in enumerate(zip(sets, short.tolist(), strict=True)):
            places = sorted(place[m] for m in own)
            begins[places[0]].append((number, sum(1 << k for k in places[1:]), math.exp(behind)))
        return cls([math.exp(-prices[member]) for member in place], begins)

    def run(self) -> list[float] | None:
        """Probability of each set, or None where there are too many states."""
        least = math.exp(_LEAST_STATE)
        states = [{0: 1.0}]
        for k in range(len(self.begins)):
            after: dict[int, float] = {}
            for taken, weight in states[-1].items():
                for _, now, factor in self._steps(k, taken):
                    after[now] = after.get(now, 0.0) + weight * factor
            # only the ratios of sums count
            largest = max(after.values())
            kept = {taken: weight / largest for taken, weight in after.items() if weight >= least * largest}
            if len(kept) > _MOST_STATES:
                return None
            states.append(kept)
        return self._look_back(states)

    def _steps(self, k: int, taken: int) -> list[tuple[int, int, float]]:
        """From a state at member ``k``: (set or −1, next state, factor)."""
        bit = 1 << k
        if taken & bit:
            return [(-1, taken ^ bit, 1.0)]
        ways = [(number, taken | rest, weight) for number, rest, weight in self.begins[k] if not taken & rest]
        return [(-1, taken, self.skips[k]), *ways]

    def _look_back(self, states: list[dict[int, float]]) -> list[float]:
        """The backward pass; sums to come are weighed against those so far."""
        sums = [0.0] * sum(len(own) for own in self.begins)
        to_come = {0: 1.0}
        for k in reversed(range(len(self.begins))):
            before: dict[int, float] = {}
            total = 0.0
            parts: dict[int, float] = {}
            for taken, weight in states[k].items():
                whole = 0.0
                for number, now, factor in self._steps(k, taken):
                    part = factor * to_come.get(now, 0.0)
                    whole += part
                    if number >= 0:
                        parts[number] = parts.get(number, 0.0) + weight * part
                before[taken] = whole
                total += weight * whole
            for number, part in parts.items():
                sums[number] = part / total
            largest = max(before.values())
            to_come = {taken: whole / largest for taken, whole in before.items()}
        return sums


def _order_members(sets: list[list[int]]) -> dict[int, int]:
    """Place of each member in the order: next is always the one, of those met, that meets fewest new ones."""
    neighbours: dict[int, set[int]] = {}
    for own in sets:
        for member in own:
            neighbours.setdefault(member, set()).update(own)
    start = min(neighbours, key=lambda member: (len(neighbours[member]), member))
    met, place = {start}, dict[int, int]()
    while met:
        following = min(met, key=lambda member: (len(neighbours[member] - met), member))
        met |= neighbours.pop(following)
        place[following] = len(place)
        met -= place.keys()
    return place
