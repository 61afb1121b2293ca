"""Files of uptake read back as they were written; what they cannot hold is refused in a sentence."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.io import read_assays, read_course, read_fits, write_course, write_fits
from ferrosight.types import Table, UptakeCourse, UptakeFit
from ferrosight.types.uptake import UPTAKE, Quantity

HEADER = "cell_type\tparticle\tassay\tdose_ug_per_ml\texposure_h\tiron_per_cell_pg"
ROW = "MSC\tA\ticp\t50\t24\t10.5"


def make_course() -> UptakeCourse:
    values = {"day": [0.0, 7.5], "iron_per_cell_pg": [10.0, 1 / 3], "batch_rel_sd": [0.2, 0.3], "cell_cv": [0.5, 0.8]}
    return UptakeCourse(Table(UPTAKE, {name: np.array(v) for name, v in values.items()}), "MSC with A", ("a note",))


def make_fit() -> UptakeFit:
    quantities = (Quantity("half_dose", "µg/mL", math.inf, 10.0, math.inf, "Dose of half uptake.", "widen"),)
    return UptakeFit(
        "MSC", "A", ("log_uptake", "log_half_dose"), np.array([0.1, 3.0]), np.array([[0.2, 0.01], [0.01, 0.3]]),
        ("log_half_dose",), ("assay",), np.array([0.01]), np.ones((1, 2, 2)), np.eye(1), np.array([4.0]), 50.0, 48.0,
        0.17, 12, 3, (10.0, 50.0), 24.0, quantities, ("a note",),
    )  # fmt: skip


def test_a_course_reads_back_with_its_source_and_notes(tmp_path):
    path, described = write_course(make_course(), tmp_path / "load.tsv")
    found = read_course(path)
    assert (found.source, found.notes) == ("MSC with A", ("a note",))
    for name in UPTAKE.names:
        assert np.array_equal(found.table[name], make_course().table[name], equal_nan=True)
    content = json.loads(described.read_text(encoding="utf-8"))
    assert content["iron_per_cell_pg"]["Units"] == "pg"
    described.unlink()
    assert read_course(path).source == "load.tsv"


def test_a_course_may_be_written_by_hand(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n0\t10\t0.17\t0.5\n", encoding="utf-8")
    assert read_course(path).table["iron_per_cell_pg"].tolist() == [10.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n", "at least one day"),
        ("day\tiron_per_cell_pg\tcell_cv\n0\t10\t0.5\n", "batch_rel_sd"),
        ("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n7\t10\t0.2\t0.5\n0\t5\t0.2\t0.5\n", "must grow"),
        ("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n0\t-1\t0.2\t0.5\n", "must be positive"),
        ("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n0\t1\tn/a\t0.5\n", "spreads"),
        ("day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n0\tten\t0.2\t0.5\n", "must hold a number"),
        ("", "is empty"),
    ],
)
def test_a_course_that_makes_no_sense_is_refused_with_its_name(tmp_path, text, said):
    path = tmp_path / "load.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said) as raised:
        read_course(path)
    assert str(path) in str(raised.value)


def test_a_course_goes_into_a_tsv_only(tmp_path):
    with pytest.raises(InputError, match=r"\.tsv"):
        write_course(make_course(), tmp_path / "load.csv")


def test_fits_read_back_infinities_included(tmp_path):
    fit = make_fit()
    (found,) = read_fits(write_fits([fit], tmp_path / "fits.json"))
    assert found.quantities == fit.quantities
    for name in ("theta", "covariance", "variances", "slopes", "strata", "dofs"):
        assert np.array_equal(getattr(found, name), getattr(fit, name))
    for name in ("names", "held", "variance_names", "doses_ug_per_ml", "notes", "batch_log_sd", "n_iron", "n_batches"):
        assert getattr(found, name) == getattr(fit, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "must be what"),
        ("[1]", "one JSON object"),
        ("not json", "cannot be read"),
        ('{"format": "ferrosight uptake fit 1", "fits": [{"names": ["a"]}]}', "is damaged"),
    ],
)
def test_other_files_are_no_fits(tmp_path, text, said):
    path = tmp_path / "fits.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_fits(path)
    with pytest.raises(InputError, match="there is no file"):
        read_fits(tmp_path / "none.json")


def test_assays_read_with_columns_in_any_order_and_remarks(tmp_path):
    path = tmp_path / "assays.tsv"
    path.write_text(f"comment\t{HEADER}\nfirst\t{ROW}\n", encoding="utf-8")
    table = read_assays(path)
    assert table["iron_per_cell_pg"].tolist() == [10.5]
    assert np.isnan(table["diameter_um"]).all()
    assert table["batch"].tolist() == [""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER.replace('_pg', '_fg')}\n{ROW}\n", "but has iron_per_cell_fg; convert"),
        (f"{HEADER}\tchase_days\n{ROW}\t7\n", "but has chase_days"),
        (f"{HEADER.replace('dose_ug_per_ml', 'diameter_um')}\n{ROW}\n", r"column\(s\) dose_ug_per_ml"),
        (f"{HEADER}\n{ROW} ng\n", "line 2: column iron_per_cell_pg must hold a number"),
        (f"{HEADER}\n{ROW}\t3\n", "line 2: expected 6 values"),
    ],
)
def test_assays_in_other_units_or_with_missing_columns_are_refused(tmp_path, text, said):
    path = tmp_path / "assays.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_assays(path)
