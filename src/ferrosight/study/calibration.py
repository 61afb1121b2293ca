"""A phantom of counted cells, from its scans to moment per cell."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from ferrosight.errors import InputError
from ferrosight.io import VisitFiles, find_visits, read_visit
from ferrosight.io.bids_names import same_label
from ferrosight.io.calibration_file import read_phantom
from ferrosight.quantify.calibrate import calibrate_moment
from ferrosight.study.resources import limit_cpus
from ferrosight.study.visit import measure_at
from ferrosight.types import Config, PhaseSign, Progress, Table
from ferrosight.types.calibration import Calibration, PhantomSpots


@dataclasses.dataclass(frozen=True)
class PhantomResult:
    """The calibration, the spots it rests on, and what was said of those that could not be measured."""

    calibration: Calibration
    spots: PhantomSpots
    left_out: tuple[str, ...]


def calibrate_phantom(
    bids_dir: Path,
    spots_path: Path,
    *,
    position_sd_mm: float = 0.1,
    cell_cv: float = 0.5,
    day: float = 0.0,
    phase_sign: PhaseSign | None = None,
    config: Config | None = None,
    n_cpus: int | None = None,
    on_progress: Progress | None = None,
) -> PhantomResult:
    """Measure the moment at every spot of the table, and regress it on the number of cells.

    The cells were fixed ``day`` days after they were labelled. Positions are known to ``position_sd_mm`` along each
    axis; nothing is selected by what was measured there.

    Raises
    ------
    InputError
        The table or the scans are not as expected, or scans differ in field strength.
    """
    if not 0 <= day < math.inf:
        raise InputError(f"the phantom's day after labelling must be zero or a positive number, but is {day:g}.")
    table = read_phantom(spots_path)
    if not len(table):
        raise InputError(f"{spots_path} must hold at least one spot, but holds none.")
    if not (0 < position_sd_mm < math.inf):
        raise InputError(f"the spread of positions must be a positive number of mm, but is {position_sd_mm:g}.")
    for name in ("x_mm", "y_mm", "z_mm", "n_cells"):
        if not np.isfinite(table[name]).all():
            raise InputError(f"{spots_path}: every spot needs its {name}, but one has none.")
    visits = _find_scans(bids_dir, table, spots_path)
    moments, errors = np.full(len(table), np.nan), np.full(len(table), np.nan)
    remarks, fields = [""] * len(table), set()
    with limit_cpus(n_cpus):
        for number, (visit, rows) in enumerate(visits):
            if on_progress is not None:
                on_progress(visit.name, number, len(visits))
            scan = read_visit(visit, phase_sign=phase_sign)
            fields.add(round(scan.b0_t, 2))
            places = np.column_stack([table[f"{axis}_mm"][rows] for axis in "xyz"])
            measured = measure_at(scan, places, positions_mm_err=position_sd_mm, config=config)
            moments[rows], errors[rows] = measured["moment_am2"], measured["moment_am2_err"]
            for row, remark in zip(rows, measured["remarks"], strict=True):
                remarks[row] = str(remark)
    if len(fields) > 1:
        raise InputError(f"a calibration holds for one field strength, but the scans have {sorted(fields)} T.")
    result = _calibrate(table, moments, errors, remarks, fields.pop(), cell_cv, bids_dir.name)
    return dataclasses.replace(result, calibration=dataclasses.replace(result.calibration, day=day))


def _find_scans(bids_dir: Path, table: Table, path: Path) -> list[tuple[VisitFiles, np.ndarray]]:
    """The scan of every spot; each once, with its rows."""
    visits, found = find_visits(bids_dir), []
    of_spot = np.full(len(table), -1)
    for number, visit in enumerate(visits):
        for row in range(len(table)):
            same = same_label(_bare("sub", table["participant_id"][row]), visit.subject)
            if same and same_label(_bare("ses", table["session_id"][row]), visit.session):
                if of_spot[row] >= 0:
                    raise InputError(f"{path}, row {row + 1}: several scans are of this session; keep one per session.")
                of_spot[row] = number
    if (of_spot < 0).any():
        row = int(np.flatnonzero(of_spot < 0)[0])
        known = ", ".join(visit.name for visit in visits)
        raise InputError(
            f"{path}, row {row + 1}: there is no scan of {table['participant_id'][row]} "
            f"{table['session_id'][row] or 'without session'}; there are {known}."
        )
    for number, visit in enumerate(visits):
        rows = np.flatnonzero(of_spot == number)
        if len(rows):
            found.append((visit, rows))
    return found


def _bare(entity: str, text: str) -> str:
    return str(text).removeprefix(f"{entity}-")


def _calibrate(
    table: Table,
    moments: np.ndarray,
    errors: np.ndarray,
    remarks: list[str],
    b0_t: float,
    cell_cv: float,
    name: str,
) -> PhantomResult:
    measured = np.isfinite(moments) & np.isfinite(errors) & (errors > 0)
    left_out = tuple(
        f"row {row + 1} could not be measured ({remarks[row] or 'no reason given'})"
        for row in np.flatnonzero(~measured)
    )
    numbers = table["n_cells"][measured]
    number_errors = table["n_cells_err"][measured]
    spots = PhantomSpots(
        moments[measured],
        errors[measured],
        numbers,
        np.where(np.isfinite(number_errors), number_errors, np.sqrt(np.maximum(numbers, 0.0))),
        table["batch"][measured].astype(np.str_),
    )
    source = f"{len(numbers)} spots of {numbers.min(initial=0):g} to {numbers.max(initial=0):g} cells in {name}"
    return PhantomResult(calibrate_moment(spots, b0_t, cell_cv=cell_cv, source=source), spots, left_out)
