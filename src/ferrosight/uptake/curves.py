"""The fit as curves beside the measurements: load against dose, and against time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ferrosight.types.uptake import FittedCurve, UptakeFit
from ferrosight.uptake.assays import Experiment
from ferrosight.uptake.model import log_load
from ferrosight.uptake.quantities import LogEstimate, log_estimate

Array = NDArray[np.float64]

_POINTS = 61


def trace_curves(fit: UptakeFit, experiment: Experiment) -> tuple[FittedCurve, FittedCurve]:
    """Load against dose right after the longest exposure, and against time at the reference dose.

    Along time the exposure is the longest, unless nothing that was exposed so long was kept: then that of what was.
    """
    iron, reference = experiment.iron, fit.reference_dose_ug_per_ml
    at_once = (iron.chase_h == 0) & np.isclose(iron.exposure_h, fit.longest_exposure_h)
    doses = np.asarray(fit.doses_ug_per_ml)
    x = np.geomspace(doses.min() / 1.6, doses.max() * 1.6, _POINTS)
    dose = _curve(
        fit,
        "dose",
        f"after {fit.longest_exposure_h:g} h",
        x,
        x,
        np.full_like(x, fit.longest_exposure_h),
        np.zeros_like(x),
    )
    at_dose = np.isclose(iron.dose_ug_per_ml, reference)
    kept = iron.exposure_h[at_dose & (iron.chase_h > 0)]
    exposure = float(kept.max()) if len(kept) else fit.longest_exposure_h
    shown = at_dose & ((iron.chase_h == 0) | np.isclose(iron.exposure_h, exposure))
    after = (iron.exposure_h + iron.chase_h)[shown]
    end = max(float(after.max(initial=exposure)), exposure) * 1.05
    t = np.unique(np.append(np.linspace(end / _POINTS, end, _POINTS), exposure))
    time = _curve(
        fit,
        "time",
        f"{reference:g} µg/mL, washed off at {exposure:g} h",
        t,
        np.full_like(t, reference),
        np.minimum(t, exposure),
        np.maximum(t - exposure, 0.0),
    )
    return (
        replace(dose, measured_x=iron.dose_ug_per_ml[at_once], measured=iron.iron_per_cell_pg[at_once]),
        replace(time, measured_x=after, measured=iron.iron_per_cell_pg[shown]),
    )


def _curve(
    fit: UptakeFit, along: str, condition: str, x: Array, dose: Array, exposure: Array, chase: Array
) -> FittedCurve:
    onset, reference = fit.exocytosis_onset_h, fit.reference_dose_ug_per_ml

    def estimate(dose_ug_per_ml: float, exposure_h: float, chase_h: float) -> LogEstimate:
        return log_estimate(
            fit, lambda theta: float(log_load(theta, dose_ug_per_ml, exposure_h, chase_h, onset, reference))
        )

    estimates = [estimate(*at) for at in zip(dose.tolist(), exposure.tolist(), chase.tolist(), strict=True)]
    value = np.array([one.value for one in estimates])
    half = np.array([one.half_width for one in estimates])
    band = np.exp(value - half), np.exp(value + half)
    nothing = np.zeros(0)
    return FittedCurve(
        fit.cell_type, fit.particle, along, condition, x, np.exp(value), *band, measured_x=nothing, measured=nothing
    )
