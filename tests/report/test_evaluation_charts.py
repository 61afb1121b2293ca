"""The figures show the evaluation's numbers, and what there is nothing of is not drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ferrosight.report.evaluation_charts import (
    draw_calibration,
    draw_confusers,
    draw_froc,
    draw_recall,
    write_evaluation_charts,
)
from ferrosight.types import Evaluation
from ferrosight.types.evaluation import (
    Average,
    Bias,
    Calibration,
    Confuser,
    Coverage,
    Detection,
    FrocCurve,
    MassBias,
    MassBin,
    PerScan,
    Share,
)

NAN = math.nan


@pytest.fixture
def evaluation() -> Evaluation:
    detection = Detection(
        recall=Share(0.8, 0.6, 0.9, 8, 10),
        mass_column="iron_pg",
        by_mass=(
            MassBin(0.7, 1.5, 1.1, Share(0.5, 0.2, 0.8, 2, 4)),
            MassBin(6.8, 14.7, 10.0, Share(1.0, 0.6, 1.0, 6, 6)),
        ),
        accepted=PerScan(5.0, 3.0, 8.0, 10),
        false_positives=PerScan(1.0, 0.1, 3.6, 2),
        false_discoveries=Share(0.2, 0.03, 0.5, 2, 10),
        false_discovery_rate=Average(0.2, NAN, NAN, 1),
        confusers=(
            Confuser("vein", PerScan(1.0, 0.1, 3.6, 2), Share(0.5, 0.1, 0.9, 2, 4)),
            Confuser("background", PerScan(0.0, 0.0, 1.8, 0), Share(NAN, 0.0, 1.0, 0, 0)),
        ),
        froc=(
            FrocCurve("all", [9.0, 5.0], [0.5, 4.0], [0.5, 0.9]),
            FrocCurve("shape", [9.0, 5.0], [0.0, 2.0], [0.5, 0.8]),
        ),
    )
    median = Average(-0.02, -0.05, 0.01, 8)
    calibration = Calibration(
        bias=(Bias("moment_am2", median, median, (MassBias(0.7, 1.5, 1.1, median),)),),
        coverage=(
            Coverage("moment_am2 ± 1.96 moment_am2_err", Share(0.9, 0.6, 0.99, 9, 10), 1, 0, 0),
            Coverage("n_cells_low to n_cells_high", Share(1.0, 0.7, 1.0, 10, 10), 0, 0, 0),
        ),
    )
    return Evaluation(("sub-1", "sub-2"), 0.15, detection, calibration)


def points(axes) -> list[np.ndarray]:
    """Coordinates (n, 2) of every set of points with error bars."""
    return [np.column_stack(drawn[0].get_data()).astype(float) for drawn in axes.containers]


def test_recall_is_drawn_at_the_median_mass(evaluation):
    axes = draw_recall(evaluation).axes[0]
    np.testing.assert_allclose(points(axes), [[[1.1, 0.5], [10.0, 1.0]]])
    assert "pg" in axes.get_xlabel()
    assert [text.get_text() for text in axes.texts] == ["4", "6"]
    bars = axes.containers[0][2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[0.2, 0.8], [0.6, 1.0]])


def test_recall_of_a_truth_without_iron_is_drawn_against_the_moment(evaluation):
    bins = (MassBin(0.7e-13, 1.5e-13, 1.1e-13, Share(0.5, 0.2, 0.8, 2, 4)),)
    detection = replace(evaluation.detection, mass_column="moment_am2", by_mass=bins)
    axes = draw_recall(replace(evaluation, detection=detection)).axes[0]
    assert "fA m²" in axes.get_xlabel()
    np.testing.assert_allclose(points(axes), [[[110.0, 0.5]]])


def test_froc_begins_at_nothing_and_shows_where_the_catalogues_work(evaluation):
    axes = draw_froc(evaluation).axes[0]
    curves = {line.get_label(): line for line in axes.lines if line.get_drawstyle() == "steps-post"}
    assert list(curves) == ["all candidates", "not rejected for their shape"]
    np.testing.assert_allclose(curves["all candidates"].get_xdata(), [0, 0.5, 0.5, 4])
    np.testing.assert_allclose(curves["all candidates"].get_ydata(), [0, 0, 0.5, 0.9])
    np.testing.assert_allclose(points(axes), [[[1.0, 0.8]]])


def test_confusers_are_named_with_the_bodies_there_were(evaluation):
    axes = draw_confusers(evaluation).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "vein\non 2 of 4"]
    np.testing.assert_allclose(points(axes), [[[0.0, 0], [1.0, 1]]])


def test_bias_and_coverage_share_a_figure(evaluation):
    left, right = draw_calibration(evaluation).axes
    np.testing.assert_allclose(points(left), [[[1.1, -0.02]]])
    np.testing.assert_allclose(points(right), [[[1.0, 0], [0.9, 1]]])
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "cells, interval\nn = 10",
        "moment ± 1.96 SD\nn = 10",
    ]


def test_only_what_there_is_is_written(evaluation, tmp_path):
    assert [path.name for path in write_evaluation_charts(evaluation, tmp_path)] == [
        "recall.svg",
        "froc.svg",
        "confusers.svg",
        "calibration.svg",
    ]
    first = (tmp_path / "froc.svg").read_bytes()
    write_evaluation_charts(evaluation, tmp_path)
    assert (tmp_path / "froc.svg").read_bytes() == first
    bare = replace(
        evaluation,
        detection=replace(evaluation.detection, by_mass=(), froc=()),
        calibration=Calibration((), ()),
    )
    assert [path.name for path in write_evaluation_charts(bare, tmp_path)] == ["confusers.svg"]
