"""Many micrographs: read, measured and written one by one; one that fails is listed and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferrosight.errors import FerrosightError, InputError
from ferrosight.io.atomic import open_atomic
from ferrosight.io.micrographs import SUFFIXES, read_mask, read_micrograph, write_mask
from ferrosight.io.tables import write_table
from ferrosight.report.micrograph_overlay import draw_overlay
from ferrosight.types import Progress, Table
from ferrosight.types.micrograph import MICROGRAPH_REMARKS, MicrographMeasurement, MicrographOptions
from ferrosight.types.schema import MICROGRAPHS, PARTICLE_CLUSTERS, PARTICLES
from ferrosight.uptake.micrographs import DrawnMasks, measure_micrograph

_TABLES = {MICROGRAPHS: "bodies", PARTICLE_CLUSTERS: "clusters", PARTICLES: "particles"}


@dataclass(frozen=True)
class MicrographsOutcome:
    """The tables of all micrographs that could be measured, and the sentence of each that could not."""

    bodies: Table
    failed: dict[str, str]
    n_measured: int

    @property
    def exit_code(self) -> int:
        """0; 1 where some failed; 2 where all did."""
        return 2 if not self.n_measured else 1 if self.failed else 0

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        from ferrosight.study.summary import plain_value

        rows = self.bodies.to_pandas().to_dict("records")
        return {"exit_code": self.exit_code, "failed": self.failed, "bodies": plain_value(rows)}


def list_micrographs(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The images among files and folders (their own files, not those of folders within), in order.

    Raises
    ------
    InputError
        A path does not exist, nothing is found, or two images have one name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"{path}: a micrograph or a folder of them was expected here, but there is none.")
    if not found:
        raise InputError(f"micrographs of type {', '.join(SUFFIXES)} were expected, but none is in what was given.")
    stems = [file.stem for file in found]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise InputError(f"every micrograph needs a name of its own, but {', '.join(twice)} comes twice.")
    return tuple(found)


def measure_micrographs(
    images: Sequence[Path],
    out_dir: Path,
    options: MicrographOptions,
    *,
    on_progress: Progress | None = None,
    on_image: Callable[[str, MicrographMeasurement | None, str], None] | None = None,
) -> MicrographsOutcome:
    """Measure each image and write tables, overlays and masks into ``out_dir``, which no image may lie in.

    ``on_image`` is told each image's name with its measurement, or with the sentence of its failure.

    Raises
    ------
    InputError
        ``out_dir`` is a file, or holds one of the images.
    """
    _check_folder(images, out_dir)
    tables: dict[str, list[Table]] = {name: [] for name in _TABLES.values()}
    failed: dict[str, str] = {}
    for number, path in enumerate(images):
        if on_progress is not None:
            on_progress("measuring micrographs", number, len(images))
        try:
            measurement = _measure_one(path, out_dir, options)
        except FerrosightError as error:
            failed[path.name] = str(error)
            if on_image is not None:
                on_image(path.name, None, str(error))
            continue
        for name, rows in tables.items():
            rows.append(getattr(measurement, name))
        if on_image is not None:
            on_image(path.name, measurement, "")
    merged = {schema: _stack(schema, tables[name]) for schema, name in _TABLES.items()}
    n_measured = len(images) - len(failed)
    if n_measured:
        for schema, table in merged.items():
            extra = {"Remarks": MICROGRAPH_REMARKS} if schema is MICROGRAPHS else None
            write_table(table, out_dir / f"{schema.name}.tsv", extra)
    return MicrographsOutcome(merged[MICROGRAPHS], failed, n_measured)


def _check_folder(images: Sequence[Path], out_dir: Path) -> None:
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir} must be a folder to write to, but is a file.")
    inside = [path.name for path in images if path.resolve().parent == out_dir.resolve()]
    if inside:
        raise InputError(f"the folder of the micrographs is never written to; name another one than {out_dir}.")


def _measure_one(path: Path, out_dir: Path, options: MicrographOptions) -> MicrographMeasurement:
    micrograph = read_micrograph(path)
    measurement = measure_micrograph(micrograph, options)
    drawn = _read_drawn(path.stem, out_dir, measurement)
    if drawn is not None:
        measurement = measure_micrograph(micrograph, options, drawn)
    write_mask(measurement.body_labels > 0, out_dir / f"{path.stem}_bodies.png")
    write_mask(measurement.covered, out_dir / f"{path.stem}_particles.png")
    with open_atomic(out_dir / f"{path.stem}_overlay.png") as file:
        file.write(draw_overlay(measurement))
    return measurement


def _read_drawn(stem: str, out_dir: Path, measurement: MicrographMeasurement) -> DrawnMasks | None:
    """Masks that a person saved beside the written ones, under their own names."""
    paths = {kind: out_dir / f"{stem}_{kind}_edited.png" for kind in ("bodies", "particles")}
    masks = {kind: read_mask(path, measurement.covered.shape) for kind, path in paths.items() if path.exists()}
    return DrawnMasks(masks.get("bodies"), masks.get("particles")) if masks else None


def _stack(schema: Any, tables: list[Table]) -> Table:
    import numpy as np

    if not tables:
        return Table(schema, {})
    return Table(schema, {name: np.concatenate([table[name] for table in tables]) for name in schema.names})
