"""Errors and strengths as they leave the judgement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import TABLE_REL_SD, unfitted
from ferrosight.clusters.judge import Shapes, _inflate, take_off_bias

SIGMA = 1 / 30
SHAPE = (86, 83, 81)


def make_shapes(inner: float, inner_err: float, outer: float, outer_err: float) -> Shapes:
    """What the halves of one window say."""
    one = np.ones(1)
    halves = (inner * one, inner_err * one, outer * one, outer_err * one)
    return Shapes(one, one, one > 0, *halves, np.zeros(1, np.int64))


def make_source(q: float, err: float) -> Any:
    """One source, fitted as well as its noise allows."""
    source = unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros((1, 3), np.int64), 1)
    covariance = np.zeros((1, 4, 4))
    covariance[0, 0, 0] = err**2
    perfect = {"chi2": 300.0 * np.ones(1), "chi2_background": 500.0 * np.ones(1), "chi2_phase": np.ones(1)}
    return replace(
        source, q=np.array([q]), covariance=covariance, n_data=np.array([200]), steps=np.ones(1, int), **perfect
    )


def test_two_halves_that_differ_add_half_their_difference() -> None:
    """Halves that know equally much are √2 less sure than the whole."""
    source = make_source(1.0, 0.01)
    shapes = make_shapes(1.05, 0.01 * np.sqrt(2), 0.95, 0.01 * np.sqrt(2))
    inflated, disagree = _inflate(source, source.covariance, np.ones(1), shapes)
    assert disagree[0]
    assert inflated[0, 0, 0] == pytest.approx(0.01**2 + (0.1 / 2) ** 2 + (TABLE_REL_SD * 1.0) ** 2)


def test_a_half_that_knows_nothing_cannot_spoil_a_good_error() -> None:
    """It differs by two and a half of its own errors: the whole's error grows by as much, not to the half's."""
    source = make_source(1.0, 0.01)
    shapes = make_shapes(1.0, 0.01, 3.5, 1.0)
    inflated, disagree = _inflate(source, source.covariance, np.ones(1), shapes)
    assert disagree[0]
    assert np.sqrt(inflated[0, 0, 0]) == pytest.approx(np.hypot(0.01 * np.sqrt(1 + 2.5**2), TABLE_REL_SD), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.07, -0.1])
def test_strengths_at_sought_places_are_right_on_average(workshop: Any, q: float) -> None:
    """Weak sources, each sought at every sub-voxel place around where it is: high by 1.5 (σ/q)², and then no more."""
    rng = np.random.default_rng(4)
    lattice = np.stack(np.meshgrid(*[np.arange(8, 78, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = lattice + rng.uniform(-0.5, 0.5, lattice.shape)
    scan = workshop.simulate_points(SHAPE, places, np.full(len(places), q))
    found = []
    for _ in range(3):
        noisy = workshop.add_noise(scan, SIGMA, rng)
        fitted = workshop.fit_near(
            workshop.window_data(noisy, SIGMA), noisy, noisy.grid.to_mm(places), sign=int(np.sign(q))
        )
        away = np.linalg.norm(fitted.positions - 2 - places, axis=1)
        found.append(np.column_stack([fitted.q, take_off_bias(fitted), np.sqrt(fitted.covariance[:, 0, 0])])[away < 1])
    raw, freed, errors = np.concatenate(found).T
    err = float(np.median(errors))
    d_prime = abs(q) / err
    assert 5 < d_prime < 12, d_prime
    # What noise makes strong has a larger error of its own, and counts less divided by it: the bias of seeking is that
    # of strengths over one error, the intervals rest on each one's own.
    before = (raw - q) / err * np.sign(q)
    after = (freed - q) / errors * np.sign(q)
    # Measured: +0.38 and +0.21 before, +0.02 and -0.08 after, of a spread of 1.07 and 1.02. From the start that
    # explains most alone: +0.24 and +0.14, -0.12 and -0.17, 1.16 and 1.17.
    assert before.mean() > 4 * before.std() / np.sqrt(len(before)), before.mean()
    assert abs(after.mean()) < 4 * after.std() / np.sqrt(len(after)), after.mean()
    assert after.std() < 1.1, after.std()


def test_a_source_without_an_error_keeps_its_strength() -> None:
    source = make_source(0.3, np.nan)
    assert take_off_bias(source)[0] == 0.3


def test_no_more_than_half_is_taken_off() -> None:
    assert take_off_bias(make_source(-0.1, 0.5))[0] == pytest.approx(-0.05)
