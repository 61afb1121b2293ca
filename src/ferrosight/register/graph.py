"""All pairs of visits put together: one pose per visit, none favoured, and the error of them all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from ferrosight.register.blocks import sum_softly
from ferrosight.types import Rigid

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]

#: Weights are Cauchy's: a pair this many standard deviations off counts half.
_CAUCHY = 2.0

#: Rounds of weighing; each starts from the poses of the one before.
_ROUNDS = 30

#: Poses rest when none moves more than this, mm at a mm or rad.
_TOLERANCE = 1e-9

#: Standard deviations (mm and rad at the tissue's size) below which no pair's weight rises: two pairs' errors are not
#: told apart below a thousandth of the tissue's radius.
_FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class Edge:
    """One pair's motion, ``second``'s space to ``first``'s, with its covariance, and three or more places (n, 3) of the
    first's space that stand for the tissue."""

    motion: Rigid
    places_mm: FloatArray


@dataclass(frozen=True, eq=False)
class PoseGraph:
    """Poses to the common space (None off the largest connected part), and each pair's RMS distance to them, mm."""

    poses: tuple[Rigid | None, ...]
    residual_mm: Mapping[Pair, float]


def solve_graph(n: int, edges: Mapping[Pair, Edge]) -> PoseGraph:
    """Poses T_i of ``n`` visits from pairs' motions T_ij, x_i = T_ij x_j, second to first.

    Least squares of log(T_i T_ij T_j⁻¹), the disagreement in the common space, weighted by the pairs' covariances and
    by Cauchy's weights, so that a wrong pair is outvoted; started from the tree of the pairs that are known best. The
    common space is the exponential barycentre of the visits (Pennec & Arsigny 2013), Σ log T_i = 0, which favours none.
    """
    members = _find_largest_part(n, edges)
    kept = {pair: edge for pair, edge in edges.items() if pair[0] in members and pair[1] in members}
    poses = _walk_tree(members, kept)
    scale = dict.fromkeys(kept, 1.0)
    for _ in range(_ROUNDS):
        poses, moved = _step(poses, kept, scale)
        distances = {pair: _standardise(poses, pair, edge) for pair, edge in kept.items()}
        scale = {pair: 1 / (1 + (d / _CAUCHY) ** 2) for pair, d in distances.items()}
        if moved < _TOLERANCE:
            break
    poses = centre_poses(poses)
    residual = {pair: _measure_residual(poses, pair, edge) for pair, edge in kept.items()}
    return PoseGraph(tuple(poses.get(i) for i in range(n)), residual)


def centre_poses(poses: Mapping[int, Rigid]) -> dict[int, Rigid]:
    """The poses in the space of their barycentre: Σ log T_i = 0."""
    centred = dict(poses)
    for _ in range(50):
        mean = np.mean([pose.twist() for pose in centred.values()], axis=0)
        back = Rigid.from_twist(-mean)
        centred = {i: back.after(pose) for i, pose in centred.items()}
        if np.abs(mean).max() < 1e-13:
            break
    return centred


def spread_errors(
    members: Sequence[int],
    poses: Mapping[int, Rigid],
    edges: Mapping[Pair, Edge],
    influences: Mapping[Pair, tuple[FloatArray, FloatArray]],
    reach_mm: float,
) -> FloatArray:
    """Joint covariance (6 n, 6 n) of the members' poses, with no motion common to all.

    ``influences`` holds, for every pair, places (m, 3) of the common space, mm, and what each did to the pair's twist
    (m, 6), about the first's origin. The noise of a visit is in all of its pairs, so that pairs are anything but
    independent: each place's influence on every pose is followed through the graph, and products are taken only there,
    of places within reach (`sum_softly`).
    """
    pairs = list(edges)
    gain = _pose_gain(members, poses, edges)
    effects = [
        influences[pair][1] @ poses[pair[0]].adjoint.T @ gain[:, 6 * number : 6 * number + 6].T
        for number, pair in enumerate(pairs)
    ]
    sums = sum_softly(np.concatenate([influences[pair][0] for pair in pairs]), np.concatenate(effects), reach_mm)
    return np.asarray(sums.T @ sums)


def _pose_gain(members: Sequence[int], poses: Mapping[int, Rigid], edges: Mapping[Pair, Edge]) -> FloatArray:
    """(6 n, 6 pairs): how each pair's error, in the common space, moves every pose."""
    place = {i: number for number, i in enumerate(members)}
    n = len(members)
    normal, right = np.zeros((6 * n, 6 * n)), np.zeros((6 * n, 6 * len(edges)))
    for number, (pair, edge) in enumerate(edges.items()):
        weight = _weigh(poses, pair, edge)
        one, two = (slice(6 * place[i], 6 * place[i] + 6) for i in pair)
        column = slice(6 * number, 6 * number + 6)
        normal[one, one] += weight
        normal[two, two] += weight
        normal[one, two] -= weight
        normal[two, one] -= weight
        right[one, column] -= weight
        right[two, column] += weight
    # no motion common to all: the pseudo-inverse's own choice, but for its units
    common = np.tile(np.eye(6), (n, 1)) / n
    return np.asarray(np.linalg.solve(normal + common @ np.diag(np.diag(normal)[:6]) @ common.T, right))


