"""Windows of the strongest candidates, with their fits, for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.fit import open_window
from ferrosight.clusters.judge import Verdict
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.search import SearchResult
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS, project_background
from ferrosight.physics.table_reading import interpolate_signal
from ferrosight.types import FieldMap, FitPatch

#: How many accepted, and how many rejected though significant, are kept.
_N_ACCEPTED = 100
_N_REJECTED = 24


def draw_patches(
    field_map: FieldMap, found: SearchResult, verdict: Verdict, ids: Sequence[str] | NDArray[np.str_]
) -> tuple[FitPatch, ...]:
    """Data, model and background of the strongest candidates, accepted ones first, in the scan's units."""
    accepted = np.flatnonzero(verdict.accepted)[:_N_ACCEPTED]
    rejected = np.flatnonzero(~verdict.accepted)[:_N_REJECTED]
    return tuple(
        _draw_patch(field_map, found, int(verdict.rows[row]), str(ids[row]))
        for row in np.concatenate([accepted, rejected])
    )


def _draw_patch(field_map: FieldMap, found: SearchResult, row: int, cluster_id: str) -> FitPatch:
    """One window, as a box around the ball that was fitted."""
    shared, source = found.data, found.sources
    table = shared.tables[source.patterns[row]]
    centre, voxels = source.centres[row], shared.voxels
    n_echoes, n = len(shared.ratios), len(voxels)
    data = np.empty((n_echoes, n), np.complex64)
    weight = np.empty((n_echoes, n), np.float32)
    other = np.empty((n_echoes, n), np.complex64)
    volumes, neighbours = (shared.signal, shared.weights), (found.neighbours.centres, found.neighbours.blocks)
    open_window(volumes, shared.model_error, neighbours, found.own[row], voxels, centre, (data, other, weight))
    inside = weight[0] > 0
    half = np.abs(voxels).max(axis=0)
    boxes = np.full((3, n_echoes, *(2 * half + 1)), np.nan, np.complex64)
    at = tuple((voxels + half).T)
    sigma = _noise_at(field_map.noise.sigma, centre - PAD + voxels)
    for echo in range(n_echoes):
        signal = np.empty(n, np.complex64)
        slopes = np.empty((N_PARAMETERS, n), np.complex64)
        strength = source.q[row] * shared.ratios[echo]
        interpolate_signal(
            table.values, table.matrix, table.edges, voxels, strength, source.shifts[row], signal, slopes
        )
        coefficients = np.empty(N_BACKGROUND, np.complex128)
        scratch = np.empty(n, np.complex64), np.empty((N_BACKGROUND, N_BACKGROUND))
        project_background(
            data[echo], other[echo] * signal, weight[echo], shared.basis, scratch[0], coefficients, scratch[1]
        )
        background = other[echo] * (coefficients @ shared.basis)
        for box, values in zip(boxes, (data[echo], background * signal, background), strict=True):
            box[(echo, *at)] = np.where(inside, values * sigma[echo], np.nan)
    low, high, middle = boxes
    origin = tuple(int(i) for i in centre - PAD - half)
    return FitPatch(cluster_id, (origin[0], origin[1], origin[2]), low, high, middle)


def _noise_at(sigma: NDArray[np.float32], voxels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Noise (echo, voxel) at voxels that may lie outside the image: there, at the nearest inside."""
    nearest = np.clip(voxels, 0, np.array(sigma.shape[1:]) - 1)
    return sigma[:, nearest[:, 0], nearest[:, 1], nearest[:, 2]]
