"""A simulated scan through the whole pipeline, and how far what came out is from what was put in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ferrosight.errors import InputError
from ferrosight.io import read_table, write_scan, write_truth
from ferrosight.physics.labels import get_label
from ferrosight.simulate import DEMO_IRON_PER_CELL_PG, DEMO_LABEL_ID, build_demo_spec, simulate_scan
from ferrosight.study.products import visit_path
from ferrosight.study.run import StudyOptions, StudyOutcome, plan_study, run_study
from ferrosight.types import CLUSTERS, IronPerCell, Progress, Scan, Table, Truth

_SEED = 1
#: The spread between batches that Arbab 2004 (Blood 104:1217) gives with that load.
_LOAD = IronPerCell(DEMO_IRON_PER_CELL_PG, 0.1, "CD34+ progenitors, Arbab 2004, Blood 104:1217")


@dataclass(frozen=True)
class Match:
    """A cluster that was put in, and what was found there: NaN where nothing was."""

    true_iron_pg: float
    true_n_cells: float
    iron_pg: float
    iron_pg_low: float
    iron_pg_high: float
    n_cells: float
    n_cells_low: float
    n_cells_high: float
    distance_mm: float

    @property
    def is_found(self) -> bool:
        """Whether an accepted cluster lies at its place."""
        return bool(np.isfinite(self.distance_mm))

    @property
    def covers_iron(self) -> bool:
        """Whether the 95 % interval holds the true mass of iron."""
        return self.iron_pg_low <= self.true_iron_pg <= self.iron_pg_high

    @property
    def covers_cells(self) -> bool:
        """Whether the 95 % interval holds the true number of cells."""
        return self.n_cells_low <= self.true_n_cells <= self.n_cells_high


@dataclass(frozen=True)
class Comparison:
    """Accepted clusters against the truth; ``n_false`` were accepted where nothing labelled is."""

    matches: tuple[Match, ...]
    n_false: int

    @property
    def n_found(self) -> int:
        """Labelled clusters that were found."""
        return sum(match.is_found for match in self.matches)


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo made and how good it is."""

    study: StudyOutcome
    comparison: Comparison


def run_demo(out_dir: Path, *, on_progress: Progress | None = None) -> DemoOutcome:
    """Simulate a scan into ``out_dir``/bids, its truth into ``out_dir``/truth, analyse it, compare.

    Raises
    ------
    InputError
        ``out_dir`` holds anything already.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InputError(f"the demo needs a new or empty folder, but {out_dir} is not; name another with --out.")
    if on_progress is not None:
        on_progress("simulating", 0, 1)
    scan, truth = simulate_demo()
    write_scan(scan, out_dir / "bids", description="Ferrosight's demo: a simulated scan")
    write_truth(truth, out_dir, scan.subject, scan.session)
    options = StudyOptions(label=get_label(DEMO_LABEL_ID), iron_per_cell=_LOAD)
    results = out_dir / "derivatives"
    planned = plan_study(out_dir / "bids", results, options)
    study = run_study(planned, results, options, on_progress=on_progress)
    if study.failed:
        raise InputError(f"the demo's scan could not be analysed: {study.failed[0].error}")
    clusters = read_table(CLUSTERS, visit_path(results, "clusters", planned[0].files))
    # Two clusters of the demo are never nearer than 1 mm; this is two voxels.
    within_mm = 2 * max(scan.grid.voxel_mm)
    return DemoOutcome(study, compare_with_truth(clusters, truth.table, within_mm))


def simulate_demo() -> tuple[Scan, Truth]:
    """The demo's scan, as subject "demo", and its truth."""
    scan, truth = simulate_scan(build_demo_spec(_SEED), _SEED)
    return dataclasses.replace(scan, subject="demo"), truth


def compare_with_truth(clusters: Table, truth: Table, within_mm: float) -> Comparison:
    """Match accepted clusters (schema CLUSTERS) one to one with labelled truth (schema TRUTH) by position.

    The number of matches within ``within_mm`` is the largest possible, and of those ways the nearest.
    """
    found = clusters.where(clusters["status"] == "accepted")
    real = truth.where(truth["kind"] == "labelled")
    distances = np.linalg.norm(_xyz(real)[:, None] - _xyz(found)[None], axis=-1)
    far = 1e3 * within_mm
    rows, columns = linear_sum_assignment(np.where(distances <= within_mm, distances, far))
    partner = {int(r): int(c) for r, c in zip(rows, columns, strict=True) if distances[r, c] <= within_mm}
    matches = tuple(_match(real, found, row, partner.get(row), distances) for row in range(len(real)))
    return Comparison(matches, n_false=len(found) - len(partner))


def _match(real: Table, found: Table, row: int, column: int | None, distances: NDArray[np.float64]) -> Match:
    def number(name: str) -> float:
        return float("nan") if column is None else float(found[name][column])

    return Match(
        true_iron_pg=float(real["iron_pg"][row]),
        true_n_cells=float(real["n_cells"][row]),
        iron_pg=number("iron_pg"),
        iron_pg_low=number("iron_pg_low"),
        iron_pg_high=number("iron_pg_high"),
        n_cells=number("n_cells"),
        n_cells_low=number("n_cells_low"),
        n_cells_high=number("n_cells_high"),
        distance_mm=float("nan") if column is None else float(distances[row, column]),
    )


def _xyz(table: Table) -> NDArray[np.float64]:
    return np.stack([table["x_mm"], table["y_mm"], table["z_mm"]], axis=-1)
