"""The ideal observer against sums over simulated voxels, the stated examples, and what a limit must do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.errors import InputError
from ferrosight.limits import find_limit, trace_power
from ferrosight.limits.observer import build_observer, observe_point
from ferrosight.physics.cluster_signal import integrate_signal
from ferrosight.physics.dipole import phase_amplitude_rad_m3
from ferrosight.physics.patterns import pattern_matrix
from ferrosight.simulate import simulate_scan
from ferrosight.types import AxisSupport, Protocol, Search

FULL = (AxisSupport(),) * 3
TIMES_S = (0.004, 0.008, 0.012, 0.016)
AM2_PER_PG = 1e-13  # 100 A m² per kg of iron
SEARCH = Search()

#: Voxel edge (mm), SNR, iron (pg) and d' of a cluster averaged over its voxel's box, at the voxel's centre.
EXAMPLES = [(0.1, 30, 1, 6.6), (0.1, 30, 10, 46), (0.2, 30, 100, 53), (1.0, 50, 1000, 11)]


def make_protocol(voxel_mm: float = 0.1, snr: float = 30.0, **changes: object) -> Protocol:
    return dataclasses.replace(Protocol(7.0, TIMES_S, (voxel_mm,) * 3, snr, 30.0), **changes)


@pytest.mark.parametrize(("voxel_mm", "snr", "iron_pg", "d_prime"), EXAMPLES)
def test_the_examples_hold_for_truncated_k_space_to_six_percent(voxel_mm, snr, iron_pg, d_prime):
    seen = observe_point(build_observer(make_protocol(voxel_mm, snr)), iron_pg * AM2_PER_PG)
    assert seen.d_prime == pytest.approx(d_prime, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("voxel_mm", "snr", "iron_pg", "d_prime"), EXAMPLES)
def test_the_examples_are_those_of_a_box_averaged_by_brute_force(voxel_mm, snr, iron_pg, d_prime):
    matrix = pattern_matrix("dipole", np.array([0.0, 0.0, 1.0]))
    total = 0.0
    for time in TIMES_S:
        q = float(phase_amplitude_rad_m3(iron_pg * AM2_PER_PG, time)) / (voxel_mm**3 * 1e-9)
        amplitude = snr * math.exp(-30 * time)
        for i, j, k in np.ndindex(5, 5, 5):  # one octant stands for all
            far = i * i + j * j + k * k
            if far <= 16:
                cells = 40 if far == 0 else 16 if far < 7 else 8
                f = integrate_signal(q, (i, j, k), matrix, np.ones(3), "box", FULL, cells_per_voxel=cells)
                total += amplitude**2 * abs(f - 1) ** 2 * 2 ** ((i > 0) + (j > 0) + (k > 0))
    assert math.sqrt(total) == pytest.approx(d_prime, rel=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("moment_am2", [5e-14, 1e-12])
def test_d_prime_is_that_of_simulated_voxels_whitened_in_k_space_wherever_the_cluster_lies(case, moment_am2):
    # The noise of every acquired frequency, as the simulator draws it.
    quiet, _ = simulate_scan(case.spec(), seed=3)
    loud, _ = simulate_scan(case.spec(snr=case.protocol.snr), seed=3)
    noise = np.fft.fftn(case.protocol.snr * (loud.signal.astype(complex) - quiet.signal), axes=(1, 2, 3))
    power = np.mean(np.abs(noise) ** 2, axis=0) / 2
    acquired = power > 1e-4 * power.max()
    per_frequency = power[acquired].mean()
    seen = observe_point(build_observer(case.protocol), moment_am2)
    for offset in [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.21, -0.43, 0.1)]:
        change = np.fft.fftn(case.change(moment_am2, offset), axes=(1, 2, 3))
        d_prime = math.sqrt(np.sum(np.abs(change[:, acquired]) ** 2) / per_frequency)
        assert seen.d_prime == pytest.approx(d_prime, rel=0.025), offset


def test_the_limit_has_the_power_asked_for():
    protocol = make_protocol()
    limit = find_limit(protocol, SEARCH)
    curve = trace_power(protocol, SEARCH, [0.5 * limit.moment_am2, limit.moment_am2, 2 * limit.moment_am2])
    assert curve.power[1] == pytest.approx(0.9, abs=1e-4)
    assert curve.power[0] < 0.1
    assert curve.power[2] > 0.999
    assert curve.limit == limit
    assert observe_point(build_observer(protocol), limit.moment_am2).d_prime == pytest.approx(
        limit.d_prime_required, rel=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(
    voxel_mm=st.floats(0.03, 2), snr=st.floats(2, 300), r2star=st.floats(0, 200), power=st.floats(0.3, 0.99),
    worse=st.sampled_from(["snr", "r2star_per_s", "voxel", "power", "positions", "false_per_scan"]),
)  # fmt: skip
def test_whatever_makes_finding_harder_raises_the_limit(voxel_mm, snr, r2star, power, worse):
    protocol, search = make_protocol(voxel_mm, snr, r2star_per_s=r2star), Search(power, 1.0, 1e6)
    harder, stricter = protocol, search
    if worse == "voxel":
        harder = make_protocol(1.3 * voxel_mm, snr, r2star_per_s=r2star)
    elif worse == "snr":
        harder = dataclasses.replace(protocol, snr=snr / 1.3)
    elif worse == "r2star_per_s":
        harder = dataclasses.replace(protocol, r2star_per_s=r2star + 20)
    else:
        factor = {"power": (1 + power) / (2 * power), "positions": 10.0, "false_per_scan": 0.1}[worse]
        stricter = dataclasses.replace(search, **{worse: factor * getattr(search, worse)})
    assert find_limit(harder, stricter).moment_am2 > find_limit(protocol, search).moment_am2


def test_the_limit_goes_with_the_voxels_volume_at_one_snr():
    small, large = (find_limit(make_protocol(edge), SEARCH) for edge in (0.1, 0.4))
    assert large.moment_am2 == pytest.approx(64 * small.moment_am2, rel=1e-5)
    assert large.d_prime_required == pytest.approx(small.d_prime_required, rel=1e-6)


def test_zero_filling_changes_nothing():
    """Voxels half as long along one axis hold the same k-space; their noise is √½ of what it was."""
    protocol = make_protocol()
    halves = (AxisSupport(), AxisSupport(-0.25, 0.25), AxisSupport())
    filled = make_protocol(snr=30 * math.sqrt(2), voxel_mm=0.1)
    filled = dataclasses.replace(filled, voxel_mm=(0.1, 0.05, 0.1), supports=halves)
    twice = dataclasses.replace(SEARCH, positions=2 * SEARCH.positions)
    one, other = find_limit(protocol, SEARCH), find_limit(filled, twice)
    assert other.moment_am2 == pytest.approx(one.moment_am2, rel=3e-3)
    assert other.d_prime_required == pytest.approx(one.d_prime_required, rel=1e-3)


def test_signal_that_has_decayed_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"only .* times the noise"):
        find_limit(make_protocol(r2star_per_s=1e6), SEARCH)
    with pytest.raises(InputError, match="below a million"):
        find_limit(make_protocol(snr=1e12), SEARCH)
