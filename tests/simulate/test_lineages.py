"""Subjects at catalogue level are what their specification says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.simulate.lineages import LineageSpec, draw_errors, simulate_subject, simulate_test_retest

CALM = LineageSpec(n_visits=30, sizes=(12.0, 12.0), reference_err=0.02)


def draw(spec, seed=1, **statement):
    return simulate_subject(spec, np.random.default_rng(seed), **statement)


def pool(spec, n=300):
    """Values over true amounts after birth, (n_subjects × n_clusters, n_visits), of the five first clusters."""
    rng = np.random.default_rng(2)
    parts = []
    for _ in range(n):
        series, truth = simulate_subject(spec, rng)
        parts.append((series.measured[0].values - truth.amounts)[:5])
    return np.concatenate(parts)


@pytest.mark.parametrize("tails", ["normal", "t4"])
def test_errors_have_unit_variance_and_the_tails_they_name(tails):
    errors = draw_errors(tails, (1_000_000,), np.random.default_rng(3))
    assert errors.var() == pytest.approx(1, abs=0.05)
    beyond = np.mean(np.abs(errors) > 5)
    assert beyond > 5e-4 if tails == "t4" else beyond < 1e-5


@pytest.mark.parametrize("ratio", [1.0, 1.25])
def test_true_errors_are_that_much_larger_than_stated(ratio):
    error = pool(dataclasses.replace(CALM, sd_ratio=ratio))
    assert np.nanstd(error[:, 5:]) == pytest.approx(ratio * np.sqrt(np.exp(2 * 0.1**2)), rel=0.02)
    rng = np.random.default_rng(4)
    seen = np.mean([simulate_test_retest(dataclasses.replace(CALM, sd_ratio=ratio), 60, rng)[0] for _ in range(300)])
    assert seen == pytest.approx(ratio**2, rel=0.03)


def test_the_reference_shows_the_visits_factor():
    series, truth = draw(dataclasses.replace(CALM, factor_sd=0.3, sizes=(200.0, 200.0)))
    measured = series.measured[0]
    ratio = measured.values / truth.amounts
    assert ratio.mean(axis=0).std() > 0.15
    assert (ratio / measured.reference).std() < 0.05
    assert draw(dataclasses.replace(CALM, reference_err=None))[0].measured[0].reference is None


def test_iron_of_earlier_doses_adds_up():
    series, truth = draw(dataclasses.replace(CALM, carry_over=0.3, sizes=(500.0, 500.0)))
    ratio = (series.measured[0].values / truth.amounts).mean(axis=0)
    assert ratio[0] == pytest.approx(1, abs=0.01)
    assert ratio[1] == pytest.approx(1.3, abs=0.01)
    assert ratio[-1] == pytest.approx(1 / 0.7, abs=0.01)


def test_one_cluster_grows_from_its_onset():
    series, truth = draw(dataclasses.replace(CALM, doubling_visits=2.0, onset=10))
    amounts = truth.amounts[truth.grows]
    assert amounts[10] == amounts[0]
    assert amounts[14] == pytest.approx(4 * amounts[0])
    others = np.delete(truth.amounts, truth.grows, axis=0)
    assert (others == others[:, :1]).all()
    assert len(series.measured[0].values) == 5


def test_a_small_one_is_found_only_once_it_has_grown():
    spec = dataclasses.replace(CALM, doubling_visits=2.0, grows_from=0.5, onset=0)
    series, truth = draw(spec)
    born = series.measured[0].births[truth.grows]
    assert born > 3
    assert np.isnan(series.measured[0].values[truth.grows, :born]).all()
    assert series.new_candidates[born] == 1


def test_hidden_clusters_are_born_at_the_threshold():
    lifted = []
    for seed in range(60):
        series, truth = draw(dataclasses.replace(CALM, n_hidden=3), seed)
        late = series.measured[0].births > 0
        measured = series.measured[0].values[late, series.measured[0].births[late]]
        assert (measured > 5.5 * 0.7).all()
        lifted += (measured - truth.amounts[late, 0]).tolist()
    assert len(lifted) > 60
    assert np.mean(lifted) > 0.5  # noise chose them


def test_spurious_clusters_come_at_their_rate_and_do_not_grow():
    n = [draw(dataclasses.replace(CALM, false_per_visit=0.05), seed)[0].new_candidates.sum() for seed in range(200)]
    assert np.mean(n) == pytest.approx(0.05 * 29, abs=4 * np.sqrt(0.05 * 29 / 200))
    assert draw(CALM)[0].new_candidates.sum() == 0


def test_swapped_neighbours_keep_their_total_and_lie_within_reach():
    spec = dataclasses.replace(CALM, swap_near=0.5, sizes=(8.0, 60.0))
    swapped = []
    for seed in range(8):
        series, truth = draw(spec, seed)
        iron = series.measured[0]
        apart = np.linalg.norm(iron.positions_mm[:, None] - iron.positions_mm[None], axis=-1) + 99 * np.eye(5)
        pair = list(np.unravel_index(apart.argmin(), apart.shape))
        assert apart.min() < 0.5
        assert np.sort(apart.ravel())[2] > 2
        error = iron.values - truth.amounts
        swapped.append(np.abs(error[pair]).max())
        assert np.abs(error[pair].sum(axis=0)).max() < 7
    assert max(swapped) > 15


def test_registration_loses_some_visits():
    error = pool(dataclasses.replace(CALM, registration=True, sizes=(300.0, 300.0)), 100) / 300
    lost = np.mean(error < -0.1)
    assert 0.01 < lost < 0.03


def test_the_same_seed_gives_the_same_subject():
    first, second = (draw(dataclasses.replace(CALM, tails="t4"), 8)[0].measured[0].values for _ in range(2))
    assert first == pytest.approx(second, nan_ok=True)
