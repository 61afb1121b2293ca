"""Simulated windows of known white noise, and the sources fitted in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources, WindowData, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD, PointSpread, PreparedScan, build_tables, prepare_scan, window_data
from ferrosight.clusters.screen import WEAK_LEVELS, Screener
from ferrosight.clusters.search import SearchResult, search_sources
from ferrosight.clusters.windows import background_basis
from ferrosight.physics.cluster_signal import PATTERNS, Readout, SignalTable, build_signal_table, window_voxels
from ferrosight.physics.constants import GAMMA_RAD_PER_S_T
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import AxisSupport, FieldMap, Noise, Progress, Scan

WINDOW_EDGES = 3.6
FULL = (AxisSupport(), AxisSupport(), AxisSupport())


class Workshop:
    """Makes windows out of simulated scans; builds each signal table, and what a search starts from, once."""

    def __init__(self) -> None:
        self._tables: dict[Any, SignalTable] = {}
        self._all_tables: dict[Any, tuple[SignalTable, ...]] = {}
        self._starts: dict[Any, tuple[SignalTable, Any]] = {}

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
        data = WindowData(
            np.pad((scan.signal / sigma).astype(np.complex64), margin),
            np.pad(np.ones(scan.signal.shape, np.float32), margin),
            np.asarray(scan.echo_times_s / scan.echo_times_s[0]),
            (table,),
            table.voxels,
            background_basis(table.voxels),
            np.full(3, PAD),
        )
        # They take longer than a fit, and depend on the table and the echoes only: not on the noise drawn.
        key = (id(table), tuple(data.ratios))
        if key not in self._starts:
            self._starts[key] = (table, data.starts)
        vars(data)["starts"] = self._starts[key][1]
        return data

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

    def simulate_points(
        self,
        shape: tuple[int, int, int],
        places: Any,
        strengths: Any,
        voxel_mm: Any = (0.1, 0.1, 0.1),
        rotation: Any = (0.0, 0.0, 0.0),
        **changes: Any,
    ) -> Scan:
        """A scan of signal 1, without noise, of sources at fractional voxels (n, 3) and strengths q (n,)."""
        spec = ScanSpec(
            shape, build_affine(shape, voxel_mm, rotation), **{"echo_times_s": (0.01,), "b0_t": 7.0, **changes}
        )
        points = [
            Point(tuple(mm), self.moment_am2(q, voxel_mm, spec.echo_times_s[0]))
            for mm, q in zip(spec.grid.to_mm(np.reshape(places, (-1, 3))), strengths, strict=True)
        ]
        return simulate_scan(dataclasses.replace(spec, sources=tuple(points)), 1)[0]

    def prepare(self, scan: Scan, sigma: float, mask: NDArray[np.bool_] | None = None) -> PreparedScan:
        """A scan whose noise is known to be white and ``sigma`` everywhere, made ready for the search."""
        shape = scan.grid.shape
        nothing = np.zeros(shape, np.float32)
        noise = Noise(np.full(scan.signal.shape, sigma, np.float32), np.ones((1, 1, 1)), FULL)
        inside = np.ones(shape, np.bool_) if mask is None else mask
        return prepare_scan(scan, FieldMap(scan.grid, *(nothing,) * 6, inside, noise), WINDOW_EDGES)

    def all_tables(self, scan: Scan, patterns: tuple[str, ...] = PATTERNS) -> tuple[SignalTable, ...]:
        """Tables of several patterns, averaged over the voxel."""
        key = (scan.grid.voxel_mm, tuple(scan.b0_in_array.round(9)), patterns)
        if key not in self._all_tables:
            spread = PointSpread("box", FULL, Readout(), "")
            self._all_tables[key] = build_tables(scan, self.prepare(scan, 1.0), spread, patterns)
        return self._all_tables[key]

    def weak_tables(self, scan: Scan) -> tuple[SignalTable, ...]:
        """Every pattern's table with no more levels than screening takes."""
        key = (scan.grid.voxel_mm, tuple(scan.b0_in_array.round(9)), "weak")
        if key not in self._all_tables:
            spread = PointSpread("box", FULL, Readout(), "")
            self._all_tables[key] = build_tables(scan, self.prepare(scan, 1.0), spread, levels=WEAK_LEVELS)
        return self._all_tables[key]

    def search(
        self,
        scan: Scan,
        sigma: float,
        *,
        screen_z: float = 4.5,
        patterns: tuple[str, ...] = PATTERNS,
        on_progress: Progress | None = None,
    ) -> SearchResult:
        """The search as a scan goes through it."""
        prepared = self.prepare(scan, sigma)
        tables = self.all_tables(scan, patterns)
        screener = Screener(prepared, tables)
        data = window_data(prepared, tables)
        evidence = screener.screen(prepared.signal)
        return search_sources(data, prepared.search_mask, screener, evidence, screen_z, on_progress=on_progress)

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
