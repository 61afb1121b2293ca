"""The load on each imaging day: from the fit of a cell type to iron per cell, with all that is not known of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.cells.dilution import iron_left, spread_between_cells
from ferrosight.errors import InputError
from ferrosight.types.calibration import Calibration
from ferrosight.types.label import IronPerCell
from ferrosight.types.table import Table
from ferrosight.types.uptake import UPTAKE, Fate, Labelling, Rate, UptakeCourse, UptakeFit
from ferrosight.uptake.model import log_load
from ferrosight.uptake.quantities import LogEstimate, log_estimate

Array = NDArray[np.float64]

_Z95 = 1.959963984540054
_HOURS = 24.0


def predict_course(fit: UptakeFit, labelling: Labelling, fate: Fate, days: Sequence[float]) -> UptakeCourse:
    """Iron per living cell on ``days`` after the label was washed off, for the next batch that is labelled.

    The spread holds that between batches and the errors of the kinetics; where few batches were assayed it is widened
    to the log-normal whose 95 % interval is Student's.

    Raises
    ------
    InputError
        The data do not hold what is asked: another dose than the only one assayed, or days that need a rate of division
        or exocytosis that neither the fit nor ``fate`` knows.
    """
    _check_asked(fit, labelling, fate, days)
    rows = [_predict_day(fit, labelling, fate, day) for day in sorted(set(days))]
    source = (
        f"{fit.title}, {labelling.dose_ug_per_ml:g} µg/mL for {labelling.exposure_h:g} h, "
        f"fitted to {fit.n_iron} assays of {fit.n_batches or 'unnamed'} batches"
    )
    return UptakeCourse(Table.from_rows(UPTAKE, rows), source, _notes(fit, labelling, fate))


def load_on_day(course: UptakeCourse, day: float) -> IronPerCell:
    """Iron per cell ``day`` days after labelling; between the days of the table its logarithm changes evenly.

    Raises
    ------
    InputError
        The day lies outside the table.
    """
    days = course.table["day"]
    if not days[0] <= day <= days[-1]:
        raise InputError(
            f"the course of iron per cell must hold day {day:g} after labelling, but has days {days[0]:g} to "
            f"{days[-1]:g}; predict that day, too."
        )
    mean = float(np.exp(np.interp(day, days, np.log(course.table["iron_per_cell_pg"]))))
    rel_sd, cell_cv = (float(np.interp(day, days, course.table[name])) for name in ("batch_rel_sd", "cell_cv"))
    return IronPerCell(mean, mean * rel_sd, f"{course.source}; day {day:g} after labelling", cell_cv)


def carry_calibration(calibration: Calibration, course: UptakeCourse, day: float) -> Calibration:
    """The moment per cell on ``day`` after labelling: the phantom's, times the course's ratio of that day's load to it.

    The level of the course cancels, and with it the spread between its batches; what is not known of division and
    exocytosis (``kept_rel_sd``) widens both errors. Between two days after day 0 their errors count as independent,
    which is too wide where they grow together. A course that does not say it gives its whole spread instead.

    Raises
    ------
    InputError
        The day of the visit or of the phantom lies outside the course.
    """
    now, then = load_on_day(course, day), load_on_day(course, calibration.day)
    if day == calibration.day:
        return calibration
    errors = [_kept_rel_sd(course, on) for on in (day, calibration.day)]
    carried = math.hypot(*errors) if all(map(math.isfinite, errors)) else max(now.rel_sd, then.rel_sd)
    ratio = now.mean_pg / then.mean_pg
    cell_cv = calibration.cell_cv if now.cell_cv is None else now.cell_cv
    return dataclasses.replace(
        calibration,
        moment_per_cell_am2=calibration.moment_per_cell_am2 * ratio,
        rel_sd=_multiply_spreads(calibration.rel_sd, carried),
        mean_rel_sd=_multiply_spreads(calibration.mean_rel_sd, carried),
        cell_cv=cell_cv,
        day=day,
        source=f"{calibration.source}; carried from day {calibration.day:g} after labelling to day {day:g} by "
        f"{ratio:.3g} ± {carried:.0%} ({course.source})",
    )


def _kept_rel_sd(course: UptakeCourse, day: float) -> float:
    return float(np.interp(day, course.table["day"], course.table["kept_rel_sd"]))


def _multiply_spreads(one: float, other: float) -> float:
    """Relative standard deviation of a product of independent factors."""
    return math.sqrt((1 + one**2) * (1 + other**2) - 1)


def describe_load(estimate: LogEstimate) -> dict[str, float]:
    """Mean, 95 % interval, and the relative spread of the log-normal that has an interval as wide.

    The mean takes the variance itself: widened for few batches it would count too few cells.
    """
    half = estimate.half_width
    return {
        "iron_per_cell_pg": math.exp(estimate.value + float(estimate.parts.sum()) / 2),
        "iron_per_cell_pg_low": math.exp(estimate.value - half),
        "iron_per_cell_pg_high": math.exp(estimate.value + half),
        "batch_rel_sd": _relative_spread(estimate),
    }


def _predict_day(fit: UptakeFit, labelling: Labelling, fate: Fate, day: float) -> dict[str, float]:
    hours = day * _HOURS
    losing = max(hours - max(fit.exocytosis_onset_h - labelling.exposure_h, 0.0), 0.0)
    estimate = log_estimate(fit, lambda theta: _log_load(fit, labelling, fate, theta, hours, losing), next_batch=True)
    estimate = _with_given(estimate, fate, hours, losing)
    divide, leave = (
        _rate(fit, fate.division_per_h, "division_per_h"),
        _rate(fit, fate.exocytosis_per_h, "exocytosis_per_h"),
    )
    leave = max(leave, 0.0)
    gone = 1 - math.exp(-leave * losing)
    doublings = max(divide, 0.0) * hours / math.log(2)
    return {
        "day": day,
        **describe_load(estimate),
        "cell_cv": float(spread_between_cells(fate.cell_cv, doublings, fate.division, gone)),
        "iron_left": float(iron_left(leave, fate.death_per_h, hours, hours - losing)),
        "kept_rel_sd": _relative_spread(_log_kept(fit, fate, hours, losing)),
    }


def _log_kept(fit: UptakeFit, fate: Fate, hours: float, losing_h: float) -> LogEstimate:
    """Logarithm of iron per cell over that of day 0, in the same batch."""
    kept = log_estimate(fit, lambda theta: -_log_diluted(fate, theta, hours, losing_h))
    return _with_given(kept, fate, hours, losing_h)


def _with_given(estimate: LogEstimate, fate: Fate, hours: float, losing_h: float) -> LogEstimate:
    """With the errors of what was measured elsewhere, which are independent of the fit's."""
    for rate, time in ((fate.division_per_h, hours), (fate.exocytosis_per_h, losing_h)):
        if rate is not None:
            estimate = estimate.with_known((rate.sd * time) ** 2)
    return estimate


