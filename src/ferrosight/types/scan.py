"""One gradient-echo scan: what the readers and the simulator return."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError, SidecarError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.grid import Grid


class PhaseSign(IntEnum):
    """How the stored phase moves where the magnetic field is stronger."""

    NEGATIVE = -1
    UNKNOWN = 0
    POSITIVE = 1


@dataclass(frozen=True)
class Scan:
    """A complex multi-echo gradient-echo scan on its grid.

    Parameters
    ----------
    signal : complex64 (echo, x, y, z)
        As stored: magnitude · exp(i phase), arbitrary units.
    echo_times_s : float64 (echo,)
        Strictly growing, seconds.
    b0_t : float
        Field strength, tesla.
    affine : float64 (4, 4)
        Voxel indices to scanner RAS+ mm.
    b0_direction : float64 (3,)
        Unit vector along B0 in scanner RAS+. Scanner z unless the sidecar says otherwise.
    phase_sign : PhaseSign
        POSITIVE where phase grows with field strength (phase = +2π f TE), NEGATIVE where it falls.
    subject, session, run : str
        BIDS labels without their prefix; "" where there is none.
    """

    signal: NDArray[np.complex64]
    echo_times_s: NDArray[np.float64]
    b0_t: float
    affine: NDArray[np.float64]
    b0_direction: NDArray[np.float64] | tuple[float, float, float] = (0.0, 0.0, 1.0)
    phase_sign: PhaseSign = PhaseSign.UNKNOWN
    subject: str = ""
    session: str = ""
    run: str = ""

    def __post_init__(self) -> None:
        signal = np.asarray(self.signal)
        if signal.ndim != 4:
            raise ImageError(f"signal must have axes (echo, x, y, z), but has shape {signal.shape}.")
        set_field(self, "signal", frozen_array("signal", signal, np.complex64, finite=True))
        times = frozen_array("echo_times_s", self.echo_times_s, np.float64, (signal.shape[0],), finite=True)
        if times[0] <= 0 or (np.diff(times) <= 0).any():
            raise SidecarError(f"echo times must be positive and growing, but are {times.tolist()} s.")
        set_field(self, "echo_times_s", times)
        set_field(self, "affine", frozen_array("affine", self.affine, np.float64, (4, 4), finite=True))
        if not 0.01 < self.b0_t < 30:
            raise SidecarError(f"B0 must lie between 0.01 and 30 T, but is {self.b0_t}.")
        direction = np.asarray(self.b0_direction, dtype=np.float64)
        if direction.shape != (3,) or not np.isfinite(direction).all() or abs(np.linalg.norm(direction) - 1) > 1e-3:
            raise SidecarError(f"the direction of B0 must be a unit vector of three, but is {direction.tolist()}.")
        set_field(self, "b0_direction", frozen_array("b0_direction", direction, np.float64))
        set_field(self, "phase_sign", PhaseSign(self.phase_sign))
        self.grid  # noqa: B018  (validates the affine)

    @cached_property
    def grid(self) -> Grid:
        """The voxel lattice of every echo."""
        x, y, z = self.signal.shape[1:]
        return Grid((x, y, z), self.affine)

    @property
    def b0_in_array(self) -> NDArray[np.float64]:
        """B0's direction along the array's axes, a unit vector (3,)."""
        return self.grid.direction_in_array(self.b0_direction)
