"""Tissue, texture and above all the noise, which the pipeline's errors hang on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.simulate import ScanSpec, build_affine
from ferrosight.simulate.background import (
    build_tissue,
    draw_noise,
    draw_smooth_map,
    draw_texture_hz,
    draw_tissue,
    tissue_signal,
)
from ferrosight.types import AxisSupport


def make_spec(**changes: Any) -> ScanSpec:
    """Unequal voxels, an oblique affine, an odd axis."""
    shape = (64, 51, 40)
    spec = ScanSpec(shape, build_affine(shape, (0.1, 0.12, 0.15), (20, -10, 30)), (0.004, 0.009), 9.4)
    return dataclasses.replace(spec, **changes)


def draw_seeds(n: int) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence().spawn(n)


def correlate(values: NDArray[np.float64], axis: int, lag: int) -> float:
    """Correlation with itself ``lag`` voxels further along an axis (of echo, x, y, z), periodic."""
    return float((values * np.roll(values, -lag, axis=axis)).mean() / (values**2).mean())


SUPPORTS = [
    (AxisSupport(), AxisSupport(), AxisSupport()),
    (AxisSupport(-0.25, 0.25), AxisSupport(), AxisSupport(-0.5, 0.25)),
    (AxisSupport(-0.5, 0.2), AxisSupport(-0.3, 0.3), AxisSupport()),
]


@pytest.mark.parametrize("support", SUPPORTS)
def test_noise_has_the_stated_level_whatever_the_support(support: Any) -> None:
    noise = draw_noise(make_spec(snr=25.0, support=support), draw_seeds(2))
    for channel in (noise.real, noise.imag):
        for echo in channel:
            assert echo.std() == pytest.approx(1 / 25, rel=0.03)
    assert abs((noise.real * noise.imag).mean()) < 0.03 / 25**2


@pytest.mark.parametrize("support", SUPPORTS)
def test_noise_is_correlated_as_its_support_says(support: Any) -> None:
    noise = draw_noise(make_spec(snr=25.0, support=support), draw_seeds(2))
    for axis, one in enumerate(support, start=1):
        n = noise.shape[axis]
        k = np.arange(-(n // 2), (n + 1) // 2) / n
        k = k[(k >= one.low) & (k < one.high)]
        for lag in (1, 2, 3):
            expected = float(np.cos(2 * np.pi * k * lag).mean())
            assert correlate(noise.real, axis, lag) == pytest.approx(expected, abs=0.03)


def test_noise_varies_in_space_by_the_stated_amount() -> None:
    # many echoes, so that each voxel's own spread can be measured
    spec = make_spec(snr=10.0, noise_variation=0.4, echo_times_s=tuple(np.arange(1, 31) * 1e-3))
    sigma = np.sqrt((np.abs(draw_noise(spec, draw_seeds(2))) ** 2).mean(axis=0) / 2) * 10
    blocks = sigma[:64, :50].reshape(8, 8, 5, 10, 5, 8).mean(axis=(1, 3, 5))
    largest = max(blocks.max() - 1, 1 - blocks.min())
    assert 0.2 < largest < 0.45


def test_infinite_snr_is_no_noise() -> None:
    assert not draw_noise(make_spec(), draw_seeds(2)).any()


def test_smooth_maps_reach_one_and_have_no_mean() -> None:
    for shape in ((20, 31, 7), (5, 5, 1)):
        smooth = draw_smooth_map(shape, np.random.default_rng(20261123))
        assert np.abs(smooth).max() == pytest.approx(1)
        assert smooth.mean() == pytest.approx(0, abs=1e-12)


def test_texture_has_the_spread_of_random_susceptibility_through_the_kernel() -> None:
    # the mean over directions of (1/3 - cos²)² is 4/45; a Gaussian keeps all directions of k-space alike
    rng = np.random.default_rng(20261123)
    spread = [draw_texture_hz(make_spec(texture_ppm=0.02, texture_mm=0.15), rng).std() for _ in range(10)]
    assert np.mean(spread) == pytest.approx(math.sqrt(4 / 45) * 0.02e-6 * 9.4 * GAMMA_HZ_PER_T, rel=0.03)


def test_correlated_texture_is_smoother_but_as_strong() -> None:
    rough = draw_texture_hz(make_spec(texture_ppm=0.02), np.random.default_rng(20261123))
    smooth = draw_texture_hz(make_spec(texture_ppm=0.02, texture_mm=0.2), np.random.default_rng(20261123))
    assert smooth.std() == pytest.approx(rough.std(), rel=0.25)
    assert correlate(smooth[None], 1, 1) > correlate(rough[None], 1, 1) + 0.3


def test_tissue_is_an_ellipsoid_with_a_soft_edge() -> None:
    tissue = build_tissue(make_spec(tissue_fraction=0.8))
    volume = math.pi / 6 * 0.8**3 * 64 * 51 * 40
    assert tissue.sum() == pytest.approx(volume, rel=0.01)
    assert tissue[32, 25, 20] == 1
    assert tissue[0, 0, 0] == 0
    assert ((tissue > 0) & (tissue < 1)).sum() > 1000
    assert (build_tissue(make_spec()) == 1).all()


def test_background_is_what_was_asked_for() -> None:
    spec = make_spec(r2star_per_s=40.0, receive_variation=0.3, background_hz=20.0, coil_phase_rad=0.5)
    signal = tissue_signal(spec, draw_tissue(spec, draw_seeds(6)), np.array(spec.echo_times_s), is_fat=False)
    decay = np.abs(signal[1] / signal[0])
    np.testing.assert_allclose(decay, np.exp(-40 * 0.005), rtol=1e-9)
    s0 = np.abs(signal[0]) * np.exp(40 * 0.004)
    assert max(s0.max() - 1, 1 - s0.min()) == pytest.approx(0.3)
    field = np.angle(signal[1] * signal[0].conj()) / (2 * np.pi * 0.005)
    assert np.abs(field).max() == pytest.approx(20)


def test_fat_lies_in_patches_or_is_diffuse() -> None:
    for is_diffuse in (False, True):
        spec = make_spec(fat_share=0.1, is_fat_diffuse=is_diffuse, structure_mm=0.8)
        tissue = draw_tissue(spec, draw_seeds(6))
        assert tissue.fat is not None
        np.testing.assert_allclose(tissue.water + tissue.fat, 1, atol=1e-12)
        assert tissue.fat.mean() == pytest.approx(0.1, abs=0.02)
        assert tissue.fat.std() > 0.02
        assert (tissue.fat.max() < 0.2) == is_diffuse
        assert ((tissue.fat == 0).mean() > 0.5) == (not is_diffuse)
