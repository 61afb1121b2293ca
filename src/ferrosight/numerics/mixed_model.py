"""Nonlinear least squares with several variances: restricted likelihood, strata, and profiles.

The measurements are y = f(θ) + noise of covariance V = known + Σ σ²_k G_k. The variances are found by restricted
maximum likelihood (Patterson & Thompson, Biometrika 58:545, 1971) about the fitted θ. That of a shared effect may come
out negative as long as V is a covariance: cut off at zero, few groups would give intervals that are too narrow.

The variance of an estimate is a sum over strata, each known with its own degrees of freedom (between groups, within
them). Its interval is that of Behrens and Fisher: exact where one stratum decides, a little wide where several do.
Satterthwaite's single number of degrees of freedom is too sure where a stratum with few looks small by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
Model = Callable[[Array], Array]

_ROUNDS = 60
_STEPS = 50
_LEAST_EIGENVALUE = 1e-4
_LEAST_VARIANCE = 1e-10
_NODES = 32
_MOST_PARTS = 3
#: A variance known with more degrees of freedom than these is known.
_MANY = 300.0
#: Strata that make up less of a variance than this are left out of its quantile.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class MixedProblem:
    """``model`` maps θ (p,) to (n,), compared with ``y`` (n,); ``patterns`` (k, n, n) and ``known`` (n, n) make V.

    θ stays between ``low`` and ``high`` (p,). The variance of stratum s is Σ_k ``strata``[s, k] σ²_k (k of them,
    independent), known with ``dofs`` (k,).
    """

    model: Model
    y: Array
    patterns: Array
    known: Array
    low: Array
    high: Array
    strata: Array
    dofs: Array


@dataclass(frozen=True)
class MixedFit:
    """θ and its covariance, the variances (k,), and how much of the covariance each makes per unit (k, p, p)."""

    problem: MixedProblem
    theta: Array
    covariance: Array
    variances: Array
    slopes: Array
    converged: bool

    @property
    def whitening(self) -> Array:
        """L⁻¹ with V = L·Lᵀ."""
        return _whiten(_total(self.problem, self.variances))


def fit_mixed(problem: MixedProblem, start: Array, variances: Array) -> MixedFit:
    """Fit θ and the variances in turns from ``start`` and ``variances``; not converging is a result."""
    theta, converged = start, False
    for _ in range(_ROUNDS):
        theta = _solve(problem, theta, _whiten(_total(problem, variances)))
        slope = differentiate(problem.model, theta)
        updated = _score_variances(problem, problem.y - problem.model(theta), slope, variances)
        change = float(np.max(np.abs(updated - variances) / np.maximum(np.abs(variances), 1e-4), initial=0.0))
        variances = updated
        if change < 1e-5:
            converged = True
            break
    theta = _solve(problem, theta, _whiten(_total(problem, variances)))
    slope = differentiate(problem.model, theta)
    precision = np.linalg.inv(_total(problem, variances))
    covariance: Array = np.asarray(np.linalg.pinv(slope.T @ precision @ slope, rcond=1e-13, hermitian=True), np.float64)
    weights = precision @ slope @ covariance
    slopes = np.array([weights.T @ pattern @ weights for pattern in problem.patterns])
    size = len(variances)
    return MixedFit(problem, theta, covariance, variances, slopes.reshape(size, *covariance.shape), converged)


def split_variance(weights: Array, variances: Array, known: float, strata: Array, dofs: Array) -> tuple[Array, Array]:
    """The parts of Σ ``weights``·``variances`` + ``known`` that the strata make, and their degrees of freedom.

    A stratum that would make it smaller counts nothing; what is known has infinitely many degrees of freedom.
    """
    shares = np.linalg.solve(strata.T, weights) if len(weights) else np.zeros(0)
    parts = np.maximum(shares, 0.0) * (strata @ variances if len(weights) else shares)
    return np.append(np.maximum(parts, 0.0), max(known, 0.0)), np.append(dofs, np.inf)


def combined_quantile(parts: Array, dofs: Array) -> float:
    """The 97.5 % quantile of Σ √part·t over the root of Σ part, t being Student's with each part's degrees of freedom.

    Integrated over the χ of each by Gauss's rule; of more than three parts the smallest are taken for one, by
    Satterthwaite. 1.96 without parts.
    """
    total = float(parts.sum())
    parts, dofs = _merge_smallest(parts, dofs)
    scales, weights = np.zeros(1), np.ones(1)
    for part, dof in zip(parts, dofs, strict=True):
        if not total > 0 or part < _LEAST_SHARE * total:
            continue
        if dof > _MANY:
            scales = scales + part / total
            continue
        chi, chances = _chi_nodes(dof)
        scales = (scales[:, None] + part / total * dof / chi**2).ravel()
        weights = (weights[:, None] * chances).ravel()
    sd = np.sqrt(scales) if scales.any() else np.ones(1)
    low, high = 1.0, 100.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        below = float(weights @ ndtr(middle / sd)) < 0.975
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def _merge_smallest(parts: Array, dofs: Array) -> tuple[Array, Array]:
    known = float(parts[dofs > _MANY].sum())
    order = [i for i in np.argsort(-parts) if dofs[i] <= _MANY and parts[i] > 0]
    kept, rest = order[: _MOST_PARTS - 1], order[_MOST_PARTS - 1 :]
    merged = float(parts[rest].sum())
    values, degrees = [known, *parts[kept]], [np.inf, *dofs[kept]]
    if rest:
        values.append(merged)
        degrees.append(merged**2 / float(np.sum(parts[rest] ** 2 / dofs[rest])))
    return np.array(values), np.array(degrees)


def _chi_nodes(dof: float) -> tuple[Array, Array]:
    """Values of χ with ``dof`` degrees of freedom, and their chances."""
    nodes, widths = np.polynomial.legendre.leggauss(_NODES)
    middle = math.sqrt(dof - 0.5)
    low, high = max(middle - 6.0, 0.0), middle + 6.0
    chi = low + (nodes + 1) / 2 * (high - low)
    log_density = (dof - 1) * np.log(chi) - chi**2 / 2
    density = widths * np.exp(log_density - log_density.max())
    return chi, np.asarray(density / density.sum())


def profile_interval(fit: MixedFit, function: Callable[[Array], float]) -> tuple[float, float]:
    """95 % interval of a function of θ: where the best fit that has this value is not much worse.

    The rise of the residual sum of squares (V as fitted) is held against the square of the function's own quantile. An
    end that no value within θ's bounds reaches is infinite.
    """
    whitening, theta = fit.whitening, fit.theta
    gradient = differentiate(lambda t: np.array([function(t)]), theta)[0]
    variance = float(gradient @ fit.covariance @ gradient)
    if not variance > 0:
        return -math.inf, math.inf
    weights = np.einsum("i,kij,j->k", gradient, fit.slopes, gradient)
    known = variance - float(weights @ fit.variances)
    parts, dofs = split_variance(weights, fit.variances, known, fit.problem.strata, fit.problem.dofs)
    limit = combined_quantile(parts, dofs) * math.sqrt(parts.sum() / variance)
    least = _sum_of_squares(fit.problem, theta, whitening)
    ends = [_profile_end(fit, function, sign, math.sqrt(variance), limit, least, whitening) for sign in (-1.0, 1.0)]
    return ends[0], ends[1]


def _profile_end(
    fit: MixedFit,
    function: Callable[[Array], float],
    sign: float,
    err: float,
    limit: float,
    least: float,
    whitening: Array,
) -> float:
    """The value at which the root of the rise reaches ``limit``: outwards until passed, then by false position."""
    best = function(fit.theta)
    inner, inner_rise, theta = best, 0.0, fit.theta
    outer, outer_rise = math.nan, math.nan
    step = limit * err
    for _ in range(40):
        if math.isnan(outer):
            value = inner + sign * step
        else:
            share = np.clip((limit - inner_rise) / (outer_rise - inner_rise), 0.05, 0.95)
            value = inner + share * (outer - inner)
        moved, reached = _constrain(fit.problem, function, value, theta, whitening, err)
        rise = math.sqrt(max(_sum_of_squares(fit.problem, moved, whitening) - least, 0.0))
        if not reached and rise < limit:
            return sign * math.inf
        if abs(rise - limit) < 2e-3 * limit and reached:
            return value
        if rise < limit:
            inner, inner_rise, theta = value, rise, moved
            step *= 1.0 if rise > 0.5 * limit else 2.0
        else:
            outer, outer_rise = value, rise
    return inner if math.isfinite(outer) else sign * math.inf


def _constrain(
    problem: MixedProblem, function: Callable[[Array], float], value: float, start: Array, whitening: Array, err: float
) -> tuple[Array, bool]:
    """The best θ at which the function has this value, and whether the bounds let it."""
    weight = 3e4 / err

    def model(theta: Array) -> Array:
        return np.append(whitening @ problem.model(theta), weight * function(theta))

    held = MixedProblem(
        model,
        np.append(whitening @ problem.y, weight * value),
        problem.patterns,
        problem.known,
        problem.low,
        problem.high,
        problem.strata,
        problem.dofs,
    )
    theta = _solve(held, start, np.eye(len(held.y)))
    return theta, abs(function(theta) - value) < 1e-2 * err


def _solve(problem: MixedProblem, start: Array, whitening: Array) -> Array:
    """Weighted least squares within bounds, by Levenberg's and Marquardt's steps on what is not held at a bound."""
    theta = np.clip(start, problem.low, problem.high)
    residual = whitening @ (problem.y - problem.model(theta))
    least, damping = float(residual @ residual), 1e-14
    for _ in range(_STEPS):
        slope = whitening @ differentiate(problem.model, theta)
        downhill = slope.T @ residual
        at_bound = ((theta <= problem.low) & (downhill < 0)) | ((theta >= problem.high) & (downhill > 0))
        free = np.flatnonzero(~at_bound)
        if not len(free):
            return theta
        normal = slope[:, free].T @ slope[:, free]
        scale = np.maximum(np.diag(normal), 1e-12 * np.max(np.diag(normal)) + 1e-300)
        for _ in range(25):
            step = np.linalg.solve(normal + np.diag(damping * scale), downhill[free])
            moved = theta.copy()
            moved[free] = np.clip(theta[free] + step, problem.low[free], problem.high[free])
            trial = whitening @ (problem.y - problem.model(moved))
            value = float(trial @ trial)
            if value <= least:
                break
            damping = max(damping * 30, 1e-12)
        else:
            return theta
        gain, travelled = least - value, float(np.max(np.abs(moved - theta) / (1e-3 + np.abs(theta))))
        theta, residual, least, damping = moved, trial, value, max(damping / 10, 1e-14)
        if gain <= 1e-10 * (1 + least) and travelled < 1e-5:
            return theta
    return theta


def differentiate(model: Model, theta: Array) -> Array:
    """Central differences of ``model`` (p,) → (n,), as (n, p)."""
    columns = []
    for i, value in enumerate(theta):
        step = 1e-5 * max(abs(float(value)), 0.01)
        up, down = theta.copy(), theta.copy()
        up[i] += step
        down[i] -= step
        columns.append((model(up) - model(down)) / (2 * step))
    return np.stack(columns, axis=1)


def _score_variances(problem: MixedProblem, residual: Array, slope: Array, variances: Array) -> Array:
    """Variances that are more likely than these, by Fisher's scoring."""
    for _ in range(_STEPS if len(variances) else 0):
        projection, likelihood = _project(problem, residual, slope, variances)
        products = [projection @ pattern for pattern in problem.patterns]
        explained = projection @ residual
        pairs = zip(problem.patterns, products, strict=True)
        score = np.array([0.5 * (explained @ pattern @ explained - np.trace(product)) for pattern, product in pairs])
        information = 0.5 * np.array([[np.sum(a * b.T) for b in products] for a in products])
        step = np.linalg.lstsq(information, score, rcond=1e-10)[0]
        for _ in range(30):
            moved = _within(problem, variances, variances + step)
            if _is_covariance(_total(problem, moved)) and _project(problem, residual, slope, moved)[1] >= likelihood:
                break
            step = step / 2
        else:
            return variances
        change = float(np.max(np.abs(moved - variances) / np.maximum(np.abs(variances), 1e-6)))
        variances = moved
        if change < 1e-7:
            break
    return variances


