"""What could be seen at all: a protocol, what is asked of it, and the least that it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.field import AxisSupport
from ferrosight.types.grid import Grid

_FULL = AxisSupport()


@dataclass(frozen=True)
class Protocol:
    """A gradient-echo protocol and the tissue it looks at, before any scan.

    ``snr`` is the tissue's signal at TE 0 over the noise of one real channel of the stored image; ``voxel_mm``
    are the edges of the stored voxel, ``b0_in_array`` is B0's unit vector along them, and ``supports`` the
    k-space acquired along them (all of it unless the image is zero-filled or partial Fourier).
    """

    b0_t: float
    echo_times_s: tuple[float, ...]
    voxel_mm: tuple[float, float, float]
    snr: float
    r2star_per_s: float
    b0_in_array: tuple[float, float, float] = (0.0, 0.0, 1.0)
    supports: tuple[AxisSupport, AxisSupport, AxisSupport] = (_FULL, _FULL, _FULL)

    def __post_init__(self) -> None:
        times = self.echo_times_s
        if not times or not all(0 < t < math.inf for t in times) or sorted(set(times)) != list(times):
            raise InputError(f"echo times must be positive and growing, but are {[1e3 * t for t in times]} ms.")
        if len(self.voxel_mm) != 3 or not all(0 < edge < math.inf for edge in self.voxel_mm):
            raise InputError(f"a voxel needs three positive edges in mm, but has {list(self.voxel_mm)}.")
        if not 0.01 < self.b0_t < 30:
            raise InputError(f"B0 must lie between 0.01 and 30 T, but is {self.b0_t:g}.")
        if not 0 < self.snr < math.inf:
            raise InputError(f"the signal-to-noise ratio must be positive, but is {self.snr:g}.")
        if not 0 <= self.r2star_per_s < math.inf:
            raise InputError(f"R2* must be zero or a positive rate in 1/s, but is {self.r2star_per_s:g}.")
        if len(self.b0_in_array) != 3 or abs(math.hypot(*self.b0_in_array) - 1) > 1e-3:
            raise InputError(f"the direction of B0 must be a unit vector of three, but is {list(self.b0_in_array)}.")

    @property
    def voxel_volume_m3(self) -> float:
        """Volume of a stored voxel, m³."""
        return math.prod(self.voxel_mm) * 1e-9


@dataclass(frozen=True)
class Search:
    """What is asked of a detector: ``power`` to find a cluster, false alarms per scan, and voxels searched."""

    power: float = 0.9
    false_per_scan: float = 1.0
    positions: float = 2e6

    def __post_init__(self) -> None:
        if not 0 < self.power < 1:
            raise InputError(f"the power must lie between 0 and 1, but is {self.power:g}.")
        if not 1e-12 <= self.false_per_scan <= 1e6:
            raise InputError(f"false alarms per scan must lie between 1e-12 and 1e6, but are {self.false_per_scan:g}.")
        if not 1 <= self.positions <= 1e15:
            raise InputError(f"the number of positions must lie between 1 and 1e15, but is {self.positions:g}.")


@dataclass(frozen=True)
class DetectionLimit:
    """The smallest moment that the ideal observer finds as asked by ``search``.

    ``threshold`` is the matched filter's output, in standard deviations, above which it reports a cluster;
    ``effective_positions`` the number of independent looks at which a Gaussian exceeds it as often;
    ``d_prime_required`` the signal, in standard deviations, that exceeds it with the power asked for.
    """

    moment_am2: float
    threshold: float
    effective_positions: float
    d_prime_required: float
    search: Search


@dataclass(frozen=True)
class PowerCurve:
    """Chance to find a cluster against its moment, (n,) each, and the limit of detection on it."""

    moment_am2: NDArray[np.float64]
    power: NDArray[np.float64]
    limit: DetectionLimit

    def __post_init__(self) -> None:
        moment = frozen_array("moments", self.moment_am2, np.float64, (None,), finite=True)
        set_field(self, "moment_am2", moment)
        set_field(self, "power", frozen_array("power", self.power, np.float64, moment.shape, finite=True))


@dataclass(frozen=True)
class LimitMap:
    """Smallest iron mass (pg) that the ideal observer would find at each voxel, float32 (x, y, z).

    NaN outside the mask, and where the signal is unknown. The threshold is one for the scan: ``search.positions``
    are its voxels of tissue, and ``d_prime_required`` holds everywhere. ``iron_per_cell_pg`` is what one cell held on
    the day of the scan, NaN where that is not known.
    """

    grid: Grid
    iron_pg: NDArray[np.float32]
    search: Search
    d_prime_required: float
    iron_per_cell_pg: float = math.nan

    def __post_init__(self) -> None:
        set_field(self, "iron_pg", frozen_array("limit of detection", self.iron_pg, np.float32, self.grid.shape))
