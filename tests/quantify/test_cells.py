"""Iron and cells follow from the moment, and their intervals hold the truth as often as they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from ferrosight.quantify import find_factors, limit_clusters, quantify_clusters, quantify_moments
from ferrosight.types import CLUSTERS, FITS, NULLS, Calibration, Catalogue, NullCalibration, PhaseSign, Table
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.label import IronPerCell, Label

LABEL = Label("ours", "our oxide", 100.0, 0.1, "assumption")
LOAD = IronPerCell(10.0, 1.7, "assay")
CONFIG = QuantifyConfig()
NAMES = [f"{name}{end}" for name in ("iron_pg", "n_cells") for end in ("", "_low", "_high")]


def make_catalogue(moment: NDArray[np.float64], err: NDArray[np.float64]) -> Catalogue:
    n = len(moment)
    ids = np.array([f"c{i}" for i in range(n)], dtype=np.str_)
    clusters = Table(CLUSTERS, {"cluster_id": ids, "moment_am2": moment, "moment_am2_err": err})
    null = NullCalibration(Table(NULLS, {}), np.zeros(0), np.zeros(0), 3.0, 1.0, 1.0, 0.1, 10, 5.0, {}, {}, 0)
    fits = Table(FITS, {"cluster_id": ids})
    return Catalogue(clusters, fits, null, (), PhaseSign.POSITIVE, "option", "box", 0.05, notes=("before",))


def _iron(moment: NDArray[np.float64], err: NDArray[np.float64]) -> Table:
    return quantify_clusters(make_catalogue(moment, err), LABEL, 3.0, LOAD, CONFIG).clusters


def test_iron_is_moment_over_magnetisation_and_cells_are_iron_over_load():
    table = _iron(np.array([9.36e-13]), np.array([1e-14]))
    assert table["iron_pg"][0] == pytest.approx(9.36)  # 9.36e-13 A m² / 100 A m²/kg = 9.36e-15 kg
    assert table["n_cells"][0] == pytest.approx(0.936)


def test_a_core_below_saturation_gives_more_iron_for_the_same_moment():
    small = dataclasses.replace(LABEL, core_diameter_nm=4.0, core_source="assumption")
    catalogue = make_catalogue(np.array([1e-12]), np.array([1e-14]))
    weak, strong = (quantify_clusters(catalogue, small, b0, None, CONFIG) for b0 in (1.5, 7.0))
    assert weak.clusters["iron_pg"][0] > 1.1 * strong.clusters["iron_pg"][0]
    assert weak.ms_am2_per_kg_fe is not None
    assert weak.ms_am2_per_kg_fe < 85
    assert "of saturation" in weak.notes[-2]


def test_without_label_or_load_numbers_are_missing_and_said_to_be():
    catalogue = make_catalogue(np.array([1e-12]), np.array([1e-14]))
    none = quantify_clusters(catalogue, None, 3.0, LOAD, CONFIG)
    assert all(np.isnan(none.clusters[name]).all() for name in NAMES)
    assert none.label is None
    assert none.notes[0] == "before"
    assert "No label" in none.notes[-1]
    iron_only = quantify_clusters(catalogue, LABEL, 3.0, None, CONFIG)
    assert np.isfinite(iron_only.clusters["iron_pg_high"]).all()
    assert np.isnan(iron_only.clusters["n_cells"]).all()
    assert "No iron per cell" in iron_only.notes[-1]


def test_a_load_that_the_label_fixes_is_used_unless_another_is_given():
    label = dataclasses.replace(LABEL, iron_per_cell_pg=20.0, iron_per_cell_sd_pg=2.0, iron_per_cell_source="assay")
    catalogue = make_catalogue(np.array([1e-12]), np.array([1e-14]))
    own = quantify_clusters(catalogue, label, 3.0, None, CONFIG).clusters["n_cells"][0]
    given = quantify_clusters(catalogue, label, 3.0, LOAD, CONFIG).clusters["n_cells"][0]
    assert given == pytest.approx(2 * own)


def test_a_loads_own_spread_between_cells_goes_before_the_settings():
    moment = 5 * LOAD.mean_pg * 1e-15 * np.full(1, LABEL.ms_am2_per_kg_fe)
    catalogue = make_catalogue(moment, moment * 1e-3)
    widths = []
    for cell_cv in (None, CONFIG.cell_to_cell_cv, 2.0):
        load = dataclasses.replace(LOAD, cell_cv=cell_cv)
        counted = quantify_clusters(catalogue, LABEL, 3.0, load, CONFIG)
        widths.append(float(counted.clusters["n_cells_high"][0] - counted.clusters["n_cells_low"][0]))
    assert widths[0] == widths[1] < 0.5 * widths[2]
    assert "200% between single cells on that day" in counted.notes[-1]


CALIBRATION = Calibration(2e-15, 0.2, 0.05, 0.5, 3.0, 12, 5, "a phantom")


@pytest.mark.parametrize("label", [None, LABEL])
def test_a_calibration_counts_cells_without_magnetisation_or_load(label):
    catalogue = make_catalogue(np.array([2e-12, -1e-12]), np.array([1e-14, 1e-14]))
    counted = quantify_clusters(catalogue, label, 3.0, None, CONFIG, CALIBRATION)
    cells = counted.clusters
    assert cells["n_cells"].tolist() == pytest.approx([1000.0, np.nan], nan_ok=True)
    assert cells["n_cells_low"][0] < 1000.0 < cells["n_cells_high"][0]
    width = np.log(cells["n_cells_high"][0] / cells["n_cells_low"][0]) / (2 * 1.96)
    assert width == pytest.approx(np.sqrt(np.log1p(0.2**2)), rel=0.02)
    assert np.isfinite(cells["iron_pg"][0]) == (label is not None)
    assert counted.notes[0] == "before"
    assert "per cell" in counted.notes[-1]
    assert counted.notes[1].startswith("No label was given" if label is None else "Iron is the moment over")
    assert "No iron per cell" not in " ".join(counted.notes)


def test_a_calibration_of_another_field_strength_counts_nothing_and_says_so():
    counted = quantify_clusters(
        make_catalogue(np.array([2e-12]), np.array([1e-14])), LABEL, 7.0, None, CONFIG, CALIBRATION
    )
    assert np.isnan(counted.clusters["n_cells"]).all()
    assert np.isfinite(counted.clusters["iron_pg"]).all()
    assert "calibration is of 3 T" in counted.notes[-1]


def test_opposite_polarity_and_failed_fits_have_no_iron_and_keep_their_row():
    moment = np.array([1e-12, -1e-12, np.nan, 0.0, 1e-12])
    err = np.array([1e-14, 1e-14, np.nan, 1e-14, np.nan])
    table = _iron(moment, err)
    assert len(table) == 5
    for name in NAMES:
        assert np.isfinite(table[name]).tolist() == [True, False, False, False, False]


def test_an_empty_catalogue_stays_empty():
    assert len(_iron(np.zeros(0), np.zeros(0))) == 0


def test_spread_between_batches_is_a_floor_and_spread_between_cells_averages_out():
    cells = np.array([1.0, 1e2, 1e6])
    moment = cells * LOAD.mean_pg * 100.0 * 1e-15
    table = _iron(moment, moment * 1e-4)
    width = np.log(table["n_cells_high"] / table["n_cells_low"]) / (2 * 1.96)
    floor = np.sqrt(np.log1p(LABEL.ms_rel_sd**2) + np.log1p(LOAD.rel_sd**2))
    assert width[2] == pytest.approx(floor, rel=1e-2)
    assert width[0] > 1.5 * width[1]
    assert width[1] > floor


@pytest.mark.parametrize(("n_cells", "rel_err"), [(1, 0.05), (3, 0.2), (30, 0.1), (1000, 0.02)])
def test_intervals_of_cells_cover_95_percent_of_labellings_and_scans(n_cells, rel_err):
    """Draw a batch, its cells one by one, the magnetisation and the noise; the truth is inside 95 %."""
    rng, draws = np.random.default_rng(n_cells), 3000
    log_cv = np.sqrt(np.log1p(CONFIG.cell_to_cell_cv**2))

    def mean_one(rel_sd: float) -> NDArray[np.float64]:
        s = np.sqrt(np.log1p(rel_sd**2))
        return np.exp(rng.normal(-(s**2) / 2, s, draws))

    per_cell = np.exp(rng.normal(-(log_cv**2) / 2, log_cv, (draws, n_cells))).mean(axis=1)
    iron_pg = n_cells * LOAD.mean_pg * mean_one(LOAD.rel_sd) * per_cell
    moment = iron_pg * 1e-15 * LABEL.ms_am2_per_kg_fe * mean_one(LABEL.ms_rel_sd)
    err = np.full(draws, rel_err * n_cells * LOAD.mean_pg * 1e-15 * LABEL.ms_am2_per_kg_fe)
    table = _iron(moment + rng.normal(0, err), err)
    inside = (table["n_cells_low"] <= n_cells) & (n_cells <= table["n_cells_high"])
    low, high = binom.ppf([5e-5, 1 - 5e-5], draws, 0.95)
    assert low <= np.count_nonzero(inside) <= high
    # Iron against the iron truly there: the load does not enter.
    inside = (table["iron_pg_low"] <= iron_pg) & (iron_pg <= table["iron_pg_high"])
    assert low <= np.count_nonzero(inside) <= high


def test_the_notes_name_every_assumption():
    notes = " ".join(quantify_clusters(make_catalogue(np.ones(1), np.ones(1)), LABEL, 3.0, LOAD, CONFIG).notes)
    for said in ("100.0 A m² per kg of iron", "10%", "assumption", "10 pg per cell", "1.7", "assay", "50%"):
        assert said in notes


def test_unselected_moments_have_the_numbers_of_clusters_and_keep_their_sign():
    moment, err = np.array([9e-12, 2e-13, -4e-13]), np.array([3e-13, 3e-13, 3e-13])
    done = quantify_clusters(make_catalogue(moment, err), LABEL, 7.0, LOAD, CONFIG).clusters
    for name, factor in find_factors(LABEL, 7.0, LOAD, CONFIG).items():
        value, low, high, limit = quantify_moments(moment, err, factor)
        np.testing.assert_array_equal(value[:2], done[name][:2])
        np.testing.assert_array_equal((low[:2], high[:2]), (done[f"{name}_low"][:2], done[f"{name}_high"][:2]))
        assert value[2] < 0 == low[2] < limit[2] < high[2]
        np.testing.assert_array_equal(limit_clusters(done, np.full(3, np.nan), factor)[:2], limit[:2])


def test_what_was_not_measured_has_no_numbers():
    factor = find_factors(LABEL, 7.0, None, CONFIG)["iron_pg"]
    assert np.isnan(quantify_moments(np.array([np.nan, 1e-12]), np.array([1e-13, np.nan]), factor)).all()
    assert find_factors(None, 7.0, None, CONFIG) == {}
