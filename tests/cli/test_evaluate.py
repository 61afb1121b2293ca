"""Numbers and exit codes of an evaluation of anybody's tables."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def tables(tmp_path):
    """Two scans as another program might write them: few columns, one of them empty."""
    texts = {
        "out/sub-1/ses-a/anat/sub-1_ses-a_clusters.tsv": (
            "x_mm\ty_mm\tz_mm\tiron_pg\tiron_pg_low\tiron_pg_high\tscore\tstatus\n"
            "0\t0\t0.05\t11\t9\t12\t8\taccepted\n"
            "5\t0\t2.5\t40\t30\t50\t7\taccepted\n"
            "8\t8\t8\tn/a\tn/a\tn/a\t4\trejected\n"
        ),
        "out/sub-1/ses-b/anat/sub-1_ses-b_clusters.tsv": "x_mm\ty_mm\tz_mm\n",
        "truth/sub-1_ses-a_truth.tsv": (
            "x_mm\ty_mm\tz_mm\tiron_pg\tkind\taxis_z_mm\n0\t0\t0\t10\tlabelled\tn/a\n5\t0\t0\tn/a\tvein\t3\n"
        ),
        "truth/sub-1_ses-b_truth.tsv": "x_mm\ty_mm\tz_mm\tiron_pg\tkind\n0\t0\t0\t10\tlabelled\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_one_json_object_on_standard_output(ferrosight, tables):
    ended = ferrosight("evaluate", tables / "out", tables / "truth", "--json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert (found["exit_code"], found["match_mm"], found["visits"]) == (0, 0.1, ["sub-1_ses-a", "sub-1_ses-b"])
    recall, bias = found["detection"]["recall"], found["calibration"]["bias"]
    assert (recall["count"], recall["total"], recall["value"]) == (1, 2, 0.5)
    assert [(one["column"], one["mean"]["value"]) for one in bias] == [("iron_pg", pytest.approx(0.1))]
    assert bias[0]["mean"]["low"] is None
    assert [one["interval"] for one in found["calibration"]["coverage"]] == ["iron_pg_low to iron_pg_high"]
    on = {one["kind"]: one["accepted"]["count"] for one in found["detection"]["confusers"]}
    assert on == {"vein": 1, "duplicate": 0, "background": 0}
    (curve,) = found["detection"]["froc"]
    assert (curve["candidates"], curve["score"], curve["recall"]) == ("all", [8.0, 4.0], [0.5, 0.5])
    assert curve["false_per_scan"] == [0.0, 1.0]


def test_tables_for_people(ferrosight, tables):
    ended = ferrosight("evaluate", tables / "out", tables / "truth", "--match-mm", "0.2")
    assert ended.code == 0
    assert "2 scans; matched within 0.2 mm (as given)" in ended.out
    rows = {line.split("  ")[0]: line for line in ended.out.splitlines()}
    assert "50.0 % (1.3 to 98.7)" in rows["labelled clusters found"]
    assert "1 of 1" in rows["vein"]
    assert "+10.0 %" in rows["iron_pg"]
    assert "nan" not in ended.out


def test_a_smaller_distance_finds_less(ferrosight, tables):
    found = json.loads(ferrosight("evaluate", tables / "out", tables / "truth", "--json", "--match-mm", 0.04).out)
    assert found["detection"]["recall"]["count"] == 0
    assert found["calibration"] == {"bias": [], "coverage": []}


def test_files_are_written_where_asked(ferrosight, tables):
    ended = ferrosight("evaluate", tables / "out", tables, "--out", tables / "new", "--json")
    assert ended.code == 0
    names = {"evaluation.json", "recall.svg", "froc.svg", "confusers.svg", "calibration.svg"}
    assert {path.name for path in (tables / "new").iterdir()} == names
    assert json.loads((tables / "new" / "evaluation.json").read_text(encoding="utf-8")) == json.loads(ended.out)
    assert all(str(tables / "new" / name) in ended.err for name in names)


def test_a_truth_without_catalogue_is_exit_code_1(ferrosight, tables):
    (tables / "out/sub-1/ses-b/anat/sub-1_ses-b_clusters.tsv").unlink()
    ended = ferrosight("evaluate", tables / "out", tables / "truth", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["without_catalogue"] == ["sub-1_ses-b"]
    assert "sub-1_ses-b has a truth but no catalogue" in ended.err


def test_a_catalogue_without_truth_is_said(ferrosight, tables):
    (tables / "truth/sub-1_ses-b_truth.tsv").unlink()
    ended = ferrosight("evaluate", tables / "out", tables / "truth")
    assert ended.code == 0
    assert "sub-1_ses-b has a catalogue but no truth" in ended.err


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (("out", None), (), "must be a folder"),
        (("truth/sub-1_ses-a_truth.tsv", "x_mm\ty_mm\tz_mm\tkind\n0\t0\tfar\tair\n"), (), "z_mm must hold a number"),
        (("truth/sub-1_ses-a_truth.tsv", "x_mm\ty_mm\n"), (), "must have the column(s) z_mm, kind"),
        (("truth/sub-1_ses-a_truth.json", '{"VoxelMm": [1, 1, 1]}'), (), "say --match-mm"),
        (None, ("--match-mm", "0"), "positive number of mm"),
        (None, ("--match-mm", "nan"), "positive number of mm"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(ferrosight, tables, change, options, said):
    out = tables / "out"
    if change is not None:
        name, text = change
        if text is None:
            out = tables / "no-such-folder"
        else:
            (tables / name).write_text(text, encoding="utf-8")
    assert said in ferrosight("evaluate", out, tables / "truth", *options).assert_refused()


def test_nothing_is_written_where_the_input_is_bad(ferrosight, tables):
    ferrosight("evaluate", tables / "truth", tables / "truth", "--out", tables / "new").assert_refused()
    assert not (tables / "new").exists()
