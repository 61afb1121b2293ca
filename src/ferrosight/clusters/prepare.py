"""A scan made ready for fitting: in units of its noise, padded, with its search region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.clusters.fit import WindowData
from ferrosight.clusters.windows import background_basis
from ferrosight.physics.cluster_signal import (
    PATTERNS,
    PointSpreadKind,
    Readout,
    SignalTable,
    Supports,
    build_signal_table,
    voxel_edges,
    window_voxels,
)
from ferrosight.types import FieldMap, Scan

#: Sources up to this many voxels outside the image are searched, because their field enters it.
PAD = 2


@dataclass(frozen=True)
class PointSpread:
    """The point spread that fits a scan best, and how it was chosen."""

    kind: PointSpreadKind
    supports: Supports
    readout: Readout
    description: str


@dataclass(frozen=True)
class PreparedScan:
    """Padded arrays: signal and weights (echo, x, y, z), where to search, and what is inside the mask.

    ``edges`` and ``voxels`` are as in a signal table.
    """

    signal: NDArray[np.complex64]
    weights: NDArray[np.float32]
    ratios: NDArray[np.float64]
    search_mask: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    edges: NDArray[np.float64]
    voxels: NDArray[np.int64]


def prepare_scan(scan: Scan, field_map: FieldMap, window_edges: float) -> PreparedScan:
    """Divide by the noise, weigh by the mask, pad on every side."""
    margin = ((0, 0), (PAD, PAD), (PAD, PAD), (PAD, PAD))
    weights = np.broadcast_to(field_map.mask, scan.signal.shape).astype(np.float32)
    inside = np.pad(field_map.mask, PAD)
    # Beyond the image's own faces the search goes on as far as the padding; beyond tissue by one voxel.
    search_mask = ndimage.binary_dilation(inside) | np.pad(field_map.mask, PAD, mode="edge")
    return PreparedScan(
        np.pad((scan.signal / field_map.noise.sigma).astype(np.complex64), margin),
        np.pad(weights, margin),
        np.asarray(scan.echo_times_s / scan.echo_times_s[0]),
        search_mask,
        inside,
        voxel_edges(scan.grid.voxel_mm),
        window_voxels(scan.grid.voxel_mm, window_edges),
    )


def build_tables(
    scan: Scan,
    prepared: PreparedScan,
    point_spread: PointSpread,
    patterns: tuple[str, ...] = PATTERNS,
    levels: slice = slice(None),
) -> tuple[SignalTable, ...]:
    """Signal tables of the given patterns under one point spread."""
    return tuple(
        build_signal_table(
            pattern,
            scan.grid.voxel_mm,
            scan.b0_in_array,
            point_spread.kind,
            point_spread.supports,
            prepared.voxels,
            readout=point_spread.readout,
            levels=levels,
        )
        for pattern in patterns
    )


def window_data(prepared: PreparedScan, tables: tuple[SignalTable, ...]) -> WindowData:
    """What every fit of the scan shares."""
    return WindowData(
        prepared.signal,
        prepared.weights,
        prepared.ratios,
        tables,
        prepared.voxels,
        background_basis(prepared.voxels),
        np.full(3, PAD),
    )
