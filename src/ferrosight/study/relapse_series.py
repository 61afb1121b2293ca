"""From a followed subject's tables to what the test for relapse takes: lineages by place and total.

A lineage is all that could be mistaken for one another: tracks within reach of each other, parts and what they came
from. Its total is followed, which a wrong link, split or merge inside it does not change. Whatever else changes its
make-up (something new, another lineage within reach) ends it, and what is there then begins anew, so that nothing
counts as growth because it was found. What is decided at a visit is decided from places at that visit and before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ferrosight.errors import InputError
from ferrosight.study.relapse_rules import spread_lesions
from ferrosight.types import Table

#: A new cluster counts where at most so many false ones were expected in its scan.
NEW_EXPECTED_FALSE = 0.01
#: A link less likely than that may be to something else, where nothing within reach shares it.
SURE_LINK = 0.95


MeasurePlaces = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class FollowedVisit:
    """A visit with label, of the followed ones, in order of time.

    ``session`` is its label without prefix, ``day`` NaN where unknown, ``protocol`` what ``name_protocol`` says of it,
    ``clusters`` its candidates (schema CLUSTERS). ``hot_spots`` are those of a PET scan of the visit (schema
    PET_CLUSTERS), with places in the space of the tracks; None: no PET. ``measure_pet`` measures that PET scan at
    places (n, 3) of that space: activities and their standard deviations (n,), NaN where unseen; None: it cannot be.
    """

    session: str
    day: float
    protocol: str
    clusters: Table
    hot_spots: Table | None = None
    measure_pet: MeasurePlaces | None = None


@dataclass(frozen=True)
class Followed:
    """Things followed from visit to visit, each under one name: tracks, or places of hot spots.

    ``values`` and ``sds`` are (n, n_visits), NaN where nothing was measured; ``seen`` (n, n_visits) where it was found;
    ``places_mm`` (n, n_visits, 3) where it was or is taken to be, NaN where nothing is known. ``parents`` are rows that
    each came from by a split or merge; ``expected_false`` (n,) is that of the candidate it began with; ``sure``
    (n, n_visits) is False where its link to the visit before may well be wrong.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    sds: NDArray[np.float64]
    seen: NDArray[np.bool_]
    places_mm: NDArray[np.float64]
    parents: tuple[tuple[int, ...], ...]
    expected_false: NDArray[np.float64]
    sure: NDArray[np.bool_]


@dataclass(frozen=True)
class TracedLineages:
    """Totals of lineages, in the order of their birth.

    ``values`` and ``sds`` (n_lineages, n_visits) are NaN before the birth and after the end; ``births`` (n_lineages,)
    are visits, ``places_mm`` (n_lineages, 3) their middle then, ``members`` the names of all that ever belonged.
    ``new_candidates`` (n_visits,) counts what began far from all lineages and was no false candidate, as scans go;
    ``n_unsure`` the lineages that began because a link was too unsure.
    """

    values: NDArray[np.float64]
    sds: NDArray[np.float64]
    births: NDArray[np.int64]
    places_mm: NDArray[np.float64]
    members: tuple[tuple[str, ...], ...]
    new_candidates: NDArray[np.int64]
    n_unsure: int


def name_protocol(b0_t: float, echo_times_s: Sequence[float], voxel_mm: Sequence[float]) -> str:
    """A protocol's name, the same for scans that differ by no more than rounding in a header.

    Field strength to 0.1 T, echo times to 0.01 ms, edges of voxels to three digits.
    """
    echoes = "/".join(f"{round(1e3 * float(time), 2):g}" for time in echo_times_s)
    edges = " × ".join(f"{float(edge):.3g}" for edge in voxel_mm)
    return f"{round(float(b0_t), 1):g} T, TE {echoes} ms, {edges} mm"


