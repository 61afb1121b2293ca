"""``uptake fit`` and ``predict``: what they print and write, and one sentence for bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ferrosight.cells.load import trace_load, uptake_rate

HEADER = (
    "cell_type", "particle", "batch", "assay", "dose_ug_per_ml", "exposure_h", "chase_h", "iron_per_cell_pg",
    "diameter_um", "doubling_time_h",
)  # fmt: skip
DESIGN = [(10, 24, 0), (50, 24, 0), (200, 24, 0), (50, 24, 24), (50, 24, 96)]


def write_tsv(path, rows):
    lines = [HEADER, *([str(row.get(name, "n/a")) for name in HEADER] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def assays(tmp_path):
    """A large, slow cell type and a small, fast one with one particle."""
    rng, rows = np.random.default_rng(0), []
    for cells, diameter, doubling in (("large", 20.0, 60.0), ("small", 12.0, 20.0)):
        for batch in "abc":
            level = np.exp(rng.normal(0, 0.15))
            for dose, exposure, chase in DESIGN:
                rate = uptake_rate(0.005 * diameter**2, dose, 40.0)
                load = float(trace_load(rate, np.log(2) / doubling, 0.004, exposure, chase, 48.0))
                rows.append(
                    {
                        "cell_type": cells, "particle": "A", "batch": batch, "assay": "icp", "dose_ug_per_ml": dose,
                        "exposure_h": exposure, "chase_h": chase,
                        "iron_per_cell_pg": load * level * np.exp(rng.normal(0, 0.05)),
                    }
                )  # fmt: skip
        rows += [{"cell_type": cells, "diameter_um": diameter * f} for f in (0.97, 1.0, 1.04)]
        rows += [{"cell_type": cells, "doubling_time_h": doubling * f} for f in (0.95, 1.0, 1.06)]
    return write_tsv(tmp_path / "assays.tsv", rows)


def test_fit_says_every_quantity_with_its_unit_and_compares_cell_types(ferrosight, assays, tmp_path):
    plot, out = tmp_path / "fit.svg", tmp_path / "fit.json"
    ended = ferrosight("uptake", "fit", assays, "--out", out, "--plot", plot)
    assert ended.code == 0, ended.err
    for said in ("large with A: 15 assays of iron, 3 batches", "pg/h", "µg/mL", "Doubling time", "large / small"):
        assert said in ended.out
    assert str(out) in ended.err
    assert plot.stat().st_size > 5000
    content = json.loads(ferrosight("uptake", "fit", assays, "--json").out)
    assert [one["cell_type"] for one in content["fits"]] == ["large", "small"]
    load = next(one for one in content["comparisons"] if one["name"] == "load")
    assert load["larger"] == "large"
    assert 1 < load["low"] < load["ratio"] < load["high"]


def test_fit_and_predict_write_their_pages(ferrosight, assays, tmp_path):
    fit, of_fit, of_course = tmp_path / "fit.json", tmp_path / "fit.html", tmp_path / "load.html"
    ended = ferrosight("uptake", "fit", assays, "--out", fit, "--page", of_fit)
    assert str(of_fit) in ended.err
    page = of_fit.read_text(encoding="utf-8")
    assert "large / small" in page
    assert "assays.tsv" in page
    asked = ("--dose-ug-per-ml", 50, "--exposure-h", 24, "--days", "0,7", "--cell-type", "small")
    ended = ferrosight("uptake", "predict", tmp_path / "load.tsv", "--fit", fit, *asked, "--page", of_course)
    assert ended.code == 0, ended.err
    assert "Cell by cell, on each imaging day" in of_course.read_text(encoding="utf-8")


def test_fit_says_what_the_assays_do_not_determine(ferrosight, tmp_path):
    rows = [
        {"cell_type": "MSC", "particle": "A", "assay": "icp", "dose_ug_per_ml": 50, "exposure_h": 24,
         "iron_per_cell_pg": value} for value in (10, 11, 12)
    ]  # fmt: skip
    path = write_tsv(tmp_path / "few.tsv", rows)
    ended = ferrosight("uptake", "fit", path)
    assert ended.code == 0
    assert "is not determined. One dose does not show saturation" in ended.out
    assert "a spread of 17% between batches is assumed" in ended.out
    content = json.loads(ferrosight("uptake", "fit", path, "--json").out)
    assert "half_dose" in content["fits"][0]["not_determined"]
    assert "load" not in content["fits"][0]["not_determined"]


def test_predict_writes_a_course_that_limit_takes(ferrosight, assays, tmp_path):
    fit, out, plot = tmp_path / "fit.json", tmp_path / "load.tsv", tmp_path / "load.png"
    ferrosight("uptake", "fit", assays, "--out", fit)
    asked = ("--dose-ug-per-ml", 50, "--exposure-h", 24, "--days", "0,7,14")
    ended = ferrosight("uptake", "predict", out, "--fit", fit, "--cell-type", "large", *asked, "--plot", plot)
    assert ended.code == 0, ended.err
    assert plot.stat().st_size > 5000
    assert out.read_text(encoding="utf-8").startswith("day\tiron_per_cell_pg\t")
    swept = ferrosight("limit", "--label", "ferumoxides", "--uptake", out, "--sweep", "day=0,7,14", "--json")
    rows = json.loads(swept.out)["rows"]
    loads = [line.split("\t")[1] for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    assert [row["iron_per_cell_pg"] for row in rows] == pytest.approx([float(load) for load in loads])
    assert rows[2]["n_cells"] > 10 * rows[0]["n_cells"]
    (alone,) = [json.loads(ferrosight("limit", "--label", "ferumoxides", "--uptake", out, "--day", 7, "--json").out)]
    assert alone["n_cells"] == pytest.approx(rows[1]["n_cells"])


def test_predict_takes_what_was_measured_elsewhere(ferrosight, assays, tmp_path):
    fit, out = tmp_path / "fit.json", tmp_path / "load.tsv"
    ferrosight("uptake", "fit", assays, "--out", fit)
    asked = (
        "--fit",
        fit,
        "--cell-type",
        "small",
        "--dose-ug-per-ml",
        50,
        "--exposure-h",
        24,
        "--days",
        "0,10",
        "--json",
    )
    own = json.loads(ferrosight("uptake", "predict", out, *asked).out)["rows"]
    still = json.loads(
        ferrosight(
            "uptake", "predict", out, *asked, "--doubling-time-h", "1e9", "--exocytosis-per-day", "0",
            "--death-per-day", "0.1", "--endosomes", "50", "--division-share", "0.8", "--cell-cv", "0.3",
        ).out
    )["rows"]  # fmt: skip
    assert own[1]["iron_per_cell_pg"] < 0.01 * own[0]["iron_per_cell_pg"]
    assert still[1]["iron_per_cell_pg"] == pytest.approx(still[0]["iron_per_cell_pg"], rel=1e-3)
    assert still[1]["iron_left"] == pytest.approx(np.exp(-1.0))
    assert still[0]["cell_cv"] == pytest.approx(0.3)


def test_predict_makes_a_course_of_a_targeted_label(ferrosight, tmp_path):
    out = tmp_path / "load.tsv"
    ended = ferrosight(
        "uptake", "predict", out, "--receptors-per-cell", "1e5,2e4", "--particles-per-receptor", "1",
        "--iron-per-particle-pg", "1e-5,1e-6", "--specific-share", "0.5,0.1", "--loss-per-day", "0.1", "--days", "0,1",
        "--json",
    )  # fmt: skip
    rows = json.loads(ended.out)["rows"]
    assert rows[0]["iron_per_cell_pg"] == pytest.approx(2.08, rel=1e-3)  # 1 pg over a share of 0.5 ± 0.1
    assert rows[1]["iron_left"] == pytest.approx(np.exp(-0.1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iron_per_cell_pg": "-3"}, "must be positive"),
        ({"iron_per_cell_pg": "n/a"}, "must fill one of"),
        ({"iron_per_cell_pg": "12 ng"}, "must hold a number"),
        ({"assay": "icpms"}, "assay must be one of"),
        ({"dose_ug_per_ml": "0"}, "control without label"),
        ({"exposure_h": "1440000"}, "must lie between"),
        ({"iron_per_cell_pg": "0.01"}, "are units mixed?"),
        ({"iron_per_cell_pg": "10000"}, "the unit is in the column's name"),
        ({"dose_ug_per_ml": "50 mM"}, "must hold a number"),
        (dict.fromkeys(HEADER, "n/a"), "must name its cell_type"),
        (dict.fromkeys(HEADER[1:], "n/a"), "must fill one of"),
    ],
)
def test_bad_assays_are_refused_in_a_sentence(ferrosight, tmp_path, changes, said):
    row = {
        "cell_type": "MSC", "particle": "A", "assay": "icp", "dose_ug_per_ml": "50", "exposure_h": "24",
        "iron_per_cell_pg": "10",
    }  # fmt: skip
    path = write_tsv(tmp_path / "assays.tsv", [row, {**row, **changes}])
    out = tmp_path / "fit.json"
    assert said in ferrosight("uptake", "fit", path, "--out", out).assert_refused()
    assert not out.exists()


def test_an_empty_or_missing_table_is_refused(ferrosight, tmp_path):
    assert "hold none" in ferrosight("uptake", "fit", write_tsv(tmp_path / "empty.tsv", [])).assert_refused()
    assert "no such file" in ferrosight("uptake", "fit", tmp_path / "none.tsv").assert_refused()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "give one of both"),
        (["--fit", "FIT"], "--cell-type and --particle must name one"),
        (["--fit", "FIT", "--cell-type", "medium"], "--cell-type and --particle must name one"),
        (["--fit", "FIT", "--cell-type", "large", "--exposure-h", ""], "needs --dose-ug-per-ml"),
        (["--fit", "FIT", "--cell-type", "large", "--days", "zero"], "expects numbers between commas"),
        (["--fit", "FIT", "--cell-type", "large", "--days", "-1"], "imaging days"),
        (["--fit", "FIT", "--cell-type", "large", "--doubling-time-h", "0"], "must be positive"),
        (["--fit", "FIT", "--cell-type", "large", "--doubling-time-h", "20,3,4"], "MEAN or MEAN,SD"),
        (["--fit", "FIT", "--cell-type", "large", "--division-share", "0.2"], "between 0.5 and 1"),
        (["--fit", "FIT", "--cell-type", "large", "--endosomes", "0"], "at least one vesicle"),
        (["--receptors-per-cell", "1e5"], "needs --particles-per-receptor"),
    ],
)
def test_bad_predictions_are_refused_in_a_sentence(ferrosight, assays, tmp_path, options, said):
    fit, out = tmp_path / "fit.json", tmp_path / "load.tsv"
    ferrosight("uptake", "fit", assays, "--out", fit)
    asked = [str(fit) if option == "FIT" else option for option in options]
    if "--fit" in asked and "--exposure-h" not in asked:
        asked += ["--dose-ug-per-ml", "50", "--exposure-h", "24"]
    if "" in asked:
        asked = asked[: asked.index("--exposure-h")]
    assert said in ferrosight("uptake", "predict", out, *asked).assert_refused()
    assert not out.exists()


def test_a_column_in_another_unit_is_refused(ferrosight, tmp_path):
    path = tmp_path / "assays.tsv"
    path.write_text(
        "cell_type\tparticle\tassay\tdose_ug_per_ml\texposure_h\tiron_per_cell_ng\nMSC\tA\ticp\t50\t24\t1\n"
    )
    said = ferrosight("uptake", "fit", path).assert_refused()
    assert "iron_per_cell_ng" in said
    assert "convert to the unit in the name" in said


def test_a_table_of_empty_rows_is_refused(ferrosight, tmp_path):
    path = tmp_path / "assays.tsv"
    path.write_text("\t".join(HEADER) + "\n" + ("\t" * (len(HEADER) - 1) + "\n") * 3, encoding="utf-8")
    assert "must hold at least one row of measurements" in ferrosight("uptake", "fit", path).assert_refused()


def test_outputs_need_their_endings(ferrosight, assays, tmp_path):
    assert ".json" in ferrosight("uptake", "fit", assays, "--out", tmp_path / "fit.tsv").assert_refused()
    assert ".tsv" in ferrosight("uptake", "predict", tmp_path / "load.csv").assert_refused()
    assert ".svg" in ferrosight("uptake", "fit", assays, "--plot", tmp_path / "fit.doc").assert_refused()
    assert ".html" in ferrosight("uptake", "fit", assays, "--page", tmp_path / "none" / "fit.html").assert_refused()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--day", "7"], "--uptake gives"),
        (["--sweep", "day=0,7"], "--uptake gives"),
        (["--uptake", "none.tsv"], "no such file"),
    ],
)
def test_limit_without_a_course_knows_no_day(ferrosight, options, said):
    assert said in ferrosight("limit", *options).assert_refused()
