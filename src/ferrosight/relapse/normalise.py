"""What was measured, freed from what is not growth: the visit's factor, iron of earlier doses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.types.relapse import Measured


def take_off_reference(measured: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Values, their standard deviations, and the relative standard deviation of what is left of the visit's factor."""
    values, sds = measured.values, measured.sds
    if measured.before_dose is not None:
        values = values - measured.before_dose[0]
        sds = np.hypot(sds, measured.before_dose[1])
    if measured.reference is None:
        return values, sds, measured.factor_sd_max or 0.0
    return values / measured.reference, sds / measured.reference, measured.reference_rel_err


def predict_carry_over(births: NDArray[np.int64], n_visits: int, retained: float) -> NDArray[np.float64]:
    """Amount after each visit's dose over that of one dose alone, (n_lineages, n_visits).

    1 + ρ + … + ρⁿ, n visits after the birth. Divided by it, iron of clusters that do not grow never rises, whatever
    constant share up to ρ is kept and however long before its birth the cluster was first reached by a dose. The
    birth's own measurement, which only serves to predict, is put on the scale of the next.
    """
    after = np.maximum(np.arange(n_visits) - births[:, None], 1)
    return np.asarray(np.cumsum(retained ** np.arange(n_visits))[after], dtype=np.float64)
