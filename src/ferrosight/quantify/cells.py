"""Magnetic moment to mass of iron to number of cells."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.labels import magnetisation_am2_per_kg_fe
from ferrosight.quantify.interval import bound_measurement, invert_measurement
from ferrosight.types.calibration import Calibration
from ferrosight.types.catalogue import Catalogue
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.label import IronPerCell, Label
from ferrosight.types.table import Table

PG_PER_KG = 1e15
#: Scans within this of a calibration's field strength are of the same scanner.
_SAME_FIELD = 0.02


@dataclasses.dataclass(frozen=True)
class Factor:
    """What a moment is divided by: ``moment_per_unit``, A m² for one pg or one cell.

    ``single_cv`` is a relative spread that averages out over the number wanted, ``fixed_rel_sd`` one that does not.
    """

    moment_per_unit: float
    fixed_rel_sd: float
    single_cv: float = 0.0

    def rel_sd(self, number: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative standard deviation at a number; variances of independent factors multiply as (1 + a²)(1 + b²)."""
        averaged = self.single_cv**2 / np.maximum(number, 1.0)
        return np.asarray(np.sqrt((1 + self.fixed_rel_sd**2) * (1 + averaged) - 1))


def find_factors(
    label: Label | None,
    b0_t: float,
    iron_per_cell: IronPerCell | None,
    config: QuantifyConfig,
    calibration: Calibration | None = None,
) -> dict[str, Factor]:
    """What turns moments of a scan at ``b0_t`` into ``iron_pg`` and ``n_cells``; without what cannot be said.

    As ``quantify_clusters`` has it: iron with a label, cells with a load, or by a calibration of the same field
    strength whatever the label.
    """
    factors: dict[str, Factor] = {}
    load = iron_per_cell or (label.load if label is not None else None)
    if label is not None:
        ms = magnetisation_am2_per_kg_fe(label, b0_t)
        factors["iron_pg"] = Factor(ms / PG_PER_KG, label.ms_rel_sd)
        if load is not None and calibration is None:
            fixed = float(np.hypot(np.hypot(label.ms_rel_sd, load.rel_sd), label.ms_rel_sd * load.rel_sd))
            single = config.cell_to_cell_cv if load.cell_cv is None else load.cell_cv
            factors["n_cells"] = Factor(ms * load.mean_pg / PG_PER_KG, fixed, single)
    if calibration is not None and abs(b0_t / calibration.b0_t - 1) <= _SAME_FIELD:
        factors["n_cells"] = Factor(calibration.moment_per_cell_am2, calibration.rel_sd, calibration.cell_cv)
    return factors