def gather_tracks(tracks: Table, visits: Sequence[FollowedVisit]) -> Followed:
    """Moments of every track at every visit, detected or forced, from the subject's table (schema TRACKS).

    What has no place is neither followed nor new.
    """
    visit_of = _number_visits(visits)
    names = list(dict.fromkeys(tracks["track_id"].tolist()))
    row_of = {name: row for row, name in enumerate(names)}
    shape = (len(names), len(visits))
    values, sds, seen = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    places, sure = np.full((*shape, 3), np.nan), np.ones(shape, dtype=bool)
    first = np.full(len(names), len(visits))
    parents: list[dict[int, None]] = [{} for _ in names]
    expected_false = np.full(len(names), np.nan)
    of_cluster = [
        dict(zip(visit.clusters["cluster_id"].tolist(), visit.clusters["expected_false"].tolist(), strict=True))
        for visit in visits
    ]
    for line in range(len(tracks)):
        row, visit = row_of[str(tracks["track_id"][line])], visit_of.get(str(tracks["session_id"][line]))
        if visit is None:
            continue
        for parent in filter(None, str(tracks["parent_ids"][line]).split(";")):
            if parent in row_of and row_of[parent] != row:
                parents[row][row_of[parent]] = None
        values[row, visit], sds[row, visit] = tracks["moment_am2"][line], tracks["moment_am2_err"][line]
        places[row, visit] = [tracks[f"{axis}_mm"][line] for axis in "xyz"]
        # What was found at a visit that could not be laid beside the others may be anything that was there before.
        seen[row, visit] = tracks["measurement"][line] == "detected" and np.isfinite(places[row, visit]).all()
        sure[row, visit] = not tracks["link_probability"][line] < SURE_LINK
        if seen[row, visit] and visit < first[row]:
            first[row] = visit
            expected_false[row] = of_cluster[visit].get(str(tracks["cluster_id"][line]), np.nan)
    blank = ~(np.isfinite(values) & (sds > 0) & np.isfinite(sds))
    values[blank] = sds[blank] = np.nan
    return Followed(tuple(names), values, sds, seen, places, tuple(map(tuple, parents)), expected_false, sure)


def gather_hot_spots(visits: Sequence[FollowedVisit], reach_mm: float) -> Followed:
    """Activities of accepted hot spots (schema PET_CLUSTERS), those within ``reach_mm`` of each other's place as one.

    Each spot belongs to the nearest place that was there before, else it begins one. Where none is found at a place
    that was there before it is measured all the same, if the visit can: a value that is there only when it is large
    would look like growth.
    """
    places: list[NDArray[np.float64]] = []
    cells: dict[tuple[int, int], tuple[float, float]] = {}
    names: list[str] = []
    expected_false: list[float] = []
    where: dict[tuple[int, int], NDArray[np.float64]] = {}
    missed: set[tuple[int, int]] = set()
    for visit, one in enumerate(visits):
        if one.hot_spots is None:
            continue
        spots = one.hot_spots.where(one.hot_spots["status"] == "accepted")
        known, now = len(places), list(places)
        for line in range(len(spots)):
            at = np.array([spots[f"{axis}_mm"][line] for axis in "xyz"])
            far = np.linalg.norm(np.array(places[:known]).reshape(-1, 3) - at, axis=1)
            if far.size and far.min() <= reach_mm:
                row = int(far.argmin())
                now[row] = at
            else:
                row = len(now)
                now.append(at)
                names.append(str(spots["cluster_id"][line]))
                expected_false.append(float(spots["expected_false"][line]))
            value, variance = cells.get((row, visit), (0.0, 0.0))
            cells[row, visit] = (
                value + float(spots["activity_bq"][line]),
                variance + float(spots["activity_bq_err"][line]) ** 2,
            )
            where[row, visit] = at
        missed |= _measure_missed(one, visit, places, cells)
        places = now
    seen = set(cells) - missed
    return _as_followed(names, cells, seen, where, expected_false, len(visits))


def _measure_missed(
    one: FollowedVisit,
    visit: int,
    places: list[NDArray[np.float64]],
    cells: dict[tuple[int, int], tuple[float, float]],
) -> set[tuple[int, int]]:
    """Fill ``cells`` of known places at which this visit found nothing, and name them."""
    rows = [row for row in range(len(places)) if (row, visit) not in cells]
    if one.measure_pet is None or not rows:
        return set()
    values, sds = one.measure_pet(np.array([places[row] for row in rows]))
    for row, value, sd in zip(rows, values, sds, strict=True):
        cells[row, visit] = float(value), float(sd) ** 2
    return {(row, visit) for row in rows}


def gather_volumes(lesions: Table, session_ids: Sequence[str]) -> TracedLineages:
    """Volumes of lesions (schema LESIONS), each a lineage from where it first has one; only those with an error."""
    names, volumes = spread_lesions(lesions, "volume_mm3", session_ids)
    values, sds = volumes[:-1], spread_lesions(lesions, "volume_mm3_err", session_ids)[1][:-1]
    measured = np.isfinite(values) & (sds > 0)
    begun = np.logical_or.accumulate(measured & (values > 0), axis=1)
    kept = np.flatnonzero(begun.any(axis=1))
    measured, births = (measured & begun)[kept], (~begun[kept]).sum(axis=1)
    return TracedLineages(
        np.where(measured, values[kept], np.nan),
        np.where(measured, sds[kept], np.nan),
        births,
        np.zeros((len(kept), 3)),
        tuple((names[row],) for row in kept),
        np.zeros(len(session_ids), dtype=np.int64),
        0,
    )


