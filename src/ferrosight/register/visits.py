"""All visits of a subject laid into one space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.register.coarse import find_starts
from ferrosight.register.graph import Edge, Pair, PoseGraph, solve_graph, spread_errors
from ferrosight.register.refine import PairFit, fit_pair
from ferrosight.types import PairRegistration, Progress, Rigid, SubjectSpace, VisitImage, VisitPose
from ferrosight.types.config import RegisterConfig
from ferrosight.types.transforms import PairStatus, place_covariance

FloatArray = NDArray[np.float64]

#: A pair whose predicted error exceeds this many voxel edges (of the coarser visit) has failed.
_MOST_ERROR_VOXELS = 1.0

#: A pair is inconsistent with the others beyond this many predicted errors, but not below so many voxel edges.
_MOST_SIGMAS, _LEAST_VOXELS = 6.0, 0.25


@dataclass(frozen=True, eq=False)
class _Attempt:
    """What came of one pair."""

    fit: PairFit | None
    status: PairStatus


def register_visits(
    images: Sequence[VisitImage],
    config: RegisterConfig,
    *,
    on_progress: Progress | None = None,
) -> SubjectSpace:
    """Lay all visits of a subject into one space in the middle of them, with the error of doing so.

    Every pair is registered by itself (``coarse``, ``refine``); a pose graph over all of them (``graph``) gives every
    visit its pose. A pair that does not overlap, whose images do not match or that contradicts the others is said so
    and left out, after a second try from where the others expect it. Visits that no pair reaches get no pose.

    The result is the same bit for bit every time.

    Raises
    ------
    InputError
        Where there is no visit, or two have the same session.
    """
    sessions = [image.session for image in images]
    if not sessions or len(set(sessions)) < len(sessions):
        raise InputError(f"visits of different sessions are needed, one or more, but they are {sessions}.")
    pairs = [(i, j) for j in range(len(images)) for i in range(j)]
    attempts: dict[Pair, _Attempt] = {}
    for number, (i, j) in enumerate(pairs):
        if on_progress is not None:
            on_progress("register", number, len(pairs))
        attempts[i, j] = _register_pair(images[i], images[j], find_starts(images[i], images[j]), config)
    attempts = _settle(images, attempts, config)
    edges = _use(attempts)
    graph = solve_graph(len(images), edges)
    return _describe(images, attempts, edges, graph)


def _register_pair(first: VisitImage, second: VisitImage, starts: Iterable[Rigid], config: RegisterConfig) -> _Attempt:
    """The first start that leads to a good registration, or the best of the bad ones."""
    best = _Attempt(None, "no_overlap")
    for start in starts:
        fit = fit_pair(first, second, start, config.max_samples)
        attempt = _Attempt(fit, _judge(first, second, fit, config))
        if attempt.status == "used":
            return attempt
        if best.fit is None or (fit is not None and fit.similarity > best.fit.similarity):
            best = attempt
    return best


def _judge(first: VisitImage, second: VisitImage, fit: PairFit | None, config: RegisterConfig) -> PairStatus:
    if fit is None or fit.overlap < config.least_overlap:
        return "no_overlap"
    most = _MOST_ERROR_VOXELS * max(*first.grid.voxel_mm, *second.grid.voxel_mm)
    if not fit.has_converged or fit.similarity < config.least_similarity or not _error_mm(fit) < most:
        return "failed"
    return "used"


def _error_mm(fit: PairFit) -> float:
    """Predicted RMS error of the places that a pair was compared at."""
    covariances = place_covariance(fit.covariance, fit.places_mm)
    squares = np.trace(covariances, axis1=1, axis2=2)
    return float(np.sqrt(np.average(squares, weights=fit.weights)))


def _use(attempts: Mapping[Pair, _Attempt]) -> dict[Pair, Edge]:
    return {
        pair: Edge(attempt.fit.transform, attempt.fit.places_mm)
        for pair, attempt in attempts.items()
        if attempt.fit is not None and attempt.status == "used"
    }


def _settle(
    images: Sequence[VisitImage], attempts: dict[Pair, _Attempt], config: RegisterConfig
) -> dict[Pair, _Attempt]:
    """Pairs that fail or contradict the others tried once more from where the others expect them, then left out."""
    settled = _mark_inconsistent(images, attempts)
    graph = solve_graph(len(images), _use(settled))
    for (i, j), attempt in settled.items():
        to_i, to_j = graph.poses[i], graph.poses[j]
        if attempt.status == "used" or to_i is None or to_j is None:
            continue
        expected = to_i.inverse().after(to_j)
        again = _register_pair(images[i], images[j], [Rigid(expected.rotation, expected.translation_mm)], config)
        if again.status == "used":
            settled[i, j] = again
    return _mark_inconsistent(images, settled)


def _mark_inconsistent(images: Sequence[VisitImage], attempts: Mapping[Pair, _Attempt]) -> dict[Pair, _Attempt]:
    """One after the other, the pair that contradicts the others most, until none does."""
    marked = dict(attempts)
    while True:
        edges = _use(marked)
        graph = solve_graph(len(images), edges)
        excess = {}
        for (i, j), residual in graph.residual_mm.items():
            fit = marked[i, j].fit
            assert fit is not None
            voxel = max(*images[i].grid.voxel_mm, *images[j].grid.voxel_mm)
            excess[i, j] = residual / max(_MOST_SIGMAS * _error_mm(fit), _LEAST_VOXELS * voxel)
        worst = max(excess, key=lambda pair: excess[pair], default=None)
        if worst is None or excess[worst] <= 1:
            return marked
        marked[worst] = replace(marked[worst], status="inconsistent")


def _describe(
    images: Sequence[VisitImage], attempts: Mapping[Pair, _Attempt], edges: Mapping[Pair, Edge], graph: PoseGraph
) -> SubjectSpace:
    found = {i: pose for i, pose in enumerate(graph.poses) if pose is not None}
    members = sorted(found)
    inside = {pair: edge for pair, edge in edges.items() if pair[0] in found and pair[1] in found}
    joint = np.zeros((6 * len(members), 6 * len(members)))
    if inside:
        fits = {pair: _fit(attempts, pair) for pair in inside}
        influences = {pair: (found[pair[0]].apply(fit.places_mm), fit.influences) for pair, fit in fits.items()}
        reach = float(np.median([fit.reach_mm for fit in fits.values()]))
        joint = spread_errors(members, found, inside, influences, reach)
    poses = []
    for i, image in enumerate(images):
        if i not in found:
            poses.append(VisitPose(image.session, None, None))
            continue
        slot = slice(6 * members.index(i), 6 * members.index(i) + 6)
        # of n independent errors less their mean each keeps (n − 1)/n of its variance
        own = joint[slot, slot] * (len(members) / max(len(members) - 1, 1))
        poses.append(VisitPose(image.session, found[i].with_covariance(own), found[i].turn(image.b0_direction)))
    pairs = tuple(
        _describe_pair(images, pair, attempt, graph.residual_mm.get(pair, float("nan")))
        for pair, attempt in attempts.items()
    )
    return SubjectSpace(tuple(poses), pairs, joint)


def _fit(attempts: Mapping[Pair, _Attempt], pair: Pair) -> PairFit:
    fit = attempts[pair].fit
    assert fit is not None
    return fit


def _describe_pair(images: Sequence[VisitImage], pair: Pair, attempt: _Attempt, residual_mm: float) -> PairRegistration:
    fit = attempt.fit
    return PairRegistration(
        images[pair[0]].session,
        images[pair[1]].session,
        None if fit is None else fit.transform,
        attempt.status,
        0.0 if fit is None else fit.overlap,
        float("nan") if fit is None else fit.similarity,
        float("nan") if fit is None else _error_mm(fit),
        residual_mm,
    )
