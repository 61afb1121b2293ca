"""Everything in a simulated scan that is not a source: tissue, its field, its texture, and the noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.physics.dipole import dipole_kernel
from ferrosight.physics.signal import gradient_echo_signal
from ferrosight.simulate.point_spread import limit_to_support, support_mask
from ferrosight.simulate.spec import ScanSpec

FloatArray = NDArray[np.float64]


def build_background(spec: ScanSpec, seeds: list[np.random.SeedSequence]) -> NDArray[np.complex128]:
    """Noiseless tissue without sources (echo, x, y, z); its signal at TE 0 is 1 but for the receive profile."""
    receive, field, coil, texture = (np.random.default_rng(seed) for seed in seeds)
    s0 = build_tissue(spec) * (1 + spec.receive_variation * draw_smooth_map(spec.shape, receive))
    field_hz = spec.background_hz * draw_smooth_map(spec.shape, field) + draw_texture_hz(spec, texture)
    return gradient_echo_signal(
        s0,
        spec.r2star_per_s,
        field_hz,
        spec.echo_times_s,
        phase_offset_rad=spec.phase_offset_rad + spec.coil_phase_rad * draw_smooth_map(spec.shape, coil),
        phase_sign=int(spec.phase_sign),
    )


def build_tissue(spec: ScanSpec) -> FloatArray:
    """Share of tissue in each voxel (x, y, z): an ellipsoid whose edge is about a voxel wide."""
    if math.isinf(spec.tissue_fraction):
        return np.ones(spec.shape)
    half = np.array(spec.shape) / 2 * spec.tissue_fraction
    axes = [(np.arange(n) - (n - 1) / 2) / h for n, h in zip(spec.shape, half, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = np.sqrt(x**2 + y**2 + z**2)
    # gradient of the normalised radius: turns it into a distance from the surface, in voxels
    steepness = np.sqrt((x / half[0]) ** 2 + (y / half[1]) ** 2 + (z / half[2]) ** 2) / np.maximum(radius, 1e-9)
    return np.asarray(np.clip(0.5 + (1 - radius) / np.maximum(steepness, 1e-9), 0, 1))


def draw_smooth_map(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """A random polynomial of second order over the volume (x, y, z), without mean, of largest magnitude 1."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, x * z, x**2, y**2, z**2)
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
    voxel_mm = np.array(spec.grid.voxel_mm)
    chi = rng.normal(size=spec.shape)
    if spec.texture_mm > 0:
        chi = ndimage.gaussian_filter(chi, spec.texture_mm / voxel_mm, mode="wrap")
        chi /= chi.std()
    kernel = dipole_kernel(spec.shape, voxel_mm, spec.grid.direction_in_array(spec.b0_direction))
    relative = fft.ifftn(fft.fftn(chi) * kernel).real
    return np.asarray(relative * spec.texture_ppm * 1e-6 * spec.b0_t * GAMMA_HZ_PER_T)


def draw_noise(spec: ScanSpec, seeds: list[np.random.SeedSequence]) -> NDArray[np.complex128]:
    """Complex noise (echo, x, y, z), 1/snr in each real channel, correlated where k-space was not acquired.

    Where ``noise_variation`` is set, the standard deviation varies smoothly around that value.
    """
    shape = (len(spec.echo_times_s), *spec.shape)
    if math.isinf(spec.snr):
        return np.zeros(shape, dtype=np.complex128)
    white, profile = (np.random.default_rng(seed) for seed in seeds)
    channels = white.normal(scale=1 / spec.snr, size=(2, *shape))
    noise = limit_to_support(channels[0] + 1j * channels[1], spec.support)
    kept = math.prod(float(support_mask(n, one).mean()) for n, one in zip(spec.shape, spec.support, strict=True))
    return np.asarray(noise / math.sqrt(kept) * (1 + spec.noise_variation * draw_smooth_map(spec.shape, profile)))
