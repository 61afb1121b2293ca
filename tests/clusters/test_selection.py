"""Accepted clusters' intervals, and the score that acceptance asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.clusters import selection
from ferrosight.clusters.selection import acceptance_score, select_interval

SIGMA, VOXEL_MM = 0.03, (0.1, 0.09, 0.11)
SHAPE = (47, 47, 25)
LATTICE = np.array([[7 + 11 * a, 7 + 11 * b, 7 + 11 * c] for a in range(4) for b in range(4) for c in range(2)])


def test_the_score_asked_for_is_where_the_last_of_as_many_would_be_accepted(monkeypatch: Any) -> None:
    monkeypatch.setattr(selection, "expected_false", lambda _, scores: 100 * np.exp(-(scores**2) / 2))
    polarity: Any = SimpleNamespace(floor=1.0)

    def score_of(expected: float) -> float:
        return float(np.sqrt(2 * np.log(100 / expected)))

    assert acceptance_score(polarity, 1, 0.05, 10.0) == pytest.approx(score_of(0.05), abs=0.06)
    assert acceptance_score(polarity, 20, 0.05, 10.0) == pytest.approx(score_of(1.0), abs=0.06)
    assert acceptance_score(polarity, 20, 0.05, 0.3) == pytest.approx(score_of(0.3), abs=0.06)
    assert np.isnan(acceptance_score(polarity, 0, 0.05, 10.0))


def test_in_a_quiet_scan_a_cluster_still_had_to_reach_the_score_from_which_candidates_are_looked_at(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(selection, "expected_false", lambda _, scores: 0.1 * np.exp(-(scores**2) / 2))
    polarity: Any = SimpleNamespace(floor=4.5)
    assert acceptance_score(polarity, 10, 0.05, 10.0) == pytest.approx(4.5, abs=0.02)


@pytest.mark.slow
def test_intervals_hold_the_truth_of_the_fits_that_were_selected(workshop: Any) -> None:
    """Scores and moments are those of real fits to simulated scans, d' 3 to 15, kept where the score reaches 5."""
    rng = np.random.default_rng(1)
    inside, plain, kept, low_misses = 0, 0, 0, 0
    for strength in (0.025, 0.035, 0.045, 0.06, 0.08, 0.13):
        places = LATTICE + rng.uniform(-0.5, 0.5, LATTICE.shape)
        scan = workshop.simulate_points(
            SHAPE, places, np.full(len(places), strength), VOXEL_MM, (20, 10, -15), sub_sampling=4
        )
        for _ in range(10):
            data = workshop.window_data(workshop.add_noise(scan, SIGMA, rng), SIGMA)
            found = workshop.fit_near(data, scan, scan.grid.to_mm(places))
            found = found.pick(found.score >= 5.0)
            err = np.sqrt(found.covariance[:, 0, 0] * np.maximum(found.misfit, 1))
            low, high = select_interval(found.q, err, found.score, np.full(len(found), 5.0))
            inside += np.count_nonzero((low <= strength) & (strength <= high))
            low_misses += np.count_nonzero(low > strength)
            plain += np.count_nonzero(np.abs(found.q - strength) < 1.959964 * err)
            kept += len(found)
    at_least, at_most = binom.ppf([0.001, 0.999], kept, [0.93, 0.97])
    assert kept > 800
    # Near the threshold the fits' own errors grow with their strength, which errs on the safe side.
    assert at_least <= inside <= at_most + 0.01 * kept, (inside / kept, plain / kept, kept)
    assert plain < inside
    assert low_misses < 0.035 * kept
