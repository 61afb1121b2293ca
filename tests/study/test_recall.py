"""What is finished is not done again, and what has changed is: by input, settings, version, day."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.io import read_table
from ferrosight.study import run
from ferrosight.study.run import StudyOptions, StudyOutcome, plan_study, run_study
from ferrosight.study.store import Store
from ferrosight.study.summary import CatalogueSummary, summarise_catalogue
from ferrosight.types import Config, Grid
from ferrosight.types.schema import TRACKS

OPTIONS = StudyOptions(n_cpus=1)


def go(folder: Path, out: Path, options: StudyOptions = OPTIONS, level=None, **chosen: list[str]) -> StudyOutcome:
    return run_study(plan_study(folder, out, options, **chosen), out, options, level=level)


def set_(options: StudyOptions, **settings: object) -> StudyOptions:
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    return dataclasses.replace(options, config=Config().with_settings(changed))


def analysed(stages) -> list[str]:
    """Calls since the last time, without repetitions of fields."""
    calls = [call for call in stages.calls if call in ("clusters", "report") or call.startswith("follow")]
    stages.calls.clear()
    return calls


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.tsv"))}


EVERYTHING = [*["clusters", "report"] * 3, "follow d07 d14 pre"]
#: A labelled visit alone: its baseline is searched too, since its sign of phase is not stated.
AGAIN = ["clusters", "clusters", "report"]


def test_a_finished_study_is_not_done_again(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    first = go(followed_dir, out)
    assert analysed(stages) == EVERYTHING
    before = tables(out)
    second = go(followed_dir, out)
    assert analysed(stages) == []
    assert tables(out) == before
    assert all(visit.is_reused for visit in second.visits)
    assert second.subjects[0].is_reused
    assert not first.subjects[0].is_reused
    for one, other in zip(first.visits, second.visits, strict=True):
        assert other.as_plain() == one.as_plain() | {"reused": True}
    assert second.subjects[0].notes == ("a note",)


def test_a_summary_comes_back_as_it_was(catalogue):

    summary = summarise_catalogue(catalogue, Grid((6, 5, 4), np.eye(4)))
    plain = json.loads(json.dumps(summary.as_plain()))
    assert CatalogueSummary.from_plain(plain).as_plain() == plain


def test_the_store_may_be_deleted(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    (out / "ferrosight.sqlite").unlink()
    assert go(followed_dir, out).exit_code == 0
    assert analysed(stages) == []
    with sqlite3.connect(out / "ferrosight.sqlite") as connection:
        rows = connection.execute("SELECT kind, name, state FROM work ORDER BY kind, name").fetchall()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    visits = [("visit", f"sub-01_ses-{name}", "done") for name in ("d07", "d14", "pre")]
    assert rows == [("subject", "01", "done"), *visits]


def test_only_what_changed_is_done_again(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    image = followed_dir / "sub-01/ses-d14/anat/sub-01_ses-d14_echo-1_part-mag_MEGRE.json"
    image.write_text(image.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    go(followed_dir, out)
    assert analysed(stages) == [*AGAIN, "follow d07 d14 pre"]
    go(followed_dir, out, set_(OPTIONS, link__motion_mm=0.2))
    assert analysed(stages) == ["follow d07 d14 pre"]
    sessions = followed_dir / "sub-01/sub-01_sessions.tsv"
    sessions.write_text(sessions.read_text(encoding="utf-8").replace("\t14\t", "\t15\t"), encoding="utf-8")
    go(followed_dir, out, set_(OPTIONS, link__motion_mm=0.2))
    assert analysed(stages) == ["follow d07 d14 pre"]
    go(followed_dir, out, set_(OPTIONS, clusters__q=0.01))
    assert analysed(stages) == EVERYTHING
    days = read_table(TRACKS, out / "sub-01/sub-01_tracks.tsv")["day"]
    assert sorted(days) == [-1.0, 7.0, 15.0]


def test_another_version_of_the_program_does_all_again(stages, followed_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    monkeypatch.setattr(run, "__version__", "99")
    go(followed_dir, out)
    assert analysed(stages) == EVERYTHING


def test_a_visit_without_its_summary_or_a_table_is_not_finished(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    (out / "sub-01/ses-d07/sub-01_ses-d07_summary.json").unlink()
    (out / "sub-01/ses-d14/anat/sub-01_ses-d14_clusters.tsv").unlink()
    go(followed_dir, out)
    # The tables come out as they were, and so do the tracks.
    assert analysed(stages) == [*AGAIN, "clusters", "report"]
    (out / "sub-01/sub-01_poses.json").unlink()
    go(followed_dir, out)
    assert analysed(stages) == ["follow d07 d14 pre"]


@pytest.mark.parametrize("content", [b"garbage\xff\x00", b"track_id\tsession_id\nt\n", b""])
@pytest.mark.parametrize("name", ["tracks.tsv", "poses.json", "relapse.tsv"])
def test_a_damaged_file_of_a_subject_is_made_again(stages, followed_dir, tmp_path, name, content):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    before = tables(out)
    (out / "sub-01" / f"sub-01_{name}").write_bytes(content)
    assert go(followed_dir, out).exit_code == 0
    assert analysed(stages) == ([] if name == "relapse.tsv" else ["follow d07 d14 pre"])
    assert tables(out) == before


def test_a_damaged_table_says_how_it_is_made_again(followed_dir, tmp_path, stages):
    out = tmp_path / "out"
    go(followed_dir, out)
    analysed(stages)
    tracks = out / "sub-01" / "sub-01_tracks.tsv"
    kept = tracks.read_bytes()
    tracks.write_bytes(b"garbage\xff\x00")
    with pytest.raises(InputError, match=r"sub-01_tracks\.tsv .*; remove that file and run the participant level"):
        go(followed_dir, out, level="group")
    tracks.write_bytes(kept)
    clusters = out / "sub-01/ses-d14/anat/sub-01_ses-d14_clusters.tsv"
    clusters.write_bytes(b"garbage\xff\x00")
    (subject,) = go(followed_dir, out).not_followed
    assert "sub-01_ses-d14_clusters.tsv" in subject.error
    assert subject.error.endswith("remove that file, and sub-01_ses-d14 is analysed again.")
    clusters.unlink()
    assert go(followed_dir, out).exit_code == 0


def test_a_named_session_is_analysed_again_and_its_subject_followed_from_files(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    go(followed_dir, out, sessions=["d07"])
    assert analysed(stages) == [*AGAIN, "follow d07"]
    go(followed_dir, out)
    analysed(stages)
    study = go(followed_dir, out, sessions=["d14"])
    assert "report" in analysed(stages)
    assert [visit.session for visit in study.visits] == ["d14"]
    assert study.exit_code == 0
    assert set(read_table(TRACKS, out / "sub-01/sub-01_tracks.tsv")["session_id"]) == {"pre", "d07", "d14"}


@pytest.mark.usefixtures("stages")
def test_visits_that_were_analysed_otherwise_are_not_followed_together(followed_dir, tmp_path):
    out = tmp_path / "out"
    go(followed_dir, out)
    before = tables(out)["sub-01_tracks.tsv"]
    study = go(followed_dir, out, set_(OPTIONS, clusters__q=0.01), sessions=["d14"])
    assert study.exit_code == 1
    assert "sub-01_ses-d07 was analysed with other settings" in study.not_followed[0].error
    assert tables(out)["sub-01_tracks.tsv"] == before


def test_a_subject_that_cannot_be_followed_is_reported_and_the_study_goes_on(stages, bids_dir, tmp_path):
    stages.not_followed = {"01"}
    out, told = tmp_path / "out", []
    study = run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS, on_subject=told.append)
    assert study.exit_code == 1
    assert not study.failed
    assert [one.subject for one in study.not_followed] == ["01"]
    assert told == list(study.subjects)
    assert (out / "sub-02/sub-02_tracks.tsv").exists()
    assert not (out / "sub-01/sub-01_tracks.tsv").exists()
    assert Store(out / "ferrosight.sqlite").read("subject", "01").error
    content = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [one["status"] for one in content["subjects"]] == ["failed", "done"]


def test_a_failed_visit_is_left_out_of_the_tracks_and_tried_again(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    moved = [
        (path, path.with_name("hidden")) for path in (followed_dir / "sub-01/ses-d14/anat").glob("*echo-2*phase*gz")
    ]
    for path, away in moved:
        path.rename(away)
    study = go(followed_dir, out)
    assert [visit.session for visit in study.failed] == ["d14"]
    assert "sub-01_ses-d14 is not followed" in study.subjects[0].notes[0]
    assert analysed(stages)[-1] == "follow d07 pre"
    for path, away in moved:
        away.rename(path)
    assert go(followed_dir, out).exit_code == 0
    assert analysed(stages) == [*AGAIN, "follow d07 d14 pre"]


def test_levels_share_the_work(stages, followed_dir, tmp_path):
    out = tmp_path / "out"
    assert go(followed_dir, out, level="group").exit_code == 2
    assert not out.exists()
    first = go(followed_dir, out, level="participant")
    assert not (out / "summary.json").exists()
    analysed(stages)
    study = go(followed_dir, out, level="group")
    assert analysed(stages) == []
    assert study.exit_code == 0
    assert [visit.name for visit in study.visits] == [visit.name for visit in first.visits]
    assert (out / "summary.json").exists()


def test_the_group_level_says_what_failed_and_what_is_missing(stages, bids_dir, tmp_path):
    out = tmp_path / "out"
    go(bids_dir, out, level="participant", subjects=["02"])
    study = go(bids_dir, out, level="group")
    assert study.exit_code == 1
    assert "not been analysed yet" in study.failed[0].error
    stages.failing = {"01"}
    go(bids_dir, out, level="participant")
    assert "its mask is empty" in go(bids_dir, out, level="group").failed[0].error


@pytest.mark.usefixtures("stages")
def test_of_a_session_with_several_scans_the_usual_one_is_followed(tmp_path, followed_dir):
    anat = followed_dir / "sub-01/ses-d07/anat"
    for path in list(anat.iterdir()):
        (anat / path.name.replace("ses-d07_", "ses-d07_acq-long_")).write_bytes(path.read_bytes())
    study = go(followed_dir, tmp_path / "out")
    assert len(study.visits) == 4
    assert "sub-01_ses-d07, and not sub-01_ses-d07_acq-long" in study.subjects[0].notes[0]
