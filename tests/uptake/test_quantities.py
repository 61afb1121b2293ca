"""Cell types are compared by ratios whose intervals hold; a next batch is less sure than the mean of batches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.quantities import compare_cell_types, log_estimate

SHORT = ((10, 24, 0), (40, 24, 0), (160, 24, 0))


@pytest.fixture
def fit_pair(cells, draw):
    """Fits of a larger, slower cell type and a smaller, faster one that take up the same per surface."""

    def fit(seed, particles=("A",), design=SHORT):
        rng, fits = np.random.default_rng(seed), []
        large = cells("large", full_uptake=2.0 * (20 / 12) ** 2, diameter_um=20.0, doubling_h=60.0)
        small = cells("small", full_uptake=2.0, diameter_um=12.0, doubling_h=20.0)
        for particle in particles:
            for one in (small, large):
                table = draw(one, rng, design=design, particle=particle, n_batches=4)
                fits.append(fit_kinetics(sort_experiments(table)[0]))
        return small, large, fits

    return fit


@pytest.mark.slow
def test_ratios_put_the_larger_first_and_cover_the_truth(fit_pair):
    hits, draws = {}, 40
    for seed in range(draws):
        small, large, fits = fit_pair(seed)
        truth = {
            "load": large.load(160, 24) / small.load(160, 24),
            "uptake": (20 / 12) ** 2,
            "uptake_per_surface": 1.0,
            "diameter": 20 / 12,
            "surface": (20 / 12) ** 2,
            "doubling_time": 3.0,
        }
        for one in compare_cell_types(fits):
            assert one.ratio >= 1
            expected = truth[one.name] if one.larger == "large" else 1 / truth[one.name]
            hits[one.name] = hits.get(one.name, 0) + (one.low <= expected <= one.high)
    assert set(hits) == set(truth)
    least = binom.ppf(1e-4, draws, 0.95)
    assert all(count >= least for count in hits.values()), hits


def test_only_the_same_particle_and_what_both_have_is_compared(fit_pair):
    _, _, fits = fit_pair(1, particles=("A", "B"))
    assert {one.particle for one in compare_cell_types(fits)} == {"A", "B"}
    assert compare_cell_types([fits[0], fits[3]]) == ()
    _, _, (small, _) = fit_pair(1)
    _, _, (_, large) = fit_pair(1, design=((20, 24, 0),) * 3)
    assert {one.name for one in compare_cell_types([small, large])} == {"diameter", "surface", "doubling_time"}


def test_a_next_batch_is_less_sure_than_the_mean_by_the_spread_between_batches(fit_pair):
    _, _, (fit, _) = fit_pair(3)

    def load(value):
        return value["log_uptake"]

    mean, following = (log_estimate(fit, load, next_batch=following) for following in (False, True))
    between = fit.batch_log_sd**2
    within = fit.variances[fit.variance_names.index("assay")] / len(SHORT)
    assert mean.value == following.value
    assert following.half_width > mean.half_width
    # The scatter of assays in the spread between batches is not taken off it again: a little wide, never too sure.
    assert between <= following.parts.sum() - mean.parts.sum() <= between + within + 1e-12
