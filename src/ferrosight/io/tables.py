"""Tables as TSV with a JSON data dictionary, both made from the one schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import BidsError
from ferrosight.io.atomic import write_json_atomic, write_text_atomic
from ferrosight.io.nifti import sidecar_path
from ferrosight.types import Column, Table, TableSchema

MISSING = "n/a"
_BOOLEANS = {"true": True, "false": False}


def write_table(table: Table, path: Path, extra: Mapping[str, Any] | None = None) -> tuple[Path, Path]:
    """Write a TSV and, beside it, its JSON data dictionary; returns both paths.

    Numbers are the shortest that read back as the same float64; booleans ``true``/``false``; missing
    numbers and empty strings ``n/a``. ``extra`` are further entries of the dictionary.
    """
    dictionary = describe_schema(table.schema)
    clash = set(extra or {}) & set(dictionary)
    if clash:
        raise ValueError(f"{path.name}: extra entries {sorted(clash)} would hide the schema's own")
    cells = [[_to_text(value, column) for value in table[column.name]] for column in table.schema.columns]
    rows = [table.schema.names, *zip(*cells, strict=True)]
    described = write_json_atomic(sidecar_path(path), {**dictionary, **(extra or {})})
    return write_text_atomic(path, "".join("\t".join(row) + "\n" for row in rows)), described


def describe_schema(schema: TableSchema) -> dict[str, Any]:
    """The JSON data dictionary of a schema: its version, and each column's meaning and unit."""
    content: dict[str, Any] = {"Description": schema.description, "SchemaVersion": schema.version}
    for column in schema.columns:
        content[column.name] = {"Description": column.description}
        if column.unit:
            content[column.name]["Units"] = column.unit
    return content


def read_table(schema: TableSchema, path: Path, required: Collection[str] | None = None) -> Table:
    """Read a TSV that has at least the schema's columns, in any order; others are ignored.

    With ``required`` only these columns must be there, and the schema's others are missing values where they are not.

    Raises
    ------
    BidsError
        Naming the file, and the column and line where that says more.
    """
    header, rows = read_tsv(path)
    absent = [name for name in schema.names if name not in header and (required is None or name in required)]
    if absent:
        raise BidsError(f"{path} must have the column(s) {', '.join(absent)}, but has {', '.join(header)}.")
    columns: dict[str, NDArray[Any]] = {}
    for column in schema.columns:
        if column.name not in header:
            continue
        texts = [row[column.name] for row in rows]
        values = [_from_text(text, column, path, line) for line, text in enumerate(texts, start=2)]
        columns[column.name] = np.array(values)
    return Table(schema, columns if rows else {})


def read_tsv(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Column names, and one mapping per line, of a TSV file; BidsError names the file and line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise BidsError(f"{path}: a table was expected here, but there is no such file.") from error
    except (OSError, ValueError) as error:
        raise BidsError(f"{path} must be a tab-separated text file, but cannot be read as one ({error}).") from error
    if not lines or not lines[0].strip():
        raise BidsError(f"{path} must begin with a line of column names, but is empty.")
    header = tuple(name.strip() for name in lines[0].split("\t"))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BidsError(f"{path}: every column needs a name of its own, but {', '.join(twice)} comes twice.")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(header):
            raise BidsError(
                f"{path}, line {number}: expected {len(header)} values between tabs, but found {len(cells)}."
            )
        rows.append(dict(zip(header, cells, strict=True)))
    return header, rows


def format_tsv(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """A TSV file's text; values that a row lacks are ``n/a``."""
    lines = [header, *([row.get(name) or MISSING for name in header] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


def _to_text(value: Any, column: Column) -> str:
    if column.dtype == "boolean":
        return "true" if value else "false"
    if column.dtype == "integer":
        return str(int(value))
    if column.dtype == "number":
        return MISSING if np.isnan(value) else repr(float(value))
    text = str(value)
    if any(mark in text for mark in "\t\r\n"):
        raise ValueError(f"column {column.name}: a value holds a tab or a line break: {text!r}")
    return text or MISSING


def _from_text(text: str, column: Column, path: Path, line: int) -> str | float | int | bool:
    if column.dtype == "string":
        return "" if text == MISSING else text
    if text == MISSING:
        return {"number": float("nan"), "integer": 0, "boolean": False}[column.dtype]
    try:
        if column.dtype == "boolean":
            return _BOOLEANS[text.lower()]
        return int(text) if column.dtype == "integer" else float(text)
    except (ValueError, KeyError):
        kind = {"boolean": "true or false", "integer": "a whole number"}.get(column.dtype, "a number")
        raise BidsError(
            f"{path}, line {line}: column {column.name} must hold {kind} or n/a, but holds {text!r}."
        ) from None
