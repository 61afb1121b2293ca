"""Everything in a simulated scan that is not a source: tissue, its field, its texture, and the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.physics.dipole import dipole_kernel
from ferrosight.physics.fat import FAT_DELTA_CHI
from ferrosight.physics.signal import gradient_echo_signal
from ferrosight.simulate.point_spread import limit_to_support, support_mask
from ferrosight.simulate.spec import ScanSpec

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """What gives signal, maps (x, y, z): water and fat (receive profile included), R2*, field, and phase at TE 0."""

    water: FloatArray
    fat: FloatArray | None
    r2star_per_s: FloatArray
    field_hz: FloatArray
    phase_rad: FloatArray


def draw_tissue(spec: ScanSpec, seeds: list[np.random.SeedSequence]) -> Tissue:
    """Draw the tissue of a scan; every part has a stream of its own, of six ``seeds``."""
    receive, field, coil, texture, structure, fat = (np.random.default_rng(seed) for seed in seeds)
    # An image is periodic to its k-space: in tissue that reaches the faces a map that did not close there would ring.
    draw = draw_closed_map if math.isinf(spec.tissue_fraction) else draw_smooth_map
    share = build_tissue(spec) * (1 + spec.receive_variation * draw(spec.shape, receive))
    field_hz = spec.background_hz * draw(spec.shape, field) + draw_texture_hz(spec, texture)
    phase_rad = spec.phase_offset_rad + spec.coil_phase_rad * draw(spec.shape, coil)
    r2star = np.broadcast_to(spec.r2star_per_s, spec.shape)
    if spec.r2star_variation or spec.density_variation:
        # one map for both: what relaxes faster, as white matter does, is darker at TE 0 too
        regions = _draw_regions(spec, structure)
        r2star = r2star * (1 + spec.r2star_variation * regions)
        share *= 1 - spec.density_variation * regions
    if not spec.fat_share:
        return Tissue(share, None, r2star, field_hz, phase_rad)
    fat_share = _draw_fat_share(spec, fat)
    field_hz += _susceptibility_to_hz(spec, FAT_DELTA_CHI * fat_share)
    return Tissue(share * (1 - fat_share), share * fat_share, r2star, field_hz, phase_rad)


def tissue_signal(spec: ScanSpec, tissue: Tissue, times_s: FloatArray, *, is_fat: bool) -> NDArray[np.complex128]:
    """Noiseless signal of water or fat without sources (time, x, y, z); fat's chemical shift is left out."""
    return gradient_echo_signal(
        tissue.water if tissue.fat is None or not is_fat else tissue.fat,
        tissue.r2star_per_s,
        tissue.field_hz,
        times_s,
        phase_offset_rad=tissue.phase_rad,
        phase_sign=int(spec.phase_sign),
    )


def build_tissue(spec: ScanSpec) -> FloatArray:
    """Share of tissue in each voxel (x, y, z); its edge is about a voxel wide."""
    if math.isinf(spec.tissue_fraction):
        return np.ones(spec.shape)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in spec.shape), indexing="ij", sparse=True)
    depth, per_voxel = _measure_depth(spec, list(axes))
    return np.asarray(np.clip(0.5 + depth / per_voxel, 0, 1))


def is_in_tissue(spec: ScanSpec, ijk: FloatArray, depth_mm: float) -> NDArray[np.bool_]:
    """Whether fractional voxels (n, 3) lie in tissue, about ``depth_mm`` below its surface at least."""
    if math.isinf(spec.tissue_fraction):
        return np.ones(len(ijk), dtype=np.bool_)
    depth, per_voxel = _measure_depth(spec, list(ijk.T))
    return np.asarray(depth / per_voxel * min(spec.grid.voxel_mm) > depth_mm)


def _measure_depth(spec: ScanSpec, axes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """How far below the tissue's surface voxels lie, to first order, in some unit, and that unit per voxel."""
    half = np.array(spec.shape) / 2 * spec.tissue_fraction
    x, y, z = ((axis - (n - 1) / 2) for axis, n in zip(axes, spec.shape, strict=True))
    if spec.tissue_shape == "tube":
        voxel = np.array(spec.grid.voxel_mm)
        radius_mm = half[1] * voxel[1]
        # the half ball's centre lies a radius below the tissue's high end
        beyond = np.maximum(x - (half[0] - radius_mm / voxel[0]), 0)
        distance = np.sqrt((beyond * voxel[0]) ** 2 + (y * voxel[1]) ** 2 + (z * voxel[2]) ** 2)
        return radius_mm - distance, np.full(1, voxel[1])
    radius = np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2)
    # gradient of the normalised radius: turns it into a distance from the surface, in voxels
    slope = np.sqrt((x / half[0] ** 2) ** 2 + (y / half[1] ** 2) ** 2 + (z / half[2] ** 2) ** 2)
    return 1 - radius, np.maximum(slope / np.maximum(radius, 1e-9), 1e-9)


