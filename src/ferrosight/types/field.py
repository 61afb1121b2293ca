"""What the field stage makes of a scan: the field, its relaxation, and above all its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.grid import Grid


@dataclass(frozen=True)
class AxisSupport:
    """The part of k-space acquired along one array axis, in cycles per stored voxel.

    A full acquisition is (-0.5, 0.5); zero filling by two (-0.25, 0.25); 6/8 partial Fourier without
    reconstruction (-0.5, 0.25) or (-0.25, 0.5).
    """

    low: float = -0.5
    high: float = 0.5

    def __post_init__(self) -> None:
        if not -0.5 <= self.low < self.high <= 0.5:
            raise ImageError(f"k-space support must lie within ±0.5 cycles per voxel, but is {self}.")

    @property
    def width(self) -> float:
        """Fraction of the stored k-space lines that were acquired."""
        return self.high - self.low

    @property
    def is_full(self) -> bool:
        """Whether every line was acquired."""
        return self.width > 0.995


@dataclass(frozen=True)
class Noise:
    """The noise of a scan.

    Parameters
    ----------
    sigma : float32 (echo, x, y, z)
        Standard deviation of one real channel, in the signal's units; varies in space.
    autocorrelation : float64 (2n+1, 2n+1, 2n+1)
        Correlation of one real channel with itself at a lag of whole voxels; 1 at the centre.
    support : three AxisSupport
        k-space acquired along each array axis.
    """

    sigma: NDArray[np.float32]
    autocorrelation: NDArray[np.float64]
    support: tuple[AxisSupport, AxisSupport, AxisSupport]

    def __post_init__(self) -> None:
        sigma = frozen_array("noise sigma", self.sigma, np.float32, (None,) * 4, finite=True)
        if (sigma <= 0).any():
            raise ImageError("the noise must be positive everywhere, but is zero or less in places.")
        set_field(self, "sigma", sigma)
        lags = frozen_array("noise autocorrelation", self.autocorrelation, np.float64, (None,) * 3, finite=True)
        if any(n % 2 == 0 for n in lags.shape):
            raise ImageError(f"noise autocorrelation needs an odd number of lags per axis, but has {lags.shape}.")
        set_field(self, "autocorrelation", lags)


@dataclass(frozen=True)
class FieldMap:
    """Field, relaxation, proton signal, mask and noise of one scan, all (x, y, z) on ``grid``.

    ``field_hz`` grows with field strength when the scan's phase sign is known; it is the stored phase's
    slope when the sign is unknown. ``local_field_hz`` is ``field_hz`` less its smooth background.
    ``_err`` is one standard deviation; values outside ``mask`` are NaN. With a single echo R2* is not
    identifiable: NaN everywhere, and ``s0`` is the magnitude at that echo.
    """

    grid: Grid
    field_hz: NDArray[np.float32]
    field_hz_err: NDArray[np.float32]
    local_field_hz: NDArray[np.float32]
    r2star_per_s: NDArray[np.float32]
    r2star_per_s_err: NDArray[np.float32]
    s0: NDArray[np.float32]
    mask: NDArray[np.bool_]
    noise: Noise

    def __post_init__(self) -> None:
        shape = self.grid.shape
        for name in ("field_hz", "field_hz_err", "local_field_hz", "r2star_per_s", "r2star_per_s_err", "s0"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float32, shape))
        set_field(self, "mask", frozen_array("mask", self.mask, np.bool_, shape))
