"""From scores to decisions: how many false candidates of at least this score this scan produces.

The decoys (the other four l = 2 harmonics of both signs, and the dipole of opposite polarity) went through the
same search. Their scores above a threshold u are fitted with a generalised Pareto tail in s²/2 (pure noise
makes it exponential with scale 1; structure makes it heavier), and the tail's uncertainty is carried by
averaging over its posterior. With few decoys the prior, which says "near noise", decides; with many, they do.

    expected_false(s) = rate · E[ (1 + ξ (s² - u²) / (2τ))^(-1/ξ) ]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A tail is fitted to at most this many of the strongest decoys.
_N_TAIL = 40
#: Grid of shapes ξ and of scales τ (in s²/2), with their priors: shape exponential of mean 0.3, scale
#: log-normal about 1.3 with a spread of a factor 2. They were chosen so that scans without clusters are called
#: at the stated rate for tails as light as noise and as heavy as ξ = 0.5; only with about four decoys and a
#: heavy tail does the rate reach twice the stated one (the test prints how often).
_SHAPES = np.linspace(0.0, 1.5, 31)
_SCALES = np.exp(np.linspace(np.log(0.4), np.log(40.0), 60))
_SHAPE_MEAN = 0.3
_SCALE_MEDIAN, _SCALE_LOG_SD = 1.3, 0.7


@dataclass(frozen=True)
class Tail:
    """Posterior of one null's tail: ``weights`` over (shape, scale), and its rate above ``threshold``."""

    threshold: float
    rate: float
    weights: NDArray[np.float64]
    n_tail: int

    @property
    def scale(self) -> float:
        """Posterior mean of the scale τ (in s²/2)."""
        return float((self.weights.sum(axis=0) * _SCALES).sum())

    @property
    def scale_err(self) -> float:
        """Posterior standard deviation of the scale."""
        return float(np.sqrt((self.weights.sum(axis=0) * (_SCALES - self.scale) ** 2).sum()))

    def expected_false(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected number of false candidates scoring at least each score."""
        excess = np.maximum(np.asarray(scores, dtype=np.float64) ** 2 - self.threshold**2, 0.0) / 2
        survival = np.exp(-_log_density_and_survival(excess)[1])
        return np.asarray(self.rate * np.einsum("nab,ab->n", survival, self.weights), dtype=np.float64)


def fit_tail(scores: NDArray[np.float64], n_classes: int, floor: float) -> Tail:
    """Tail of decoy scores.

    ``n_classes`` is how many signed classes the scores come from (the rate is per class), ``floor`` the
    lowest score at which the search is complete.
    """
    strongest = np.sort(scores[scores >= floor])[::-1]
    threshold = float(strongest[_N_TAIL - 1]) if len(strongest) > _N_TAIL else floor
    tail = strongest[strongest >= threshold]
    excess = (tail**2 - threshold**2) / 2
    log_density, _ = _log_density_and_survival(excess)
    log_prior = -_SHAPES[:, None] / _SHAPE_MEAN - 0.5 * (np.log(_SCALES / _SCALE_MEDIAN)[None] / _SCALE_LOG_SD) ** 2
    log_posterior = log_density.sum(axis=0) + log_prior
    weights = np.exp(log_posterior - log_posterior.max())
    # Half a candidate more than seen: the posterior mean of a rate under Jeffreys' prior.
    return Tail(threshold, (len(tail) + 0.5) / n_classes, weights / weights.sum(), len(tail))


def _log_density_and_survival(excess: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ln density and -ln survival of the generalised Pareto, (excess, shape, scale)."""
    shape, scale = _SHAPES[None, :, None], _SCALES[None, None, :]
    x = np.asarray(excess, dtype=np.float64)[:, None, None] / scale
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = np.where(shape > 0, np.log1p(shape * x) / np.where(shape > 0, shape, 1.0), x)
    return -hazard - np.log1p(shape * x) - np.log(scale), hazard


def class_spreads(residual_map: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Null spread of each pattern's statistic once strong sources are explained, over the median of them all.

    A robust standard deviation (1.4826 times the median absolute value) over the mask. Dividing scores by it
    makes classes comparable where texture, unequal voxels or cut windows favour one of them.
    """
    spread = np.array([1.4826 * np.median(np.abs(pattern[inside])) for pattern in residual_map])
    # None is narrower than the rest: where a statistic is, it is the screening's search over places that makes it so,
    # which scores do not have.
    middle = np.median(spread)
    # An image too small for a window has no statistic anywhere.
    return np.maximum(spread / middle, 1.0) if middle > 0 else np.ones(len(spread))


def q_values(expected_false: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg q from the number of false candidates expected at each candidate's score.

    With p = expected_false / n over n tested places, n·p/rank is expected_false/rank: n cancels.
    """
    order = np.argsort(expected_false, kind="stable")
    ranked = expected_false[order] / np.arange(1, len(order) + 1)
    q = np.empty(len(order))
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q
