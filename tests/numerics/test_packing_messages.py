"""Messages are exact where no sets form a ring, and close where they do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ferrosight.numerics.packing_messages import index_members, pass_messages
from ferrosight.numerics.packing_odds import weigh_packings
from ferrosight.numerics.set_packing import pack_sets


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_of_sets_is_exact(seed):
    rng = np.random.default_rng(seed)
    members = np.stack([np.arange(60), np.arange(1, 61), np.full(60, -1)], axis=1)
    gains = rng.normal(1, 4, 60)
    exact = weigh_packings(members, gains, pack_sets(members, gains, 61).prices)
    assert exact.n_nearly == 0
    np.testing.assert_allclose(pass_messages(members, gains, 61), exact.probability, atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
def test_rings_are_close(seed):
    rng = np.random.default_rng(seed)
    members = np.array([rng.choice(14, 3, replace=False) for _ in range(30)])
    gains = rng.normal(0, 2, 30)
    exact = weigh_packings(members, gains, pack_sets(members, gains, 14).prices)
    assert exact.n_nearly == 0
    nearly = pass_messages(members, gains, 14)
    assert np.sqrt(np.mean((nearly - exact.probability) ** 2)) < 0.05


def test_very_strong_sets_lose_no_digits():
    members = np.array([[0, 1], [0, 2], [1, -1]])
    gains = np.array([80.0, 79.0, 1.0])
    exact = weigh_packings(members, gains, pack_sets(members, gains, 3).prices).probability
    np.testing.assert_allclose(pass_messages(members, gains, 3), exact, rtol=1e-3)


def test_what_a_member_shares_adds_up_to_one_at_most():
    rng = np.random.default_rng(8)
    members = np.array([rng.choice(6, 3, replace=False) for _ in range(40)])
    belief = pass_messages(members, rng.normal(3, 3, 40), 6)
    starts, sets, _ = index_members(members, 6)
    assert all(belief[sets[a:b]].sum() <= 1 + 1e-9 for a, b in itertools.pairwise(starts))


def test_no_sets():
    assert pass_messages(np.zeros((0, 3), dtype=np.int64), np.zeros(0), 4).shape == (0,)
