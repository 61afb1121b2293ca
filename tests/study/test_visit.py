"""The stages run in their order, and what they were told is kept."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import LabelError
from ferrosight.physics.labels import get_label
from ferrosight.study.visit import analyse_scan, analyse_visit
from ferrosight.types import Config, IronPerCell


def test_stages_run_in_order_and_settings_are_kept(stages, scan):
    config = Config().with_settings({"clusters.q": 0.01})
    result = analyse_visit(scan, config=config)
    assert stages.calls == ["field", "clusters"]
    assert result.scan is scan
    assert result.catalogue.settings["clusters.q"] == 0.01


@pytest.mark.usefixtures("stages")
def test_a_label_is_taken_by_id_by_object_or_not_at_all(scan):
    by_id = analyse_scan(scan, "ferumoxides", iron_per_cell=IronPerCell(10.0, 1.0, "assay"))
    assert by_id.accepted["iron_pg"][0] == pytest.approx(1.0)  # 9.36e-14 A m² at 93.6 A m²/kg is 1 pg
    assert by_id.accepted["n_cells"][0] == pytest.approx(0.1)
    by_object = analyse_scan(scan, get_label("ferumoxides"))
    np.testing.assert_array_equal(by_object.clusters["iron_pg"], by_id.clusters["iron_pg"])
    assert np.isnan(analyse_scan(scan).clusters["iron_pg"]).all()


def test_an_unknown_label_is_refused_before_any_work(stages, scan):
    with pytest.raises(LabelError, match="there is no label 'feridex'"):
        analyse_scan(scan, "feridex")
    assert stages.calls == []


@pytest.mark.usefixtures("stages")
def test_progress_reaches_the_caller(scan):
    heard = []
    analyse_scan(scan, on_progress=lambda what, done, total: heard.append((what, done, total)))
    assert ("field", 1, 1) in heard
