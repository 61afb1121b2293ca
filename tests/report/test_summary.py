"""Totals hold the truth as often as they say, and warnings come where they must."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from ferrosight.report import summary
from ferrosight.types import CLUSTERS, GRAFT_ESTIMATOR, PhaseSign, Table


def clusters(moments: Any, errors: Any, **columns: Any) -> Table:
    """A clusters table of these moments."""
    return Table(CLUSTERS, {"moment_am2": moments, "moment_am2_err": errors, **columns})


def test_the_interval_of_the_total_moment_covers_the_truth_in_95_percent() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(1, 20, 40)
    errors = rng.uniform(0.3, 2.0, 40)
    covered = 0
    for _ in range(2000):
        total = summary.total_moment(clusters(truth + rng.normal(0, errors), errors))
        covered += total.low <= truth.sum() <= total.high
    # 95 % of 2000 with a binomial standard deviation of 0.5 %.
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_total_iron_covers_the_truth_where_the_magnetisation_is_shared() -> None:
    rng = np.random.default_rng(4)
    truth = rng.uniform(1, 20, 40)
    errors = rng.uniform(0.3, 2.0, 40)
    shared_sd = 0.12
    covered = 0
    for _ in range(2000):
        moments = truth * (1 + shared_sd * rng.normal()) + rng.normal(0, errors)
        half = 1.96 * np.hypot(errors, shared_sd * np.abs(moments))
        table = clusters(moments, errors, iron_pg=moments, iron_pg_low=moments - half, iron_pg_high=moments + half)
        total = summary.total_quantity(table, "iron_pg")
        covered += total.low <= truth.sum() <= total.high
    # 95 % of 2000 with a binomial standard deviation of 0.5 %; the relative error makes it a little skew.
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_a_shared_error_does_not_average_out() -> None:
    n = 400
    ones = np.ones(n)
    table = clusters(ones, 0.1 * ones, iron_pg=ones, iron_pg_low=0.7 * ones, iron_pg_high=1.3 * ones)
    total = summary.total_quantity(table, "iron_pg")
    independent = 1.959963984540054 * 0.1
    shared = math.sqrt(0.3**2 - independent**2) * n
    assert total.high - total.value == pytest.approx(math.hypot(shared, independent * math.sqrt(n)))


def test_clusters_without_a_number_are_left_out_and_counted() -> None:
    table = clusters([1.0, math.nan, 3.0], [0.1, 0.1, math.nan], iron_pg=[1.0, math.nan, math.nan])
    total = summary.total_moment(table)
    assert (total.value, total.low, total.high) == pytest.approx((1.0, 0.804, 1.196), abs=1e-4)
    assert total.n_missing == 2
    assert summary.total_quantity(table, "iron_pg").n_missing == 3
    assert math.isnan(summary.total_quantity(table, "iron_pg").value)


def test_nothing_accepted_has_no_total(empty: Any) -> None:
    accepted = empty.catalogue.accepted
    assert math.isnan(summary.total_moment(accepted).value)
    assert math.isnan(summary.expected_false_accepted(empty.catalogue))
    assert math.isnan(summary.score_for_expected(empty.catalogue.null, 0.05))
    assert math.isnan(summary.typical_moment(empty.catalogue, 6.0))
    assert np.isnan(summary.expected_false_at(empty.catalogue.null, np.array([6.0]))).all()


def test_a_vein_says_nothing_of_how_large_a_point_must_be(gel: Any) -> None:
    table = gel.catalogue.clusters
    moments, is_vein = table["moment_am2"].copy(), table["reasons"] == "vein"
    assert is_vein.any()
    moments[is_vein] *= 1e3
    changed = dataclasses.replace(gel.catalogue, clusters=table.with_columns(moment_am2=moments))
    assert summary.typical_moment(changed, 6.0) == summary.typical_moment(gel.catalogue, 6.0)


def test_a_graft_says_nothing_of_how_large_a_point_must_be(gel: Any) -> None:
    table = gel.catalogue.clusters
    scores, moments, estimator = table["score"].copy(), table["moment_am2"].copy(), table["estimator"].astype("U32")
    weakest = int(np.flatnonzero(table["reasons"] == "not_significant")[0])
    scores[weakest], moments[weakest], estimator[weakest] = 0.1, 1.0, GRAFT_ESTIMATOR
    with_graft = table.with_columns(score=scores, moment_am2=moments, estimator=estimator)
    told = summary.typical_moment(dataclasses.replace(gel.catalogue, clusters=with_graft), 6.0)
    without = dataclasses.replace(gel.catalogue, clusters=table.where(np.arange(len(table)) != weakest))
    assert told == pytest.approx(summary.typical_moment(without, 6.0))
    only = with_graft.where(np.arange(len(table)) == weakest)
    assert math.isnan(summary.typical_moment(dataclasses.replace(gel.catalogue, clusters=only), 6.0))


def test_the_score_for_an_expected_number_is_where_so_many_false_ones_are_expected(gel: Any) -> None:
    null = gel.catalogue.null
    score = summary.score_for_expected(null, 0.05)
    assert summary.expected_false_at(null, np.array([score]))[0] == pytest.approx(0.05)
    assert summary.score_for_expected(null, 0.01) > score
    assert summary.score_for_expected(null, 100.0) == null.curve_scores[0]
    assert math.isnan(summary.score_for_expected(null, 1e-300))


def test_false_ones_expected_are_told_between_and_beyond_the_curves_points_but_not_before(gel: Any) -> None:
    null = dataclasses.replace(
        gel.catalogue.null, curve_scores=np.array([4.0, 6.0]), curve_expected=np.array([10.0, 0.1])
    )
    told = summary.expected_false_at(null, np.array([3.9, 4.0, 5.0, 6.0, 60.0]))
    assert np.isnan(told[0])
    assert told[1:] == pytest.approx([10.0, 1.0, 0.1, 0.1])


def test_windows_agree_where_pairs_lie_within_their_errors(gel: Any) -> None:
    status = gel.catalogue.clusters["status"]
    n = len(status)
    fits = gel.catalogue.fits.with_columns(
        moment_inner_am2=np.full(n, 1e-13),
        moment_inner_am2_err=np.full(n, 3e-15),
        moment_outer_am2=np.where(np.arange(n) < 4, 1.3e-13, 1.05e-13),
        moment_outer_am2_err=np.where(np.arange(n) == 9, np.nan, 4e-15),
    )
    windows = summary.compare_windows(dataclasses.replace(gel.catalogue, fits=fits))
    n_accepted = int(np.count_nonzero(status == "accepted"))
    assert (windows.n_agree, windows.n_compared) == (n_accepted - 5, n_accepted - 1)
    assert windows.median_outer_over_inner == pytest.approx(1.05)


def test_an_unknown_sign_of_phase_is_the_first_warning(gel: Any) -> None:
    catalogue = dataclasses.replace(gel.catalogue, phase_sign=PhaseSign.UNKNOWN)
    assert "sign of phase is unknown" in summary.collect_warnings(gel.scan, catalogue)[0]
    assert not any("sign of phase" in words for words in summary.collect_warnings(gel.scan, gel.catalogue))


def test_an_assumed_magnetisation_and_wrong_polarity_are_warned_of(gel: Any) -> None:
    null = dataclasses.replace(gel.catalogue.null, counts_at_threshold={"opposite": 3})
    words = " ".join(summary.collect_warnings(gel.scan, dataclasses.replace(gel.catalogue, null=null)))
    assert "assumption" in words
    assert "3\u00a0candidates of the polarity" in words


def test_reasons_are_told_in_words_and_unknown_ones_are_kept() -> None:
    words = summary.reason_words("vein;from_the_future")
    assert words[0] == ("vein", "A magnetised cylinder explains it better than a point does.")
    assert words[1] == ("from_the_future", "")
    assert summary.reason_words("") == []
