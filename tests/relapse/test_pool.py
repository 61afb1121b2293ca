"""What could be mistaken for each other is followed as one, so that wrong links change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.relapse.pool import pool_neighbours

RNG = np.random.default_rng(5)


def make(n, n_visits=7):
    return RNG.uniform(1, 9, (n, n_visits)), RNG.uniform(0.1, 1, (n, n_visits))


def test_swapped_links_of_neighbours_change_nothing():
    values, sds = make(3)
    places = np.array([[0, 0, 0], [0.2, 0.3, 0], [9, 1, -4.0]])
    births = np.zeros(3, dtype=np.int64)
    right = pool_neighbours(values, sds, births, places, 0.5)
    swapped, swapped_sds = values.copy(), sds.copy()
    for array in (swapped, swapped_sds):
        array[[0, 1], 3] = array[[1, 0], 3]
    wrong = pool_neighbours(swapped, swapped_sds, births, places, 0.5)
    assert right.members == ((0, 1), (2,))
    assert wrong.values == pytest.approx(right.values)
    assert wrong.sds == pytest.approx(right.sds)
    assert right.values[0] == pytest.approx(values[0] + values[1])
    assert right.sds[0] == pytest.approx(np.hypot(sds[0], sds[1]))


def test_a_birth_within_reach_ends_one_lineage_and_begins_another():
    values, sds = make(2)
    places = np.array([[0, 0, 0], [0, 0, 0.4]])
    pooled = pool_neighbours(values, sds, np.array([0, 3]), places, 0.5)
    assert pooled.members == ((0,), (0, 1))
    assert pooled.births.tolist() == [0, 3]
    assert pooled.values[0, :4] == pytest.approx(values[0, :4])
    assert np.isnan(pooled.values[0, 4:]).all()
    assert np.isnan(pooled.values[1, :3]).all()  # never back-filled
    assert pooled.values[1, 3:] == pytest.approx(values[:, 3:].sum(axis=0))


def test_a_birth_between_two_lineages_joins_them():
    values, sds = make(3)
    places = np.array([[0, 0, 0], [0.8, 0, 0], [0.4, 0, 0]])
    pooled = pool_neighbours(values, sds, np.array([0, 1, 4]), places, 0.5)
    assert pooled.members == ((0,), (1,), (0, 1, 2))
    assert pooled.births.tolist() == [0, 1, 4]


def test_the_order_is_that_of_birth_and_values_do_not_matter():
    values, sds = make(4)
    places = 10 * np.eye(4)[:, :3]
    births = np.array([2, 0, 5, 0])
    one = pool_neighbours(values, sds, births, places, 0.5)
    other = pool_neighbours(values[:, ::-1] * 3, sds, births, places, 0.5)
    assert one.births.tolist() == [0, 0, 2, 5]
    assert one.members == other.members


def test_no_clusters_are_no_lineages():
    empty = np.zeros((0, 5))
    pooled = pool_neighbours(empty, empty, np.zeros(0, dtype=np.int64), np.zeros((0, 3)), 0.5)
    assert pooled.values.shape == (0, 5)
    assert pooled.members == ()
