"""What became of visits, subjects and a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferrosight.study.joint_visit import JointOutcome
from ferrosight.study.pet_visit import PetOutcome
from ferrosight.study.summary import CatalogueSummary


@dataclass(frozen=True)
class VisitOutcome:
    """What became of one visit: a summary and a report, or the ``error`` that ended it.

    Where it ``is_reused`` nothing had changed since it was analysed, and time and memory are those of then.
    """

    name: str
    subject: str
    session: str
    run: str
    wall_s: float
    peak_memory_mb: float | None
    summary: CatalogueSummary | None = None
    report: Path | None = None
    error: str = ""
    is_reused: bool = False

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "visit": self.name,
            "subject": self.subject,
            "session": self.session or None,
            "run": self.run or None,
            "status": "failed" if self.summary is None else "done",
            "error": self.error or None,
            "reused": self.is_reused,
            "wall_s": round(self.wall_s, 3),
            "peak_memory_mb": self.peak_memory_mb,
            "report": None if self.report is None else str(self.report),
            "catalogue": None if self.summary is None else self.summary.as_plain(),
        }


@dataclass(frozen=True)
class SubjectOutcome:
    """What became of following a subject: its table of tracks and its page, or the ``error`` that ended it.

    Where growth ``is_identifiable``, ``alarm_session`` is the first visit with an alarm, "" for none; ``relapse_notes``
    say what is known of growth and what is not.
    """

    subject: str
    tracks: Path | None = None
    n_tracks: int = 0
    notes: tuple[str, ...] = ()
    error: str = ""
    is_reused: bool = False
    report: Path | None = None
    is_identifiable: bool = False
    alarm_session: str = ""
    relapse_notes: tuple[str, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "subject": self.subject,
            "status": "failed" if self.error else "done",
            "error": self.error or None,
            "reused": self.is_reused,
            "tracks": None if self.tracks is None else str(self.tracks),
            "n_tracks": self.n_tracks,
            "notes": list(self.notes),
            "report": None if self.report is None else str(self.report),
            "growth_identifiable": self.is_identifiable,
            "alarm_session": self.alarm_session or None,
            "relapse_notes": list(self.relapse_notes),
        }


@dataclass(frozen=True)
class StudyOutcome:
    """What became of every visit, of every PET scan, of both together, and of every subject that was followed; the
    study's page."""

    visits: tuple[VisitOutcome, ...]
    pet: tuple[PetOutcome, ...] = ()
    subjects: tuple[SubjectOutcome, ...] = ()
    report: Path | None = None
    joint: tuple[JointOutcome, ...] = ()

    @property
    def every(self) -> tuple[VisitOutcome | PetOutcome, ...]:
        """Visits and PET scans."""
        return (*self.visits, *self.pet)

    @property
    def failed(self) -> tuple[VisitOutcome | PetOutcome, ...]:
        """The visits that could not be analysed."""
        return tuple(visit for visit in self.every if visit.summary is None)

    @property
    def not_followed(self) -> tuple[SubjectOutcome, ...]:
        """The subjects whose visits could not be followed."""
        return tuple(subject for subject in self.subjects if subject.error)

    @property
    def not_joined(self) -> tuple[JointOutcome, ...]:
        """The PET scans that could not be judged together with the MRI of their visit."""
        return tuple(one for one in self.joint if one.error)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some visits failed, or could not be joined or followed, 2 no visit could be analysed."""
        if len(self.failed) == len(self.every):
            return 2
        return 1 if self.failed or self.not_followed or self.not_joined else 0

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "exit_code": self.exit_code,
            "visits": [visit.as_plain() for visit in self.every],
            "joint": [one.as_plain() for one in self.joint],
            "subjects": [subject.as_plain() for subject in self.subjects],
            "report": None if self.report is None else str(self.report),
        }
