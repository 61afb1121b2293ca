"""The noise map is right: uniform or not, with structure in the image, and with correlated noise."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.errors import AnalysisError
from ferrosight.field.noise import map_sigma, measure_noise_power
from ferrosight.field.support import measure_spectra


def measure(image: np.ndarray) -> np.ndarray:
    echo = image.astype(np.complex64)
    return map_sigma(measure_noise_power(echo, measure_spectra(echo[None])))


@pytest.mark.parametrize("snr", [5, 30, 100])
@pytest.mark.parametrize("kind", ["flat", "smooth", "box", "dipoles"])
def test_uniform_noise_is_unbiased_with_structure_in_the_image(
    phantoms: ModuleType, rng: np.random.Generator, kind: str, snr: int
) -> None:
    shape = (70, 63, 40)
    means = []
    for _ in range(5):
        image = {
            "flat": lambda: np.ones(shape, dtype=complex),
            "smooth": lambda: phantoms.smooth_object(shape),
            "box": lambda: phantoms.box_object(shape),
            "dipoles": lambda: phantoms.dipole_object(rng, shape, 40),
        }[kind]()
        sigma = measure(image + phantoms.complex_noise(rng, shape, 1 / snr)) * snr
        means.append(sigma.mean())
        assert sigma.min() > 0.85
        assert sigma.max() < 1.2
    assert np.mean(means) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("names", [("filled 1.5x", "full", "6/8"), ("filled 2x", "filled 2x", "full")])
def test_zero_filling_does_not_make_the_noise_look_smaller(
    phantoms: ModuleType, rng: np.random.Generator, names: tuple[str, ...]
) -> None:
    shape = (72, 64, 40)
    bands = tuple(phantoms.BANDS[name] for name in names)
    ratios = []
    for _ in range(8):
        noise = phantoms.complex_noise(rng, shape, 1 / 30)
        image = phantoms.acquire(phantoms.smooth_object(shape) + noise, bands)
        true = np.sqrt(phantoms.share_acquired(shape, bands)) / 30
        ratios.append(measure(image).mean() / true)
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_noise_that_doubles_across_the_image_is_followed_everywhere(
    phantoms: ModuleType, rng: np.random.Generator, axis: int
) -> None:
    shape = (96, 80, 40)
    worst = []
    for _ in range(5):
        gradient = 1 + 0.5 * (1 + phantoms.coordinates(shape)[axis])
        image = 30 * phantoms.dipole_object(rng, shape, 40) + gradient * phantoms.complex_noise(rng, shape)
        ratio = measure(image) / gradient
        assert ratio.mean() == pytest.approx(1, abs=0.03)
        worst.append(np.quantile(np.abs(ratio - 1), 0.95))
    assert np.mean(worst) < 0.10


def test_a_strong_phase_slope_is_no_noise(phantoms: ModuleType, rng: np.random.Generator) -> None:
    x, y, z = np.meshgrid(*[np.arange(n) for n in (60, 51, 30)], indexing="ij")
    image = 50 * np.exp(1j * (0.8 * x - 0.5 * y + 0.6 * z)) + phantoms.complex_noise(rng, x.shape)
    assert measure(image).mean() == pytest.approx(1, abs=0.03)


def test_a_single_slice_and_a_thin_slab_can_be_measured(phantoms: ModuleType, rng: np.random.Generator) -> None:
    for shape in ((128, 101, 1), (128, 101, 2), (96, 101, 8), (1, 128, 101)):
        image = 20 + phantoms.complex_noise(rng, shape)
        assert measure(image).mean() == pytest.approx(1, abs=0.05)


def test_voxels_that_somebody_set_to_zero_are_left_out(phantoms: ModuleType, rng: np.random.Generator) -> None:
    shape = (80, 72, 40)
    x, y, z = phantoms.coordinates(shape)
    image = 20 + phantoms.complex_noise(rng, shape)
    image[x**2 + y**2 + z**2 > 0.7] = 0
    sigma = measure(image)
    assert sigma.mean() == pytest.approx(1, abs=0.05)
    assert (sigma > 0).all()


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-6, 1e6), turn=st.floats(-np.pi, np.pi), seed=st.integers(0, 2**32 - 1))
def test_noise_scales_with_the_signal_and_ignores_its_phase(scale: float, turn: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = 10 + rng.standard_normal((30, 26, 17)) + 1j * rng.standard_normal((30, 26, 17))
    assert measure(image * scale * np.exp(1j * turn)) / scale == pytest.approx(measure(image), rel=2e-3)


def test_the_error_says_what_to_do_where_nothing_can_be_measured() -> None:
    tiny = np.ones((2, 2, 2), dtype=np.complex64)
    with pytest.raises(AnalysisError, match="axis of at least 3 voxels"):
        measure(tiny)
    flat = np.ones((20, 20, 20), dtype=np.complex64)
    with pytest.raises(AnalysisError, match="not masked, filtered or cut down"):
        measure(flat)
