"""Where the voxels of an image lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.errors import ImageError
from ferrosight.types._validate import frozen_array, set_field

#: Largest cosine between two voxel axes that still counts as rectangular.
MAX_SHEAR = 1e-3


@dataclass(frozen=True)
class Grid:
    """A rectangular voxel lattice in scanner space.

    ``shape`` counts voxels along (x, y, z) of the array; ``affine`` (4, 4) takes voxel indices ``ijk`` to
    RAS+ mm, with integer ``ijk`` at voxel *centres* (the NIfTI convention).
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = frozen_array("affine", self.affine, np.float64, (4, 4), finite=True)
        set_field(self, "affine", affine)
        set_field(self, "shape", tuple(int(n) for n in self.shape))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ImageError(f"a grid needs three axes of at least one voxel, but its shape is {self.shape}.")
        if min(self.voxel_mm) <= 0:
            raise ImageError(f"voxel sizes must be positive, but the affine gives {self.voxel_mm} mm.")
        axes = self.axes
        shear = np.abs(axes.T @ axes - np.eye(3)).max()
        if shear > MAX_SHEAR:
            raise ImageError(
                f"the affine's axes must be at right angles, but two have a cosine of {shear:.3g}; "
                "resample the image onto a rectangular grid."
            )

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the array's axes, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_m3(self) -> float:
        """Volume of a voxel, m³."""
        return float(np.prod(self.voxel_mm)) * 1e-9

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3): column *a* is the unit vector, in RAS+, along which array axis *a* grows."""
        matrix = self.affine[:3, :3]
        return np.asarray(matrix / np.linalg.norm(matrix, axis=0), dtype=np.float64)

    def to_mm(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices (..., 3) to RAS+ mm (..., 3)."""
        points = np.asarray(ijk, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)

    def to_ijk(self, mm: ArrayLike) -> NDArray[np.float64]:
        """RAS+ mm (..., 3) to (fractional) voxel indices (..., 3)."""
        points = np.asarray(mm, dtype=np.float64) - self.affine[:3, 3]
        return np.asarray(np.linalg.solve(self.affine[:3, :3], points.reshape(-1, 3).T).T.reshape(points.shape))

    def direction_in_array(self, direction: ArrayLike) -> NDArray[np.float64]:
        """A scanner direction (3,) expressed along the array's axes, as a unit vector."""
        along = self.axes.T @ np.asarray(direction, dtype=np.float64)
        return np.asarray(along / np.linalg.norm(along), dtype=np.float64)
