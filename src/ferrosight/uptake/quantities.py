"""What a fit says in words that a biologist uses, with intervals, and how sure it is that the data say it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ferrosight.cells.load import surface_um2
from ferrosight.errors import InputError
from ferrosight.numerics.mixed_model import (
    MixedFit,
    combined_quantile,
    differentiate,
    profile_interval,
    split_variance,
)
from ferrosight.types.uptake import Comparison, Quantity, UptakeFit
from ferrosight.uptake.model import log_load

Array = NDArray[np.float64]

#: A dose of half uptake this many times the highest dose is a straight line: its best value means nothing.
_STRAIGHT = 100.0


@dataclass(frozen=True)
class _Asked:
    """A quantity: a function of the parameters, what turns it into its unit, and which parameters it rests on."""

    name: str
    unit: str
    meaning: str
    rests_on: tuple[str, ...]
    function: Callable[[dict[str, float]], float]
    present: Callable[[float], float] = math.exp


def list_quantities(described: UptakeFit, fit: MixedFit, free: NDArray[np.int64]) -> UptakeFit:
    """The same fit with its quantities, by profile likelihood."""

    def by_name(theta: Array) -> dict[str, float]:
        full = described.theta.copy()
        full[free] = theta
        return dict(zip(described.names, full.tolist(), strict=True))

    quantities: list[Quantity] = []
    for asked in _ask(described):
        if any(name in described.held for name in asked.rests_on):
            quantities.append(_unknown(asked, described))
            continue
        low, high = profile_interval(fit, lambda theta, f=asked.function: f(by_name(theta)))  # type: ignore[misc]
        value = asked.function(by_name(fit.theta))
        if asked.name == "full_uptake" and quantities[-1].high == math.inf:
            high = math.inf  # where no dose of half uptake is too high, no full uptake is
        if asked.name == "full_uptake" and quantities[-1].value == math.inf:
            value = math.inf
        if asked.name == "half_dose" and value > math.log(described.doses_ug_per_ml[-1] * _STRAIGHT):
            value = math.inf
        quantities.append(_make_quantity(asked, value, low, high, described))
    return dataclasses.replace(described, quantities=tuple(quantities))


def _make_quantity(asked: _Asked, value: float, low: float, high: float, fit: UptakeFit) -> Quantity:
    first, last = sorted((_present(asked, low), _present(asked, high)))
    known = math.isfinite(low) and math.isfinite(high) and last < math.inf
    advice = "" if known else _advise(asked, fit)
    return Quantity(asked.name, asked.unit, _present(asked, value), first, last, asked.meaning, advice)


def log_per_surface(value: dict[str, float]) -> float:
    """Logarithm of uptake per 1000 µm² of surface, pg/h, at the reference dose."""
    return value["log_uptake"] - math.log(float(surface_um2(math.exp(value["log_diameter"]))) / 1e3)


def _ask(fit: UptakeFit) -> list[_Asked]:
    dose = fit.reference_dose_ug_per_ml

    def full_uptake(value: dict[str, float]) -> float:
        return value["log_uptake"] + math.log((math.exp(value["log_half_dose"]) + dose) / dose)

    def load(value: dict[str, float]) -> float:
        return float(log_load(value, dose, fit.longest_exposure_h, 0.0, fit.exocytosis_onset_h, dose))

    at = f"at {dose:g} µg/mL"
    return [
        _Asked("load", "pg", f"Iron per cell {at} for {fit.longest_exposure_h:g} h.", (), load),
        _Asked("uptake", "pg/h", f"Uptake per cell {at}.", (), lambda v: v["log_uptake"]),
        _Asked("half_dose", "µg/mL", "Dose of half uptake.", ("log_half_dose",), lambda v: v["log_half_dose"]),
        _Asked("full_uptake", "pg/h", "Uptake per cell at saturating dose.", ("log_half_dose",), full_uptake),
        _Asked(
            "doubling_time",
            "h",
            "Doubling time.",
            ("division_per_h",),
            lambda v: v["division_per_h"],
            lambda rate: math.log(2) / rate if rate > 0 else math.inf,
        ),
        _Asked(
            "exocytosis",
            "1/d",
            f"Exocytosis from {fit.exocytosis_onset_h:g} h on.",
            ("exocytosis_per_h",),
            lambda v: v["exocytosis_per_h"],
            lambda rate: max(24 * rate, 0.0),
        ),
        _Asked("diameter", "µm", "Cell diameter.", ("log_diameter",), lambda v: v["log_diameter"]),
        _Asked(
            "uptake_per_surface", "pg/h per 1000 µm²", f"Uptake per surface {at}.", ("log_diameter",), log_per_surface
        ),
    ]


def _present(asked: _Asked, value: float) -> float:
    return asked.present(value) if math.isfinite(value) or asked.present is not math.exp else _exp_of_infinity(value)


def _exp_of_infinity(value: float) -> float:
    return 0.0 if value < 0 else math.inf


def _unknown(asked: _Asked, fit: UptakeFit) -> Quantity:
    low = 0.0
    return Quantity(asked.name, asked.unit, math.nan, low, math.inf, asked.meaning, _advise(asked, fit))


def _advise(asked: _Asked, fit: UptakeFit) -> str:
    """The experiment that would determine it."""
    doses = fit.doses_ug_per_ml
    if asked.name in ("full_uptake", "half_dose"):
        if len(doses) < 2:
            return (
                f"One dose does not show saturation: assay cells at {doses[0] / 4:g} and {doses[0] * 4:g} µg/mL, too."
            )
        return f"Doses from {doses[0]:g} to {doses[-1]:g} µg/mL do not show where uptake saturates: widen the range."
    if asked.name == "doubling_time":
        return "Give rows of doubling_time_h, or assay iron after several chase_h before exocytosis begins."
    if asked.name == "exocytosis":
        return f"Assay iron at two or more chase_h beyond {fit.exocytosis_onset_h:g} h, and give doubling_time_h."
    if asked.name in ("diameter", "uptake_per_surface"):
        return "Give rows of diameter_um."
    return "Give more rows of iron_per_cell_pg."


@dataclass(frozen=True)
class LogEstimate:
    """A logarithm with the parts of its variance, and their degrees of freedom."""

    value: float
    parts: Array
    dofs: Array

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval."""
        return combined_quantile(self.parts, self.dofs) * math.sqrt(float(self.parts.sum()))

    def minus(self, other: LogEstimate) -> LogEstimate:
        """The difference of two independent ones."""
        parts, dofs = np.append(self.parts, other.parts), np.append(self.dofs, other.dofs)
        return LogEstimate(self.value - other.value, parts, dofs)

    def with_known(self, variance: float) -> LogEstimate:
        """The same with an independent error of known variance."""
        return LogEstimate(self.value, np.append(self.parts, variance), np.append(self.dofs, np.inf))


