"""What a subject's PET scans say, visit by visit, of each followed cluster and each hot spot beside none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.study.relapse_series import Followed, FollowedVisit, gather_hot_spots
from ferrosight.types import Table
from ferrosight.types.story import PetCourse

Array = NDArray[np.float64]

_Z95 = 1.959963984540054


def trace_uptake(
    tracks: Table, visits: Sequence[FollowedVisit], sessions: Sequence[str], reach_mm: float
) -> tuple[PetCourse, ...]:
    """Activity over time at the place of every track (schema TRACKS), and of every hot spot that is near none.

    A hot spot within ``reach_mm`` of a track's place at its visit is that track's; where there is none the place is
    measured all the same. ``visits`` are those with label, in order of time; courses have a value for each of
    ``sessions``, NaN where PET says nothing. () where no visit has PET.
    """
    if not any(visit.hot_spots is not None for visit in visits):
        return ()
    columns = {session: k for k, session in enumerate(sessions)}
    of_tracks = {name: _Course(name, len(sessions)) for name in dict.fromkeys(tracks["track_id"].tolist())}
    spots = gather_hot_spots(visits, reach_mm)
    of_spots = {row: _Course("", len(sessions), name) for row, name in enumerate(spots.names)}
    for number, visit in enumerate(visits):
        if visit.hot_spots is None or visit.session not in columns:
            continue
        accepted = visit.hot_spots.where(visit.hot_spots["status"] == "accepted")
        taken = _fill_tracks(of_tracks, tracks, visit, accepted, columns[visit.session], reach_mm)
        _fill_spots(of_spots, spots, number, accepted, taken, columns[visit.session])
    courses = [*of_tracks.values(), *(one for one in of_spots.values() if not one.is_shared)]
    return tuple(one.close() for one in courses if np.isfinite(one.values[0]).any())


class _Course:
    """One course while it is filled: rows of ``values`` are activity, its interval's ends and the uptake value."""

    def __init__(self, track_id: str, n: int, name: str = "") -> None:
        self.track_id, self.name = track_id, name
        self.values, self.found = np.full((4, n), np.nan), np.zeros(n, dtype=np.bool_)
        self.is_shared = False

    def put(self, column: int, values: Sequence[float], *, found: bool) -> None:
        self.values[:, column], self.found[column] = values, found

    def close(self) -> PetCourse:
        value, low, high, suv = self.values
        return PetCourse(self.track_id, self.name, value, low, high, suv, self.found)


def _places(table: Table) -> Array:
    return np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3)


def _read_spots(accepted: Table, rows: NDArray[np.int64]) -> list[float]:
    """Activity, its interval and the largest uptake value of hot spots that count as one."""
    if len(rows) == 1:
        return [
            float(accepted[name][rows[0]])
            for name in ("activity_bq", "activity_bq_low", "activity_bq_high", "suv_peak")
        ]
    value = float(accepted["activity_bq"][rows].sum())
    error = float(np.sqrt((accepted["activity_bq_err"][rows] ** 2).sum()))
    peaks = accepted["suv_peak"][rows]
    peak = float(peaks[np.isfinite(peaks)].max()) if np.isfinite(peaks).any() else np.nan
    return [value, value - _Z95 * error, value + _Z95 * error, peak]


def _fill_tracks(
    courses: dict[str, _Course], tracks: Table, visit: FollowedVisit, accepted: Table, column: int, reach_mm: float
) -> NDArray[np.bool_]:
    """Fill one visit of the tracks' courses; returns which accepted hot spots (n,) are some track's."""
    rows = tracks.where(np.flatnonzero(tracks["session_id"] == visit.session))
    rows = rows.where(np.flatnonzero(np.isfinite(_places(rows)).all(axis=1)))
    taken = np.zeros(len(accepted), dtype=np.bool_)
    if not len(rows):
        return taken
    places = _places(rows)
    values, sds = visit.measure_pet(places) if visit.measure_pet is not None else np.full((2, len(rows)), np.nan)
    away = np.linalg.norm(_places(accepted)[:, None] - places[None], axis=2)
    nearest = away.argmin(axis=1) if len(accepted) else np.zeros(0, dtype=np.int64)
    near = away.min(axis=1, initial=np.inf) <= reach_mm
    taken |= near
    for k in range(len(rows)):
        course = courses[str(rows["track_id"][k])]
        own = np.flatnonzero(near & (nearest == k))
        if len(own):
            course.put(column, _read_spots(accepted, own), found=True)
        else:
            value, half = float(values[k]), _Z95 * float(sds[k])
            course.put(column, (value, value - half, value + half, np.nan), found=False)
    return taken


def _fill_spots(
    courses: dict[int, _Course],
    spots: Followed,
    number: int,
    accepted: Table,
    taken: NDArray[np.bool_],
    column: int,
) -> None:
    """Fill one visit of the hot spots' courses; one that was ever a track's is told with that."""
    places = _places(accepted)
    for row, course in courses.items():
        value, half = spots.values[row, number], _Z95 * spots.sds[row, number]
        if not spots.seen[row, number]:
            course.put(column, (value, value - half, value + half, np.nan), found=False)
            continue
        own = np.flatnonzero(np.linalg.norm(places - spots.places_mm[row, number], axis=1) < 1e-6)
        course.is_shared |= bool(taken[own].any())
        if len(own) and np.isclose(accepted["activity_bq"][own].sum(), value):
            course.put(column, _read_spots(accepted, own), found=True)
        else:
            course.put(column, (value, value - half, value + half, np.nan), found=True)
