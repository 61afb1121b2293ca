"""Thresholds and powers hold in simulated outputs of the matched filter, searched more finely than voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ferrosight.limits import find_limit
from ferrosight.limits.false_alarms import (
    count_effective_positions,
    detection_power,
    expected_false_alarms,
    find_threshold,
    required_d_prime,
)
from ferrosight.limits.observer import build_observer, observe_point
from ferrosight.types import Search

ROOT_DET = 4.8  # of 100 µm voxels near their limit


class MatchedFilter:
    """The output of the filter for one simulated cluster, for positions anywhere in a periodic volume."""

    def __init__(self, change, acquired):
        """``change`` (echo, x, y, z) over the noise, ``acquired`` (x, y, z) on numpy's frequencies."""
        self.acquired = acquired
        spectrum = np.fft.fftn(np.fft.ifftshift(change, axes=(1, 2, 3)), axes=(1, 2, 3)) * acquired
        n = acquired.size
        # One real channel of the stored image has variance 1: so much per acquired frequency.
        self.noise_sd = math.sqrt(n * n / acquired.sum())
        self.d_prime = math.sqrt(np.sum(np.abs(spectrum) ** 2)) / self.noise_sd
        self.template = np.conj(spectrum) / (self.d_prime * self.noise_sd**2)
        self.signal = np.sum(self.template * spectrum, axis=0)
        self.frequencies = np.stack(
            [f[acquired] for f in np.meshgrid(*map(np.fft.fftfreq, acquired.shape), indexing="ij")]
        )

    def draw_noise(self, rng):
        """The filter's output to noise, per frequency (x, y, z)."""
        shape = self.template.shape
        noise = self.noise_sd * (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * self.acquired
        return np.sum(self.template * noise, axis=0)

    def shift(self, offset):
        """The output to a cluster displaced by ``offset`` voxels from the first voxel's centre."""
        out = np.zeros_like(self.signal)
        out[self.acquired] = self.signal[self.acquired] * np.exp(-2j * np.pi * offset @ self.frequencies)
        return out

    def find_peaks(self, output, least, near=None):
        """Places (n, 3) of the local maxima above ``least``: on half voxels, then by Newton.

        With ``near`` only those within 1.5 voxels of that place.
        """
        shape = output.shape
        fine = np.zeros([2 * n for n in shape], complex)
        at = np.ix_(*(np.rint(np.fft.fftfreq(n) * n).astype(int) for n in shape))
        fine[at] = output
        field = np.fft.ifftn(fine).real * fine.size
        high = (field == ndimage.maximum_filter(field, 3, mode="wrap")) & (field > 0.75 * least)
        starts = np.argwhere(high) / 2
        if near is not None:
            starts = starts[np.linalg.norm(starts - near, axis=1) < 1.5]
        climbed = [self._climb(output, start) for start in starts]
        return np.array([place for place, height in climbed if height > least]).reshape(-1, 3)

    def _climb(self, output, place):
        values = output[self.acquired]
        k = 2 * np.pi * self.frequencies
        for _ in range(5):
            terms = values * np.exp(1j * place @ k)
            slope = -(k @ terms.imag)
            bend = -np.einsum("ik,jk,k->ij", k, k, terms.real)
            place = place - np.clip(np.linalg.solve(bend, slope), -0.3, 0.3)
        return place, float(np.sum(values * np.exp(1j * place @ k)).real)


def build_filter(case):
    """The filter for a cluster at the limit of a scan of this shape, and that limit."""
    search = Search(0.9, 1.0, math.prod(case.shape))
    limit = find_limit(case.protocol, search)
    acquired = np.ones(case.shape, bool)
    for axis, support in enumerate(case.protocol.supports):
        k = np.fft.fftfreq(case.shape[axis])
        inside = (k >= support.low - 1e-9) & (k < support.high - 1e-9)
        acquired &= np.expand_dims(inside, tuple(a for a in range(3) if a != axis))
    return MatchedFilter(case.change(limit.moment_am2), acquired), limit


@pytest.mark.slow
def test_false_alarms_per_scan_are_as_many_as_asked_for(case):
    filtered, limit = build_filter(case)
    assert filtered.d_prime == pytest.approx(limit.d_prime_required, rel=0.03)
    rng = np.random.default_rng(11)
    n_scans = 150
    found = sum(len(filtered.find_peaks(filtered.draw_noise(rng), limit.threshold)) for _ in range(n_scans))
    # One per scan was asked for: Poisson over all scans.
    assert abs(found - n_scans) < 3 * math.sqrt(n_scans)


@pytest.mark.slow
def test_the_limit_is_found_with_its_power_wherever_in_a_voxel_it_lies(case):
    filtered, limit = build_filter(case)
    rng = np.random.default_rng(12)
    n_trials, found = 300, 0
    for _ in range(n_trials):
        place = np.array(case.shape) // 2 + rng.uniform(-0.5, 0.5, 3)
        output = filtered.draw_noise(rng) + filtered.shift(place) * limit.d_prime_required / filtered.d_prime
        found += len(filtered.find_peaks(output, limit.threshold, near=place)) > 0
    assert abs(found / n_trials - 0.9) < 3 * math.sqrt(0.9 * 0.1 / n_trials)


@given(false=st.floats(1e-9, 100), positions=st.floats(1e4, 1e12))
def test_the_threshold_makes_the_false_alarms_asked_for(false, positions):
    threshold = find_threshold(false, positions, ROOT_DET)
    assert expected_false_alarms(threshold, positions, ROOT_DET) == pytest.approx(false, rel=1e-6)
    looks = count_effective_positions(threshold, positions, ROOT_DET)
    assert looks > positions  # places within a voxel are searched too
    assert looks * 0.5 * math.erfc(threshold / math.sqrt(2)) == pytest.approx(false, rel=1e-4)


def test_the_threshold_is_never_below_three():
    assert find_threshold(1e3, 100, ROOT_DET) == 3.0
    assert expected_false_alarms(3.0, 100, ROOT_DET) < 1e3


@given(threshold=st.floats(3, 12), power=st.floats(0.07, 0.999))
def test_the_required_signal_has_the_power_asked_for(threshold, power):
    d_prime = required_d_prime(power, threshold)
    assert detection_power(d_prime, threshold) == pytest.approx(power, abs=1e-8)


def test_the_peak_near_a_cluster_is_its_height_and_three_squares():
    rng = np.random.default_rng(4)
    n = 400_000
    height = np.hypot(6.5 + rng.normal(size=n), np.sqrt(rng.chisquare(3, n)))
    for threshold in (4.5, 5.6, 7.0):
        share = np.mean(height > threshold)
        assert detection_power(6.5, threshold) == pytest.approx(share, abs=3 * math.sqrt(0.25 / n))
    assert detection_power(100.0, 5.0) == 1.0


def test_the_output_is_as_rough_as_the_filter_says(case):
    """√det Λ from the template's own spectrum, as simulated."""
    filtered, limit = build_filter(case)
    weight = np.sum(np.abs(filtered.template[:, filtered.acquired]) ** 2, axis=0)
    k = 2 * np.pi * filtered.frequencies
    gradient = np.einsum("ik,jk,k->ij", k, k, weight) / weight.sum()
    seen = observe_point(build_observer(case.protocol), limit.moment_am2)
    assert seen.root_det == pytest.approx(math.sqrt(np.linalg.det(gradient)), rel=0.06)
