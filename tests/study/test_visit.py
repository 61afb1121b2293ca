"""The stages run in their order, and what they were told is kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import LabelError
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.study.visit import analyse_scan, analyse_visit
from ferrosight.types import Config, IronPerCell, PhaseSign


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


@pytest.mark.usefixtures("stages")
def test_the_limit_is_mapped_where_a_label_says_how_magnetic_iron_is(scan, caplog):
    caplog.set_level("INFO")
    assert analyse_visit(scan).limit is None
    assert "no label" in caplog.text
    weak, strong = (analyse_visit(scan, get_label(name)).limit for name in ("ferumoxides", "ferumoxytol"))
    assert weak is not None
    assert strong is not None
    ratio = magnetisation_am2_per_kg_fe(get_label("ferumoxytol"), 7.0) / 93.6
    np.testing.assert_allclose(weak.iron_pg / strong.iron_pg, ratio, rtol=1e-5)
    counted = analyse_visit(scan, get_label("ferumoxides"), iron_per_cell=IronPerCell(10.0, 1.0, "assay")).limit
    assert counted is not None
    assert counted.iron_per_cell_pg == pytest.approx(10.0)


def test_an_unknown_label_is_refused_before_any_work(stages, scan):
    with pytest.raises(LabelError, match="there is no label 'feridex'"):
        analyse_scan(scan, "feridex")
    assert stages.calls == []


@pytest.mark.usefixtures("stages")
def test_progress_reaches_the_caller(scan):
    heard = []
    analyse_scan(scan, on_progress=lambda what, done, total: heard.append((what, done, total)))
    assert ("field", 1, 1) in heard


def test_a_baseline_is_searched_only_where_its_sign_of_phase_is_not_stated(stages, scan):
    analyse_scan(scan, baseline=scan)
    assert stages.calls == ["field", "clusters", "field", "clusters", " against  POSITIVE"]
    stages.calls.clear()
    analyse_scan(scan, baseline=dataclasses.replace(scan, phase_sign=PhaseSign.NEGATIVE, session="d00"))
    assert stages.calls == ["field", "field", "clusters", " against d00 NEGATIVE"]


@pytest.mark.usefixtures("stages")
def test_in_a_baseline_scan_nothing_is_accepted(scan):
    catalogue = analyse_visit(scan, is_baseline=True).catalogue
    assert len(catalogue.accepted) == 0
    assert "This is a baseline scan" in " ".join(catalogue.notes)
