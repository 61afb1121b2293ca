"""The figure shows the curves it was given, in iron and cells where it can."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.report.limit_chart import LimitCurve, draw_limit_chart, draw_limit_share, write_limit_chart
from ferrosight.types import DetectionLimit, Grid, LimitMap, PowerCurve, Search


def make_curve(name: str = "", limit_am2: float = 2e-13, am2_per_pg=1e-13, iron_per_cell_pg=10.0) -> LimitCurve:
    moments = limit_am2 * np.geomspace(0.3, 2.5, 9)
    limit = DetectionLimit(limit_am2, 5.6, 1e8, 6.7, Search(0.8))
    power = np.linspace(0, 1, 9)
    return LimitCurve(name, PowerCurve(moments, power, limit), am2_per_pg, iron_per_cell_pg)


def texts(figure) -> str:
    axes = figure.axes[0]
    legend = axes.get_legend()
    parts = [*figure.texts, *axes.texts, *(legend.get_texts() if legend else [])]
    return "\n".join(part.get_text() for part in parts)


def test_one_curve_is_drawn_in_iron_with_its_limit_and_cells_above():
    figure = draw_limit_chart([make_curve()], "Title", "7 T")
    axes = figure.axes[0]
    curve = max(axes.lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(curve.get_xdata(), 2 * np.geomspace(0.3, 2.5, 9))
    np.testing.assert_allclose(curve.get_ydata(), np.linspace(0, 1, 9))
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(pytest.approx(2.0), 0.8)]
    assert "2 pg = 0.2 cells" in texts(figure)
    assert "iron" in axes.get_xlabel()
    above = axes.child_axes[0]
    assert above.get_xlabel() == "cells of 10 pg each"
    assert texts(figure).startswith("Title\n7 T")


def test_without_a_label_it_is_a_moment():
    figure = draw_limit_chart([make_curve(am2_per_pg=None)], "", "")
    assert figure.axes[0].get_xlabel() == "magnetic moment of the cluster (fA m²)"
    assert "200 fA m²" in texts(figure)
    assert not figure.axes[0].child_axes


def test_cells_stand_above_only_where_all_curves_have_one_load():
    same = [make_curve("a"), make_curve("b", 4e-13)]
    other = [make_curve("a"), make_curve("b", 4e-13, iron_per_cell_pg=20.0)]
    assert draw_limit_chart(same, "", "").axes[0].child_axes
    figure = draw_limit_chart(other, "", "")
    assert not figure.axes[0].child_axes
    assert "a\n2 pg = 0.2 cells\nb\n4 pg = 0.2 cells" in texts(figure)


@pytest.mark.parametrize("n", [2, 9])
def test_every_curve_has_a_look_of_its_own_and_all_are_listed(n):
    curves = [make_curve(f"value {i}", (1 + i) * 1e-13) for i in range(n)]
    figure = draw_limit_chart(curves, "", "")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 9]
    assert len({line.get_color() for line in lines}) == n
    assert len(figure.axes[0].get_legend().get_texts()) == n
    low, high = figure.axes[0].get_xlim()
    assert (low, high) == pytest.approx((0.3, 2.5 * n))


def test_the_same_numbers_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        write_limit_chart(tmp_path / name, [make_curve()], "Title", "below")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "Title" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_the_share_of_the_tissue_is_told_in_iron_and_in_cells_where_a_cell_is_known():
    iron = np.full((10, 10, 2), np.nan, np.float32)
    iron[:, :, 0] = np.geomspace(1, 10, 100).reshape(10, 10)
    limit = LimitMap(Grid(iron.shape, np.eye(4)), iron, Search(), 6.5)
    drawn = draw_limit_share(limit)
    assert "3.16 pg of iron would have been found in half of the tissue, 7.94 pg in nine tenths" in drawn
    assert "cells" not in drawn
    assert "cells of 2 pg each" in draw_limit_share(dataclasses.replace(limit, iron_per_cell_pg=2.0))
