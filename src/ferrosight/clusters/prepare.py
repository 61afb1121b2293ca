"""A scan made ready for fitting: in units of its noise, padded, with its search region."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
#: Tables that are kept from scan to scan (some 40 MB each): those that a search of one protocol makes.
_MOST_TABLES = 18


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
    """Signal tables of the given patterns under one point spread; a protocol's are kept from scan to scan.

    Not with one echo: so many point spreads are tried then that each would push out the others before the next scan.
    """
    make = _make_table if len(prepared.ratios) == 1 else _keep_table
    return tuple(
        make(
            pattern,
            scan.grid.voxel_mm,
            tuple(scan.b0_in_array.tolist()),
            point_spread.kind,
            point_spread.supports,
            prepared.voxels.tobytes(),
            point_spread.readout,
            (levels.start, levels.stop),
        )
        for pattern in patterns
    )


def _make_table(
    pattern: str,
    voxel_mm: tuple[float, ...],
    b0_in_array: tuple[float, ...],
    kind: PointSpreadKind,
    supports: Supports,
    voxels: bytes,
    readout: Readout | None,
    levels: tuple[int | None, int | None],
) -> SignalTable:
    """A table; arguments are such that equal ones are known to be."""
    return build_signal_table(
        pattern,
        voxel_mm,
        np.array(b0_in_array),
        kind,
        supports,
        np.frombuffer(voxels, np.int64).reshape(-1, 3),
        readout=readout,
        levels=slice(*levels),
    )


_keep_table = lru_cache(maxsize=_MOST_TABLES)(_make_table)


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
