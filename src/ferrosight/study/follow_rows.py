"""The table of tracks: a row for each track and each visit at which it could have been there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.quantify import Factor, find_factors, limit_clusters, quantify_moments
from ferrosight.study.follow_detections import FoundAs, list_linked
from ferrosight.types import (
    Calibration,
    Catalogue,
    Config,
    Detections,
    Flag,
    IronPerCell,
    Label,
    Rigid,
    Table,
    flag_names,
)
from ferrosight.types.schema import TRACKS
from ferrosight.types.tracks import LinkKind, TrackPlaces, TrackSet

_Row = dict[str, Any]
#: A moment as it is, with a limit of its own.
_MOMENT = Factor(1.0, 0.0)
_NUMBERS = ("iron_pg", "n_cells")


@dataclass(frozen=True)
class SeenVisit:
    """A visit of a subject and what its cells are counted with; ``to_subject`` is None where it was not registered."""

    session: str
    day: float
    is_baseline: bool
    to_subject: Rigid | None
    catalogue: Catalogue
    found: FoundAs
    b0_t: float
    label: Label | None
    iron_per_cell: IronPerCell | None
    calibration: Calibration | None


@dataclass(frozen=True)
class Spans:
    """``is_there`` (n_tracks, n_visits): the visits of the subject's space at which each track may have been there.

    A track that came from a split or merge begins at it, one that ended in one ends before it. Any other may have been
    there, unseen, all the time.
    """

    is_there: NDArray[np.bool_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def find_spans(tracks: TrackSet, places: TrackPlaces) -> Spans:
    """From when to when each track may have been there, and its first and last sighting."""
    seen = places.detection >= 0
    n_tracks, n_visits = seen.shape
    first = seen.argmax(axis=1)
    last = n_visits - 1 - seen[:, ::-1].argmax(axis=1)
    start, end = np.zeros(n_tracks, np.int64), np.full(n_tracks, n_visits)
    row_of = {name: row for row, name in enumerate(tracks.track_ids.tolist())}
    for row, parents in enumerate(tracks.parents):
        if parents:
            start[row] = first[row]
        for parent in parents:
            end[row_of[parent]] = min(end[row_of[parent]], first[row])
    visit = np.arange(n_visits)
    return Spans((visit >= start[:, None]) & (visit < end[:, None]), first, last)


def tabulate_tracks(
    visits: Sequence[SeenVisit],
    registered: Sequence[int],
    detections: Detections,
    tracks: TrackSet,
    places: TrackPlaces,
    forced: Sequence[Table | None],
    config: Config,
) -> Table:
    """Every track at every visit at which it may have been there (schema TRACKS), then those of unregistered visits.

    ``registered`` are the visits that ``detections`` and ``places`` count; ``forced`` (schema FORCED, one per visit)
    what was measured at them for the tracks that may have been there and were not detected, in the tracks' order.
    """
    book = _Book(detections, tracks, places, find_spans(tracks, places), _find_link_probabilities(tracks))
    columns = {number: column for column, number in enumerate(registered)}
    by_track: list[list[_Row]] = [[] for _ in tracks.track_ids]
    alone: list[_Row] = []
    for number, visit in enumerate(visits):
        factors = find_factors(visit.label, visit.b0_t, visit.iron_per_cell, config.quantify, visit.calibration)
        known = _describe_clusters(visit, factors)
        when = {"session_id": visit.session, "day": visit.day}
        if number in columns:
            rows = _tabulate_visit(book, visit, columns[number], forced[number], factors, known)
        else:
            rows = {row: {} for row in _find_unregistered(book.spans, registered, number)}
            alone += [one | when | {"track_id": one["cluster_id"]} for one in known.values() if not visit.is_baseline]
        for row, one in rows.items():
            by_track[row].append(one | when)
    named = zip(tracks.track_ids.tolist(), tracks.parents, by_track, strict=True)
    followed = [one | {"track_id": name, "parent_ids": ";".join(of)} for name, of, rows in named for one in rows]
    return Table.from_rows(TRACKS, [*followed, *alone])


@dataclass(frozen=True)
class _Book:
    """What all rows are read from; ``arrived`` is the chance of the link into each detection that has one."""

    detections: Detections
    tracks: TrackSet
    places: TrackPlaces
    spans: Spans
    arrived: Mapping[int, float]


def _tabulate_visit(
    book: _Book,
    visit: SeenVisit,
    column: int,
    forced: Table | None,
    factors: Mapping[str, Factor],
    known: Mapping[str, _Row],
) -> dict[int, _Row]:
    """A row for each track that may have been there at a registered visit."""
    is_there, detection = book.spans.is_there[:, column], book.places.detection[:, column]
    missed = np.flatnonzero(is_there & (detection < 0))
    measured = dict(zip(missed.tolist(), _describe_missed(missed, forced, factors), strict=True))
    there = np.flatnonzero(is_there)
    where = _describe_places(book, visit, column, there, factors)
    rows = {}
    for row, place in zip(there.tolist(), where, strict=True):
        own = int(detection[row])
        here = measured[row] if own < 0 else known[str(book.detections.cluster_ids[own])]
        rows[row] = here | place | _say_event(row, column, book.spans, book.tracks, book.arrived.get(own, np.nan))
    return rows


def _describe_clusters(visit: SeenVisit, factors: Mapping[str, Factor]) -> dict[str, _Row]:
    """The catalogue's own values of the clusters that are followed, by their id."""
    rows = list_linked(visit.catalogue)
    clusters = visit.catalogue.clusters.where(rows)
    threshold = visit.catalogue.fits["selection_score"][rows]
    names = ["cluster_id", "moment_am2", "moment_am2_err", "moment_am2_low", "moment_am2_high"]
    values = {name: clusters[name] for name in names}
    values |= {f"{name}{end}": clusters[f"{name}{end}"] for name in _NUMBERS for end in ("", "_low", "_high")}
    values["upper_limit_moment_am2"] = limit_clusters(clusters, threshold, _MOMENT)
    values |= {f"upper_limit_{name}": limit_clusters(clusters, threshold, factor) for name, factor in factors.items()}
    return {str(row["cluster_id"]): row | {"measurement": "detected"} for row in _list_rows(values, len(clusters))}