def _as_followed(
    names: list[str],
    cells: dict[tuple[int, int], tuple[float, float]],
    found: set[tuple[int, int]],
    where: dict[tuple[int, int], NDArray[np.float64]],
    expected_false: list[float],
    n_visits: int,
) -> Followed:
    shape = (len(names), n_visits)
    values, sds, seen = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    places = np.full((*shape, 3), np.nan)
    for (row, visit), (value, variance) in sorted(cells.items(), key=lambda cell: cell[0][1]):
        if (row, visit) in found:
            seen[row, visit] = True
            places[row, visit:] = where[row, visit]
        if np.isfinite(value) and np.isfinite(variance) and variance > 0:
            values[row, visit], sds[row, visit] = value, np.sqrt(variance)
    return Followed(
        tuple(names),
        values,
        sds,
        seen,
        places,
        ((),) * len(names),
        np.array(expected_false, dtype=float),
        np.ones(shape, dtype=bool),
    )


def trace_lineages(followed: Followed, reach_mm: float) -> TracedLineages:
    """Lineages by place and total, visit by visit.

    At each visit lineages and whatever is seen for the first time belong together where they lie within ``reach_mm``
    of each other, or a split or merge links them. Together they begin a new lineage, and the old ones' last value is
    that of the visit before, since nobody knows which of them the parts are. Only a merge within one lineage, after
    which the same is there under one name, lets it go on. Something that is not seen while something new is found
    within its reach is taken to be that, and comes back as new if it is seen again.
    """
    n_visits = followed.seen.shape[1]
    book = _Book(followed, reach_mm)
    for visit in range(n_visits):
        book.turn_to(visit)
    order = sorted(range(len(book.births)), key=lambda row: (book.births[row], row))
    values, sds = np.full((len(order), n_visits), np.nan), np.full((len(order), n_visits), np.nan)
    for new, row in enumerate(order):
        for visit, crew in book.crews[row].items():
            values[new, visit] = followed.values[crew, visit].sum()
            sds[new, visit] = np.sqrt((followed.sds[crew, visit] ** 2).sum())
    return TracedLineages(
        values,
        sds,
        np.array([book.births[row] for row in order], dtype=np.int64),
        np.array([book.places[row] for row in order]).reshape(-1, 3),
        tuple(_name_members(followed, book.crews[row]) for row in order),
        np.array(book.new_candidates, dtype=np.int64),
        book.n_unsure,
    )


