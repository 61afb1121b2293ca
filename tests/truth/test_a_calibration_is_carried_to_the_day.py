"""A phantom of day 0 counts cells of day 7 once their dilution is carried: the truth is stepped, not solved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.cells.load import trace_load, uptake_rate
from ferrosight.quantify.calibrate import calibrate_moment
from ferrosight.types import Table
from ferrosight.types.calibration import PhantomSpots
from ferrosight.types.uptake import ASSAYS, Fate, Labelling
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import carry_calibration, predict_course

DOUBLING_H, EXOCYTOSIS_PER_H, ONSET_H, BETWEEN, WITHIN = 60.0, 0.003, 48.0, 0.17, 0.1
DESIGN = ((20, 24, 0), (50, 24, 0), (150, 24, 0), (50, 24, 24), (50, 24, 72), (50, 24, 144))
AM2_PER_PG = 9.36e-14
DRAWS = 60


def load(dose, exposure_h, chase_h):
    rate = uptake_rate(0.4, dose, 40.0)
    return float(trace_load(rate, np.log(2) / DOUBLING_H, EXOCYTOSIS_PER_H, exposure_h, chase_h, ONSET_H))


def keep_stepwise(chase_h, exposure_h=24.0, step_h=0.01):
    """Share of the load that a cell keeps, halved bit by bit and given off from the onset on."""
    kept = 1.0
    for step in range(round(chase_h / step_h)):
        leaves = exposure_h + (step + 0.5) * step_h > ONSET_H
        kept *= 0.5 ** (step_h / DOUBLING_H) * (1 - leaves * EXOCYTOSIS_PER_H * step_h)
    return kept


def draw_levels(n, rng):
    spread = np.sqrt(np.log1p(BETWEEN**2))
    return np.exp(rng.normal(-(spread**2) / 2, spread, n))


def draw_course(rng):
    rows = []
    blank = {column.name: np.nan for column in ASSAYS.columns if column.dtype == "number"}
    for batch, level in enumerate(draw_levels(5, rng)):
        for dose, exposure, chase in DESIGN:
            value = load(dose, exposure, chase) * level * np.exp(rng.normal(0, WITHIN))
            measured = {"dose_ug_per_ml": dose, "exposure_h": exposure, "chase_h": chase, "iron_per_cell_pg": value}
            rows.append({**blank, "cell_type": "c", "particle": "p", "batch": f"b{batch}", "assay": "icp", **measured})
    rows += [{**blank, "cell_type": "c", "doubling_time_h": DOUBLING_H * np.exp(rng.normal(0, 0.08))} for _ in range(4)]
    (experiment,) = sort_experiments(Table.from_rows(ASSAYS, rows))
    return predict_course(fit_kinetics(experiment), Labelling(50.0, 24.0), Fate(), [0.0, 7.0])


def draw_phantom(rng):
    numbers = np.tile([50.0, 150.0, 400.0, 1000.0], 5)
    per_cell = np.repeat(draw_levels(5, rng), 4) * load(50, 24, 0) * AM2_PER_PG
    cells = numbers + np.sqrt(numbers) * rng.normal(size=20)
    moments = per_cell * cells * (1 + 0.04 * rng.normal(size=20))
    spots = PhantomSpots(moments, 0.04 * moments, numbers, np.sqrt(numbers), np.repeat(list("abcde"), 4))
    return calibrate_moment(spots, 7.0)


@pytest.mark.slow
def test_moment_per_cell_of_another_batch_on_day_7_lies_within_what_is_said():
    assert keep_stepwise(168.0) == pytest.approx(load(50, 24, 168) / load(50, 24, 0), rel=1e-3)
    dilution, held, ratio_held, as_it_was, ratios = keep_stepwise(168.0), 0, 0, 0, []
    for seed in range(DRAWS):
        rng = np.random.default_rng([seed, 41])
        course, phantom = draw_course(rng), draw_phantom(rng)
        carried = carry_calibration(phantom, course, 7.0)
        truth = load(50, 24, 0) * dilution * AM2_PER_PG * draw_levels(1, rng)[0]
        ratios.append(carried.moment_per_cell_am2 / (load(50, 24, 0) * dilution * AM2_PER_PG))
        held += abs(np.log(truth / carried.moment_per_cell_am2)) < 1.96 * np.sqrt(np.log1p(carried.rel_sd**2))
        as_it_was += abs(np.log(truth / phantom.moment_per_cell_am2)) < 1.96 * np.sqrt(np.log1p(phantom.rel_sd**2))
        kept_sd = np.sqrt(np.log1p(course.table["kept_rel_sd"][1] ** 2))
        off = np.log(course.table["iron_per_cell_pg"][1] / course.table["iron_per_cell_pg"][0] / dilution)
        ratio_held += abs(off) < 1.96 * kept_sd
    least = binom.ppf(1e-3, DRAWS, 0.95)
    assert held >= least, held
    assert ratio_held >= least, ratio_held
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * np.std(ratios) / np.sqrt(DRAWS) + 0.02)
    assert as_it_was < 5  # what a phantom of day 0 says of day 7 by itself
