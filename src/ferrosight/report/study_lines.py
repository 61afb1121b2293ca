"""A study in a line per subject: what each amounts to, and what groups of them have in common."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ferrosight.report.course import CELLS, IRON, MOMENT, Course, Quantity
from ferrosight.report.story_words import growth_state
from ferrosight.types.story import PetVisit, SubjectStory

#: A group's mean at a visit needs at least so many subjects.
LEAST_SUBJECTS = 2


@dataclass(frozen=True, eq=False)
class Series:
    """Totals of a subject at the visits that have one: each (n,)."""

    visit: NDArray[np.int64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SubjectLine:
    """What a study's page tells of one subject.

    ``days`` (n_visits,) are NaN where unknown; ``totals`` holds a series per quantity that the subject has. ``state``
    is that of ``growth_state``; ``alarm`` and ``last_tested`` are visits, −1 for none. ``failures`` are visits (names)
    with their reasons, PET scans after the others. ``pet`` are all PET scans.
    """

    subject: str
    group: str
    report: str
    days: NDArray[np.float64]
    n_done: int
    n_tracks: int
    totals: dict[str, Series]
    state: str
    alarm: int
    last_tested: int
    failures: tuple[tuple[str, str], ...]
    pet: tuple[PetVisit, ...] = ()

    @property
    def has_mri(self) -> bool:
        """Whether it has any visit of MRI, failed ones included."""
        return len(self.days) > 0

    @property
    def n_pet_done(self) -> int:
        """PET scans that were analysed."""
        return sum(not scan.failed for scan in self.pet)

    @property
    def has_days(self) -> bool:
        """Whether every visit that matters has its day."""
        used = {int(i) for series in self.totals.values() for i in series.visit} | {self.alarm, self.last_tested}
        return bool(np.isfinite(self.days[[i for i in used if i >= 0]]).all())

    def time(self, visits: NDArray[np.int64] | int, *, in_days: bool) -> NDArray[np.float64]:
        """When visits were: their days, or their numbers from 1."""
        return np.asarray(self.days[visits] if in_days else np.asarray(visits) + 1.0, dtype=np.float64)


def summarise_subject(story: SubjectStory) -> SubjectLine:
    """The line of one subject; far smaller than its story."""
    course = Course(story)
    sessions = story.sessions
    tested = [] if story.relapse is None else np.flatnonzero(np.isfinite(story.relapse["e_value"])).tolist()
    names = [] if story.relapse is None else story.relapse["session_id"].tolist()
    reached = {CELLS: (CELLS, IRON, MOMENT), IRON: (IRON, MOMENT), MOMENT: (MOMENT,)}[course.quantity]
    # Where nothing was found there is none of anything.
    quantities = reached if course.tracks else (CELLS, IRON, MOMENT)
    return SubjectLine(
        subject=story.subject,
        group=story.group,
        report=story.report,
        days=np.array([visit.day for visit in story.visits], dtype=np.float64),
        n_done=sum(not visit.failed for visit in story.visits),
        n_tracks=len(course.tracks),
        totals={quantity.column: _series(course, quantity) for quantity in quantities},
        state=growth_state(story),
        alarm=sessions.index(names[story.first_alarm]) if story.first_alarm >= 0 else -1,
        last_tested=max((sessions.index(names[row]) for row in tested), default=-1),
        failures=(
            *((visit.session, visit.error) for visit in story.visits if visit.failed),
            *((scan.session, f"PET: {scan.error}") for scan in story.pet if scan.failed),
        ),
        pet=story.pet,
    )


def _series(course: Course, quantity: Quantity) -> Series:
    totals = [one.total for one in course.totals_of(quantity)]
    known = [i for i, total in enumerate(totals) if total is not None and math.isfinite(total.value)]
    ends = [np.array([getattr(totals[i], end) for i in known], dtype=np.float64) for end in ("value", "low", "high")]
    return Series(np.array(known, dtype=np.int64), *ends)


def common_quantity(lines: Sequence[SubjectLine]) -> Quantity:
    """The last step of moment → iron → cells that any subject with tracks has reached."""
    for quantity in (CELLS, IRON):
        if any(line.n_tracks and quantity.column in line.totals for line in lines):
            return quantity
    return MOMENT


@dataclass(frozen=True, eq=False)
class GroupCourse:
    """A group's middle at each time at which at least two of its subjects have a total, each (n,).

    The geometric mean with its 95 % interval by Student's t on logarithms, where all are above zero (``geometric``);
    else the median with the interval of its order statistics, which is NaN below six subjects.
    """

    time: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    geometric: NDArray[np.bool_]


def follow_group(lines: Sequence[SubjectLine], quantity: Quantity, *, in_days: bool) -> GroupCourse:
    """The course of a group's totals; times at which only one subject has a total are left out."""
    at: dict[float, list[float]] = {}
    for line in lines:
        series = line.totals.get(quantity.column)
        if series is None:
            continue
        for time, value in zip(line.time(series.visit, in_days=in_days), series.value, strict=True):
            at.setdefault(float(time), []).append(float(value))
    times = sorted(time for time, values in at.items() if len(values) >= LEAST_SUBJECTS)
    rows = [_middle(np.array(at[time])) for time in times]
    middle, low, high = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    n = np.array([len(at[time]) for time in times], dtype=np.int64)
    geometric = np.array([min(at[time]) > 0 for time in times], dtype=np.bool_)
    return GroupCourse(np.array(times), middle, low, high, n, geometric)


