"""Field and R2* are unbiased and their errors are right, over many draws of the noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.field.relaxation import EchoFit, fit_echoes

FOUR = np.array([0.004, 0.008, 0.012, 0.016])
UNEVEN = np.array([0.003, 0.005, 0.009, 0.015, 0.0155])


def decay(times: np.ndarray, s0: float, r2star: float, hz: float, phase: float = 0.7) -> np.ndarray:
    return s0 * np.exp(-r2star * times + 1j * (phase + 2 * np.pi * hz * times))


def fit_draws(
    rng: np.random.Generator, times: np.ndarray, r2star: float, hz: float, snr: float, n: int = 4000
) -> EchoFit:
    """``n`` draws of the noise, σ 1 at the first echo and 1.5 at the last, S0 = snr, start off by 20 Hz."""
    sigma = np.linspace(1.0, 1.5, len(times))[:, None] * np.ones(n)
    noise = sigma * (rng.standard_normal(sigma.shape) + 1j * rng.standard_normal(sigma.shape))
    signal = decay(times, snr, r2star, hz)[:, None] + noise
    return fit_echoes(signal.astype(np.complex64), sigma.astype(np.float32), times, np.full(n, hz + 20.0))


@pytest.mark.parametrize("times", [FOUR[:2], FOUR[:3], FOUR, UNEVEN], ids=["two", "three", "four", "uneven"])
@pytest.mark.parametrize(("r2star", "hz", "snr"), [(30.0, 12.0, 30), (30.0, -90.0, 100), (120.0, 60.0, 60)])
def test_errors_are_the_spread_over_noise_draws(
    rng: np.random.Generator, times: np.ndarray, r2star: float, hz: float, snr: float
) -> None:
    fit = fit_draws(rng, times, r2star, hz, snr)
    for value, err, true in (
        (fit.field_hz, fit.field_hz_err, hz),
        (fit.r2star_per_s, fit.r2star_per_s_err, r2star),
    ):
        z = (value - true) / err
        assert abs(np.median(z)) < 0.08
        assert np.std(z) == pytest.approx(1, abs=0.06)
        assert np.mean(np.abs(z) < 1.96) == pytest.approx(0.95, abs=0.012)
    assert np.median(fit.s0) == pytest.approx(snr, rel=0.01)


@pytest.mark.parametrize(("r2star", "covered"), [(250.0, 0.94), (500.0, 0.94), (800.0, 0.90)])
def test_high_r2star_is_not_cut_off_and_the_noise_floor_does_not_pull_it_down(
    rng: np.random.Generator, r2star: float, covered: float
) -> None:
    # At 800/s the second of four echoes is at 2 σ, later ones at nothing: the spread is wide and skewed there.
    fit = fit_draws(rng, FOUR, r2star, 10.0, 60 * np.exp(r2star * FOUR[0]))
    z = (fit.r2star_per_s - r2star) / fit.r2star_per_s_err
    assert np.mean(fit.r2star_per_s) == pytest.approx(r2star, rel=0.03)
    assert np.quantile(np.abs(z), 0.68) < 1.05
    assert np.mean(np.abs(z) < 1.96) > covered


@settings(max_examples=40, deadline=None)
@given(
    r2star=st.floats(-20, 600),
    hz=st.floats(-120, 120),
    phase=st.floats(-np.pi, np.pi),
    offset=st.floats(-100, 100),
)
def test_without_noise_the_truth_comes_back_from_any_start_within_half_a_turn(
    r2star: float, hz: float, phase: float, offset: float
) -> None:
    for times in (FOUR[:2], FOUR):
        signal = decay(times, 5.0, r2star, hz, phase)[:, None].astype(np.complex64)
        fit = fit_echoes(signal, np.full((len(times), 1), 0.01, np.float32), times, np.array([hz + offset]))
        assert fit.field_hz[0] == pytest.approx(hz, abs=0.05)
        assert fit.r2star_per_s[0] == pytest.approx(r2star, abs=0.3)
        assert fit.s0[0] == pytest.approx(5.0, rel=2e-3)


def test_pure_noise_and_zeros_give_finite_numbers_with_large_errors(rng: np.random.Generator) -> None:
    signal = rng.standard_normal((3, 500)) + 1j * rng.standard_normal((3, 500))
    signal[:, :10] = 0
    fit = fit_echoes(signal.astype(np.complex64), np.ones((3, 500), np.float32), FOUR[:3], np.zeros(500))
    for values in (fit.field_hz, fit.field_hz_err, fit.r2star_per_s, fit.r2star_per_s_err, fit.s0):
        assert np.isfinite(values).all()
    assert np.median(fit.field_hz_err) > 10


def test_no_voxels_give_no_values() -> None:
    fit = fit_echoes(np.empty((3, 0), np.complex64), np.empty((3, 0), np.float32), FOUR[:3], np.empty(0))
    assert fit.field_hz.shape == (0,)
