"""Kinetics come back from simulated experiments, as sure as their intervals say; what data cannot say is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.errors import InputError
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import ASSUMED_BATCH_REL_SD, fit_kinetics

ALL = {"load", "uptake", "full_uptake", "half_dose", "doubling_time", "exocytosis", "diameter", "uptake_per_surface"}


def fit_drawn(cells, draw, seed=0, **design):
    return fit_kinetics(sort_experiments(draw(cells, np.random.default_rng(seed), **design))[0])


def truth_of(cells, dose):
    return {
        "load": cells.load(dose, 24.0),
        "uptake": cells.full_uptake * dose / (cells.half_dose + dose),
        "full_uptake": cells.full_uptake,
        "half_dose": cells.half_dose,
        "doubling_time": cells.doubling_h,
        "exocytosis": 24 * cells.exocytosis_per_h,
        "diameter": cells.diameter_um,
        "uptake_per_surface": cells.full_uptake
        * dose
        / (cells.half_dose + dose)
        / (np.pi * cells.diameter_um**2 / 1e3),
    }


def by_name(fit):
    return {quantity.name: quantity for quantity in fit.quantities}


def test_without_scatter_every_parameter_is_recovered(cells, draw):
    one = cells(full_uptake=3.0, half_dose=70.0, doubling_h=30.0, exocytosis_per_h=0.006)
    fit = fit_drawn(one, draw, batch_rel_sd=1e-3, assay_rel_sd=1e-3)
    found = by_name(fit)
    truth = truth_of(one, fit.reference_dose_ug_per_ml)
    assert set(found) == ALL
    for name, quantity in found.items():
        rel = 0.1 if name in ("diameter", "uptake_per_surface") else 0.02
        assert quantity.value == pytest.approx(truth[name], rel=rel), name
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.advice == ""
    assert fit.held == ()


def test_the_spread_between_batches_is_told_from_that_between_assays(cells, draw):
    fits = [fit_drawn(cells(), draw, seed, n_batches=8, batch_rel_sd=0.3, assay_rel_sd=0.05) for seed in range(8)]
    between = np.mean([fit.batch_log_sd**2 for fit in fits])
    within = np.mean([fit.variances[fit.variance_names.index("assay")] for fit in fits])
    assert between == pytest.approx(np.log1p(0.3**2), rel=0.5)
    assert within == pytest.approx(np.log1p(0.05**2), rel=0.15)


def test_one_dose_and_no_chase_hold_the_load_and_nothing_else(cells, draw):
    fit = fit_drawn(cells(), draw, design=[(50, 24, 0)] * 3, n_others=0)
    found = by_name(fit)
    assert set(fit.held) == {"log_half_dose", "division_per_h", "exocytosis_per_h", "log_diameter"}
    assert {name for name, quantity in found.items() if np.isnan(quantity.value)} == ALL - {"load", "uptake"}
    assert found["load"].low < cells().load(50, 24) * 1.5
    assert "12.5 and 200" in found["half_dose"].advice
    assert "doubling_time_h" in found["doubling_time"].advice
    assert "beyond 48 h" in found["exocytosis"].advice
    assert "diameter_um" in found["uptake_per_surface"].advice


def test_doses_below_saturation_bound_the_half_dose_below_only(cells, draw):
    one, open_ended = cells(half_dose=4000.0, full_uptake=200.0), 0
    for seed in range(1, 9):
        fit = fit_drawn(one, draw, seed, design=[(d, 24, 0) for d in (10, 20, 40, 80)] * 2)
        half = by_name(fit)["half_dose"]
        assert 100 < half.low < 4000
        assert by_name(fit)["load"].high < 4 * by_name(fit)["load"].low
        if half.high == np.inf:
            open_ended += 1
            assert "widen the range" in half.advice
            assert by_name(fit)["full_uptake"].high == np.inf
    assert open_ended >= 6


def test_without_a_doubling_time_late_chases_alone_do_not_tell_it_from_exocytosis_but_early_ones_do(cells, draw):
    early = [(50, 24, 0), (50, 6, 0), (20, 24, 0), (50, 24, 12), (50, 24, 24), (50, 24, 96)]
    found = by_name(fit_drawn(cells(), draw, design=early * 2, n_others=0, assay_rel_sd=0.03))
    assert found["doubling_time"].low < 40.0 < found["doubling_time"].high < 80.0
    fit = fit_drawn(cells(), draw, design=[(50, 24, 0), (50, 24, 96)] * 3, n_others=0)
    assert {"division_per_h", "exocytosis_per_h"} & set(fit.held)


def test_another_assay_has_a_gain_of_its_own_and_icp_leads(cells, draw):
    fit = fit_drawn(cells(), draw, assays=("relaxometry", "icp"), gains=(0.4, 1.0))
    assert np.exp(fit.value("gain_relaxometry")) == pytest.approx(0.4, rel=0.15)
    assert by_name(fit)["load"].value == pytest.approx(cells().load(50, 24), rel=0.4)
    assert any("relaxometry is free to differ" in note for note in fit.notes)
    alone = fit_drawn(cells(), draw, assays=("relaxometry",))
    assert any("Relaxometry alone" in note for note in alone.notes)


@pytest.mark.parametrize("n_batches", [1, 2])
def test_few_batches_take_an_assumed_spread_and_say_so(cells, draw, n_batches):
    fit = fit_drawn(cells(), draw, n_batches=n_batches)
    assert fit.batch_log_sd == pytest.approx(np.sqrt(np.log1p(ASSUMED_BATCH_REL_SD**2)))
    assert any("assumed" in note for note in fit.notes)
    load = by_name(fit)["load"]
    assert np.log(load.high / load.low) > 2 * 1.96 * fit.batch_log_sd / np.sqrt(n_batches)


def test_identical_repeats_and_single_measurements_of_the_cells_are_not_certain(cells, draw):
    fit = fit_drawn(cells(), draw, n_others=1)
    found = by_name(fit)
    assert found["diameter"].high > 1.3 * found["diameter"].value
    assert sum("measured once" in note for note in fit.notes) == 2


def test_a_batch_assayed_once_each_counts_all_scatter_as_batches(cells, draw):
    fit = fit_drawn(cells(), draw, n_batches=8, design=[(50, 24, 0)], n_others=0)
    assert fit.variance_names == ("batch",)
    assert fit.batch_log_sd == pytest.approx(np.sqrt(fit.variances[0]))
    assert any("assayed once" in note for note in fit.notes)


def test_too_few_assays_are_refused_with_how_many_are_needed(cells, draw):
    with pytest.raises(InputError, match="give at least"):
        fit_drawn(cells(), draw, n_batches=1, design=[(50, 24, 0), (100, 24, 0)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_batches", "batch_rel_sd", "changes"),
    [
        (5, 0.17, {}),
        (4, 0.1, {"full_uptake": 0.5, "half_dose": 20.0, "doubling_h": 20.0, "exocytosis_per_h": 0.0}),
    ],
)
def test_intervals_of_all_quantities_cover_the_truth(cells, draw, n_batches, batch_rel_sd, changes):
    """Every quantity by itself, and all of them together between 93 and 97 %."""
    one, draws = dataclasses.replace(cells(), **changes), 60
    hits = dict.fromkeys(ALL, 0)
    for seed in range(draws):
        fit = fit_drawn(one, draw, seed + 10_000 * n_batches, n_batches=n_batches, batch_rel_sd=batch_rel_sd)
        truth = truth_of(one, fit.reference_dose_ug_per_ml)
        for quantity in fit.quantities:
            hits[quantity.name] += quantity.low <= truth[quantity.name] <= quantity.high
    least = binom.ppf(1e-4, draws, 0.95)
    assert all(count >= least for count in hits.values()), hits
    assert 0.93 <= sum(hits.values()) / (draws * len(ALL)) <= 0.985, hits
