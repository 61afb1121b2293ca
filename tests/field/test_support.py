"""The acquired part of k-space is found, and nothing is found missing where all of it was acquired."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from ferrosight.field.support import measure_spectra, noise_autocorrelation

BAND_NAMES = ["filled 1.5x", "filled 2x", "5/8", "6/8", "6/8 other side", "7/8"]


def some_object(phantoms: ModuleType, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return phantoms.smooth_object(shape)
    if kind == 1:
        return phantoms.box_object(shape)
    if kind == 2:
        return phantoms.dipole_object(rng, shape, 20)
    return np.ones(shape) * np.exp(2j * rng.normal() * phantoms.coordinates(shape)[0])


def one_scan(
    phantoms: ModuleType, rng: np.random.Generator, bands: tuple[tuple[float, float], ...], crop: int = 0
) -> np.ndarray:
    """(1, x, y, z) of odd and even sizes, SNR from 5 to 200, zero-filled outside ``bands``."""
    shape = tuple(int(n) for n in rng.integers((44, 44, 26), (80, 80, 44)))
    snr = np.exp(rng.uniform(np.log(5), np.log(200)))
    image = some_object(phantoms, rng, shape) + phantoms.complex_noise(rng, shape, 1 / snr)
    image = phantoms.acquire(image, bands)
    inner = tuple(slice(crop, n - crop) for n in shape)
    return image[inner][None].astype(np.complex64)


@pytest.mark.parametrize("name", BAND_NAMES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_support_is_found_to_a_line_and_a_half(
    phantoms: ModuleType, rng: np.random.Generator, name: str, axis: int
) -> None:
    for draw in range(12):
        bands = [phantoms.FULL] * 3
        bands[axis] = phantoms.BANDS[name]
        signal = one_scan(phantoms, rng, tuple(bands), crop=6 * (draw % 2 * (axis != 2)))
        for found, (low, high), n in zip(measure_spectra(signal), bands, signal.shape[1:], strict=True):
            assert abs(found.support.low - low) * n < 1.5
            assert abs(found.support.high - high) * n < 1.5


def test_a_full_acquisition_is_never_taken_for_zero_filled(phantoms: ModuleType, rng: np.random.Generator) -> None:
    for _ in range(60):
        signal = one_scan(phantoms, rng, (phantoms.FULL,) * 3)
        assert all(found.support.is_full for found in measure_spectra(signal))


def test_a_very_smooth_object_leaves_high_k_empty_of_signal_but_not_of_noise(
    phantoms: ModuleType, rng: np.random.Generator
) -> None:
    x, y, z = phantoms.coordinates((64, 51, 40))
    for snr in (5, 20, 80, 200):
        image = np.exp(-(x**2 + y**2 + z**2)) + phantoms.complex_noise(rng, x.shape, 1 / snr)
        assert all(found.support.is_full for found in measure_spectra(image[None].astype(np.complex64)))


def test_a_smooth_filter_is_no_zero_filling_but_correlates_the_noise(
    phantoms: ModuleType, rng: np.random.Generator
) -> None:
    shape = (64, 60, 40)
    window = np.fft.ifftshift(np.hamming(64))[:, None, None]
    noise = np.fft.ifft(np.fft.fft(phantoms.complex_noise(rng, shape), axis=0) * window, axis=0)
    x = measure_spectra((20 * phantoms.smooth_object(shape) + noise)[None].astype(np.complex64))[0]
    true = np.sum(window[:, 0, 0] ** 2 * np.exp(2j * np.pi * np.fft.fftfreq(64))) / np.sum(window**2)
    assert x.support.is_full
    assert abs(x.correlation(1) - true) < 0.05


def test_both_partial_fourier_axes_are_found_at_once(phantoms: ModuleType, rng: np.random.Generator) -> None:
    bands = (phantoms.FULL, phantoms.BANDS["6/8"], phantoms.BANDS["6/8 other side"])
    for _ in range(10):
        signal = one_scan(phantoms, rng, bands)
        widths = [found.support.width for found in measure_spectra(signal)]
        assert widths == pytest.approx([1, 0.75, 0.75], abs=0.05)


def test_support_is_given_about_the_object_where_a_phase_slope_wraps_it(
    phantoms: ModuleType, rng: np.random.Generator
) -> None:
    shape = (64, 48, 32)
    image = phantoms.smooth_object(shape) + phantoms.complex_noise(rng, shape, 0.02)
    image = phantoms.acquire(image, (phantoms.BANDS["filled 2x"], phantoms.FULL, phantoms.FULL))
    # Half a cycle per voxel, as a receiver that alternates its sign leaves it.
    image = image * (-1.0) ** np.arange(64)[:, None, None]
    x = measure_spectra(image[None].astype(np.complex64))[0]
    assert x.support.low == pytest.approx(-0.25, abs=0.03)
    assert x.support.high == pytest.approx(0.25, abs=0.03)
    # The correlation is that of the noise as stored: its sign alternates too.
    assert x.correlation(1).real == pytest.approx(-2 / np.pi, abs=0.03)


def test_transposing_the_image_transposes_the_support(phantoms: ModuleType, rng: np.random.Generator) -> None:
    bands = (phantoms.FULL, phantoms.BANDS["5/8"], phantoms.BANDS["filled 1.5x"])
    signal = one_scan(phantoms, rng, bands)
    direct = [(s.support.low, s.support.high) for s in measure_spectra(signal)]
    turned_signal = np.ascontiguousarray(signal.transpose(0, 3, 1, 2))
    turned = [(s.support.low, s.support.high) for s in measure_spectra(turned_signal)]
    # Equal but for the order in which single-precision sums are taken.
    assert np.allclose(turned, [direct[2], direct[0], direct[1]], atol=1e-4)


def test_conjugating_the_image_mirrors_a_one_sided_support(phantoms: ModuleType, rng: np.random.Generator) -> None:
    signal = one_scan(phantoms, rng, (phantoms.BANDS["6/8"], phantoms.FULL, phantoms.FULL))
    x = measure_spectra(np.conj(signal))[0].support
    n = signal.shape[1]
    assert x.low == pytest.approx(-0.5, abs=1.5 / n)
    assert x.high == pytest.approx(0.25, abs=1.5 / n)


def test_voxels_that_somebody_masked_do_not_hide_the_support(phantoms: ModuleType, rng: np.random.Generator) -> None:
    shape = (72, 64, 40)
    x, y, z = phantoms.coordinates(shape)
    image = np.exp(2j * x * y) + phantoms.complex_noise(rng, shape, 0.03)
    image = phantoms.acquire(image, (phantoms.BANDS["filled 1.5x"], phantoms.FULL, phantoms.BANDS["6/8"]))
    image[x**2 + y**2 + z**2 > 0.9] = 0
    found = [s.support.width for s in measure_spectra(image[None].astype(np.complex64))]
    assert found == pytest.approx([2 / 3, 1, 0.75], abs=0.06)


@pytest.mark.parametrize("shape", [(1, 9, 3), (7, 1, 2), (4, 4, 4)])
def test_axes_too_short_to_tell_count_as_full_and_white(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    signal = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))[None].astype(np.complex64)
    spectra = measure_spectra(signal)
    assert all(s.support.is_full for s in spectra)
    assert noise_autocorrelation(spectra)[2, 2, 2] == 1
    assert abs(noise_autocorrelation(spectra)[3, 2, 2]) < 1e-9


@pytest.mark.parametrize(
    ("names", "tolerance"),
    [
        (("full", "full", "full"), 0.01),
        (("full", "6/8", "6/8 other side"), 0.02),
        (("filled 1.5x", "7/8", "filled 2x"), 0.02),
        (("filled 2x", "filled 2x", "filled 2x"), 0.04),
    ],
)
def test_autocorrelation_is_that_of_zero_filled_noise(
    phantoms: ModuleType, rng: np.random.Generator, names: tuple[str, ...], tolerance: float
) -> None:
    shape = (60, 73, 48)
    bands = tuple(phantoms.BANDS[name] for name in names)
    image = phantoms.acquire(phantoms.dipole_object(rng, shape, 15) + phantoms.complex_noise(rng, shape, 1 / 30), bands)
    measured = noise_autocorrelation(measure_spectra(image[None].astype(np.complex64)))
    true = np.zeros((5, 5, 5))
    for _ in range(12):
        channel = phantoms.acquire(phantoms.complex_noise(rng, shape), bands).real
        spectrum = np.abs(np.fft.fftn(channel)) ** 2
        lags = np.fft.ifftn(spectrum).real
        true += np.roll(lags, (2, 2, 2), (0, 1, 2))[:5, :5, :5] / lags[0, 0, 0] / 12
    assert np.abs(measured - true).max() < tolerance
    assert measured == pytest.approx(measured[::-1, ::-1, ::-1], abs=1e-9)


def read_echo(folder: Path, stem: str, suffix: str) -> np.ndarray:
    magnitude, phase = (
        np.asarray(nib.load(folder / f"{stem}_part-{part}_{suffix}.nii.gz").dataobj) for part in ("mag", "phase")
    )
    return (magnitude * np.exp(1j * phase)).astype(np.complex64)


@pytest.mark.data
def test_brain_crop_was_acquired_with_six_eighths_twice(data_dir: Path) -> None:
    folder = data_dir / "brain-crop" / "sub-crop" / "anat"
    echoes = [read_echo(folder, f"sub-crop_echo-{e}", "MEGRE") for e in (1, 2, 3)]
    for signal in (np.stack(echoes), *(echo[None] for echo in echoes)):
        x, y, z = (s.support for s in measure_spectra(signal))
        assert x.is_full
        # Both cut edges are filtered over some five lines: the edge lies within two lines of the nominal one.
        assert y.high == 0.5
        assert y.low == pytest.approx(-0.25, abs=2 / 51)
        assert z.low == pytest.approx(-0.5, abs=2 / 41)
        assert z.high == pytest.approx(0.25, abs=2 / 41)


@pytest.mark.data
def test_gel_was_acquired_whole(data_dir: Path) -> None:
    signal = read_echo(data_dir / "gel" / "sub-gel" / "anat", "sub-gel", "T2starw")[None]
    assert all(s.support.is_full for s in measure_spectra(signal))
