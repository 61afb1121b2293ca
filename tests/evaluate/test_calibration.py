"""Bias and coverage are those of the pairs, and their own intervals hold over many drawn tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferrosight.evaluate import evaluate_catalogues
from ferrosight.types import KnownVisit

NAN = float("nan")
AM2_PER_PG = 1e-13


def draw_visit(rng, make_clusters, make_truth, n=40, *, sd=0.1, said_sd=0.1, bias=0.0, unit=AM2_PER_PG):
    """A scan of clusters of 1 to 30 pg, all found; relative error ``sd``, of which ``said_sd`` is stated."""
    middles = [(float(i), 0.0, 0.0) for i in range(n)]
    iron = np.exp(rng.uniform(0, np.log(30), n))
    measured = iron * (1 + bias + sd * rng.normal(size=n))
    err = said_sd * iron
    z = stats.norm.ppf(0.975)
    clusters = make_clusters(
        middles,
        moment_am2=measured * unit,
        moment_am2_err=err * unit,
        iron_pg=measured,
        iron_pg_low=measured - z * err,
        iron_pg_high=measured + z * err,
    )
    return KnownVisit("a", clusters, make_truth(middles, iron_pg=iron, moment_am2=iron * unit))


@pytest.mark.parametrize("said_sd", [0.1, 0.05])
def test_coverage_lies_in_its_interval_19_times_in_20(make_clusters, make_truth, said_sd):
    """Errors stated as half of what they are cover 67 %: the interval of the coverage holds that, too."""
    rng = np.random.default_rng(5)
    true_coverage = 1 - 2 * stats.norm.sf(stats.norm.ppf(0.975) * said_sd / 0.1)
    n_tables, held, pooled = 400, 0, []
    for _ in range(n_tables):
        visit = draw_visit(rng, make_clusters, make_truth, said_sd=said_sd)
        coverage = evaluate_catalogues([visit], 0.1).calibration.coverage
        assert [one.interval for one in coverage] == [
            "moment_am2 ± 1.96 moment_am2_err",
            "iron_pg_low to iron_pg_high",
        ]
        assert coverage[0].covered == coverage[1].covered
        held += coverage[0].covered.low <= true_coverage <= coverage[0].covered.high
        pooled.append(coverage[0].covered.value)
    assert held / n_tables >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / n_tables)
    assert np.mean(pooled) == pytest.approx(
        true_coverage, abs=3.5 * np.sqrt(true_coverage * (1 - true_coverage) / (40 * n_tables))
    )


def test_bias_lies_in_its_intervals_19_times_in_20(make_clusters, make_truth):
    rng = np.random.default_rng(6)
    n_tables, held_mean, held_median = 400, 0, 0
    for _ in range(n_tables):
        visit = draw_visit(rng, make_clusters, make_truth, bias=0.07)
        bias = {one.column: one for one in evaluate_catalogues([visit], 0.1).calibration.bias}
        assert set(bias) == {"moment_am2", "iron_pg"}
        held_mean += bias["iron_pg"].mean.low <= 0.07 <= bias["iron_pg"].mean.high
        held_median += bias["iron_pg"].median.low <= 0.07 <= bias["iron_pg"].median.high
    assert held_mean / n_tables == pytest.approx(0.95, abs=3.5 * np.sqrt(0.05 * 0.95 / n_tables))
    assert held_median / n_tables >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / n_tables)


def test_other_units_of_moment_change_nothing(make_clusters, make_truth):
    one, other = (
        evaluate_catalogues([draw_visit(np.random.default_rng(1), make_clusters, make_truth, unit=unit)], 0.1)
        for unit in (AM2_PER_PG, 4 * AM2_PER_PG)
    )
    assert one.calibration.coverage == other.calibration.coverage
    assert [bias.mean.value for bias in one.calibration.bias] == pytest.approx(
        [bias.mean.value for bias in other.calibration.bias]
    )


def test_sides_and_missing_intervals_are_counted(make_clusters, make_truth):
    middles = [(float(i), 0.0, 0.0) for i in range(6)]
    clusters = make_clusters(
        middles,
        iron_pg=[1.0, 2.0, 3.0, 4.0, NAN, 6.0],
        iron_pg_low=[0.5, 2.5, 2.0, NAN, 1.0, 0.0],
        iron_pg_high=[0.9, 2.6, 4.0, 5.0, 9.0, float("inf")],
    )
    truth = make_truth(middles, iron_pg=[1.0, 2.0, 3.0, 4.0, 5.0, NAN])
    found = evaluate_catalogues([KnownVisit("a", clusters, truth)], 0.1).calibration
    (coverage,) = found.coverage
    assert (coverage.covered.count, coverage.covered.total) == (2, 4)
    assert (coverage.n_below, coverage.n_above, coverage.n_without) == (1, 1, 1)
    (bias,) = found.bias
    assert (bias.column, bias.mean.n, bias.mean.value) == ("iron_pg", 4, 0.0)
    assert sum(one.median.n for one in bias.by_mass) == 4


def test_what_is_false_or_rejected_has_no_part(make_clusters, make_truth):
    clusters = make_clusters(
        [(0, 0, 0), (9, 0, 0), (1, 0, 0)], iron_pg=[2.0, 50.0, 70.0], status=["accepted", "accepted", "rejected"]
    )
    truth = make_truth([(0, 0, 0), (1, 0, 0)], iron_pg=[1.0, 1.0])
    (bias,) = evaluate_catalogues([KnownVisit("a", clusters, truth)], 0.1).calibration.bias
    assert (bias.mean.n, bias.mean.value) == (1, 1.0)
