"""The packing is the best there is and its prices prove it, against all packings tried one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import coo_array

from ferrosight.numerics import set_packing
from ferrosight.numerics.set_packing import PRICE_TOLERANCE, group_sets, pack_sets

N_MEMBERS = 7


@st.composite
def set_lists(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n_sets = draw(st.integers(0, 9))
    own = [draw(st.lists(st.integers(0, N_MEMBERS - 1), min_size=1, max_size=3, unique=True)) for _ in range(n_sets)]
    gains = [draw(st.sampled_from([1.0, 2.0]) | st.floats(-2, 5)) for _ in range(n_sets)]
    rows = [row + [-1] * (3 - len(row)) for row in own]
    return np.array(rows, dtype=np.int64).reshape(-1, 3), np.array(gains)


def list_packings(members: np.ndarray) -> list[tuple[int, ...]]:
    own = [{m for m in row if m >= 0} for row in members.tolist()]
    every = itertools.chain.from_iterable(itertools.combinations(range(len(own)), n) for n in range(len(own) + 1))
    return [some for some in every if sum(len(own[k]) for k in some) == len(set().union(*(own[k] for k in some)))]


def pay(members: np.ndarray, prices: np.ndarray) -> np.ndarray:
    return np.where(members >= 0, prices[members], 0.0).sum(axis=1)


@settings(max_examples=60, deadline=None)
@given(set_lists())
def test_no_other_packing_gains_more(case):
    members, gains = case
    best = max(sum(gains[k] for k in some) for some in list_packings(members))
    found = pack_sets(members, gains, N_MEMBERS)
    assert found.gain == pytest.approx(best)
    assert found.bound == pytest.approx(best)
    assert tuple(np.flatnonzero(found.chosen)) in list_packings(members)


@settings(max_examples=60, deadline=None)
@given(set_lists())
def test_prices_bound_every_packing_that_includes_a_set(case):
    members, gains = case
    found = pack_sets(members, gains, N_MEMBERS)
    short = pay(members, found.prices) - gains
    assert (found.prices >= 0).all()
    assert (short >= -PRICE_TOLERANCE).all()
    for some in list_packings(members):
        for k in some:
            assert sum(gains[list(some)]) <= found.prices.sum() - short[k] + 1e-5


def test_three_sets_that_pairwise_share_a_member_need_branching():
    members = np.array([[0, 1, -1], [1, 2, -1], [2, 0, -1]])
    found = pack_sets(members, np.array([1.0, 1.0, 1.1]), 3)
    assert found.chosen.tolist() == [False, False, True]
    assert found.n_branched == 1
    assert found.bound == pytest.approx(1.1)


def draw_large(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    # near members, so that there are groups of all sizes
    first = rng.integers(0, 390, 3000)
    members = first[:, None] + np.stack([np.zeros(3000, int), rng.integers(1, 4, 3000), rng.integers(4, 9, 3000)], 1)
    members[rng.random(3000) < 0.5, 2] = -1
    return members, rng.gamma(2.0, 2.0, 3000)


@pytest.mark.parametrize("seed", range(3))
def test_sets_that_join_when_prices_ask_give_the_same_as_all_at_once(seed, monkeypatch):
    members, gains = draw_large(seed)
    at_once = pack_sets(members, gains, 400)
    monkeypatch.setattr(set_packing, "_SMALL", 0)
    in_turn = pack_sets(members, gains, 400)
    assert in_turn.gain == pytest.approx(at_once.gain, rel=1e-4)
    number, slot = np.nonzero(members >= 0)
    matrix = coo_array((np.ones(len(number)), (members[number, slot], number)), shape=(400, len(members)))
    relaxed = linprog(-gains, A_ub=matrix.tocsr(), b_ub=np.ones(400))
    assert in_turn.bound == pytest.approx(-relaxed.fun)


@pytest.mark.parametrize("seed", range(3))
def test_sets_that_are_found_by_price_give_the_same_as_a_list(seed):
    members, gains = draw_large(seed)
    listed = pack_sets(members, gains, 400)
    asked = []

    def find_more(prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        more = np.flatnonzero(gains[800:] - pay(members[800:], prices) > PRICE_TOLERANCE) + 800
        asked.append(more)
        return members[more], gains[more]

    found = pack_sets(members[:800], gains[:800], 400, find_more)
    rows = np.concatenate([np.arange(800), *asked])
    chosen = rows[found.chosen]
    taken = members[chosen]
    assert len(np.unique(taken[taken >= 0])) == np.sum(taken >= 0)
    assert gains[chosen].sum() == pytest.approx(found.gain)
    assert found.bound >= listed.gain * (1 - 1e-6)
    assert found.gain == pytest.approx(listed.gain, rel=5e-3)


def test_sets_that_share_no_member_are_apart():
    group, n_groups = group_sets(np.array([[0, 1], [2, -1], [1, 3], [4, 5]]), 6)
    assert n_groups == 3
    assert group[0] == group[2]
    assert len({group[0], group[1], group[3]}) == 3


def test_nothing_to_pack():
    found = pack_sets(np.zeros((0, 3), dtype=np.int64), np.zeros(0), 4)
    assert (found.gain, found.bound, found.n_groups) == (0.0, 0.0, 0)
