"""Iron per cell on the day of each visit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferrosight.errors import InputError
from ferrosight.io import Session, VisitFiles
from ferrosight.io.bids_names import same_label
from ferrosight.types import IronPerCell, Label, UptakeCourse
from ferrosight.uptake.predict import load_on_day


@dataclass(frozen=True)
class LoadChoice:
    """The load that a visit's cells are counted with; ``note`` says why a course of it does not give one."""

    iron_per_cell: IronPerCell | None = None
    note: str = ""


def choose_load(
    visit: VisitFiles, sessions: Sequence[Session], given: IronPerCell | None, course: UptakeCourse | None
) -> LoadChoice:
    """The load that was ``given``, or that of the ``course`` on the visit's day since labelling."""
    if course is None:
        return LoadChoice(given)
    day = day_since_labelling(visit, sessions)
    if math.isnan(day):
        return LoadChoice(
            note="the day since labelling is not known; give day and label_day of the visit in "
            f"sub-{visit.subject}_sessions.tsv"
        )
    try:
        return LoadChoice(load_on_day(course, day))
    except InputError as error:
        return LoadChoice(note=str(error).rstrip("."))


def day_since_labelling(visit: VisitFiles, sessions: Sequence[Session]) -> float:
    """Days from labelling to the visit; NaN where unknown.

    A visit's own ``label_day``, else the last of the subject's others' that is not after it.
    """
    own = next((line for line in sessions if same_label(line.session, visit.session)), None)
    if own is None or math.isnan(own.day):
        return math.nan
    if not math.isnan(own.label_day):
        return own.day - own.label_day
    before = [line.label_day for line in sessions if line.label_day <= own.day]
    return own.day - max(before) if before else math.nan


def without_load(label: Label) -> Label:
    """The label without a load of its own, which would stand in where the course has none."""
    return dataclasses.replace(label, iron_per_cell_pg=None, iron_per_cell_sd_pg=None, iron_per_cell_source="")
