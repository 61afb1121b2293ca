"""Simulated windows of known white noise, and the sources fitted in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources, WindowData, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.windows import background_basis
from ferrosight.physics.cluster_signal import SignalTable, build_signal_table, window_voxels
from ferrosight.physics.constants import GAMMA_RAD_PER_S_T
from ferrosight.types import AxisSupport, Scan

WINDOW_EDGES = 3.6
FULL = (AxisSupport(), AxisSupport(), AxisSupport())


class Workshop:
    """Makes windows out of simulated scans; builds each signal table once."""

    def __init__(self) -> None:
        self._tables: dict[Any, SignalTable] = {}

    def add_noise(self, scan: Scan, sigma: float, rng: np.random.Generator) -> Scan:
        """White complex noise, ``sigma`` per real channel."""
        noise = rng.normal(size=scan.signal.shape) + 1j * rng.normal(size=scan.signal.shape)
        return dataclasses.replace(scan, signal=scan.signal + sigma * noise)

    def table(self, scan: Scan, kind: Any = "box", support: Any = FULL) -> SignalTable:
        """The dipole's signal table for a scan."""
        key = (scan.grid.voxel_mm, tuple(scan.b0_in_array.round(9)), kind, support)
        if key not in self._tables:
            voxels = window_voxels(scan.grid.voxel_mm, WINDOW_EDGES)
            self._tables[key] = build_signal_table(
                "dipole", scan.grid.voxel_mm, scan.b0_in_array, kind, support, voxels
            )
        return self._tables[key]

    def window_data(self, scan: Scan, sigma: float, table: SignalTable | None = None) -> WindowData:
        """Padded arrays of a scan whose noise is known to be ``sigma`` everywhere."""
        table = self.table(scan) if table is None else table
        margin = ((0, 0), (PAD, PAD), (PAD, PAD), (PAD, PAD))
        return WindowData(
            np.pad((scan.signal / sigma).astype(np.complex64), margin),
            np.pad(np.ones(scan.signal.shape, np.float32), margin),
            np.asarray(scan.echo_times_s / scan.echo_times_s[0]),
            (table,),
            table.voxels,
            background_basis(table.voxels),
            np.full(3, PAD),
        )

    def fit_near(self, data: WindowData, scan: Scan, positions_mm: Any, reach: int = 0, sign: int = 1) -> Sources:
        """The best of the fits that start within ``reach`` voxels of each position (n, 3)."""
        steps = np.arange(-reach, reach + 1)
        around = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        starts = np.round(scan.grid.to_ijk(positions_mm)).astype(int).reshape(-1, 1, 3) + around + PAD
        n = len(starts)
        flat = starts.reshape(-1, 3)
        nothing = np.zeros(len(flat), np.int64)
        fitted = fit_sources(
            data, unfitted(nothing, nothing + sign, flat, len(data.ratios)), no_neighbours(data), search=True
        )
        best = fitted.score.reshape(n, -1).argmax(axis=1)
        return fitted.pick(np.arange(n) * len(around) + best)

    def moment_am2(self, q: float, voxel_mm: Sequence[float], echo_time_s: float) -> float:
        """Moment whose phase amplitude over the voxel's volume is ``q`` at an echo time."""
        return float(q * np.prod(voxel_mm) * 1e-9 / (GAMMA_RAD_PER_S_T * 1e-7 * echo_time_s))


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """See ``Workshop``."""
    return Workshop()


@pytest.fixture(scope="session")
def alone() -> Any:
    """Rows that are none of the neighbours'."""

    def rows(sources: Sources) -> NDArray[np.int64]:
        return np.full(len(sources), -1, np.int64)

    return rows
