"""Field and relaxation of every voxel together, from its complex signal over the echoes.

The model s(TE) = c·exp(-λ·TE), with complex c = S0·exp(iφ0) and λ = R2* - 2πi·f, is one complex exponential,
analytic in both unknowns, so a complex Gauss-Newton fit is the maximum likelihood under the Gaussian noise of
the real and imaginary channels. It has no noise floor and hence no bias where late echoes have decayed, and
R2* has no upper cut-off. Real and imaginary part of an unknown have the same variance, σ²·[(JᴴWJ)⁻¹].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Voxels fitted at a time: keeps the working arrays small.
_CHUNK = 50_000
_MAX_ITERATIONS = 30
#: Converged when λ·(TE span) moves by less than this.
_TOLERANCE = 1e-5
#: Bounds of R2*·(TE span): beyond, later echoes hold nothing, or a growing signal overflows.
_MIN_DECAY, _MAX_DECAY = -10.0, 60.0


@dataclass(frozen=True)
class EchoFit:
    """Per voxel (n,): field and R2* with one standard deviation each, and |S0|."""

    field_hz: NDArray[np.float64]
    field_hz_err: NDArray[np.float64]
    r2star_per_s: NDArray[np.float64]
    r2star_per_s_err: NDArray[np.float64]
    s0: NDArray[np.float64]


def fit_echoes(
    signal: NDArray[np.complex64],
    sigma: NDArray[np.float32],
    echo_times_s: NDArray[np.float64],
    start_hz: NDArray[np.float64],
) -> EchoFit:
    """Fit two or more echoes: ``signal`` and ``sigma`` (echo, n), starting from ``start_hz`` (n,).

    ``sigma`` is the noise of one real channel. The start decides between fields that differ by one over an
    echo spacing. With two echoes the fit is exact: field and R2* follow from the ratio of the echoes.
    """
    n = signal.shape[1]
    parts = [
        _fit_chunk(signal[:, a : a + _CHUNK], sigma[:, a : a + _CHUNK], echo_times_s, start_hz[a : a + _CHUNK])
        for a in range(0, max(n, 1), _CHUNK)
    ]
    return EchoFit(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _fit_chunk(
    signal: NDArray[np.complex64],
    sigma: NDArray[np.float32],
    echo_times_s: NDArray[np.float64],
    start_hz: NDArray[np.float64],
) -> tuple[NDArray[np.float64], ...]:
    span = float(echo_times_s[-1] - echo_times_s[0])
    # Time counted from the first echo in units of the span: unknowns of order one.
    time = ((echo_times_s - echo_times_s[0]) / span)[:, None]
    s = signal.astype(np.complex128)
    weight = 1.0 / sigma.astype(np.float64) ** 2
    rate = _start(s, weight, time, start_hz * span)
    rate = _refine(s, weight, time, rate)
    decay = np.exp(-rate * time)
    amplitude = _amplitude(s, weight, decay)
    # (JᴴWJ)⁻¹ of the rate: the amplitude's share is taken out as a weighted mean time. An echo that is all
    # noise looks like signal of about that size; one σ² is taken off, lest its chance value pass for knowledge.
    snr2 = weight * np.abs(amplitude * decay) ** 2
    snr2 = np.maximum(snr2 - 1, 0.1 * np.minimum(snr2, 1))
    mean_time = (snr2 * time).sum(0) / np.maximum(snr2.sum(0), 1e-300)
    information = (snr2 * (time - mean_time) ** 2).sum(0)
    err = 1 / np.sqrt(np.maximum(information, 1e-12)) / span
    s0 = np.abs(amplitude) * np.exp(np.minimum(rate.real * echo_times_s[0] / span, 80.0))
    return -rate.imag / span / (2 * np.pi), err / (2 * np.pi), rate.real / span, err, s0


def _amplitude(
    s: NDArray[np.complex128], weight: NDArray[np.float64], decay: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """The best c for a given λ: linear."""
    return np.asarray((weight * np.conj(decay) * s).sum(0) / (weight * np.abs(decay) ** 2).sum(0))


def _start(
    s: NDArray[np.complex128], weight: NDArray[np.float64], time: NDArray[np.float64], start_turns: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """λ from weighted straight lines through the log-magnitude and through the phase left by the start."""
    left = s * np.exp(-2j * np.pi * start_turns * time)
    phase = np.concatenate([np.zeros((1, s.shape[1])), np.cumsum(np.angle(left[1:] * np.conj(left[:-1])), axis=0)])
    power = weight * np.abs(s) ** 2
    power = power / np.maximum(power.sum(0), 1e-300)
    centred = time - (power * time).sum(0)
    scale = np.maximum((power * centred**2).sum(0), 1e-12)
    log_magnitude = np.log(np.maximum(np.abs(s), 1e-30))
    slope = (power * centred * (log_magnitude + 1j * phase)).sum(0) / scale
    return _bounded(-slope - 2j * np.pi * start_turns)


def _bounded(rate: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return np.asarray(np.clip(rate.real, _MIN_DECAY, _MAX_DECAY) + 1j * rate.imag)


def _refine(
    s: NDArray[np.complex128], weight: NDArray[np.float64], time: NDArray[np.float64], rate: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Damped complex Gauss-Newton on λ, c eliminated; only voxels still moving are worked on."""
    rate = rate.copy()
    active = np.arange(len(rate))
    damping = np.zeros(len(rate))
    cost = _cost(s, weight, time, rate)
    for _ in range(_MAX_ITERATIONS):
        now, w, data = rate[active], weight[:, active], s[:, active]
        decay = np.exp(-now * time)
        amplitude = _amplitude(data, w, decay)
        share = w * np.abs(decay) ** 2
        mean_time = (share * time).sum(0) / share.sum(0)
        slope = -(time - mean_time) * amplitude * decay
        information = (w * np.abs(slope) ** 2).sum(0)
        step = (w * np.conj(slope) * (data - amplitude * decay)).sum(0)
        step = step / np.maximum(information * (1 + damping[active]), 1e-300)
        # Less than a quarter turn, or one e-fold, at a time.
        step = step / np.maximum(1.0, np.abs(step))
        tried = _bounded(now + step)
        tried_cost = _cost(data, w, time, tried)
        better = tried_cost <= cost[active]
        rate[active[better]] = tried[better]
        cost[active[better]] = tried_cost[better]
        damping[active] = np.where(better, damping[active] / 10, np.maximum(damping[active] * 10, 0.1))
        moving = (np.abs(tried - now) > _TOLERANCE) & (damping[active] < 1e6)
        active = active[moving]
        if len(active) == 0:
            break
    return rate


def _cost(
    s: NDArray[np.complex128], weight: NDArray[np.float64], time: NDArray[np.float64], rate: NDArray[np.complex128]
) -> NDArray[np.float64]:
    decay = np.exp(-rate * time)
    return np.asarray((weight * np.abs(s - _amplitude(s, weight, decay) * decay) ** 2).sum(0))
