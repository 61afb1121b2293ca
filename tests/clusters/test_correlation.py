"""The variance of fits in correlated noise is the white one times the factor."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.correlation import complex_correlation, correct_for_correlation
from ferrosight.clusters.fit import fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import AxisSupport, Noise, Scan

SHAPE = (15, 15, 15)
ECHO_S = 0.01
POSITION = (0.021, -0.033, 0.012)
FULL = AxisSupport()
HALF_FILLED = (AxisSupport(-0.25, 0.25), AxisSupport(-0.25, 0.25), FULL)
PARTIAL = (AxisSupport(-0.5, 0.25), AxisSupport(-0.25, 0.5), FULL)
N_K = 64


def draw_noise(support: Any, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Complex noise of unit SD per channel whose k-space is limited to a support, on part of a larger image."""
    noise = rng.normal(size=(N_K,) * 3) + 1j * rng.normal(size=(N_K,) * 3)
    k = np.fft.fftfreq(N_K)
    for axis, one in enumerate(support):
        if one.is_full:
            continue
        keep = (k >= one.low - 1e-9) & (k < one.high - 1e-9)
        shape = [1, 1, 1]
        shape[axis] = N_K
        spectrum = np.fft.fft(noise, axis=axis) * keep.reshape(shape) / np.sqrt(keep.mean())
        noise = np.fft.ifft(spectrum, axis=axis)
    return noise


def describe_noise(support: Any) -> Noise:
    lags = np.arange(-2, 3)
    axes = [np.sinc(one.width * lags) * np.exp(1j * np.pi * (one.low + one.high) * lags) for one in support]
    return Noise(np.ones((1, 2, 2, 2), np.float32), np.einsum("i,j,k->ijk", *axes).real, support)


def simulate(workshop: Any, q: float, voxel_mm: Any) -> Scan:
    source = Point(POSITION, workshop.moment_am2(q, voxel_mm, ECHO_S))
    affine = build_affine(SHAPE, voxel_mm, (20, -10, 30))
    return simulate_scan(ScanSpec(SHAPE, affine, (ECHO_S,), 7.0, sources=(source,), sub_sampling=8), 1)[0]


def test_correlation_is_that_of_noise_drawn_so() -> None:
    rng = np.random.default_rng(1)
    measured = np.zeros((7, 7, 7), np.complex128)
    for _ in range(4):
        power = np.abs(np.fft.fftn(draw_noise(PARTIAL, rng))) ** 2
        lags = np.fft.ifftn(power)
        measured += np.roll(lags, (3, 3, 3), axis=(0, 1, 2))[:7, :7, :7]
    measured /= measured[3, 3, 3].real
    expected = complex_correlation(describe_noise(PARTIAL), 3)
    assert np.abs(expected.imag).max() > 0.1
    # a lag is known to about 1/√(4 · 64³), and the discrete k-space's centre is half a line off
    assert np.abs(measured - expected).max() < 0.03


def test_measured_lags_replace_those_of_the_support() -> None:
    noise = dataclasses.replace(describe_noise(PARTIAL), autocorrelation=np.full((5, 5, 5), 0.5))
    correlation = complex_correlation(noise, 4)
    np.testing.assert_allclose(correlation[2:7, 2:7, 2:7].real, 0.5)
    expected = complex_correlation(describe_noise(PARTIAL), 4)
    np.testing.assert_allclose(correlation.imag, expected.imag)
    np.testing.assert_allclose(correlation[0], expected[0])


def test_white_noise_has_the_factor_one(workshop: Any, alone: Any) -> None:
    scan = simulate(workshop, 1.0, (0.1, 0.1, 0.1))
    data = workshop.window_data(scan, 0.03)
    found = workshop.fit_near(data, scan, [POSITION])
    factor = correct_for_correlation(data, found, no_neighbours(data), alone(found), describe_noise((FULL,) * 3))
    assert factor[0] == pytest.approx(1, abs=1e-6)
    found.steps[:] = -1
    noise = describe_noise(HALF_FILLED)
    assert np.isnan(correct_for_correlation(data, found, no_neighbours(data), alone(found), noise)).all()


@pytest.mark.parametrize(
    ("support", "q", "voxel_mm", "n_draws"),
    [
        (HALF_FILLED, 1.0, (0.1, 0.1, 0.1), 120),
        pytest.param(HALF_FILLED, 0.3, (0.1, 0.08, 0.14), 1000, marks=pytest.mark.slow),
        pytest.param(PARTIAL, 1.0, (0.1, 0.08, 0.14), 1000, marks=pytest.mark.slow),
    ],
)
def test_the_factor_is_the_ratio_of_variances_over_noise_draws(
    workshop: Any, alone: Any, support: Any, q: float, voxel_mm: Any, n_draws: int
) -> None:
    rng = np.random.default_rng(2)
    scan, sigma = simulate(workshop, q, voxel_mm), 0.02
    ijk = scan.grid.to_ijk(POSITION) + PAD
    centre = np.round(ijk).astype(int)
    start = unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), centre[None], 1)
    start = dataclasses.replace(start, shifts=(ijk - centre)[None], q=np.array([q]))
    values, white, factors = [], [], []
    for draw in range(n_draws):
        if draw % 64 == 0:
            image = draw_noise(support, rng)
        # parts of one image far enough apart have noise of their own
        corner = np.array(np.unravel_index(draw % 64, (4, 4, 4))) * 16
        part = tuple(slice(c, c + n) for c, n in zip(corner, SHAPE, strict=True))
        noisy = dataclasses.replace(scan, signal=scan.signal + sigma * image[part])
        data = workshop.window_data(noisy, sigma, workshop.table(scan))
        found = fit_sources(data, start, no_neighbours(data), search=False)
        values.append(found.q[0])
        white.append(found.covariance[0, 0, 0])
        factors.append(
            correct_for_correlation(data, found, no_neighbours(data), alone(found), describe_noise(support))[0]
        )
    ratio = np.var(values, ddof=1) / np.mean(white)
    factor = np.mean(factors)
    assert factor > 1.15
    # a variance from n draws is known to √(2/n) of itself
    assert ratio == pytest.approx(factor, rel=3 * np.sqrt(2 / n_draws)), (ratio, factor)
