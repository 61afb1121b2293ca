"""How high the matched filter's output rises by chance, and how high it must rise to be believed.

The output of a matched filter in stationary noise is a smooth Gaussian field of unit variance over position.
Above a high threshold t its excursions are rare, short and independent, and their number per volume is that
field's expected Euler characteristic (Adler 1981; only the term of the volume, so that a searched region is
taken as large against the filter):

    false alarms = positions · √det Λ · (2π)⁻² · (t² - 1) · exp(-t²/2),

with Λ the covariance of the field's gradient, per voxel. It counts a place once, however finely positions
within a voxel are searched, and thereby pays for that search. Neighbouring places share noise and signal; a
search over strengths as well is not paid for, because the filter hardly changes with strength.
"""

from __future__ import annotations

import math

import numpy as np

from ferrosight.numerics.roots import find_root

#: Below this threshold excursions are no longer rare, and the formula no longer holds.
_LEAST_THRESHOLD = 3.0
_MOST_THRESHOLD = 30.0


def expected_false_alarms(threshold: float, positions: float, root_det: float) -> float:
    """False alarms per scan above ``threshold``; ``root_det`` is √det Λ per voxel."""
    t2 = threshold * threshold
    return positions * root_det / (4 * math.pi**2) * (t2 - 1) * math.exp(-t2 / 2)


def find_threshold(false_per_scan: float, positions: float, root_det: float) -> float:
    """The threshold, in standard deviations of the output, at which that many false alarms are expected.

    Never below 3: where the formula would allow less, fewer false alarms are made than were asked for.
    """

    def shortfall(threshold: float) -> float:
        return 1 - expected_false_alarms(threshold, positions, root_det) / false_per_scan

    if shortfall(_LEAST_THRESHOLD) >= 0:
        return _LEAST_THRESHOLD
    return find_root(shortfall, _LEAST_THRESHOLD, _MOST_THRESHOLD)


def count_effective_positions(threshold: float, positions: float, root_det: float) -> float:
    """Independent looks at which a Gaussian exceeds the threshold as often: false alarms over its tail."""
    return expected_false_alarms(threshold, positions, root_det) / (0.5 * math.erfc(threshold / math.sqrt(2)))


def detection_power(d_prime: float, threshold: float) -> float:
    """Chance that a cluster of this d' exceeds the threshold somewhere near its place.

    The highest output near it is √((d' + n)² + χ²₃): n is the noise at the true place and χ²₃ what the best of
    the positions around it adds (to second order in the displacement), so that its square is χ² with four
    degrees of freedom and non-centrality d'². It exceeds t² as often as a Poisson number of mean t²/2 is at most
    one more than one of mean d'²/2.
    """
    if d_prime > threshold + 12:
        return 1.0
    mean, bound = d_prime * d_prime / 2, threshold * threshold / 2
    count = np.arange(int(max(mean, bound) + 12 * math.sqrt(max(mean, bound)) + 40))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(count[1:]))])
    below = np.cumsum(np.exp(count * math.log(bound) - bound - log_factorial))
    chance = np.exp(count * math.log(mean) - mean - log_factorial) if mean > 0 else (count == 0).astype(np.float64)
    return min(float(chance[:-1] @ below[1:]), 1.0)


def required_d_prime(power: float, threshold: float) -> float:
    """The d' that exceeds the threshold with this power (more than chance alone gives)."""
    if power <= detection_power(0.0, threshold):
        return 0.0
    return find_root(lambda d_prime: detection_power(d_prime, threshold) - power, 0.0, threshold + 12)
