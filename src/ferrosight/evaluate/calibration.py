"""Whether values and intervals of accepted clusters are right, where they are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.evaluate.counts import average_mean, average_median, count_share
from ferrosight.evaluate.masses import choose_mass, split_by_mass, true_mass
from ferrosight.types import Matching
from ferrosight.types.evaluation import Bias, Calibration, Coverage, KnownVisit, MassBias

Array = NDArray[np.float64]

_QUANTITIES = ("moment_am2", "iron_pg", "n_cells")
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class _Pairs:
    """Columns of the accepted clusters and of the labelled bodies they found, (n_pairs,) each."""

    visits: Sequence[KnownVisit]
    matchings: Sequence[Matching]

    def measured(self, column: str) -> Array:
        pairs = zip(self.visits, self.matchings, strict=True)
        return np.concatenate([visit.clusters[column][matching.body >= 0] for visit, matching in pairs])

    def true(self, column: str) -> Array:
        pairs = zip(self.visits, self.matchings, strict=True)
        return np.concatenate(
            [true_mass(visit.truth, column)[matching.body[matching.body >= 0]] for visit, matching in pairs]
        )


def evaluate_calibration(visits: Sequence[KnownVisit], matchings: Sequence[Matching]) -> Calibration:
    """Bias and interval coverage over all ``visits``; ``matchings`` are those of each visit's accepted candidates.

    Moment, iron and cells are each compared where both tables have them, and left out where no pair has.
    """
    pairs = _Pairs(visits, matchings)
    mass = pairs.true(choose_mass(visits))
    biases = (_find_bias(column, pairs.measured(column), pairs.true(column), mass) for column in _QUANTITIES)
    moment, err = pairs.measured("moment_am2"), pairs.measured("moment_am2_err")
    intervals = {
        "moment_am2 ± 1.96 moment_am2_err": ("moment_am2", moment - _NORMAL_95 * err, moment + _NORMAL_95 * err)
    }
    for column in _QUANTITIES:
        ends = pairs.measured(f"{column}_low"), pairs.measured(f"{column}_high")
        intervals[f"{column}_low to {column}_high"] = (column, *ends)
    coverages = (_cover(name, pairs.true(column), low, high) for name, (column, low, high) in intervals.items())
    return Calibration(
        bias=tuple(one for one in biases if one.mean.n), coverage=tuple(one for one in coverages if one.covered.total)
    )


def _find_bias(column: str, measured: Array, true: Array, mass: Array) -> Bias:
    known = np.isfinite(measured) & np.isfinite(true)
    error, mass = measured[known] / true[known] - 1.0, mass[known]
    return Bias(
        column,
        average_mean(error),
        average_median(error),
        tuple(
            MassBias(low, high, float(np.median(mass[of])), average_median(error[of]))
            for low, high, of in split_by_mass(mass)
        ),
    )


def _cover(interval: str, true: Array, low: Array, high: Array) -> Coverage:
    known = np.isfinite(true)
    has = known & ~np.isnan(low) & ~np.isnan(high)
    below, above = has & (true < low), has & (true > high)
    covered = int((has & ~below & ~above).sum())
    return Coverage(
        interval,
        count_share(covered, int(has.sum())),
        int(below.sum()),
        int(above.sum()),
        int((known & ~has).sum()),
    )
