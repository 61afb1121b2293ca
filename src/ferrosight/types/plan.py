"""A serial study that is being planned, and what is to be expected of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.limit import Protocol, Search

#: More visits than anybody makes, and more doublings than any number of cells bears.
_MOST_VISITS, _MOST_DOUBLINGS, _MOST_START_CELLS = 1000, 200.0, 1e12


@dataclass(frozen=True)
class PlanDesign:
    """Animals scanned ``n_visits`` times, ``interval_days`` apart, with particles that seek the cells given each time.

    Among ``stable_clusters`` of 8 to 20 noise standard deviations that do not grow, one cluster of ``start_cells`` at
    day 0 doubles every ``doubling_days``, with a spread between animals of ``doubling_cv`` (relative, an assumption).
    Each cell binds ``iron_per_cell_pg`` of a label with ``ms_am2_per_kg_fe``. A cluster is found, and measured, as by
    the ideal observer of ``protocol`` and ``search`` whose noise is ``noise_over_ideal`` times as large.

    ``reference_rel_err``, ``carry_over`` and ``test_retest_pairs`` are the reference tissue's error, the share of iron
    that stays between visits (at most and in truth), and the repeated scans that bound the errors. ``cells_per_mm3``
    turns cells into the volume that others would see. ``n_animals`` are simulated per group.
    """

    protocol: Protocol
    search: Search
    ms_am2_per_kg_fe: float
    iron_per_cell_pg: float
    n_visits: int = 12
    interval_days: float = 7.0
    doubling_days: float = 7.0
    doubling_cv: float = 0.2
    start_cells: float = 10.0
    stable_clusters: int = 3
    alpha: float = 0.05
    noise_over_ideal: float = 2.3
    reference_rel_err: float = 0.05
    carry_over: float = 0.1
    test_retest_pairs: int = 60
    cells_per_mm3: float = 1e6
    n_animals: int = 200

    def __post_init__(self) -> None:
        for name in (
            "ms_am2_per_kg_fe", "iron_per_cell_pg", "interval_days", "doubling_days", "start_cells",
            "noise_over_ideal", "cells_per_mm3",
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InputError(f"{name} must be positive, but is {value:g}.")
        if self.start_cells > _MOST_START_CELLS:
            raise InputError(f"start_cells must be at most {_MOST_START_CELLS:g}, but is {self.start_cells:g}.")
        if self.n_visits > _MOST_VISITS:
            raise InputError(f"n_visits must be at most {_MOST_VISITS}, but is {self.n_visits}.")
        doublings = (self.n_visits - 1) * self.interval_days / self.doubling_days
        if doublings > _MOST_DOUBLINGS:
            raise InputError(
                f"a relapse may double {_MOST_DOUBLINGS:g} times within the study, but would {doublings:.4g} times; "
                "plan fewer visits, a shorter interval_days or a longer doubling_days."
            )
        for name, least in (("n_visits", 3), ("stable_clusters", 0), ("test_retest_pairs", 2), ("n_animals", 10)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, but is {getattr(self, name)}.")
        for name, most in (("alpha", 0.5), ("doubling_cv", 1.0), ("reference_rel_err", 0.5), ("carry_over", 0.9)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} must lie between 0 and {most:g}, but is {getattr(self, name):g}.")


@dataclass(frozen=True)
class RuleLead:
    """When a rule that looks at size would call: the median day, and how far ahead the alarm is, medians.

    ``doublings`` is the lead in doubling times; NaN where fewer than half of the animals ever alarm.
    """

    rule: str
    median_day: float
    lead_days: float
    lead_doublings: float


@dataclass(frozen=True)
class Plan:
    """What to expect of a study.

    ``days`` (n_visits,); ``called`` is the share of animals with an alarm by that day, with its 95 % interval
    ``called_low`` to ``called_high``. ``alarm_days`` (n_animals,) is NaN where none came, ``cells_at_alarm`` the median
    of those that did. ``false_alarms`` is the share of as many animals in which nothing grows. ``cells_per_sd`` is one
    noise standard deviation of a measurement in cells, ``cells_found`` what is found at the threshold.
    """

    design: PlanDesign
    days: NDArray[np.float64]
    called: NDArray[np.float64]
    called_low: NDArray[np.float64]
    called_high: NDArray[np.float64]
    alarm_days: NDArray[np.float64]
    cells_at_alarm: float
    false_alarms: float
    leads: tuple[RuleLead, ...]
    cells_per_sd: float
    cells_found: float

    def __post_init__(self) -> None:
        for name in ("days", "called", "called_low", "called_high", "alarm_days"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, (None,)))


@dataclass(frozen=True)
class Comparison:
    """Telling two treatments apart by the time to alarm (rank sum test, two-sided 5 %).

    ``earlier`` is the chance that an animal of the faster group alarms before one of the slower; ``animals_per_group``
    is what a power of 80 % needs (NaN where they do not differ), ``power`` what ``group_size`` has.
    """

    earlier: float
    animals_per_group: float
    group_size: int
    power: float
