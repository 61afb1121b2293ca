"""Weights, averages and e-BH keep their promises under dependence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.relapse.combine import FIRST_SHARE, average_lineages, pick_growing, weigh_by_birth


def test_lineages_of_a_visit_share_equally_what_its_turn_has_and_all_weights_sum_to_one():
    rest = (1 - FIRST_SHARE) * 6 / np.pi**2
    assert weigh_by_birth(np.array([0])) == pytest.approx([FIRST_SHARE])
    assert weigh_by_birth(np.array([3, 3, 5, 9, 9])) == pytest.approx(
        [FIRST_SHARE / 2, FIRST_SHARE / 2, rest, rest / 8, rest / 8]
    )
    assert weigh_by_birth(np.arange(100_000)).sum() == pytest.approx(1, abs=1e-5)
    assert weigh_by_birth(np.arange(100_000)).sum() <= 1
    assert weigh_by_birth(np.zeros(0, dtype=np.int64)).tolist() == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_a_weight_is_known_at_birth_whatever_is_born_later(births):
    born = np.sort(np.array(births))
    weights = weigh_by_birth(born)
    for visit in range(10):
        so_far = born <= visit
        assert weigh_by_birth(born[so_far]) == pytest.approx(weights[so_far])
    assert weights.sum() <= 1 + 1e-12


def test_a_lineage_that_is_not_yet_born_holds_its_stake():
    births = np.array([0, 1])
    assert average_lineages(np.ones((2, 4)), births) == pytest.approx(np.ones(4))
    assert average_lineages(np.ones((0, 4)), births[:0]) == pytest.approx(np.ones(4))
    grown = average_lineages(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 101.0]]), births)
    assert grown == pytest.approx([1, 1, 1 + 100 * (1 - FIRST_SHARE) * 6 / np.pi**2])


def test_averages_survive_complete_dependence_and_products_do_not():
    """The same factor moves every lineage: the mean of the average stays one, that of the product explodes."""
    rng = np.random.default_rng(3)
    z = rng.standard_normal(200_000)
    same = np.exp(z - 0.5)[None, :].repeat(3, axis=0)
    assert average_lineages(same, np.array([0, 0, 1])).mean() < 1.03
    assert same.prod(axis=0).mean() > 10


def test_of_what_is_named_no_more_than_q_is_wrong():
    """Nulls whose e-values depend on each other and on the growing ones."""
    rng = np.random.default_rng(4)
    n, q = 40_000, 0.2
    nulls = np.where(rng.random(n) < 0.05, 20.0, 0.0)[None, :].repeat(4, axis=0)
    growing = np.full((2, n), 1e3)
    e_values = np.concatenate([growing[:1], nulls[:2], growing[1:], nulls[2:]])
    named = pick_growing(weigh_by_birth(np.array([0, 0, 0, 0, 1, 2]))[:, None] * e_values, q)
    wrong = named[[1, 2, 4, 5]].sum(axis=0) / np.maximum(named.sum(axis=0), 1)
    assert wrong.mean() < q
    assert named[[0, 3]].all()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.floats(0.01, 0.5))
def test_what_is_named_is_the_largest_set_that_may_be(weighted, q):
    values = np.array(weighted)
    named = pick_growing(values[:, None], q)[:, 0]
    size = max((k for k in range(1, len(values) + 1) if np.sort(values)[-k] * q * k >= 1), default=0)
    assert named.sum() >= size
    assert (values[named] * q * max(named.sum(), 1) >= 1 - 1e-12).all()
