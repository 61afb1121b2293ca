"""What is made of a followed subject, and of all of them: the evidence of relapse, the subject's page, the study's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferrosight.errors import BidsError, FerrosightError, InputError
from ferrosight.io import (
    Participant,
    find_participant,
    find_pet_visits,
    output_path,
    read_participants,
    read_sessions,
    read_visit,
)
from ferrosight.report.study_lines import SubjectLine, summarise_subject
from ferrosight.study.outcomes import VisitOutcome
from ferrosight.study.pages import (
    project_scan,
    read_subject,
    tell_lineages,
    tell_pet_visits,
    tell_subject,
    tell_visits,
    write_study_page,
    write_subject_page,
)
from ferrosight.study.pet_course import trace_uptake
from ferrosight.study.pet_visit import PetOutcome, recall_pet_visits
from ferrosight.study.plan import PlannedVisit, StudyOptions
from ferrosight.study.provenance import describe_run
from ferrosight.study.relapse import SubjectRelapse, write_relapse
from ferrosight.study.relapse_pet import gather_pet
from ferrosight.study.relapse_series import FollowedVisit, name_protocol
from ferrosight.study.subject import SubjectResult
from ferrosight.types import Rigid
from ferrosight.types.story import Backdrop


@dataclass(frozen=True)
class FinishedSubject:
    """What the visits of a followed subject say about growth, and the page that tells of them."""

    relapse: SubjectRelapse
    page: Path


def finish_subject(
    result: SubjectResult,
    planned: Sequence[PlannedVisit],
    outcomes: Iterable[VisitOutcome],
    out_dir: Path,
    options: StudyOptions,
    n_cpus: int,
) -> FinishedSubject:
    """Weigh a followed subject's evidence of relapse, and write its table and its page.

    Parameters
    ----------
    result
        The tracks and the visits in order of time, as the files have them.
    planned, outcomes
        Every visit of the subject, those that failed included.

    Raises
    ------
    FerrosightError
        participants.tsv or the sessions table cannot be read.
    """
    bids_dir = planned[0].files.bids_dir
    files = find_pet_visits(bids_dir, [result.subject])
    pet = gather_pet(files, out_dir, result.subject, options.config.pet)
    visits = [
        FollowedVisit(
            visit.session,
            visit.day,
            name_protocol(visit.b0_t, visit.echo_times_s, visit.voxel_mm),
            visit.clusters,
            pet[visit.session].hot_spots if visit.session in pet else None,
            pet[visit.session].measure if visit.session in pet else None,
        )
        for visit in result.visits
        if not visit.is_baseline
    ]
    relapse, _ = write_relapse(
        result.tracks,
        visits,
        bids_dir=bids_dir,
        out_dir=out_dir,
        subject=result.subject,
        config=options.config,
        study_kind=options.study_kind,
    )
    label = next((visit.label for visit in planned if visit.label is not None), None)
    sessions = read_sessions(bids_dir, result.subject)
    told = tell_visits([outcome.as_plain() for outcome in outcomes], sessions)
    scans = recall_pet_visits(files, out_dir, lambda _: "it could not be analysed.")
    story = tell_subject(
        _find_participant(bids_dir, result.subject, relapse.study_kind or ""),
        told,
        result.tracks,
        relapse=relapse.table,
        relapse_notes=relapse.sentences,
        lineages=() if relapse.evidence is None else tell_lineages(relapse.evidence, relapse.lineages),
        label="" if label is None else label.label_id,
        backdrop=_draw_backdrop(result.subject, planned, out_dir, options),
        notes=result.notes,
        pet=tell_pet_visits([scan.as_plain() for scan in scans], sessions),
        uptake=trace_uptake(
            result.tracks, visits, [one.session for one in told], options.config.relapse.hot_spot_reach_mm
        ),
    )
    provenance = describe_run(options.config, label, options.iron_per_cell, n_cpus)
    return FinishedSubject(relapse, write_subject_page(out_dir, story, provenance))


def finish_study(
    bids_dir: Path,
    outcomes: Mapping[str, tuple[Sequence[VisitOutcome], Sequence[PetOutcome]]],
    out_dir: Path,
    options: StudyOptions,
    n_cpus: int,
) -> Path:
    """Write the page of the whole study, from the tables that its subjects left; returns its path.

    ``outcomes`` are those of every visit and every PET scan of each subject, by its name.

    Raises
    ------
    FerrosightError
        A table of the study or of a subject cannot be read.
    """
    lines = [_tell_line(bids_dir, subject, *of_subject, out_dir) for subject, of_subject in outcomes.items()]
    provenance = describe_run(options.config, options.label, options.iron_per_cell, n_cpus)
    return write_study_page(out_dir, _find_title(bids_dir), lines, provenance)


def _find_title(bids_dir: Path) -> str:
    """What the data set calls itself; its folder where it says nothing."""
    try:
        content = json.loads((bids_dir / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    name = content.get("Name") if isinstance(content, dict) else None
    return name.strip() if isinstance(name, str) and name.strip() else bids_dir.resolve().name


def _tell_line(
    bids_dir: Path, subject: str, outcomes: Sequence[VisitOutcome], scans: Sequence[PetOutcome], out_dir: Path
) -> SubjectLine:
    participant, sessions = _find_participant(bids_dir, subject), read_sessions(bids_dir, subject)
    visits = tell_visits([outcome.as_plain() for outcome in outcomes], sessions)
    try:
        story = read_subject(
            participant, visits, output_path(out_dir, "tracks", subject), output_path(out_dir, "relapse", subject)
        )
    except BidsError as error:
        said = f"{str(error).rstrip('.')}; remove that file and run the participant level, which makes it again."
        raise InputError(said) from error
    if not output_path(out_dir, "subject_report", subject).exists():
        story = dataclasses.replace(story, report="")
    told = tell_pet_visits([scan.as_plain() for scan in scans], sessions)
    return summarise_subject(dataclasses.replace(story, pet=told))


def _find_participant(bids_dir: Path, subject: str, study_kind: str = "") -> Participant:
    told = find_participant(read_participants(bids_dir), subject) or Participant(subject)
    return dataclasses.replace(told, subject=subject, study_kind=study_kind or told.study_kind)


def _draw_backdrop(
    subject: str, planned: Sequence[PlannedVisit], out_dir: Path, options: StudyOptions
) -> Backdrop | None:
    """The first visit that has its place in the subject's space, seen through; None where its scan cannot be read."""
    content: dict[str, Any] = json.loads(output_path(out_dir, "poses", subject).read_text(encoding="utf-8"))
    files = {visit.files.session: visit.files for visit in planned}
    for visit in content["visits"]:
        if visit["to_subject"] is None:
            continue
        to_subject = np.array(visit["to_subject"], dtype=np.float64)
        pose = Rigid(to_subject[:3, :3], to_subject[:3, 3])
        try:
            return project_scan(read_visit(files[visit["session"]], phase_sign=options.phase_sign), pose)
        except FerrosightError:
            return None
    return None
