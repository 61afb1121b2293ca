"""How much the field varies in tissue without any graft: as random susceptibility would make it.

A field is susceptibility convolved with the dipole's, so its power spectrum is S(|k|)·(1/3 − k_z²/k²)², with S that of
the tissue's susceptibility, taken to be the same in all directions. S is measured over the scan, and with it the field
that tissue makes inside a graft and around it is known as a random process.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ferrosight.physics.dipole import dipole_kernel
from ferrosight.types.field import FieldMap
from ferrosight.types.scan import Scan

FloatArray = NDArray[np.float64]

#: The background is taken off with a Gaussian mean of so many mean voxel edges, several times.
_WIDTH, _PASSES = 4.0, 3
#: What is seen fades over so many mean voxel edges from the tissue's edge, and from grafts.
_TAPER = 8.0
#: Shells of k between this and 1/2, cycles per mean voxel edge; below, S goes on from the two lowest, at most by e to
#: this.
_LOWEST, _MOST_GROWTH = 0.09, 1.5
_N_SHELLS = 10
#: Field farther out than this many robust standard deviations comes from a source.
_CLIP = 5.0


@dataclass(frozen=True)
class Texture:
    """S in Hz² mm³ at ``k_per_mm`` (shell,), and the share of it that rests on ``n_voxels`` of field."""

    k_per_mm: FloatArray
    spectrum: FloatArray
    n_voxels: int

    def field_spectrum(self, shape: tuple[int, ...], voxel_mm: FloatArray, b0_in_array: FloatArray) -> FloatArray:
        """Power spectrum (Hz², numpy's FFT grid) of the field of a box of voxels; its mean is the variance."""
        spectrum = np.interp(_radius(shape, voxel_mm), self.k_per_mm, self.spectrum) / float(np.prod(voxel_mm))
        return np.asarray(dipole_kernel((shape[0], shape[1], shape[2]), voxel_mm, b0_in_array) ** 2 * spectrum)


def measure_texture(scan: Scan, field_map: FieldMap, beside: NDArray[np.bool_]) -> Texture:
    """Measure S in the voxels ``beside`` (x, y, z) all grafts."""
    voxel_mm = np.array(scan.grid.voxel_mm)
    unit = float(np.cbrt(np.prod(voxel_mm)))
    width = _WIDTH * unit / voxel_mm
    use = beside & np.isfinite(field_map.field_hz) & np.isfinite(field_map.field_hz_err)
    n = int(np.count_nonzero(use))
    if n < 27:
        return Texture(np.array([0.0, 1.0]), np.zeros(2), n)
    left = np.where(use, field_map.field_hz, 0.0).astype(np.float64)
    share = np.maximum(ndimage.gaussian_filter(use.astype(np.float64), width), 1e-6)
    for _ in range(_PASSES):
        left = np.where(use, left - ndimage.gaussian_filter(left, width) / share, 0.0)
    bound = _CLIP * 1.4826 * float(np.median(np.abs(left[use])))
    left = np.clip(left, -bound, bound)
    # A mean lags behind a slope at the tissue's edge: the taper ends what is seen softly, and before that.
    depth = ndimage.distance_transform_edt(np.pad(use, 1), sampling=voxel_mm / unit)[1:-1, 1:-1, 1:-1]
    taper = np.sin(np.pi / 2 * np.clip(depth / _TAPER, 0.0, 1.0)) ** 2
    power = np.abs(fft.fftn(left * taper)) ** 2 / max(float((taper**2).sum()), 1e-12)
    noise = float((taper**2 * np.where(use, field_map.field_hz_err, 0.0) ** 2).sum() / max((taper**2).sum(), 1e-12))
    k = _radius(left.shape, voxel_mm)
    passed = (1 - np.exp(-2 * (np.pi * k * _WIDTH * unit) ** 2)) ** (2 * _PASSES)
    dipole = dipole_kernel((left.shape[0], left.shape[1], left.shape[2]), voxel_mm, scan.b0_in_array) ** 2
    edges = np.linspace(_LOWEST, 0.5, _N_SHELLS + 1) / unit
    at, values = np.zeros(_N_SHELLS), np.zeros(_N_SHELLS)
    for shell, (low, high) in enumerate(itertools.pairwise(edges)):
        here = (k >= low) & (k < high)
        at[shell] = (low + high) / 2
        if here.any():
            at[shell] = float(k[here].mean())
            above = float((power[here] - noise * passed[here]).sum())
            values[shell] = max(above / float((dipole * passed)[here].sum()), 0.0)
    spectrum = values * float(np.prod(voxel_mm))
    return Texture(np.append(0.0, at), np.append(_extrapolate(at, spectrum), spectrum), n)


def _extrapolate(at: FloatArray, spectrum: FloatArray) -> float:
    """S at k = 0 from the two lowest shells, as a Gaussian would go on; never below the lowest."""
    if not spectrum[1] > 0:
        return float(spectrum[0])
    slope = max(np.log(spectrum[0] / spectrum[1]), 0.0) / (at[1] ** 2 - at[0] ** 2)
    return float(spectrum[0] * np.exp(min(slope * at[0] ** 2, _MOST_GROWTH)))


def _radius(shape: tuple[int, ...], voxel_mm: FloatArray) -> FloatArray:
    axes = [fft.fftfreq(n, d) for n, d in zip(shape, voxel_mm, strict=True)]
    return np.asarray(np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))))
