"""What a study says about itself: participants.tsv and sub-X_sessions.tsv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ferrosight.errors import BidsError
from ferrosight.io.bids_names import clean_label, same_label
from ferrosight.io.tables import MISSING, read_tsv
from ferrosight.types.relapse import STUDY_KINDS


@dataclass(frozen=True)
class Participant:
    """One line of participants.tsv; "" where it says nothing. ``subject`` has no prefix."""

    subject: str
    species: str = ""
    group: str = ""
    study_kind: str = ""
    label: str = ""


@dataclass(frozen=True)
class Session:
    """One line of sub-X_sessions.tsv.

    ``day`` counts from the study's own zero, or from the subject's earliest ``acq_time`` where only that is
    given; NaN where unknown. ``baseline`` is a scan without label; ``label_day`` (NaN where unknown) is when
    the label was given. ``reference`` (NaN where unknown) is what a tissue that cannot grow measured at that visit, in
    any unit: of the label's iron where particles are given again before each scan, otherwise of PET.
    """

    session: str
    day: float = math.nan
    baseline: bool = False
    label_day: float = math.nan
    reference: float = math.nan


def find_session(lines: Sequence[Session], session: str) -> Session | None:
    """The line that tells of a session; None where there is none. Numbers may be padded with zeros otherwise."""
    exact = next((line for line in lines if line.session == session), None)
    return exact or next((line for line in lines if same_label(line.session, session)), None)


def find_participant(lines: Sequence[Participant], subject: str) -> Participant | None:
    """The line that tells of a subject, likewise."""
    exact = next((line for line in lines if line.subject == subject), None)
    return exact or next((line for line in lines if same_label(line.subject, subject)), None)


def read_participants(bids_dir: Path | str) -> tuple[Participant, ...]:
    """The lines of participants.tsv in their order; empty where there is no such file.

    Raises
    ------
    BidsError
        Naming the file and the column that is missing or holds what it cannot.
    """
    path = Path(bids_dir) / "participants.tsv"
    rows = _rows(path, "participant_id", "sub")
    for row in rows:
        kind = row.get("study_kind", "")
        if kind and kind not in STUDY_KINDS:
            raise BidsError(f"{path}: study_kind must be one of {', '.join(STUDY_KINDS)}, but is {kind!r}.")
    return tuple(
        Participant(
            _label(path, "sub", row["participant_id"]),
            *(row.get(column, "") for column in ("species", "group", "study_kind", "label")),
        )
        for row in rows
    )


def read_sessions(bids_dir: Path | str, subject: str) -> tuple[Session, ...]:
    """The lines of sub-X/sub-X_sessions.tsv in their order; empty where there is no such file.

    ``day`` is preferred to ``acq_time`` (ISO 8601) where both are given.

    Raises
    ------
    BidsError
        Naming the file and the column that is missing or holds what it cannot.
    """
    name = f"sub-{clean_label('sub', subject)}"
    path = Path(bids_dir) / name / f"{name}_sessions.tsv"
    rows = _rows(path, "session_id", "ses")
    # BIDS asks for neither, but nothing else that is told of a visit means anything without its day.
    if rows and {"baseline", "label_day"} & set(rows[0]) and not {"day", "acq_time"} & set(rows[0]):
        raise BidsError(f"{path} must have a column day or acq_time, but has {', '.join(rows[0])}.")
    since = _days_since_first(path, [row.get("acq_time", "") for row in rows])
    return tuple(
        Session(
            _label(path, "ses", row["session_id"]),
            _number(path, "day", row["day"]) if row.get("day") else elapsed,
            _boolean(path, "baseline", row.get("baseline", "")),
            _number(path, "label_day", row.get("label_day", "")),
            _number(path, "reference", row.get("reference", "")),
        )
        for row, elapsed in zip(rows, since, strict=True)
    )


def _rows(path: Path, key: str, entity: str) -> list[dict[str, str]]:
    """Lines as mappings with missing values as ""; the key column must exist and be unique."""
    if not path.is_file():
        return []
    header, rows = read_tsv(path)
    if key not in header:
        raise BidsError(f"{path} must have a column {key}, but has {', '.join(header)}.")
    # With and without its prefix a label is the same.
    ids = [row[key].removeprefix(f"{entity}-") for row in rows]
    twice = sorted({label for label in ids if ids.count(label) > 1})
    if twice:
        named = ", ".join(f"{entity}-{label}" for label in twice)
        raise BidsError(f"{path}: every {key} may stand in one line only, but {named} stands in several; keep one.")
    return [{name: "" if text == MISSING else text for name, text in row.items()} for row in rows]


def _label(path: Path, entity: str, text: str) -> str:
    try:
        label = clean_label(entity, text)
    except BidsError as error:
        raise BidsError(f"{path}: {error}") from error
    if not label:
        raise BidsError(f"{path}: a line has no {entity}- label; give it one or remove the line.")
    return label


def _number(path: Path, column: str, text: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise BidsError(f"{path}: {column} must be a number or n/a, but is {text!r}.")
    return value


def _boolean(path: Path, column: str, text: str) -> bool:
    values = {"": False, "false": False, "0": False, "true": True, "1": True}
    if text.lower() not in values:
        raise BidsError(f"{path}: {column} must be true, false or n/a, but is {text!r}.")
    return values[text.lower()]


def _days_since_first(path: Path, times: list[str]) -> list[float]:
    try:
        moments = [datetime.fromisoformat(text) if text else None for text in times]
        known = [moment for moment in moments if moment is not None]
        first = min(known, default=None)
        return [
            math.nan if moment is None or first is None else (moment - first) / timedelta(days=1) for moment in moments
        ]
    except (ValueError, TypeError) as error:
        # TypeError: some times name a time zone and some do not.
        raise BidsError(f"{path}: acq_time must be ISO 8601 in every line, in one style ({error}).") from error
