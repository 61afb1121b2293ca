"""The best choice of sets no two of which share a member, and how far from the best it can be at most."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse.csgraph import connected_components

from ferrosight.numerics.packing_messages import index_members, pass_messages

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]

#: Prices (n_members,) to members (n, k) and gains (n,) of sets that gain more.
FindMore: TypeAlias = Callable[[_Floats], tuple[_Ints, _Floats]]

#: Linear programmes of independent groups are solved together, up to about this many sets.
_BATCH = 10_000
_INTEGRAL = 1e-6
#: A set joins where it gains this much more than its members' prices: above the solver's own tolerance.
PRICE_TOLERANCE = 1e-6
#: Sets less likely than this are left out of the programme until prices ask for them.
_LEAST_BELIEF = 1e-3
#: Groups up to this many sets are solved with all of them.
_SMALL = 2_000
_BELIEF_SWEEPS = 30
_BALANCE_SWEEPS = 10


@dataclass(frozen=True)
class Packing:
    """Sets chosen (n_sets,), their total ``gain``, and a ``bound`` that no choice exceeds.

    ``prices`` (n_members,) prove the bound: they are 0 or more, no set gains more than its members' prices, and where
    no group was branched they add up to ``gain``. A choice that includes a set therefore falls short of ``bound`` by
    at least the prices of its members less its gain. Of all prices that do, these are balanced: each chosen set's gain
    lies on its members so that their rivals fall short alike.
    """

    chosen: _Bools
    gain: float
    bound: float
    prices: _Floats
    n_groups: int
    n_branched: int


def pack_sets(members: _Ints, gains: _Floats, n_members: int, find_more: FindMore | None = None) -> Packing:
    """The sets of largest total gain of which no two share a member.

    ``members`` (n_sets, k) holds each set's members, −1 where it has fewer than k; ``gains`` (n_sets,). Where there
    are too many sets to list, ``find_more`` takes prices and returns members and gains of those that gain more than
    their members' prices by `PRICE_TOLERANCE`; they are counted after the first ones, in the order they came.

    Notes
    -----
    An integer programme, maximise Σ g x with Σ x ≤ 1 over the sets of each member. Sets that gain nothing are never
    needed. Groups of sets that share no member are independent; of each the linear relaxation is solved (HiGHS), whose
    dual gives the prices. Where that comes out in whole numbers it is the optimum; where not, the group is solved by
    branch and bound.

    A large group begins with the sets that messages find likely, and those that gain more than the prices of their
    members join until there is none, which proves that the others are not needed by the relaxation (column
    generation). Where branching is needed in it, sets that could bridge the gap take part, and ``bound`` stays that of
    the relaxation.
    """
    useful = np.flatnonzero(gains > 0)
    pool = _open_pool(useful, members[useful], gains[useful], n_members, complete=find_more is None)
    n_sets, fresh = len(gains), pool.active.copy()
    while fresh.any():
        _relax_groups(pool, fresh)
        # Balanced prices are near what the whole problem asks, so that few sets join for nothing.
        _balance(pool)
        fresh = ~pool.active & (pool.gains - _pay(pool.members, pool.prices) > PRICE_TOLERANCE)
        if not fresh.any() and find_more is not None:
            more, more_gains = find_more(pool.prices)
            pool = _extend(pool, np.arange(n_sets, n_sets + len(more_gains)), more, more_gains)
            fresh = pool.number >= n_sets
            n_sets += len(more_gains)
        pool.active[fresh] = True
    saved, n_branched = _branch_groups(pool)
    chosen = np.zeros(n_sets, dtype=np.bool_)
    chosen[pool.number] = pool.shares > 0.5
    gain = float(pool.gains[pool.shares > 0.5].sum())
    bound = max(float(pool.prices.sum()) - saved, gain)
    return Packing(chosen, gain, bound, pool.prices, group_sets(pool.members, n_members)[1], n_branched)


@dataclass(frozen=True)
class _Pool:
    """Sets under consideration, (n,) each, and the relaxation's solution so far, which changes in place.

    ``complete`` sets are in groups that have all their sets in the programme from the start.
    """

    number: _Ints
    members: _Ints
    gains: _Floats
    complete: _Bools
    active: _Bools
    shares: _Floats
    prices: _Floats


def _open_pool(number: _Ints, members: _Ints, gains: _Floats, n_members: int, *, complete: bool) -> _Pool:
    group, n_groups = group_sets(members, n_members)
    small = np.bincount(group, minlength=n_groups)[group] <= _SMALL
    active = small | (pass_messages(members, gains, n_members, max_sweeps=_BELIEF_SWEEPS) >= _LEAST_BELIEF)
    return _Pool(number, members, gains, small & complete, active, np.zeros(len(gains)), np.zeros(n_members))


def _extend(pool: _Pool, number: _Ints, members: _Ints, gains: _Floats) -> _Pool:
    no = np.zeros(len(gains), dtype=np.bool_)
    return _Pool(
        np.concatenate([pool.number, number]),
        np.concatenate([pool.members, members]),
        np.concatenate([pool.gains, gains]),
        np.concatenate([pool.complete, no]),
        np.concatenate([pool.active, no]),
        np.concatenate([pool.shares, np.zeros(len(gains))]),
        pool.prices,
    )


def group_sets(members: _Ints, n_members: int) -> tuple[_Ints, int]:
    """Number of the group of each set (n_sets,), and how many: sets that share a member are in one."""
    if not len(members):
        return np.zeros(0, dtype=np.int64), 0
    first = np.repeat(members[:, :1], members.shape[1] - 1, axis=1)
    rest = members[:, 1:]
    linked = rest >= 0
    graph = sp.coo_array((np.ones(int(linked.sum())), (first[linked], rest[linked])), shape=(n_members, n_members))
    label = connected_components(graph, directed=False)[1][members[:, 0]]
    _, group = np.unique(label, return_inverse=True)
    return group.astype(np.int64), int(group.max()) + 1


def _pay(members: _Ints, prices: _Floats) -> _Floats:
    """Sum of the prices of each set's members."""
    paid: _Floats = np.where(members >= 0, prices[np.maximum(members, 0)], 0.0).sum(axis=1)
    return paid


