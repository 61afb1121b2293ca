"""From the array's axes to the patient's: which plane is which, in millimetres, with letters on its edges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.types import Grid

#: Letters of the low and the high end of scanner x, y, z (RAS+).
_LOW, _HIGH = "LPI", "RAS"
#: A second letter is added where the axis leans by more than 15° towards another.
_SECOND_LETTER = float(np.sin(np.deg2rad(15.0)))
#: Planes by the anatomical axis that they are looked along.
PLANE_NAMES = ("sagittal", "coronal", "axial")


def direction_letters(direction: ArrayLike) -> str:
    """Where a scanner direction (3,) points, e.g. "R", or "SA" where it leans: letters by falling cosine."""
    vector = np.asarray(direction, dtype=np.float64)
    order = np.argsort(-np.abs(vector), kind="stable")
    letters = [(_HIGH if vector[w] > 0 else _LOW)[w] for w in order if abs(vector[w]) > _SECOND_LETTER]
    return "".join(letters)


@dataclass(frozen=True)
class AnatomicalAxis:
    """One array axis seen as the anatomical axis it is nearest to.

    ``direction`` is the unit vector in RAS+ along which the axis's coordinate (mm) grows: towards R, A or S.
    The coordinate is the scanner's own x, y or z where the axis is not tilted.
    """

    name: str
    array_axis: int
    flipped: bool
    direction: NDArray[np.float64]
    first_mm: float
    voxel_mm: float
    n_voxels: int

    @property
    def edges_mm(self) -> tuple[float, float]:
        """Outer edges of the first and the last voxel, ascending."""
        low = self.first_mm - 0.5 * self.voxel_mm
        return low, low + self.n_voxels * self.voxel_mm

    @property
    def extent_mm(self) -> float:
        """Length of the image along this axis."""
        return self.n_voxels * self.voxel_mm

    @property
    def letters(self) -> tuple[str, str]:
        """Orientation letters at the low and the high end."""
        return direction_letters(-self.direction), direction_letters(self.direction)

    @property
    def is_tilted(self) -> bool:
        """Whether the axis leaves its anatomical axis by more than half a degree."""
        return bool(np.abs(self.direction).max() < np.cos(np.deg2rad(0.5)))

    @property
    def label(self) -> str:
        """Axis label; a prime marks a tilted axis, whose coordinate is not the scanner's own."""
        return f"{self.name}{'′' if self.is_tilted else ''} (mm)"


@dataclass(frozen=True)
class AnatomicalView:
    """A grid whose axes were sorted into (x, y, z), each growing towards R, A, S."""

    axes: tuple[AnatomicalAxis, AnatomicalAxis, AnatomicalAxis]

    def arrange(self, volume: NDArray[Any]) -> NDArray[Any]:
        """A view of an array (x, y, z) in array order with its axes in anatomical, ascending order."""
        turned = np.transpose(volume, [axis.array_axis for axis in self.axes])
        return np.asarray(turned[tuple(slice(None, None, -1 if axis.flipped else 1) for axis in self.axes)])

    def coordinates(self, positions_mm: ArrayLike) -> NDArray[np.float64]:
        """RAS+ positions (n, 3) as coordinates (n, 3) along the three axes, mm."""
        directions = np.stack([axis.direction for axis in self.axes])
        return np.asarray(np.asarray(positions_mm, dtype=np.float64).reshape(-1, 3) @ directions.T)


def anatomical_view(grid: Grid) -> AnatomicalView:
    """Give each array axis to the anatomical axis it is nearest to (largest sum of |cosines| over all three)."""
    cosines = grid.axes
    order = max(permutations(range(3)), key=lambda perm: sum(abs(cosines[w, perm[w]]) for w in range(3)))
    axes = []
    for world, array_axis in enumerate(order):
        flipped = bool(cosines[world, array_axis] < 0)
        direction = cosines[:, array_axis] * (-1.0 if flipped else 1.0)
        corner = np.zeros(3)
        corner[array_axis] = grid.shape[array_axis] - 1 if flipped else 0
        axes.append(
            AnatomicalAxis(
                name="xyz"[world],
                array_axis=array_axis,
                flipped=flipped,
                direction=direction,
                first_mm=float(direction @ grid.to_mm(corner)),
                voxel_mm=grid.voxel_mm[array_axis],
                n_voxels=grid.shape[array_axis],
            )
        )
    return AnatomicalView((axes[0], axes[1], axes[2]))
