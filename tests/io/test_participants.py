"""What a study says about itself is read, or refused by file and column."""

from __future__ import annotations

import math

import pytest

from ferrosight.errors import BidsError
from ferrosight.io.participants import (
    Participant,
    Session,
    find_participant,
    find_session,
    read_participants,
    read_sessions,
)


def participants(folder, *lines):
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")


def sessions(folder, *lines):
    (folder / "sub-01").mkdir(exist_ok=True)
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(lines) + "\n")


def test_no_files_say_nothing(tmp_path):
    assert read_participants(tmp_path) == ()
    assert read_sessions(tmp_path, "01") == ()


def test_participants_are_read(tmp_path):
    participants(
        tmp_path,
        "participant_id\tage\tspecies\tgroup\tstudy_kind\tlabel",
        "sub-01\t3\tmus musculus\ttreated\tprelabelled\tferumoxytol",
        "sub-02\tn/a\tn/a\tn/a\tn/a\tn/a",
    )
    assert read_participants(tmp_path) == (
        Participant("01", "mus musculus", "treated", "prelabelled", "ferumoxytol"),
        Participant("02"),
    )


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["subject", "sub-01"], "participant_id"),
        (["participant_id\tstudy_kind", "sub-01\ttracers"], "study_kind.*prelabelled, targeted, tracer.*tracers"),
        (["participant_id", "sub-01", "sub-01"], "sub-01"),
        (["participant_id", "sub-01", "01"], "sub-01 stands in several"),
        (["participant_id", "sub_01"], "sub_01"),
        (["participant_id\tage", "n/a\t3"], "sub- label"),
    ],
)
def test_bad_participants_are_refused(tmp_path, lines, word):
    participants(tmp_path, *lines)
    with pytest.raises(BidsError, match=rf"participants\.tsv.*{word}"):
        read_participants(tmp_path)


def test_sessions_are_read(tmp_path):
    sessions(
        tmp_path,
        "session_id\tday\tbaseline\tlabel_day",
        "ses-a\t-1\ttrue\tn/a",
        "ses-b\t7.5\tfalse\t0",
        "ses-c\tn/a\tn/a\tn/a",
    )
    first, second, third = read_sessions(tmp_path, "sub-01")
    assert (first.session, first.day, first.baseline) == ("a", -1, True)
    assert math.isnan(first.label_day)
    assert second == Session("b", 7.5, False, 0.0)
    assert math.isnan(third.day)
    assert third.baseline is False


def test_the_reference_tissue_is_a_number_per_visit_or_unknown(tmp_path):
    sessions(tmp_path, "session_id\tday\treference", "ses-a\t0\t12.5", "ses-b\t7\tn/a")
    first, second = read_sessions(tmp_path, "01")
    assert first.reference == 12.5
    assert math.isnan(second.reference)
    sessions(tmp_path, "session_id\tday\treference", "ses-a\t0\tliver")
    with pytest.raises(BidsError, match=r"sessions\.tsv: reference must be a number or n/a, but is 'liver'"):
        read_sessions(tmp_path, "01")


def test_days_come_from_acquisition_times(tmp_path):
    sessions(
        tmp_path,
        "session_id\tacq_time",
        "ses-b\t2024-03-02T18:00:00",
        "ses-a\t2024-02-28T06:00:00.5",
        "ses-c\tn/a",
    )
    days = [session.day for session in read_sessions(tmp_path, "01")]
    assert days[:2] == pytest.approx([3.5, 0], abs=1e-5)
    assert math.isnan(days[2])


def test_a_day_is_preferred_to_a_time(tmp_path):
    sessions(tmp_path, "session_id\tacq_time\tday", "ses-a\t2024-01-01T00:00:00\t5", "ses-b\t2024-01-03T00:00:00\tn/a")
    assert [session.day for session in read_sessions(tmp_path, "01")] == [5, 2]


def test_a_table_that_tells_nothing_of_days_is_read_as_it_is(tmp_path):
    sessions(tmp_path, "session_id\tnotes", "ses-a\tx")
    (only,) = read_sessions(tmp_path, "01")
    assert (only.session, only.baseline) == ("a", False)
    assert math.isnan(only.day)


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["session\tday", "ses-a\t1"], "session_id"),
        (["session_id\tbaseline", "ses-a\ttrue"], "day or acq_time"),
        (["session_id\tday", "ses-a\tMonday"], "day.*Monday"),
        (["session_id\tday", "ses-a\tinf"], "day.*inf"),
        (["session_id\tday\tbaseline", "ses-a\t1\tmaybe"], "baseline.*maybe"),
        (["session_id\tday\tlabel_day", "ses-a\t1\tx"], "label_day.*x"),
        (["session_id\tacq_time", "ses-a\tyesterday"], "acq_time.*ISO 8601"),
        (["session_id\tacq_time", "ses-a\t2024-01-01T00:00:00", "ses-b\t2024-01-01T00:00:00+01:00"], "acq_time"),
        (["session_id\tday", "ses-a\t1", "ses-a\t2"], "ses-a"),
    ],
)
def test_bad_sessions_are_refused(tmp_path, lines, word):
    sessions(tmp_path, *lines)
    with pytest.raises(BidsError, match=rf"sub-01_sessions\.tsv.*{word}"):
        read_sessions(tmp_path, "01")


@pytest.mark.data
def test_real_participants_are_read(data_dir):
    assert read_participants(data_dir / "gel") == (Participant("gel"),)
    assert read_participants(data_dir / "brain-crop") == (Participant("crop", "homo sapiens"),)


def test_a_session_may_stand_in_one_line_only_with_or_without_its_prefix(tmp_path):
    sessions(tmp_path, "session_id\tday", "ses-d07\t7", "d07\t8")
    with pytest.raises(BidsError, match="ses-d07 stands in several; keep one"):
        read_sessions(tmp_path, "01")


def test_a_line_is_found_by_its_label_and_only_then_by_its_number():
    lines = (Session("1", 1.0), Session("01", 2.0), Session("d1", 3.0))
    assert find_session(lines, "01") == lines[1]
    assert find_session(lines, "001") == lines[0]
    assert find_session(lines, "d01") is None
    assert find_participant((Participant("7"),), "007") == Participant("7")
    assert find_participant((Participant("7"),), "70") is None
