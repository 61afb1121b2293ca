"""Figures of uptake show every cell type and particle, the assays as marks, and the course with its bands."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.report.uptake_chart import (
    draw_calibration_chart,
    draw_course_chart,
    draw_fit_chart,
    write_course_chart,
    write_fit_chart,
)
from ferrosight.types import Calibration, Table, UptakeCourse
from ferrosight.types.calibration import PhantomSpots
from ferrosight.types.uptake import UPTAKE, FittedCurve


def make_curves(cells=("MSC", "MAPC"), particles=("A", "B")) -> list[FittedCurve]:
    x = np.geomspace(1, 200, 9)
    return [
        FittedCurve(cell, particle, along, f"{along} said", x, x, x / 1.3, x * 1.3, x[::3], x[::3] * 1.1)
        for particle in particles
        for cell in cells
        for along in ("dose", "time")
    ]


def make_course() -> UptakeCourse:
    values = {
        "day": [0.0, 7.0, 14.0],
        "iron_per_cell_pg": [10.0, 3.0, 1.0],
        "iron_per_cell_pg_low": [7.0, 1.8, 0.5],
        "iron_per_cell_pg_high": [14.0, 5.0, 2.0],
        "batch_rel_sd": [0.2, 0.3, 0.4],
        "cell_cv": [0.5, 0.7, 0.9],
    }
    return UptakeCourse(Table(UPTAKE, {name: np.array(v) for name, v in values.items()}), "MSC with A")


def test_a_panel_per_particle_and_axis_with_every_cell_type():
    figure = draw_fit_chart(make_curves())
    assert len(figure.axes) == 4
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["A", "", "B", ""]
    for axes in figure.axes:
        assert len(axes.lines) == 4  # a curve and its marks per cell type
        assert len(axes.collections) == 2
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["MSC", "MAPC"]
    assert draw_fit_chart(make_curves(cells=("MSC",))).legends == []


def test_the_course_has_both_bands_and_its_source():
    figure = draw_course_chart(make_course())
    (axes,) = figure.axes
    assert len(axes.collections) == 2
    assert axes.lines[0].get_xdata() == pytest.approx([0, 7, 14])
    assert any("MSC with A" in text.get_text() for text in figure.texts)


def test_the_calibration_has_its_line_its_band_and_every_batch():
    numbers = np.array([50.0, 200.0, 800.0, 60.0])
    batch = np.array(["a", "a", "b", "b"])
    spots = PhantomSpots(numbers * 2e-15, np.full(4, 5e-15), numbers, np.sqrt(numbers), batch)
    figure = draw_calibration_chart(Calibration(2e-15, 0.2, 0.08, 0.5, 7.0, 4, 2, "spots"), spots)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["batches, 95 %", "mean over batches", "batch a", "batch b"]
    x, y = axes.lines[0].get_data()
    assert np.asarray(y) == pytest.approx(2.0 * np.asarray(x))


@pytest.mark.parametrize("ending", [".svg", ".pdf", ".png"])
def test_figures_are_written(tmp_path, ending):
    write_fit_chart(tmp_path / f"fit{ending}", make_curves())
    write_course_chart(tmp_path / f"course{ending}", make_course())
    assert all((tmp_path / f"{name}{ending}").stat().st_size > 3000 for name in ("fit", "course"))