def _name_members(followed: Followed, crews: dict[int, list[int]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(followed.names[row] for crew in crews.values() for row in crew))


class _Book:
    """Which rows make up each lineage at each visit, kept from visit to visit.

    ``crews[lineage]`` holds the rows that are added up, by visit; ``home`` is the open lineage to which a row belongs
    or last belonged.
    """

    def __init__(self, followed: Followed, reach_mm: float) -> None:
        self.followed, self.reach_mm = followed, reach_mm
        n = len(followed.seen)
        self.first = (~np.logical_or.accumulate(followed.seen, axis=1)).sum(axis=1)
        self.births: list[int] = []
        self.places: list[NDArray[np.float64]] = []
        self.crews: list[dict[int, list[int]]] = []
        self.open: dict[int, list[int]] = {}
        self.home: dict[int, int] = {}
        self.last_place = np.full((n, 3), np.nan)
        self.new_candidates: list[int] = []
        self.n_unsure = 0

    def turn_to(self, visit: int) -> None:
        """Carry every lineage on to ``visit``, end those that changed, begin the new ones."""
        counted = {row for crew in self.open.values() for row in crew}
        new = [
            row
            for row in range(len(self.first))
            if self.first[row] == visit
            or (self.first[row] < visit and self.followed.seen[row, visit] and row not in counted)
        ]
        here = self.followed.places_mm[:, visit]
        self.last_place = np.where(np.isfinite(here.sum(axis=1, keepdims=True)), here, self.last_place)
        n_new = 0
        for lineages, arrived in self._group(new):
            if not arrived and len(lineages) == 1 and self._is_unsure(lineages[0], visit):
                self.n_unsure += 1
                self._begin(lineages, [], visit)
            elif not arrived and len(lineages) == 1:
                self.crews[lineages[0]][visit] = list(self.open[lineages[0]])
            elif len(lineages) == 1 and self._only_merge(lineages[0], arrived):
                self._replace(lineages[0], arrived, visit)
            else:
                self._begin(lineages, arrived, visit)
            if not lineages:
                n_new += sum(self.followed.expected_false[row] <= NEW_EXPECTED_FALSE for row in arrived)
        self.new_candidates.append(int(n_new) if visit else 0)

    def _group(self, new: list[int]) -> list[tuple[list[int], list[int]]]:
        """Open lineages and new rows that belong together."""
        if not (self.open or new):
            return []
        numbers = list(self.open)
        nodes: list[list[int]] = [*self.open.values(), *([row] for row in new)]
        owner = np.array([node for node, rows in enumerate(nodes) for _ in rows], dtype=np.int64)
        places = self.last_place[[row for rows in nodes for row in rows]].reshape(-1, 3)
        known = np.flatnonzero(np.isfinite(places.sum(axis=1)))
        near = known[cKDTree(places[known]).query_pairs(self.reach_mm, output_type="ndarray")].reshape(-1, 2)
        links = [owner[near]]
        number_of = {lineage: node for node, lineage in enumerate(numbers)}
        for node, row in enumerate(new, start=len(numbers)):
            # A row that was seen before, or whose parents were, belongs where they are.
            homes = {self.home[one] for one in (row, *self.followed.parents[row]) if one in self.home}
            links += [np.array([[node, number_of[home]]]) for home in homes]
        one, other = np.concatenate(links).T
        linked = coo_array((np.ones(len(one)), (one, other)), shape=(len(nodes), len(nodes)))
        n_groups, group = connected_components(linked, directed=False)
        members: list[tuple[list[int], list[int]]] = [([], []) for _ in range(n_groups)]
        for node, number in enumerate(group):
            if node < len(numbers):
                members[number][0].append(numbers[node])
            else:
                members[number][1].append(nodes[node][0])
        return members

    def _is_unsure(self, lineage: int, visit: int) -> bool:
        """Whether all that a lineage has at this visit may be something else."""
        crew = self.open[lineage]
        return len(crew) == 1 and not self.followed.sure[crew[0], visit]

    def _only_merge(self, lineage: int, arrived: list[int]) -> bool:
        """Whether all that is new is two or more of the lineage's own, merged."""
        crew = set(self.open[lineage])
        gone = [parent for row in arrived for parent in self.followed.parents[row]]
        merged = all(len(self.followed.parents[row]) > 1 for row in arrived)
        return merged and crew.issuperset(gone) and len(set(gone)) == len(gone)

    def _replace(self, lineage: int, arrived: list[int], visit: int) -> None:
        gone = {parent for row in arrived for parent in self.followed.parents[row]}
        self.open[lineage] = [*(row for row in self.open[lineage] if row not in gone), *arrived]
        self.crews[lineage][visit] = list(self.open[lineage])
        self.home |= dict.fromkeys(arrived, lineage)

    def _begin(self, lineages: list[int], arrived: list[int], visit: int) -> None:
        """End lineages at the visit before, and begin one of all that is there."""
        gone = {parent for row in arrived for parent in self.followed.parents[row]}
        number = len(self.births)
        crew = list(arrived)
        for lineage in lineages:
            crew += [
                row for row in self.open.pop(lineage) if row not in gone and not self._is_taken(row, arrived, visit)
            ]
        self.open[number] = crew
        self.births.append(visit)
        self.places.append(np.nan_to_num(self.last_place[crew]).mean(axis=0))
        self.crews.append({visit: list(crew)})
        moved = [row for row, home in self.home.items() if home in lineages]
        self.home |= dict.fromkeys([*moved, *crew], number)

    def _is_taken(self, row: int, arrived: list[int], visit: int) -> bool:
        """Whether a row is unseen where something new was found."""
        if self.followed.seen[row, visit] or not arrived:
            return False
        with np.errstate(invalid="ignore"):
            far = np.linalg.norm(self.last_place[arrived] - self.last_place[row], axis=1)
        return bool((far <= self.reach_mm).any())


def _number_visits(visits: Sequence[FollowedVisit]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for number, visit in enumerate(visits):
        if visit.session in numbers:
            raise InputError(
                f"every visit needs a session of its own, but {visit.session or 'the visit without one'} comes twice; "
                "name one scan per session."
            )
        numbers[visit.session] = number
    return numbers
