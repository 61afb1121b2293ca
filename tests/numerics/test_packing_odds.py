"""Probabilities are the shares of all packings, against all packings summed one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.numerics import packing_odds
from ferrosight.numerics.packing_odds import weigh_packings
from ferrosight.numerics.set_packing import pack_sets

N_MEMBERS = 7


@st.composite
def set_lists(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n_sets = draw(st.integers(0, 9))
    own = [draw(st.lists(st.integers(0, N_MEMBERS - 1), min_size=1, max_size=3, unique=True)) for _ in range(n_sets)]
    rows = [row + [-1] * (3 - len(row)) for row in own]
    gains = [draw(st.floats(-5, 30)) for _ in range(n_sets)]
    return np.array(rows, dtype=np.int64).reshape(-1, 3), np.array(gains)


def sum_up(members: np.ndarray, gains: np.ndarray) -> np.ndarray:
    own = [{m for m in row if m >= 0} for row in members.tolist()]
    total, shares = 0.0, np.zeros(len(own))
    for some in itertools.chain.from_iterable(itertools.combinations(range(len(own)), n) for n in range(len(own) + 1)):
        if sum(len(own[k]) for k in some) == len(set().union(*(own[k] for k in some))):
            weight = np.exp(sum(gains[k] for k in some))
            total += weight
            shares[list(some)] += weight
    return shares / total


@settings(max_examples=60, deadline=None)
@given(set_lists())
def test_every_set_has_its_share_of_all_packings(case):
    members, gains = case
    odds = weigh_packings(members, gains, pack_sets(members, gains, N_MEMBERS).prices)
    np.testing.assert_allclose(odds.probability, sum_up(members, gains), atol=2e-3)
    assert odds.n_nearly == 0


def test_a_group_with_too_many_states_is_left_to_messages(monkeypatch):
    rng = np.random.default_rng(3)
    members = np.array([rng.choice(N_MEMBERS, 3, replace=False) for _ in range(9)])
    gains = rng.normal(0, 2, 9)
    monkeypatch.setattr(packing_odds, "_MOST_STATES", 2)
    odds = weigh_packings(members, gains, pack_sets(members, gains, N_MEMBERS).prices)
    assert odds.n_nearly == 1
    np.testing.assert_allclose(odds.probability, sum_up(members, gains), atol=0.1)


def test_odds_do_not_depend_on_the_order_of_sets():
    rng = np.random.default_rng(5)
    members = np.stack([np.arange(40), np.arange(1, 41), rng.integers(0, 40, 40)], axis=1)
    members[members[:, 2] == members[:, 0], 2] = -1
    members[members[:, 2] == members[:, 1], 2] = -1
    gains = rng.normal(0, 3, 40)
    order = rng.permutation(40)
    one, other = (
        weigh_packings(members[rows], gains[rows], pack_sets(members[rows], gains[rows], 41).prices).probability
        for rows in (np.arange(40), order)
    )
    assert other == pytest.approx(one[order])
