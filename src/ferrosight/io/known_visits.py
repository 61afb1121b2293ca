"""Catalogues and truths to be compared, from anybody's tables in the documented layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import BidsError
from ferrosight.io.bids_names import parse_name, visit_stem
from ferrosight.io.nifti import sidecar_path
from ferrosight.io.tables import read_table
from ferrosight.types import CLUSTERS, TRUTH, KnownVisit, Table

_POSITION: Final = ("x_mm", "y_mm", "z_mm")
_STATUSES: Final = ("accepted", "rejected")


@dataclass(frozen=True)
class KnownVisitFiles:
    """A catalogue's table and the truth's, of one scan called ``name``."""

    name: str
    clusters: Path
    truth: Path


@dataclass(frozen=True)
class FoundFiles:
    """Scans that have a catalogue and a truth, and the names of those that have one of them alone."""

    visits: tuple[KnownVisitFiles, ...]
    without_catalogue: tuple[str, ...]
    without_truth: tuple[str, ...]


def find_known_visits(out_dir: Path, truth_dir: Path) -> FoundFiles:
    """Pair ``sub-X[/ses-Y]/anat/*_clusters.tsv`` of ``out_dir`` with ``sub-X[_ses-Y]_truth.tsv`` of ``truth_dir``.

    The truth may lie in ``truth_dir`` or in its folder ``truth``. A catalogue with further entities in its name
    (``run``, ``acq``) has the truth of the same name or else that of its subject and session.

    Raises
    ------
    BidsError
        A folder is missing, has no such file, or no catalogue has a truth.
    """
    catalogues = _list_tables(out_dir, ("sub-*/anat", "sub-*/ses-*/anat"), "clusters")
    truths = _list_tables(truth_dir, (".", "truth"), "truth")
    partner = {name: _find_truth(path, name, truths) for name, path in catalogues.items()}
    visits = tuple(
        KnownVisitFiles(name, path, truths[partner[name]]) for name, path in catalogues.items() if partner[name]
    )
    if not visits:
        raise BidsError(
            f"no catalogue in {out_dir} has a truth of the same name in {truth_dir}: there are catalogues of "
            f"{_list_some(catalogues)} and truths of {_list_some(truths)}."
        )
    used = set(partner.values())
    return FoundFiles(
        visits,
        without_catalogue=tuple(name for name in truths if name not in used),
        without_truth=tuple(name for name in catalogues if not partner[name]),
    )


def read_known_visit(files: KnownVisitFiles) -> KnownVisit:
    """Read both tables; columns that the evaluation can do without may be missing.

    A catalogue needs ``x_mm y_mm z_mm``, a truth these and ``kind``. Without ``status`` every row is accepted.

    Raises
    ------
    BidsError
        Naming the file, and the row and column where that says more.
    """
    clusters = read_table(CLUSTERS, files.clusters, _POSITION)
    if not any(clusters["status"]):
        clusters = clusters.with_columns(status=np.full(len(clusters), _STATUSES[0]))
    for row, status in enumerate(clusters["status"].tolist(), start=1):
        if status not in _STATUSES:
            raise BidsError(
                f"{files.clusters}, row {row}: status must be accepted or rejected, but is {status or 'n/a'}."
            )
    _check_positions(clusters, files.clusters, must_have=clusters["status"] == _STATUSES[0])
    _check_finite(clusters, "score", files.clusters)
    truth = read_table(TRUTH, files.truth, (*_POSITION, "kind"))
    _check_positions(truth, files.truth, must_have=np.ones(len(truth), dtype=bool))
    if not all(truth["kind"]):
        row = int(np.flatnonzero(truth["kind"] == "")[0]) + 1
        raise BidsError(f"{files.truth}, row {row}: kind must say what is there (labelled, vein, …), but is n/a.")
    for name in ("radius_mm", *(f"axis_{axis}_mm" for axis in "xyz")):
        _check_finite(truth, name, files.truth)
    if (truth["radius_mm"] < 0).any():
        row = int(np.flatnonzero(truth["radius_mm"] < 0)[0]) + 1
        raise BidsError(f"{files.truth}, row {row}: radius_mm must be zero or more, or n/a.")
    return KnownVisit(files.name, clusters, truth)


def read_truth_voxel(path: Path) -> tuple[float, float, float] | None:
    """The scan's voxel edges, mm, that the JSON beside a truth gives as ``VoxelMm``; None where it gives none.

    Raises
    ------
    BidsError
        The file cannot be read, or they are not three positive numbers.
    """
    described = sidecar_path(path)
    if not described.exists():
        return None
    try:
        content = json.loads(described.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BidsError(f"{described} must be a JSON file, but cannot be read as one ({error}).") from error
    voxel = content.get("VoxelMm") if isinstance(content, Mapping) else None
    if voxel is None:
        return None
    try:
        x, y, z = (float(edge) for edge in voxel)
    except (TypeError, ValueError):
        x = y = z = 0.0
    if not all(0 < edge < np.inf for edge in (x, y, z)):
        raise BidsError(f"{described}: VoxelMm must be three positive edges in mm, but is {voxel!r}.")
    return x, y, z


def _list_tables(folder: Path, places: tuple[str, ...], suffix: str) -> dict[str, Path]:
    """Name of every scan that has such a table, ``sub-X[_…]``, and the table's path."""
    if not folder.is_dir():
        raise BidsError(f"{folder} must be a folder with tables of the name sub-…_{suffix}.tsv, but there is none.")
    found: dict[str, Path] = {}
    for path in sorted(path for place in places for path in folder.glob(f"{place}/sub-*_{suffix}.tsv")):
        name = parse_name(path.name)
        stem = path.name.removesuffix(f"_{suffix}.tsv")
        if name is None or "sub" not in name.entities:
            raise BidsError(f"{path} must be named sub-X[_ses-Y]_{suffix}.tsv, with labels of letters and digits.")
        if stem in found:
            raise BidsError(f"{stem} must have one table of its {suffix}, but has {found[stem]} and {path}.")
        found[stem] = path
    if not found:
        looked = " or ".join(f"{place}/sub-*_{suffix}.tsv".removeprefix("./") for place in places)
        raise BidsError(f"{folder} must hold tables {looked}, but holds none.")
    return found


def _find_truth(path: Path, name: str, truths: Mapping[str, Path]) -> str:
    """Name of the truth of a catalogue, "" where there is none."""
    parsed = parse_name(path.name)
    labels = {} if parsed is None else parsed.entities
    general = visit_stem(labels.get("sub", ""), labels.get("ses", ""))
    return next((candidate for candidate in (name, general) if candidate in truths), "")


def _list_some(names: Mapping[str, Path]) -> str:
    shown = list(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > len(shown) else "")


def _check_positions(table: Table, path: Path, must_have: NDArray[np.bool_]) -> None:
    for name in _POSITION:
        _check_finite(table, name, path)
        absent = np.flatnonzero(np.isnan(table[name]) & must_have)
        if len(absent):
            what = "an accepted cluster" if "status" in table.columns else "a body of the truth"
            raise BidsError(f"{path}, row {int(absent[0]) + 1}: {what} must have a position, but its {name} is n/a.")


def _check_finite(table: Table, name: str, path: Path) -> None:
    endless = np.flatnonzero(np.isinf(table[name]))
    if len(endless):
        raise BidsError(f"{path}, row {int(endless[0]) + 1}: {name} must be a finite number or n/a, but is infinite.")
