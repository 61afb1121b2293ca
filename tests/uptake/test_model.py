"""The fitted model is the cells' own, in the parameters that the data hold."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.uptake.model import log_load


@pytest.mark.parametrize(
    ("dose", "exposure_h", "chase_h"), [(50.0, 24.0, 0.0), (10.0, 6.0, 30.0), (300.0, 72.0, 200.0)]
)
def test_parameters_at_a_reference_dose_give_the_cells_load(cells, dose, exposure_h, chase_h):
    one, reference = cells(), 50.0
    value = {
        "log_uptake": np.log(one.full_uptake * reference / (one.half_dose + reference)),
        "log_half_dose": np.log(one.half_dose),
        "division_per_h": np.log(2) / one.doubling_h,
        "exocytosis_per_h": one.exocytosis_per_h,
    }
    found = np.exp(log_load(value, dose, exposure_h, chase_h, one.onset_h, reference))
    assert found == pytest.approx(one.load(dose, exposure_h, chase_h), rel=1e-12)
