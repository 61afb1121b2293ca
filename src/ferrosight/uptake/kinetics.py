"""From assays to rates: uptake, its saturation, division, exocytosis, each with what the data say about it.

Of a cell type with a particle, the mean iron per living cell is that of ``cells.load.trace_load``; assays differ from
it by a factor per assay (where there are several), per batch and per measurement, log-normal each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.numerics.mixed_model import MixedFit, MixedProblem, differentiate, fit_mixed
from ferrosight.types.uptake import UptakeFit
from ferrosight.uptake.assays import IRON_ASSAYS, Experiment
from ferrosight.uptake.model import log_load
from ferrosight.uptake.quantities import list_quantities

Array = NDArray[np.float64]

#: Exocytosis begins about 48 h after labelling.
EXOCYTOSIS_ONSET_H = 48.0
#: Between batches where fewer than three were assayed: that between the assays of Arbab et al. 2004, an assumption.
ASSUMED_BATCH_REL_SD = 0.17
#: Of a doubling time or a diameter that was measured once: an assumption.
ASSUMED_SINGLE_REL_SD = 0.2
LEAST_BATCHES = 3
_LEAST_SPARE_ROWS = 2
_ORDER = ("log_uptake", "log_diameter", "division_per_h", "log_half_dose", "exocytosis_per_h")


@dataclass(frozen=True)
class Layout:
    """What is fitted to what: all rows' logarithms, the parameters' names and those held, and the scatters."""

    experiment: Experiment
    onset_h: float
    reference_dose: float
    names: tuple[str, ...]
    start: Array
    low: Array
    high: Array
    gains: tuple[str, ...]

    def predict(self, theta: Array) -> Array:
        """Logarithms of iron, then doubling times, then diameters."""
        value = dict(zip(self.names, theta, strict=True))
        iron = self.experiment.iron
        logs = log_load(value, iron.dose_ug_per_ml, iron.exposure_h, iron.chase_h, self.onset_h, self.reference_dose)
        for assay in self.gains:
            logs = logs + value[f"gain_{assay}"] * (iron.assay == assay)
        parts = [logs]
        if len(self.experiment.doubling_time_h):
            rate = max(value["division_per_h"], 1e-9)
            parts.append(np.full(len(self.experiment.doubling_time_h), math.log(math.log(2) / rate)))
        if len(self.experiment.diameter_um):
            parts.append(np.full(len(self.experiment.diameter_um), value["log_diameter"]))
        return np.concatenate(parts)

    @property
    def measured(self) -> Array:
        """The logarithms that ``predict`` is held against."""
        one = self.experiment
        values: Array = np.concatenate([one.iron.iron_per_cell_pg, one.doubling_time_h, one.diameter_um])
        return np.asarray(np.log(values))


def fit_kinetics(experiment: Experiment, *, exocytosis_onset_h: float = EXOCYTOSIS_ONSET_H) -> UptakeFit:
    """Fit one experiment; parameters that its data do not hold are held, and named in ``held``.

    Raises
    ------
    InputError
        There are too few assays of iron for the scatter between them to be seen.
    """
    layout = _lay_out(experiment, exocytosis_onset_h)
    free = _find_free(layout)
    n = len(experiment.iron.dose_ug_per_ml)
    elsewhere = {"log_diameter"} | ({"division_per_h"} if len(experiment.doubling_time_h) else set())
    spare = n - sum(layout.names[i] not in elsewhere for i in free)
    if spare < _LEAST_SPARE_ROWS:
        raise InputError(
            f"{experiment.cell_type} with {experiment.particle}: {n} assay(s) of iron cannot show their own scatter; "
            f"give at least {n + _LEAST_SPARE_ROWS - spare}, or fewer conditions with repeats."
        )
    patterns, known, variance_names = _scatters(experiment)
    start = np.array([0.02 if name in ("assay", "batch") else 0.01 for name in variance_names])

    def model(theta: Array) -> Array:
        full = layout.start.copy()
        full[free] = theta
        return layout.predict(full)

    strata, dofs = _strata(experiment, variance_names, spare)
    problem = MixedProblem(model, layout.measured, patterns, known, layout.low[free], layout.high[free], strata, dofs)
    fit = fit_mixed(problem, layout.start[free], start)
    return _describe_fit(layout, free, fit, variance_names)


def _lay_out(experiment: Experiment, onset_h: float) -> Layout:
    iron = experiment.iron
    used = [assay for assay in IRON_ASSAYS if assay in iron.assay]
    gains = tuple(used[1:])
    doses = iron.dose_ug_per_ml
    reference = float(np.exp(np.median(np.log(doses))))
    reference = float(doses[np.argmin(np.abs(np.log(doses / reference)))])
    has_doubling = bool(len(experiment.doubling_time_h))
    doubling = float(np.exp(np.log(experiment.doubling_time_h).mean())) if has_doubling else math.inf
    diameter = float(np.log(experiment.diameter_um).mean()) if len(experiment.diameter_um) else 0.0
    held = {
        "log_uptake": (0.0, -40.0, 40.0),
        "log_diameter": (diameter, diameter - 3, diameter + 3),
        "division_per_h": (math.log(2) / doubling, 1e-5 if has_doubling else -0.1, 0.5),
        "log_half_dose": (math.log(reference), math.log(doses.min() / 300), math.log(doses.max() * 300)),
        "exocytosis_per_h": (0.0, -0.1, 0.5),
        **{f"gain_{assay}": (0.0, -5.0, 5.0) for assay in gains},
    }
    start, low, high = (np.array(column) for column in zip(*held.values(), strict=True))
    layout = Layout(experiment, onset_h, reference, tuple(held), start, low, high, gains)
    n = len(doses)
    start[0] = float(np.mean(layout.measured[:n] - layout.predict(start)[:n]))
    return layout


def _find_free(layout: Layout) -> NDArray[np.int64]:
    """Parameters that move the predictions in a direction of their own, in order of ``_ORDER`` and then gains."""
    generic = layout.start.copy()
    names = list(layout.names)
    generic[names.index("exocytosis_per_h")] = 0.004
    if not len(layout.experiment.doubling_time_h):
        generic[names.index("division_per_h")] = 0.01
    slope = differentiate(layout.predict, generic)
    basis = np.zeros((len(slope), 0))
    free = []
    for name in (*_ORDER, *(name for name in names if name.startswith("gain_"))):
        column = slope[:, names.index(name)]
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        if np.linalg.norm(rest) > 1e-5 * max(float(np.linalg.norm(column)), 1e-9) and np.linalg.norm(column) > 1e-9:
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
            free.append(names.index(name))
    return np.array(sorted(free))


def _scatters(experiment: Experiment) -> tuple[Array, Array, tuple[str, ...]]:
    """Patterns of the variances to be found, what is assumed of them besides, and their names."""
    iron, sizes = experiment.iron, [len(experiment.doubling_time_h), len(experiment.diameter_um)]
    n = len(iron.batch)
    total = n + sum(sizes)
    known = np.zeros((total, total))
    same = iron.batch[:, None] == iron.batch[None, :]
    batches = len(np.unique(iron.batch))
    patterns, names = [_diagonal(0, n, total)], ["assay"]
    block = np.zeros((total, total))
    block[:n, :n] = same
    if batches < LEAST_BATCHES:
        known += math.log1p(ASSUMED_BATCH_REL_SD**2) * block
    elif batches == n:
        names = ["batch"]  # one assay of each: what is between batches and between assays cannot be told apart
    else:
        patterns, names = [*patterns, block], [*names, "batch"]
    begin = n
    for name, size in zip(("doubling_time", "diameter"), sizes, strict=True):
        if size == 1:
            known += ASSUMED_SINGLE_REL_SD**2 * _diagonal(begin, 1, total)
        elif size > 1:
            patterns, names = [*patterns, _diagonal(begin, size, total)], [*names, name]
        begin += size
    return np.array(patterns), known, tuple(names)


def _strata(experiment: Experiment, variance_names: tuple[str, ...], spare: int) -> tuple[Array, Array]:
    """Between batches an assay's scatter shows less, by the number of a batch's assays; what is left has its own."""
    strata = np.eye(len(variance_names))
    counts = np.unique(experiment.iron.batch, return_counts=True)[1]
    of_each = {"doubling_time": len(experiment.doubling_time_h) - 1, "diameter": len(experiment.diameter_um) - 1}
    of_each |= {"assay": spare, "batch": spare}
    if {"assay", "batch"} <= set(variance_names):
        of_each |= {"assay": spare - len(counts) + 1, "batch": len(counts) - 1}
        strata[variance_names.index("batch"), variance_names.index("assay")] = float(np.mean(1 / counts))
    return strata, np.array([max(float(of_each[name]), 1.0) for name in variance_names])


def _diagonal(begin: int, size: int, total: int) -> Array:
    values = np.zeros(total)
    values[begin : begin + size] = 1.0
    return np.diag(values)


def _describe_fit(layout: Layout, free: NDArray[np.int64], fit: MixedFit, variance_names: tuple[str, ...]) -> UptakeFit:
    one, p, k = layout.experiment, len(layout.names), len(variance_names)
    theta, covariance, slopes = layout.start.copy(), np.zeros((p, p)), np.zeros((k, p, p))
    theta[free] = fit.theta
    covariance[np.ix_(free, free)] = fit.covariance
    for i in range(k):
        slopes[i][np.ix_(free, free)] = fit.slopes[i]
    batches = len(np.unique(one.iron.batch)) if one.iron.batch[0] else 0
    variances = dict(zip(variance_names, fit.variances, strict=True))
    between = math.sqrt(max(variances.get("batch", math.log1p(ASSUMED_BATCH_REL_SD**2)), 0.0))
    held = tuple(name for i, name in enumerate(layout.names) if i not in free)
    described = UptakeFit(
        cell_type=one.cell_type,
        particle=one.particle,
        names=layout.names,
        theta=theta,
        covariance=covariance,
        held=held,
        variance_names=variance_names,
        variances=fit.variances,
        slopes=slopes,
        strata=fit.problem.strata,
        dofs=fit.problem.dofs,
        reference_dose_ug_per_ml=layout.reference_dose,
        exocytosis_onset_h=layout.onset_h,
        batch_log_sd=between,
        n_iron=len(one.iron.dose_ug_per_ml),
        n_batches=batches,
        doses_ug_per_ml=tuple(sorted(set(one.iron.dose_ug_per_ml.tolist()))),
        longest_exposure_h=float(one.iron.exposure_h.max()),
        notes=_notes(layout, held, batches, fit),
    )
    return list_quantities(described, fit, free)


def _notes(layout: Layout, held: tuple[str, ...], batches: int, fit: MixedFit) -> tuple[str, ...]:
    one, notes = layout.experiment, []
    if batches < LEAST_BATCHES:
        said = "no batch is named" if batches == 0 else f"{batches} batch(es) cannot show how batches differ"
        notes.append(
            f"{said.capitalize()}: a spread of {ASSUMED_BATCH_REL_SD:.0%} between batches is assumed; label five "
            "or more."
        )
    elif batches == len(one.iron.batch):
        notes.append("Every batch was assayed once: the scatter of assays counts as a spread between batches.")
    for name, size in (("doubling time", len(one.doubling_time_h)), ("diameter", len(one.diameter_um))):
        if size == 1:
            notes.append(
                f"The {name} was measured once: a spread of {ASSUMED_SINGLE_REL_SD:.0%} is assumed; repeat it."
            )
    if "division_per_h" in held:
        notes.append("How fast the cells divide is not known: uptake is that left after dilution during the exposure.")
    for assay in layout.gains:
        first = next(a for a in IRON_ASSAYS if a in one.iron.assay)
        notes.append(f"Iron is that of {first}; {assay} is free to differ from it by a constant factor.")
    if one.iron.assay[0] == "relaxometry" and not layout.gains:
        notes.append("Relaxometry alone: relaxivity inside cells differs from that of free label; calibrate it by ICP.")
    if not fit.converged:
        notes.append("The fit did not settle: treat its intervals as lower bounds of what is unknown.")
    return tuple(notes)
