"""The label table agrees with its sources, and bad label files are refused in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.errors import LabelError
from ferrosight.physics.constants import DENSITY_MAGNETITE, IRON_FRACTION_MAGHEMITE, IRON_FRACTION_MAGNETITE
from ferrosight.physics.labels import (
    LABELS,
    get_label,
    magnetisation_am2_per_kg_fe,
)
from ferrosight.types.label import IronPerCell, Label

IDS = [
    "ferumoxides",
    "ferumoxytol",
    "ferucarbotran",
    "molday-ion",
    "mpio-0.9",
    "mpio-1.63",
    "vsop",
    "citrate",
    "magnetoliposome",
]


def test_the_promised_ids_are_known_in_their_order():
    assert list(LABELS) == IDS
    assert [get_label(i).label_id for i in IDS] == IDS


def test_ferumoxides_is_the_stated_assumption_and_its_interval_reaches_the_range():
    label = get_label("ferumoxides")
    assert label.ms_am2_per_kg_fe == 93.6
    assert label.ms_source.startswith("assumption")
    assert label.ms_am2_per_kg_fe * np.exp(1.96 * label.ms_rel_sd) == pytest.approx(127, rel=1e-3)
    assert label.ms_am2_per_kg_fe * np.exp(-1.96 * label.ms_rel_sd) <= 88


def test_molday_ion_agrees_with_its_gels():
    """Fe 42.9 / 85.8 / 128.7 µM gave χ 0.092 / 0.211 / 0.288 ppm at 2.895 T (doi 10.1371/journal.pone.0220639)."""
    iron_kg_m3 = np.array([42.9e-3, 85.8e-3, 128.7e-3]) * 55.845e-3
    magnetisation = np.array([0.092e-6, 0.211e-6, 0.288e-6]) * 2.895 / (4e-7 * np.pi)
    per_kg = magnetisation / iron_kg_m3
    label = get_label("molday-ion")
    assert magnetisation_am2_per_kg_fe(label, 2.895) == pytest.approx(per_kg.mean(), rel=0.01)
    assert label.ms_rel_sd == pytest.approx(per_kg.std(ddof=1) / per_kg.mean(), rel=0.05)


@pytest.mark.parametrize("label_id", IDS)
def test_every_label_says_where_its_number_comes_from_and_fixes_no_load(label_id):
    label = get_label(label_id)
    assert "assumption" in label.ms_source or "doi" in label.ms_source
    assert label.core_diameter_nm is None or label.core_source
    assert label.load is None
    assert 60 / IRON_FRACTION_MAGHEMITE <= label.ms_am2_per_kg_fe <= 100 / IRON_FRACTION_MAGNETITE


def _core(per_volume_a_m: float, diameter_nm: float = 4.0) -> Label:
    return Label(
        "x", "x", per_volume_a_m / (IRON_FRACTION_MAGNETITE * DENSITY_MAGNETITE), 0.1, "assumption", diameter_nm
    )


@pytest.mark.parametrize(("b0_t", "share"), [(1.5, 0.81), (3.0, 0.91), (7.0, 0.96)])
def test_a_4_nm_core_of_450_ka_per_m_reaches_the_known_share_of_saturation(b0_t, share):
    label = _core(450e3)
    assert round(magnetisation_am2_per_kg_fe(label, b0_t) / label.ms_am2_per_kg_fe, 2) == share


def test_without_a_core_a_label_is_saturated_at_any_field():
    label = get_label("ferumoxides")
    assert magnetisation_am2_per_kg_fe(label, 1.5) == magnetisation_am2_per_kg_fe(label, 9.4) == 93.6


@given(b0_t=st.floats(0.02, 20), diameter_nm=st.floats(0.5, 100), factor=st.floats(1.01, 3))
def test_magnetisation_grows_with_field_and_core_and_stays_below_saturation(b0_t, diameter_nm, factor):
    label = _core(450e3, diameter_nm)
    here = magnetisation_am2_per_kg_fe(label, b0_t)
    assert 0 < here <= label.ms_am2_per_kg_fe
    assert magnetisation_am2_per_kg_fe(label, b0_t * factor) >= here
    larger = replace(label, core_diameter_nm=min(100.0, diameter_nm * factor))
    assert magnetisation_am2_per_kg_fe(larger, b0_t) >= here


def test_the_curve_is_smooth_where_its_small_argument_form_takes_over():
    label = _core(450e3, 0.5)
    fields = np.geomspace(0.05, 0.5, 200)
    per_tesla = np.array([magnetisation_am2_per_kg_fe(label, float(b)) / b for b in fields])
    np.testing.assert_allclose(per_tesla, per_tesla[0], rtol=1e-3)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ours.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_custom_label_is_read_from_toml(tmp_path):
    path = _write(
        tmp_path,
        'ms_am2_per_kg_fe = 101\nms_rel_sd = 0.05\nms_source = "our magnetometer"\n'
        "iron_per_cell_pg = 12.0\niron_per_cell_sd_pg = 2.0\n",
    )
    label = get_label(path)
    assert (label.label_id, label.ms_am2_per_kg_fe, label.ms_source) == ("ours", 101, "our magnetometer")
    assert label.load == IronPerCell(12.0, 2.0, "assumption")
    assert get_label(str(path)) == label


def test_a_source_that_is_not_given_reads_assumption(tmp_path):
    label = get_label(_write(tmp_path, "ms_am2_per_kg_fe = 101\nms_rel_sd = 0.05\ncore_diameter_nm = 5\n"))
    assert label.ms_source == label.core_source == "assumption"


GOOD = "ms_am2_per_kg_fe = 100\nms_rel_sd = 0.1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ms_rel_sd = 0.1", "lacks ms_am2_per_kg_fe"),
        ("ms_am2_per_kg_fe = 90", "lacks ms_rel_sd"),
        (GOOD + "ms_per_gram = 3", "ms_per_gram"),
        ('ms_am2_per_kg_fe = "90"\nms_rel_sd = 0.1', "must be a number"),
        ("ms_am2_per_kg_fe = true\nms_rel_sd = 0.1", "must be a number"),
        (GOOD + "name = 3", "must be text"),
        ("ms_am2_per_kg_fe = 9000\nms_rel_sd = 0.1", "between 1 and 250"),
        ("ms_am2_per_kg_fe = nan\nms_rel_sd = 0.1", "between 1 and 250"),
        (GOOD + "iron_per_cell_pg = 3", "given together"),
        (GOOD + "iron_per_cell_pg = -3\niron_per_cell_sd_pg = 1", "positive number of pg"),
        (GOOD + "iron_per_cell_pg = nan\niron_per_cell_sd_pg = 1", "positive number of pg"),
        (GOOD + "core_diameter_nm = 4000", "between 0.5 and 100"),
        ("ms = [", "not valid TOML"),
    ],
)
def test_a_bad_label_file_is_refused_in_a_sentence(tmp_path, text, said):
    with pytest.raises(LabelError, match=said):
        get_label(_write(tmp_path, text))


@pytest.mark.parametrize("name", ["feridex", "", "missing.toml"])
def test_an_unknown_label_is_refused(name):
    with pytest.raises(LabelError, match="there is no label"):
        get_label(name)


def test_a_folder_is_not_a_label_file(tmp_path):
    folder = tmp_path / "label.toml"
    folder.mkdir()
    with pytest.raises(LabelError, match="cannot be read"):
        get_label(folder)


def test_magnetite_at_92_per_kg_of_oxide_is_127_per_kg_of_iron():
    assert pytest.approx(127.14, rel=1e-3) == 92 / IRON_FRACTION_MAGNETITE
