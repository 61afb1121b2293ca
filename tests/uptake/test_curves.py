"""Curves go through the fit, and marks are the assays at the same condition."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.curves import trace_curves
from ferrosight.uptake.kinetics import fit_kinetics


def test_curves_are_the_cells_own_and_marks_the_assays(cells, draw):
    one = cells()
    (experiment,) = sort_experiments(draw(one, np.random.default_rng(0), batch_rel_sd=1e-3, assay_rel_sd=1e-3))
    dose, time = trace_curves(fit_kinetics(experiment), experiment)
    assert dose.value == pytest.approx([one.load(x, 24) for x in dose.x], rel=0.02)
    assert time.value == pytest.approx([one.load(50, min(t, 24), max(t - 24, 0)) for t in time.x], rel=0.06)
    for curve in (dose, time):
        assert (curve.low <= curve.value).all()
        assert (curve.value <= curve.high).all()
    assert sorted(set(dose.measured_x)) == [10, 25, 50, 100, 200]
    assert sorted(set(time.measured_x)) == [6, 24, 48, 96, 168]
    assert "24 h" in dose.condition
    assert "50 µg/mL" in time.condition
