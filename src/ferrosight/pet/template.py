"""What a ball of activity looks like in an image, and how that changes with its place and size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, next_fast_len

from ferrosight.types.pet import PetResponse

Array = NDArray[np.float64]
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_ML_PER_MM3 = 1e-3


@dataclass(frozen=True)
class Templates:
    """Images of balls in a window of ``half_voxels`` to either side of its middle voxel.

    The response's transform is a product of Gaussians and of arctan(k d)/(k d), that of an exponential range d; a
    ball's is 3 (sin x - x cos x)/x³ at x = k a. Sampled at voxel centres.
    """

    response: PetResponse
    voxel_mm: tuple[float, float, float]
    half_voxels: tuple[int, int, int]

    @cached_property
    def _padded(self) -> tuple[int, ...]:
        sizes = []
        for half, edge, fwhm in zip(self.half_voxels, self.voxel_mm, self.response.fwhm_mm, strict=True):
            # What leaves the window on one side must not come back on the other.
            margin = (2 * fwhm + 6 * self.response.positron_range_mm) / edge
            sizes.append(next_fast_len(math.ceil(2 * half + 1 + margin), real=True))
        return tuple(sizes)

    @cached_property
    def _k(self) -> tuple[Array, Array, Array]:
        nx, ny, nz = self._padded
        dx, dy, dz = self.voxel_mm
        kx = 2 * np.pi * np.fft.fftfreq(nx, dx)[:, None, None]
        ky = 2 * np.pi * np.fft.fftfreq(ny, dy)[None, :, None]
        kz = 2 * np.pi * np.fft.rfftfreq(nz, dz)[None, None]
        return np.asarray(kx, np.float64), np.asarray(ky, np.float64), np.asarray(kz, np.float64)

    @cached_property
    def _length(self) -> Array:
        return np.asarray(np.sqrt(sum(k**2 for k in self._k)))

    @cached_property
    def _transfer(self) -> Array:
        exponent = np.zeros_like(self._length)
        for k, fwhm in zip(self._k, self.response.fwhm_mm, strict=True):
            exponent = exponent + (k * _SIGMA_PER_FWHM * fwhm) ** 2 / 2
        reach = self._length * self.response.positron_range_mm
        safe = np.where(reach > 0, reach, 1.0)
        return np.asarray(np.exp(-exponent) * np.where(reach > 0, np.arctan(safe) / safe, 1.0))

    def build(self, offset_mm: Array, square_mm2: float) -> Array:
        """Concentration per activity, 1/mL, of a ball at ``offset_mm`` (3,) from the middle voxel's centre.

        ``square_mm2`` is its squared radius; below zero the image is sharper than a point's, as noise can make one.
        Returns (5, x, y, z): the image, its derivatives along the three array axes (1/mL/mm), and along the squared
        radius (1/mL/mm²).
        """
        phase = np.zeros_like(self._length)
        for k, offset in zip(self._k, offset_mm, strict=True):
            phase = phase + k * offset
        ball, slope = _ball(self._length**2 * square_mm2)
        base = self._transfer * np.exp(-1j * phase) / (math.prod(self.voxel_mm) * _ML_PER_MM3)
        parts = [base * ball, *(-1j * k * base * ball for k in self._k), base * slope * self._length**2]
        return np.stack([self._crop(irfftn(part, s=self._padded)) for part in parts])

    def _crop(self, image: Array) -> Array:
        # The middle voxel is the transform's origin: bring the window to the front.
        rolled = np.roll(image, self.half_voxels, axis=(0, 1, 2))
        x, y, z = (2 * half + 1 for half in self.half_voxels)
        return np.asarray(rolled[:x, :y, :z])


def _ball(square: Array) -> tuple[Array, Array]:
    """3 (sin x - x cos x)/x³ of x², continued to x² below zero, and its derivative along x²."""
    x = np.sqrt(np.abs(square))
    small = x < 0.1
    x = np.where(small, 1.0, x)
    positive = square >= 0
    sine = np.where(positive, np.sin(x), np.sinh(np.minimum(x, 50.0)))
    cosine = np.where(positive, np.cos(x), np.cosh(np.minimum(x, 50.0)))
    sign = np.where(positive, 1.0, -1.0)
    value = 3 * sign * (sine - x * cosine) / x**3
    slope = sign * (3 * sine / x - 3 * value) / (2 * x**2)
    value = np.where(small, 1 - square / 10 + square**2 / 280, value)
    return value, np.where(small, -0.1 + square / 140 - square**2 / 5040, slope)
