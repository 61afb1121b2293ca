"""Counts and totals are those of the catalogue."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from ferrosight.physics.labels import get_label
from ferrosight.quantify import quantify_clusters
from ferrosight.study.summary import plain_value, summarise_catalogue
from ferrosight.types import CLUSTERS, FITS, Grid, IronPerCell, Table
from ferrosight.types.config import QuantifyConfig

GRID = Grid((6, 5, 4), np.eye(4))


def test_counts_are_those_of_the_catalogue(catalogue):
    summary = summarise_catalogue(catalogue, GRID)
    assert (summary.n_candidates, summary.n_accepted, summary.n_negative_accepted) == (3, 2, 0)
    assert summary.rejected_by_reason == {"opposite_polarity": 1, "bubble": 1}
    assert summary.n_rejected_only_as_bubble == 0
    assert summary.n_bubble_not_excluded == 1
    assert summary.counts_at_threshold["opposite"] == 1
    assert summary.expected_false_accepted == 0.05
    assert summary.n_accepted_per_slice == (1, 0, 0, 1)
    assert summary.median_error_inflation == 1.5
    assert (summary.highest_score, summary.lowest_expected_false) == (9.0, 0.01)
    assert not summary.few_decoys


def test_few_decoys_are_said_where_nothing_was_found_too(catalogue):
    null = dataclasses.replace(catalogue.null, n_decoys_in_tail=4)
    empty = dataclasses.replace(
        catalogue, clusters=Table.from_rows(CLUSTERS, []), fits=Table.from_rows(FITS, []), null=null, patches=()
    )
    assert summarise_catalogue(empty, GRID).few_decoys


def test_a_cluster_rejected_as_a_bubble_and_nothing_else_is_counted(catalogue):
    clusters = catalogue.clusters.with_columns(reasons=np.array(["", "", "bubble"]))
    assert summarise_catalogue(dataclasses.replace(catalogue, clusters=clusters), GRID).n_rejected_only_as_bubble == 1


def test_the_histogram_counts_accepted_fits_only(catalogue):
    summary = summarise_catalogue(catalogue, GRID)
    counted = dict(zip(summary.chi2_dof_edges, summary.chi2_dof_counts, strict=True))
    assert {edge: n for edge, n in counted.items() if n} == {0.8: 1, 3.0: 1}


def test_windows_agree_where_they_differ_by_chance_only(catalogue):
    """Differences of 0.1 and 1.0 with a joint standard deviation of 0.14: one agrees, one does not."""
    windows = summarise_catalogue(catalogue, GRID).windows
    assert (windows.n_compared, windows.n_agree, windows.n_widened) == (2, 1, 1)
    assert windows.median_outer_over_inner == pytest.approx(1.55)


def test_totals_are_of_accepted_clusters_and_carry_intervals(catalogue):
    load = IronPerCell(10.0, 1.7, "assay")
    filled = quantify_clusters(catalogue, get_label("ferumoxides"), 7.0, load, QuantifyConfig())
    summary = summarise_catalogue(filled, GRID)
    assert summary.moment_am2.value == pytest.approx(13.36e-14)
    assert summary.iron_pg.value == pytest.approx(13.36e-14 / 93.6 * 1e15)
    assert summary.iron_pg.low < summary.iron_pg.value < summary.iron_pg.high
    assert summary.n_cells.value == pytest.approx(summary.iron_pg.value / 10)


def test_an_empty_catalogue_has_a_summary_that_json_knows(catalogue):
    empty = dataclasses.replace(catalogue, clusters=Table(CLUSTERS, {}), fits=Table(FITS, {}))
    summary = summarise_catalogue(empty, GRID)
    assert summary.n_candidates == 0
    assert summary.n_accepted_per_slice == (0, 0, 0, 0)
    assert math.isnan(summary.iron_pg.value)
    again = json.loads(json.dumps(summary.as_plain(), allow_nan=False))
    assert again["iron_pg"]["value"] is None


def test_plain_values_have_no_nan_at_any_depth():
    value = plain_value({"a": (math.nan, [math.inf, np.float64(1.5)]), "b": {"c": np.int64(3)}})
    assert value == {"a": [None, [None, 1.5]], "b": {"c": 3}}
