"""A source's strength near a place that is known: q of either sign, with a Gaussian prior on the position."""

from __future__ import annotations

import numpy as np
from numba import njit

from ferrosight.clusters.windows import (
    MAX_SHIFT,
    N_PARAMETERS,
    copy_into,
    factorise,
    linearise,
    measure_chi2,
    solve_factor,
)
from ferrosight.physics.table_reading import Q_MAX

_MAX_STEPS = 25
#: Smallest |q| at which a window is linearised: the equations are in ln|q|.
_Q_FLOOR = 1e-5
#: A step that lowers χ² by less ends the fit: a hundredth of a standard deviation.
_CONVERGED = 1e-4


@njit(cache=True, fastmath=True)
def _prior_chi2(shift, mean, precision):  # type: ignore[no-untyped-def]
    total = 0.0
    for a in range(3):
        for b in range(3):
            total += (shift[a] - mean[a]) * precision[a, b] * (shift[b] - mean[b])
    return total


@njit(cache=True, fastmath=True)
def fit_strength(data, other, weight, ratios, table, voxels, basis, start, shift, mean, precision, gram):  # type: ignore[no-untyped-def]
    """Levenberg-Marquardt in (q, shift) from ``start`` and ``shift``, which is changed in place.

    q is linear and may change sign, as that of a place with nothing does; the position is held by a Gaussian prior of
    ``mean`` (3,) and ``precision`` (3, 3) in voxels, without bound where that is large. Fills ``gram`` of
    (ln|q|, shift), without the prior. Returns q, χ² (without the prior; negative where it failed), and χ² with it.
    """
    gradient = np.empty(N_PARAMETERS)
    damped = np.empty((N_PARAMETERS, N_PARAMETERS))
    step = np.empty(N_PARAMETERS)
    trial = np.empty(3)
    q = start
    chi2 = linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient)
    total = chi2 + _prior_chi2(shift, mean, precision)
    damping = 1e-3
    for _ in range(_MAX_STEPS):
        if chi2 < 0.0 or gram[0, 0] <= 0.0:
            return q, -1.0, -1.0
        # From ln|q| to q: the derivative by q is that by ln|q| over q.
        copy_into(damped, gram)
        for p in range(N_PARAMETERS):
            damped[0, p] /= q
            damped[p, 0] /= q
        step[0] = gradient[0] / q
        for a in range(3):
            step[1 + a] = gradient[1 + a]
            for b in range(3):
                step[1 + a] -= precision[a, b] * (shift[b] - mean[b])
                damped[1 + a, 1 + b] += precision[a, b]
        for p in range(N_PARAMETERS):
            damped[p, p] *= 1.0 + damping
            damped[p, p] += 1e-12
        if not factorise(damped):
            return q, -1.0, -1.0
        solve_factor(damped, step)
        new_q = min(max(q + step[0], -Q_MAX), Q_MAX)
        if abs(new_q) < _Q_FLOOR:
            new_q = _Q_FLOOR if new_q >= 0.0 else -_Q_FLOOR
        for a in range(3):
            move = min(max(step[1 + a], -0.4), 0.4)
            trial[a] = min(max(shift[a] + move, -MAX_SHIFT), MAX_SHIFT)
        new_chi2 = measure_chi2(data, other, weight, ratios, table, voxels, basis, new_q, trial)
        new_total = new_chi2 + _prior_chi2(trial, mean, precision)
        if new_chi2 >= 0.0 and new_total < total:
            gain = total - new_total
            q = new_q
            copy_into(shift, trial)
            damping *= 0.2
            chi2 = linearise(data, other, weight, ratios, table, voxels, basis, q, shift, gram, gradient)
            total = chi2 + _prior_chi2(shift, mean, precision)
            if gain < _CONVERGED:
                break
        else:
            damping = max(damping, 1e-3) * 8.0
            if damping > 1e5:
                break
    return q, chi2, total
