"""Clusters that could be mistaken for each other, followed as one: their total does not depend on the links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist


@dataclass(frozen=True)
class Lineages:
    """(n_lineages, n_visits) totals and their standard deviations, NaN after a lineage's end; in the order of birth.

    ``births`` (n_lineages,) are visits, ``members`` the rows of the clusters that are added up.
    """

    values: NDArray[np.float64]
    sds: NDArray[np.float64]
    births: NDArray[np.int64]
    members: tuple[tuple[int, ...], ...]


def keep_rows(values: NDArray[np.float64], sds: NDArray[np.float64], births: NDArray[np.int64]) -> Lineages:
    """Rows that are lineages already (n_lineages, n_visits), in the order of their births (n_lineages,)."""
    order = np.argsort(births, kind="stable")
    return Lineages(values[order], sds[order], births[order], tuple((int(row),) for row in order))


def pool_neighbours(
    values: NDArray[np.float64],
    sds: NDArray[np.float64],
    births: NDArray[np.int64],
    positions_mm: NDArray[np.float64],
    reach_mm: float,
) -> Lineages:
    """Lineages of clusters, those within ``reach_mm`` of each other (directly or by a chain) added up.

    A cluster born within reach of a lineage ends that lineage, which keeps its evidence, and begins a new one that is
    the total of both. Only positions and births decide, never what is followed; the standard deviation of a total
    takes its clusters' errors as independent of each other.

    Parameters
    ----------
    values, sds
        (n_clusters, n_visits).
    births
        (n_clusters,) visits.
    positions_mm
        (n_clusters, 3).
    """
    near = cdist(positions_mm, positions_mm) <= reach_mm
    open_since: dict[tuple[int, ...], int] = {}
    spans: list[tuple[tuple[int, ...], int, int]] = []
    n_visits = values.shape[1]
    for visit in np.unique(births):
        alive = np.flatnonzero(births <= visit)
        n_groups, group = connected_components(near[np.ix_(alive, alive)], directed=False)
        now = {tuple(alive[group == g].tolist()) for g in range(n_groups)}
        ended = [members for members in open_since if members not in now]
        spans += [(members, open_since.pop(members), int(visit)) for members in ended]
        for members in now:
            open_since.setdefault(members, int(visit))
    spans += [(members, birth, n_visits - 1) for members, birth in open_since.items()]
    spans.sort(key=lambda span: (span[1], span[0]))
    totals, errors = np.full((len(spans), n_visits), np.nan), np.full((len(spans), n_visits), np.nan)
    for row, (members, birth, last) in enumerate(spans):
        kept = slice(birth, last + 1)
        totals[row, kept] = values[list(members), kept].sum(axis=0)
        errors[row, kept] = np.sqrt((sds[list(members), kept] ** 2).sum(axis=0))
    return Lineages(totals, errors, np.array([s[1] for s in spans], dtype=np.int64), tuple(s[0] for s in spans))
