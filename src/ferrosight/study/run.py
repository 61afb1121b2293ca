"""A whole study: every visit of every chosen subject, then the subject; each failure recorded, nothing done twice."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from ferrosight import __version__
from ferrosight.errors import FerrosightError
from ferrosight.io import (
    PetFile,
    VisitFiles,
    find_pet_visits,
    output_path,
    read_visit,
    remove_file,
    write_dataset_description,
    write_json_atomic,
)
from ferrosight.study.baselines import HeldBaseline, hold_baseline
from ferrosight.study.finish import finish_study, finish_subject
from ferrosight.study.joint_visit import JointOutcome, join_visits, recall_joint_visits, recall_poses
from ferrosight.study.outcomes import StudyOutcome, SubjectOutcome, VisitOutcome
from ferrosight.study.pet_visit import PetOutcome, recall_pet_visits, run_pet_visits
from ferrosight.study.plan import PlannedVisit, StudyOptions, list_inputs, plan_study
from ferrosight.study.products import visit_path, write_maps, write_report, write_summary, write_tables
from ferrosight.study.provenance import describe_run, hash_content, hash_files
from ferrosight.study.recall import SUBJECT_STAGES, VISIT_STAGES, FinishedVisit, hash_settings, recall_visit
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.study.store import Store, Work
from ferrosight.study.subject import follow_visits
from ferrosight.study.summary import plain_value, summarise_catalogue
from ferrosight.study.visit import add_note, analyse_visit, as_baseline
from ferrosight.types import FieldMap, Progress, Scan

__all__ = [
    "PlannedVisit",
    "StudyOptions",
    "StudyOutcome",
    "SubjectOutcome",
    "VisitOutcome",
    "gather_study",
    "plan_study",
    "run_study",
]

_LOG = logging.getLogger(__name__)

Level = Literal["participant", "group"]


def run_study(
    planned: Iterable[PlannedVisit],
    out_dir: Path,
    options: StudyOptions,
    *,
    pet: Iterable[PetFile] = (),
    level: Level | None = None,
    on_progress: Progress | None = None,
    on_visit: Callable[[VisitOutcome | PetOutcome], None] | None = None,
    on_joint: Callable[[JointOutcome], None] | None = None,
    on_subject: Callable[[SubjectOutcome], None] | None = None,
) -> StudyOutcome:
    """Analyse each visit and PET scan, judge those of one visit together, follow each subject, and write all of it.

    A visit that is finished, and was made from the same input with the same settings, is not analysed again. A visit or
    a subject that fails with a FerrosightError is recorded and the study goes on; its earlier products, if any, stay as
    they were. Where every visit fails nothing is written. A programming error rises. ``level`` "participant" leaves
    out what is the whole study's, "group" does nothing else; None does both. ``on_visit`` is called after each visit,
    ``on_joint`` after MRI and PET of one were judged together, ``on_subject`` after each subject that was followed.
    """
    planned, pet = tuple(planned), tuple(pet)
    if level == "group":
        return gather_study(planned, out_dir, options, pet=pet, on_visit=on_visit)
    runner = _Runner(out_dir, options, Store(output_path(out_dir, "store")), on_progress)
    visits: list[VisitOutcome] = []
    scans: list[PetOutcome] = []
    joint: list[JointOutcome] = []
    subjects: list[SubjectOutcome] = []
    with limit_cpus(options.n_cpus) as n_cpus:
        runner.n_cpus = n_cpus
        for subject in dict.fromkeys([visit.files.subject for visit in planned] + [file.subject for file in pet]):
            for visit in planned:
                if visit.files.subject != subject:
                    continue
                visits.append(runner.run_visit(visit))
                if on_visit is not None:
                    on_visit(visits[-1])
            files = [file for file in pet if file.subject == subject]
            found = run_pet_visits(files, out_dir, options.config, n_cpus, on_progress=on_progress, on_visit=on_visit)
            runner.record_pet(found)
            scans += found
            joint += join_visits(planned, files, out_dir, options, on_progress=on_progress, on_joint=on_joint)
            followed = runner.run_subject(subject, planned)
            if followed is not None:
                subjects.append(followed)
                if on_subject is not None:
                    on_subject(followed)
    study = StudyOutcome(tuple(visits), tuple(scans), tuple(subjects), joint=tuple(joint))
    return study if level == "participant" else _write_study(study, planned, pet, out_dir, options, n_cpus)


def gather_study(
    planned: Sequence[PlannedVisit],
    out_dir: Path,
    options: StudyOptions,
    *,
    pet: Sequence[PetFile] = (),
    on_visit: Callable[[VisitOutcome | PetOutcome], None] | None = None,
) -> StudyOutcome:
    """What became of the visits, PET scans and subjects so far, read off their files, and the study's own products."""
    store = Store(output_path(out_dir, "store"))
    subjects = []
    for subject in dict.fromkeys(visit.files.subject for visit in planned):
        work = store.read("subject", subject)
        path = output_path(out_dir, "tracks", subject)
        if work is not None and work.error:
            subjects.append(SubjectOutcome(subject, error=work.error))
        elif path.exists():
            subjects.append(SubjectOutcome(subject, path, is_reused=True))
    study = StudyOutcome(
        tuple(_recall_outcomes(planned, out_dir, store)),
        _recall_pet(pet, out_dir, store),
        tuple(subjects),
        joint=recall_joint_visits(pet, out_dir),
    )
    if on_visit is not None:
        for outcome in study.every:
            on_visit(outcome)
    return _write_study(study, planned, pet, out_dir, options, 1)


