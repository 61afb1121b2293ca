"""The average of exp(i phase) over boxes, sub-divided as finely as the phase there asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.simulate._kernels import average_cells
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
_SLAB_VOXELS = 8

#: Points evaluated at once, to bound memory.
_CHUNK = 100_000

#: Threads that share the work; each fills places of its own, so that their number changes nothing.
THREADS = 2


@dataclass(frozen=True)
class Cells:
    """Cells of boxes as ``average_cells`` takes them: ``values`` (cell, 6 or 4), and where each box begins (n + 1,)."""

    values: NDArray[Any]
    starts: NDArray[Any]


def average_over_boxes(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    turns_s: FloatArray,
    sub_sampling: int,
    *,
    finest: int,
    others_hz: FloatArray | None = None,
) -> NDArray[np.complex128]:
    """Average of exp(2πi f·t - R|t|) over equal boxes: (echo, n); R is relaxation inside bodies, infinite in voids.

    Parameters as in ``cut_boxes``, and ``turns_s`` (echo,), the echo times, negative where phase falls with field.
    """
    result = np.empty((len(turns_s), len(centres_m)), dtype=np.complex128)
    longest_s = float(np.abs(turns_s).max())
    for boxes, cells in cut_boxes(bodies, centres_m, box_m, longest_s, sub_sampling, finest, others_hz):
        result[:, boxes] = average_cells(cells.values, cells.starts, turns_s)
    return result


def cut_boxes(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    longest_s: float,
    sub_sampling: int,
    finest: int,
    others_hz: FloatArray | None = None,
) -> Iterator[tuple[NDArray[np.int_], Cells]]:
    """Cut equal boxes into cells in which the field is as good as linear; some of the boxes at a time.

    Parameters
    ----------
    bodies
        Their fields *add* before anything is averaged.
    centres_m : float (n, 3)
        Along the array's axes, metres.
    box_m : float (3,)
        Edges of every box.
    longest_s
        The latest time at which the signal is wanted.
    sub_sampling
        How fine; doubling it doubles the sub-division everywhere.
    finest
        Largest number of cells per box edge.
    others_hz : float (n,), optional
        Field of what else there is, even over a box.

    Notes
    -----
    Each box is cut into q³ cells, q a power of two chosen from the second derivative of the phase. A cell
    holds the mean of a phase that is linear in it, exp(iφ)·sinc·sinc·sinc, so that cells too coarse for a
    steep phase fade out as they should instead of contributing at random.
    """
    others = np.zeros(len(centres_m)) if others_hz is None else others_hz
    levels = _choose_levels(bodies, centres_m, box_m, longest_s, sub_sampling, finest)
    for q in np.unique(levels).tolist():
        chosen = np.flatnonzero(levels == q)
        step = max(1, _CHUNK // q**3)
        for start in range(0, len(chosen), step):
            boxes = chosen[start : start + step]
            points = (centres_m[boxes][:, None, :] + _cell_offsets(q, box_m)).reshape(-1, 3)
            even_hz = np.repeat(others[boxes], q**3)
            values = _evaluate_cells(bodies, points, box_m / q, even_hz, 1 / q**3)
            if q == finest:
                values, ends = _refine_points(values, bodies, points, box_m / q, even_hz)
                starts = np.concatenate([[0], ends[q**3 - 1 :: q**3]])
            else:
                starts = np.arange(0, len(values) + 1, q**3)
            yield boxes, Cells(values, starts)


def find_reach(body: Body, box_m: FloatArray, turns_s: FloatArray) -> float:
    """Distance (m) from a body beyond which one point per box shows its signal, to about 1e-3."""
    diagonal = float(np.linalg.norm(box_m))
    limit = 2 * _TOLERANCE_RAD / (2 * np.pi * np.abs(turns_s).max() * (diagonal / 2) ** 2)
    return max(body.reach_where_curvature(limit), diagonal)


def sum_far_fields(
    bodies: Sequence[Body], shape: tuple[int, int, int], voxel_m: FloatArray, turns_s: FloatArray, margin: int = 0
) -> FloatArray:
    """Field of all bodies at all voxel centres (x, y, z), Hz; finite but meaningless inside a body.

    A body's field is left out where its phase never reaches ``NEGLIGIBLE_RAD``. So many voxels around the image
    are there too as ``margin`` says.
    """
    total = np.zeros([n + 2 * margin for n in shape])
    limit_hz = NEGLIGIBLE_RAD / (2 * np.pi * np.abs(turns_s).max())
    corners = []
    for body in bodies:
        reach = body.reach_where_field(limit_hz)
        low, high = body.bounds()
        corners.append((np.floor((low - reach) / voxel_m), np.ceil((high + reach) / voxel_m) + 1))

    def sum_slab(start: int) -> None:
        least = np.array([start, 0, 0]) - margin
        most = np.array([min(start + _SLAB_VOXELS, total.shape[0]), *total.shape[1:]]) - margin
        for body, (low, high) in zip(bodies, corners, strict=True):
            first, last = (np.clip(corner, least, most).astype(np.int_) for corner in (low, high))
            if (last <= first).any():
                continue
            window = tuple(slice(a, b) for a, b in zip(first + margin, last + margin, strict=True))
            total[window] += body.far_field(voxel_points(first, last, voxel_m)).reshape(tuple(last - first))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(sum_slab, range(0, total.shape[0], _SLAB_VOXELS)):
            pass
    return total


def voxel_points(first: NDArray[np.int_], last: NDArray[np.int_], voxel_m: FloatArray) -> FloatArray:
    """Centres (n, 3), metres, of the voxels from ``first`` up to but without ``last``, in C order."""
    axes = [np.arange(a, b) * h for a, b, h in zip(first, last, voxel_m, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _refine_points(
    values: FloatArray, bodies: Sequence[Body], points: FloatArray, cell_m: FloatArray, even_hz: FloatArray
) -> tuple[FloatArray, NDArray[np.int_]]:
    """The cells with those that a body finds too coarse replaced by finer ones, and where each one's end."""
    around = np.zeros(len(points), dtype=np.bool_)
    for body in bodies:
        around |= body.needs_finer_cells(points, cell_m)
    offsets = _cell_offsets(_POINT_REFINEMENT, cell_m)
    ends = np.cumsum(np.where(around, len(offsets), 1))
    if not around.any():
        return values, ends
    finer = (points[around][:, None, :] + offsets).reshape(-1, 3)
    share = float(values[0, 5]) / len(offsets)
    result = np.empty((int(ends[-1]), 6))
    result[ends[~around] - 1] = values[~around]
    result[(ends[around][:, None] - np.arange(len(offsets), 0, -1)).ravel()] = _evaluate_cells(
        bodies, finer, cell_m / _POINT_REFINEMENT, np.repeat(even_hz[around], len(offsets)), share
    )
    return result, ends


