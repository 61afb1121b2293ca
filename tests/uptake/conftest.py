"""Simulated labelling experiments, drawn with the scatter of batches and assays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from ferrosight.cells.load import trace_load, uptake_rate
from ferrosight.types import Table
from ferrosight.types.uptake import ASSAYS

#: Dose (µg/mL), exposure (h), chase (h) of a full design.
FULL = (
    (10, 24, 0), (25, 24, 0), (50, 24, 0), (100, 24, 0), (200, 24, 0),
    (50, 6, 0), (50, 24, 24), (50, 24, 72), (50, 24, 144),
)  # fmt: skip
NUMBERS = ("dose_ug_per_ml", "exposure_h", "chase_h", "iron_per_cell_pg", "diameter_um", "doubling_time_h")


@dataclass(frozen=True)
class Cells:
    """True kinetics of a cell type."""

    cell_type: str = "MSC"
    full_uptake: float = 2.0
    half_dose: float = 40.0
    doubling_h: float = 40.0
    exocytosis_per_h: float = 0.004
    diameter_um: float = 18.0
    onset_h: float = 48.0

    def load(self, dose: float, exposure_h: float, chase_h: float = 0.0) -> float:
        """Mean iron per cell, pg."""
        rate = uptake_rate(self.full_uptake, dose, self.half_dose)
        return float(
            trace_load(rate, np.log(2) / self.doubling_h, self.exocytosis_per_h, exposure_h, chase_h, self.onset_h)
        )


def make_assays(rows: Sequence[dict[str, object]]) -> Table:
    """A table of assays from rows that leave out what they do not have."""
    missing = dict.fromkeys(NUMBERS, np.nan)
    return Table.from_rows(ASSAYS, [{**missing, **row} for row in rows])


def draw_assays(
    cells: Cells,
    rng: np.random.Generator,
    *,
    n_batches: int = 5,
    batch_rel_sd: float = 0.17,
    assay_rel_sd: float = 0.1,
    design: Sequence[tuple[float, float, float]] = FULL,
    assays: Sequence[str] = ("icp",),
    gains: Sequence[float] = (1.0,),
    n_others: int = 4,
    particle: str = "particle",
) -> Table:
    """An experiment as a laboratory would tabulate it."""
    between, within = (np.sqrt(np.log1p(sd**2)) for sd in (batch_rel_sd, assay_rel_sd))
    rows: list[dict[str, object]] = []
    for b in range(n_batches):
        batch = rng.normal(0, between)
        for dose, exposure, chase in design:
            for assay, gain in zip(assays, gains, strict=True):
                value = cells.load(dose, exposure, chase) * gain * np.exp(batch + rng.normal(0, within))
                rows.append(
                    {
                        "cell_type": cells.cell_type, "particle": particle, "batch": f"b{b}", "assay": assay,
                        "dose_ug_per_ml": dose, "exposure_h": exposure, "chase_h": chase, "iron_per_cell_pg": value,
                    }
                )  # fmt: skip
    for _ in range(n_others):
        rows.append({"cell_type": cells.cell_type, "diameter_um": cells.diameter_um * np.exp(rng.normal(0, 0.05))})
        rows.append({"cell_type": cells.cell_type, "doubling_time_h": cells.doubling_h * np.exp(rng.normal(0, 0.08))})
    return make_assays(rows)


@pytest.fixture
def cells() -> type[Cells]:
    """A cell type's true kinetics."""
    return Cells


@pytest.fixture
def draw() -> Callable[..., Table]:
    """Draw a table of assays of a cell type."""
    return draw_assays


@pytest.fixture
def assay_table() -> Callable[..., Table]:
    """A table of assays from rows."""
    return make_assays
