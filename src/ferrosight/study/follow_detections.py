"""Accepted clusters of all visits as linking takes them: where, how heavy, how sure to be found, how likely false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from ferrosight.limits import map_limit
from ferrosight.limits.false_alarms import detection_power
from ferrosight.numerics.roots import find_root
from ferrosight.types import Catalogue, Detections, FieldMap, Grid, Rigid, Scan, Table
from ferrosight.types.config import Config

Floats = NDArray[np.float64]

#: The limit of detection is asked for in iron of any magnetisation (A m² per kg), and is wanted as a moment.
_MS, _PG_PER_KG = 100.0, 1e15
#: Nothing in tissue is found with a smaller or a greater chance: noise helps the weakest, and veins, bubbles and
#: neighbours hide one in twenty of the strongest (assumptions; docs/measured.md has real brains).
_LEAST_CHANCE, _MOST_CHANCE = 0.02, 0.95
#: Moments over the limit between which the chance is tabulated.
_RATIOS = np.geomspace(0.02, 20.0, 241)
#: Where links must not depend on moments, the chance is that of this many times the typical limit.
_REFERENCE = 1.5
#: No position is known better than this, voxel edges.
_LEAST_ERROR = 0.01
#: No candidate that was accepted is more likely false than this.
_MOST_FALSE = 0.9


@dataclass(frozen=True)
class FoundAs:
    """How little would have been found at a visit: ``moment_am2`` (x, y, z), NaN outside the tissue, is the moment that
    its search finds with ``power``; ``d_prime_required`` is what an ideal observer needs for that."""

    grid: Grid
    moment_am2: NDArray[np.float32]
    power: float
    d_prime_required: float

    @property
    def volume_mm3(self) -> float:
        """Volume in which clusters were looked for."""
        return float(np.count_nonzero(np.isfinite(self.moment_am2)) * np.prod(self.grid.voxel_mm))

    def read(self, places_mm: Floats) -> Floats:
        """The moment (n,) at the nearest voxel of places (n, 3), scanner RAS+ mm; NaN where nothing was searched."""
        ijk = np.round(self.grid.to_ijk(places_mm)).reshape(-1, 3)
        at = np.clip(ijk, 0, np.array(self.grid.shape) - 1).astype(np.int64)
        inside = (at == ijk).all(axis=1)
        return np.where(inside, self.moment_am2[tuple(at.T)].astype(np.float64), np.nan)

    def chance(self, moments_am2: Floats, places_mm: Floats) -> Floats:
        """Chance (n,) to find clusters of these moments at these places; 0 where nothing was searched.

        That of an ideal observer who needs as much more for everything as the search does for what it finds with
        ``power``: d' grows with the moment, as it does for what is weak.
        """
        threshold = find_root(
            lambda t: self.power - detection_power(self.d_prime_required, t), 0.1, self.d_prime_required + 12
        )
        power = [detection_power(self.d_prime_required * ratio, threshold) for ratio in _RATIOS]
        limit = self.read(places_mm)
        known = np.isfinite(limit) & (limit > 0)
        ratio = np.divide(moments_am2, limit, out=np.ones(len(limit)), where=known)
        found = np.clip(np.interp(np.log(ratio), np.log(_RATIOS), power), _LEAST_CHANCE, _MOST_CHANCE)
        return np.where(known, found, 0.0)


def map_found(scan: Scan, field_map: FieldMap, config: Config) -> FoundAs:
    """The ideal observer's limit of a scan, times ``link.over_ideal``, as a moment."""
    limit = map_limit(scan, field_map, _MS, config.limits)
    moment = limit.iron_pg * np.float32(config.link.over_ideal * _MS / _PG_PER_KG)
    return FoundAs(scan.grid, moment, limit.search.power, limit.d_prime_required)


@dataclass(frozen=True)
class LabelledVisit:
    """A visit that has a place in the subject's space; clusters of a baseline are none of the label's."""

    session: str
    day: float
    is_baseline: bool
    to_subject: Rigid
    catalogue: Catalogue
    found: FoundAs


