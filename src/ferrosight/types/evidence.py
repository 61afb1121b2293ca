"""Where in a scan a dipole would explain the data better than the background does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.grid import Grid


@dataclass(frozen=True)
class EvidenceMap:
    """The studentised screening statistic, float32 (pattern, x, y, z).

    ``patterns`` names the first axis: the dipole first, then the other l = 2 harmonics. Positive values of
    the dipole mean the polarity of positive field. Zero outside the mask.
    """

    grid: Grid
    patterns: tuple[str, ...]
    z: NDArray[np.float32]

    def __post_init__(self) -> None:
        set_field(self, "z", frozen_array("evidence", self.z, np.float32, (len(self.patterns), *self.grid.shape)))
