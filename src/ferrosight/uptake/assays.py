"""Assays of labelled cells: checked, and sorted into those of one cell type with one particle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types.table import Table

Array = NDArray[np.float64]

#: Assays of iron, the most trusted first: where several are used, the others' gains are fitted against the first.
IRON_ASSAYS = ("icp", "ferrozine", "relaxometry")
VALUES = ("iron_per_cell_pg", "diameter_um", "doubling_time_h")

#: What cells and their media can be; what lies outside is another unit.
_PLAUSIBLE = {
    "iron_per_cell_pg": (1e-4, 2e3),
    "diameter_um": (3.0, 200.0),
    "doubling_time_h": (4.0, 5e3),
    "dose_ug_per_ml": (1e-3, 1e5),
    "exposure_h": (0.01, 1e3),
    "chase_h": (0.0, 1e4),
}
#: Measurements of one and the same that differ by more than this are in different units.
_SAME_WITHIN = 100.0


@dataclass(frozen=True)
class IronRows:
    """Assays of iron of one cell type with one particle, (n,) each; ``batch`` is "" throughout where unknown."""

    dose_ug_per_ml: Array
    exposure_h: Array
    chase_h: Array
    iron_per_cell_pg: Array
    batch: NDArray[np.str_]
    assay: NDArray[np.str_]


@dataclass(frozen=True)
class Experiment:
    """All that was measured of one cell type with one particle."""

    cell_type: str
    particle: str
    iron: IronRows
    diameter_um: Array
    doubling_time_h: Array


def sort_experiments(assays: Table) -> tuple[Experiment, ...]:
    """The experiments in a table of schema ASSAYS, in its order.

    Raises
    ------
    InputError
        There is no row of iron, a row is empty, ambiguous or incomplete, or a value is impossible or in another unit.
    """
    if not len(assays):
        raise InputError("the assays must hold at least one row of measurements, but hold none.")
    for line in range(len(assays)):
        _check_row(assays, line)
    measured = np.isfinite(assays["iron_per_cell_pg"])
    if not measured.any():
        raise InputError("the assays must hold rows with iron_per_cell_pg, but none has a value; kinetics need them.")
    pairs = dict.fromkeys(zip(assays["cell_type"][measured], assays["particle"][measured], strict=True))
    _check_no_stray_cells(assays, measured)
    return tuple(_sort_one(assays, str(cells), str(particle)) for cells, particle in pairs)


def _check_row(assays: Table, line: int) -> None:
    row = {name: assays[name][line] for name in assays.schema.names}
    where = f"row {line + 1} of the assays"
    if not row["cell_type"]:
        raise InputError(f"{where} must name its cell_type, but has none.")
    filled = [name for name in VALUES if math.isfinite(row[name])]
    if len(filled) != 1:
        found = "none" if not filled else " and ".join(filled)
        raise InputError(f"{where} must fill one of {', '.join(VALUES)}, but fills {found}.")
    needed = (filled[0], "dose_ug_per_ml", "exposure_h") if filled[0] == "iron_per_cell_pg" else (filled[0],)
    for name in (*needed, "chase_h"):
        _check_value(where, name, float(row[name]))
    if filled[0] != "iron_per_cell_pg":
        return
    if not row["particle"]:
        raise InputError(f"{where} must name its particle, but has none.")
    if row["assay"] not in IRON_ASSAYS:
        raise InputError(
            f"{where}: assay must be one of {', '.join(IRON_ASSAYS)}, but is {str(row['assay']) or 'n/a'!r}."
        )


def _check_value(where: str, name: str, value: float) -> None:
    low, high = _PLAUSIBLE[name]
    if name == "chase_h" and math.isnan(value):
        return
    if math.isnan(value):
        raise InputError(f"{where} measures iron and must give {name}, but has none.")
    if name == "dose_ug_per_ml" and value == 0:
        raise InputError(
            f"{where} is a control without label (dose_ug_per_ml 0): subtract it from the others' iron_per_cell_pg and "
            "leave the row out."
        )
    if value < 0 or (value == 0 and name != "chase_h"):
        raise InputError(f"{where}: {name} must be positive, but is {value:g}.")
    if not low <= value <= high:
        unit = name.rsplit("_", 1)[-1] if "_per_" not in name else name.split("_", 1)[1].replace("_per_", "/")
        raise InputError(
            f"{where}: {name} must lie between {low:g} and {high:g}, but is {value:g}; the unit is in the column's "
            f"name ({unit})."
        )


def _check_no_stray_cells(assays: Table, measured: NDArray[np.bool_]) -> None:
    stray = sorted(set(assays["cell_type"]) - set(assays["cell_type"][measured]))
    if stray:
        known = ", ".join(dict.fromkeys(assays["cell_type"][measured]))
        raise InputError(
            f"the assays have diameters or doubling times of {', '.join(stray)}, but iron only of {known}; is a "
            "cell_type misspelt?"
        )


def _sort_one(assays: Table, cells: str, particle: str) -> Experiment:
    of_cells = assays["cell_type"] == cells
    rows = assays.where(of_cells & (assays["particle"] == particle) & np.isfinite(assays["iron_per_cell_pg"]))
    title = f"{cells} with {particle}"
    batch = rows["batch"].astype(np.str_)
    if (batch == "").any() and not (batch == "").all():
        raise InputError(f"{title}: every row of iron must name its batch, or none may, but some do.")
    iron = IronRows(
        rows["dose_ug_per_ml"],
        rows["exposure_h"],
        np.nan_to_num(rows["chase_h"]),
        rows["iron_per_cell_pg"],
        batch,
        rows["assay"].astype(np.str_),
    )
    conditions = np.stack([iron.dose_ug_per_ml, iron.exposure_h, iron.chase_h], axis=1)
    for condition in np.unique(conditions, axis=0):
        same = iron.iron_per_cell_pg[(conditions == condition).all(axis=1)]
        _check_same(f"{title} at {condition[0]:g} µg/mL for {condition[1]:g} h", "iron_per_cell_pg", same)
    others = {}
    for name in ("diameter_um", "doubling_time_h"):
        values = assays[name][of_cells]
        others[name] = values[np.isfinite(values)]
        _check_same(cells, name, others[name])
    return Experiment(cells, particle, iron, others["diameter_um"], others["doubling_time_h"])


def _check_same(title: str, name: str, values: Array) -> None:
    limit = _SAME_WITHIN if name == "iron_per_cell_pg" else 10.0
    if len(values) and values.max() > limit * values.min():
        raise InputError(
            f"{title}: values of {name} must agree within a factor of {limit:g}, but range from {values.min():g} to "
            f"{values.max():g}; are units mixed?"
        )