def list_linked(catalogue: Catalogue) -> NDArray[np.int64]:
    """Rows of the accepted clusters that have a place and a moment."""
    clusters = catalogue.clusters
    good = (clusters["status"] == "accepted") & (clusters["moment_am2"] > 0) & np.isfinite(clusters["moment_am2_err"])
    return np.flatnonzero(good & np.isfinite(_places(clusters)).all(axis=1))


def gather_detections(visits: Sequence[LabelledVisit], config: Config) -> Detections:
    """All accepted clusters of the labelled visits in the subject's space, in order of visit.

    A baseline is a visit at which none could have been found. Position errors along the scanner's axes are taken for
    independent of each other, and the visit's own error of registration is added.
    """
    parts = [_gather_visit(visit) for visit in visits]
    visit_of = np.repeat(np.arange(len(visits)), [len(part.ids) for part in parts])
    position = np.concatenate([part.position_mm for part in parts])
    moment = np.concatenate([part.moment_am2 for part in parts])
    asked = moment if config.link.use_mass else np.full(len(moment), _find_reference(visits))
    chance = np.zeros((len(moment), len(visits)))
    for number, visit in enumerate(visits):
        if not visit.is_baseline:
            chance[:, number] = visit.found.chance(asked, visit.to_subject.inverse().apply(position))
    own = np.arange(len(moment)), visit_of
    chance[own] = np.maximum(chance[own], _LEAST_CHANCE)
    volume = float(np.mean([visit.found.volume_mm3 for visit in visits]))
    false = np.concatenate([part.false_chance for part in parts])
    n_labelled = sum(not visit.is_baseline for visit in visits)
    density = len(moment) / (volume * max(n_labelled, 1))
    return Detections(
        tuple(visit.session for visit in visits),
        np.array([visit.day for visit in visits]),
        np.concatenate([part.ids for part in parts]),
        visit_of,
        position,
        np.concatenate([part.covariance_mm2 for part in parts]),
        moment,
        np.concatenate([part.moment_am2_err for part in parts]),
        chance,
        density * false / (1 - false),
        volume,
    )


@dataclass(frozen=True)
class _Part:
    """What one visit adds, (n,) or (n, …) each."""

    ids: NDArray[np.str_]
    position_mm: Floats
    covariance_mm2: Floats
    moment_am2: Floats
    moment_am2_err: Floats
    false_chance: Floats


def _gather_visit(visit: LabelledVisit) -> _Part:
    clusters = visit.catalogue.clusters
    rows = list_linked(visit.catalogue) if not visit.is_baseline else np.zeros(0, np.int64)
    places = _places(clusters)[rows]
    edge = float(max(visit.found.grid.voxel_mm))
    errors = np.stack([clusters[f"{axis}_mm_err"][rows] for axis in "xyz"], axis=1).reshape(-1, 3)
    errors = np.maximum(np.where(np.isfinite(errors), errors, edge), _LEAST_ERROR * edge)
    own = errors[:, :, None] ** 2 * np.eye(3)
    covariance = visit.to_subject.carry_covariance(places, own)
    return _Part(
        np.asarray(clusters["cluster_id"][rows], dtype=np.str_),
        visit.to_subject.apply(places),
        (covariance + np.swapaxes(covariance, 1, 2)) / 2,
        clusters["moment_am2"][rows],
        clusters["moment_am2_err"][rows],
        find_false_chances(clusters["expected_false"][rows]),
    )


def find_false_chances(expected_false: Floats) -> Floats:
    """Chance (n,) of each accepted cluster to be false, from the false ones expected at its score or more.

    What is added from one score to the next lower one, made to grow downwards (isotonic regression): the chances of all
    add up to the number of false ones expected among them.
    """
    if not len(expected_false):
        return np.zeros(0)
    order = np.argsort(expected_false, kind="stable")
    steps = np.diff(np.nan_to_num(expected_false[order]), prepend=0.0)
    chances = np.empty(len(order))
    chances[order] = isotonic_regression(steps).x
    return np.clip(chances, 0.0, _MOST_FALSE)


def _find_reference(visits: Sequence[LabelledVisit]) -> float:
    """One moment, from what the scans could show and not from what was found in them."""
    return _REFERENCE * float(np.median([np.nanmedian(visit.found.moment_am2) for visit in visits]))


def _places(clusters: Table) -> Floats:
    return np.stack([clusters[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3)
