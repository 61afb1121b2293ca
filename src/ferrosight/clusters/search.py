"""The search: screen, fit every pattern at every place, explain the strongest, screen what is left.

All ten classes (five l = 2 patterns, both signs) are treated alike at every step: the same screening, the
same fits, the same competition for a place, the same right to explain its surroundings. What differs
between the dipole of iron's polarity and the others afterwards is therefore iron, not the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from ferrosight.clusters.crowding import neighbour_spread
from ferrosight.clusters.fit import (
    Neighbours,
    Sources,
    WindowData,
    draw_neighbours,
    fit_sources,
    multiply_blocks,
    no_neighbours,
    start_sources,
    unfitted,
)
from ferrosight.clusters.refit import refit_weak
from ferrosight.clusters.screen import Screener
from ferrosight.clusters.structure import Structure, learn_structure
from ferrosight.physics.cluster_signal import SignalTable
from ferrosight.types import Progress

#: Sources nearer than this (cube-root-of-voxel-volume units) cannot be told apart: the stronger is kept.
SAME_PLACE = 1.3
#: Peaks nearer than this are one place to start from.
_ONE_START = 1.0
#: A source scoring at least this explains its surroundings for the others.
EXPLAINS = 6.0
#: Of a place's ten classes so many are started, those of the largest statistic beside it …
_STARTED = 4
#: … and so many refined, those with the best starts, if the start itself scores this, and the one that screens best.
_REFINED = 3
_WORTH_REFINING = 2.5
#: Fits scoring this are asked again where they ended, and with all classes where their misfit is larger than that.
_PROMISING, _FITS_BADLY = 4.0, 3.0
#: First only what stands out, so that its side lobes need not be fitted; then everything, twice.
_FIRST_SCREEN_Z = 8.0
_SWEEPS = 2


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    ``sources`` of all classes, and their ``score`` (n,) whitened by the structure of the scan's field;
    ``neighbours`` drawn from those that explain their surroundings, ``own`` (n,) each source's row among them (-1:
    none); ``neighbour_spread`` (n,) what errors of their models add to each source's score; ``between`` (n, 4, 4)
    what the choice of the point spread adds to the covariance of (q, shift), ``lowered`` (n,) by how much it lowered
    χ²; ``residual_map`` (pattern, x, y, z) the screening map once the strong ones were explained; ``n_places`` how
    many places were fitted;
    ``data`` with its model error learnt, ``structure`` what the scores are whitened by.
    """

    sources: Sources
    score: NDArray[np.float64]
    neighbours: Neighbours
    own: NDArray[np.int64]
    neighbour_spread: NDArray[np.float64]
    between: NDArray[np.float64]
    lowered: NDArray[np.float64]
    residual_map: NDArray[np.float32]
    n_places: int
    data: WindowData
    structure: Structure