def _within(problem: MixedProblem, variances: Array, moved: Array) -> Array:
    """Variances of single measurements stay positive; they may fall by a factor of ten in a step."""
    single = np.array([np.count_nonzero(pattern) == np.count_nonzero(np.diag(pattern)) for pattern in problem.patterns])
    least = np.maximum(0.1 * variances, _LEAST_VARIANCE)
    return np.where(single, np.maximum(moved, least), moved)


def _project(problem: MixedProblem, residual: Array, slope: Array, variances: Array) -> tuple[Array, float]:
    """P = V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁺XᵀV⁻¹ and the restricted log-likelihood."""
    total = _total(problem, variances)
    precision = np.linalg.inv(total)
    weighted = precision @ slope
    normal = slope.T @ weighted
    values, vectors = np.linalg.eigh(normal / np.sqrt(np.outer(np.diag(normal), np.diag(normal))))
    scale = 1 / np.sqrt(np.diag(normal))
    kept = values > 1e-12
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T * np.outer(scale, scale)
    projection = precision - weighted @ inverse @ weighted.T
    logdet = float(np.linalg.slogdet(total)[1]) + float(np.sum(np.log(values[kept])) - 2 * np.sum(np.log(scale)))
    return projection, -0.5 * (logdet + float(residual @ projection @ residual))


def _total(problem: MixedProblem, variances: Array | Sequence[float]) -> Array:
    return np.asarray(problem.known + np.tensordot(np.asarray(variances), problem.patterns, axes=1))


def _is_covariance(total: Array) -> bool:
    sd = np.sqrt(np.maximum(np.diag(total), 1e-300))
    if not (np.diag(total) > 0).all():
        return False
    return bool(np.linalg.eigvalsh(total / np.outer(sd, sd))[0] > _LEAST_EIGENVALUE)


def _whiten(total: Array) -> Array:
    return np.asarray(np.linalg.inv(np.linalg.cholesky(total)))


def _sum_of_squares(problem: MixedProblem, theta: Array, whitening: Array) -> float:
    residual = whitening @ (problem.y - problem.model(theta))
    return float(residual @ residual)
