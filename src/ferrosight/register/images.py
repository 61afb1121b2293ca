"""What registration looks at: one magnitude per visit, its tissue, and what lies over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.constants import GAMMA_RAD_PER_S_T, MU0
from ferrosight.types import FieldMap, Grid, Scan, Table, VisitImage

#: A cluster darkens voxels over which its phase changes by more than this, rad: a line of spins spread evenly over it
#: has lost 4 % of its signal.
_PHASE_OVER_VOXEL_RAD = 1.0


def build_visit_image(scan: Scan, field_map: FieldMap, clusters: Table) -> VisitImage:
    """The image of a visit for registration.

    The magnitude is the root mean square over echoes, less the power that the noise adds to it: without that, what is
    dark is raised, on two days by different shares of the signal, and outlines move. Where noise leaves less than
    nothing the root keeps its sign.

    ``clusters`` (schema CLUSTERS): every candidate counts, whatever was decided about it.
    """
    power = np.zeros(scan.grid.shape)
    for echo, sigma in zip(scan.signal, field_map.noise.sigma, strict=True):
        power += np.abs(echo).astype(np.float64) ** 2 - 2 * sigma.astype(np.float64) ** 2
    power /= len(scan.signal)
    positions = np.stack([np.asarray(clusters[name], dtype=np.float64) for name in ("x_mm", "y_mm", "z_mm")], axis=1)
    moments = np.asarray(clusters["moment_am2"], dtype=np.float64)
    return VisitImage(
        scan.session,
        np.sign(power) * np.sqrt(np.abs(power)),
        scan.grid,
        field_map.mask,
        mark_clusters(scan.grid, positions, moments, float(scan.echo_times_s[-1])),
        scan.b0_direction,
    )


def mark_clusters(
    grid: Grid, positions_mm: NDArray[np.float64], moments_am2: NDArray[np.float64], echo_time_s: float
) -> NDArray[np.bool_]:
    """Voxels (x, y, z) that clusters at (n, 3) RAS+ mm with moments (n,) darken at an echo time; a voxel each at least.

    A dipole's phase p(3cos²θ − 1)/r³, p = γ(μ0/4π)·m·TE, changes along r by at most 6p/r⁴ per length, so that a voxel
    of edge d is dark within (6 p d / 1 rad)^(1/4). Rows without a moment or a place are left out.
    """
    dark = np.zeros(grid.shape, dtype=np.bool_)
    voxel = np.array(grid.voxel_mm)
    for position, moment in zip(positions_mm, moments_am2, strict=True):
        if not np.isfinite(moment) or not np.isfinite(position).all():
            continue
        p_mm3 = GAMMA_RAD_PER_S_T * MU0 / (4 * np.pi) * abs(moment) * echo_time_s * 1e9
        radius = max((6 * p_mm3 * voxel.max() / _PHASE_OVER_VOXEL_RAD) ** 0.25, voxel.max() / 2)
        centre = grid.to_ijk(position)
        low = np.clip(np.floor(centre - radius / voxel), 0, grid.shape).astype(int)
        high = np.clip(np.ceil(centre + radius / voxel) + 1, 0, grid.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        ijk = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
        dark[box] |= np.linalg.norm((ijk - centre) * voxel, axis=-1) <= radius
    return dark
