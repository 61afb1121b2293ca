"""A followed subject ends with its evidence and its page, the study with one of all subjects, failures included."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ferrosight.io import read_table, write_scan
from ferrosight.physics.labels import get_label
from ferrosight.study.follow import FollowedSubject, VisitFacts, VisitToFollow, _order_visits
from ferrosight.study.outcomes import StudyOutcome, SubjectOutcome
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import Config, Table
from ferrosight.types.config import RelapseConfig
from ferrosight.types.schema import RELAPSE, TRACKS

from .conftest import FakeStages, make_scan

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


KNOWN = RelapseConfig(factor_sd_max=0.05, carry_over_max=0.1, sd_factor_max=1.1)
TARGETED = dataclasses.replace(OPTIONS, study_kind="targeted", config=dataclasses.replace(Config(), relapse=KNOWN))
#: Days of the sessions, whose names sort in another order than their days.
DAYS = {"f": 0.0, "e": 7.0, "d": 14.0, "c": 21.0, "b": 28.0, "a": 35.0}
ERROR_AM2 = 1e-13


@pytest.fixture
def grown(stages: FakeStages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A track that doubles from visit to visit, in the order in which visits are really followed."""
    follow = stages.follow_subject

    def follow_grown(visits: Sequence[VisitToFollow], config: Config, **_: object) -> FollowedSubject:
        ordered, _days, notes = _order_visits(visits)
        scans = [one.read_scan() for one in ordered]
        facts = tuple(
            VisitFacts(
                one.session,
                one.day,
                one.is_baseline,
                True,
                scan.b0_t,
                tuple(float(time) for time in scan.echo_times_s),
                scan.grid.voxel_mm,
                one.catalogue.clusters,
            )
            for one, scan in zip(ordered, scans, strict=True)
        )
        rows = [
            {"track_id": "t", "session_id": one.session, "day": one.day, "measurement": "detected", "cluster_id": "a"}
            | {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}
            | {"moment_am2": 10 * ERROR_AM2 * 2.0**visit, "moment_am2_err": ERROR_AM2}
            for visit, one in enumerate(ordered)
        ]
        there = follow(ordered, config)
        return dataclasses.replace(there, tracks=Table.from_rows(TRACKS, rows), visits=facts, notes=tuple(notes))

    monkeypatch.setattr("ferrosight.study.subject.follow_subject", follow_grown)


def write_visits(folder: Path, days: dict[str, float | None], changed: Sequence[str] = ()) -> Path:
    """A scan per session; the echo times of those ``changed`` are others. A day of None is not known."""
    for session in days:
        scan = make_scan("01", session)
        if session in changed:
            scan = dataclasses.replace(scan, echo_times_s=1.25 * scan.echo_times_s)
        write_scan(scan, folder)
    lines = [f"ses-{session}\t{'n/a' if day is None else day}" for session, day in days.items()]
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(["session_id\tday", *lines]) + "\n", "utf-8")
    return folder


def assert_no_claim(study: StudyOutcome, out: Path, *words: str) -> SubjectOutcome:
    """The scans are analysed, nothing is said of growth anywhere, and the sentences say why."""
    assert study.exit_code == 0
    (one,) = study.subjects
    assert not one.is_identifiable
    assert one.alarm_session == ""
    path = out / "sub-01" / "sub-01_relapse.tsv"
    table = read_table(RELAPSE, path)
    assert np.isnan(table["e_value"]).all()
    assert not table["alarm"].any()
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["Identifiable"] is False
    assert told["Lineages"] == []
    assert [word for word in words if word not in " ".join(told["Sentences"])] == []
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["exit_code"] == 0
    return one


@pytest.mark.usefixtures("grown")
def test_what_is_refused_below_alarms_where_growth_can_be_known(tmp_path):
    out = tmp_path / "out"
    (one,) = run(write_visits(tmp_path / "bids", DAYS), out, TARGETED).subjects
    assert one.is_identifiable
    assert one.alarm_session in ("c", "b", "a")
    table = read_table(RELAPSE, out / "sub-01" / "sub-01_relapse.tsv")
    assert table["session_id"].tolist() == list(DAYS)
    assert table["alarm"][-1]


@pytest.mark.usefixtures("grown")
def test_prelabelled_cells_with_iron_alone_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    options = dataclasses.replace(TARGETED, study_kind="prelabelled")
    study = run(write_visits(tmp_path / "bids", DAYS), out, options)
    assert_no_claim(study, out, "not identifiable from iron", "PET of a tracer", "would make it so")


@pytest.mark.usefixtures("grown")
def test_two_visits_make_no_growth_claim_and_a_third_one_makes_it_possible(tmp_path):
    two = {session: DAYS[session] for session in "fe"}
    out = tmp_path / "out"
    assert_no_claim(run(write_visits(tmp_path / "bids", two), out, TARGETED), out, "from 2 visits", "at least 3")
    three = {session: DAYS[session] for session in "fed"}
    (one,) = run(write_visits(tmp_path / "more", three), tmp_path / "out_more", TARGETED).subjects
    assert one.is_identifiable


@pytest.mark.usefixtures("grown")
def test_visits_without_any_date_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", dict.fromkeys(DAYS)), out, TARGETED)
    one = assert_no_claim(study, out, "every visit needs its date", "acq_time or day in the sessions table")
    assert any("taken to be a day apart" in note for note in one.notes)


@pytest.mark.usefixtures("grown")
def test_one_missing_date_is_an_error_of_the_subject_that_names_the_visit(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS | {"d": None}), out, TARGETED)
    assert study.exit_code == 1
    assert [visit.error for visit in study.visits] == [""] * len(DAYS)
    (one,) = study.not_followed
    assert "d has none; give day or acq_time in the sessions table" in one.error
    assert not (out / "sub-01" / "sub-01_relapse.tsv").exists()
    assert not (out / "sub-01" / "sub-01_tracks.tsv").exists()


@pytest.mark.usefixtures("grown")
def test_neither_names_nor_lines_of_visits_need_be_in_the_order_of_their_days(tmp_path):
    shuffled = {session: DAYS[session] for session in "cfadbe"}
    tables = []
    for name, days in (("straight", DAYS), ("shuffled", shuffled)):
        run(write_visits(tmp_path / name, days), tmp_path / f"out_{name}", TARGETED)
        tables.append((tmp_path / f"out_{name}" / "sub-01" / "sub-01_relapse.tsv").read_bytes())
    assert tables[0] == tables[1]


@pytest.mark.usefixtures("grown")
def test_visits_of_one_day_have_no_order_and_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS | {"d": 7.0}), out, TARGETED)
    assert_no_claim(study, out, "in the order of their dates", "(day 7)")


@pytest.mark.usefixtures("grown")
def test_a_protocol_that_changes_half_way_makes_no_growth_claim_and_the_visit_is_named(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS, changed="cba"), out, TARGETED)
    assert_no_claim(study, out, "the protocol changes at c", "one protocol throughout")
