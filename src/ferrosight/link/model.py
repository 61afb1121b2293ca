"""What is expected of clusters before anything is linked: chances to be seen, to be new, to go, to be false.

The model is written out in ``docs/link.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ferrosight.types.config import LinkConfig
from ferrosight.types.tracks import Detections

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

#: Least spread of log moments that new clusters are expected to have: a factor of e.
_LEAST_LOG_SPREAD = 1.0
_LEAST_CHANCE = 1e-12


class Clusters(NamedTuple):
    """Clusters as the compiled functions take them, (n,) or (n, …) each.

    ``unseen`` (n, n_visits + 1) is the log chance to be missed at every visit before each; ``reach`` (n,) the largest
    variance of position in any direction; ``log_mass`` the natural logarithm of the moment and ``mass_variance`` its
    variance.
    """

    visit: _Ints
    day: _Floats
    position: _Floats
    covariance: _Floats
    reach: _Floats
    log_mass: _Floats
    mass_variance: _Floats
    unseen: _Floats


class Scales(NamedTuple):
    """Settings as the compiled functions take them: squares where the name says so, rates for a day.

    ``peak1``, ``peak3`` and ``peak6`` are `log_peak` of so many variables: worked out once, for there are many pairs.
    """

    motion2: float
    separation2: float
    change2: float
    loss: float
    dof: float
    gone: float
    split: float
    merge: float
    use_mass: bool
    peak1: float
    peak3: float
    peak6: float


@dataclass(frozen=True)
class Alone:
    """Log densities (n,) of each cluster: seen for the first time; seen; not seen again; false."""

    new: _Floats
    seen: _Floats
    end: _Floats
    false: _Floats


def gather_clusters(detections: Detections) -> Clusters:
    """The detections' numbers, and sums that many hypotheses share."""
    missed = np.log(np.maximum(1 - detections.detection_probability, _LEAST_CHANCE))
    n = len(detections)
    return Clusters(
        detections.visit,
        detections.days[detections.visit],
        detections.position_mm,
        detections.covariance_mm2,
        np.linalg.eigvalsh(detections.covariance_mm2).astype(np.float64)[:, -1] if n else np.zeros(0),
        np.log(detections.moment_am2),
        (detections.moment_am2_err / detections.moment_am2) ** 2,
        np.concatenate([np.zeros((n, 1)), np.cumsum(missed, axis=1)], axis=1),
    )


def gather_scales(config: LinkConfig) -> Scales:
    """The settings' squares and rates."""
    return Scales(
        config.motion_mm**2,
        config.separation_mm**2,
        config.mass_change**2,
        config.mass_loss_per_day,
        config.tail_dof,
        config.gone_per_day,
        config.split_per_day,
        config.merge_per_day,
        config.use_mass,
        *(log_peak(n, config.tail_dof) for n in (1, 3, 6)),
    )


def log_peak(n: int, dof: float) -> float:
    """Log density at 0 of Student's distribution of ``n`` variables and scale 1.

    Kotz & Nadarajah, Multivariate t Distributions, 2004, eq. 1.1.
    """
    return math.lgamma(0.5 * (dof + n)) - math.lgamma(0.5 * dof) - 0.5 * n * math.log(dof * math.pi)


def weigh_alone(detections: Detections, config: LinkConfig) -> Alone:
    """What a cluster that is linked to nothing is worth.

    First seen now: the density of clusters not seen at any earlier visit, U_t = U_{t−1}·s·(1 − p_{t−1}) + b·Δ, times
    the chance p_t to see it (the undetected Poisson process of Williams, IEEE Trans. Aerosp. Electron. Syst. 51:1664,
    2015). Not seen again: E_t = (1 − s) + s·(1 − p_{t+1})·E_{t+1}. Each p is that of this cluster's place; s = exp(−λΔ)
    is the chance to stay for the Δ days between two visits, b the density of new clusters in a day.
    """
    chance, steps = detections.detection_probability, np.diff(detections.days)
    density = len(detections) / (detections.volume_mm3 * len(detections.days))
    stays = np.exp(-config.gone_per_day * steps)
    unseen = np.full(chance.shape, density)
    ends = np.ones(chance.shape)
    for t, step in enumerate(steps):
        unseen[:, t + 1] = unseen[:, t] * stays[t] * (1 - chance[:, t]) + config.new_per_day * density * step
    for t in reversed(range(len(steps))):
        ends[:, t] = (1 - stays[t]) + stays[t] * (1 - chance[:, t + 1]) * ends[:, t + 1]
    own = np.arange(len(detections)), detections.visit
    marks = _weigh_marks(detections, config)
    seen = np.log(chance[own])
    return Alone(
        np.log(unseen[own]) + seen + marks,
        seen,
        np.log(np.maximum(ends[own], _LEAST_CHANCE)),
        np.log(np.maximum(detections.false_per_mm3, _LEAST_CHANCE * density)) + marks,
    )


def _weigh_marks(detections: Detections, config: LinkConfig) -> _Floats:
    """Log density (n,) of the log moment of a new or a false cluster: normal, as wide as all there are."""
    if not config.use_mass or not len(detections):
        return np.zeros(len(detections))
    logs = np.log(detections.moment_am2)
    spread = max(float(logs.std()), _LEAST_LOG_SPREAD)
    return np.asarray(-0.5 * ((logs - logs.mean()) / spread) ** 2 - math.log(spread * math.sqrt(2 * math.pi)))
