"""A simulated study through the whole pipeline, and how far what came out is from what was put in."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ferrosight.errors import InputError
from ferrosight.evaluate import match_clusters
from ferrosight.io import Participant, Session, read_table, write_scan, write_study, write_truth
from ferrosight.physics.labels import get_label
from ferrosight.simulate import DEMO_IRON_PER_CELL_PG, DEMO_LABEL_ID, DEMO_SUBJECTS, simulate_demo_visit
from ferrosight.study.products import visit_path
from ferrosight.study.run import PlannedVisit, StudyOptions, StudyOutcome, plan_study, run_study
from ferrosight.types import CLUSTERS, TRUTH, Config, IronPerCell, Progress, Table
from ferrosight.types.config import RelapseConfig

_SEED = 1
#: The spread between batches that Arbab 2004 (Blood 104:1217) gives with that load.
_LOAD = IronPerCell(DEMO_IRON_PER_CELL_PG, 0.1, "CD34+ progenitors, Arbab 2004, Blood 104:1217")
#: How far from a body an accepted cluster may lie to be that body: two voxels. Bodies are never nearer than 1 mm.
MATCH_MM: Final = 0.2
_DESCRIPTION = "Ferrosight's demo: a simulated study"


@dataclass(frozen=True)
class Match:
    """A cluster that was put in, and what was found there: NaN where nothing was."""

    object_id: str
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
    def found(self) -> tuple[Match, ...]:
        """Labelled clusters that were found."""
        return tuple(match for match in self.matches if match.is_found)


@dataclass(frozen=True)
class ComparedVisit:
    """A visit of the demo, by its day."""

    day: float
    comparison: Comparison


@dataclass(frozen=True)
class ComparedSubject:
    """A subject of the demo, what it stands for, and its visits."""

    name: str
    about: str
    visits: tuple[ComparedVisit, ...]


@dataclass(frozen=True)
class DemoOutcome:
    """What the demo made and how good it is. ``report`` is the page to begin with, None where none was written."""

    study: StudyOutcome
    subjects: tuple[ComparedSubject, ...]
    report: Path | None


def run_demo(out_dir: Path, *, on_progress: Progress | None = None) -> DemoOutcome:
    """Simulate a study into ``out_dir``/bids, its truth into ``out_dir``/truth, analyse it, compare.

    Raises
    ------
    InputError
        ``out_dir`` holds anything already.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InputError(f"the demo needs a new or empty folder, but {out_dir} is not; name another with --out.")
    simulate_demo(out_dir, on_progress)
    options, results = choose_options(), out_dir / "derivatives"
    planned = plan_study(out_dir / "bids", results, options)
    study = run_study(planned, results, options, on_progress=on_progress)
    if study.failed:
        raise InputError(f"the demo's scan {study.failed[0].name} could not be analysed: {study.failed[0].error}")
    if study.not_followed:
        first = study.not_followed[0]
        raise InputError(f"the demo's subject {first.subject} could not be followed: {first.error}")
    return DemoOutcome(study, compare_study(planned, results, out_dir), study.report)


def choose_options() -> StudyOptions:
    """What the demo's study is analysed with, and what is known of it beforehand."""
    # The simulated dose varies by 5 %, no iron of earlier doses stays, and stated errors are right: bounds with room.
    known = RelapseConfig(factor_sd_max=0.1, carry_over_max=0.1, sd_factor_max=2.0)
    return StudyOptions(
        label=get_label(DEMO_LABEL_ID), iron_per_cell=_LOAD, config=dataclasses.replace(Config(), relapse=known)
    )


def simulate_demo(out_dir: Path, on_progress: Progress | None = None) -> None:
    """Write the demo's scans as BIDS into ``out_dir``/bids, and what they hold into ``out_dir``/truth."""
    people = [
        Participant(name, "mus musculus", name, subject.study_kind, DEMO_LABEL_ID)
        for name, subject in DEMO_SUBJECTS.items()
    ]
    sessions = {
        name: [
            Session(f"d{day:02.0f}", day, label_day=day if subject.study_kind == "targeted" else 0.0)
            for day in subject.days
        ]
        for name, subject in DEMO_SUBJECTS.items()
    }
    write_study(out_dir / "bids", _DESCRIPTION, people, sessions, readme=f"{_DESCRIPTION}, seed {_SEED}.\n")
    visits = [(name, visit) for name, of_subject in sessions.items() for visit in range(len(of_subject))]
    for done, (name, visit) in enumerate(visits):
        if on_progress is not None:
            on_progress("simulating", done, len(visits))
        seed = int(np.random.SeedSequence([_SEED, list(DEMO_SUBJECTS).index(name)]).generate_state(1)[0])
        scan, truth = simulate_demo_visit(DEMO_SUBJECTS[name], seed, visit)
        session = sessions[name][visit].session
        write_scan(dataclasses.replace(scan, subject=name, session=session), out_dir / "bids", description=_DESCRIPTION)
        write_truth(truth, out_dir, name, session)


def compare_study(planned: tuple[PlannedVisit, ...], results: Path, out_dir: Path) -> tuple[ComparedSubject, ...]:
    """Every subject's visits against their truth."""
    visits: dict[str, list[ComparedVisit]] = {name: [] for name in DEMO_SUBJECTS}
    for visit in planned:
        clusters = read_table(CLUSTERS, visit_path(results, "clusters", visit.files))
        truth = read_table(TRUTH, out_dir / "truth" / f"{visit.files.name}_truth.tsv")
        day = float(visit.files.session.removeprefix("d"))
        visits[visit.files.subject].append(ComparedVisit(day, compare_with_truth(clusters, truth)))
    return tuple(
        ComparedSubject(name, DEMO_SUBJECTS[name].about, tuple(sorted(own, key=lambda one: one.day)))
        for name, own in visits.items()
    )


def compare_with_truth(clusters: Table, truth: Table) -> Comparison:
    """Match accepted clusters (schema CLUSTERS) one to one with labelled truth (schema TRUTH) by position."""
    found = clusters.where(clusters["status"] == "accepted")
    matching = match_clusters(found, truth, MATCH_MM)
    partner = {int(body): row for row, body in enumerate(matching.body) if body >= 0}
    labelled = np.flatnonzero(truth["kind"] == "labelled").tolist()
    matches = tuple(_match(truth, found, row, partner.get(row), matching.distance_mm) for row in labelled)
    return Comparison(matches, n_false=len(found) - len(partner))


def _match(truth: Table, found: Table, row: int, column: int | None, distance_mm: np.ndarray) -> Match:
    def number(name: str) -> float:
        return float("nan") if column is None else float(found[name][column])

    return Match(
        object_id=str(truth["object_id"][row]),
        true_iron_pg=float(truth["iron_pg"][row]),
        true_n_cells=float(truth["n_cells"][row]),
        iron_pg=number("iron_pg"),
        iron_pg_low=number("iron_pg_low"),
        iron_pg_high=number("iron_pg_high"),
        n_cells=number("n_cells"),
        n_cells_low=number("n_cells_low"),
        n_cells_high=number("n_cells_high"),
        distance_mm=float("nan") if column is None else float(distance_mm[column]),
    )
