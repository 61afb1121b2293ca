"""The load of a label that finds its cells in the body: receptors, particles on each, and what is not on target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ferrosight.errors import InputError
from ferrosight.types.table import Table
from ferrosight.types.uptake import UPTAKE, UptakeCourse


@dataclass(frozen=True)
class Spread:
    """A positive number and its relative standard deviation."""

    mean: float
    rel_sd: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.mean < math.inf and 0 <= self.rel_sd < 5):
            raise InputError(
                f"a positive number with a spread was expected, but {self.mean:g} ± {self.rel_sd:.0%} found."
            )

    @property
    def log_variance(self) -> float:
        """Variance of its logarithm, were it log-normal."""
        return math.log1p(self.rel_sd**2)


@dataclass(frozen=True)
class TargetedLabel:
    """Iron on a target cell at its most: receptors × particles on each × iron of a particle.

    ``iron_per_particle_pg`` is of one particle. Of the iron in a spot a share (``specific_share``, with its standard
    deviation ``specific_share_sd``) is on target cells, and the rest in macrophages and between cells: 1 where all is.
    It leaves at ``loss_per_day``. ``cell_cv`` is the relative spread between single cells.
    """

    receptors_per_cell: Spread
    particles_per_receptor: Spread
    iron_per_particle_pg: Spread
    specific_share: float = 1.0
    specific_share_sd: float = 0.0
    loss_per_day: float = 0.0
    cell_cv: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.specific_share <= 1:
            raise InputError(
                f"the share of iron on target must lie above 0, at most 1, but is {self.specific_share:g}."
            )
        if not 0 <= self.specific_share_sd < self.specific_share:
            raise InputError(
                "the spread of the share of iron on target must be less than the share, but is "
                f"{self.specific_share_sd:g}."
            )
        if not (0 <= self.loss_per_day < math.inf and 0 <= self.cell_cv <= 5):
            raise InputError("loss and spread between cells must be zero or positive; loss is per day.")


def predict_targeted(label: TargetedLabel, days: Sequence[float]) -> UptakeCourse:
    """Iron in a spot per *target* cell on ``days`` after the label was given.

    That is the iron on a cell over the share that is on target, so that cells are counted from all iron of the spot
    and macrophages are not counted as cells. The factors are taken to be independent and log-normal.
    """
    if not days or not all(0 <= day < math.inf for day in days):
        raise InputError(f"imaging days must be zero or positive numbers since labelling, but are {list(days)}.")
    factors = (label.receptors_per_cell, label.particles_per_receptor, label.iron_per_particle_pg)
    share = Spread(label.specific_share, label.specific_share_sd / label.specific_share)
    log_sd = math.sqrt(sum(factor.log_variance for factor in (*factors, share)))
    # Means of log-normals multiply; that of one over the share is larger than one over its mean.
    mean = math.prod(factor.mean for factor in factors) / share.mean * math.exp(share.log_variance)
    rows = []
    for day in sorted(set(days)):
        left = math.exp(-label.loss_per_day * day)
        low, high = (mean * left * math.exp(-(log_sd**2) / 2 + z * log_sd) for z in (-1.959964, 1.959964))
        rows.append(
            {
                "day": day,
                "iron_per_cell_pg": mean * left,
                "iron_per_cell_pg_low": low,
                "iron_per_cell_pg_high": high,
                "batch_rel_sd": math.sqrt(math.expm1(log_sd**2)),
                "cell_cv": label.cell_cv,
                "iron_left": left,
            }
        )
    source = (
        f"targeted label: {factors[0].mean:g} receptors × {factors[1].mean:g} particles × {factors[2].mean:g} pg, "
        f"{label.specific_share:.0%} of the iron on target"
    )
    return UptakeCourse(Table.from_rows(UPTAKE, rows), source, _notes(label))


def _notes(label: TargetedLabel) -> tuple[str, ...]:
    notes = [
        "Every receptor is taken to hold its particles on the day of the scan; iron follows the number of targets."
    ]
    if label.specific_share == 1:
        notes.append(
            "All iron is taken to be on target cells: macrophages that took up label would be counted as cells."
        )
    return tuple(notes)
