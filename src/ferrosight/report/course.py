"""A subject's tracks and totals in the order in which the page shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.report import numbers
from ferrosight.report.summary import Total, total_moment, total_quantity
from ferrosight.types.story import StoryVisit, SubjectStory


@dataclass(frozen=True)
class Quantity:
    """What tracks are compared by: the column of the tables, and what it is called."""

    column: str
    words: str

    @property
    def low_column(self) -> str:
        """Column of the lower end of its 95 % interval."""
        return f"{self.column}_low"

    @property
    def high_column(self) -> str:
        """Column of the upper end."""
        return f"{self.column}_high"

    @property
    def upper_limit_column(self) -> str:
        """Column of the one-sided upper limit."""
        return f"upper_limit_{self.column}"

    def unit(self, size: float) -> tuple[float, str]:
        """The unit in which numbers of this size read well: how much it is, and its name ("" for cells)."""
        if self.column == "n_cells":
            return 1.0, ""
        units = numbers.IRON_UNITS if self.column == "iron_pg" else numbers.MOMENT_UNITS
        fits = [unit for unit in units if math.isfinite(size) and abs(size) >= unit[0]]
        return fits[-1] if fits else units[1]

    def show(self, value: float) -> str:
        """A value with its unit."""
        return self.show_with_range(value, math.nan, math.nan)

    def show_range(self, low: float, high: float, value: float) -> str:
        """The interval of a value, in that value's unit."""
        factor, unit = self.unit(value)
        return numbers.format_range(low, high, ((factor, unit), (factor, unit)))

    def show_with_range(self, value: float, low: float, high: float) -> str:
        """``1,240 (810–1,690)`` or ``16.6 (12.1–21.1) ng``; the value alone where it has no interval."""
        if not math.isfinite(value):
            return numbers.NA
        factor, unit = self.unit(value)
        interval = numbers.format_range(low / factor, high / factor)
        text = numbers.format_number(value / factor)
        if interval != numbers.NA:
            text += f" ({interval})"
        return f"{text}\u00a0{unit}" if unit else text

    def axis(self, size: float) -> tuple[float, str]:
        """What to divide values by so that numbers up to ``size`` read well, and the axis's label."""
        factor, unit = self.unit(size)
        return factor, f"{self.words} ({unit})" if unit else self.words


CELLS = Quantity("n_cells", "cells")
IRON = Quantity("iron_pg", "iron")
MOMENT = Quantity("moment_am2", "moment")


@dataclass(frozen=True)
class Track:
    """A track as the page shows it.

    ``number`` is its place on this page, from 1, the largest first. ``rows`` maps the visits (by their place in the
    story) that it was looked for at to rows of the table. ``first_seen`` and ``last_seen`` are visits; from
    ``replaced`` on its ``children`` stand in its place (a visit beyond the last where it has none).
    """

    number: int
    track_id: str
    rows: dict[int, int]
    first_seen: int
    last_seen: int
    replaced: int
    parents: tuple[str, ...]
    children: tuple[str, ...]

    def counts_at(self, visit: int) -> bool:
        """Whether it is followed at a visit: it was seen then or before, and nothing has replaced it."""
        return self.first_seen <= visit < self.replaced


@dataclass(frozen=True)
class VisitTotal:
    """All tracks of a visit together; ``total`` is None where the visit says nothing of them."""

    total: Total | None
    n_followed: int
    n_seen: int


