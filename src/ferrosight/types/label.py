"""An iron-oxide label: how strongly a kilogram of its iron is magnetised, and how much a cell holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ferrosight.errors import LabelError


@dataclass(frozen=True)
class IronPerCell:
    """Iron in one labelled cell on the day of the scan.

    ``mean_pg`` is the mean over cells and batches, ``sd_pg`` the standard deviation *between batches* of
    cells (how far the mean of this batch may lie from ``mean_pg``). ``cell_cv`` is the relative spread between single
    cells on that day; None takes the setting of the quantify stage.
    """

    mean_pg: float
    sd_pg: float
    source: str
    cell_cv: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.mean_pg < math.inf:
            raise LabelError(f"iron per cell must be a positive number of pg, but is {self.mean_pg}.")
        if not 0 <= self.sd_pg < math.inf:
            raise LabelError(
                f"the spread of iron per cell must be zero or a positive number of pg, but is {self.sd_pg}."
            )
        if self.cell_cv is not None and not 0 <= self.cell_cv < math.inf:
            raise LabelError(f"the spread between cells must be zero or a positive number, but is {self.cell_cv}.")

    @property
    def rel_sd(self) -> float:
        """Spread between batches over the mean."""
        return self.sd_pg / self.mean_pg


@dataclass(frozen=True)
class Label:
    """An iron-oxide label.

    ``ms_am2_per_kg_fe`` is the *saturation* magnetic moment per kilogram of **iron** (not of oxide);
    ``ms_rel_sd`` its relative standard deviation between sources or batches. ``core_diameter_nm`` sets how
    near to saturation it is at a given B0 (a Langevin curve); ``None`` means saturated in any imaging
    magnet. ``iron_per_cell_pg`` and its standard deviation between batches are ``None`` where the label
    does not fix a load. A source that is not a publication reads "assumption".
    """

    label_id: str
    name: str
    ms_am2_per_kg_fe: float
    ms_rel_sd: float
    ms_source: str
    core_diameter_nm: float | None = None
    core_source: str = ""
    iron_per_cell_pg: float | None = None
    iron_per_cell_sd_pg: float | None = None
    iron_per_cell_source: str = ""

    def __post_init__(self) -> None:
        if not 1 < self.ms_am2_per_kg_fe < 250:
            raise LabelError(
                f"label {self.label_id}: saturation must lie between 1 and 250 A m² per kg of iron "
                f"(pure iron has 218), but is {self.ms_am2_per_kg_fe}."
            )
        if not 0 <= self.ms_rel_sd < 1:
            raise LabelError(f"label {self.label_id}: ms_rel_sd must lie in [0, 1), but is {self.ms_rel_sd}.")
        if self.core_diameter_nm is not None and not 0.5 <= self.core_diameter_nm <= 100:
            raise LabelError(
                f"label {self.label_id}: core_diameter_nm must lie between 0.5 and 100, but is {self.core_diameter_nm}."
            )
        if (self.iron_per_cell_pg is None) != (self.iron_per_cell_sd_pg is None):
            raise LabelError(
                f"label {self.label_id}: iron_per_cell_pg and iron_per_cell_sd_pg must be given together or not at all."
            )
        self.load  # noqa: B018  (validates the load)

    @property
    def load(self) -> IronPerCell | None:
        """Iron per cell, where the label fixes it."""
        if self.iron_per_cell_pg is None or self.iron_per_cell_sd_pg is None:
            return None
        return IronPerCell(self.iron_per_cell_pg, self.iron_per_cell_sd_pg, self.iron_per_cell_source)
