"""What is kept while prices change is what weighing all anew would find."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.link import pool as pool_module
from ferrosight.link.hypotheses import survey_ground
from ferrosight.link.pool import pool_pairs
from ferrosight.types.config import LinkConfig

from .draws import draw_from_model

CONFIG = LinkConfig(separation_mm=1.0)


@pytest.fixture(scope="module")
def ground():
    rng = np.random.default_rng(11)
    data, _, _ = draw_from_model(CONFIG, 120, 6.0, np.array([0.0, 2, 5, 7]), 0.1, rng)
    return survey_ground(data, CONFIG)


def find(ground, pool, prices, least, merging):
    found, near = pool_pairs(
        pool,
        ground.moves,
        ground.clusters,
        ground.alone,
        ground.scales,
        merging=merging,
        prices=prices,
        least_log_odds=least,
        depth=6.0,
    )
    return found, np.stack([found.one, found.first, found.second], axis=1)[near], found.log_odds[near]


@pytest.mark.parametrize("merging", [False, True])
@pytest.mark.parametrize("change", [0.3, 2.0, 8.0])
def test_a_pool_has_all_that_weighing_anew_finds(ground, merging, change):
    """However prices rise and fall, in the same order, with the same odds."""
    rng = np.random.default_rng(12)
    n = len(ground.alone.new)
    prices, pool, n_found = rng.uniform(0, 6, 2 * n), None, 0
    for least in (1e-6, 1e-6, -2.0, -5.0):
        pool, pairs, odds = find(ground, pool, prices, least, merging)
        _, anew, odds_anew = find(ground, None, prices, least, merging)
        np.testing.assert_array_equal(pairs, anew)
        np.testing.assert_array_equal(odds, odds_anew)
        n_found += len(pairs)
        prices = np.maximum(prices + rng.normal(scale=change, size=2 * n), 0)
    assert n_found > 50


def test_little_is_weighed_again_where_prices_change_little(ground, monkeypatch):
    rng = np.random.default_rng(13)
    prices = rng.uniform(0, 6, 2 * len(ground.alone.new))
    pool, _, _ = find(ground, None, prices, 1e-6, merging=False)
    monkeypatch.setattr(pool_module, "weigh_chunk", None)
    again, pairs, _ = find(ground, pool, np.maximum(prices - 1.9, 0), 1e-6, merging=False)
    assert again is pool
    assert len(pairs)


def test_runs_hold_each_cluster_once_and_are_not_too_long(monkeypatch):
    monkeypatch.setattr(pool_module, "_CHUNK", 3)
    clusters = np.array([0, 1, 2, 3, 7, 9, 10])
    runs = pool_module._cut_runs(clusters)
    assert runs == [(0, 3), (3, 4), (7, 8), (9, 11)]
    assert pool_module._cut_runs(clusters[:0]) == []
