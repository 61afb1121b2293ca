"""The predicted load is the cells' own on each day, its intervals hold the next batch, and gaps are refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.cells.load import draw_batches
from ferrosight.errors import InputError
from ferrosight.types import Calibration, Table, UptakeCourse
from ferrosight.types.uptake import UPTAKE, Division, Fate, Labelling, Rate
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import carry_calibration, load_on_day, predict_course

LABELLING = Labelling(50.0, 24.0)


def fit_drawn(cells, draw, seed=0, **design):
    return fit_kinetics(sort_experiments(draw(cells, np.random.default_rng(seed), **design))[0])


@pytest.fixture
def fit(cells, draw):
    return fit_drawn(cells(), draw, batch_rel_sd=1e-3, assay_rel_sd=1e-3)


def test_the_course_is_the_cells_own(cells, fit):
    one, days = cells(), [0.0, 1.0, 3.0, 7.0, 14.0]
    course = predict_course(fit, LABELLING, Fate(), days)
    table = course.table
    median = np.sqrt(table["iron_per_cell_pg_low"] * table["iron_per_cell_pg_high"])
    assert table["day"].tolist() == days
    assert median == pytest.approx([one.load(50, 24, 24 * day) for day in days], rel=0.05)
    assert (table["iron_per_cell_pg"] >= median).all()
    assert "MSC with particle" in course.source
    assert table["iron_left"][0] == 1.0
    assert (np.diff(table["iron_left"]) <= 0).all()


def test_days_come_sorted_and_once(fit):
    assert predict_course(fit, LABELLING, Fate(), [7, 0, 7, 1]).table["day"].tolist() == [0, 1, 7]


def test_cells_that_do_not_divide_where_they_were_put_keep_their_label(fit):
    still = Fate(division_per_h=Rate(0.0), exocytosis_per_h=Rate(0.0))
    table = predict_course(fit, LABELLING, still, [0, 28]).table
    assert table["iron_per_cell_pg"][1] == pytest.approx(table["iron_per_cell_pg"][0])
    assert table["cell_cv"].tolist() == pytest.approx([0.5, 0.5])
    assert table["iron_left"].tolist() == [1.0, 1.0]


def test_what_was_measured_elsewhere_widens_by_its_error_and_days(fit):
    sure, unsure = (Fate(division_per_h=Rate(0.01, sd), exocytosis_per_h=Rate(0.002, 0.0)) for sd in (0.0, 0.001))
    (at_0, at_10), (unsure_0, unsure_10) = (
        np.log1p(predict_course(fit, LABELLING, fate, [0, 10]).table["batch_rel_sd"] ** 2) for fate in (sure, unsure)
    )
    assert unsure_0 == pytest.approx(at_0, rel=1e-6)
    assert unsure_10 - at_10 == pytest.approx((0.001 * 240) ** 2, rel=0.02)


def test_death_leaves_the_mean_and_takes_iron(fit):
    alive, dying = (predict_course(fit, LABELLING, Fate(death_per_h=rate), [0, 7]).table for rate in (0.0, 0.01))
    assert alive["iron_per_cell_pg"].tolist() == dying["iron_per_cell_pg"].tolist()
    assert dying["iron_left"][1] == pytest.approx(alive["iron_left"][1] * np.exp(-1.68))


def test_few_vesicles_and_unequal_division_spread_cells_and_leave_the_mean(fit):
    many, few = (
        predict_course(fit, LABELLING, Fate(division=division), [0, 7]).table
        for division in (Division(), Division(endosomes=20, share=0.9))
    )
    assert many["iron_per_cell_pg"].tolist() == few["iron_per_cell_pg"].tolist()
    assert few["cell_cv"][1] > 1.5 * many["cell_cv"][1]


def test_between_days_the_logarithm_changes_evenly_and_outside_there_is_none(fit):
    course = predict_course(fit, LABELLING, Fate(), [4.0, 8.0])
    mean = course.table["iron_per_cell_pg"]
    load = load_on_day(course, 6.0)
    assert load.mean_pg == pytest.approx(np.sqrt(mean[0] * mean[1]))
    assert load.cell_cv == pytest.approx(course.table["cell_cv"].mean())
    assert load.rel_sd == pytest.approx(course.table["batch_rel_sd"].mean())
    assert "day 6 after labelling" in load.source
    for day in (3.9, 8.1):
        with pytest.raises(InputError, match="predict that day"):
            load_on_day(course, day)


PHANTOM = Calibration(2e-15, 0.2, 0.05, 0.4, 7.0, 12, 3, "a phantom")


def make_course(**columns: list[float]) -> UptakeCourse:
    given = {"day": [0.0, 7.0, 14.0], "iron_per_cell_pg": [8.0, 4.0, 1.0], "batch_rel_sd": [0.2, 0.25, 0.3]}
    values = {**given, "cell_cv": [0.5, 0.8, 1.1], **columns}
    return UptakeCourse(Table(UPTAKE, {name: np.array(value) for name, value in values.items()}), "a course")


def test_a_calibration_is_carried_by_the_ratio_of_loads_and_widens_by_what_is_not_known_of_it():
    course = make_course(kept_rel_sd=[0.0, 0.1, 0.3])
    carried = carry_calibration(PHANTOM, course, 7.0)
    assert carried.moment_per_cell_am2 == pytest.approx(1e-15)
    assert carried.rel_sd == pytest.approx(np.sqrt(1.04 * 1.01 - 1))
    assert carried.mean_rel_sd == pytest.approx(np.sqrt(1.0025 * 1.01 - 1))
    assert (carried.day, carried.cell_cv, carried.b0_t) == (7.0, 0.8, 7.0)
    assert "carried from day 0 after labelling to day 7 by 0.5 ± 10%" in carried.source
    assert carry_calibration(PHANTOM, course, 0.0) is PHANTOM
    backwards = carry_calibration(dataclasses.replace(PHANTOM, day=14.0), course, 7.0)
    assert backwards.moment_per_cell_am2 == pytest.approx(8e-15)
    assert backwards.rel_sd == pytest.approx(np.sqrt(1.04 * (1 + 0.1**2 + 0.3**2) - 1))


def test_the_level_of_the_course_does_not_matter_to_a_calibration():
    one, other = (make_course(iron_per_cell_pg=[8 * level, 4 * level, level]) for level in (1, 3))
    moments = [carry_calibration(PHANTOM, course, 14.0).moment_per_cell_am2 for course in (one, other)]
    assert moments[0] == pytest.approx(moments[1])


def test_a_course_written_by_hand_carries_with_its_whole_spread():
    assert carry_calibration(PHANTOM, make_course(), 14.0).rel_sd == pytest.approx(np.sqrt(1.04 * 1.09 - 1))


def test_a_calibration_is_not_carried_beyond_the_course():
    with pytest.raises(InputError, match="predict that day"):
        carry_calibration(PHANTOM, make_course(), 15.0)
    with pytest.raises(InputError, match="day 20 after labelling"):
        carry_calibration(dataclasses.replace(PHANTOM, day=20.0), make_course(), 7.0)


def test_what_is_known_of_the_dilution_does_not_depend_on_the_batches(cells, draw):
    tables = []
    for spread in (0.05, 0.6):
        fit = fit_drawn(cells(), draw, batch_rel_sd=spread, assay_rel_sd=0.02, n_batches=6)
        given = Fate(division_per_h=Rate(0.01, 0.001), exocytosis_per_h=Rate(0.0))
        tables.append(predict_course(fit, LABELLING, given, [0, 7]).table)
    for table in tables:
        assert table["kept_rel_sd"].tolist() == pytest.approx([0.0, np.sqrt(np.expm1(0.168**2))], rel=1e-4)
    assert tables[1]["batch_rel_sd"][1] > 2 * tables[0]["batch_rel_sd"][1]


def test_what_the_assays_do_not_hold_is_refused_until_it_is_given(cells, draw):
    fit = fit_drawn(cells(), draw, design=[(50, 24, 0)] * 3, n_others=0)
    predict_course(fit, LABELLING, Fate(), [0])
    with pytest.raises(InputError, match="assay other doses"):
        predict_course(fit, Labelling(60.0, 24.0), Fate(), [0])
    with pytest.raises(InputError, match="give a doubling time"):
        predict_course(fit, LABELLING, Fate(), [0, 0.5])
    given = Fate(division_per_h=Rate(0.01, 0.001))
    predict_course(fit, LABELLING, given, [0, 1])
    with pytest.raises(InputError, match="begins 1 days after labelling"):
        predict_course(fit, LABELLING, given, [0, 2])
    predict_course(fit, LABELLING, dataclasses.replace(given, exocytosis_per_h=Rate(0.001, 0.001)), [0, 2])
    for days in ([], [-1.0], [np.inf], [np.nan]):
        with pytest.raises(InputError, match="imaging days"):
            predict_course(fit, LABELLING, Fate(), days)


def test_extrapolation_is_said(fit):
    notes = " ".join(predict_course(fit, Labelling(400.0, 48.0), Fate(), [0]).notes)
    assert "outside the assayed doses" in notes
    assert "longer than any exposure" in notes


@pytest.mark.slow
@pytest.mark.parametrize(("n_batches", "batch_rel_sd"), [(5, 0.17), (3, 0.25)])
def test_intervals_hold_the_load_of_the_next_batch_on_every_day(cells, draw, n_batches, batch_rel_sd):
    one, days, draws = cells(), [0.0, 7.0, 14.0], 80
    hits = np.zeros(3)
    for seed in range(draws):
        fit = fit_drawn(one, draw, seed + 77_000, n_batches=n_batches, batch_rel_sd=batch_rel_sd)
        table = predict_course(fit, LABELLING, Fate(), days).table
        batch = draw_batches(1.0, batch_rel_sd, 1, np.random.default_rng([seed, 9]))[0] * np.sqrt(1 + batch_rel_sd**2)
        for i, day in enumerate(days):
            truth = one.load(50, 24, 24 * day) * batch
            hits[i] += table["iron_per_cell_pg_low"][i] <= truth <= table["iron_per_cell_pg_high"][i]
    low, high = binom.ppf([1e-4, 1 - 1e-4], draws, 0.95)
    assert (hits >= low).all(), hits
    assert (hits <= max(high, 0.99 * draws)).all(), hits