def _find_largest_part(n: int, edges: Mapping[Pair, Edge]) -> set[int]:
    """The largest connected part; of several, that with the earliest visit."""
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    links = sparse.coo_array((np.ones(len(edges)), (rows, columns)), shape=(n, n))
    _, labels = csgraph.connected_components(links, directed=False)
    return set(np.flatnonzero(labels == np.bincount(labels).argmax()).tolist())


def _walk_tree(members: set[int], edges: Mapping[Pair, Edge]) -> dict[int, Rigid]:
    """Poses along the tree of the pairs with the least predicted error, from the first visit."""
    order = sorted(edges, key=lambda pair: (_predict_error(edges[pair]), pair))
    tree: list[Pair] = []
    group = {i: i for i in members}
    for i, j in order:
        if group[i] != group[j]:
            tree.append((i, j))
            old, new = group[j], group[i]
            group = {k: new if g == old else g for k, g in group.items()}
    poses = {min(members): Rigid.identity()}
    while len(poses) < len(members):
        for i, j in tree:
            motion = _exact(edges[i, j].motion)
            if i in poses and j not in poses:
                poses[j] = poses[i].after(motion)
            elif j in poses and i not in poses:
                poses[i] = poses[j].after(motion.inverse())
    return poses


def _step(
    poses: Mapping[int, Rigid], edges: Mapping[Pair, Edge], scale: Mapping[Pair, float]
) -> tuple[dict[int, Rigid], float]:
    """One linear least-squares step; the first visit stays."""
    order = sorted(poses)
    place = {i: number for number, i in enumerate(order)}
    normal, right = np.zeros((6 * len(order),) * 2), np.zeros(6 * len(order))
    for pair, edge in edges.items():
        error = _disagree(poses, pair, edge)
        weight = scale[pair] * _weigh(poses, pair, edge)
        one, two = (slice(6 * place[i], 6 * place[i] + 6) for i in pair)
        normal[one, one] += weight
        normal[two, two] += weight
        normal[one, two] -= weight
        normal[two, one] -= weight
        right[one] -= weight @ error
        right[two] += weight @ error
    if len(order) == 1:
        return dict(poses), 0.0
    step = np.concatenate([np.zeros(6), np.linalg.solve(normal[6:, 6:], right[6:])]).reshape(-1, 6)
    return {i: Rigid.from_twist(step[place[i]]).after(poses[i]) for i in order}, float(np.abs(step).max())


def _disagree(poses: Mapping[int, Rigid], pair: Pair, edge: Edge) -> FloatArray:
    i, j = pair
    return poses[i].after(_exact(edge.motion)).after(poses[j].inverse()).twist()


def _exact(motion: Rigid) -> Rigid:
    return Rigid(motion.rotation, motion.translation_mm)


def _weigh(poses: Mapping[int, Rigid], pair: Pair, edge: Edge) -> FloatArray:
    """The inverse (6, 6) of a pair's covariance in the common space."""
    carry = poses[pair[0]].adjoint
    return np.asarray(np.linalg.inv(carry @ _guard(edge) @ carry.T))


def _guard(edge: Edge) -> FloatArray:
    """A pair's covariance, not below what two pairs can be told apart by."""
    assert edge.motion.covariance is not None
    centre = edge.places_mm.mean(axis=0)
    radius = float(np.sqrt(((edge.places_mm - centre) ** 2).sum(axis=1).mean()))
    about = Rigid(np.eye(3), centre).adjoint
    least = np.diag([(_FLOOR * radius) ** 2] * 3 + [_FLOOR**2] * 3)
    return np.asarray(edge.motion.covariance + about @ least @ about.T)


def _standardise(poses: Mapping[int, Rigid], pair: Pair, edge: Edge) -> float:
    """A pair's disagreement in standard deviations, per root of six."""
    error = _disagree(poses, pair, edge)
    return float(np.sqrt(np.maximum(error @ _weigh(poses, pair, edge) @ error, 0) / 6))


def _measure_residual(poses: Mapping[int, Rigid], pair: Pair, edge: Edge) -> float:
    i, j = pair
    by_graph = poses[j].after(_exact(edge.motion).inverse()).apply(edge.places_mm)
    return float(np.sqrt(((by_graph - poses[i].apply(edge.places_mm)) ** 2).sum(axis=1).mean()))


def _predict_error(edge: Edge) -> float:
    covariance = Rigid.identity().with_covariance(_guard(edge)).carry_covariance(edge.places_mm)
    return float(np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean()))
