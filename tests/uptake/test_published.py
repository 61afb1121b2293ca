"""Published loads stand in the code as they were printed, each with its source."""

from __future__ import annotations

import pytest

from ferrosight.uptake.published import PUBLISHED_LOADS


@pytest.mark.parametrize(
    ("cells", "label", "mean_pg", "sd_pg"),
    [
        ("MSC", "ferumoxides–protamine", 10.94, 1.86),
        ("CD34+ progenitor", "ferumoxides–protamine", 2.01, 0.1),
        ("macrophage", "1.63 µm MPIO", 39.1, None),
        ("immortalised progenitor", "silica USPIO", 42.1, 4.0),
    ],
)
def test_a_published_load_is_as_printed(cells, label, mean_pg, sd_pg):
    (one,) = [load for load in PUBLISHED_LOADS if (load.cells, load.label) == (cells, label)]
    assert one.mean_pg == mean_pg
    assert sd_pg is None or one.sd_pg == sd_pg


def test_loads_agree_with_what_their_sources_say_besides():
    by_cells = {load.cells: load for load in PUBLISHED_LOADS}
    assert by_cells["macrophage"].mean_pg == pytest.approx(35 * 1.12, rel=0.01)  # about 35 particles of 1.12 pg
    assert by_cells["4T1"].mean_pg == pytest.approx(0.135e6 / 8355, rel=0.01)  # 0.135 µg in 8355 cells
    assert all(load.source for load in PUBLISHED_LOADS)
