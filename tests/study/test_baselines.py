"""Which baseline a visit is held against, and what is said where there is none."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from ferrosight.io import ImageFile, Session, VisitFiles
from ferrosight.study.baselines import choose_baseline, hold_baseline
from ferrosight.types import Config

SESSIONS = (
    Session("pre", -7.0, baseline=True),
    Session("d00", -1.0, baseline=True),
    Session("d07", 7.0),
    Session("late", 20.0, baseline=True),
    Session("d30", 30.0),
    Session("lost", math.nan),
)


def files(session: str, acquisition: str = "", run: str = "") -> VisitFiles:
    return VisitFiles(Path("study"), "01", session, acquisition, run, "MEGRE", ())


EVERY = tuple(files(session.session) for session in SESSIONS)


@pytest.mark.parametrize(("session", "baseline"), [("d07", "d00"), ("d30", "late")])
def test_the_nearest_before_the_visit_is_taken(session, baseline):
    choice = choose_baseline(files(session), EVERY, SESSIONS)
    assert choice.baseline == files(baseline)
    assert (choice.is_baseline, choice.note) == (False, "")


def test_a_baseline_is_held_against_nothing():
    choice = choose_baseline(files("late"), EVERY, SESSIONS)
    assert (choice.is_baseline, choice.baseline, choice.note) == (True, None, "")


def test_a_session_is_the_same_whatever_its_zeros():
    """The day was found so already: a visit whose baseline is not is taken for a labelled one."""
    sessions = (Session("1", -1.0, baseline=True), Session("2", 7.0))
    every = (files("01"), files("02"))
    assert choose_baseline(files("01"), every, sessions).is_baseline
    assert choose_baseline(files("02"), every, sessions).baseline == files("01")


@pytest.mark.parametrize(
    ("session", "sessions", "every", "said"),
    [
        (
            "early",
            (Session("early", -9.0), *SESSIONS),
            EVERY,
            "known to be before sub-01_ses-early",
        ),
        ("lost", SESSIONS, EVERY, "day of sub-01_ses-lost is not known"),
        ("unlisted", SESSIONS, EVERY, "day of sub-01_ses-unlisted is not known"),
        ("d07", SESSIONS, [files("d07")], r"no gradient-echo scan \(ses-pre, ses-d00, ses-late\)"),
        ("d07", (Session("d00", math.nan, baseline=True), Session("d07", 7.0)), EVERY, "no baseline scan is known"),
    ],
)
def test_where_there_is_none_it_is_said(session, sessions, every, said):
    choice = choose_baseline(files(session), every, sessions)
    assert choice.baseline is None
    assert not choice.is_baseline
    assert re.search(said, choice.note)


def test_a_subject_without_any_baseline_needs_no_note():
    assert choose_baseline(files("d07"), EVERY, [Session("d07", 7.0)]).note == ""
    assert choose_baseline(files(""), [files("")], []).note == ""


def test_the_same_acquisition_and_run_or_the_only_one():
    visit = files("d07", "hi", "1")
    there = [files("d00", "hi", "01"), files("d00", "lo", "01"), files("d00", "hi", "02")]
    assert choose_baseline(visit, there, SESSIONS).baseline == there[0]
    assert choose_baseline(visit, there[1:2], SESSIONS).baseline == there[1]
    several = choose_baseline(visit, there[1:], SESSIONS)
    assert several.baseline is None
    assert "several baseline scans" in several.note


def test_a_baseline_that_cannot_be_read_says_why(bids_dir, stages):
    alone = ImageFile(bids_dir / "sub-01" / "anat" / "sub-01_part-mag_MEGRE.nii.gz", "mag")
    missing = VisitFiles(bids_dir, "01", "d00", "", "", "MEGRE", (alone,))
    held = hold_baseline(missing, None, Config())
    assert held.baseline is None
    assert held.obstacle.startswith("the baseline sub-01_ses-d00 could not be analysed (")
    assert stages.calls == []
