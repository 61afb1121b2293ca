"""One subject, from the files that its visits left to its tracks: only the last scan is still in memory."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferrosight.errors import BidsError, InputError
from ferrosight.io import output_path, read_table, read_visit, remove_file, write_json_atomic, write_table
from ferrosight.study.follow import FollowedSubject, VisitFacts, VisitToFollow, follow_subject
from ferrosight.study.plan import PlannedVisit, StudyOptions
from ferrosight.study.products import visit_path
from ferrosight.study.provenance import hash_content
from ferrosight.study.recall import SUBJECT_STAGES, FinishedVisit, pick_settings, recall_catalogue, recall_visit
from ferrosight.study.summary import plain_value
from ferrosight.types import CLUSTERS, FieldMap, Progress, Scan, Table
from ferrosight.types.schema import TRACKS


@dataclass(frozen=True)
class SubjectResult:
    """A followed subject as its files have it: ``tracks`` (schema TRACKS) and the visits in order of time.

    ``fingerprint`` is that of all they were made from; where it ``is_reused`` they were there already.
    """

    subject: str
    tracks: Table
    visits: tuple[VisitFacts, ...]
    notes: tuple[str, ...]
    fingerprint: str
    is_reused: bool


def follow_visits(
    planned: Sequence[PlannedVisit],
    fingerprints: Mapping[str, str],
    out_dir: Path,
    options: StudyOptions,
    *,
    pet_poses: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    measured: Mapping[str, tuple[Scan, FieldMap]] | None = None,
    on_progress: Progress | None = None,
) -> SubjectResult | None:
    """Follow a subject and write its tracks and poses, unless they are there already; None where nothing is labelled.

    Parameters
    ----------
    planned
        Every visit of the subject; those that are not finished are left out, which is noted.
    fingerprints
        Of each visit, by its name, as it would be analysed now; "" where that failed.
    pet_poses
        By session, how its PET scans lie beside its MRI: written beside the poses of MRI.
    measured
        Scans, by the visit's name, that are still at hand with their field maps, and need not be read again.

    Raises
    ------
    FerrosightError
        A visit was finished with other settings or input, days are known of some visits only, or a scan cannot be read.
    """
    chosen, notes = _choose_scans(planned)
    finished: dict[str, FinishedVisit] = {}
    for visit in chosen:
        done = recall_visit(out_dir, visit.files)
        if done is None or not fingerprints[visit.files.name]:
            notes.append(f"{visit.files.name} is not followed: it was not analysed, or that failed.")
        elif done.fingerprint != fingerprints[visit.files.name]:
            raise InputError(
                f"{visit.files.name} was analysed with other settings, another version or from other input than the "
                "visits that it is to be followed with; analyse all visits of the subject alike."
            )
        else:
            finished[visit.files.name] = done
    there = [visit for visit in chosen if visit.files.name in finished]
    if all(visit.choice.is_baseline for visit in there):
        return None
    pet = {session: list(poses) for session, poses in (pet_poses or {}).items()}
    fingerprint = _take_fingerprint(there, finished, options, notes, pet)
    subject = planned[0].files.subject
    before = _recall_subject(out_dir, subject, fingerprint, there)
    if before is not None:
        return before
    at_hand = measured or {}
    visits = [
        _prepare(visit, finished[visit.files.name], out_dir, options, at_hand.get(visit.files.name)) for visit in there
    ]
    followed = follow_subject(visits, options.config, on_progress=on_progress)
    poses = output_path(out_dir, "poses", subject)
    # What is there from before belongs to other tracks.
    remove_file(poses)
    write_table(followed.tracks, output_path(out_dir, "tracks", subject))
    notes += followed.notes
    write_json_atomic(poses, plain_value(_describe(followed, notes, fingerprint, options, pet)))
    return SubjectResult(subject, followed.tracks, followed.visits, tuple(notes), fingerprint, is_reused=False)


def _choose_scans(planned: Sequence[PlannedVisit]) -> tuple[list[PlannedVisit], list[str]]:
    """One scan per session: of the acquisition that most sessions have, and the first run; notes name the others."""
    sessions: dict[str, list[PlannedVisit]] = {}
    for visit in sorted(planned, key=lambda one: one.files.name):
        sessions.setdefault(visit.files.session, []).append(visit)
    common = Counter(name for scans in sessions.values() for name in {one.files.acquisition for one in scans})
    chosen, notes = [], []
    for scans in sessions.values():
        best = min(scans, key=lambda one: (-common[one.files.acquisition], one.files.acquisition, _run(one)))
        chosen.append(best)
        if len(scans) > 1:
            others = ", ".join(one.files.name for one in scans if one is not best)
            notes.append(f"Of one session one scan is followed: {best.files.name}, and not {others}.")
    return chosen, notes


def _run(visit: PlannedVisit) -> tuple[int, str]:
    run = visit.files.run
    return (int(run) if run.isdigit() else 0, run)


def _take_fingerprint(
    visits: Sequence[PlannedVisit],
    finished: Mapping[str, FinishedVisit],
    options: StudyOptions,
    notes: Sequence[str],
    pet: Mapping[str, Any],
) -> str:
    own = [(visit.files.session, plain_value(visit.day), finished[visit.files.name].fingerprint) for visit in visits]
    settings = pick_settings(options.config, SUBJECT_STAGES)
    return hash_content({"visits": own, "settings": settings, "notes": list(notes), **({"pet": pet} if pet else {})})


def _prepare(
    visit: PlannedVisit,
    finished: FinishedVisit,
    out_dir: Path,
    options: StudyOptions,
    measured: tuple[Scan, FieldMap] | None,
) -> VisitToFollow:
    return VisitToFollow(
        visit.files.session,
        visit.day,
        visit.choice.is_baseline,
        functools.partial(read_visit, visit.files, phase_sign=options.phase_sign),
        recall_catalogue(out_dir, finished),
        visit.label,
        visit.load.iron_per_cell,
        visit.load.calibration,
        measured,
    )


def _describe(
    followed: FollowedSubject,
    notes: Sequence[str],
    fingerprint: str,
    options: StudyOptions,
    pet: Mapping[str, Any],
) -> dict[str, Any]:
    """The poses file: where each visit lies in the subject's space, and what is to be known of the tracks."""
    visits = []
    for facts in followed.visits:
        pose = followed.space.pose(facts.session)
        known = pose.to_subject is not None
        visits.append(
            {
                "session": facts.session,
                "day": facts.day,
                "is_baseline": facts.is_baseline,
                "is_registered": facts.is_registered,
                "b0_t": facts.b0_t,
                "echo_times_s": facts.echo_times_s,
                "voxel_mm": facts.voxel_mm,
                "to_subject": pose.to_subject.affine if pose.to_subject is not None else None,
                "covariance": pose.to_subject.covariance if pose.to_subject is not None else None,
                "b0_direction": pose.b0_direction if known else None,
                "pet": pet.get(facts.session, []),
            }
        )
    pairs = [
        {
            "first": pair.first,
            "second": pair.second,
            "status": pair.status,
            "overlap": pair.overlap,
            "similarity": pair.similarity,
            "error_mm": pair.error_mm,
            "loop_mm": pair.loop_mm,
        }
        for pair in followed.space.pairs
    ]
    return {
        "Description": "to_subject takes a visit's scanner RAS+ mm to the subject's; covariance (6 x 6) is that of a "
        "small motion after it, mm and rad, about the subject's origin. Under pet, to_mri takes PET's RAS+ mm to that "
        "visit's MRI's.",
        "visits": visits,
        "pairs": pairs,
        "n_tracks": len(followed.track_set.track_ids),
        "optimality_gap": followed.track_set.optimality.gap,
        "notes": list(notes),
        "settings": options.config.as_dict(),
        "fingerprint": fingerprint,
    }


def _recall_subject(
    out_dir: Path, subject: str, fingerprint: str, planned: Sequence[PlannedVisit]
) -> SubjectResult | None:
    """The subject as its files have it, where they were made from the same."""
    path, tracks = output_path(out_dir, "poses", subject), output_path(out_dir, "tracks", subject)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["fingerprint"] != fingerprint or not tracks.exists():
            return None
        files = {visit.files.session: visit.files for visit in planned}
        visits = tuple(
            VisitFacts(
                one["session"],
                math.nan if one["day"] is None else one["day"],
                one["is_baseline"],
                one["is_registered"],
                one["b0_t"],
                tuple(one["echo_times_s"]),
                tuple(one["voxel_mm"]),
                read_table(CLUSTERS, visit_path(out_dir, "clusters", files[one["session"]])),
            )
            for one in content["visits"]
        )
        return SubjectResult(subject, read_table(TRACKS, tracks), visits, tuple(content["notes"]), fingerprint, True)
    except (OSError, ValueError, KeyError, TypeError, BidsError):
        # Damaged or made by another version: it is made anew.
        return None
