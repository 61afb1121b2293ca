"""Which scans of a subject were made without label, and which of them a labelled visit is held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ferrosight.errors import FerrosightError
from ferrosight.io import Session, VisitFiles, find_session, read_visit
from ferrosight.io.bids_names import same_label
from ferrosight.study.visit import BaselineScan, prepare_baseline
from ferrosight.types import Config, PhaseSign, Progress


@dataclass(frozen=True)
class BaselineChoice:
    """What a visit is: a baseline itself, or a labelled one with the ``baseline`` it is held against.

    ``note`` says why there is none where the subject has any; "" otherwise.
    """

    is_baseline: bool = False
    baseline: VisitFiles | None = None
    note: str = ""


@dataclass(frozen=True)
class HeldBaseline:
    """A baseline that is ready to be measured, or the ``error`` for which it is not."""

    files: VisitFiles
    baseline: BaselineScan | None
    error: str = ""

    @property
    def obstacle(self) -> str:
        """Why it cannot be used; "" where it can."""
        if self.baseline is not None:
            return ""
        return f"the baseline {self.files.name} could not be analysed ({self.error.rstrip('.')})"


def hold_baseline(
    files: VisitFiles, phase_sign: PhaseSign | None, config: Config, on_progress: Progress | None = None
) -> HeldBaseline:
    """Read and measure a baseline that is not analysed as a visit of its own; one that fails says why."""

    def report(what: str, done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(f"{files.name}: {what}", done, total)

    try:
        scan = read_visit(files, phase_sign=phase_sign)
        return HeldBaseline(files, prepare_baseline(scan, config=config, on_progress=report))
    except FerrosightError as error:
        return HeldBaseline(files, None, str(error))


def choose_baseline(visit: VisitFiles, visits: Iterable[VisitFiles], sessions: Sequence[Session]) -> BaselineChoice:
    """The nearest baseline on or before the visit's day, of the same acquisition and run, or else the only one then.

    Parameters
    ----------
    visits
        Every visit of the subject, chosen for analysis or not.
    sessions
        The lines of the subject's sessions.tsv.
    """
    own = find_session(sessions, visit.session)
    if own is not None and own.baseline:
        return BaselineChoice(is_baseline=True)
    visits = tuple(visits)
    lines = {one.session: find_session(sessions, one.session) for one in visits}
    days = {session: line.day for session, line in lines.items() if line is not None and line.baseline}
    baselines = [one for one in visits if one.session in days]
    if not baselines:
        named = ", ".join(f"ses-{one.session}" for one in sessions if one.baseline)
        return BaselineChoice(note=f"the baseline of {visit.name} has no gradient-echo scan ({named})" if named else "")
    day = math.nan if own is None else own.day
    if math.isnan(day):
        return BaselineChoice(note=f"the day of {visit.name} is not known, so no baseline can be said to be before it")
    earlier = {session: then for session, then in days.items() if then <= day}
    if not earlier:
        names = ", ".join(one.name for one in baselines)
        return BaselineChoice(note=f"no baseline scan is known to be before {visit.name} ({names})")
    nearest = max(earlier, key=lambda session: earlier[session])
    there = [one for one in baselines if one.session == nearest]
    same = [one for one in there if same_label(one.acquisition, visit.acquisition) and same_label(one.run, visit.run)]
    if len(same) == 1 or len(there) == 1:
        return BaselineChoice(baseline=(same or there)[0])
    names = ", ".join(one.name for one in there)
    return BaselineChoice(note=f"several baseline scans could be meant and none has the visit's acq and run ({names})")
