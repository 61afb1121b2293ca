"""Clusters put into a scan that exists already."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from ferrosight.errors import InputError
from ferrosight.simulate.point_spread import apply_bodies
from ferrosight.simulate.scan import place_points
from ferrosight.simulate.spec import FULL_SUPPORT, PointSpread, Supports, check_acquisition
from ferrosight.types import PhaseSign, Scan


def inject_clusters(
    scan: Scan,
    positions_mm: ArrayLike,
    moments_am2: ArrayLike,
    *,
    core_radii_um: ArrayLike | None = None,
    point_spread: PointSpread = "box",
    support: Supports | None = None,
    sub_sampling: int = 16,
) -> Scan:
    """Return ``scan`` with magnetised points in it.

    Parameters
    ----------
    positions_mm : float (n, 3)
        Scanner RAS+ mm, sub-voxel positions included.
    moments_am2 : float (n,)
        Negative for the opposite polarity.
    core_radii_um : float (n,), optional
        Radius inside which a point's field stops growing; 0 by default.
    point_spread, support
        ``box``: every voxel is multiplied by the points' signal averaged over it. ``kspace``: the scan,
        interpolated between its voxels, is multiplied by the points' signal and limited to ``support``.

    Raises
    ------
    InputError
        Where the arrays do not match, or the scan's phase sign is unknown.

    Notes
    -----
    The scan's noise is dephased together with its signal: in the few voxels that a strong cluster darkens,
    the noise is weaker than a scanner's would be.
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    moments = np.asarray(moments_am2, dtype=np.float64)
    cores = np.zeros(len(moments)) if core_radii_um is None else np.asarray(core_radii_um, dtype=np.float64)
    if positions.shape != (len(moments), 3) or cores.shape != moments.shape:
        raise InputError(
            f"positions must have shape (n, 3), moments and core radii (n,), "
            f"but they have {positions.shape}, {moments.shape} and {cores.shape}."
        )
    check_acquisition(point_spread, sub_sampling)
    if scan.phase_sign == PhaseSign.UNKNOWN:
        raise InputError(
            "clusters need the scan's phase sign to be injected, but it is unknown: "
            "state it with dataclasses.replace(scan, phase_sign=...)."
        )
    grid = scan.grid
    signal = apply_bodies(
        scan.signal.astype(np.complex128),
        [place_points(grid, scan.b0_in_array, *one) for one in zip(positions, moments, cores, strict=True)],
        np.array(grid.voxel_mm) * 1e-3,
        int(scan.phase_sign) * scan.echo_times_s,
        point_spread,
        FULL_SUPPORT if support is None else support,
        sub_sampling,
    )
    return dataclasses.replace(scan, signal=signal.astype(np.complex64))