def _middle(values: NDArray[np.float64]) -> tuple[float, float, float]:
    if not (values > 0).all():
        return float(np.median(values)), *_bound_median(np.sort(values))
    logs = np.log(values)
    half = float(stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs)))
    mean = float(logs.mean())
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _bound_median(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a median that assumes no distribution: values left out at each end by the binomial."""
    n = len(ordered)
    # The largest number left out at each end for which the interval still holds with at least 95 %.
    left_out = int(np.count_nonzero(stats.binom.cdf(np.arange(n), n, 0.5) <= 0.025)) - 1
    return (float(ordered[left_out]), float(ordered[n - 1 - left_out])) if left_out >= 0 else (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class AlarmCurve:
    """The share of a group's subjects without an alarm over time (Kaplan and Meier), with its 95 % interval.

    ``time`` (n,) begins with the time that is given as the start; ``low`` and ``high`` are NaN where the interval is
    undefined. ``left`` (k,) are the last visits of those who never had an alarm, ``share_left`` (k,) the curve there.
    ``median`` is the first time at which half have had an alarm, NaN for none. Subjects in which growth was not tested
    or cannot be known are in no curve.
    """

    time: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    left: NDArray[np.float64]
    share_left: NDArray[np.float64]
    n_subjects: int
    n_alarms: int
    median: float


def time_to_alarm(lines: Sequence[SubjectLine], *, in_days: bool, start: float) -> AlarmCurve | None:
    """The curve of those subjects whose growth could be known; None where there is none.

    A subject without alarm is censored at its last visit tested. Interval: the log-log transform of Greenwood's
    variance (Kalbfleisch and Prentice), as ``scipy.stats.ecdf`` has it.
    """
    tested = [line for line in lines if line.last_tested >= 0]
    if not tested:
        return None
    called = [float(line.time(line.alarm, in_days=in_days)) for line in tested if line.alarm >= 0]
    calm = [float(line.time(line.last_tested, in_days=in_days)) for line in tested if line.alarm < 0]
    survival = stats.ecdf(stats.CensoredData(uncensored=called, right=calm)).sf
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Before the first alarm, and where nobody is left, the formula has no value.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval: Any = survival.confidence_interval(0.95, method="log-log")
    time, share = (np.asarray(part, dtype=np.float64) for part in (survival.quantiles, survival.probabilities))
    low, high = (np.asarray(part.probabilities, dtype=np.float64) for part in (interval.low, interval.high))
    half = np.flatnonzero(share <= 0.5)
    left = np.array(sorted(calm), dtype=np.float64)
    return AlarmCurve(
        time=np.concatenate([[start], time]),
        share=np.concatenate([[1.0], share]),
        low=np.concatenate([[math.nan], low]),
        high=np.concatenate([[math.nan], high]),
        left=left,
        share_left=np.concatenate([[1.0], share])[np.searchsorted(time, left, side="right")],
        n_subjects=len(tested),
        n_alarms=len(called),
        median=float(time[half[0]]) if half.size else math.nan,
    )
