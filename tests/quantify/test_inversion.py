"""The integral is right, and as sure as it says: fields made of points, not of the boxes that are fitted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from ferrosight.physics.dipole import harmonic_pattern
from ferrosight.quantify.inversion import Window, integrate_susceptibility
from ferrosight.quantify.texture import Texture

VOXEL_M = np.array([0.8e-4, 1.0e-4, 1.3e-4])
B0 = np.array([0.36, -0.48, 0.8])
SHAPE = (22, 20, 18)
ERR_HZ, ALIAS_HZ = 0.5, 250.0
NO_TEXTURE = Texture(np.array([0.0, 1.0]), np.zeros(2), 10_000)


def offsets_m(centre):
    return np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1) * VOXEL_M - centre


def make_window(strength_hz_m3, rng, *, texture=NO_TEXTURE, wrapped=False):
    """Many points scattered in a ball of 2.6 voxels, their integral ``strength_hz_m3``, on a smooth background.

    Near a point its field stops growing, as a voxel's average does: at a voxel's centre alone it has no bound.
    """
    unit = np.cbrt(np.prod(VOXEL_M))
    centre = (np.array(SHAPE) - 1) / 2 * VOXEL_M + rng.uniform(-0.5, 0.5, 3) * unit
    radius = 2.6 * unit
    points = rng.normal(size=(400, 3))
    points *= radius * np.cbrt(rng.random((400, 1))) / np.linalg.norm(points, axis=1, keepdims=True)
    field = np.zeros(SHAPE)
    for point in points:
        offsets = offsets_m(centre + point)
        r3 = np.maximum(np.linalg.norm(offsets, axis=-1), 1.3 * unit) ** 3
        field += harmonic_pattern("dipole", offsets, B0) * np.linalg.norm(offsets, axis=-1) ** 3 / r3
    field *= strength_hz_m3 / (4 * np.pi) / len(points)
    x, y, z = np.moveaxis(offsets_m(centre) / unit / 10, -1, 0)
    field += 30 + 12 * x - 7 * y * z + 5 * x * z * z
    spectrum = texture.field_spectrum(SHAPE, VOXEL_M * 1e3, B0)
    field += fft.ifftn(fft.fftn(rng.normal(size=SHAPE)) * np.sqrt(spectrum)).real
    field += rng.normal(scale=ERR_HZ, size=SHAPE)
    inside = np.linalg.norm(offsets_m(centre), axis=-1) < radius + 0.7 * unit
    if wrapped:
        field = np.mod(field + ALIAS_HZ / 2, ALIAS_HZ) - ALIAS_HZ / 2
    err = np.full(SHAPE, ERR_HZ)
    return centre, Window(field, err, np.ones(SHAPE, bool), inside, np.ones(SHAPE), ALIAS_HZ, 0.0075, VOXEL_M, B0)


@pytest.mark.slow
@pytest.mark.parametrize("texture_hz", [0.0, 2.0])
def test_intervals_cover_over_many_draws(texture_hz):
    rng = np.random.default_rng(11)
    k = np.linspace(0.0, 6.0, 40)
    texture = Texture(
        k, (texture_hz**2 * (2 * np.sqrt(np.pi) * 0.15) ** 3) * np.exp(-((2 * np.pi * k * 0.15) ** 2)), 9000
    )
    strength = 1e-9
    z, ratio = [], []
    for _ in range(60):
        _, window = make_window(strength, rng, texture=texture)
        found = integrate_susceptibility(window, texture)
        z.append((found.value - strength) / found.err)
        ratio.append(found.value / strength)
    # 60 draws: 95 % has a standard error of 2.8 %
    assert np.mean(np.abs(z) < 1.96) > 0.86
    assert np.sqrt(np.mean(np.square(z))) == pytest.approx(1.0, abs=0.3)
    assert abs(np.mean(ratio) - 1) < 0.02 + 3 * np.std(ratio) / np.sqrt(len(ratio))


def test_the_centroid_is_found():
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(10):
        centre, window = make_window(2e-9, rng)
        found = integrate_susceptibility(window, NO_TEXTURE)
        np.testing.assert_allclose(found.centroid, centre / VOXEL_M, atol=0.3)
        pulls.append((found.centroid - centre / VOXEL_M) / found.centroid_err)
    assert np.sqrt(np.mean(np.square(pulls))) < 3.0


def test_a_field_known_up_to_its_alias_gives_the_same():
    plain, wrapped = (make_window(4e-8, np.random.default_rng(4), wrapped=w)[1] for w in (False, True))
    assert (np.abs(plain.field_hz - wrapped.field_hz) > ALIAS_HZ / 2).sum() > 10
    first, second = (integrate_susceptibility(window, NO_TEXTURE) for window in (plain, wrapped))
    assert first.value == pytest.approx(4e-8, rel=0.05)
    assert second.value == pytest.approx(first.value, rel=0.02)


def test_no_susceptibility_is_zero_within_the_error_without_one():
    rng = np.random.default_rng(6)
    z = []
    for _ in range(30):
        found = integrate_susceptibility(make_window(0.0, rng)[1], NO_TEXTURE)
        z.append(found.value / found.noise_err)
    assert np.abs(z).max() < 4.0
    assert np.sqrt(np.mean(np.square(z))) == pytest.approx(1.0, abs=0.35)