def draw_smooth_map(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """A random polynomial of second order over the volume (x, y, z), without mean, of largest magnitude 1."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return _mix((x, y, z, x * y, y * z, x * z, x**2, y**2, z**2), shape, rng)


def draw_closed_map(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """A random periodic map (x, y, z): a wave per axis and their products, without mean, of largest magnitude 1."""
    axes = [2 * np.pi * np.arange(n) / n + rng.uniform(0, 2 * np.pi) for n in shape]
    x, y, z = np.meshgrid(
        *(np.sin(axis) if len(axis) > 1 else np.zeros(1) for axis in axes), indexing="ij", sparse=True
    )
    return _mix((x, y, z, x * y, y * z, x * z), shape, rng)


def _mix(terms: tuple[FloatArray, ...], shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """A random sum of terms (x, y, z), without mean, of largest magnitude 1."""
    total = np.zeros(shape)
    for weight, term in zip(rng.normal(size=len(terms)), terms, strict=True):
        total += weight * term
    total -= total.mean()
    peak = np.abs(total).max()
    return total / peak if peak > 0 else total


def draw_texture_hz(spec: ScanSpec, rng: np.random.Generator) -> FloatArray:
    """Field (x, y, z), Hz, of random isotropic susceptibility, periodic over the image."""
    if spec.texture_ppm == 0:
        return np.zeros(spec.shape)
    chi = _draw_correlated(spec, spec.texture_mm, rng)
    return _susceptibility_to_hz(spec, spec.texture_ppm * 1e-6 * chi)


def _susceptibility_to_hz(spec: ScanSpec, chi: FloatArray) -> FloatArray:
    """Field (x, y, z), Hz, of susceptibility (x, y, z), SI, periodic over the image."""
    kernel = dipole_kernel(spec.shape, spec.grid.voxel_mm, spec.grid.direction_in_array(spec.b0_direction))
    relative = fft.ifftn(fft.fftn(chi) * kernel).real
    return np.asarray(relative * spec.b0_t * GAMMA_HZ_PER_T)


def _draw_correlated(spec: ScanSpec, correlation_mm: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise (x, y, z) of unit spread, smooth over ``correlation_mm``, periodic."""
    noise = rng.normal(size=spec.shape)
    if correlation_mm > 0:
        noise = ndimage.gaussian_filter(noise, correlation_mm / np.array(spec.grid.voxel_mm), mode="wrap")
        noise /= noise.std()
    return noise


def _draw_regions(spec: ScanSpec, rng: np.random.Generator) -> FloatArray:
    """A map (x, y, z) from -1 to 1: tissues of two kinds with soft borders, as large as ``structure_mm``."""
    smooth = _draw_correlated(spec, spec.structure_mm, rng)
    return np.asarray(np.tanh(3 * (smooth - smooth.mean())))


def _draw_fat_share(spec: ScanSpec, rng: np.random.Generator) -> FloatArray:
    """Share of fat (x, y, z), 0 to 1, ``fat_share`` on average: diffuse, or in streaks and patches.

    Patches are as large as ``structure_mm``, and so is what varies where fat is diffuse.
    """
    smooth = _draw_correlated(spec, spec.structure_mm / 2, rng)
    if spec.is_fat_diffuse:
        return np.asarray(np.clip(spec.fat_share * (1 + np.tanh(smooth - smooth.mean())), 0, 1))
    threshold = float(np.quantile(smooth, 1 - spec.fat_share))
    return np.asarray(ndimage.uniform_filter((smooth > threshold).astype(np.float64), 2, mode="wrap"))


def draw_noise(spec: ScanSpec, seeds: list[np.random.SeedSequence]) -> NDArray[np.complex64]:
    """Complex noise (echo, x, y, z), 1/snr in each real channel, correlated where k-space was not acquired.

    Where ``noise_variation`` is set, the standard deviation varies smoothly around that value.
    """
    shape = (len(spec.echo_times_s), *spec.shape)
    if math.isinf(spec.snr):
        return np.zeros(shape, dtype=np.complex64)
    white, profile = (np.random.default_rng(seed) for seed in seeds)
    kept = math.prod(float(support_mask(n, one).mean()) for n, one in zip(spec.shape, spec.support, strict=True))
    deviation = (1 + spec.noise_variation * draw_smooth_map(spec.shape, profile)) / math.sqrt(kept)
    # echo by echo and in place: at scanner sizes every copy is a quarter of a gigabyte
    noise = np.empty(shape, dtype=np.complex64)
    for channel in (noise.real, noise.imag):
        for one in channel:
            one[...] = white.normal(scale=1 / spec.snr, size=spec.shape)
    for echo in range(len(noise)):
        noise[echo] = limit_to_support(noise[echo : echo + 1], spec.support)[0]
        noise[echo] *= deviation
    return noise