def log_estimate(
    fit: UptakeFit, function: Callable[[dict[str, float]], float], *, next_batch: bool = False
) -> LogEstimate:
    """A function of the parameters (a logarithm) and its error.

    With ``next_batch`` the error is that of another batch's own value: the spread between batches is added.
    """
    theta = fit.theta
    gradient = differentiate(lambda t: np.array([function(dict(zip(fit.names, t.tolist(), strict=True)))]), theta)[0]
    weights = np.einsum("i,kij,j->k", gradient, fit.slopes, gradient)
    known = float(gradient @ fit.covariance @ gradient) - float(weights @ fit.variances)
    if next_batch and "batch" in fit.variance_names:
        weights[fit.variance_names.index("batch")] += 1.0
    elif next_batch:
        known += fit.batch_log_sd**2
    parts, dofs = split_variance(weights, fit.variances, known, fit.strata, fit.dofs)
    return LogEstimate(function(dict(zip(fit.names, theta.tolist(), strict=True))), parts, dofs)


def compare_cell_types(fits: Sequence[UptakeFit]) -> tuple[Comparison, ...]:
    """Ratios between cell types that were given the same particle, the larger first, with 95 % intervals.

    The load is compared at the highest dose that both were given, for the shorter of their longest exposures.
    """
    found: list[Comparison] = []
    for one, other in combinations(fits, 2):
        if one.particle == other.particle:
            found += [ratio for ratio in (_compare(one, other, name) for name in _COMPARED) if ratio is not None]
    return tuple(found)


_COMPARED = ("load", "uptake", "uptake_per_surface", "diameter", "surface", "doubling_time")


def _compare(one: UptakeFit, other: UptakeFit, name: str) -> Comparison | None:
    needs = {
        "uptake_per_surface": "log_diameter",
        "diameter": "log_diameter",
        "surface": "log_diameter",
        "doubling_time": "division_per_h",
    }
    if needs.get(name) in (*one.held, *other.held):
        return None
    common = sorted(set(one.doses_ug_per_ml) & set(other.doses_ug_per_ml))
    if name in ("load", "uptake", "uptake_per_surface") and not common:
        return None
    exposure = min(one.longest_exposure_h, other.longest_exposure_h)
    dose = common[-1] if common else math.nan
    a, b = (log_estimate(fit, _log_of(fit, name, dose, exposure)) for fit in (one, other))
    difference = a.minus(b)
    if not math.isfinite(difference.value):
        return None
    larger, smaller = (one, other) if difference.value >= 0 else (other, one)
    ratio, half = abs(difference.value), difference.half_width
    return Comparison(
        one.particle,
        larger.cell_type,
        smaller.cell_type,
        name,
        math.exp(ratio),
        math.exp(ratio - half),
        math.exp(ratio + half),
    )


def _log_of(fit: UptakeFit, name: str, dose: float, exposure_h: float) -> Callable[[dict[str, float]], float]:
    reference = fit.reference_dose_ug_per_ml

    def load(value: dict[str, float]) -> float:
        return float(log_load(value, dose, exposure_h, 0.0, fit.exocytosis_onset_h, reference))

    def uptake(value: dict[str, float]) -> float:
        half = math.exp(value["log_half_dose"])
        return value["log_uptake"] + math.log(dose / (half + dose) * (half + reference) / reference)

    functions: dict[str, Callable[[dict[str, float]], float]] = {
        "load": load,
        "uptake": uptake,
        "uptake_per_surface": lambda v: uptake(v) - 2 * v["log_diameter"],
        "diameter": lambda v: v["log_diameter"],
        "surface": lambda v: 2 * v["log_diameter"],
        "doubling_time": lambda v: math.log(math.log(2) / v["division_per_h"]) if v["division_per_h"] > 0 else math.nan,
    }
    if name not in functions:
        raise InputError(f"cell types are compared by {', '.join(functions)}, but {name!r} was asked for.")
    return functions[name]
