"""Anybody's tables are read; what is wrong with them is said with file, row and column."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ferrosight.errors import BidsError
from ferrosight.io import KnownVisitFiles, find_known_visits, read_known_visit, read_truth_voxel

CLUSTERS = "x_mm\ty_mm\tz_mm\n1\t2\t3\n"
TRUTH = "x_mm\ty_mm\tz_mm\tkind\n1\t2\t3\tlabelled\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(tmp_path: Path, clusters: str = CLUSTERS, truth: str = TRUTH):
    files = KnownVisitFiles("sub-1", put(tmp_path / "c.tsv", clusters), put(tmp_path / "t.tsv", truth))
    return read_known_visit(files)


def test_tables_of_the_same_scan_are_paired_wherever_they_lie(tmp_path):
    out, truth = tmp_path / "out", tmp_path / "truth"
    for name in (
        "sub-01/anat/sub-01_clusters.tsv",
        "sub-02/ses-a/anat/sub-02_ses-a_run-1_clusters.tsv",
        "sub-02/ses-a/anat/sub-02_ses-a_run-2_clusters.tsv",
        "sub-03/anat/sub-03_clusters.tsv",
        "sub-01/anat/sub-01_fits.tsv",
        "sub-01/pet/sub-01_clusters.tsv",
    ):
        put(out / name, CLUSTERS)
    for name in ("sub-01_truth.tsv", "sub-02_ses-a_truth.tsv", "sub-02_ses-a_run-2_truth.tsv", "sub-04_truth.tsv"):
        put(truth / name, TRUTH)
    for folder in (truth, tmp_path):  # the folder of truths, or the one that holds it
        found = find_known_visits(out, folder)
        assert [(files.name, files.truth.name) for files in found.visits] == [
            ("sub-01", "sub-01_truth.tsv"),
            ("sub-02_ses-a_run-1", "sub-02_ses-a_truth.tsv"),
            ("sub-02_ses-a_run-2", "sub-02_ses-a_run-2_truth.tsv"),
        ]
        assert (found.without_catalogue, found.without_truth) == (("sub-04",), ("sub-03",))


@pytest.mark.parametrize(
    ("clusters", "truth", "said"),
    [
        ("sub-01/anat/sub-01_clusters.tsv", None, "must be a folder"),
        (None, "truth/sub-01_truth.tsv", "must be a folder"),
        ("sub-01/anat/sub-01_clusters.tsv", "truth/notes.txt", "holds none"),
        ("sub-01/sub-01_clusters.tsv", "truth/sub-01_truth.tsv", "holds none"),
        ("sub-01/anat/sub-01_clusters.tsv", "truth/sub-02_truth.tsv", "catalogues of sub-01 and truths of sub-02"),
        ("sub-0_1/anat/sub-0_1_clusters.tsv", "truth/sub-01_truth.tsv", "letters and digits"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, clusters, truth, said):
    for name, text in ((clusters, CLUSTERS), (truth, TRUTH)):
        if name:
            put(tmp_path / ("out" if name == clusters else "") / name, text)
    with pytest.raises(BidsError, match=said):
        find_known_visits(tmp_path / "out", tmp_path / "truth")


def test_two_truths_of_one_scan_are_refused(tmp_path):
    put(tmp_path / "out/sub-01/anat/sub-01_clusters.tsv", CLUSTERS)
    put(tmp_path / "sub-01_truth.tsv", TRUTH)
    put(tmp_path / "truth/sub-01_truth.tsv", TRUTH)
    with pytest.raises(BidsError, match="must have one table"):
        find_known_visits(tmp_path / "out", tmp_path)


def test_positions_are_enough_and_every_row_is_then_accepted(tmp_path):
    visit = read(tmp_path)
    assert visit.clusters["status"].tolist() == ["accepted"]
    assert np.isnan(visit.clusters["score"]).all()
    assert visit.truth["kind"].tolist() == ["labelled"]
    assert np.isnan(visit.truth["iron_pg"]).all()


def test_other_columns_in_any_order_are_no_trouble(tmp_path):
    visit = read(tmp_path, "colour\tz_mm\tstatus\tiron_pg\ty_mm\tx_mm\nred\t3\trejected\tn/a\t2\tn/a\n")
    assert visit.clusters["y_mm"].tolist() == [2.0]
    assert np.isnan([visit.clusters["x_mm"][0], visit.clusters["iron_pg"][0]]).all()


def test_a_heading_alone_is_an_empty_table(tmp_path):
    visit = read(tmp_path, "x_mm\ty_mm\tz_mm\n", "x_mm\ty_mm\tz_mm\tkind\n")
    assert (len(visit.clusters), len(visit.truth)) == (0, 0)


@pytest.mark.parametrize(
    ("clusters", "truth", "said"),
    [
        ("x_mm\ty_mm\n1\t2\n", TRUTH, r"c\.tsv must have the column\(s\) z_mm"),
        ("", TRUTH, "is empty"),
        ("x_mm\ty_mm\tz_mm\n1\t2\n", TRUTH, "line 2: expected 3 values"),
        ("x_mm\ty_mm\tz_mm\n1\ttwo\t3\n", TRUTH, "line 2: column y_mm must hold a number"),
        ("x_mm\ty_mm\tz_mm\n1\tn/a\t3\n", TRUTH, "row 1: an accepted cluster must have a position"),
        ("x_mm\ty_mm\tz_mm\n1\tinf\t3\n", TRUTH, "row 1: y_mm must be a finite number"),
        ("x_mm\ty_mm\tz_mm\tscore\n1\t2\t3\tinf\n", TRUTH, "score must be a finite number"),
        ("x_mm\ty_mm\tz_mm\tstatus\n1\t2\t3\taccepted\n1\t2\t3\tmaybe\n", TRUTH, "row 2: status must be"),
        ("x_mm\ty_mm\tz_mm\tstatus\n1\t2\t3\taccepted\n1\t2\t3\tn/a\n", TRUTH, "but is n/a"),
        (CLUSTERS, "x_mm\ty_mm\tz_mm\n1\t2\t3\n", r"t\.tsv must have the column\(s\) kind"),
        (CLUSTERS, "x_mm\ty_mm\tz_mm\tkind\n1\t2\t3\tn/a\n", "row 1: kind must say"),
        (CLUSTERS, "x_mm\ty_mm\tz_mm\tkind\nn/a\t2\t3\tair\n", "row 1: a body of the truth must have a position"),
        (CLUSTERS, "x_mm\ty_mm\tz_mm\tkind\tradius_mm\n1\t2\t3\tair\t-1\n", "zero or more"),
        (CLUSTERS, "x_mm\ty_mm\tz_mm\tkind\taxis_x_mm\n1\t2\t3\tvein\tinf\n", "axis_x_mm must be a finite number"),
    ],
)
def test_a_malformed_table_is_refused_with_its_place(tmp_path, clusters, truth, said):
    with pytest.raises(BidsError, match=said):
        read(tmp_path, clusters, truth)


def test_the_voxel_is_read_where_it_is_given(tmp_path):
    truth, described = tmp_path / "sub-01_truth.tsv", tmp_path / "sub-01_truth.json"
    assert read_truth_voxel(truth) is None
    put(described, json.dumps({"Seed": 3}))
    assert read_truth_voxel(truth) is None
    put(described, json.dumps({"VoxelMm": [0.1, 0.2, 0.3]}))
    assert read_truth_voxel(truth) == (0.1, 0.2, 0.3)
    for wrong in ([0.1, 0.2], [0.1, 0.2, 0.0], 0.1, ["a", "b", "c"]):
        put(described, json.dumps({"VoxelMm": wrong}))
        with pytest.raises(BidsError, match="three positive edges"):
            read_truth_voxel(truth)
    put(described, "{")
    with pytest.raises(BidsError, match="JSON"):
        read_truth_voxel(truth)
