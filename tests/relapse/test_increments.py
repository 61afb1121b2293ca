"""One visit's bet is an e-variable under every error that it claims to allow for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferrosight.relapse.increments import HIGH_AT_0, HIGH_SLOPE, LOW, MAX_TILT, N_TILTS, tabulate_log_normaliser

SHARE = 0.002
#: Between the table's nodes as well as at them.
TILTS = np.linspace(0.0, MAX_TILT, 3 * (N_TILTS - 1) + 1)


def log_normaliser(tilt, share=SHARE):
    return np.interp(tilt, np.linspace(0.0, MAX_TILT, N_TILTS), tabulate_log_normaliser(share))


def expect(noise, tilt):
    """E of the clipped tilt by quadrature finer than, and cut differently from, the table's own."""
    high = HIGH_AT_0 + HIGH_SLOPE * tilt
    z = np.linspace(-60.0, 60.0, 240_001)
    return (
        np.sum(np.exp(tilt * np.clip(z, -LOW, high)) * noise.pdf(z)) * (z[1] - z[0])
        + np.exp(tilt * high) * (noise.sf(60.0))
        + np.exp(-tilt * LOW) * noise.cdf(-60.0)
    )


@pytest.mark.parametrize("degrees", [4.0, 4.5, 7.0, 40.0, np.inf])
@pytest.mark.parametrize("sd", [1.0, 0.83, 0.4])
def test_the_expectation_of_a_bet_is_at_most_one(degrees, sd):
    noise = stats.norm(scale=sd) if np.isinf(degrees) else stats.t(degrees, scale=sd * np.sqrt((degrees - 2) / degrees))
    values = [expect(noise, tilt) / np.exp(log_normaliser(tilt)) for tilt in TILTS[::7]]
    assert max(values) < 1 + 1e-4
    if sd == 1.0:
        assert max(values[1:]) > 0.5  # and does not waste it


@pytest.mark.parametrize("place", [-50.0, 2.0, 4.5, 50.0])
def test_a_share_of_measurements_may_be_anything(place):
    """Errors of the allowed kind, but for a share that all lie at one bad place."""
    for tilt in TILTS[::7]:
        clipped = np.clip(place, -LOW, HIGH_AT_0 + HIGH_SLOPE * tilt)
        mixed = (1 - SHARE) * expect(stats.norm(), tilt) + SHARE * np.exp(tilt * clipped)
        assert mixed <= np.exp(log_normaliser(tilt)) * (1 + 1e-6)


def test_errors_wider_than_the_bound_break_it():
    values = [expect(stats.norm(scale=1.4), tilt) / np.exp(log_normaliser(tilt)) for tilt in TILTS[::7]]
    assert max(values) > 1.1


def test_one_measurement_cannot_call_a_relapse():
    largest = MAX_TILT * (HIGH_AT_0 + HIGH_SLOPE * MAX_TILT) - log_normaliser(MAX_TILT)
    assert largest < np.log(1 / SHARE)
