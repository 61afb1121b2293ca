"""What a measurement says of the truth when it was only looked at because its score was high.

A strength m is measured as m̂ with error s, and kept where its score reaches a threshold. The score is the strength in
units of its error, but for a factor, so that a strength is kept where m̂ / s reaches c = (m̂ / s) · threshold / score.
The fit takes the best of all positions, by which m̂ / s gains too: its square is noncentral χ² with four degrees of
freedom, one for the strength and three for the position,

    m̂ / s ~ χ'_4(m / s)

(over real fits E[(m̂/s)²] exceeds (m/s)² by 3 to 4). The confidence distribution of m has the distribution function
P(more than m̂ | at least c, m): its 2.5 % and 97.5 % points are the ends of an interval that holds m in 95 % of the
cases *that were selected* (Lee, Sun, Sun & Taylor, Ann. Stat. 44:907, 2016, for the idea).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import i1e, ndtri

Array = NDArray[np.float64]

#: So far above the threshold (standard deviations) selection changes nothing.
_FAR = 8.0
#: Nodes of each integral over the measurement, how far it reaches, and strengths at which it is done.
_N_NODES, _N_STRENGTHS = 40, 80
_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(_N_NODES)
_REACH = 9.0


def selected_quantiles(value: Array, err: Array, score: Array, threshold: Array, normal_scores: Array) -> Array:
    """Quantiles (n, k) of every strength's confidence distribution at standard normal scores (k,).

    Parameters
    ----------
    value, err : (n,)
        Measured strength and one standard deviation, in one unit.
    score, threshold : (n,)
        The score by which each was selected, and the one that it had to reach. Where the threshold is NaN or -inf
        nothing was selected: the quantiles are those of a normal distribution, ``value + err · normal_scores``.

    Returns
    -------
    In the unit of ``value``; not below zero where there was a selection.
    """
    columns = np.asarray(normal_scores, dtype=np.float64)
    quantiles = np.asarray(value[:, None] + err[:, None] * columns)
    with np.errstate(invalid="ignore"):
        selected = np.isfinite(threshold) & (value > 0) & (err > 0) & (score > 0)
    for row in np.flatnonzero(selected):
        y = value[row] / err[row]
        quantiles[row] = err[row] * _unit_quantiles(y, y * min(threshold[row] / score[row], 1.0), columns)
    return quantiles


def _unit_quantiles(y: float, c: float, columns: Array) -> Array:
    """The quantiles for errors of one, of what was measured as ``y`` because it reached ``c``."""
    if y > c + _FAR:
        # χ'_4(d) is then normal about √(d² + 3).
        return np.asarray(np.sqrt(np.maximum(np.maximum(y + columns, 0.0) ** 2 - 3, 0.0)))
    strengths = np.linspace(1e-3, y + columns.max() + 2.0, _N_STRENGTHS)
    reached = _normal_score_of_more(strengths, y, max(c, 1e-3))
    # Rounding may leave equal neighbours far out.
    return np.asarray(np.interp(columns, np.maximum.accumulate(reached), strengths, left=0.0))


def _normal_score_of_more(strengths: Array, y: float, c: float) -> Array:
    """Φ⁻¹ of the chance to measure more than ``y`` of what measures at least ``c``, at each true strength."""
    less, more = (
        _log_integral(strengths, np.maximum(low, strengths - _REACH), high)
        for low, high in ((c, np.full_like(strengths, y)), (y, np.maximum(strengths, y) + _REACH))
    )
    total = np.logaddexp(less, more)
    upper = more > less
    tail = ndtri(np.exp(np.maximum(np.where(upper, less, more) - total, -700.0)))
    return np.asarray(np.where(upper, -tail, tail))


def _log_integral(d: Array, low: Array, high: Array) -> Array:
    """ln of the integral of χ'_4's density, x² exp(-(x² + d²)/2) I₁(d x) / d, from ``low`` to ``high`` for each d."""
    half = np.maximum(high - low, 0.0)[:, None] / 2
    x = low[:, None] + half * (1 + _ROOTS)
    # Against the range's nearest point to d, so that nothing far out vanishes.
    nearest = (np.clip(d, low, np.maximum(low, high)) - d) ** 2
    density = x**2 * i1e(d[:, None] * x) * np.exp(-0.5 * ((x - d[:, None]) ** 2 - nearest[:, None]))
    inside = (density * _WEIGHTS * half).sum(axis=1) / d
    return np.asarray(np.log(np.maximum(inside, 1e-300)) - 0.5 * nearest)