def _recall_outcomes(planned: Iterable[PlannedVisit], out_dir: Path, store: Store) -> list[VisitOutcome]:
    """What became of visits, as their files and the store have it."""
    visits = []
    for visit in planned:
        done = recall_visit(out_dir, visit.files)
        if done is not None:
            visits.append(_recall_outcome(done, out_dir))
            continue
        work = store.read("visit", visit.files.name)
        said = "" if work is None else work.error
        visits.append(_fail(visit, 0.0, said or "it has not been analysed yet; run the participant level."))
    return visits


def _recall_pet(files: Iterable[PetFile], out_dir: Path, store: Store) -> tuple[PetOutcome, ...]:
    """What became of PET scans, as their files and the store have it."""

    def find_error(name: str) -> str:
        work = store.read("pet", name)
        return "" if work is None else work.error

    return recall_pet_visits(files, out_dir, find_error)


def _write_study(
    study: StudyOutcome,
    planned: Sequence[PlannedVisit],
    pet: Sequence[PetFile],
    out_dir: Path,
    options: StudyOptions,
    n_cpus: int,
) -> StudyOutcome:
    """The study's summary and page; the outcome with that page's path. Nothing is written where every visit failed."""
    if study.exit_code == 2:
        return study
    store = Store(output_path(out_dir, "store"))
    bids_dir = planned[0].files.bids_dir if planned else pet[0].bids_dir
    chosen = list(dict.fromkeys([visit.files.subject for visit in planned] + [file.subject for file in pet]))
    # Of a subject all visits are told, whichever were chosen.
    every = plan_study(bids_dir, out_dir, options, subjects=chosen) if planned else ()
    files = find_pet_visits(bids_dir, chosen)
    outcomes = {
        subject: (
            _recall_outcomes([one for one in every if one.files.subject == subject], out_dir, store),
            _recall_pet([file for file in files if file.subject == subject], out_dir, store),
        )
        for subject in chosen
    }
    study = dataclasses.replace(study, report=finish_study(bids_dir, outcomes, out_dir, options, n_cpus))
    write_json_atomic(output_path(out_dir, "study_summary"), study.as_plain())
    return study


