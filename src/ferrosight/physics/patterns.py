"""The l = 2 patterns in the array's frame, and the windows in which they are looked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: The l = 2 patterns: the dipole, and the four that no single magnetised cluster produces.
PATTERNS = ("dipole", "xz", "yz", "xy", "x2-y2")

#: Half width of a table's window, in voxels along each axis.
HALF = 4
WIDTH = 2 * HALF + 1


def pattern_matrix(pattern: str, b0_in_array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Q (3, 3) of an l = 2 pattern in the array's frame; all five have the same norm over the sphere.

    ``b0_in_array`` is B0's unit vector along the array's axes. The frame's other two axes are the array
    axis least along B0, made perpendicular, and its cross product.
    """
    b0 = np.asarray(b0_in_array, dtype=np.float64)
    first = np.zeros(3)
    first[int(np.argmin(np.abs(b0)))] = 1.0
    first -= b0 * (first @ b0)
    first /= np.linalg.norm(first)
    second = np.cross(b0, first)
    if pattern == "dipole":
        return np.asarray(3 * np.outer(b0, b0) - np.eye(3), dtype=np.float64)
    if pattern == "x2-y2":
        return np.asarray(np.sqrt(3) * (np.outer(first, first) - np.outer(second, second)), dtype=np.float64)
    one, other = {"xz": (first, b0), "yz": (second, b0), "xy": (first, second)}[pattern]
    return np.asarray(np.sqrt(3) * (np.outer(one, other) + np.outer(other, one)), dtype=np.float64)


def voxel_edges(voxel_mm: Sequence[float]) -> NDArray[np.float64]:
    """Voxel edges (3,) in units of the cube root of the voxel's volume."""
    edges = np.asarray(voxel_mm, dtype=np.float64)
    return np.asarray(edges / np.prod(edges) ** (1 / 3), dtype=np.float64)


def window_voxels(voxel_mm: Sequence[float], radius_edges: float) -> NDArray[np.int64]:
    """Voxels (n, 3) within a ball around the middle one, at most ``HALF`` along any axis.

    ``radius_edges`` is in cube-root-of-voxel-volume units, so the ball is round in mm.
    """
    steps = np.arange(-HALF, HALF + 1)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.linalg.norm(lattice * voxel_edges(voxel_mm), axis=1)
    return np.asarray(lattice[distance <= radius_edges], dtype=np.int64)
