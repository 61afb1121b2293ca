"""What benchmarks on simulated scans share: places for clusters, what fits can know of them, how true estimates are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.fit import WindowData, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.rows import moment_per_q
from ferrosight.clusters.windows import background_basis
from ferrosight.physics.cluster_signal import SignalTable, build_signal_table, window_voxels
from ferrosight.simulate import Point
from ferrosight.types import AxisSupport, Scan
from ferrosight.types.config import ClustersConfig

FloatArray = NDArray[np.float64]


def draw_sites(
    n: int,
    shape: Sequence[int],
    from_face: float,
    apart: float,
    rng: np.random.Generator,
    *,
    allows: Callable[[FloatArray], bool] | None = None,
    most_draws: int = 1_000_000,
) -> FloatArray:
    """Sub-voxel places (m, 3), n or as many as are found, so many voxels from the faces and from each other."""
    sites: list[FloatArray] = []
    for _ in range(most_draws):
        if len(sites) == n:
            break
        site = rng.uniform(from_face, np.array(shape) - 1 - from_face)
        allowed = allows is None or allows(site)
        if allowed and all(np.linalg.norm(site - other) >= apart for other in sites):
            sites.append(site)
    return np.array(sites).reshape(-1, 3)


def measure_d_primes(
    scan: Scan, sources: Sequence[Point], snr: float, support: tuple[AxisSupport, AxisSupport, AxisSupport]
) -> FloatArray:
    """Moment over the error of its fit (n,), place and the window's background free, from a scan without noise.

    The noise would be white, and the scan's signal ``snr`` times as large.
    """
    margin = ((0, 0), (PAD, PAD), (PAD, PAD), (PAD, PAD))
    table = dipole_table(scan.grid.voxel_mm, tuple(scan.b0_in_array.round(9).tolist()), support)
    data = WindowData(
        np.pad((scan.signal * snr).astype(np.complex64), margin),
        np.pad(np.ones(scan.signal.shape, np.float32), margin),
        np.asarray(scan.echo_times_s / scan.echo_times_s[0]),
        (table,),
        table.voxels,
        background_basis(table.voxels),
        np.full(3, PAD),
    )
    sites = scan.grid.to_ijk(np.array([source.position_mm for source in sources]))
    middles = np.round(sites).astype(np.int64)
    start = unfitted(np.zeros(len(sites), np.int64), np.ones(len(sites), np.int64), middles + PAD, len(data.ratios))
    q = int(scan.phase_sign) * np.array([source.moment_am2 for source in sources]) / moment_per_q(scan)
    start = dataclasses.replace(start, shifts=sites - middles, q=q)
    fitted = fit_sources(data, start, no_neighbours(data), search=False)
    return np.asarray(np.abs(fitted.q) / np.sqrt(fitted.covariance[:, 0, 0]))


@functools.cache
def dipole_table(
    voxel_mm: tuple[float, float, float],
    b0_in_array: tuple[float, float, float],
    support: tuple[AxisSupport, AxisSupport, AxisSupport],
) -> SignalTable:
    """Signals of a cluster for one protocol and direction of B0."""
    window = window_voxels(voxel_mm, ClustersConfig().window_voxels)
    return build_signal_table("dipole", voxel_mm, np.array(b0_in_array), "kspace", support, window)


def summarise_estimates(ratio: FloatArray, held: NDArray[np.bool_]) -> dict[str, float]:
    """Bias of estimates over their truths and share of intervals that hold it, with standard errors; NaN of one."""
    n = len(ratio)
    if n < 2:
        return dict.fromkeys(("bias", "bias_err", "spread", "covered", "covered_err"), float("nan"))
    spread, covered = float(ratio.std(ddof=1)), float(held.mean())
    return {
        "bias": float(ratio.mean()) - 1,
        "bias_err": spread / float(np.sqrt(n)),
        "spread": spread,
        "covered": covered,
        "covered_err": float(np.sqrt(max(covered * (1 - covered), 1 / n) / n)),
    }
