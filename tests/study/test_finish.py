"""A followed subject ends with its evidence and its page, the study with one of all subjects, failures included."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ferrosight.io import read_table
from ferrosight.physics.labels import get_label
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types.schema import RELAPSE

OPTIONS = StudyOptions(label=get_label("ferumoxides"), study_kind="prelabelled", n_cpus=1)


@pytest.fixture
def study_dir(followed_dir: Path) -> Path:
    """A baseline and two labelled visits, each with its day."""
    lines = ["session_id\tday\tbaseline", "ses-pre\t-1\ttrue", "ses-d07\t7\tfalse", "ses-d14\t14\tfalse"]
    (followed_dir / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (followed_dir / "participants.tsv").write_text("participant_id\tgroup\nsub-01\ttreated\n", encoding="utf-8")
    return followed_dir


def run(folder: Path, out: Path, options: StudyOptions = OPTIONS, **chosen: object):
    return run_study(plan_study(folder, out, options, **chosen), out, options)  # type: ignore[arg-type]


def read_page(path: Path) -> str:
    """A page's words."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8")))


@pytest.mark.usefixtures("stages")
def test_growth_that_cannot_be_known_is_said_with_what_would_show_it(study_dir, tmp_path):
    out = tmp_path / "out"
    (subject,) = run(study_dir, out).subjects
    assert not subject.is_identifiable
    assert subject.alarm_session == ""
    relapse = read_table(RELAPSE, out / "sub-01" / "sub-01_relapse.tsv")
    assert relapse["session_id"].tolist() == ["d07", "d14"]  # a baseline shows no label
    assert not relapse["alarm"].any()
    page = read_page(out / "sub-01" / "sub-01_desc-subject_report.html")
    assert subject.report == out / "sub-01" / "sub-01_desc-subject_report.html"
    assert all(sentence in page for sentence in map(str, subject.relapse_notes) if "'" not in sentence)
    assert any("PET" in sentence for sentence in subject.relapse_notes)


def test_a_failed_visit_stands_on_both_pages_with_its_reason(stages, study_dir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    find = stages.find_clusters

    def fail(scan, *args, **kwargs):
        if scan.session == "d14":
            raise stages_error()
        return find(scan, *args, **kwargs)

    monkeypatch.setattr("ferrosight.study.visit.find_clusters", fail)
    study = run(study_dir, out)
    assert study.exit_code == 1
    for page in (out / "report.html", out / "sub-01" / "sub-01_desc-subject_report.html"):
        assert "its mask is empty" in read_page(page)


def stages_error() -> Exception:
    from ferrosight.errors import AnalysisError

    return AnalysisError("the scan must hold tissue, but its mask is empty; lower field.mask_snr.")


@pytest.mark.usefixtures("stages")
def test_one_visit_done_again_still_tells_of_all(study_dir, tmp_path):
    out = tmp_path / "out"
    first = run(study_dir, out)
    assert first.report == out / "report.html"
    before = {path: path.read_bytes() for path in out.rglob("*_tracks.tsv")}
    again = run(study_dir, out, sessions=["d07"])
    assert [visit.name for visit in again.visits] == ["sub-01_ses-d07"]
    page = read_page(out / "sub-01" / "sub-01_desc-subject_report.html")
    assert all(session in page for session in ("pre", "d07", "d14"))
    assert {path: path.read_bytes() for path in out.rglob("*_tracks.tsv")} == before


@pytest.mark.usefixtures("stages")
def test_the_group_level_writes_the_same_page_as_the_whole_run(study_dir, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(study_dir, whole)
    planned = plan_study(study_dir, parts, OPTIONS)
    run_study(planned, parts, OPTIONS, level="participant")
    assert not (parts / "report.html").exists()
    run_study(planned, parts, OPTIONS, level="group")
    one, other = (read_page(folder / "report.html") for folder in (whole, parts))
    assert one == other
    assert "treated" in one


@pytest.mark.usefixtures("stages")
@pytest.mark.parametrize(
    ("description", "title"),
    [
        ('{"Name": "Twelve <mice>", "BIDSVersion": "1.9.0"}', "Twelve &lt;mice&gt;"),
        ("[1", "followed"),
        ("{}", "followed"),
    ],
)
def test_the_study_is_called_what_it_calls_itself(study_dir, tmp_path, description, title):
    (study_dir / "dataset_description.json").write_text(description, encoding="utf-8")
    run(study_dir, tmp_path / "out")
    assert re.search(rf"<h1[^>]*>\s*{title}\s*</h1>", (tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("stages")
def test_the_kind_of_study_comes_from_the_option_then_from_participants(study_dir, tmp_path):
    unsaid = dataclasses.replace(OPTIONS, study_kind=None)
    (subject,) = run(study_dir, tmp_path / "unsaid", unsaid).subjects
    assert any("--study-kind" in sentence for sentence in subject.relapse_notes)
    table = "participant_id\tstudy_kind\nsub-01\tprelabelled\n"
    (study_dir / "participants.tsv").write_text(table, encoding="utf-8")
    (subject,) = run(study_dir, tmp_path / "said", unsaid).subjects
    assert not any("--study-kind" in sentence for sentence in subject.relapse_notes)
