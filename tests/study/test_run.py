"""A study goes on past a failure, writes what it promises, and never touches its input."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import BidsError, InputError, LabelError
from ferrosight.io import read_nifti, read_table
from ferrosight.physics.labels import get_label
from ferrosight.study import plan
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import CLUSTERS, FITS, NULLS, Config, IronPerCell

OPTIONS = StudyOptions(n_cpus=1)


def files_under(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("stages")
def test_every_visit_leaves_its_products_and_the_input_is_untouched(bids_dir, tmp_path):
    before, out = files_under(bids_dir), tmp_path / "out"
    study = run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS)
    assert study.exit_code == 0
    assert [visit.name for visit in study.visits] == ["sub-01", "sub-02_ses-d07"]
    tables = [f"{name}.{end}" for name in ("clusters", "fits", "nulls") for end in ("tsv", "json")]
    maps = [f"{name}.{end}" for name in ("fieldmap", "evidence") for end in ("nii.gz", "json")]
    one = {f"sub-01/anat/sub-01_{name}" for name in [*tables, *maps, "R2starmap.nii.gz", "R2starmap.json"]}
    two = {f"sub-02/ses-d07/anat/sub-02_ses-d07_{name}" for name in [*tables, *maps]}  # one echo has no R2*
    pages = {f"{stem}_{name}" for stem in ("sub-01/sub-01", "sub-02/ses-d07/sub-02_ses-d07") for name in PAGES}
    of_subject = ("tracks.tsv", "tracks.json", "poses.json", "relapse.tsv", "relapse.json", "desc-subject_report.html")
    subjects = {f"sub-{n}/sub-{n}_{name}" for n in ("01", "02") for name in of_subject}
    study_files = {"dataset_description.json", "summary.json", "ferrosight.sqlite", "report.html"}
    assert set(files_under(out)) == one | two | pages | subjects | study_files
    assert files_under(bids_dir) == before


PAGES = ("report.html", "summary.json")


@pytest.mark.usefixtures("stages")
def test_tables_and_maps_read_back_as_they_were(bids_dir, tmp_path, catalogue):
    options = dataclasses.replace(OPTIONS, label=get_label("ferumoxides"))
    run_study(plan_study(bids_dir, tmp_path / "out", options), tmp_path / "out", options)
    anat = tmp_path / "out" / "sub-01" / "anat"
    clusters = read_table(CLUSTERS, anat / "sub-01_clusters.tsv")
    np.testing.assert_array_equal(clusters["moment_am2"], catalogue.clusters["moment_am2"])
    assert clusters["iron_pg"][0] == pytest.approx(1.0)
    assert len(read_table(FITS, anat / "sub-01_fits.tsv")) == 3
    assert len(read_table(NULLS, anat / "sub-01_nulls.tsv")) == 0
    evidence = read_nifti(anat / "sub-01_evidence.nii.gz")
    assert (evidence.data == 2).all()  # the dipole, not a decoy
    assert evidence.grid.voxel_mm == pytest.approx((0.1, 0.2, 0.15))
    limit = read_nifti(anat / "sub-01_limit.nii.gz")
    assert (limit.data > 0).all()
    sidecar = json.loads((anat / "sub-01_limit.json").read_text(encoding="utf-8"))
    assert (sidecar["Units"], sidecar["Power"], sidecar["FalseAlarmsPerScan"]) == ("pg", 0.9, 1.0)


def test_the_summary_says_how_to_do_it_again(stages, bids_dir, tmp_path):
    options = dataclasses.replace(OPTIONS, config=Config().with_settings({"clusters.q": 0.01}))
    run_study(plan_study(bids_dir, tmp_path / "out", options), tmp_path / "out", options)
    summary = json.loads((tmp_path / "out" / "sub-01" / "sub-01_summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["clusters.q"] == 0.01
    assert summary["catalogue"]["n_accepted"] == 2
    assert summary["wall_s"] > 0
    assert summary["n_cpus"] == 1
    hashes = files_under(bids_dir)
    expected = {name: digest for name, digest in hashes.items() if name.startswith("sub-01/")}
    assert summary["inputs_sha256"] == expected  # images and sidecars alike
    assert stages.provenance["inputs_sha256"] == {
        name: digest for name, digest in hashes.items() if name.startswith("sub-02/")
    }  # the report of the last visit


def test_a_failed_visit_is_recorded_and_the_study_goes_on(stages, bids_dir, tmp_path):
    stages.failing = {"01"}
    seen = []
    out = tmp_path / "out"
    study = run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS, on_visit=seen.append)
    assert study.exit_code == 1
    assert [visit.name for visit in study.failed] == ["sub-01"]
    assert "its mask is empty" in study.failed[0].error
    assert seen == list(study.visits)
    assert not (out / "sub-01").exists()
    assert (out / "sub-02" / "ses-d07" / "anat" / "sub-02_ses-d07_clusters.tsv").exists()
    recorded = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [visit["status"] for visit in recorded["visits"]] == ["failed", "done"]


def test_where_every_visit_fails_nothing_is_written(stages, bids_dir, tmp_path):
    stages.failing = {"01", "02"}
    out = tmp_path / "out"
    assert run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS).exit_code == 2
    assert not out.exists()


def test_a_failure_leaves_earlier_products_as_they_were(stages, bids_dir, tmp_path):
    out = tmp_path / "out"
    planned = plan_study(bids_dir, out, OPTIONS)
    run_study(planned, out, OPTIONS)
    before = files_under(out)
    stages.failing = {"01", "02"}
    changed = dataclasses.replace(OPTIONS, config=Config().with_settings({"clusters.q": 0.01}))
    assert run_study(planned, out, changed).exit_code == 2
    store = {"ferrosight.sqlite": before["ferrosight.sqlite"]}  # says that it failed
    assert files_under(out) | store == before


def test_a_programming_error_rises(stages, bids_dir, tmp_path):
    stages.raising = KeyError("oops")
    with pytest.raises(KeyError):
        run_study(plan_study(bids_dir, tmp_path / "out", OPTIONS), tmp_path / "out", OPTIONS)


def test_chosen_subjects_and_sessions_only(bids_dir, tmp_path):
    def names(**chosen: list[str]) -> list[str]:
        return [visit.files.name for visit in plan_study(bids_dir, tmp_path / "out", OPTIONS, **chosen)]

    assert names(subjects=["02"]) == ["sub-02_ses-d07"]
    assert names(subjects=["sub-01"]) == ["sub-01"]
    assert names(sessions=["d07"]) == ["sub-02_ses-d07"]
    with pytest.raises(BidsError, match="03"):
        names(subjects=["03"])


def test_the_label_comes_from_the_option_then_from_participants(bids_dir, tmp_path):
    table = "participant_id\tlabel\nsub-01\tvsop\nsub-02\tn/a\n"
    (bids_dir / "participants.tsv").write_text(table, encoding="utf-8")
    planned = plan_study(bids_dir, tmp_path / "out", OPTIONS)
    assert [visit.label.label_id if visit.label else None for visit in planned] == ["vsop", None]
    chosen = dataclasses.replace(OPTIONS, label=get_label("citrate"))
    planned = plan_study(bids_dir, tmp_path / "out", chosen)
    assert [visit.label.label_id if visit.label else None for visit in planned] == ["citrate", "citrate"]
    (bids_dir / "participants.tsv").write_text(table.replace("vsop", "rust"), encoding="utf-8")
    with pytest.raises(LabelError, match="rust"):
        plan_study(bids_dir, tmp_path / "out", OPTIONS)


@pytest.mark.usefixtures("stages")
def test_iron_per_cell_reaches_the_numbers(bids_dir, tmp_path):
    options = dataclasses.replace(OPTIONS, label=get_label("ferumoxides"), iron_per_cell=IronPerCell(0.5, 0.1, "assay"))
    study = run_study(plan_study(bids_dir, tmp_path / "out", options), tmp_path / "out", options)
    summary = study.visits[0].summary
    assert summary is not None
    assert summary.n_cells.value == pytest.approx(2 * summary.iron_pg.value)


def test_output_inside_the_input_is_refused(bids_dir):
    with pytest.raises(BidsError, match="BIDS_DIR"):
        plan_study(bids_dir, bids_dir / "out", OPTIONS)


def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(bids_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(plan.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="must be writable"):
        plan_study(bids_dir, tmp_path / "out", OPTIONS)


def summary_of(out: Path, session: str) -> dict[str, Any]:
    path = out / "sub-01" / f"ses-{session}" / f"sub-01_ses-{session}_summary.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_baseline_comes_first_and_every_labelled_visit_is_held_against_it(stages, followed_dir, tmp_path):
    planned = plan_study(followed_dir, tmp_path / "out", OPTIONS)
    assert [visit.files.session for visit in planned] == ["pre", "d07", "d14"]
    run_study(planned, tmp_path / "out", OPTIONS)
    # The sign of phase that the search settled is the baseline's; the baseline itself is searched once.
    compared = [call for call in stages.calls if "against" in call]
    assert compared == ["d07 against pre POSITIVE", "d14 against pre POSITIVE"]
    assert stages.calls.count("clusters") == 3
    before = summary_of(tmp_path / "out", "pre")
    assert before["is_baseline"]
    assert before["baseline"] is None
    assert before["catalogue"]["n_accepted"] == 0
    assert before["catalogue"]["rejected_by_reason"]["baseline_scan"] == 3
    clusters = read_table(CLUSTERS, tmp_path / "out/sub-01/ses-pre/anat/sub-01_ses-pre_clusters.tsv")
    assert len(clusters) == 3


def test_the_provenance_changes_with_the_baseline(stages, followed_dir, tmp_path):
    def provenance(out: str) -> dict[str, Any]:
        options = dataclasses.replace(OPTIONS)
        run_study(plan_study(followed_dir, tmp_path / out, options, sessions=["d07"]), tmp_path / out, options)
        return summary_of(tmp_path / out, "d07")

    first = provenance("one")
    assert first["baseline"] == "sub-01_ses-pre"
    images = {name for name in files_under(followed_dir) if name.startswith("sub-01/ses-pre/")}
    assert set(first["baseline_sha256"]) == images
    # Not chosen, so it leaves nothing, but it is measured.
    assert not (tmp_path / "one" / "sub-01" / "ses-pre").exists()
    assert "d07 against pre POSITIVE" in stages.calls
    echo = followed_dir / "sub-01/ses-pre/anat/sub-01_ses-pre_echo-1_part-mag_MEGRE.json"
    echo.write_text(echo.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    second = provenance("two")
    assert second["inputs_sha256"] == first["inputs_sha256"]
    assert second["baseline_sha256"] != first["baseline_sha256"]


def lose_phase(folder):
    for image in folder.glob("*part-phase*"):
        image.unlink()


def break_sidecar(folder):
    next(folder.glob("*echo-1_part-mag*.json")).write_text("{", encoding="utf-8")


def leave_dangling_link(folder):
    image = next(folder.glob("*echo-1_part-mag*.nii*"))
    image.unlink()
    image.symlink_to(folder / "never-fetched")


@pytest.mark.usefixtures("stages")
@pytest.mark.parametrize("spoil", [lose_phase, break_sidecar, leave_dangling_link])
def test_a_baseline_that_fails_is_said_and_the_visits_are_judged_without(spoil, followed_dir, tmp_path):
    spoil(followed_dir / "sub-01" / "ses-pre" / "anat")
    study = run_study(plan_study(followed_dir, tmp_path / "out", OPTIONS), tmp_path / "out", OPTIONS)
    assert [visit.name for visit in study.failed] == ["sub-01_ses-pre"]
    notes = summary_of(tmp_path / "out", "d14")["catalogue"]["notes"]
    assert any("Judged without a baseline: the baseline sub-01_ses-pre could not be analysed" in one for one in notes)


def test_a_malformed_sessions_table_is_refused_before_any_work(stages, followed_dir, tmp_path):
    table = followed_dir / "sub-01" / "sub-01_sessions.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("true", "perhaps"), encoding="utf-8")
    with pytest.raises(BidsError, match=r"sub-01_sessions\.tsv: baseline must be true, false or n/a.*perhaps"):
        plan_study(followed_dir, tmp_path / "out", OPTIONS)
    assert stages.calls == []
