"""From what an analysis left, in memory or on disk, to the pages of its subjects and of the study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.io import output_path
from ferrosight.io.participants import Participant, Session, find_session
from ferrosight.io.tables import read_table
from ferrosight.report.overview import choose_layout
from ferrosight.report.study import write_study_report
from ferrosight.report.study_lines import SubjectLine
from ferrosight.report.subject import write_subject_report
from ferrosight.types import Rigid, Scan, Table
from ferrosight.types.relapse import RelapseEvidence
from ferrosight.types.schema import RELAPSE, TRACKS
from ferrosight.types.story import Backdrop, LineageEvidence, PetCourse, PetVisit, StoryVisit, SubjectStory

_Visit = TypeVar("_Visit", StoryVisit, PetVisit)

#: A backdrop has at most so many pixels along an axis, and averages so many samples along the line of sight.
_MAX_PIXELS, _MAX_SAMPLES = 240, 96
#: Voxel edges are met to within so many voxels.
_EDGE = 1e-6


def tell_visits(outcomes: Iterable[Mapping[str, Any]], sessions: Iterable[Session] = ()) -> tuple[StoryVisit, ...]:
    """The visits of one subject in order of time.

    Parameters
    ----------
    outcomes
        What became of each of the subject's scans, as ``VisitOutcome.as_plain`` says it and ``summary.json`` keeps it.
    sessions
        Lines of the subject's sessions.tsv: days, and which visit is a baseline.

    Returns
    -------
    One visit per session: several scans of a session are one, which failed only if all of them did. Visits without a
    day keep their place among the others.
    """
    lines = tuple(sessions)
    scans: dict[str, list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        scans.setdefault(outcome["session"] or "", []).append(outcome)
    told = {name: find_session(lines, name) or Session(name) for name in scans}
    visits = [_tell_visit(name, told[name], of_visit) for name, of_visit in scans.items()]
    return _order_by_day(visits)


def _tell_visit(name: str, line: Session, scans: Sequence[Mapping[str, Any]]) -> StoryVisit:
    done = [scan for scan in scans if scan["status"] == "done"]
    failed = [scan for scan in scans if scan["status"] != "done"]
    notes = [note for scan in done for note in (scan["catalogue"] or {}).get("notes", ())]
    if done:
        notes += [f"{scan['visit']} failed: {scan['error']}" for scan in failed]
    if len(done) > 1:
        notes.append(f"{len(done)} scans were analysed: {', '.join(str(scan['visit']) for scan in done)}.")
    folder = f"ses-{name}/" if name else ""
    counts = [int((scan["catalogue"] or {}).get("n_accepted", 0)) for scan in done]
    return StoryVisit(
        session=name,
        day=line.day,
        is_baseline=line.baseline,
        error="" if done else " ".join(str(scan["error"] or "no reason was given") for scan in failed),
        n_accepted=sum(counts) if done else None,
        report=f"{folder}{done[0]['visit']}_report.html" if done else "",
        notes=tuple(dict.fromkeys(notes)),
    )


def tell_pet_visits(outcomes: Iterable[Mapping[str, Any]], sessions: Iterable[Session] = ()) -> tuple[PetVisit, ...]:
    """The PET scans of one subject in order of time; those without a day keep their place among the others.

    ``outcomes`` are what became of each, as ``PetOutcome.as_plain`` says it and ``summary.json`` keeps it.
    """
    lines = tuple(sessions)
    scans = []
    for outcome in outcomes:
        line = find_session(lines, outcome["session"] or "")
        found = outcome["catalogue"] or {}
        peak = found.get("highest_suv_peak")
        scans.append(
            PetVisit(
                str(outcome["visit"]),
                outcome["session"] or "",
                math.nan if line is None else line.day,
                str(outcome["error"] or ""),
                found.get("n_accepted"),
                math.nan if peak is None else float(peak),
            )
        )
    return _order_by_day(scans)


def _order_by_day(visits: Sequence[_Visit]) -> tuple[_Visit, ...]:
    """In order of time; those without a day keep their place among the others."""
    dated = iter(sorted((visit for visit in visits if math.isfinite(visit.day)), key=lambda visit: visit.day))
    return tuple(next(dated) if math.isfinite(visit.day) else visit for visit in visits)


def tell_lineages(evidence: RelapseEvidence, names: Sequence[Sequence[str]]) -> tuple[LineageEvidence, ...]:
    """What each lineage says; ``names`` are the tracks of each. New clusters are one of their own where they count."""
    lineages = [
        LineageEvidence(quantity, tuple(tracks), values, growing)
        for quantity, tracks, values, growing in zip(
            evidence.quantities, names, evidence.e_values, evidence.growing, strict=True
        )
    ]
    births = evidence.birth_e_values
    if evidence.identifiable and np.any(births != 1):
        lineages.append(LineageEvidence("births", (), births, np.zeros(len(births), dtype=np.bool_)))
    return tuple(lineages)


def tell_subject(
    participant: Participant,
    visits: Sequence[StoryVisit],
    tracks: Table,
    *,
    relapse: Table | None = None,
    relapse_notes: Sequence[str] = (),
    lineages: Sequence[LineageEvidence] = (),
    label: str = "",
    backdrop: Backdrop | None = None,
    notes: Sequence[str] = (),
    pet: Sequence[PetVisit] = (),
    uptake: Sequence[PetCourse] = (),
) -> SubjectStory:
    """The story of one subject.

    ``relapse`` (schema RELAPSE) is None where growth was not tested; ``lineages``, of ``tell_lineages``, belong to it.
    ``label`` is its name, that of the participant where empty.
    """
    return SubjectStory(
        subject=participant.subject,
        group=participant.group,
        study_kind=participant.study_kind,
        label=label or participant.label,
        visits=tuple(visits),
        tracks=tracks,
        relapse=relapse,
        relapse_notes=tuple(relapse_notes),
        lineages=tuple(lineages),
        backdrop=backdrop,
        notes=tuple(notes),
        report=output_path("", "subject_report", participant.subject).as_posix(),
        pet=tuple(pet),
        uptake=tuple(uptake),
    )


def read_subject(
    participant: Participant, visits: Sequence[StoryVisit], tracks_path: Path, relapse_path: Path
) -> SubjectStory:
    """The story that the files of an earlier run still tell; a missing table is an empty one, or a test not done.

    Raises
    ------
    BidsError
        A table cannot be read.
    """
    tracks = read_table(TRACKS, tracks_path) if tracks_path.is_file() else Table(TRACKS, {})
    relapse = read_table(RELAPSE, relapse_path) if relapse_path.is_file() else None
    return tell_subject(participant, visits, tracks, relapse=relapse)


def write_subject_page(out_dir: Path, story: SubjectStory, provenance: Mapping[str, Any]) -> Path:
    """Write a subject's page under ``out_dir``; returns its path."""
    path = output_path(out_dir, "subject_report", story.subject)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_subject_report(path, story, provenance=provenance)
    return path


