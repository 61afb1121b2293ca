"""What lies within reach of a set of voxels: a ball of given radius around each, for voxels of unequal edges.

Distances are looked for no farther than the radius, axis by axis, which for a radius of a few voxels is many times
faster than a whole distance transform.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray


def find_within_reach(
    mask: NDArray[np.bool_], radius_mm: float, voxel_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Voxels, bool (x, y, z), whose centre is no farther than ``radius_mm`` from that of a voxel of ``mask``.

    As ``scipy.ndimage.distance_transform_edt(~mask, sampling=voxel_mm) <= radius_mm``, where ``mask`` holds anything.
    """
    edges = np.asarray(voxel_mm, dtype=np.float64)
    out = np.empty(mask.shape, np.bool_)
    across = np.empty(mask.shape)
    _measure_lines(np.ascontiguousarray(mask), edges[2], across)
    _widen_planes(across, int(radius_mm / edges[1]) + 1, edges[1])
    _reach_planes(across, int(radius_mm / edges[0]) + 1, edges[0], radius_mm, out)
    return out


@njit(cache=True, parallel=True)
def _measure_lines(mask, edge, squared):  # type: ignore[no-untyped-def]
    """Squared distance along the last axis to the nearest voxel of the mask in the same line; infinite without any."""
    nx, ny, nz = mask.shape
    for i in prange(nx):
        for j in range(ny):
            last = -np.inf
            for k in range(nz):
                last = k if mask[i, j, k] else last
                squared[i, j, k] = k - last
            last = np.inf
            for k in range(nz - 1, -1, -1):
                last = k if mask[i, j, k] else last
                squared[i, j, k] = (edge * min(squared[i, j, k], last - k)) ** 2


@njit(cache=True, parallel=True)
def _widen_planes(squared, most, edge):  # type: ignore[no-untyped-def]
    """The least over lines up to ``most`` steps off along the middle axis, their distance squared added; in place."""
    nx, ny, nz = squared.shape
    for i in prange(nx):
        plane = squared[i].copy()
        for j in range(ny):
            for other in range(max(0, j - most), min(ny, j + most + 1)):
                more = (edge * (j - other)) ** 2
                for k in range(nz):
                    squared[i, j, k] = min(squared[i, j, k], plane[other, k] + more)


@njit(cache=True, parallel=True)
def _reach_planes(squared, most, edge, radius, out):  # type: ignore[no-untyped-def]
    """Whether the least over planes up to ``most`` steps off along the first axis is within the radius."""
    nx, ny, nz = squared.shape
    for j in prange(ny):
        least = np.empty(nz)
        for i in range(nx):
            least[:] = np.inf
            for other in range(max(0, i - most), min(nx, i + most + 1)):
                more = (edge * (i - other)) ** 2
                for k in range(nz):
                    least[k] = min(least[k], squared[other, j, k] + more)
            for k in range(nz):
                out[i, j, k] = np.sqrt(least[k]) <= radius
