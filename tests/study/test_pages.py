"""From outcomes and tables to stories and pages."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.io.participants import Participant, Session
from ferrosight.io.tables import write_table
from ferrosight.relapse import weigh_evidence
from ferrosight.study.pages import (
    project_scan,
    read_subject,
    tell_lineages,
    tell_subject,
    tell_visits,
    write_study_page,
    write_subject_page,
)
from ferrosight.study.run import VisitOutcome
from ferrosight.types import Rigid, Scan, Table
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries
from ferrosight.types.schema import RELAPSE, TRACKS
from ferrosight.types.story import SubjectStory


def outcome(session: str, run: str = "", error: str = "", n_accepted: int = 2) -> dict[str, Any]:
    """What summary.json says of a scan."""
    name = f"sub-01_ses-{session}" if session else "sub-01"
    plain = VisitOutcome(name + (f"_run-{run}" if run else ""), "01", session, run, 1.0, None, error=error).as_plain()
    done = {} if error else {"status": "done", "catalogue": {"n_accepted": n_accepted, "notes": ["a note"]}}
    return json.loads(json.dumps(plain | done))


def test_visits_come_in_order_of_time_with_their_links_and_reasons() -> None:
    sessions = [Session("late", 14.0), Session("base", 0.0, baseline=True), Session("mid", 7.0)]
    told = tell_visits([outcome("late"), outcome("base", n_accepted=0), outcome("mid", error="no phase.")], sessions)
    assert [(visit.session, visit.day) for visit in told] == [("base", 0.0), ("mid", 7.0), ("late", 14.0)]
    base, mid, late = told
    assert base.is_baseline
    assert base.n_accepted == 0
    assert (mid.failed, mid.error, mid.n_accepted, mid.report) == (True, "no phase.", None, "")
    assert late.report == "ses-late/sub-01_ses-late_report.html"
    assert late.notes == ("a note",)


def test_several_scans_of_a_session_are_one_visit() -> None:
    (visit,) = tell_visits([outcome("a", "1", error="broken."), outcome("a", "2"), outcome("a", "3", n_accepted=3)])
    assert not visit.failed
    assert visit.n_accepted == 5
    assert visit.report == "ses-a/sub-01_ses-a_run-2_report.html"
    assert "sub-01_ses-a_run-1 failed: broken." in visit.notes
    (lost,) = tell_visits([outcome("a", "1", error="broken."), outcome("a", "2", error="lost.")])
    assert lost.error == "broken. lost."


def test_visits_without_a_day_keep_their_place() -> None:
    told = tell_visits([outcome("c"), outcome("b"), outcome("a")], [Session("c", 9.0), Session("a", 1.0)])
    assert [visit.session for visit in told] == ["a", "b", "c"]
    (lone,) = tell_visits([outcome("")])
    assert (lone.session, lone.report) == ("", "sub-01_report.html")
    assert math.isnan(lone.day)


def growing_series() -> tuple[SubjectSeries, StudyDesign]:
    days = 7.0 * np.arange(8)
    values = np.vstack([100 * 2 ** np.arange(8.0), np.full(8, 80.0), np.full(8, 60.0)])
    places = np.array([[0.0, 0, 0], [5, 0, 0], [0, 5, 0]])
    measured = Measured(
        "iron", values, 0.05 * values, np.zeros(3, dtype=int), places, factor_sd_max=0.0, carry_over_max=0.0
    )
    series = SubjectSeries(
        tuple(f"d{i}" for i in range(8)), days, ("one",) * 8, (measured,), np.array([0, 0, 1, 0, 0, 0, 0, 0])
    )
    return series, StudyDesign("targeted", sd_factor_max=1.1, hidden_clusters_max=0)


def test_evidence_is_told_by_the_names_of_tracks() -> None:
    evidence = weigh_evidence(*growing_series())
    assert evidence.first_alarm > 0
    lineages = tell_lineages(evidence, [["t"], ["u"], ["v"]])
    assert [(one.quantity, one.track_ids) for one in lineages] == [
        ("iron", ("t",)), ("iron", ("u",)), ("iron", ("v",)), ("births", ()),
    ]  # fmt: skip
    assert lineages[0].growing[-1]
    assert lineages[-1].e_values.tolist() == evidence.birth_e_values.tolist()


def subject_story(**more: Any) -> SubjectStory:
    evidence = weigh_evidence(*growing_series())
    visits = tell_visits([outcome(f"d{i}") for i in range(8)], [Session(f"d{i}", 7.0 * i) for i in range(8)])
    tracks = Table.from_rows(TRACKS, [
        {"track_id": "t", "session_id": f"d{i}", "measurement": "detected", "n_cells": 9.0 * 2**i, "x_mm": 1.0,
         "y_mm": 1.0, "z_mm": 1.0} for i in range(8)])  # fmt: skip
    told = {
        "relapse": evidence.table,
        "relapse_notes": evidence.sentences,
        "lineages": tell_lineages(evidence, [["t"], ["u"], ["v"]]),
    }
    who = Participant("01", group="treated", study_kind="targeted", label="ferumoxytol")
    return tell_subject(who, visits, tracks, **{**told, **more})


def test_a_story_holds_what_was_found_and_where_its_page_lies() -> None:
    story = subject_story(notes=["x"])
    assert (story.subject, story.group, story.study_kind, story.label) == ("01", "treated", "targeted", "ferumoxytol")
    assert story.report == "sub-01/sub-01_desc-subject_report.html"
    assert story.first_alarm > 0
    assert story.relapse_notes[0].startswith("Alarm at")
    assert len(story.lineages) == 4
    with_rules = Table(RELAPSE, {**story.relapse.columns, "comparator_rano": np.array(["none"] * 8)})  # type: ignore[union-attr]
    assert set(subject_story(relapse=with_rules).relapse["comparator_rano"]) == {"none"}  # type: ignore[index]


def test_what_is_on_disk_tells_the_same_numbers(tmp_path: Path) -> None:
    story = subject_story()
    assert story.relapse is not None
    tracks, relapse = tmp_path / "sub-01_tracks.tsv", tmp_path / "sub-01_relapse.tsv"
    write_table(story.tracks, tracks)
    write_table(story.relapse, relapse)
    read = read_subject(Participant("01"), story.visits, tracks, relapse)
    assert read.first_alarm == story.first_alarm
    assert read.tracks["n_cells"].tolist() == story.tracks["n_cells"].tolist()
    nothing = read_subject(Participant("01"), story.visits, tmp_path / "none.tsv", tmp_path / "none.tsv")
    assert (len(nothing.tracks), nothing.relapse) == (0, None)
    with pytest.raises(InputError, match="must be a visit"):
        read_subject(Participant("01"), story.visits[1:], tracks, relapse)


def test_pages_lie_where_their_links_lead(tmp_path: Path) -> None:
    story = subject_story()
    subject_page = write_subject_page(tmp_path, story, {"software": "x"})
    study_page = write_study_page(tmp_path, "A study", [story], {"software": "x"})
    assert subject_page == tmp_path / story.report
    assert study_page == tmp_path / "report.html"
    assert f'href="{story.report}"' in study_page.read_text(encoding="utf-8")
    assert 'href="ses-d0/sub-01_ses-d0_report.html"' in subject_page.read_text(encoding="utf-8")


def blob_scan(affine: Any, voxel: tuple[int, int, int]) -> Scan:
    """One bright voxel in an even body."""
    signal = np.full((1, 30, 24, 16), 0.05, dtype=np.complex64)
    signal[(0, *voxel)] = 40.0
    return Scan(signal, np.array([0.005]), 7.0, affine, session="d00")


@pytest.mark.parametrize("turned", [False, True])
def test_a_backdrop_lies_in_the_subjects_space(turned: bool) -> None:
    voxel = (21, 6, 9)
    affine = np.diag([0.5, -0.5, 0.6, 1.0])
    affine[:3, 3] = (-4.0, 3.0, 1.0)
    motion = Rigid.from_twist([2.0, -1.0, 0.5, 0.2, -0.1, 0.3]) if turned else None
    scan = blob_scan(affine, voxel)
    backdrop = project_scan(scan, motion)
    place = scan.grid.to_mm(voxel) if motion is None else motion.apply(scan.grid.to_mm(voxel))
    low_a, high_a, low_u, high_u = backdrop.extent_mm
    a, u = np.unravel_index(np.nanargmax(backdrop.image), backdrop.image.shape)
    found = [
        low_a + (a + 0.5) * (high_a - low_a) / backdrop.image.shape[0],
        low_u + (u + 0.5) * (high_u - low_u) / backdrop.image.shape[1],
    ]
    expected = [place["xyz".index(axis)] for axis in backdrop.axes]
    assert np.abs(np.subtract(found, expected)).max() < 0.5
    # Sides of 15, 12 and 9.6 mm are alike enough for a look from the front.
    assert backdrop.axes == ("x", "z")
    assert np.isnan(backdrop.image).any() == turned
    assert backdrop.words.startswith("mean magnitude along")


def test_a_single_slice_is_its_own_projection() -> None:
    rng = np.random.default_rng(1)
    signal = rng.uniform(1, 2, (1, 12, 9, 1)).astype(np.complex64)
    affine = np.diag([0.3, 0.3, 0.3, 1.0])
    backdrop = project_scan(Scan(signal, np.array([0.005]), 7.0, affine))
    assert backdrop.axes == ("x", "y")
    np.testing.assert_allclose(backdrop.image, np.abs(signal[0, :, :, 0]), rtol=1e-5)
    assert backdrop.extent_mm == pytest.approx((-0.15, 3.45, -0.15, 2.55))


def test_a_large_scan_keeps_a_small_backdrop() -> None:
    scan = Scan(np.ones((1, 600, 300, 4), dtype=np.complex64), np.array([0.005]), 7.0, np.diag([0.1, 0.1, 0.1, 1.0]))
    backdrop = project_scan(scan)
    assert max(backdrop.image.shape) <= 240
    np.testing.assert_allclose(backdrop.image, 1.0, rtol=1e-5)
    assert dataclasses.replace(backdrop).extent_mm == backdrop.extent_mm
