"""A calibration as a TOML file, and the table of a phantom's spots."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from ferrosight.errors import InputError
from ferrosight.io.atomic import write_text_atomic
from ferrosight.io.tables import read_table, read_tsv
from ferrosight.types.calibration import PHANTOM, Calibration
from ferrosight.types.table import Table

_TEXTS = ("source",)
_WHOLE = ("n_spots", "n_batches")


def read_phantom(path: Path) -> Table:
    """The spots of a phantom, a table of schema PHANTOM; ``session_id``, ``n_cells_err`` and ``batch`` may be missing.

    Raises
    ------
    InputError
        There is no such file, a column is missing or unknown, or a value is not a number.
    """
    header, _ = read_tsv(path)
    unknown = [name for name in header if name not in PHANTOM.names]
    if unknown:
        raise InputError(f"{path} must have columns of {', '.join(PHANTOM.names)}, but has {', '.join(unknown)}.")
    return read_table(PHANTOM, path, required=("participant_id", "x_mm", "y_mm", "z_mm", "n_cells"))


def write_calibration(calibration: Calibration, path: Path) -> Path:
    """Write a calibration, which ``read_calibration`` reads back; returns ``path``."""
    if path.suffix.lower() != ".toml":
        raise InputError(f"a calibration must be written to a .toml file, but {path} was asked for.")
    lines = ["# Moment per cell, from a phantom of counted cells: ferrosight run --calibration"]
    for field in dataclasses.fields(calibration):
        value = getattr(calibration, field.name)
        # JSON's strings, numbers and lists of strings are TOML's as well.
        text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"{field.name} = {text}")
    return write_text_atomic(path, "\n".join(lines) + "\n")


def read_calibration(path: Path) -> Calibration:
    """What ``write_calibration`` wrote.

    Raises
    ------
    InputError
        It is not such a file.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no calibration {path}; check the path.") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the calibration {path} must be a TOML file, but cannot be read as one ({error}).") from None
    names = [field.name for field in dataclasses.fields(Calibration)]
    needed = [field.name for field in dataclasses.fields(Calibration) if field.default is dataclasses.MISSING]
    missing, unknown = [name for name in needed if name not in values], sorted(set(values) - set(names))
    if missing or unknown:
        raise InputError(
            f"the calibration {path} must have {', '.join(names)}, but lacks {', '.join(missing) or 'none'} and has "
            f"{', '.join(unknown) or 'nothing'} besides."
        )
    return Calibration(**{name: _check_kind(path, name, value) for name, value in values.items()})


def _check_kind(path: Path, name: str, value: Any) -> Any:
    if name == "notes":
        if not isinstance(value, list):
            raise InputError(f"notes in the calibration {path} must be a list of sentences, but is {value!r}.")
        return tuple(str(note) for note in value)
    kind: tuple[type, ...] = (str,) if name in _TEXTS else (int,) if name in _WHOLE else (int, float)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{name} in the calibration {path} must be {kind[-1].__name__}, but is {value!r}.")
    return value
