"""The null: that expected_false is what it says, for tails as light as noise and far heavier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ferrosight.clusters.calibrate import class_spreads, fit_tail, q_values

FLOOR = 4.0
N_CLASSES = 8


def draw_scores(rng: np.random.Generator, n: int, shape: float, scale: float) -> np.ndarray:
    """Scores above FLOOR whose s²/2 has a generalised Pareto tail; shape 0 and scale 1 are pure noise."""
    excess = stats.genpareto.rvs(shape, scale=scale, size=n, random_state=rng)
    return np.sqrt(FLOOR**2 + 2 * excess)


@pytest.mark.parametrize(("shape", "scale"), [(0.0, 1.0), (0.0, 3.0), (0.3, 8.0)])
@pytest.mark.parametrize("per_class", [0.5, 3.0, 12.0])
def test_a_scan_without_clusters_is_called_at_the_stated_rate(shape: float, scale: float, per_class: float) -> None:
    """Decoys and false targets of one law: any target with expected_false below α in at most α of the scans."""
    rng = np.random.default_rng(0)
    n_scans, alpha = 600, 0.05
    alarms = 0
    for _ in range(n_scans):
        decoys = draw_scores(rng, rng.poisson(N_CLASSES * per_class), shape, scale)
        targets = draw_scores(rng, rng.poisson(per_class), shape, scale)
        tail = fit_tail(decoys, N_CLASSES, FLOOR)
        alarms += bool(len(targets) and (tail.expected_false(targets) <= alpha).any())
    # Twice the stated rate is allowed where the prior (near noise) meets a heavy tail and a handful of decoys.
    handful = per_class < 1 and scale > 1
    bound = stats.binom.ppf(0.9999, n_scans, 2 * alpha if handful else alpha)
    assert alarms <= bound, f"{alarms} of {n_scans} scans called at {alpha}"


def test_expected_false_is_right_among_the_decoys_and_never_low_beyond_them() -> None:
    """Beyond the decoys the tail's uncertainty is carried, which can only raise an expectation."""
    rng = np.random.default_rng(0)
    at = np.array([4.5, 5.0, 6.0, 7.0])
    truth = 160 / N_CLASSES * np.exp(-(at**2 - FLOOR**2) / 2)
    tails = [fit_tail(draw_scores(rng, 160, 0.0, 1.0), N_CLASSES, FLOOR) for _ in range(200)]
    ratio = np.mean([tail.expected_false(at) for tail in tails], axis=0) / truth
    # Scores above the strongest 40 of 160 are counted, not extrapolated: 4.5 is the last of those.
    assert 0.8 < ratio[0] < 1.25, ratio
    assert (ratio[1:] > 0.9).all(), ratio


def test_no_decoys_leave_the_prior_and_a_small_rate() -> None:
    tail = fit_tail(np.zeros(0), N_CLASSES, FLOOR)
    assert tail.n_tail == 0
    assert tail.rate == pytest.approx(0.5 / N_CLASSES)
    # A lone cluster of ten standard deviations is accepted at q = 0.05, one at the floor is not.
    strong, weak = tail.expected_false(np.array([10.0, FLOOR]))
    assert strong < 0.05 < weak


def test_expected_false_falls_with_the_score() -> None:
    tail = fit_tail(draw_scores(np.random.default_rng(0), 60, 0.2, 2.0), N_CLASSES, FLOOR)
    expected = tail.expected_false(np.linspace(FLOOR, 40, 200))
    assert (np.diff(expected) <= 0).all()
    assert (expected > 0).all()


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(1e-12, 50.0)))
def test_q_is_benjamini_hochberg(expected: np.ndarray) -> None:
    """Against scipy's own, with p = expected_false / n."""
    n = len(expected)
    p = np.minimum(expected / n, 1.0)
    reference = stats.false_discovery_control(p)
    q = q_values(expected)
    small = expected < n
    np.testing.assert_allclose(q[small], reference[small], rtol=1e-12, atol=1e-300)
    assert ((q > 0) & (q <= 1)).all()


def test_class_spreads_of_an_image_without_any_statistic_are_alike() -> None:
    inside = np.ones((5, 5, 5), np.bool_)
    np.testing.assert_array_equal(class_spreads(np.zeros((5, 5, 5, 5), np.float32), inside), 1.0)


def test_class_spreads_follow_each_pattern_and_ignore_outliers() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((5, 30, 31, 32)).astype(np.float32)
    maps[0] *= np.float32(1.7)
    maps[0, :3] = 100.0
    inside = np.ones((30, 31, 32), dtype=np.bool_)
    spreads = class_spreads(maps, inside)
    assert spreads[1:] == pytest.approx(1.0, abs=0.05)
    assert 1.6 < spreads[0] < 2.2