@dataclasses.dataclass
class _Runner:
    """One run over a study: what is shared from visit to visit.

    No more than one baseline is held at a time, and no more than one other scan: the ``last`` that was analysed, by its
    visit's name, until its subject was followed.
    """

    out_dir: Path
    options: StudyOptions
    store: Store
    on_progress: Progress | None
    n_cpus: int = 1
    held: HeldBaseline | None = None
    last: dict[str, tuple[Scan, FieldMap]] = dataclasses.field(default_factory=dict)
    provenances: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def run_visit(self, planned: PlannedVisit) -> VisitOutcome:
        """What became of the visit, analysed now or finished before from the same input and settings."""
        started, visit = time.perf_counter(), planned.files
        fingerprint, inputs = "", {}
        try:
            provenance = self.describe(planned)
            fingerprint, inputs = provenance["fingerprint"], provenance["inputs_sha256"]
            done = None if planned.is_named else recall_visit(self.out_dir, visit)
            if done is not None and done.fingerprint == fingerprint:
                outcome = _recall_outcome(done, self.out_dir)
            else:
                outcome = self._analyse(planned, provenance, started)
        except FerrosightError as error:
            _LOG.debug("%s failed", visit.name, exc_info=True)
            if planned.choice.is_baseline:
                self.held = HeldBaseline(visit, None, str(error))
            outcome = _fail(planned, time.perf_counter() - started, str(error))
        state: Literal["done", "failed"] = "failed" if outcome.error else "done"
        settings = hash_settings(self.options.config, VISIT_STAGES)
        self.store.record(Work("visit", visit.name, state, fingerprint, settings, inputs, outcome.error))
        return outcome

    def record_pet(self, outcomes: Iterable[PetOutcome]) -> None:
        """Set down what became of PET scans: why one failed stands nowhere else."""
        settings = hash_settings(self.options.config, ("pet",))
        for one in outcomes:
            state: Literal["done", "failed"] = "failed" if one.error else "done"
            self.store.record(Work("pet", one.name, state, "", settings, {}, one.error))

    def run_subject(self, subject: str, planned: Sequence[PlannedVisit]) -> SubjectOutcome | None:
        """Follow a subject from the files of all its visits, chosen or not; None where there is nothing to follow."""
        every = [visit for visit in planned if visit.files.subject == subject]
        if any(visit.is_named for visit in every):
            every = list(plan_study(every[0].files.bids_dir, self.out_dir, self.options, subjects=[subject]))
        if not any(recall_visit(self.out_dir, visit.files) for visit in every):
            return None
        # Not held any longer than following takes, however that ends.
        measured, self.last = self.last, {}
        fingerprints: dict[str, str] = {}
        try:
            fingerprints = {visit.files.name: self._take_fingerprint(visit) for visit in every}
            result = follow_visits(
                every,
                fingerprints,
                self.out_dir,
                self.options,
                pet_poses=recall_poses(find_pet_visits(every[0].files.bids_dir, [subject]), self.out_dir),
                measured=measured,
                on_progress=self._name_progress(f"sub-{subject}"),
            )
            if result is None:
                return None
            outcomes = _recall_outcomes(every, self.out_dir, self.store)
            finished = finish_subject(result, every, outcomes, self.out_dir, self.options, self.n_cpus)
        except FerrosightError as error:
            _LOG.debug("sub-%s could not be followed", subject, exc_info=True)
            result, outcome = None, SubjectOutcome(subject, error=str(error))
        else:
            path = output_path(self.out_dir, "tracks", subject)
            n_tracks = len(set(result.tracks["track_id"].tolist()))
            relapse = finished.relapse
            outcome = SubjectOutcome(
                subject,
                path,
                n_tracks,
                result.notes,
                is_reused=result.is_reused,
                report=finished.page,
                is_identifiable=relapse.identifiable,
                alarm_session=str(relapse.table["session_id"][relapse.first_alarm]) if relapse.first_alarm >= 0 else "",
                relapse_notes=relapse.sentences,
            )
        state: Literal["done", "failed"] = "failed" if outcome.error else "done"
        settings = hash_settings(self.options.config, SUBJECT_STAGES)
        made_from = "" if result is None else result.fingerprint
        self.store.record(Work("subject", subject, state, made_from, settings, fingerprints, outcome.error))
        return outcome

    def describe(self, planned: PlannedVisit) -> dict[str, Any]:
        """All that a visit's results are made from, and a fingerprint of what they depend on."""
        name = planned.files.name
        if name not in self.provenances:
            self.provenances[name] = _describe_visit(planned, self.options, self.n_cpus)
        return self.provenances[name]

    def _take_fingerprint(self, planned: PlannedVisit) -> str:
        """Of a visit as it would be analysed now; "" where that failed."""
        work = self.store.read("visit", planned.files.name)
        if work is not None and work.state == "failed":
            return ""
        return str(self.describe(planned)["fingerprint"])

    def _name_progress(self, name: str) -> Progress:
        def report(what: str, done: int, total: int) -> None:
            if self.on_progress is not None:
                self.on_progress(f"{name}: {what}", done, total)

        return report

    def _hold(self, planned: PlannedVisit) -> HeldBaseline | None:
        """The baseline of a visit, which is read and measured where it is not the one held already."""
        wanted = planned.choice.baseline
        if wanted is None:
            return None
        if self.held is None or self.held.files != wanted:
            self.held = hold_baseline(wanted, self.options.phase_sign, self.options.config, self.on_progress)
        return self.held

    def _analyse(self, planned: PlannedVisit, provenance: dict[str, Any], started: float) -> VisitOutcome:
        visit, choice, config = planned.files, planned.choice, self.options.config
        self.last = {}
        on_progress = self._name_progress(visit.name)
        held = self._hold(planned)
        on_progress("reading", 0, 1)
        scan = read_visit(visit, phase_sign=self.options.phase_sign)
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
        # Until all is written the visit is not finished, whatever was there before.
        remove_file(visit_path(self.out_dir, "summary", visit))
        write_dataset_description(self.out_dir)
        write_tables(result, self.out_dir, visit)
        write_maps(result, self.out_dir, visit)
        page = write_report(result, self.out_dir, visit, config=config, provenance=provenance, on_progress=on_progress)
        wall_s, peak = time.perf_counter() - started, peak_memory_mb()
        about = {"visit": visit.name, "catalogue": summary.as_plain(), "wall_s": wall_s, "peak_memory_mb": peak}
        write_summary({**about, **provenance}, self.out_dir, visit)
        if choice.is_baseline:
            self.held = HeldBaseline(visit, as_baseline(result))
        self.last = {visit.name: (scan, result.field_map)}
        return VisitOutcome(visit.name, visit.subject, visit.session, visit.run, wall_s, peak, summary, page)


