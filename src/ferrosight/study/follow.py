"""Every cluster of a subject followed through its visits: laid into one space, linked, and measured where not found."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters import measure_at
from ferrosight.errors import InputError
from ferrosight.field import measure_field
from ferrosight.link import link_detections, place_tracks
from ferrosight.quantify import GraftRegion
from ferrosight.register import build_visit_image, register_visits
from ferrosight.study.follow_detections import FoundAs, LabelledVisit, gather_detections, list_linked, map_found
from ferrosight.study.follow_grafts import Grafts, find_grafts, force_regions, pick_region, set_pieces_apart
from ferrosight.study.follow_rows import SeenVisit, find_spans, tabulate_tracks
from ferrosight.types import (
    Calibration,
    Catalogue,
    Config,
    Detections,
    FieldMap,
    IronPerCell,
    Label,
    PhaseSign,
    Progress,
    Rigid,
    Scan,
    SubjectSpace,
    Table,
    VisitImage,
    VisitPose,
)
from ferrosight.types.tracks import Links, Optimality, TrackPlaces, TrackSet

_LOG = logging.getLogger(__name__)

#: Visits of one day are linked as if an hour lay between them: days must differ.
_LEAST_DAYS = 1 / 24


@dataclass(frozen=True)
class VisitToFollow:
    """What following needs of a visit that was analysed.

    ``read_scan`` reads the scan again, since not all scans of a subject are held at a time; ``measured`` has it with
    its field map where it is still at hand. ``catalogue`` is what was found in it. ``day`` is NaN where unknown. Label,
    load and calibration are those that the visit's own cells were counted with.
    """

    session: str
    day: float
    is_baseline: bool
    read_scan: Callable[[], Scan]
    catalogue: Catalogue
    label: Label | None = None
    iron_per_cell: IronPerCell | None = None
    calibration: Calibration | None = None
    measured: tuple[Scan, FieldMap] | None = None


@dataclass(frozen=True)
class VisitFacts:
    """What is known of a visit once the subject was followed; ``clusters`` are all its candidates (schema CLUSTERS)."""

    session: str
    day: float
    is_baseline: bool
    is_registered: bool
    b0_t: float
    echo_times_s: tuple[float, ...]
    voxel_mm: tuple[float, float, float]
    clusters: Table


@dataclass(frozen=True)
class FollowedSubject:
    """A subject's clusters through its visits.

    ``tracks`` (schema TRACKS) has a row per track and visit; ``visits`` are in order of time. ``track_set`` and
    ``places`` belong to ``detections``. ``notes`` are sentences that a reader of the table must know.
    """

    tracks: Table
    visits: tuple[VisitFacts, ...]
    space: SubjectSpace
    detections: Detections
    track_set: TrackSet
    places: TrackPlaces
    notes: tuple[str, ...]


def follow_subject(
    visits: Sequence[VisitToFollow], config: Config, *, on_progress: Progress | None = None
) -> FollowedSubject:
    """Register the visits, link their clusters, and measure every track at every visit at which it was not found.

    Baselines are registered and measured at, their clusters are not linked. A visit that cannot be registered keeps its
    clusters as tracks of their own, without a place. Scans are read twice each, one at a time; images for registration
    and maps of the limit of detection are held, about 10 bytes per voxel and visit.

    Raises
    ------
    InputError
        There is no visit with label, some visits have a day and others none, or two have the same session.
    AnalysisError
        A scan holds nothing that could be analysed.
    """
    ordered, linked_days, notes = _order_visits(visits)
    report = on_progress or (lambda _what, _done, _total: None)
    surveyed = []
    for number, visit in enumerate(ordered):
        report(f"following: reading {visit.session}", number, len(ordered))
        surveyed.append(_survey(visit, config))
    space = _register([survey.image for survey in surveyed], config, on_progress)
    poses = [space.pose(visit.session).to_subject for visit in ordered]
    seen = [
        SeenVisit(
            visit.session,
            visit.day,
            visit.is_baseline,
            pose,
            visit.catalogue,
            survey.found,
            survey.b0_t,
            visit.label,
            visit.iron_per_cell,
            visit.calibration,
        )
        for visit, pose, survey in zip(ordered, poses, surveyed, strict=True)
    ]
    facts = tuple(_state_facts(one, survey) for one, survey in zip(seen, surveyed, strict=True))
    grafts = [survey.grafts for survey in surveyed]
    del surveyed
    seen, said = set_pieces_apart(seen, grafts)
    notes += said
    registered = [number for number, pose in enumerate(poses) if pose is not None]
    detections = gather_detections([_as_labelled(seen[n], linked_days[n]) for n in registered], config)
    track_set = _link(detections, [seen[n] for n in registered], config)
    places = place_tracks(detections, track_set, config.link)
    notes += _note_linking(seen, track_set)
    forced: list[Table | None] = [None] * len(ordered)
    spans = find_spans(track_set, places)
    for column, number in enumerate(registered):
        rows = np.flatnonzero(spans.is_there[:, column] & (places.detection[:, column] < 0))
        if not len(rows):
            continue
        report(f"following: measuring in {ordered[number].session}", column, len(registered))
        if not _knows_sign(ordered[number]):
            notes.append(
                f"ses-{ordered[number].session}: the sign of phase is not known, so nothing was measured where nothing "
                "was found; state it with --phase-sign."
            )
            continue
        known = [grafts[n] for n in registered]
        picked = {
            int(at): pick_region(places.detection[row], column, detections.cluster_ids, known)
            for at, row in enumerate(rows)
        }
        regions = {at: (_pose(seen[registered[one[0]]]), one[1]) for at, one in picked.items() if one is not None}
        forced[number] = _force(ordered[number], seen[number], places, rows, column, regions, config)
    for note in notes:
        _LOG.info("%s", note)
    tracks = tabulate_tracks(seen, registered, detections, track_set, places, forced, config)
    return FollowedSubject(tracks, facts, space, detections, track_set, places, tuple(notes))


def _order_visits(visits: Sequence[VisitToFollow]) -> tuple[list[VisitToFollow], list[float], list[str]]:
    """The visits in order of time, the days that linking counts with, and what is to be said of them."""
    sessions = [visit.session for visit in visits]
    if len(set(sessions)) < len(sessions):
        raise InputError(f"visits of different sessions are needed, but they are {', '.join(sessions)}.")
    if all(visit.is_baseline for visit in visits):
        raise InputError("a visit with label is needed to follow clusters, but there is none.")
    unknown = [visit.session for visit in visits if math.isnan(visit.day)]
    if not unknown:
        ordered = sorted(visits, key=lambda visit: visit.day)
        days: list[float] = []
        for visit in ordered:
            days.append(max(visit.day, days[-1] + _LEAST_DAYS) if days else visit.day)
        return ordered, days, []
    if len(unknown) < len(visits):
        raise InputError(
            f"clusters are followed where the day of every visit is known, or of none, but {', '.join(unknown)} "
            f"{'has' if len(unknown) == 1 else 'have'} none; give day or acq_time in the sessions table."
        )
    notes = []
    if len(visits) > 1:
        notes.append(
            "No day of a visit is known: visits are in the order of their sessions, and taken to be a day apart; give "
            "day or acq_time in the sessions table."
        )
    return list(visits), [float(number) for number in range(len(visits))], notes


@dataclass(frozen=True)
class _Survey:
    """What the first reading of a scan leaves."""

    image: VisitImage
    found: FoundAs
    grafts: Grafts
    b0_t: float
    echo_times_s: tuple[float, ...]


def _survey(visit: VisitToFollow, config: Config) -> _Survey:
    scan, field_map = _measure(visit, config)
    image = build_visit_image(dataclasses.replace(scan, session=visit.session), field_map, visit.catalogue.clusters)
    times = tuple(float(time) for time in scan.echo_times_s)
    grafts = {} if visit.is_baseline else find_grafts(visit.catalogue, scan, field_map, config)
    return _Survey(image, map_found(scan, field_map, config), grafts, scan.b0_t, times)


def _measure(visit: VisitToFollow, config: Config) -> tuple[Scan, FieldMap]:
    if visit.measured is not None:
        return visit.measured
    scan = visit.read_scan()
    return scan, measure_field(scan, config.field)


def _register(images: Sequence[VisitImage], config: Config, on_progress: Progress | None) -> SubjectSpace:
    """The subject's space; that of its scan where there is only one."""
    if len(images) > 1:
        return register_visits(images, config.register, on_progress=on_progress)
    pose = VisitPose(images[0].session, Rigid.identity(), np.asarray(images[0].b0_direction))
    return SubjectSpace((pose,), (), np.zeros((6, 6)))