def _choose_levels(
    bodies: Sequence[Body],
    centres_m: FloatArray,
    box_m: FloatArray,
    longest_s: float,
    sub_sampling: int,
    finest: int,
) -> NDArray[np.int_]:
    half = float(np.linalg.norm(box_m)) / 2
    curvature = np.zeros(len(centres_m))
    for body in bodies:
        curvature += body.curvature(centres_m, half)
    second_order_rad = 2 * np.pi * longest_s * curvature * half**2 / 2
    wanted = np.sqrt(second_order_rad / _TOLERANCE_RAD) * sub_sampling / 16
    with np.errstate(divide="ignore"):
        return np.asarray(2 ** np.clip(np.ceil(np.log2(wanted)), 0, np.log2(finest)), dtype=np.int_)


def _cell_offsets(q: int, box_m: FloatArray) -> FloatArray:
    """Centres (q³, 3) of the cells of a box around its own centre."""
    steps = (np.arange(q) + 0.5) / q - 0.5
    return np.stack(np.meshgrid(*(steps * edge for edge in box_m), indexing="ij"), axis=-1).reshape(-1, 3)


def _evaluate_cells(
    bodies: Sequence[Body], points: FloatArray, cell_m: FloatArray, even_hz: FloatArray, share: float
) -> FloatArray:
    """What ``average_cells`` takes of cells (n, 6), all of one ``share`` of their box."""
    field, gradient = even_hz.copy(), np.zeros((len(points), 3))
    decay = np.zeros(len(points))
    for body in bodies:
        body_field, body_gradient = body.field_and_gradient(points)
        field += body_field
        gradient += body_gradient
        body.add_relaxation(points, decay)
    return np.column_stack([field, gradient * cell_m, decay, np.full(len(points), share)])