def _describe_missed(rows: NDArray[np.int64], forced: Table | None, factors: Mapping[str, Factor]) -> list[_Row]:
    """What was measured at the places of tracks that were not found; nothing where nothing could be."""
    if forced is None:
        return [{"measurement": "forced"} for _ in rows]
    moment, err = forced["moment_am2"], forced["moment_am2_err"]
    values = {name: forced[name] for name in ("moment_am2", "moment_am2_err", "moment_am2_low", "moment_am2_high")}
    values["upper_limit_moment_am2"] = quantify_moments(moment, err, _MOMENT)[3]
    for name, factor in factors.items():
        numbers = quantify_moments(moment, err, factor)
        values |= dict(zip((name, f"{name}_low", f"{name}_high", f"upper_limit_{name}"), numbers, strict=True))
    outside = [flag_names(int(Flag.OUTSIDE)) in str(remarks).split(";") for remarks in forced["remarks"]]
    values["measurement"] = np.where(outside, "outside", "forced")
    return _list_rows(values, len(forced))


def _describe_places(
    book: _Book, visit: SeenVisit, column: int, there: NDArray[np.int64], factors: Mapping[str, Factor]
) -> list[_Row]:
    """Where each track was, as its own cluster says or else the others of the track, and what would be found there."""
    assert visit.to_subject is not None
    places, detections = book.places, book.detections
    detection = places.detection[there, column]
    position, covariance = places.position_mm[there, column].copy(), places.covariance_mm2[there, column].copy()
    seen = detection >= 0
    position[seen] = detections.position_mm[detection[seen]]
    covariance[seen] = detections.covariance_mm2[detection[seen]]
    errors = np.sqrt(np.einsum("naa->na", covariance))
    values = {f"{axis}_mm": position[:, a] for a, axis in enumerate("xyz")}
    values |= {f"{axis}_mm_err": errors[:, a] for a, axis in enumerate("xyz")}
    if "iron_pg" in factors:
        limit = visit.found.read(visit.to_subject.inverse().apply(position))
        values["limit_iron_pg"] = limit / factors["iron_pg"].moment_per_unit
    return _list_rows(values, len(there))


def _find_link_probabilities(tracks: TrackSet) -> dict[int, float]:
    """Of each detection that the track's or its parents' earlier one was linked to; of a merge that of the whole."""
    links = tracks.links
    probability = np.where(links.kind == LinkKind.MERGE, links.event_probability, links.probability)
    return dict(zip(links.target[links.chosen].tolist(), probability[links.chosen].tolist(), strict=True))


def _say_event(row: int, column: int, spans: Spans, tracks: TrackSet, link_probability: float) -> _Row:
    first, last = spans.first[row], spans.last[row]
    if column < first:
        return {"event": ""}
    if column == first:
        came = {0: "appear", 1: "split", 2: "merge"}[len(tracks.parents[row])]
        return {"event": came, "link_probability": link_probability}
    if column > last:
        return {"event": "disappear"}
    return {"event": "continue" if not np.isnan(link_probability) else "gap", "link_probability": link_probability}


def _find_unregistered(spans: Spans, registered: Sequence[int], number: int) -> list[int]:
    """Tracks that may have been there at a visit that is not in the subject's space: before it, or after it too."""
    before = [column for column, other in enumerate(registered) if other < number]
    after = [column for column, other in enumerate(registered) if other > number]
    there = np.ones(len(spans.is_there), dtype=np.bool_)
    if before:
        there &= spans.is_there[:, before[-1]]
    if after:
        there &= spans.is_there[:, after[0]]
    return [int(row) for row in np.flatnonzero(there)]


def _list_rows(values: Mapping[str, NDArray[Any]], n: int) -> list[_Row]:
    lists = {name: column.tolist() for name, column in values.items()}
    return [{name: column[row] for name, column in lists.items()} for row in range(n)]
