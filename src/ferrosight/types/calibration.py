"""Moment per cell as a phantom of counted cells gave it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.schema import Column, TableSchema

PHANTOM = TableSchema(
    "phantom",
    "Spots of known numbers of labelled cells in a phantom.",
    (
        Column("participant_id", "", "string", "The phantom's label in the BIDS folder."),
        Column("session_id", "", "string", "The scan's session; n/a where there is none."),
        Column("x_mm", "mm", "number", "Position of the spot in scanner RAS+."),
        Column("y_mm", "mm", "number", "Position of the spot in scanner RAS+."),
        Column("z_mm", "mm", "number", "Position of the spot in scanner RAS+."),
        Column("n_cells", "1", "number", "How many labelled cells were put there."),
        Column("n_cells_err", "1", "number", "One standard deviation of that; n/a is the root of n_cells."),
        Column("batch", "", "string", "Which labelling the cells came from; n/a where unknown."),
    ),
)


@dataclass(frozen=True)
class PhantomSpots:
    """Fitted moments, A m², with their errors, and the numbers of cells they belong to, (n,) each."""

    moment_am2: NDArray[np.float64]
    moment_am2_err: NDArray[np.float64]
    n_cells: NDArray[np.float64]
    n_cells_err: NDArray[np.float64]
    batch: NDArray[np.str_]

    def __post_init__(self) -> None:
        shape = np.shape(self.moment_am2)
        for name in ("moment_am2", "moment_am2_err", "n_cells", "n_cells_err"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, shape, finite=True))
        set_field(self, "batch", frozen_array("batch", self.batch, np.str_, shape))


@dataclass(frozen=True)
class Calibration:
    """Moment per cell at one field strength, in the place of magnetisation and load.

    ``moment_per_cell_am2`` is the mean over batches. ``rel_sd`` is how far, relatively, that of another batch may lie
    from it (one standard deviation, the phantom's own errors included), and ``mean_rel_sd`` how well the mean itself is
    known. ``cell_cv`` is the relative spread between single cells. ``day`` is that of the phantom's cells after
    they were labelled.
    """

    moment_per_cell_am2: float
    rel_sd: float
    mean_rel_sd: float
    cell_cv: float
    b0_t: float
    n_spots: int
    n_batches: int
    source: str
    notes: tuple[str, ...] = ()
    day: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.moment_per_cell_am2 < math.inf:
            raise InputError(
                f"moment per cell must be a positive number of A m², but is {self.moment_per_cell_am2:g}: do the "
                "positions and the sign of phase belong to the scan?"
            )
        for name in ("rel_sd", "mean_rel_sd", "cell_cv"):
            if not 0 <= getattr(self, name) < 10:
                raise InputError(f"{name} of a calibration must lie between 0 and 10, but is {getattr(self, name):g}.")
        if not 0.01 < self.b0_t < 30:
            raise InputError(f"B0 of a calibration must lie between 0.01 and 30 T, but is {self.b0_t:g}.")
        if not 0 <= self.day < math.inf:
            raise InputError(f"a phantom's day after labelling must be zero or a positive number, but is {self.day:g}.")
