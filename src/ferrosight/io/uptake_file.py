"""Files of uptake: assays in, fits in and out, and the course of iron per cell that ``run`` and ``limit`` take."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ferrosight.errors import InputError
from ferrosight.io.atomic import write_json_atomic
from ferrosight.io.nifti import sidecar_path
from ferrosight.io.tables import read_table, read_tsv, write_table
from ferrosight.types.table import Table
from ferrosight.types.uptake import ASSAYS, UPTAKE, Quantity, UptakeCourse, UptakeFit

#: Columns that people add for themselves.
_REMARKS = ("comment", "comments", "remark", "remarks")
_FORMAT = "ferrosight uptake fit 1"


def read_assays(path: Path) -> Table:
    """A TSV of assays, of schema ASSAYS; only ``cell_type`` and the columns of what was measured must be there.

    Raises
    ------
    InputError
        There is no such file, a column is unknown (another unit, perhaps), or a value is not a number.
    """
    header, _ = read_tsv(path)
    unknown = [name for name in header if name not in ASSAYS.names and name not in _REMARKS]
    if unknown:
        raise InputError(
            f"{path} must have columns of {', '.join(ASSAYS.names)}, but has {', '.join(unknown)}; convert to the "
            "unit in the name, or call remarks comment."
        )
    return read_table(ASSAYS, path, required=("cell_type", "particle", "assay", "dose_ug_per_ml", "exposure_h"))


def write_course(course: UptakeCourse, path: Path) -> tuple[Path, Path]:
    """The course as TSV, and its data dictionary with source and notes as JSON beside it; returns both paths."""
    if path.suffix.lower() != ".tsv":
        raise InputError(f"a course of iron per cell must be written to a .tsv file, but {path} was asked for.")
    return write_table(course.table, path, {"Source": course.source, "Notes": list(course.notes)})


def read_course(path: Path) -> UptakeCourse:
    """A course of iron per cell; without the JSON beside it the source is the file's name.

    ``day``, ``iron_per_cell_pg``, ``batch_rel_sd`` and ``cell_cv`` must be there: such a file may be written by hand.

    Raises
    ------
    InputError
        It cannot be read, or makes no sense.
    """
    table = read_table(UPTAKE, path, required=("day", "iron_per_cell_pg", "batch_rel_sd", "cell_cv"))
    described = sidecar_path(path)
    content = _read_json(described) if described.is_file() else {}
    source, notes = content.get("Source", path.name), content.get("Notes", [])
    try:
        return UptakeCourse(table, str(source), tuple(str(note) for note in notes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def write_fits(fits: Sequence[UptakeFit], path: Path) -> Path:
    """Fits as one JSON file, which ``read_fits`` reads back."""
    return write_json_atomic(path, {"format": _FORMAT, "fits": [_as_plain(fit) for fit in fits]})


def read_fits(path: Path) -> tuple[UptakeFit, ...]:
    """What ``write_fits`` wrote.

    Raises
    ------
    InputError
        It is not such a file.
    """
    content = _read_json(path)
    if content.get("format") != _FORMAT:
        raise InputError(f"{path} must be what `ferrosight uptake fit --out` wrote, but is not.")
    try:
        return tuple(_from_plain(fit) for fit in content["fits"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} must be what `ferrosight uptake fit --out` wrote, but is damaged ({error})."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; check the path.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a JSON file, but cannot be read as one ({error}).") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold one JSON object, but holds something else.")
    return content


def _as_plain(fit: UptakeFit) -> dict[str, Any]:
    plain = {field.name: getattr(fit, field.name) for field in dataclasses.fields(fit)}
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}
    plain["quantities"] = [
        {name: _number(value) for name, value in dataclasses.asdict(quantity).items()} for quantity in fit.quantities
    ]
    return plain


def _from_plain(plain: dict[str, Any]) -> UptakeFit:
    p = len(plain["names"])
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    values["quantities"] = tuple(Quantity(**_with_numbers(quantity)) for quantity in plain["quantities"])
    for name in ("theta", "covariance", "variances", "strata", "dofs"):
        values[name] = np.array(plain[name], dtype=np.float64)
    values["slopes"] = np.array(plain["slopes"], dtype=np.float64).reshape(-1, p, p)
    return UptakeFit(**values)


def _number(value: Any) -> Any:
    """JSON knows no infinity: it is a word."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _with_numbers(quantity: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if name in ("value", "low", "high") else value for name, value in quantity.items()}
