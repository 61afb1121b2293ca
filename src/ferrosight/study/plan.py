"""Which visits of a study are to be analysed, and with what: label, load, baseline. No image is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferrosight.errors import InputError
from ferrosight.io import (
    Session,
    VisitFiles,
    check_out_dir,
    find_participant,
    find_pet_visits,
    find_session,
    find_visits,
    read_participants,
    read_sessions,
)
from ferrosight.io.sidecars import read_metadata
from ferrosight.physics.labels import get_label
from ferrosight.study.baselines import BaselineChoice, choose_baseline
from ferrosight.study.loads import LoadChoice, choose_load, without_load
from ferrosight.types import Calibration, Config, IronPerCell, Label, PhaseSign, UptakeCourse
from ferrosight.types.relapse import StudyKind


@dataclass(frozen=True)
class StudyOptions:
    """What is chosen for a whole study; ``label`` overrides that of participants.tsv.

    ``uptake`` gives every visit the load of its own day since labelling, in the place of ``iron_per_cell``;
    ``calibration`` a moment per cell in the place of both and of the label's magnetisation, which ``uptake`` carries
    from the phantom's day to the visit's. ``study_kind`` overrides that of participants.tsv.
    """

    label: Label | None = None
    iron_per_cell: IronPerCell | None = None
    uptake: UptakeCourse | None = None
    calibration: Calibration | None = None
    phase_sign: PhaseSign | None = None
    study_kind: StudyKind | None = None
    config: Config = field(default_factory=Config)
    n_cpus: int | None = None


@dataclass(frozen=True)
class PlannedVisit:
    """A visit that will be analysed, its label and its load, and what it is held against.

    ``day`` is NaN where unknown. A visit whose session ``is_named`` is analysed again, whatever is there already.
    """

    files: VisitFiles
    label: Label | None
    choice: BaselineChoice = field(default_factory=BaselineChoice)
    load: LoadChoice = field(default_factory=LoadChoice)
    day: float = math.nan
    is_named: bool = False


def plan_study(
    bids_dir: Path,
    out_dir: Path,
    options: StudyOptions,
    *,
    subjects: Iterable[str] | None = None,
    sessions: Iterable[str] | None = None,
) -> tuple[PlannedVisit, ...]:
    """The visits that ``run_study`` would analyse, all of them unless some are named; reads no image.

    Raises
    ------
    BidsError
        BIDS_DIR holds neither a gradient-echo nor a PET scan, or not the ones named, a sessions.tsv is malformed, or
        OUT_DIR must not be written to.
    LabelError
        participants.tsv names an unknown label.
    """
    check_out_dir(bids_dir, out_dir)
    _check_writable(out_dir)
    other_sessions = [file.session for file in find_pet_visits(bids_dir, subjects)]
    visits = find_visits(bids_dir, subjects, sessions, other_sessions=other_sessions)
    participants = read_participants(bids_dir)

    def label_of(visit: VisitFiles) -> Label | None:
        label = options.label
        named = find_participant(participants, visit.subject)
        if label is None and named is not None and named.label:
            label = get_label(named.label)
        return label if label is None or options.uptake is None else without_load(label)

    planned = []
    for subject in dict.fromkeys(visit.subject for visit in visits):
        lines = read_sessions(bids_dir, subject)
        every = find_visits(bids_dir, [subject]) if any(line.baseline for line in lines) else ()
        of_subject = [
            PlannedVisit(
                visit,
                label_of(visit),
                choose_baseline(visit, every, lines),
                choose_load(visit, lines, options.iron_per_cell, options.uptake, options.calibration),
                _find_day(visit, lines),
                sessions is not None,
            )
            for visit in visits
            if visit.subject == subject
        ]
        # The visits of one baseline follow it, so that no more than one baseline is held at a time.
        planned += sorted(of_subject, key=_group)
    return tuple(planned)


def _find_day(visit: VisitFiles, lines: Sequence[Session]) -> float:
    line = find_session(lines, visit.session)
    return math.nan if line is None else line.day


def _group(planned: PlannedVisit) -> tuple[str, bool]:
    choice = planned.choice
    baseline = planned.files if choice.is_baseline else choice.baseline
    return "" if baseline is None else baseline.name, not choice.is_baseline


def _check_writable(out_dir: Path) -> None:
    """Before hours of work, not after."""
    nearest = next(folder for folder in (out_dir, *out_dir.resolve().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"OUT_DIR {out_dir} must be writable, but {nearest} is not; choose another folder.")


def list_inputs(visit: VisitFiles) -> list[Path]:
    """Every image of a visit and every sidecar that says something about it."""
    images = [file.path for file in visit.files]
    return [*images, *(path for image in images for path in read_metadata(image, visit.bids_dir).sources)]
