"""A 95 % interval for a noisy measurement divided by an uncertain conversion factor.

The measurement is t·K·F + σ·Z for the wanted number t, the best value K of the factor, an uncertainty F
(log-normal, mean 1) of that factor, and Gaussian noise Z. The interval holds every t under which the
measurement is neither among the 2.5 % highest nor the 2.5 % lowest: of all measurements, or where it was kept because
its score reached a threshold, of those that are kept. That is exact when the assumptions hold, stays above zero,
and needs no random numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ferrosight.numerics.selection import selected_quantiles

Array = NDArray[np.float64]

#: Integration over a standard normal variable: smooth integrands, so the trapezium rule converges fast.
_NODES = np.linspace(-6.0, 6.0, 97)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_TAIL, _ONE_TAIL = 0.025, 0.05
_LOW = -1.959964
_BISECTIONS = 28


def invert_measurement(
    measured: Array,
    measured_err: Array,
    factor: float,
    factor_rel_sd: Callable[[Array], Array],
    score: Array | None = None,
    threshold: Array | None = None,
) -> tuple[Array, Array]:
    """Ends of the 95 % interval of ``measured / factor``, each of the shape of ``measured`` (n,).

    ``factor_rel_sd`` gives the relative standard deviation of the factor, as a function of the wanted number
    (an average over N cells is the better known the larger N). The lower end is 0 where the measurement is
    not significant. ``measured`` must be finite; ``measured_err`` too, and positive where ``measured`` is not: where
    nothing was selected a measurement may be zero or negative. ``score`` (n,) is that by which each
    was selected and ``threshold`` the one it had to reach, NaN where there was no selection; so none by default. The
    interval of what was selected may lie below the measurement.

    A measurement more than one standard deviation below zero is taken for that: noise that went further down, or a
    model that does not fit, is no evidence for less than nothing (power-constrained limits; Cowan, Cranmer, Gross &
    Vitells, arXiv:1105.3166).
    """
    find_end, lowest = _prepare_ends(measured, measured_err, factor, factor_rel_sd, score, threshold)
    return np.where(lowest <= 0, 0.0, find_end(_TAIL)), find_end(1 - _TAIL)


def bound_measurement(
    measured: Array,
    measured_err: Array,
    factor: float,
    factor_rel_sd: Callable[[Array], Array],
    score: Array | None = None,
    threshold: Array | None = None,
) -> Array:
    """The largest ``measured / factor`` (n,) that is allowed, one-sided 95 %; all else as in ``invert_measurement``."""
    find_end, _ = _prepare_ends(measured, measured_err, factor, factor_rel_sd, score, threshold)
    return find_end(1 - _ONE_TAIL)


def _prepare_ends(
    measured: Array,
    measured_err: Array,
    factor: float,
    factor_rel_sd: Callable[[Array], Array],
    score: Array | None,
    threshold: Array | None,
) -> tuple[Callable[[float], Array], Array]:
    """What finds the value (n,) above which the truth lies with the chance 1 − tail, and the plain lower end (n,)."""
    score = np.ones_like(measured) if score is None else score
    threshold = np.full_like(measured, np.nan) if threshold is None else threshold
    value = np.asarray(measured, dtype=np.float64) / factor
    err = np.maximum(np.asarray(measured_err, dtype=np.float64) / factor, 1e-9 * value)
    value = np.maximum(value, -err)
    widest = np.sqrt(np.log1p(factor_rel_sd(np.zeros_like(value)) ** 2))
    # The truth's confidence distribution as if the factor were certain.
    columns = np.append(_NODES, _LOW)
    quantiles = selected_quantiles(value, err, score, threshold, columns)
    truths, lowest = quantiles[:, :-1], quantiles[:, -1]
    highest: Array = (value + 6 * err) * np.exp(6 * widest + widest**2)

    def find_end(tail: float) -> Array:
        low: Array = np.zeros_like(value)
        high = highest
        at_low, at_high = np.zeros_like(value), np.ones_like(value)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            chance = _chance_of_more(middle, truths, value, err, factor_rel_sd(middle))
            below = chance < tail
            low, high = np.where(below, middle, low), np.where(below, high, middle)
            at_low, at_high = np.where(below, chance, at_low), np.where(below, at_high, chance)
        # So near the end the chance is a straight line.
        share = (tail - at_low) / np.maximum(at_high - at_low, 1e-300)
        return np.asarray(low + np.clip(share, 0.0, 1.0) * (high - low))

    return find_end, lowest


def _chance_of_more(t: Array, truths: Array, value: Array, err: Array, rel_sd: Array) -> Array:
    """Chance that t·F + err·Z exceeds ``value``, of what is selected.

    Integrated over the narrower of the two variables, where the other's distribution function is smooth. ``truths``
    (n, node) are the values that t·F has to exceed, at the nodes' chance each.
    """
    log_var = np.log1p(rel_sd**2)[:, None]
    log_sd = np.sqrt(np.maximum(log_var, 1e-18))
    over_noise = ndtr((_log(t[:, None]) - _log(truths) - log_var / 2) / log_sd)
    chance = over_noise @ _WEIGHTS
    narrow = np.flatnonzero(log_sd[:, 0] * value <= err)
    factored = t[narrow, None] * np.exp(log_sd[narrow] * _NODES - log_var[narrow] / 2)
    for row, x in zip(narrow, factored, strict=True):
        chance[row] = ndtr(np.interp(x, truths[row], _NODES)) @ _WEIGHTS
    return np.asarray(chance)


def _log(x: Array) -> Array:
    # What is zero or less is exceeded by any positive number: its logarithm may be as low as one likes.
    return np.asarray(np.log(np.maximum(x, 1e-300)))
