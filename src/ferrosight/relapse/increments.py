"""One visit's bet on growth: a clipped exponential tilt that is an e-variable under every noise it allows for.

With z = (y − m)/σ the measurement's distance from what the null says, σ an upper bound of its standard deviation,
and a ≥ 0 the tilt (towards larger z; mirrored for the other side),

    e(z) = exp(a · clip(z, −LOW, h(a))) / C(a),    h(a) = HIGH_AT_0 + HIGH_SLOPE · a
    C(a) = (1 − share) · max_F E_F exp(a · clip(z, −LOW, h(a))) + share · exp(a · h(a))

where F runs over Student's t with 4 or more degrees of freedom, the normal included, with standard deviations of σ and
less, and ``share`` of all measurements may be anything at all (a wrong link, a failed registration). E[e] ≤ 1 by
construction: the numerator's expectation is linear in F, and nowhere above exp(a · h(a)). A single measurement
multiplies the evidence by no more than exp(a · h(a)) / C(a).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Largest tilt, and where the clipping lies; chosen on simulated growth, see ``docs/relapse.md``.
MAX_TILT = 6.0
LOW = 1.5
HIGH_AT_0, HIGH_SLOPE = 1.2, 0.55
#: Heaviest tails allowed for, degrees of freedom of Student's t.
LEAST_DEGREES = 4.0
N_TILTS = 121
_DEGREES = (LEAST_DEGREES, 5.0, 6.0, 8.0, 12.0, 25.0, np.inf)
_SCALES = np.linspace(0.1, 1.0, 10)


@lru_cache(maxsize=16)
def tabulate_log_normaliser(outlier_share: float) -> NDArray[np.float64]:
    """log C at ``N_TILTS`` equal steps of the tilt from 0 to ``MAX_TILT``, (N_TILTS,).

    log C is convex between the nodes of the clipping's own slow change, so that its chord lies above it: linear
    interpolation keeps E[e] ≤ 1 (a test holds it to that between the nodes).
    """
    tilts = np.linspace(0.0, MAX_TILT, N_TILTS)
    worst = np.max([_expect_tilt(tilts, degrees, scale) for degrees in _DEGREES for scale in _SCALES], axis=0)
    largest = np.exp(tilts * (HIGH_AT_0 + HIGH_SLOPE * tilts))
    table = np.log((1 - outlier_share) * np.maximum(worst, 1.0) + outlier_share * largest)
    table.setflags(write=False)
    return np.asarray(table, dtype=np.float64)


def _expect_tilt(tilts: NDArray[np.float64], degrees: float, scale: float) -> NDArray[np.float64]:
    """E exp(a · clip(z)) for z of Student's t with that standard deviation, per tilt."""
    unit = scale * (1.0 if np.isinf(degrees) else np.sqrt((degrees - 2) / degrees))
    noise = stats.norm(scale=unit) if np.isinf(degrees) else stats.t(degrees, scale=unit)
    high = HIGH_AT_0 + HIGH_SLOPE * tilts
    nodes, weights = np.polynomial.legendre.leggauss(200)
    middle, half = (high - LOW) / 2, (high + LOW) / 2
    z = middle[:, None] + half[:, None] * nodes
    inside = (np.exp(tilts[:, None] * z) * noise.pdf(z)) @ weights * half
    tails = np.exp(-LOW * tilts) * noise.cdf(-LOW) + np.exp(tilts * high) * noise.sf(high)
    return np.asarray(inside + tails, dtype=np.float64)
