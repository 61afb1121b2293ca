"""Moment per cell comes back from counted spots, as sure as is said, for the mean and for the next batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.errors import InputError
from ferrosight.quantify.calibrate import calibrate_moment
from ferrosight.types.calibration import PhantomSpots

PER_CELL = 9.36e-16
NUMBERS = np.tile([50.0, 150.0, 400.0, 1000.0], 2)


def draw_spots(rng, n_batches=5, batch_rel_sd=0.2, spot_rel_sd=0.05, err=1.5e-14, cell_cv=0.5, offset=0.0):
    """Spots of several batches: numbers pipetted, cells drawn one by one in effect, moments measured."""
    spread = [np.sqrt(np.log1p(sd**2)) for sd in (batch_rel_sd, spot_rel_sd)]
    rows = []
    for batch in range(n_batches):
        level = np.exp(rng.normal(-(spread[0] ** 2) / 2, spread[0]))
        for number in NUMBERS:
            true = max(rng.normal(number, np.sqrt(number)), 1.0)
            cells = true + cell_cv * np.sqrt(true) * rng.normal()
            moment = PER_CELL * cells * level * np.exp(rng.normal(-(spread[1] ** 2) / 2, spread[1])) + offset
            rows.append((moment + rng.normal(0, err), err, number, np.sqrt(number), f"b{batch}"))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return PhantomSpots(*columns)


def test_without_scatter_the_slope_is_exact_and_sure():
    spots = draw_spots(np.random.default_rng(0), batch_rel_sd=0.0, spot_rel_sd=0.0, err=1e-18, cell_cv=0.0)
    exact = dataclasses.replace(spots, moment_am2=PER_CELL * spots.n_cells, n_cells_err=np.full(40, 1e-3))
    found = calibrate_moment(exact, 7.0, cell_cv=0.0)
    assert found.moment_per_cell_am2 == pytest.approx(PER_CELL, rel=1e-6)
    assert found.mean_rel_sd < 1e-3
    assert (found.n_spots, found.n_batches, found.b0_t) == (40, 5, 7.0)


@pytest.mark.slow
@pytest.mark.parametrize(("n_batches", "batch_rel_sd"), [(5, 0.2), (4, 0.1), (8, 0.0)])
def test_mean_and_next_batch_are_as_sure_as_they_say(n_batches, batch_rel_sd):
    draws, of_mean, of_next = 120, 0, 0
    for seed in range(draws):
        rng = np.random.default_rng([seed, n_batches])
        found = calibrate_moment(draw_spots(rng, n_batches, batch_rel_sd), 7.0)
        of_mean += abs(found.moment_per_cell_am2 / PER_CELL - 1) <= 1.96 * found.mean_rel_sd
        spread = np.sqrt(np.log1p(batch_rel_sd**2))
        following = PER_CELL * np.exp(rng.normal(-(spread**2) / 2, spread))
        of_next += abs(found.moment_per_cell_am2 / following - 1) <= 1.96 * found.rel_sd
    low, high = binom.ppf([1e-4, 1 - 1e-4], draws, 0.95)
    assert low <= of_mean <= max(high, 0.995 * draws)
    assert low <= of_next


def test_one_batch_takes_an_assumed_floor_and_says_so():
    spots = draw_spots(np.random.default_rng(1), n_batches=1)
    for batch in ("", "b0"):
        found = calibrate_moment(dataclasses.replace(spots, batch=np.full(8, batch)), 7.0)
        assert found.rel_sd > 0.17 * np.sqrt(2)
        assert any("17%" in note for note in found.notes)
        assert found.n_batches == (1 if batch else 0)


def test_moments_that_do_not_go_to_zero_are_said():
    clean = calibrate_moment(draw_spots(np.random.default_rng(2), batch_rel_sd=0.05), 7.0)
    dirty = calibrate_moment(draw_spots(np.random.default_rng(2), batch_rel_sd=0.05, offset=2e-13), 7.0)
    assert not any("do not go to zero" in note for note in clean.notes)
    assert any("do not go to zero" in note for note in dirty.notes)


def test_a_spot_per_batch_counts_all_scatter_as_batches():
    spots = draw_spots(np.random.default_rng(3), n_batches=8)
    each = np.arange(0, 64, 9)
    fields = {name: getattr(spots, name)[each] for name in ("moment_am2", "moment_am2_err", "n_cells", "n_cells_err")}
    found = calibrate_moment(PhantomSpots(**fields, batch=spots.batch[each]), 7.0)
    assert found.rel_sd > found.mean_rel_sd * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_cells": np.zeros(40)}, "positive number of cells"),
        ({"moment_am2_err": np.zeros(40)}, "must be positive"),
        ({"n_cells_err": -np.ones(40)}, "at least zero"),
        ({"moment_am2": -1e-13 * np.ones(40)}, "sign of phase"),
        ({"batch": np.array(["", *["b"] * 39])}, "every spot must name its batch"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, said):
    spots = draw_spots(np.random.default_rng(4))
    with pytest.raises(InputError, match=said):
        calibrate_moment(dataclasses.replace(spots, **changes), 7.0)


def test_too_few_spots_are_refused():
    spots = draw_spots(np.random.default_rng(5), n_batches=1)
    fields = {name: getattr(spots, name)[:3] for name in vars(spots)}
    with pytest.raises(InputError, match="at least 4"):
        calibrate_moment(PhantomSpots(**fields), 7.0)
