"""Iron per cell, or moment per cell, on the day of each visit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferrosight.errors import InputError
from ferrosight.io import Session, VisitFiles, find_session
from ferrosight.types import Calibration, IronPerCell, Label, UptakeCourse
from ferrosight.uptake.predict import carry_calibration, load_on_day


@dataclass(frozen=True)
class LoadChoice:
    """What a visit's cells are counted with, a load or a calibration; ``note`` says why a course gives neither."""

    iron_per_cell: IronPerCell | None = None
    note: str = ""
    calibration: Calibration | None = None


def choose_load(
    visit: VisitFiles,
    sessions: Sequence[Session],
    given: IronPerCell | None,
    course: UptakeCourse | None,
    calibration: Calibration | None = None,
) -> LoadChoice:
    """The load that was ``given``, or that of the ``course`` on the visit's day since labelling.

    With a ``calibration`` it is the moment per cell of the phantom instead, which a course carries to that day; without
    a course it is that of the phantom's day, and its source says so where the visit is known to be of another.
    """
    day = day_since_labelling(visit, sessions)
    if course is None:
        return LoadChoice(given, calibration=None if calibration is None else _with_warning(calibration, day))
    if math.isnan(day):
        return LoadChoice(
            note="the day since labelling is not known; give day and label_day of the visit in "
            f"sub-{visit.subject}_sessions.tsv"
        )
    try:
        if calibration is not None:
            return LoadChoice(calibration=carry_calibration(calibration, course, day))
        return LoadChoice(load_on_day(course, day))
    except InputError as error:
        return LoadChoice(note=str(error).rstrip("."))


def _with_warning(calibration: Calibration, day: float) -> Calibration:
    if math.isnan(day) or day == calibration.day:
        return calibration
    said = (
        f"{calibration.source}; of day {calibration.day:g} after labelling and used on day {day:g} as it is: give "
        "--uptake besides, else cells that divided in between are miscounted"
    )
    return dataclasses.replace(calibration, source=said)


def day_since_labelling(visit: VisitFiles, sessions: Sequence[Session]) -> float:
    """Days from labelling to the visit; NaN where unknown.

    A visit's own ``label_day``, else the last of the subject's others' that is not after it.
    """
    own = find_session(sessions, visit.session)
    if own is None or math.isnan(own.day):
        return math.nan
    if not math.isnan(own.label_day):
        return own.day - own.label_day
    before = [line.label_day for line in sessions if line.label_day <= own.day]
    return own.day - max(before) if before else math.nan


def without_load(label: Label) -> Label:
    """The label without a load of its own, which would stand in where the course has none."""
    return dataclasses.replace(label, iron_per_cell_pg=None, iron_per_cell_sd_pg=None, iron_per_cell_source="")
