"""Counts on the plots are the catalogue's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ferrosight.report import charts
from ferrosight.types import NULLS, Table


def test_survival_counts_scores_at_least_as_large() -> None:
    scores, counts = charts.survival(np.array([3.0, np.nan, 5.0, 4.0, 4.0]))
    assert scores.tolist() == [3.0, 4.0, 4.0, 5.0]
    assert counts.tolist() == [4, 3, 2, 1]
    assert len(charts.survival(np.array([]))[0]) == 0


def test_decoys_are_counted_per_polarity_and_targets_are_not(gel: Any) -> None:
    scores, n_signs = charts.class_scores(gel.catalogue, "xz")
    assert (len(scores), n_signs) == (120, 2)
    assert charts.class_scores(gel.catalogue, "dipole")[1] == 1
    assert charts.class_scores(gel.catalogue, "opposite")[1] == 1


def test_every_chart_draws_on_every_catalogue(gel: Any, oblique: Any, empty: Any, control: Any) -> None:
    for visit in (gel, oblique, empty, control):
        for draw in (charts.draw_scores, charts.draw_mass_histogram, charts.draw_chi2_histogram, charts.draw_windows):
            svg = draw(visit.catalogue)
            assert svg.startswith("<svg")
            assert svg.endswith("</svg>")


def test_charts_survive_missing_numbers_everywhere(gel: Any) -> None:
    n = len(gel.catalogue.clusters)
    lost = np.full(n, np.nan)
    names = [column.name for column in gel.catalogue.clusters.schema.columns if column.dtype == "number"]
    clusters = gel.catalogue.clusters.with_columns(**dict.fromkeys(names, lost))
    names = [column.name for column in gel.catalogue.fits.schema.columns if column.dtype == "number"]
    fits = gel.catalogue.fits.with_columns(**dict.fromkeys(names, lost))
    null = dataclasses.replace(
        gel.catalogue.null,
        candidates=Table(NULLS, {"pattern": ["dipole", "xz"], "sign": [1, -1], "score": [np.nan, np.nan]}),
        curve_scores=np.zeros(0),
        curve_expected=np.zeros(0),
        score_threshold=np.nan,
    )
    catalogue = dataclasses.replace(gel.catalogue, clusters=clusters, fits=fits, null=null)
    for draw in (charts.draw_scores, charts.draw_mass_histogram, charts.draw_chi2_histogram, charts.draw_windows):
        assert draw(catalogue).startswith("<svg")


def test_one_candidate_is_enough(gel: Any) -> None:
    one = gel.catalogue.clusters.where(np.array([0]))
    null = dataclasses.replace(
        gel.catalogue.null, candidates=Table(NULLS, {"pattern": ["dipole"], "sign": [1], "score": [9.0]})
    )
    catalogue = dataclasses.replace(
        gel.catalogue, clusters=one, fits=gel.catalogue.fits.where(np.array([0])), null=null
    )
    for draw in (charts.draw_scores, charts.draw_mass_histogram, charts.draw_chi2_histogram, charts.draw_windows):
        assert draw(catalogue).startswith("<svg")


def test_the_mass_histogram_shows_moments_where_no_label_is_known(gel: Any) -> None:
    n = len(gel.catalogue.clusters)
    clusters = gel.catalogue.clusters.with_columns(iron_pg=np.full(n, np.nan))
    assert "iron (pg)" in charts.draw_mass_histogram(gel.catalogue)
    assert "moment (fA m²)" in charts.draw_mass_histogram(dataclasses.replace(gel.catalogue, clusters=clusters))
