"""Lesions that somebody measured, for the clinical rules: sub-X_lesions.tsv."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ferrosight.errors import BidsError
from ferrosight.io.bids_names import clean_label
from ferrosight.io.tables import read_table
from ferrosight.types import Table
from ferrosight.types.schema import LESIONS

_OPTIONAL = ("volume_mm3_err", "sul_peak")
_SIZES = ("longest_mm", "perpendicular_mm", "volume_mm3", *_OPTIONAL)


def read_lesions(bids_dir: Path | str, subject: str) -> Table:
    """The lines of sub-X/sub-X_lesions.tsv (schema LESIONS), sessions without prefix; none where there is no file.

    ``volume_mm3_err`` and ``sul_peak`` may be left out. A line without ``lesion_id`` says that the visit was looked at
    and held no lesion.

    Raises
    ------
    BidsError
        Naming the file, and the line or column that is missing or holds what it cannot.
    """
    name = f"sub-{clean_label('sub', subject)}"
    path = Path(bids_dir) / name / f"{name}_lesions.tsv"
    if not path.is_file():
        return Table(LESIONS, {})
    lesions = read_table(LESIONS, path, required=[column for column in LESIONS.names if column not in _OPTIONAL])
    sessions: list[str] = []
    seen: set[tuple[str, str]] = set()
    for line, (text, lesion) in enumerate(zip(lesions["session_id"], lesions["lesion_id"], strict=True), start=2):
        try:
            sessions.append(clean_label("ses", str(text)))
        except BidsError as error:
            raise BidsError(f"{path}, line {line}: {error}") from error
        if not sessions[-1]:
            raise BidsError(f"{path}, line {line}: every line needs its session_id, but this one has none.")
        if (sessions[-1], str(lesion)) in seen:
            raise BidsError(
                f"{path}, line {line}: {lesion or 'no lesion'} at ses-{sessions[-1]} stands in an earlier line; "
                "keep one."
            )
        seen.add((sessions[-1], str(lesion)))
    _check_sizes(lesions, path)
    return lesions.with_columns(session_id=np.array(sessions, dtype=np.str_))


def _check_sizes(lesions: Table, path: Path) -> None:
    for column in _SIZES:
        wrong = np.flatnonzero((lesions[column] < 0) | np.isinf(lesions[column]))
        if wrong.size:
            value = lesions[column][wrong[0]]
            raise BidsError(
                f"{path}, line {wrong[0] + 2}: {column} must be 0 or more, or n/a where it was not measured, "
                f"but is {value:g}."
            )
    across = np.flatnonzero(lesions["perpendicular_mm"] > lesions["longest_mm"])
    if across.size:
        row = across[0]
        raise BidsError(
            f"{path}, line {row + 2}: perpendicular_mm must not be above longest_mm, but "
            f"{lesions['perpendicular_mm'][row]:g} is above {lesions['longest_mm'][row]:g}."
        )
    sized = np.any([np.isfinite(lesions[column]) for column in _SIZES], axis=0)
    nameless = np.flatnonzero(sized & (lesions["lesion_id"] == ""))
    if nameless.size:
        raise BidsError(f"{path}, line {nameless[0] + 2}: a lesion with a size needs a lesion_id, but has none.")
