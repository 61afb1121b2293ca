"""``run`` on small real data sets: what it prints, writes, refuses, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferrosight.cli.run import parse_iron_per_cell
from ferrosight.errors import LabelError
from ferrosight.io import write_calibration, write_scan
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Calibration, Scan

SHAPE = (30, 26, 22)
SPEC = ScanSpec(
    shape=SHAPE,
    affine=build_affine(SHAPE, (0.1, 0.1, 0.12)),
    echo_times_s=(0.005, 0.010),
    b0_t=7.0,
    sources=(Point((0.1, 0.2, 0.0), 3e-12),),
    snr=40.0,
    r2star_per_s=30.0,
)


@pytest.fixture(scope="session")
def small_scan() -> Scan:
    return simulate_scan(SPEC, 3)[0]


def _as_subject(scan: Scan, subject: str, session: str = "") -> Scan:
    fields = ("signal", "echo_times_s", "b0_t", "affine", "b0_direction", "phase_sign")
    return Scan(**{name: getattr(scan, name) for name in fields}, subject=subject, session=session)


@pytest.fixture
def bids_dir(tmp_path: Path, small_scan: Scan) -> Path:
    """Two subjects; the second has no phase."""
    folder = tmp_path / "study"
    write_scan(_as_subject(small_scan, "01"), folder)
    write_scan(_as_subject(small_scan, "02", "d07"), folder)
    for path in folder.glob("sub-02/**/*part-phase*"):
        path.unlink()
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_damaged_image_is_one_sentence_and_the_library_that_reads_it_says_nothing_besides(bids_dir, tmp_path):
    for path in bids_dir.glob("sub-02/**/*.nii.gz"):
        path.write_bytes(b"garbage" * 100)
    for path in bids_dir.glob("sub-02/**/*part-mag*.nii.gz"):
        phase = path.with_name(path.name.replace("part-mag", "part-phase"))
        phase.write_bytes(path.read_bytes())
    code = "import sys; from ferrosight.cli import main; main(sys.argv[1:])"
    asked = [sys.executable, "-c", code, "run", bids_dir, tmp_path / "out", "--participant-label", "02"]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    said = [line for line in ended.stderr.splitlines() if line != "sub-02_ses-d07: reading"]
    assert len(said) == 1
    assert said[0].startswith("error: sub-02_ses-d07: ")
    assert "truncated or corrupt" in said[0]


@pytest.mark.slow
def test_one_good_visit_ends_with_0_and_a_readable_table(ferrosight, bids_dir, tmp_path):
    before, out = _hashes(bids_dir), tmp_path / "out"
    ended = ferrosight("run", bids_dir, out, "participant", "--participant-label", "01", "--label", "ferumoxides")
    assert ended.code == 0
    for said in ("sub-01", "accepted", "total moment", "total iron", "opposite", "phase sign", "χ²/dof", "report"):
        assert said in ended.out
    assert "1 of 1 visits analysed" in ended.out
    assert (out / "sub-01" / "sub-01_report.html").stat().st_size > 1000
    assert (out / "sub-01" / "anat" / "sub-01_clusters.tsv").exists()
    assert "tracks through its visits" in ended.out
    assert (out / "sub-01" / "sub-01_tracks.tsv").exists()
    again = ferrosight("run", bids_dir, out, "participant", "--participant-label", "01", "--label", "ferumoxides")
    assert "nothing has changed" in again.out
    assert _hashes(bids_dir) == before


@pytest.mark.slow
def test_one_failed_visit_of_two_ends_with_1_and_the_other_is_done(ferrosight, bids_dir, tmp_path):
    out = tmp_path / "out"
    ended = ferrosight("run", bids_dir, out, "--n-cpus", "1", "--json")
    assert ended.code == 1
    content = json.loads(ended.out)
    assert [visit["status"] for visit in content["visits"]] == ["done", "failed"]
    assert content["exit_code"] == 1
    assert "phase" in content["visits"][1]["error"]
    assert "error: sub-02_ses-d07: " in ended.err
    assert "Traceback" not in ended.err
    assert (out / "sub-01" / "sub-01_report.html").exists()
    assert not (out / "sub-02").exists()


def test_no_visit_that_could_be_analysed_ends_with_2_and_nothing_written(ferrosight, bids_dir, tmp_path):
    ended = ferrosight("run", bids_dir, tmp_path / "out", "--participant-label", "02")
    assert ended.code == 2
    assert "error: sub-02_ses-d07: " in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_the_group_level_analyses_nothing_and_says_what_is_missing(ferrosight, bids_dir, tmp_path):
    ended = ferrosight("run", bids_dir, tmp_path / "out", "group")
    assert ended.code == 2
    assert "error: sub-01: it has not been analysed yet; run the participant level." in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_visits_images_and_settings_and_writes_nothing(ferrosight, bids_dir, tmp_path):
    out = tmp_path / "out"
    ended = ferrosight("run", bids_dir, out, "--dry-run", "--q", "0.01", "--label", "vsop")
    assert ended.code == 0
    for said in ("sub-01  (label: vsop)", "sub-02_ses-d07", "part-mag_MEGRE.nii.gz", "clusters.q = 0.01"):
        assert said in ended.out
    content = json.loads(ferrosight("run", bids_dir, out, "--dry-run", "--json", "--session-label", "d07").out)
    assert [visit["visit"] for visit in content["visits"]] == ["sub-02_ses-d07"]
    assert content["visits"][0]["label"] is None
    assert not out.exists()


def test_settings_come_from_the_file_and_the_command_line_wins(ferrosight, bids_dir, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[clusters]\nq = 0.01\nscreen_z = 6\n", encoding="utf-8")
    ended = ferrosight(
        "run", bids_dir, tmp_path / "out", "--dry-run", "--json", "--config", path, "--set", "clusters.screen_z=5",
        "--alpha", "0.01", "--study-kind", "targeted",
    )  # fmt: skip
    settings = json.loads(ended.out)["settings"]
    assert (settings["clusters.q"], settings["clusters.screen_z"], settings["relapse.alpha"]) == (0.01, 5.0, 0.01)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label", "feridex"], "there is no label 'feridex'"),
        (["--label", "ours.toml"], "there is no label file"),
        (["--iron-per-cell-pg", "ten"], "expects MEAN or MEAN,SD"),
        (["--iron-per-cell-pg", "-3"], "positive number of pg"),
        (["--uptake", "none.tsv"], "no such file"),
        (["--uptake", "none.tsv", "--iron-per-cell-pg", "10"], "and --uptake were given"),
        (["--calibration", "none.toml", "--iron-per-cell-pg", "10"], "and --calibration were given"),
        (["--calibration", "none.toml"], "there is no calibration"),
        (["--q", "7"], "must lie between"),
        (["--q", "nan"], "must lie between"),
        (["--alpha", "0.9"], "alpha must lie between"),
        (["--set", "clusters.q"], "stage.setting=value"),
        (["--set", "clusters.q=many"], "must be of type float"),
        (["--set", "planning.power=0.9"], "there is no stage"),
        (["--config", "none.toml"], "there is no settings file"),
        (["--participant-label", "09"], "09"),
        (["--session-label", "d99"], "d99"),
    ],
)
def test_bad_options_are_refused_in_one_sentence_and_nothing_is_written(
    ferrosight, bids_dir, tmp_path, arguments, said
):
    error = ferrosight("run", bids_dir, tmp_path / "out", *arguments).assert_refused()
    assert said in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["--phase-sign", "up"], ["--n-cpus", "0"], ["--study-kind", "labelled"], ["everything"]]
)
def test_choices_outside_their_list_are_wrong_usage(ferrosight, bids_dir, tmp_path, arguments):
    ended = ferrosight("run", bids_dir, tmp_path / "out", *arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_bad_folders_are_refused_in_one_sentence(ferrosight, bids_dir, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    assert "there is no such folder" in ferrosight("run", tmp_path / "none", out).assert_refused()
    assert "this is a file" in ferrosight("run", bids_dir / "dataset_description.json", out).assert_refused()
    assert "empty of subjects" in ferrosight("run", empty, out).assert_refused()
    assert "BIDS_DIR" in ferrosight("run", bids_dir, bids_dir).assert_refused()
    assert "BIDS_DIR" in ferrosight("run", bids_dir, bids_dir / "results").assert_refused()
    assert not out.exists()
    assert not (bids_dir / "results").exists()


def test_iron_per_cell_without_a_spread_assumes_one_and_says_so():
    given = parse_iron_per_cell("10,0")
    assert (given.mean_pg, given.sd_pg) == (10.0, 0.0)
    assumed = parse_iron_per_cell("10")
    assert assumed.rel_sd == pytest.approx(1.86 / 10.94, rel=0.01)
    assert "assumption" in assumed.source
    with pytest.raises(LabelError, match="MEAN"):
        parse_iron_per_cell("10,2,3")


@pytest.mark.parametrize("damage", ["nan", "zeros"])
def test_a_damaged_image_fails_its_visit_with_a_sentence(ferrosight, small_scan, tmp_path, damage):
    folder = tmp_path / "study"
    (path, *_) = write_scan(_as_subject(small_scan, "01"), folder)
    import nibabel as nib

    image = nib.load(path)
    values = image.get_fdata()
    values[...] = np.nan if damage == "nan" else 0
    nib.save(nib.Nifti1Image(values.astype(np.float32), image.affine), path)
    ended = ferrosight("run", folder, tmp_path / "out")
    assert ended.code == 2
    assert path.name in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_the_load_of_each_visits_day(ferrosight, small_scan, tmp_path):
    folder, course = tmp_path / "study", tmp_path / "load.tsv"
    for session in ("d00", "d07", "d30"):
        write_scan(_as_subject(small_scan, "01", session), folder)
    lines = ["session_id\tday\tlabel_day", "ses-d00\t0\t0", "ses-d07\t7\t0", "ses-d30\t30\t0"]
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    course.write_text(
        "day\tiron_per_cell_pg\tbatch_rel_sd\tcell_cv\n0\t8\t0.2\t0.5\n14\t2\t0.3\t0.9\n", encoding="utf-8"
    )
    asked = ("run", folder, tmp_path / "out", "--dry-run", "--uptake", course)
    lines = ferrosight(*asked).out.splitlines()
    assert "sub-01_ses-d00  (label: none; 8 pg of iron per cell)" in lines
    assert "sub-01_ses-d07  (label: none; 4 pg of iron per cell)" in lines
    visits = json.loads(ferrosight(*asked, "--json").out)["visits"]
    assert [visit["iron_per_cell_pg"] for visit in visits] == pytest.approx([8.0, 4.0, None])
    assert "day 30" in visits[2]["iron_per_cell_note"]
    phantom = write_calibration(Calibration(2e-15, 0.2, 0.05, 0.5, 7.0, 12, 3, "ours"), tmp_path / "ours.toml")
    lines = ferrosight(*asked, "--calibration", phantom).out.splitlines()
    assert "sub-01_ses-d07  (label: none; 1e-15 A m² per cell)" in lines
    visits = json.loads(ferrosight(*asked, "--calibration", phantom, "--json").out)["visits"]
    assert [visit["moment_per_cell_am2"] for visit in visits] == pytest.approx([2e-15, 1e-15, None])


def test_a_dry_run_says_what_each_visit_is_held_against(ferrosight, small_scan, tmp_path):
    followed_dir, out = tmp_path / "study", tmp_path / "out"
    for session in ("d07", "d14", "pre"):
        write_scan(_as_subject(small_scan, "01", session), followed_dir)
    given = ["session_id\tday\tbaseline", "ses-pre\t-1\ttrue", "ses-d07\t7\tfalse", "ses-d14\t14\tn/a"]
    (followed_dir / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(given) + "\n", encoding="utf-8")
    lines = ferrosight("run", followed_dir, out, "--dry-run").out.splitlines()
    assert "sub-01_ses-pre  (label: none; a baseline scan itself, without label)" in lines
    assert "sub-01_ses-d07  (label: none; baseline: sub-01_ses-pre)" in lines
    table = followed_dir / "sub-01" / "sub-01_sessions.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("ses-d14\t14", "ses-d14\t-14"), encoding="utf-8")
    content = json.loads(ferrosight("run", followed_dir, out, "--dry-run", "--json").out)
    told = {visit["visit"]: (visit["is_baseline"], visit["baseline"]) for visit in content["visits"]}
    assert told["sub-01_ses-pre"] == (True, None)
    assert told["sub-01_ses-d07"] == (False, "sub-01_ses-pre")
    assert told["sub-01_ses-d14"] == (False, None)
    assert [visit["baseline_note"] for visit in content["visits"] if visit["baseline_note"]] == [
        "no baseline scan is known to be before sub-01_ses-d14 (sub-01_ses-pre)"
    ]
