"""Labels whose numbers are possible."""

from __future__ import annotations

from typing import Any

import pytest

from ferrosight.errors import LabelError
from ferrosight.types import Label


def make_label(**changes: Any) -> Label:
    values: dict[str, Any] = {
        "label_id": "sample",
        "name": "Sample",
        "ms_am2_per_kg_fe": 100.0,
        "ms_rel_sd": 0.1,
        "ms_source": "assumption",
    }
    return Label(**{**values, **changes})


def test_a_label_may_have_a_load_or_none() -> None:
    assert make_label().load is None
    load = make_label(iron_per_cell_pg=10.0, iron_per_cell_sd_pg=2.0).load
    assert load is not None
    assert load.rel_sd == pytest.approx(0.2)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (10.0, -1.0)])
def test_an_impossible_load_is_refused(mean: float, sd: float) -> None:
    with pytest.raises(LabelError, match="iron per cell"):
        make_label(iron_per_cell_pg=mean, iron_per_cell_sd_pg=sd)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ms_am2_per_kg_fe": 0.0}, "saturation must lie between 1 and 250"),
        ({"ms_am2_per_kg_fe": 1e5}, "saturation must lie between 1 and 250"),
        ({"ms_am2_per_kg_fe": float("nan")}, "saturation must lie"),
        ({"ms_rel_sd": -0.1}, "ms_rel_sd"),
        ({"ms_rel_sd": 1.0}, "ms_rel_sd"),
        ({"ms_rel_sd": float("nan")}, "ms_rel_sd"),
        ({"core_diameter_nm": 0.1}, "core_diameter_nm"),
        ({"core_diameter_nm": float("nan")}, "core_diameter_nm"),
        ({"iron_per_cell_pg": 10.0}, "must be given together"),
        ({"iron_per_cell_sd_pg": 1.0}, "must be given together"),
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(LabelError, match=f"label sample: .*{message}"):
        make_label(**changes)
