"""The acquisition's point spread, one axis at a time: a voxel's box, or the kernel of the acquired k-space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.types.field import AxisSupport

PointSpreadKind = Literal["box", "kspace"]
Supports = tuple[AxisSupport, AxisSupport, AxisSupport]


@dataclass(frozen=True)
class Readout:
    """Displacement along the readout: ``axis`` of the array, and voxels per radian of phase at the first echo.

    A spin off resonance by f is drawn f over the bandwidth per voxel away: phase / (2π TE bandwidth) voxels.
    """

    axis: int = 0
    voxels_per_rad: float = 0.0


def point_spread_weights(
    kind: PointSpreadKind, support: AxisSupport, offsets: NDArray[np.float64], cells: NDArray[np.float64]
) -> NDArray[np.complex64]:
    """Weight of each fine cell in a voxel at each offset, (offset, cell); both in voxels from the source.

    The truncated k-space's kernel is ∫ exp(2πi k u) dk over the support, in cycles per voxel; the object's
    own mean (k = 0) passes with weight 1.
    """
    apart = offsets[:, None] - cells[None, :]
    step = cells[1] - cells[0]
    if kind == "box":
        return np.asarray((np.abs(apart) < 0.5) * step, dtype=np.complex64)
    centre = 0.5 * (support.low + support.high)
    width = support.width
    return np.asarray(step * width * np.sinc(width * apart) * np.exp(2j * np.pi * centre * apart), dtype=np.complex64)
