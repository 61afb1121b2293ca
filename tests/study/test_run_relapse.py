"""What ``run`` says of growth: the same visits that alarm are refused where growth cannot be known, each in a sentence.

Stages are fakes but for the order of visits and all that comes after the tracks, which show a cluster that doubles.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ferrosight.io import read_table, write_scan
from ferrosight.physics.labels import get_label
from ferrosight.study import subject
from ferrosight.study.follow import FollowedSubject, VisitFacts, VisitToFollow, _order_visits
from ferrosight.study.outcomes import StudyOutcome, SubjectOutcome
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import Config, Table
from ferrosight.types.config import RelapseConfig
from ferrosight.types.schema import RELAPSE, TRACKS

from .conftest import FakeStages, make_scan

KNOWN = RelapseConfig(factor_sd_max=0.05, carry_over_max=0.1, sd_factor_max=1.1)
OPTIONS = StudyOptions(
    label=get_label("ferumoxides"),
    study_kind="targeted",
    config=dataclasses.replace(Config(), relapse=KNOWN),
    n_cpus=1,
)
#: Days of the sessions, whose names sort in another order than their days.
DAYS = {"f": 0.0, "e": 7.0, "d": 14.0, "c": 21.0, "b": 28.0, "a": 35.0}
ERROR_AM2 = 1e-13


@pytest.fixture(autouse=True)
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

    monkeypatch.setattr(subject, "follow_subject", follow_grown)


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


def run(folder: Path, out: Path, options: StudyOptions = OPTIONS) -> StudyOutcome:
    return run_study(plan_study(folder, out, options), out, options)


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


def test_what_is_refused_below_alarms_where_growth_can_be_known(tmp_path):
    out = tmp_path / "out"
    (one,) = run(write_visits(tmp_path / "bids", DAYS), out).subjects
    assert one.is_identifiable
    assert one.alarm_session in ("c", "b", "a")
    table = read_table(RELAPSE, out / "sub-01" / "sub-01_relapse.tsv")
    assert table["session_id"].tolist() == list(DAYS)
    assert table["alarm"][-1]


def test_prelabelled_cells_with_iron_alone_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    options = dataclasses.replace(OPTIONS, study_kind="prelabelled")
    study = run(write_visits(tmp_path / "bids", DAYS), out, options)
    assert_no_claim(study, out, "not identifiable from iron", "PET of a tracer", "would make it so")


def test_two_visits_make_no_growth_claim_and_a_third_one_makes_it_possible(tmp_path):
    two = {session: DAYS[session] for session in "fe"}
    out = tmp_path / "out"
    assert_no_claim(run(write_visits(tmp_path / "bids", two), out), out, "from 2 visits", "at least 3")
    three = {session: DAYS[session] for session in "fed"}
    (one,) = run(write_visits(tmp_path / "more", three), tmp_path / "out_more").subjects
    assert one.is_identifiable


def test_visits_without_any_date_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", dict.fromkeys(DAYS)), out)
    one = assert_no_claim(study, out, "every visit needs its date", "acq_time or day in the sessions table")
    assert any("taken to be a day apart" in note for note in one.notes)


def test_one_missing_date_is_an_error_of_the_subject_that_names_the_visit(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS | {"d": None}), out)
    assert study.exit_code == 1
    assert [visit.error for visit in study.visits] == [""] * len(DAYS)
    (one,) = study.not_followed
    assert "d has none; give day or acq_time in the sessions table" in one.error
    assert not (out / "sub-01" / "sub-01_relapse.tsv").exists()
    assert not (out / "sub-01" / "sub-01_tracks.tsv").exists()


def test_neither_names_nor_lines_of_visits_need_be_in_the_order_of_their_days(tmp_path):
    shuffled = {session: DAYS[session] for session in "cfadbe"}
    tables = []
    for name, days in (("straight", DAYS), ("shuffled", shuffled)):
        run(write_visits(tmp_path / name, days), tmp_path / f"out_{name}")
        tables.append((tmp_path / f"out_{name}" / "sub-01" / "sub-01_relapse.tsv").read_bytes())
    assert tables[0] == tables[1]


def test_visits_of_one_day_have_no_order_and_make_no_growth_claim(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS | {"d": 7.0}), out)
    assert_no_claim(study, out, "in the order of their dates", "(day 7)")


def test_a_protocol_that_changes_half_way_makes_no_growth_claim_and_the_visit_is_named(tmp_path):
    out = tmp_path / "out"
    study = run(write_visits(tmp_path / "bids", DAYS, changed="cba"), out)
    assert_no_claim(study, out, "the protocol changes at c", "one protocol throughout")
