"""A whole study: every visit of every chosen subject, each failure recorded."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferrosight.errors import FerrosightError, InputError
from ferrosight.io import (
    PetFile,
    VisitFiles,
    check_out_dir,
    find_pet_visits,
    find_visits,
    output_path,
    read_participants,
    read_sessions,
    read_visit,
    write_dataset_description,
    write_json_atomic,
)
from ferrosight.io.sidecars import read_metadata
from ferrosight.physics.labels import get_label
from ferrosight.study.baselines import BaselineChoice, HeldBaseline, choose_baseline, hold_baseline
from ferrosight.study.loads import LoadChoice, choose_load, without_load
from ferrosight.study.pet_visit import PetOutcome, run_pet_visits
from ferrosight.study.products import write_maps, write_report, write_summary, write_tables
from ferrosight.study.provenance import describe_run, hash_files
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.study.summary import CatalogueSummary, summarise_catalogue
from ferrosight.study.visit import BaselineScan, add_note, analyse_visit, as_baseline
from ferrosight.types import Calibration, Config, IronPerCell, Label, PhaseSign, Progress, UptakeCourse
from ferrosight.types.relapse import StudyKind

_LOG = logging.getLogger(__name__)


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
    """A visit that will be analysed, its label and its load, and what it is held against."""

    files: VisitFiles
    label: Label | None
    choice: BaselineChoice = field(default_factory=BaselineChoice)
    load: LoadChoice = field(default_factory=LoadChoice)


@dataclass(frozen=True)
class VisitOutcome:
    """What became of one visit: a summary and a report, or the ``error`` that ended it."""

    name: str
    subject: str
    session: str
    run: str
    wall_s: float
    peak_memory_mb: float | None
    summary: CatalogueSummary | None = None
    report: Path | None = None
    error: str = ""

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "visit": self.name,
            "subject": self.subject,
            "session": self.session or None,
            "run": self.run or None,
            "status": "failed" if self.summary is None else "done",
            "error": self.error or None,
            "wall_s": round(self.wall_s, 3),
            "peak_memory_mb": self.peak_memory_mb,
            "report": None if self.report is None else str(self.report),
            "catalogue": None if self.summary is None else self.summary.as_plain(),
        }


@dataclass(frozen=True)
class StudyOutcome:
    """What became of every visit, and of every PET scan."""

    visits: tuple[VisitOutcome, ...]
    pet: tuple[PetOutcome, ...] = ()

    @property
    def every(self) -> tuple[VisitOutcome | PetOutcome, ...]:
        """Visits and PET scans."""
        return (*self.visits, *self.pet)

    @property
    def failed(self) -> tuple[VisitOutcome | PetOutcome, ...]:
        """The visits that could not be analysed."""
        return tuple(visit for visit in self.every if visit.summary is None)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some visits failed, 2 none could be analysed."""
        if len(self.failed) == len(self.every):
            return 2
        return 1 if self.failed else 0

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"exit_code": self.exit_code, "visits": [visit.as_plain() for visit in self.every]}


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
    named = {participant.subject: participant.label for participant in read_participants(bids_dir)}

    def label_of(visit: VisitFiles) -> Label | None:
        label = options.label
        if label is None and named.get(visit.subject):
            label = get_label(named[visit.subject])
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
            )
            for visit in visits
            if visit.subject == subject
        ]
        # The visits of one baseline follow it, so that no more than one baseline is held at a time.
        planned += sorted(of_subject, key=_group)
    return tuple(planned)


def _group(planned: PlannedVisit) -> tuple[str, bool]:
    choice = planned.choice
    baseline = planned.files if choice.is_baseline else choice.baseline
    return "" if baseline is None else baseline.name, not choice.is_baseline


def run_study(
    planned: Iterable[PlannedVisit],
    out_dir: Path,
    options: StudyOptions,
    *,
    pet: Iterable[PetFile] = (),
    on_progress: Progress | None = None,
    on_visit: Callable[[VisitOutcome | PetOutcome], None] | None = None,
) -> StudyOutcome:
    """Analyse each visit, then each PET scan, and write its products under ``out_dir``.

    A visit that fails with a FerrosightError is recorded and the study goes on; its earlier products, if
    any, stay as they were. Where every visit fails nothing is written. A programming error rises.
    ``on_visit`` is called after each visit.
    """
    outcomes = []
    held: HeldBaseline | None = None
    with limit_cpus(options.n_cpus) as n_cpus:
        for visit in planned:
            held = _hold(visit, held, options, on_progress)
            outcome, baseline = _run_visit(visit, held, out_dir, options, n_cpus, on_progress)
            if visit.choice.is_baseline:
                held = HeldBaseline(visit.files, baseline, outcome.error)
            outcomes.append(outcome)
            if on_visit is not None:
                on_visit(outcome)
        pet_outcomes = run_pet_visits(pet, out_dir, options.config, n_cpus, on_progress=on_progress, on_visit=on_visit)
    study = StudyOutcome(tuple(outcomes), pet_outcomes)
    if study.exit_code != 2:
        write_json_atomic(output_path(out_dir, "study_summary"), study.as_plain())
    return study


