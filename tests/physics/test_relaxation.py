"""Static dephasing: the analytic factor, and the factor of three that papers trip over."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.physics.constants import GAMMA_RAD_PER_S_T, MU0
from ferrosight.physics.dipole import harmonic_pattern, phase_amplitude_rad_m3
from ferrosight.physics.relaxation import STATIC_DEPHASING_FACTOR, static_dephasing_r2prime_per_s


def test_static_dephasing_factor() -> None:
    assert pytest.approx(0.40307, abs=1e-4) == STATIC_DEPHASING_FACTOR


def test_rate_is_the_factor_times_gamma_mu0_m() -> None:
    rate = static_dephasing_r2prime_per_s([2.0, -2.0])
    np.testing.assert_allclose(rate, 0.40307 * GAMMA_RAD_PER_S_T * MU0 * 2, rtol=1e-4)


def test_the_other_way_to_write_it_holds_the_sphere_factor() -> None:
    equatorial_shift = GAMMA_RAD_PER_S_T * MU0 * 0.01 / 3
    expected = 2 * np.pi / (3 * np.sqrt(3)) * equatorial_shift
    assert float(static_dephasing_r2prime_per_s(0.01)) == pytest.approx(expected)


@pytest.mark.slow
def test_random_dipoles_dephase_at_the_static_rate() -> None:
    rng = np.random.default_rng(20261123)
    n_dipoles, n_draws, moment, radius = 1000, 40_000, 1e-13, 1e-3
    magnetisation = n_dipoles * moment / (4 / 3 * np.pi * radius**3)
    expected = float(static_dephasing_r2prime_per_s(magnetisation))
    time_s = 1 / expected
    p = float(phase_amplitude_rad_m3(moment, time_s))
    cosines = 0.0
    for _ in range(n_draws // 500):
        offsets = rng.normal(size=(500, n_dipoles, 3))
        offsets *= (radius * np.cbrt(rng.random((500, n_dipoles))) / np.linalg.norm(offsets, axis=-1))[..., None]
        cosines += np.cos(p * harmonic_pattern("dipole", offsets, (0, 0, 1)).sum(axis=1)).sum()
    rate = -np.log(cosines / n_draws) / time_s
    assert rate == pytest.approx(expected, rel=0.05)