def write_study_page(
    out_dir: Path, title: str, subjects: Sequence[SubjectStory | SubjectLine], provenance: Mapping[str, Any]
) -> Path:
    """Write the study's page into ``out_dir``; returns its path."""
    path = output_path(out_dir, "study_report")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_study_report(path, title, subjects, provenance=provenance)
    return path


def project_scan(scan: Scan, to_subject: Rigid | None = None) -> Backdrop:
    """The mean magnitude of the first echo projected onto the largest plane, coronal where all are alike.

    It lies in the subject's own space. ``to_subject`` takes the scan's RAS+ mm to the subject's; None where they are
    the same. Each pixel averages samples (linear interpolation) along its line of sight inside the image; NaN where
    the line misses it.
    """
    motion = Rigid.identity() if to_subject is None else to_subject
    shape = np.array(scan.grid.shape)
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    placed = motion.apply(scan.grid.to_mm(corners))
    low, span = placed.min(axis=0), np.ptp(placed, axis=0)
    layout = choose_layout((float(span[0]), float(span[1]), float(span[2])))
    order = [layout.across, layout.up, layout.through]
    finest = min(scan.grid.voxel_mm)
    n = np.clip(np.round(span[order] / finest), 1, (_MAX_PIXELS, _MAX_PIXELS, _MAX_SAMPLES)).astype(np.int64)
    step = span[order] / n
    samples = _resample(np.abs(scan.signal[0]), scan.grid.affine, motion.affine, order, low, step, n)
    known = np.isfinite(samples)
    count = known.sum(axis=2)
    image = np.where(count > 0, np.where(known, samples, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)
    across, up, through = ("xyz"[axis] for axis in order)
    ends = low + span
    return Backdrop(
        image,
        (across, up),
        (low[layout.across], ends[layout.across], low[layout.up], ends[layout.up]),
        f"mean magnitude along {through}" + (f", {scan.session}" if scan.session else ""),
    )


def _resample(
    volume: NDArray[np.float32],
    affine: NDArray[np.float64],
    motion: NDArray[np.float64],
    order: Sequence[int],
    low: NDArray[np.float64],
    step: NDArray[np.float64],
    n: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The volume on a lattice along the subject's axes in this ``order``, NaN outside."""
    to_mm = np.eye(4)
    to_mm[:3, :3] = 0.0
    for index, axis in enumerate(order):
        to_mm[axis, index] = step[index]
        to_mm[axis, 3] = low[axis] + 0.5 * step[index]
    to_ijk = np.linalg.inv(motion @ affine) @ to_mm
    size = (int(n[0]), int(n[1]), int(n[2]))
    out = ndimage.affine_transform(volume, to_ijk[:3, :3], to_ijk[:3, 3], size, order=1, mode="nearest")
    places = np.ogrid[tuple(slice(length) for length in size)]
    for axis, length in enumerate(volume.shape):
        index = to_ijk[axis, 3] + sum(to_ijk[axis, k] * places[k] for k in range(3))
        out[np.abs(index - 0.5 * (length - 1)) > 0.5 * length + _EDGE] = np.nan
    return np.asarray(out, dtype=np.float32)
