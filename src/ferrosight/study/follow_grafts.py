"""Grafts at visits at which they were not found as such: their region is measured there, and their pieces are theirs.

A graft that fades is at last no region of raised R2* any more, or only single points of it are found. Measured as a
point it would hold a tenth of what it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ferrosight.quantify import GraftRegion, find_graft_regions, measure_regions
from ferrosight.study.follow_detections import list_linked
from ferrosight.study.follow_rows import SeenVisit
from ferrosight.types import Catalogue, Config, FieldMap, Flag, Rigid, Scan, Table, flag_names
from ferrosight.types.catalogue import GRAFT_ESTIMATOR
from ferrosight.types.flags import append_flag

_Z95 = 1.959964

#: The grafts of a visit by their cluster's id.
Grafts = Mapping[str, GraftRegion]


def find_grafts(catalogue: Catalogue, scan: Scan, field_map: FieldMap, config: Config) -> dict[str, GraftRegion]:
    """The accepted grafts of a visit, and their regions."""
    linked = set(list_linked(catalogue).tolist())
    if not (catalogue.clusters["estimator"] == GRAFT_ESTIMATOR).any():
        return {}
    regions = find_graft_regions(catalogue, scan, field_map, config.quantify)
    return {str(catalogue.clusters["cluster_id"][row]): region for row, region in regions.items() if row in linked}


def set_pieces_apart(seen: Sequence[SeenVisit], grafts: Sequence[Grafts]) -> tuple[list[SeenVisit], list[str]]:
    """The visits, in order of time, with points rejected where an earlier visit's graft is not found again; and notes.

    Only points after a graft are parts of it: what is a point first and a graft later has grown.
    """
    out: list[SeenVisit] = []
    notes = []
    last: list[tuple[Rigid, GraftRegion]] = []
    for visit, own in zip(seen, grafts, strict=True):
        if visit.to_subject is None or visit.is_baseline:
            out.append(visit)
            continue
        clusters = visit.catalogue.clusters
        rows = list_linked(visit.catalogue)
        is_graft = clusters["estimator"][rows] == GRAFT_ESTIMATOR
        places = visit.to_subject.apply(np.stack([clusters[f"{axis}_mm"][rows] for axis in "xyz"], axis=1))
        inside = [(one, one[1].is_inside(one[0].inverse().apply(places))) for one in last]
        unseen = [(one, within) for one, within in inside if not (within & is_graft).any()]
        pieces = np.zeros(len(clusters), np.bool_)
        for _, within in unseen:
            pieces[rows] |= within & ~is_graft
        last = [one for one, _ in unseen] + [(visit.to_subject, region) for region in own.values()]
        if n := int(pieces.sum()):
            which = "point is" if n == 1 else "points are"
            notes.append(f"ses-{visit.session}: {n} accepted {which} taken for parts of a graft that was found before.")
        out.append(replace(visit, catalogue=_reject(visit.catalogue, pieces)))
    return out, notes


def _reject(catalogue: Catalogue, pieces: NDArray[np.bool_]) -> Catalogue:
    if not pieces.any():
        return catalogue
    clusters = catalogue.clusters.with_columns(
        reasons=append_flag(catalogue.clusters["reasons"], pieces, Flag.INSIDE_GRAFT),
        status=np.where(pieces, "rejected", catalogue.clusters["status"]),
    )
    return replace(catalogue, clusters=clusters)


def pick_region(
    detection: NDArray[np.int64], column: int, cluster_ids: NDArray[np.str_], grafts: Sequence[Grafts]
) -> tuple[int, GraftRegion] | None:
    """The visit and region of what a track was when last seen before a visit, or first after it; None for a point.

    ``detection`` (n_visits,) are the track's rows among ``cluster_ids``, -1 where it was not seen.
    """
    seen = np.flatnonzero(detection >= 0)
    before = seen[seen < column]
    at = int(before[-1] if len(before) else seen[0])
    region = grafts[at].get(str(cluster_ids[detection[at]]))
    return None if region is None else (at, region)


def force_regions(
    forced: Table,
    regions: Mapping[int, tuple[Rigid, GraftRegion]],
    scan: Scan,
    field_map: FieldMap,
    catalogue: Catalogue,
    config: Config,
) -> Table:
    """The table ``forced`` (schema FORCED) with some rows measured as grafts.

    ``regions`` are those of these rows, each with the motion from its scanner space to that of ``scan``.
    """
    if not regions:
        return forced
    rows = list(regions)
    motions, there = zip(*regions.values(), strict=True)
    moment, err = measure_regions(there, motions, scan, field_map, catalogue, config.quantify)
    columns = {name: forced[name].copy() for name in forced.schema.names if name.startswith(("moment", "chi2", "n_n"))}
    columns["moment_am2"][rows], columns["moment_am2_err"][rows] = moment, err
    columns["moment_am2_low"][rows], columns["moment_am2_high"][rows] = moment - _Z95 * err, moment + _Z95 * err
    columns["chi2_dof"][rows], columns["n_neighbours"][rows] = np.nan, 0
    remarks = forced["remarks"].astype(object)
    remarks[rows] = np.where(np.isfinite(moment), "", flag_names(int(Flag.OUTSIDE)))
    return forced.with_columns(**columns, remarks=remarks.astype(np.str_))
