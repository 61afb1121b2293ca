"""An upper bound of the measurements' true standard deviation over the stated one, and the risk that it is too low."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from ferrosight.relapse.increments import LEAST_DEGREES

_DEGREES = (LEAST_DEGREES, 6.0, 12.0, np.inf)
_LOG_TILTS = np.linspace(np.log(1e-3), np.log(1e5), 300)


def bound_sd_factor(variance_ratio: float, n_pairs: int, risk: float) -> float:
    """Upper bound of true over stated standard deviation, from pairs of repeated measurements.

    Parameters
    ----------
    variance_ratio
        Mean over the pairs of (difference)² / (sum of both stated variances); 1 where what is stated is right.
    n_pairs
        Number of independent pairs.
    risk
        Chance that the bound lies below the truth, at most.

    Returns
    -------
    √(variance_ratio / x), where x is so low that the mean of ``n_pairs`` squared differences falls below it with a
    chance of at most ``risk``, whether errors are normal or have the tails of Student's t with 4 or more degrees of
    freedom. A χ² bound, right for normal errors, fails several times too often for heavy tails: most small samples
    hold none of the few errors that make their variance.
    """
    return float(np.sqrt(variance_ratio / find_low_mean(n_pairs, risk)))


@lru_cache(maxsize=256)
def find_low_mean(n_pairs: int, risk: float) -> float:
    """x below which the mean of ``n_pairs`` squared standardised differences falls with chance ``risk`` at most.

    The chance is Lugannani and Rice's saddlepoint approximation (Adv Appl Probab 1980; 12:475) with the exact Laplace
    transform of one squared difference, the least favourable over the errors allowed for.
    """
    return min(
        float(brentq(lambda x, d=degrees: _find_chance(x, n_pairs, d) - risk, 0.01, 0.98)) for degrees in _DEGREES
    )


def _find_chance(x: float, n: int, degrees: float) -> float:
    """Chance that the mean of n squared differences lies below x < 1."""
    log_laplace = _tabulate_log_laplace(degrees)
    # K(u) = log E exp(u d²) at u = −s = −exp(v): dK/du = −K_v / s, and the saddlepoint is where that equals x.
    tilts = np.exp(_LOG_TILTS)
    means = -log_laplace(_LOG_TILTS, 1) / tilts
    at = float(np.interp(-x, -means, _LOG_TILTS))
    s = np.exp(at)
    first, second = log_laplace(at, 1), log_laplace(at, 2)
    curvature = (second - first) / s**2
    w = -np.sqrt(2 * n * (-s * x - float(log_laplace(at))))
    u = -s * np.sqrt(n * curvature)
    return float(stats.norm.cdf(w) + stats.norm.pdf(w) * (1 / w - 1 / u))


@lru_cache(maxsize=len(_DEGREES))
def _tabulate_log_laplace(degrees: float) -> CubicSpline:
    """log E exp(−s d²) against log s, for the standardised difference d of two errors.

    With g a standard normal, exp(−s d²) = E_g cos(√(2s) g d), so that the expectation over d = (ε₁ − ε₂)/√2 is that
    over g of the squared characteristic function of ε at √s g.
    """
    # Large s asks for small g, so that g is stretched as s grows: g = y / √(1 + 2s).
    y = np.linspace(0.0, 40.0, 8001)
    shrink = 1 / np.sqrt(1 + 2 * np.exp(_LOG_TILTS))[:, None]
    g = y * shrink
    steps = np.full(len(y), y[1])
    steps[0] /= 2
    inside = _transform(np.exp(_LOG_TILTS / 2)[:, None] * g, degrees) ** 2 * np.exp(-(g**2) / 2)
    return CubicSpline(_LOG_TILTS, np.log((inside @ steps) * shrink[:, 0] * np.sqrt(2 / np.pi)))


def _transform(places: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Characteristic function of Student's t scaled to unit variance."""
    if np.isinf(degrees):
        return np.asarray(np.exp(-(places**2) / 2))
    half = degrees / 2
    x = np.sqrt(degrees - 2) * np.maximum(places, 1e-9)
    log_value = np.log(special.kve(half, x)) - x + half * np.log(x) - special.gammaln(half) - (half - 1) * np.log(2)
    return np.asarray(np.exp(log_value))