def _describe_visit(planned: PlannedVisit, options: StudyOptions, n_cpus: int) -> dict[str, Any]:
    """What a visit was made from, for its summary; another baseline gives other results."""
    visit, choice = planned.files, planned.choice
    provenance = {
        **describe_run(options.config, planned.label, planned.load.iron_per_cell, n_cpus),
        "calibration": None if planned.load.calibration is None else dict(vars(planned.load.calibration)),
        "inputs_sha256": hash_files(list_inputs(visit), visit.bids_dir),
        "is_baseline": choice.is_baseline,
        "baseline": None if choice.baseline is None else choice.baseline.name,
        "baseline_sha256": {} if choice.baseline is None else _hash_baseline(choice.baseline),
    }
    asked = {name: provenance[name] for name in provenance if name not in ("software", "settings", "n_cpus")}
    asked |= {
        "code": __version__,
        "settings_sha256": hash_settings(options.config, VISIT_STAGES),
        "phase_sign": None if options.phase_sign is None else options.phase_sign.name,
        "notes": [choice.note, planned.load.note],
    }
    return {**provenance, "fingerprint": hash_content(plain_value(asked))}


def _hash_baseline(baseline: VisitFiles) -> dict[str, str]:
    """Hashes of a baseline's files, or why they cannot be read: visits are judged without it then, and say so."""
    try:
        return hash_files(list_inputs(baseline), baseline.bids_dir)
    except FerrosightError as error:
        return {"unreadable": str(error)}


def _recall_outcome(done: FinishedVisit, out_dir: Path) -> VisitOutcome:
    visit, content = done.files, done.content
    times = float(content["wall_s"]), content["peak_memory_mb"]
    page = visit_path(out_dir, "report", visit)
    about = visit.name, visit.subject, visit.session, visit.run
    return VisitOutcome(*about, *times, done.summary, page, is_reused=True)


def _fail(planned: PlannedVisit, wall_s: float, error: str) -> VisitOutcome:
    visit = planned.files
    about = visit.name, visit.subject, visit.session, visit.run
    return VisitOutcome(*about, wall_s, peak_memory_mb(), error=error)
