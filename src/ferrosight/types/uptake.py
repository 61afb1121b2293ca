"""How cells take up and lose a label: assays, rates, a fit of them, and the load on each imaging day."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.schema import Column, TableSchema
from ferrosight.types.table import Table

Array = NDArray[np.float64]

ASSAYS = TableSchema(
    "assays",
    "Assays of labelled cells: a row per measurement, which fills one of the three value columns.",
    (
        Column("cell_type", "", "string", "The cells, such as MSC."),
        Column("particle", "", "string", "The label; n/a in rows of diameter and doubling time."),
        Column("batch", "", "string", "Which labelling: a culture and a day; n/a where unknown."),
        Column("assay", "", "string", "icp, ferrozine or relaxometry in rows of iron; n/a in others."),
        Column("dose_ug_per_ml", "µg/mL", "number", "Iron in the medium."),
        Column("exposure_h", "h", "number", "How long the cells were in it."),
        Column("chase_h", "h", "number", "How long they lived after it was washed off; n/a is 0."),
        Column("iron_per_cell_pg", "pg", "number", "Iron over number of living cells, less that of unlabelled cells."),
        Column("diameter_um", "µm", "number", "Mean diameter of the cells in suspension."),
        Column("doubling_time_h", "h", "number", "Doubling time of the culture."),
    ),
)

UPTAKE = TableSchema(
    "uptake",
    "Iron per cell on days since labelling, as `run` and `limit` take it.",
    (
        Column("day", "d", "number", "Days since the label was washed off (targeted labels: since it was given)."),
        Column("iron_per_cell_pg", "pg", "number", "Iron per living cell, mean over cells and batches."),
        Column("iron_per_cell_pg_low", "pg", "number", "Lower end of the 95 % interval of a batch's mean."),
        Column("iron_per_cell_pg_high", "pg", "number", "Upper end of the 95 % interval of a batch's mean."),
        Column(
            "batch_rel_sd",
            "1",
            "number",
            "Relative standard deviation of a batch's mean: batches and what is not known of the kinetics. It is a "
            "floor of every number of cells.",
        ),
        Column("cell_cv", "1", "number", "Relative standard deviation between single cells; averages out over many."),
        Column("iron_left", "1", "number", "Share of the iron of day 0 that is still in living cells."),
        Column(
            "kept_rel_sd",
            "1",
            "number",
            "Relative standard deviation of iron per cell over that of day 0: division and exocytosis as far as they "
            "are not known, without the spread between batches. It carries a calibration from day to day.",
        ),
    ),
)


@dataclass(frozen=True)
class Division:
    """How label is handed on when cells divide.

    ``endosomes`` is the number of vesicles that hold the label of a freshly labelled cell (infinite: it is divided like
    a liquid); each goes to one daughter with the chance ``share`` and to the other with 1 − ``share`` (0.5: symmetric).
    ``cycle_cv`` is the relative spread of the time between divisions; 0.3 is an assumption.
    """

    endosomes: float = math.inf
    share: float = 0.5
    cycle_cv: float = 0.3

    def __post_init__(self) -> None:
        if not self.endosomes >= 1:
            raise InputError(f"a labelled cell needs at least one vesicle of label, but has {self.endosomes:g}.")
        if not 0.5 <= self.share <= 1:
            raise InputError(f"the larger share of a division must lie between 0.5 and 1, but is {self.share:g}.")
        if not 0.1 <= self.cycle_cv <= 1:
            raise InputError(f"the spread of the cell cycle must lie between 0.1 and 1, but is {self.cycle_cv:g}.")


@dataclass(frozen=True)
class Quantity:
    """A number with its 95 % interval; an end that the data do not bound is 0, infinite or NaN.

    ``advice`` says what would be measured to know more; "" where both ends are known.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    meaning: str
    advice: str = ""