def search_sources(
    data: WindowData,
    search_mask: NDArray[np.bool_],
    screener: Screener,
    evidence: NDArray[np.float32],
    screen_z: float,
    other_tables: Iterable[tuple[SignalTable, ...]] = (),
    on_progress: Progress | None = None,
) -> SearchResult:
    """Sources of all classes, starting from the ``evidence`` of the scan as it is.

    ``other_tables`` are the signal tables of point spreads that weak sources may have instead.
    """

    def report(what: str, done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(what, done, total)

    n_echoes = len(data.ratios)
    found = unfitted(*(np.zeros(0, np.int64),) * 2, np.zeros((0, 3), np.int64), n_echoes)
    neighbours = no_neighbours(data)
    tried = np.zeros((0, 3))
    n_places = 0
    thresholds = (max(_FIRST_SCREEN_Z, screen_z), screen_z, screen_z)
    for turn, threshold in enumerate(thresholds):
        report("searching for clusters", turn, len(thresholds) + 1)
        if turn:
            evidence = screener.screen(_take_off(data, neighbours))
        places = find_places(evidence, search_mask, threshold, data.edges, [found.positions, tried])
        tried = np.concatenate([tried, places]) if turn else tried
        n_places += len(places)
        new = _fit_places(data, evidence, places, neighbours)
        # A decoy may win beside a source because its lobe peaked there: ask again where its fit ended.
        ended = _ended_elsewhere(new, places, data.edges)
        new = new.join(_fit_places(data, evidence, ended, neighbours))
        # The weak are kept too: their places are not tried again.
        old = fit_sources(data, found, neighbours, _own_rows(found), search=False)
        found = drop_duplicates(old.join(new), data.edges)
        if turn == 0:
            data = replace(data, model_error=learn_model_error(found))
        neighbours = draw_neighbours(data, found.pick(found.score >= EXPLAINS))
    for _ in range(_SWEEPS):
        report("fitting neighbours together", len(thresholds), len(thresholds) + 1)
        own = _own_rows(found)
        found = fit_sources(data, found, neighbours, own, search=False)
        neighbours = draw_neighbours(data, found.pick(found.score >= EXPLAINS))
    found = drop_duplicates(found, data.edges)
    own = _own_rows(found)
    neighbours = draw_neighbours(data, found.pick(own >= 0))
    phase, _, weight = screener.flatten(_take_off(data, neighbours))
    structure = learn_structure(phase, weight, search_mask, data.voxels)
    refit = refit_weak(data, found, neighbours, own, other_tables, structure)
    # Rows keep their order: what explained its surroundings before goes on to.
    neighbours = draw_neighbours(data, refit.sources.pick(own >= 0))
    spread = neighbour_spread(data, refit.sources, neighbours, own)
    return SearchResult(
        refit.sources,
        refit.score,
        neighbours,
        own,
        spread,
        refit.between,
        refit.lowered,
        evidence,
        n_places,
        data,
        structure,
    )


def _take_off(data: WindowData, neighbours: Neighbours) -> NDArray[np.complex64]:
    """The scan's signal less the phase of what is explained."""
    explained = multiply_blocks(data.signal.shape, neighbours)
    return np.asarray(data.signal * np.exp(-1j * np.angle(explained)).astype(np.complex64))


def _own_rows(found: Sources) -> NDArray[np.int64]:
    """Each source's row among the neighbours drawn from those that explain; -1 for the others."""
    explains = found.score >= EXPLAINS
    return np.where(explains, np.cumsum(explains) - 1, -1)


def find_places(
    evidence: NDArray[np.float32],
    mask: NDArray[np.bool_],
    threshold: float,
    edges: NDArray[np.float64],
    known: list[NDArray[np.float64]],
) -> NDArray[np.int64]:
    """Voxels (n, 3) where any pattern of either sign peaks, strongest first, none beside a known position."""
    strength = np.abs(evidence).max(axis=0)
    peaks = np.zeros(mask.shape, bool)
    for pattern in evidence:
        size = np.abs(pattern)
        peaks |= (size == ndimage.maximum_filter(size, 3)) & (size > threshold)
    places = np.argwhere(peaks & mask)
    places = places[np.argsort(-strength[tuple(places.T)], kind="stable")]
    for taken in known:
        places = _away_from(taken, places, edges)
    return _thin_out(places, edges)


def _thin_out(places: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of places nearer than one start, keep the first."""
    if not len(places):
        return places
    return places[_first_of_each(places * edges, _ONE_START)]


def _first_of_each(points: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Of points nearer to each other than a distance, only the first stays."""
    alive = np.ones(len(points), np.bool_)
    groups: Any = KDTree(points).query_ball_point(points, distance)
    for row, others in enumerate(groups):
        if alive[row]:
            alive[[other for other in others if other > row]] = False
    return alive


def _fit_places(
    data: WindowData, evidence: NDArray[np.float32], places: NDArray[np.int64], neighbours: Neighbours
) -> Sources:
    """The best-scoring class at every place.

    Those started have the largest statistic at the place or a voxel beside it, whatever pattern peaks there. Where
    the best of them is strong and fits badly, all ten are: in a cut window the right one may screen below others.
    """
    fitted, at = _fit_classes(data, evidence, places, neighbours, _STARTED)
    doubtful = (fitted.score > _PROMISING) & (fitted.misfit > _FITS_BADLY)
    again, _ = _fit_classes(data, evidence, places[at[doubtful]], neighbours, 2 * len(evidence))
    return fitted.pick(~doubtful).join(again)


def _fit_classes(
    data: WindowData,
    evidence: NDArray[np.float32],
    places: NDArray[np.int64],
    neighbours: Neighbours,
    n_started: int,
) -> tuple[Sources, NDArray[np.int64]]:
    """The best of so many classes at every place, and the rows of the places that have one."""
    rows, kinds = _likely_classes(evidence, places, n_started)
    classes = unfitted(kinds // 2, 1 - 2 * (kinds % 2), places[rows], len(data.ratios))
    started = start_sources(data, classes, neighbours)
    # Only the class that screens best and those that start best are refined, alike for all: a start may lie so far
    # from a source's strength that another class starts better there.
    order = np.lexsort((-started.score, rows))
    rank = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
    screens_best = order == np.searchsorted(rows, rows[order])
    chosen = order[((rank < _REFINED) & (started.score[order] > _WORTH_REFINING)) | screens_best]
    fitted = fit_sources(data, classes.pick(chosen), neighbours, search=True)
    best = np.lexsort((-fitted.score, rows[chosen]))
    at, first = np.unique(rows[chosen][best], return_index=True)
    return fitted.pick(best[first]), at


def _likely_classes(
    evidence: NDArray[np.float32], places: NDArray[np.int64], n_started: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows into the places, and the classes to start there: twice the pattern, one more where q is negative."""
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    around = np.clip(places[:, None] + steps, 0, np.array(evidence.shape[1:]) - 1)
    z = evidence[:, around[..., 0], around[..., 1], around[..., 2]]
    # (pattern, sign, place): the largest statistic of either sign, 0 where there is none of that sign.
    largest = np.stack([z.max(axis=2, initial=0.0), -z.min(axis=2, initial=0.0)], axis=1)
    by_class = largest.reshape(2 * len(evidence), len(places))
    kinds = np.argsort(-by_class, axis=0, kind="stable")[:n_started].T
    return np.repeat(np.arange(len(places)), kinds.shape[1]), kinds.reshape(-1)


def _ended_elsewhere(fitted: Sources, places: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Voxels where promising fits ended, away from every starting place, each once."""
    ends = np.round(fitted.positions[fitted.score > _PROMISING]).astype(np.int64)
    return _thin_out(_away_from(places, np.unique(ends, axis=0), edges), edges)


def _away_from(known: NDArray[Any], places: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Those of the places that are farther than one start from every known position."""
    if not len(known) or not len(places):
        return places
    distance, _ = KDTree(known * edges).query(places * edges)
    return places[np.asarray(distance) > _ONE_START]


def drop_duplicates(sources: Sources, edges: NDArray[np.float64]) -> Sources:
    """Strongest first; of sources at the same place, of whatever class, only the strongest."""
    order = np.argsort(-sources.score, kind="stable")
    order = order[sources.score[order] > 0]
    points = sources.positions[order] * edges
    if not len(order):
        return sources.pick(order)
    return sources.pick(order[_first_of_each(points, SAME_PLACE)])


def learn_model_error(sources: Sources) -> float:
    """Relative error of a source's factor: the root of excess χ² over the change that the source made.

    The change of a source, in units of noise, is what it takes off χ² and more; the median over the scan's
    strong sources says how much of it the model does not describe.
    """
    strong = sources.pick(sources.score > 2 * EXPLAINS)
    if len(strong) < 5:
        return _DEFAULT_MODEL_ERROR
    excess = np.maximum(strong.chi2 - strong.dof, 0.0)
    return float(np.sqrt(np.median(excess / (strong.chi2_background - strong.chi2))))


#: Where a scan has too few strong sources to learn it from (an assumption).
_DEFAULT_MODEL_ERROR = 0.2
