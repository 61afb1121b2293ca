"""The load of a cell under the parameters of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ferrosight.cells.load import trace_load

Array = NDArray[np.float64]


def log_load(
    value: Mapping[str, float],
    dose_ug_per_ml: Array | float,
    exposure_h: Array | float,
    chase_h: Array | float,
    onset_h: float,
    reference_dose: float,
) -> Array:
    """Logarithm of the mean iron per living cell, pg, under parameters by name."""
    half = math.exp(value["log_half_dose"])
    dose = np.asarray(dose_ug_per_ml, dtype=np.float64)
    saturation = dose / (half + dose) * (half + reference_dose) / reference_dose
    unit = trace_load(saturation, value["division_per_h"], value["exocytosis_per_h"], exposure_h, chase_h, onset_h)
    return np.asarray(value["log_uptake"] + np.log(unit))
