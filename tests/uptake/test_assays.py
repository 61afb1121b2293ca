"""Assays are sorted by cell type and particle; what makes no sense is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.uptake.assays import sort_experiments

IRON = {
    "cell_type": "MSC", "particle": "A", "batch": "b1", "assay": "icp", "dose_ug_per_ml": 50.0, "exposure_h": 24.0,
    "iron_per_cell_pg": 10.0,
}  # fmt: skip


def test_rows_are_sorted_by_cell_type_and_particle_and_diameters_go_with_every_particle(assay_table):
    rows = [
        IRON,
        {**IRON, "particle": "B", "iron_per_cell_pg": 5.0, "chase_h": 48.0},
        {**IRON, "cell_type": "MAPC", "iron_per_cell_pg": 2.0},
        {"cell_type": "MSC", "diameter_um": 18.0},
        {"cell_type": "MAPC", "doubling_time_h": 20.0},
    ]
    found = sort_experiments(assay_table(rows))
    assert [(one.cell_type, one.particle) for one in found] == [("MSC", "A"), ("MSC", "B"), ("MAPC", "A")]
    assert [one.iron.iron_per_cell_pg.tolist() for one in found] == [[10.0], [5.0], [2.0]]
    assert [one.iron.chase_h.tolist() for one in found] == [[0.0], [48.0], [0.0]]
    assert [one.diameter_um.tolist() for one in found] == [[18.0], [18.0], []]
    assert [one.doubling_time_h.tolist() for one in found] == [[], [], [20.0]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iron_per_cell_pg": np.nan}, "row 2 of the assays must fill one of"),
        ({"diameter_um": 12.0}, "fills iron_per_cell_pg and diameter_um"),
        ({"cell_type": ""}, "must name its cell_type"),
        ({"particle": ""}, "must name its particle"),
        ({"assay": "spectrometry"}, "assay must be one of icp, ferrozine, relaxometry, but is 'spectrometry'"),
        ({"assay": ""}, "but is 'n/a'"),
        ({"dose_ug_per_ml": np.nan}, "must give dose_ug_per_ml"),
        ({"dose_ug_per_ml": 0.0}, "control without label"),
        ({"dose_ug_per_ml": -50.0}, "dose_ug_per_ml must be positive"),
        ({"exposure_h": np.nan}, "must give exposure_h"),
        ({"exposure_h": 86400.0}, "exposure_h must lie between"),
        ({"iron_per_cell_pg": -1.0}, "iron_per_cell_pg must be positive"),
        ({"iron_per_cell_pg": 0.0}, "iron_per_cell_pg must be positive"),
        ({"iron_per_cell_pg": 12000.0}, "the unit is in the column's name"),
        ({"iron_per_cell_pg": 0.01}, "are units mixed?"),
        ({"chase_h": -3.0}, "chase_h must be positive"),
        ({"batch": ""}, "every row of iron must name its batch"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(assay_table, changes, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")) as raised:
        sort_experiments(assay_table([IRON, {**IRON, **changes}]))
    assert len(str(raised.value).split(". ")) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "must hold at least one row"),
        ([{"cell_type": "MSC", "diameter_um": 18.0}], "none has a value"),
        ([IRON, {"cell_type": "MCS", "diameter_um": 18.0}], "is a cell_type misspelt"),
        ([IRON, *({"cell_type": "MSC", "doubling_time_h": t} for t in (20.0, 1200.0))], "units mixed"),
        ([IRON, *({"cell_type": "MSC", "diameter_um": d} for d in (18.0, 0.018))], "diameter_um must lie between"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(assay_table, rows, said):
    with pytest.raises(InputError, match=said):
        sort_experiments(assay_table(rows))
