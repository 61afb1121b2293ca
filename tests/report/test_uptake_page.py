"""Pages of uptake hold every figure and number, need no network, and escape what people call their cells."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from ferrosight.report.uptake_page import render_course_page, render_fit_page, write_course_page
from ferrosight.report.uptake_panels import draw_cells, draw_comparisons, draw_single_cells
from ferrosight.types.uptake import Comparison, Quantity, UptakeFit

from .test_uptake_chart import make_course, make_curves


def make_fit(cells: str, diameter_um: float, particle: str = "A") -> UptakeFit:
    quantities = (
        Quantity("load", "pg", 4.4, 3.7, 5.1, "Iron per cell at 50 µg/mL for 24 h."),
        Quantity("half_dose", "µg/mL", 57.0, 40.0, math.inf, "Dose of half uptake.", "Widen the range."),
        Quantity("doubling_time", "h", math.nan, 0.0, math.inf, "Doubling time.", "Give rows of doubling_time_h."),
        Quantity("diameter", "µm", diameter_um, 0.9 * diameter_um, 1.1 * diameter_um, "Cell diameter."),
    )
    return UptakeFit(
        cells, particle, ("log_uptake",), np.zeros(1), np.zeros((1, 1)), (), ("assay",), np.ones(1),
        np.ones((1, 1, 1)), np.ones((1, 1)), np.ones(1), 50.0, 48.0, 0.17, 40, 1, (10.0, 50.0), 24.0, quantities,
        ("a note",),
    )  # fmt: skip


COMPARISONS = (
    Comparison("A", "MSC", "MAPC", "load", 2.3, 1.7, 3.1),
    Comparison("A", "MSC", "MAPC", "diameter", 1.4, 1.2, 1.6),
    Comparison("B", "MSC", "MAPC", "diameter", 1.4, 1.2, 1.6),
    Comparison("A", "MSC", "MAPC", "uptake_per_surface", 1.04, 0.7, 1.5),
)


def test_an_experiments_page_has_curves_cells_ratios_and_every_quantity() -> None:
    fits = [make_fit("MSC", 20.0), make_fit("MAPC", 14.0)]
    page = render_fit_page("two cells", fits, make_curves(), COMPARISONS, provenance={"file": "assays.tsv"})
    assert page.count("<svg role=") == 3
    for said in ("Widen the range.", "not determined", "40.0 to ∞", "MSC / MAPC", "1.70 to 3.10", "a note", "1 batch;"):
        assert said in page
    assert not re.search(r"https?://", page)
    assert page.count("any particle</td>") == 1  # a diameter does not depend on the particle
    differs = re.findall(r">(yes|no)</td>", page)
    assert differs == ["yes", "no", "yes"]


def test_names_are_escaped() -> None:
    fits = [make_fit("<script>x</script>", 20.0)]
    page = render_fit_page("<b>", fits, make_curves(cells=("<script>x</script>",)), (), provenance={})
    assert "<script>x" not in page
    assert "One cell type alone" in page


def test_a_courses_page_has_every_day(tmp_path: Path) -> None:
    page = render_course_page(make_course(), provenance={})
    assert page.count("<svg role=") == 2
    assert "iron per cell, day 14" in page
    assert "7.00 to 14.0" in page
    write_course_page(tmp_path / "course.html", make_course(), provenance={})
    assert (tmp_path / "course.html").read_text(encoding="utf-8") == page


def test_single_cells_have_the_mean_and_the_spread_of_their_day() -> None:
    (axes,) = draw_single_cells(make_course()).axes
    for day, (mean, cell_cv) in enumerate(((10.0, 0.5), (3.0, 0.7), (1.0, 0.9))):
        lines = [line for line in axes.lines if set(np.ravel(line.get_xdata())) == {day}]
        low, high = (float(end) for end in lines[0].get_ydata())
        draws = np.random.default_rng(1).lognormal(0, math.sqrt(math.log1p(cell_cv**2)), 200_000)
        assert np.quantile(draws / draws.mean() * mean, [0.025, 0.975]) == pytest.approx([low, high], rel=0.03)


def test_a_surface_is_that_of_a_ball_and_what_was_not_measured_is_said() -> None:
    diameter, surface, doubling = draw_cells([make_fit("MSC", 20.0), make_fit("MSC", 20.0, "B")]).axes
    assert diameter.lines[1].get_ydata() == pytest.approx([20.0])
    assert surface.lines[1].get_ydata() == pytest.approx([math.pi * 400])
    assert [text.get_text() for text in doubling.texts] == ["not measured"]


def test_ratios_are_a_row_each_and_one_is_marked() -> None:
    (axes,) = draw_comparisons(COMPARISONS).axes
    assert axes.get_yticklabels()[0].get_text() == "A: load, MSC / MAPC"
    low, high = axes.get_xlim()
    assert low < 0.7
    assert high > 3.1