def _state_facts(visit: SeenVisit, survey: _Survey) -> VisitFacts:
    return VisitFacts(
        visit.session,
        visit.day,
        visit.is_baseline,
        visit.to_subject is not None,
        survey.b0_t,
        survey.echo_times_s,
        survey.found.grid.voxel_mm,
        visit.catalogue.clusters,
    )


def _as_labelled(visit: SeenVisit, day: float) -> LabelledVisit:
    assert visit.to_subject is not None
    return LabelledVisit(visit.session, day, visit.is_baseline, visit.to_subject, visit.catalogue, visit.found)


def _link(detections: Detections, visits: Sequence[SeenVisit], config: Config) -> TrackSet:
    """Tracks; where there is only one labelled visit nothing can be told of a cluster that its scan does not tell."""
    if sum(not visit.is_baseline for visit in visits) > 1:
        return link_detections(detections, config.link)
    n = len(detections)
    none, zeros = np.zeros(0, np.int64), np.zeros(0)
    links = Links(none, none, none, zeros, zeros, none.astype(np.bool_))
    alone = Optimality(0.0, 0.0, n, 0, 0)
    return TrackSet(detections.cluster_ids, ((),) * n, np.arange(n), links, np.zeros(n), np.ones(n), np.ones(n), alone)


def _note_linking(visits: Sequence[SeenVisit], track_set: TrackSet) -> list[str]:
    notes = []
    lost = [visit.session for visit in visits if visit.to_subject is None]
    if lost:
        n = sum(len(list_linked(visit.catalogue)) for visit in visits if visit.to_subject is None)
        notes.append(
            f"Not registered with the other visits, and not followed: {', '.join(f'ses-{name}' for name in lost)}; "
            f"their {n} accepted clusters are tracks of their own without a place, and no track was measured there."
        )
    if n_false := int(np.count_nonzero(track_set.track < 0)):
        are, they = ("cluster is", "it has") if n_false == 1 else ("clusters are", "they have")
        notes.append(f"{n_false} accepted {are} more likely false, given the other visits: {they} no track.")
    return notes


