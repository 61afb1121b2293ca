"""The average of exp(i phase) over boxes, sub-divided as finely as the phase there asks for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ferrosight.simulate._kernels import average_linear_phase
from ferrosight.simulate.bodies import Body, FloatArray

#: Second-order phase over one sub-divided cell that is let pass, radians, at 16 cells per voxel edge.
_TOLERANCE_RAD = 0.02

#: How much finer, per axis, the cells at a point and across the edge of its core are cut once more. The mean
#: of a dipole's own phase over the cell that holds it converges only once that cell's phase saturates, and
#: the phase bends too sharply at a core's edge to be linear there.
_POINT_REFINEMENT = 4

#: Phase (radians) below which a body's field is not added to a voxel.
NEGLIGIBLE_RAD = 2e-4

#: Voxels along the first axis of the slabs in which far fields are summed.
_SLAB_VOXELS = 4

#: Edge, in boxes, of the groups of boxes that count as near the same bodies.
_GROUP_BOXES = 6

#: Points evaluated at once, to bound memory.
_CHUNK = 100_000

#: Threads that share the points; each fills boxes of its own, so that their number changes nothing.
_THREADS = 2


def average_over_boxes(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    *,
    finest: int,
) -> NDArray[np.complex128]:
    """Average of exp(2πi f·t - R|t|) over equal boxes: (echo, n); R is relaxation inside bodies, infinite in voids.

    Parameters
    ----------
    bodies
        Their fields *add* before anything is averaged.
    centres_m : float (n, 3)
        Along the array's axes, metres.
    box_m : float (3,)
        Edges of every box.
    turns_s : float (echo,)
        Echo times, negative where phase falls with field.
    sub_sampling
        How fine; doubling it doubles the sub-division everywhere.
    finest
        Largest number of cells per box edge.

    Notes
    -----
    Each box is cut into q³ cells, q a power of two chosen from the second derivative of the phase. A cell
    holds the mean of a phase that is linear in it, exp(iφ)·sinc·sinc·sinc, so that cells too coarse for a
    steep phase fade out as they should instead of contributing at random.
    """
    result = np.ones((len(turns_s), len(centres_m)), dtype=np.complex128)
    if not bodies or not len(centres_m):
        return result
    reaches = [find_reach(body, box_m, turns_s) for body in bodies]
    groups, gaps_m = _group_boxes(bodies, centres_m, box_m)
    is_near = gaps_m < reaches
    group_of_box = np.empty(len(centres_m), dtype=np.int_)
    group_of_box[np.concatenate(groups)] = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    far_hz = np.zeros(len(centres_m))
    for body, near in zip(bodies, is_near.T, strict=True):
        boxes = np.flatnonzero(~near[group_of_box])
        far_hz[boxes] += body.far_field(centres_m[boxes])
    result *= np.exp(2j * np.pi * turns_s[:, None] * far_hz)
    # groups that are near the same bodies go together
    for pattern, members in _gather(is_near):
        mine = np.concatenate([groups[i] for i in members])
        close = [body for body, near in zip(bodies, pattern, strict=True) if near]
        if close:
            result[:, mine] *= _average_near(close, centres_m[mine], box_m, turns_s, sub_sampling, finest)
    return result


def _group_boxes(
    bodies: Sequence[Body], centres_m: FloatArray, box_m: FloatArray
) -> tuple[list[NDArray[np.int_]], FloatArray]:
    """Boxes that lie together, and the distance (group, body), m, that a body has from a group at least."""
    cells = np.floor((centres_m - centres_m.min(axis=0)) / (_GROUP_BOXES * box_m) + 1e-6).astype(np.int_)
    keys = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0) + 1))
    order = np.argsort(keys, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    middles = np.array([centres_m[group].mean(axis=0) for group in groups])
    radii = np.array(
        [np.linalg.norm(np.abs(centres_m[g] - m).max(axis=0)) for g, m in zip(groups, middles, strict=True)]
    )
    distances = np.array([body.distance(middles) for body in bodies])
    return groups, np.asarray(distances.T - radii[:, None])


def _gather(patterns: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], NDArray[np.int_]]]:
    """Different rows of (n, m), and which rows they are."""
    rows, which = np.unique(patterns, axis=0, return_inverse=True)
    return [(row, np.flatnonzero(which == i)) for i, row in enumerate(rows)]


def find_reach(body: Body, box_m: FloatArray, turns_s: FloatArray) -> float:
    """Distance (m) from a body beyond which one point per box shows its signal, to about 1e-3."""
    diagonal = float(np.linalg.norm(box_m))
    limit = 2 * _TOLERANCE_RAD / (2 * np.pi * np.abs(turns_s).max() * (diagonal / 2) ** 2)
    return max(body.reach_where_curvature(limit), diagonal)


def sum_far_fields(
    bodies: Sequence[Body], shape: tuple[int, int, int], voxel_m: FloatArray, turns_s: FloatArray
) -> FloatArray:
    """Field of all bodies at all voxel centres (x, y, z), Hz; finite but meaningless inside a body.

    A body's field is left out where its phase never reaches ``NEGLIGIBLE_RAD``.
    """
    total = np.zeros(shape)
    limit_hz = NEGLIGIBLE_RAD / (2 * np.pi * np.abs(turns_s).max())
    corners = []
    for body in bodies:
        reach = body.reach_where_field(limit_hz)
        low, high = body.bounds()
        corners.append((np.floor((low - reach) / voxel_m), np.ceil((high + reach) / voxel_m) + 1))

    def sum_slab(start: int) -> None:
        least, most = np.array([start, 0, 0]), np.array([min(start + _SLAB_VOXELS, shape[0]), *shape[1:]])
        for body, (low, high) in zip(bodies, corners, strict=True):
            first, last = (np.clip(corner, least, most).astype(np.int_) for corner in (low, high))
            if (last <= first).any():
                continue
            window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
            total[window] += body.far_field(voxel_points(first, last, voxel_m)).reshape(tuple(last - first))

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(sum_slab, range(0, shape[0], _SLAB_VOXELS)):
            pass
    return total


def voxel_points(first: NDArray[np.int_], last: NDArray[np.int_], voxel_m: FloatArray) -> FloatArray:
    """Centres (n, 3), metres, of the voxels from ``first`` up to but without ``last``, in C order."""
    axes = [np.arange(a, b) * h for a, b, h in zip(first, last, voxel_m, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _average_near(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    finest: int,
) -> NDArray[np.complex128]:
    result = np.empty((len(turns_s), len(centres_m)), dtype=np.complex128)
    levels = _choose_levels(bodies, centres_m, box_m, turns_s, sub_sampling, finest)
    parts: list[tuple[int, NDArray[np.int_]]] = []
    for q in np.unique(levels):
        chosen = np.flatnonzero(levels == q)
        step = max(1, _CHUNK // int(q) ** 3)
        parts += [(int(q), chosen[start : start + step]) for start in range(0, len(chosen), step)]

    def average_part(part: tuple[int, NDArray[np.int_]]) -> None:
        q, boxes = part
        points = (centres_m[boxes][:, None, :] + _cell_offsets(q, box_m)).reshape(-1, 3)
        cells = _signal_of_cells(bodies, points, box_m / q, turns_s)
        if q == finest:
            _refine_points(cells, bodies, points, box_m / q, turns_s)
        result[:, boxes] = cells.reshape(len(turns_s), len(boxes), -1).mean(axis=2)

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(average_part, parts):
            pass
    return result


def _refine_points(
    cells: NDArray[np.complex128],
    bodies: Sequence[Body],
    points: FloatArray,
    cell_m: FloatArray,
    turns_s: FloatArray,
) -> None:
    """Replace the signal (echo, n) of cells that a body finds too coarse by that of finer ones."""
    around = np.zeros(len(points), dtype=np.bool_)
    for body in bodies:
        around |= body.needs_finer_cells(points, cell_m)
    if not around.any():
        return
    offsets = _cell_offsets(_POINT_REFINEMENT, cell_m)
    finer = (points[around][:, None, :] + offsets).reshape(-1, 3)
    signal = _signal_of_cells(bodies, finer, cell_m / _POINT_REFINEMENT, turns_s)
    cells[:, around] = signal.reshape(len(turns_s), -1, len(offsets)).mean(axis=2)


def _choose_levels(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    finest: int,
) -> NDArray[np.int_]:
    half = float(np.linalg.norm(box_m)) / 2
    curvature = np.zeros(len(centres_m))
    for body in bodies:
        curvature += body.curvature(centres_m, half)
    second_order_rad = 2 * np.pi * np.abs(turns_s).max() * curvature * half**2 / 2
    wanted = np.sqrt(second_order_rad / _TOLERANCE_RAD) * sub_sampling / 16
    with np.errstate(divide="ignore"):
        return np.asarray(2 ** np.clip(np.ceil(np.log2(wanted)), 0, np.log2(finest)), dtype=np.int_)


def _cell_offsets(q: int, box_m: FloatArray) -> FloatArray:
    """Centres (q³, 3) of the cells of a box around its own centre."""
    steps = (np.arange(q) + 0.5) / q - 0.5
    return np.stack(np.meshgrid(*(steps * edge for edge in box_m), indexing="ij"), axis=-1).reshape(-1, 3)


def _signal_of_cells(
    bodies: Sequence[Body], points: FloatArray, cell_m: FloatArray, turns_s: FloatArray
) -> NDArray[np.complex128]:
    """(echo, n): mean over each cell of a phase taken as linear in it."""
    field, gradient = np.zeros(len(points)), np.zeros((len(points), 3))
    decay = np.zeros(len(points))
    for body in bodies:
        body_field, body_gradient = body.field_and_gradient(points)
        field += body_field
        gradient += body_gradient
        body.add_relaxation(points, decay)
    return np.asarray(average_linear_phase(field, gradient, decay, cell_m, turns_s))
