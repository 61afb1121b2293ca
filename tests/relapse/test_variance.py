"""The bound of the variance fails as seldom as it says, for normal and for heavy-tailed errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferrosight.relapse.variance import bound_sd_factor, find_low_mean


@pytest.mark.parametrize(("n_pairs", "risk"), [(8, 0.05), (26, 0.01), (60, 0.01)])
@pytest.mark.parametrize("tails", ["normal", "t4"])
def test_the_bound_lies_below_the_truth_no_more_often_than_its_risk(n_pairs, risk, tails):
    rng = np.random.default_rng(n_pairs)
    n = 60_000
    if tails == "normal":
        differences = rng.standard_normal((n, n_pairs))
    else:
        differences = (rng.standard_t(4, (n, n_pairs)) - rng.standard_t(4, (n, n_pairs))) / 2
    missed = np.mean(np.mean(differences**2, axis=1) < find_low_mean(n_pairs, risk))
    assert missed < risk + 3 * np.sqrt(risk / n)
    if tails == "t4":
        assert missed > 0.8 * risk  # the least favourable case is met, not overpaid


def test_a_chi_squared_bound_would_fail_for_heavy_tails():
    rng = np.random.default_rng(1)
    n, n_pairs, risk = 40_000, 26, 0.01
    differences = (rng.standard_t(4, (n, n_pairs)) - rng.standard_t(4, (n, n_pairs))) / 2
    low = stats.chi2.ppf(risk, n_pairs) / n_pairs
    assert np.mean(np.mean(differences**2, axis=1) < low) > 3 * risk


def test_the_bound_scales_with_what_was_seen_and_tightens_with_pairs():
    assert bound_sd_factor(4.0, 26, 0.01) == pytest.approx(2 * bound_sd_factor(1.0, 26, 0.01))
    bounds = [bound_sd_factor(1.0, n, 0.01) for n in (5, 26, 100, 1000)]
    assert bounds == sorted(bounds, reverse=True)
    assert 1.0 < bounds[-1] < 1.15