@dataclass(frozen=True)
class UptakeFit:
    """The kinetics of one cell type with one particle, as fitted.

    ``theta`` (p,) are the parameters ``names``: logarithms of the uptake per cell at ``reference_dose_ug_per_ml``
    (pg/h), of the dose of half uptake (µg/mL) and of the diameter (µm), the rates of division and exocytosis (1/h), and
    a gain (logarithm) per further assay. ``covariance`` (p, p) is zero for those that the data do not hold (``held``).
    ``variances`` (k,) are those of the logarithms between assays, batches, doubling times and diameters, named by
    ``variance_names``; ``slopes`` (k, p, p) is how much of the covariance each makes per unit. A stratum's variance is
    a row of ``strata`` (k, k) times them, known with ``dofs`` (k,).
    """

    cell_type: str
    particle: str
    names: tuple[str, ...]
    theta: Array
    covariance: Array
    held: tuple[str, ...]
    variance_names: tuple[str, ...]
    variances: Array
    slopes: Array
    strata: Array
    dofs: Array
    reference_dose_ug_per_ml: float
    exocytosis_onset_h: float
    batch_log_sd: float
    n_iron: int
    n_batches: int
    doses_ug_per_ml: tuple[float, ...]
    longest_exposure_h: float
    quantities: tuple[Quantity, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        p, k = len(self.names), len(self.variance_names)
        shapes = {
            "theta": (p,),
            "covariance": (p, p),
            "variances": (k,),
            "slopes": (k, p, p),
            "strata": (k, k),
            "dofs": (k,),
        }
        for name, shape in shapes.items():
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, shape, finite=True))

    @property
    def title(self) -> str:
        """The cells and the particle in words."""
        return f"{self.cell_type} with {self.particle}"

    def value(self, name: str) -> float:
        """A parameter by its name."""
        return float(self.theta[self.names.index(name)])


@dataclass(frozen=True)
class Comparison:
    """How many times larger a quantity is in one cell type than in another, with its 95 % interval."""

    particle: str
    larger: str
    smaller: str
    name: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class UptakeCourse:
    """Iron per cell on days since labelling: a table of schema UPTAKE, in order, and what it rests on."""

    table: Table
    source: str
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        days = self.table["day"]
        if not len(days):
            raise InputError("a course of iron per cell needs at least one day, but has none.")
        if not (np.isfinite(days).all() and (np.diff(days) > 0).all()):
            raise InputError(f"the days of a course of iron per cell must grow, but are {days.tolist()}.")
        mean, rel_sd, cell_cv = (self.table[name] for name in ("iron_per_cell_pg", "batch_rel_sd", "cell_cv"))
        if not ((mean > 0) & np.isfinite(mean)).all():
            raise InputError(f"iron per cell must be positive on every day, but is {mean.tolist()} pg.")
        if not ((rel_sd >= 0) & (rel_sd < 10) & (cell_cv >= 0) & (cell_cv < 100)).all():
            raise InputError(
                "the spreads of iron per cell must be numbers of at least zero; see batch_rel_sd, cell_cv."
            )


@dataclass(frozen=True)
class Labelling:
    """How cells were labelled: iron in the medium, and for how long."""

    dose_ug_per_ml: float
    exposure_h: float

    def __post_init__(self) -> None:
        for name, value, unit in (("dose", self.dose_ug_per_ml, "µg/mL"), ("exposure", self.exposure_h, "h")):
            if not 0 < value < math.inf:
                raise InputError(f"the {name} of a labelling must be a positive number of {unit}, but is {value:g}.")


@dataclass(frozen=True)
class Rate:
    """A rate that was measured elsewhere, in its own unit, and its standard deviation."""

    mean: float
    sd: float = 0.0


@dataclass(frozen=True)
class Fate:
    """What labelled cells do after labelling; None takes the fit's.

    Rates are per hour. Death takes iron out of living cells, and leaves the mean of those that live. ``cell_cv`` is the
    relative spread of iron between freshly labelled cells.
    """

    division_per_h: Rate | None = None
    exocytosis_per_h: Rate | None = None
    death_per_h: float = 0.0
    cell_cv: float = 0.5
    division: Division = field(default_factory=Division)

    def __post_init__(self) -> None:
        for name in ("division_per_h", "exocytosis_per_h"):
            rate = getattr(self, name)
            if rate is not None and not (0 <= rate.mean < math.inf and 0 <= rate.sd < math.inf):
                raise InputError(f"{name} must be zero or a positive rate, but is {rate.mean:g} ± {rate.sd:g}.")
        if not 0 <= self.death_per_h < math.inf:
            raise InputError(f"death must be zero or a positive rate, but is {self.death_per_h:g} per hour.")
        if not 0 <= self.cell_cv <= 5:
            raise InputError(f"the spread between cells must lie between 0 and 5, but is {self.cell_cv:g}.")


@dataclass(frozen=True)
class FittedCurve:
    """Iron per cell, pg, against dose (µg/mL) or time (h): the fit with its 95 % band, and what was measured."""

    cell_type: str
    particle: str
    along: str
    condition: str
    x: Array
    value: Array
    low: Array
    high: Array
    measured_x: Array
    measured: Array