def _relative_spread(estimate: LogEstimate) -> float:
    """That of the log-normal with an interval as wide."""
    return math.sqrt(math.expm1((estimate.half_width / _Z95) ** 2))


def _log_load(
    fit: UptakeFit, labelling: Labelling, fate: Fate, theta: dict[str, float], hours: float, losing_h: float
) -> float:
    """Loaded at the culture's own rate of division, then diluted at that of where the cells went."""
    loaded = log_load(
        theta,
        labelling.dose_ug_per_ml,
        labelling.exposure_h,
        0.0,
        fit.exocytosis_onset_h,
        fit.reference_dose_ug_per_ml,
    )
    return float(loaded) - _log_diluted(fate, theta, hours, losing_h)


def _log_diluted(fate: Fate, theta: dict[str, float], hours: float, losing_h: float) -> float:
    divide = theta["division_per_h"] if fate.division_per_h is None else fate.division_per_h.mean
    leave = theta["exocytosis_per_h"] if fate.exocytosis_per_h is None else fate.exocytosis_per_h.mean
    return divide * hours + leave * losing_h


def _rate(fit: UptakeFit, given: Rate | None, name: str) -> float:
    return fit.value(name) if given is None else given.mean


def _check_asked(fit: UptakeFit, labelling: Labelling, fate: Fate, days: Sequence[float]) -> None:
    if not days or not all(0 <= day < math.inf for day in days):
        raise InputError(f"imaging days must be zero or positive numbers since labelling, but are {list(days)}.")
    doses = fit.doses_ug_per_ml
    if "log_half_dose" in fit.held and not math.isclose(labelling.dose_ug_per_ml, fit.reference_dose_ug_per_ml):
        raise InputError(
            f"{fit.title} was assayed at {doses[0]:g} µg/mL alone, so that the load at {labelling.dose_ug_per_ml:g} "
            "µg/mL is not known; assay other doses."
        )
    last_h = max(days) * _HOURS
    if last_h > 0 and "division_per_h" in fit.held and fate.division_per_h is None:
        raise InputError(
            f"the assays of {fit.title} do not show how fast the cells divide; give a doubling time, or predict day 0 "
            "only."
        )
    onset = max(fit.exocytosis_onset_h - labelling.exposure_h, 0.0)
    if last_h > onset and "exocytosis_per_h" in fit.held and fate.exocytosis_per_h is None:
        raise InputError(
            f"the assays of {fit.title} do not show exocytosis, which begins {onset / _HOURS:g} days after labelling; "
            "give its rate, or assay iron later."
        )


def _notes(fit: UptakeFit, labelling: Labelling, fate: Fate) -> tuple[str, ...]:
    doses, dose = fit.doses_ug_per_ml, labelling.dose_ug_per_ml
    notes = list(fit.notes)
    if not doses[0] <= dose <= doses[-1]:
        notes.append(f"{dose:g} µg/mL lies outside the assayed doses, {doses[0]:g} to {doses[-1]:g}: extrapolated.")
    if labelling.exposure_h > fit.longest_exposure_h:
        notes.append(f"{labelling.exposure_h:g} h is longer than any exposure assayed, {fit.longest_exposure_h:g} h.")
    if fate.division_per_h is None:
        notes.append("Cells are taken to divide as fast as in culture; where they were put they may not.")
    notes.append(
        f"A spread of {fate.cell_cv:.0%} between freshly labelled cells, and of {fate.division.cycle_cv:.0%} between "
        "cell cycles, are assumptions unless measured."
    )
    return tuple(notes)