class Course:
    """A story with its tracks told apart and its visits added up."""

    def __init__(self, story: SubjectStory) -> None:
        self.story = story
        self._visit_of = {name: i for i, name in enumerate(story.sessions)}

    @property
    def visits(self) -> tuple[StoryVisit, ...]:
        """The story's visits."""
        return self.story.visits

    @cached_property
    def has_days(self) -> bool:
        """Whether every visit that was analysed has its day; else visits are only counted."""
        return all(math.isfinite(visit.day) for visit in self.visits if not visit.failed)

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """Where each visit stands on an axis of time: its day, or its number from 1."""
        days = np.array([visit.day for visit in self.visits], dtype=np.float64)
        return days if self.has_days else np.arange(1.0, len(days) + 1)

    @property
    def x_label(self) -> str:
        """Label of that axis."""
        return "day" if self.has_days else "visit"

    def when(self, visit: int) -> str:
        """``day 28``, or ``visit 3`` where days are not known."""
        day = self.visits[visit].day
        return f"day {day:g}".replace("-", "−") if math.isfinite(day) else f"visit {visit + 1}"

    def visit_of_row(self, row: int) -> int:
        """The visit that a row of the tracks table belongs to."""
        return self._visit_of[str(self.story.tracks["session_id"][row])]

    @cached_property
    def quantity(self) -> Quantity:
        """The last step of moment → iron → cells that any track has reached."""
        for quantity in (CELLS, IRON):
            if np.isfinite(self.story.tracks[quantity.column]).any():
                return quantity
        return MOMENT

    @cached_property
    def tracks(self) -> tuple[Track, ...]:
        """Every track, the one with the largest sighting first."""
        rows: dict[str, dict[int, int]] = {}
        for row, name in enumerate(self.story.tracks["track_id"].tolist()):
            rows.setdefault(name, {})[self.visit_of_row(row)] = row
        parents = {name: self._parents(of_track, set(rows) - {name}) for name, of_track in rows.items()}
        seen = {name: self._seen(of_track) for name, of_track in rows.items()}
        children = {name: tuple(one for one in rows if name in parents[one]) for name in rows}
        order = sorted(rows, key=lambda name: -self._largest(rows[name]))
        return tuple(
            Track(
                number,
                name,
                dict(sorted(rows[name].items())),
                seen[name][0],
                seen[name][-1],
                min((seen[child][0] for child in children[name]), default=len(self.visits)),
                parents[name],
                children[name],
            )
            for number, name in enumerate(order, start=1)
        )

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Each track's number on the page."""
        return {track.track_id: track.number for track in self.tracks}

    def value(self, row: int, column: str) -> Any:
        """One number of the tracks table."""
        return self.story.tracks[column][row].item()

    def is_detected(self, row: int) -> bool:
        """Whether the track was found at this row's visit."""
        return bool(self.story.tracks["measurement"][row] == "detected")

    @cached_property
    def totals(self) -> tuple[VisitTotal, ...]:
        """All tracks together at each visit."""
        return tuple(self._add_up(visit, self.quantity) for visit in range(len(self.visits)))

    def totals_of(self, quantity: Quantity) -> tuple[VisitTotal, ...]:
        """The same for another quantity."""
        return tuple(self._add_up(visit, quantity) for visit in range(len(self.visits)))

    @cached_property
    def ends(self) -> tuple[int, int] | None:
        """The first and the last visit that have a total; None where none has, or nothing was followed."""
        if not self.tracks:
            return None
        known = [i for i, one in enumerate(self.totals) if one.total is not None and math.isfinite(one.total.value)]
        return (known[0], known[-1]) if known else None

    def followed(self, visit: int) -> Iterator[Track]:
        """Tracks that count at a visit."""
        return (track for track in self.tracks if track.counts_at(visit))

    def limit_per_row(self, quantity: Quantity) -> NDArray[np.float64]:
        """The limit of detection of each row in this quantity; NaN where it is not known."""
        table = self.story.tracks
        limit = table["limit_iron_pg"]
        if quantity.column == "iron_pg":
            return limit
        per_pg = np.full(len(table), np.nan)
        for over, under in ((quantity.upper_limit_column, "upper_limit_iron_pg"), (quantity.column, "iron_pg")):
            known = np.isfinite(table[over]) & np.isfinite(table[under]) & (np.abs(table[under]) > 0)
            per_pg[known] = table[over][known] / table[under][known]
        return np.asarray(limit * per_pg)

    def _parents(self, rows: dict[int, int], known: set[str]) -> tuple[str, ...]:
        cells = [str(self.story.tracks["parent_ids"][row]) for row in rows.values()]
        return tuple(dict.fromkeys(name for cell in cells for name in cell.split(";") if name in known))

    def _seen(self, rows: dict[int, int]) -> list[int]:
        """Visits at which it was found; those at which it was looked for, where it never was."""
        return sorted(visit for visit, row in rows.items() if self.is_detected(row)) or sorted(rows)

    def _largest(self, rows: dict[int, int]) -> float:
        values = [self.value(row, self.quantity.column) for row in rows.values() if self.is_detected(row)]
        return max((value for value in values if math.isfinite(value)), default=-math.inf)

    def _add_up(self, visit: int, quantity: Quantity) -> VisitTotal:
        one = self.visits[visit]
        followed = list(self.followed(visit))
        rows = np.array([track.rows[visit] for track in followed if visit in track.rows], dtype=np.int64)
        n_seen = sum(self.is_detected(int(row)) for row in rows)
        if one.failed or one.is_baseline:
            return VisitTotal(None, len(followed), n_seen)
        if not followed:
            was_searched = one.n_accepted == 0 or any(visit in track.rows for track in self.tracks)
            return VisitTotal(Total(0.0, math.nan, math.nan, 0) if was_searched else None, 0, 0)
        table = self.story.tracks.where(rows)
        # A place that holds nothing measures zero within its error: totals may come out below zero.
        total = total_moment(table) if quantity is MOMENT else total_quantity(table, quantity.column, -math.inf)
        missing = total.n_missing + len(followed) - len(rows)
        return VisitTotal(Total(total.value, total.low, total.high, missing), len(followed), n_seen)