def _knows_sign(visit: VisitToFollow) -> bool:
    return visit.catalogue.phase_sign is not PhaseSign.UNKNOWN


def _force(
    visit: VisitToFollow,
    seen: SeenVisit,
    places: TrackPlaces,
    rows: NDArray[np.int64],
    column: int,
    regions: Mapping[int, tuple[Rigid, GraftRegion]],
    config: Config,
) -> Table:
    """What the scan holds at the places of the tracks ``rows`` (schema FORCED).

    ``regions`` are those of grafts among them, each with its visit's motion to the subject's space.
    """
    scan, field_map = _measure(visit, config)
    back = _pose(seen).inverse()
    where = places.position_mm[rows, column]
    spread = back.carry_covariance(where, places.covariance_mm2[rows, column])
    points = measure_at(
        scan,
        field_map,
        back.apply(where),
        config.clusters,
        catalogue=visit.catalogue,
        positions_mm_err=np.sqrt(np.einsum("naa->na", spread)),
    )
    carried = {row: (back.after(pose), region) for row, (pose, region) in regions.items()}
    return force_regions(points, carried, scan, field_map, visit.catalogue, config)


def _pose(visit: SeenVisit) -> Rigid:
    """Where a registered visit lies in the subject's space."""
    assert visit.to_subject is not None
    return visit.to_subject