def quantify_moments(
    moment_am2: NDArray[np.float64], moment_am2_err: NDArray[np.float64], factor: Factor
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Value, lower and upper end of its 95 % interval, and one-sided 95 % limit (n,) of what was measured unselected.

    The value has the moment's sign, so that values of nothing average to nothing; its interval and its limit are not
    below zero. NaN where the moment or its error is.
    """
    known = np.isfinite(moment_am2) & np.isfinite(moment_am2_err) & (moment_am2_err > 0)
    values, low, high, limit = np.full((4, len(known)), np.nan)
    measured = moment_am2[known], moment_am2_err[known]
    values[known] = moment_am2[known] / factor.moment_per_unit
    low[known], high[known] = invert_measurement(*measured, factor.moment_per_unit, factor.rel_sd)
    limit[known] = bound_measurement(*measured, factor.moment_per_unit, factor.rel_sd)
    return values, low, high, limit


def limit_clusters(clusters: Table, threshold: NDArray[np.float64], factor: Factor) -> NDArray[np.float64]:
    """Largest amount (n,) that each cluster's measurement allows, one-sided 95 %; NaN where it has none.

    ``threshold`` (n,) is the score from which each was accepted, NaN where it was not.
    """
    rows = _find_measured(clusters)
    limit = np.full(len(clusters), np.nan)
    measured = clusters["moment_am2"][rows], clusters["moment_am2_err"][rows]
    selected = clusters["score"][rows], threshold[rows]
    limit[rows] = bound_measurement(*measured, factor.moment_per_unit, factor.rel_sd, *selected)
    return limit


def quantify_clusters(
    catalogue: Catalogue,
    label: Label | None,
    b0_t: float,
    iron_per_cell: IronPerCell | None,
    config: QuantifyConfig,
    calibration: Calibration | None = None,
) -> Catalogue:
    """Fill iron (pg) and number of cells of every row whose moment has iron's polarity, with 95 % intervals.

    Iron is the moment over the label's magnetisation at ``b0_t``; cells are iron over iron per cell
    (``iron_per_cell``, else the label's own load). The iron interval holds the errors of moment and
    magnetisation; that of the cells also the spread of iron per cell between batches, which no number of
    cells averages out, and the spread between cells, which falls as 1/√N (it is that of one cell where
    there is less than one) and is the load's own or else a setting. Without a label both are NaN, without a load the
    cells are. So are rows whose moment is missing, zero or of the opposite polarity. Intervals of accepted clusters
    hold given that their score was high enough, and may lie below the measured value.

    With a ``calibration`` cells are the moment over its moment per cell, whatever the label: magnetisation and load do
    not enter. Where its field strength is another, they are NaN.
    """
    if calibration is not None:
        iron = quantify_clusters(catalogue, label, b0_t, None, config)
        return _count_by_calibration(catalogue, iron, calibration, b0_t)
    load = iron_per_cell or (label.load if label is not None else None)
    factors = find_factors(label, b0_t, iron_per_cell, config)
    if label is None:
        return dataclasses.replace(
            catalogue,
            clusters=_without_numbers(catalogue.clusters),
            notes=(*catalogue.notes, "No label was given: moments are measured, iron and cells are not."),
        )
    ms = magnetisation_am2_per_kg_fe(label, b0_t)
    threshold = catalogue.fits["selection_score"]
    clusters = _without_numbers(catalogue.clusters)
    for name, factor in factors.items():
        clusters = _fill(clusters, threshold, name, factor)
    return dataclasses.replace(
        catalogue,
        clusters=clusters,
        label=label,
        load=load,
        ms_am2_per_kg_fe=ms,
        notes=(*catalogue.notes, _iron_note(label, ms, b0_t), _cells_note(load, config)),
    )


def _count_by_calibration(catalogue: Catalogue, iron: Catalogue, calibration: Calibration, b0_t: float) -> Catalogue:
    """``iron``, the catalogue with iron where there is a label, with cells by the calibration alone."""
    clusters = iron.clusters.with_columns(
        **{name: np.full(len(iron.clusters), np.nan) for name in ("n_cells", "n_cells_low", "n_cells_high")}
    )
    said, used = "No label was given: moments are not turned into iron.", None
    if iron.label is not None and iron.ms_am2_per_kg_fe is not None:
        said = _iron_note(iron.label, iron.ms_am2_per_kg_fe, b0_t)
    factor = find_factors(None, b0_t, None, QuantifyConfig(), calibration).get("n_cells")
    if factor is None:
        note = f"Cells are not counted: the calibration is of {calibration.b0_t:g} T, the scan of {b0_t:g} T."
    else:
        clusters = _fill(clusters, catalogue.fits["selection_score"], "n_cells", factor)
        used, per_cell = calibration, factor.moment_per_unit
        note = (
            f"Cells are the moment over {per_cell:.4g} A m² per cell (± {calibration.rel_sd:.0%} for another batch; "
            f"{calibration.source}); a spread of {calibration.cell_cv:.0%} between single cells averages out over many."
        )
    notes = (*catalogue.notes, said, note)
    return dataclasses.replace(iron, clusters=clusters, load=None, calibration=used, notes=notes)


def _fill(clusters: Table, threshold: NDArray[np.float64], name: str, factor: Factor) -> Table:
    """``name``, ``name_low`` and ``name_high`` of the rows that can have them.

    ``threshold`` (n,) is the score from which each was accepted, NaN where it was not.
    """
    rows = _find_measured(clusters)
    moment, per_unit = clusters["moment_am2"][rows], factor.moment_per_unit
    low, high = invert_measurement(
        moment, clusters["moment_am2_err"][rows], per_unit, factor.rel_sd, clusters["score"][rows], threshold[rows]
    )
    columns = {}
    for column, values in ((name, moment / per_unit), (f"{name}_low", low), (f"{name}_high", high)):
        columns[column] = np.full(len(clusters), np.nan)
        columns[column][rows] = values
    return clusters.with_columns(**columns)


def _find_measured(clusters: Table) -> NDArray[np.int64]:
    """Rows that have a moment of iron's polarity, with its error."""
    moment, err = clusters["moment_am2"], clusters["moment_am2_err"]
    return np.flatnonzero(np.isfinite(moment) & np.isfinite(err) & (moment > 0) & (err >= 0))


def _without_numbers(clusters: Table) -> Table:
    missing = np.full(len(clusters), np.nan)
    names = [f"{name}{end}" for name in ("iron_pg", "n_cells") for end in ("", "_low", "_high")]
    return clusters.with_columns(**dict.fromkeys(names, missing))


def _iron_note(label: Label, ms: float, b0_t: float) -> str:
    core = ""
    if label.core_diameter_nm is not None:
        core = (
            f", {ms / label.ms_am2_per_kg_fe:.0%} of saturation for a core of {label.core_diameter_nm:g} nm "
            f"({label.core_source})"
        )
    return (
        f"Iron is the moment over {ms:.1f} A m² per kg of iron ({label.name} at {b0_t:g} T{core}; "
        f"one standard deviation {label.ms_rel_sd:.0%}; {label.ms_source})."
    )


def _cells_note(load: IronPerCell | None, config: QuantifyConfig) -> str:
    if load is None:
        return "No iron per cell was given: numbers of cells are not reported."
    single = f"{config.cell_to_cell_cv:.0%} between single cells (assumption)"
    if load.cell_cv is not None:
        single = f"{load.cell_cv:.0%} between single cells on that day"
    return (
        f"Cells are iron over {load.mean_pg:.4g} pg per cell (± {load.sd_pg:.3g} pg between batches; {load.source}); "
        f"a spread of {single} averages out over many."
    )