def _check_writable(out_dir: Path) -> None:
    """Before hours of work, not after."""
    nearest = next(folder for folder in (out_dir, *out_dir.resolve().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"OUT_DIR {out_dir} must be writable, but {nearest} is not; choose another folder.")


def _hold(
    planned: PlannedVisit, held: HeldBaseline | None, options: StudyOptions, on_progress: Progress | None
) -> HeldBaseline | None:
    """The baseline of a visit, which is read and measured where it is not the one held already."""
    wanted = planned.choice.baseline
    if wanted is None or (held is not None and held.files == wanted):
        return held if wanted is not None else None
    return hold_baseline(wanted, options.phase_sign, options.config, on_progress)


def _run_visit(
    planned: PlannedVisit,
    held: HeldBaseline | None,
    out_dir: Path,
    options: StudyOptions,
    n_cpus: int,
    on_progress: Progress | None,
) -> tuple[VisitOutcome, BaselineScan | None]:
    """What became of the visit, and where it is a baseline what others need of it: no more is kept."""
    visit, started = planned.files, time.perf_counter()

    def report(what: str, done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(f"{visit.name}: {what}", done, total)

    try:
        baseline, summary, page = _analyse_and_write(planned, held, out_dir, options, n_cpus, report, started)
    except FerrosightError as error:
        _LOG.debug("%s failed", visit.name, exc_info=True)
        baseline, summary, page, message = None, None, None, str(error)
    else:
        message = ""
    outcome = VisitOutcome(
        name=visit.name,
        subject=visit.subject,
        session=visit.session,
        run=visit.run,
        wall_s=time.perf_counter() - started,
        peak_memory_mb=peak_memory_mb(),
        summary=summary,
        report=page,
        error=message,
    )
    return outcome, baseline


def _analyse_and_write(
    planned: PlannedVisit,
    held: HeldBaseline | None,
    out_dir: Path,
    options: StudyOptions,
    n_cpus: int,
    on_progress: Progress,
    started: float,
) -> tuple[BaselineScan | None, CatalogueSummary, Path]:
    visit, choice, config = planned.files, planned.choice, options.config
    on_progress("reading", 0, 1)
    scan = read_visit(visit, phase_sign=options.phase_sign)
    provenance = {
        **describe_run(config, planned.label, planned.load.iron_per_cell, n_cpus),
        "calibration": None if planned.load.calibration is None else dict(vars(planned.load.calibration)),
        "inputs_sha256": hash_files(_input_files(visit), visit.bids_dir),
        "is_baseline": choice.is_baseline,
        "baseline": None if choice.baseline is None else choice.baseline.name,
        # Another baseline gives other results.
        "baseline_sha256": {} if choice.baseline is None else hash_files(_input_files(choice.baseline), visit.bids_dir),
    }
    result = analyse_visit(
        scan,
        planned.label,
        baseline=None if held is None else held.baseline,
        is_baseline=choice.is_baseline,
        iron_per_cell=planned.load.iron_per_cell,
        calibration=planned.load.calibration,
        config=config,
        on_progress=on_progress,
    )
    without = choice.note or ("" if held is None else held.obstacle)
    if without:
        result = add_note(result, f"Judged without a baseline: {without}.")
    if planned.load.note and not choice.is_baseline:
        result = add_note(result, f"Cells are not counted: {planned.load.note}.")
    summary = summarise_catalogue(result.catalogue, scan.grid)
    on_progress("writing", 0, 1)
    write_dataset_description(out_dir)
    write_tables(result, out_dir, visit)
    write_maps(result, out_dir, visit)
    page = write_report(result, out_dir, visit, config=config, provenance=provenance, on_progress=on_progress)
    content = {
        "visit": visit.name,
        "catalogue": summary.as_plain(),
        "wall_s": time.perf_counter() - started,
        "peak_memory_mb": peak_memory_mb(),
        **provenance,
    }
    write_summary(content, out_dir, visit)
    return as_baseline(result) if choice.is_baseline else None, summary, page


def _input_files(visit: VisitFiles) -> list[Path]:
    """Every image of a visit and every sidecar that says something about it."""
    images = [file.path for file in visit.files]
    return [*images, *(path for image in images for path in read_metadata(image, visit.bids_dir).sources)]
