"""The methods text states every assumption that the numbers hang on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.report.methods import describe_scan, list_settings, write_methods
from ferrosight.types import Calibration, Config, IronPerCell, PhaseSign


def text_of(visit: Any, **changes: Any) -> str:
    """The whole methods text, with ordinary spaces."""
    catalogue = dataclasses.replace(visit.catalogue, **changes)
    paragraphs = write_methods(visit.scan, visit.field_map, catalogue, Config())
    return " ".join(words for _, words in paragraphs).replace("\u00a0", " ")


def test_every_assumption_is_stated(gel: Any) -> None:
    text = text_of(gel)
    for words in (
        "11.75 T",
        "B0 was taken along (0, 0, 1) in scanner coordinates, towards S",
        "93.6 A m² per kilogram of iron (not of oxide)",
        "12 %",
        "assumption (range 88 to 127)",
        "taken to grow where the field is stronger: the sidecar's scanner",
        "100 %, 75 %, 100 % of its stored lines",
        "average over the voxel",
        "false discovery rate of 0.05",
        "the 130 of them that score above 4.00",
        "scale 1.60 ± 0.12; 1 in pure noise",
        "the 700 places fitted",
        "the score at which 3 false candidates are expected",
        "a tail of their own if it expects more",
        "10.94 pg of iron",
        "Arbab 2004",
        "Not corrected: diffusion",
        "shared by all clusters of a scan and adds linearly",
    ):
        assert words in text


def test_the_load_that_was_used_is_stated_not_the_labels_own(gel: Any) -> None:
    text = text_of(gel, load=IronPerCell(25.0, 4.0, "predicted; day 7 after labelling", 0.8))
    assert "25 pg of iron on this day (± 4 pg between batches; source: predicted; day 7 after labelling)" in text
    assert "single cells of 80 %," in text
    assert "Arbab" not in text


def test_a_calibration_stands_in_the_place_of_the_load(gel: Any, empty: Any) -> None:
    calibration = Calibration(2e-15, 0.2, 0.08, 0.5, 9.4, 12, 5, "12 spots in agarose")
    for result in (gel, empty):
        text = text_of(result, calibration=calibration)
        assert "A m² per cell, with a relative standard deviation of 20 % between batches" in text
        assert "12 spots in agarose" in text
        assert "pg of iron on this day" not in text


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        (PhaseSign.NEGATIVE, "taken to fall where the field is stronger"),
        (PhaseSign.UNKNOWN, "is not known; both polarities were tested"),
        (PhaseSign.UNKNOWN, "that of both polarities together"),
    ],
)
def test_the_sign_of_phase_is_told(gel: Any, sign: PhaseSign, words: str) -> None:
    assert words in text_of(gel, phase_sign=sign)


def test_missing_numbers_are_said_to_be_missing(gel: Any, empty: Any) -> None:
    text = text_of(empty)
    assert "moments were not converted" in text
    assert "Too few decoys" in text
    assert "nan" not in text.lower()
    lost = gel.catalogue.clusters.with_columns(n_cells=np.full(len(gel.catalogue.clusters), np.nan))
    assert "Numbers of cells are n/a" in text_of(gel, clusters=lost)


def test_every_setting_is_listed_with_its_sentence() -> None:
    config = Config().with_settings({"clusters.q": 0.01})
    rows = {row.name: row for row in list_settings(config)}
    assert set(rows) == set(config.as_dict())
    assert all(row.doc.endswith(".") for row in rows.values())
    assert [name for name, row in rows.items() if not row.is_default] == ["clusters.q"]


def test_a_scan_is_described_in_one_line(oblique: Any) -> None:
    line = describe_scan(oblique.scan).replace("\u00a0", " ")
    assert line == "11.75 T · 3 echoes at 4, 8, 12 ms · 41 × 36 × 29 voxels of 0.1 × 0.1 × 0.1 mm"


def test_displacement_along_the_readout_is_left_out_with_several_echoes_only(gel: Any, oblique: Any) -> None:
    assert "Not corrected: displacement along the readout" in text_of(oblique)
    assert "displacement along the readout" not in text_of(gel)