def _relax_groups(pool: _Pool, fresh: _Bools) -> None:
    """Solve the relaxation of each group of active sets that has a fresh one; shares and prices change in place."""
    rows = np.flatnonzero(pool.active)
    group, n_groups = group_sets(pool.members[rows], len(pool.prices))
    stale = np.bincount(group, fresh[rows], n_groups) > 0
    rows, group = rows[stale[group]], group[stale[group]]
    order = np.argsort(group, kind="stable")
    rows, group = rows[order], group[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    cuts = starts[np.flatnonzero(np.diff(starts // _BATCH, prepend=-1))]
    for first, last in itertools.pairwise([*cuts.tolist(), len(rows)]):
        sets = rows[first:last]
        matrix, touched = _constraints(pool.members[sets])
        ones = np.ones(len(touched))
        found = linprog(-pool.gains[sets], A_ub=matrix, b_ub=ones, bounds=(0, None), method="highs")
        if found.x is None:
            raise RuntimeError(f"the linear programme of a packing failed: {found.message}")
        pool.shares[sets] = found.x
        pool.prices[touched] = np.maximum(-found.ineqlin.marginals, 0.0)


def _branch_groups(pool: _Pool) -> tuple[float, int]:
    """Make the shares of every group whole, in place; by how much that lowers the bound, in how many groups."""
    rows = np.flatnonzero(pool.active)
    group, n_groups = group_sets(pool.members[rows], len(pool.prices))
    broken = np.bincount(group, np.abs(pool.shares[rows] - np.round(pool.shares[rows])) > _INTEGRAL, n_groups) > 0
    saved = 0.0
    for number in np.flatnonzero(broken):
        own = rows[group == number]
        relaxed = float(pool.gains[own] @ pool.shares[own])
        picked, bound = _branch(pool.members[own], pool.gains[own])
        if pool.complete[own].all():
            saved += relaxed - bound
        else:
            own, picked = _bridge(own, picked, relaxed, pool)
        pool.shares[own] = picked
    whole = rows[~broken[group]]
    pool.shares[whole] = np.round(pool.shares[whole])
    return saved, int(broken.sum())


def _bridge(own: _Ints, picked: _Bools, relaxed: float, pool: _Pool) -> tuple[_Ints, _Bools]:
    """Let sets within a group that fall short by no more than its gap take part, and choose again."""
    gap = relaxed - float(pool.gains[own][picked].sum())
    inside = np.zeros(len(pool.prices) + 1, dtype=np.bool_)
    inside[np.unique(pool.members[own])] = True
    inside[-1] = True  # member −1 is none
    short = _pay(pool.members, pool.prices) - pool.gains
    near = inside[pool.members].all(axis=1) & (short <= gap + PRICE_TOLERANCE)
    wider = np.union1d(np.flatnonzero(near), own)
    chosen, _ = _branch(pool.members[wider], pool.gains[wider])
    return wider, chosen


def _constraints(members: _Ints) -> tuple[Any, _Ints]:
    """The matrix of members against sets, and which members its rows are."""
    touched, row = np.unique(members[members >= 0], return_inverse=True)
    column = np.nonzero(members >= 0)[0]
    shape = len(touched), len(members)
    return sp.coo_array((np.ones(len(row)), (row, column)), shape=shape).tocsr(), touched


def _branch(members: _Ints, gains: _Floats) -> tuple[_Bools, float]:
    """The optimum of one group, and the bound that proves it."""
    matrix, touched = _constraints(members)
    found = milp(
        -gains,
        integrality=np.ones(len(gains), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, -np.inf, np.ones(len(touched))),
        options={"mip_rel_gap": 1e-9},
    )
    if found.x is None:
        raise RuntimeError(f"the integer programme of a packing failed: {found.message}")
    return np.round(found.x) > 0, float(-found.mip_dual_bound)


def _balance(pool: _Pool) -> None:
    """Move prices within chosen sets, in place, so that what is left over their members' rivals is shared evenly."""
    members, gains = pool.members[pool.active], pool.gains[pool.active]
    starts, sets, _ = index_members(members, len(pool.prices))
    picked = np.flatnonzero(pool.shares[pool.active] > 1 - _INTEGRAL)
    # beside shares that are not whole, prices may exceed the gain: they stay as they are
    excess = np.abs(_pay(members[picked], pool.prices) - gains[picked])
    tight = picked[excess <= 1e-6 * np.maximum(gains[picked], 1.0)]
    _share_evenly(tight, members, gains, pool.prices, starts, sets, _BALANCE_SWEEPS)


@njit(cache=True)
def _share_evenly(
    picked: _Ints, members: _Ints, gains: _Floats, prices: _Floats, starts: _Ints, sets: _Ints, n_sweeps: int
) -> None:
    """For two members of a chosen set at a time, whose sum stays: sets that hold both are not touched by it."""
    k = members.shape[1]
    for _ in range(n_sweeps):
        for chosen in picked:
            for i in range(k):
                for j in range(i + 1, k):
                    a, b = members[chosen, i], members[chosen, j]
                    if a < 0 or b < 0:
                        continue
                    low_a = _least_price(a, b, members, gains, prices, starts, sets)
                    low_b = _least_price(b, a, members, gains, prices, starts, sets)
                    left = prices[a] + prices[b] - low_a - low_b
                    if left > 0.0:
                        prices[a], prices[b] = low_a + 0.5 * left, low_b + 0.5 * left


@njit(cache=True)
def _least_price(
    member: int, partner: int, members: _Ints, gains: _Floats, prices: _Floats, starts: _Ints, sets: _Ints
) -> float:
    """What the sets of ``member`` without ``partner`` ask of its price."""
    least = 0.0
    for at in range(starts[member], starts[member + 1]):
        asked = gains[sets[at]]
        both = False
        for other in members[sets[at]]:
            both |= other == partner
            if other >= 0 and other != member:
                asked -= prices[other]
        if not both and asked > least:
            least = asked
    return least
