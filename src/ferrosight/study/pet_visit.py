"""PET scans of a study, each from its file to its hot spots."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferrosight.errors import BidsError, FerrosightError
from ferrosight.io import (
    PetFile,
    output_path,
    read_pet_file,
    write_dataset_description,
    write_json_atomic,
    write_nifti,
    write_table,
)
from ferrosight.io.sidecars import read_metadata
from ferrosight.pet import find_hot_spots, state_point_spread
from ferrosight.study.provenance import describe_run, hash_files
from ferrosight.study.resources import peak_memory_mb
from ferrosight.study.summary import plain_value
from ferrosight.types import Config, Progress
from ferrosight.types.pet import PetCatalogue, PetResponse

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PetSummary:
    """Counts and totals of a PET scan's hot spots; NaN where there is nothing to sum or no unit for it.

    ``score_expecting_one`` is the score that one false hot spot reaches in a scan like this.
    """

    n_candidates: int
    n_accepted: int
    rejected_by_reason: Mapping[str, int]
    q_threshold: float
    activity_bq: float
    activity_bq_err: float
    highest_suv_peak: float
    highest_score: float
    lowest_expected_false: float
    score_expecting_one: float
    n_decoys: int
    point_spread_mm: tuple[float, float, float]
    positron_range_mm: float
    notes: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON: NaN becomes None."""
        return {key: plain_value(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> PetSummary:
        """What ``as_plain`` gave.

        Raises
        ------
        KeyError, TypeError
            Something is missing or is not as it was given.
        """
        values = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        values |= {name: math.nan for name, value in values.items() if value is None}
        values |= {name: tuple(values[name]) for name in ("point_spread_mm", "notes")}
        return cls(**values)


@dataclass(frozen=True)
class PetOutcome:
    """What became of one PET scan: a summary and the table of its hot spots, or the ``error`` that ended it."""

    name: str
    subject: str
    session: str
    run: str
    wall_s: float
    peak_memory_mb: float | None
    summary: PetSummary | None = None
    table: Path | None = None
    error: str = ""

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "visit": self.name,
            "modality": "pet",
            "subject": self.subject,
            "session": self.session or None,
            "run": self.run or None,
            "status": "failed" if self.summary is None else "done",
            "error": self.error or None,
            "wall_s": round(self.wall_s, 3),
            "peak_memory_mb": self.peak_memory_mb,
            "table": None if self.table is None else str(self.table),
            "catalogue": None if self.summary is None else self.summary.as_plain(),
        }


def run_pet_visits(
    files: Iterable[PetFile],
    out_dir: Path,
    config: Config,
    n_cpus: int,
    *,
    on_progress: Progress | None = None,
    on_visit: Callable[[PetOutcome], None] | None = None,
) -> tuple[PetOutcome, ...]:
    """Find and write the hot spots of each PET scan; one that fails is recorded and the others go on."""
    outcomes = []
    for file in files:
        outcome = _run_one(file, out_dir, config, n_cpus, on_progress)
        outcomes.append(outcome)
        if on_visit is not None:
            on_visit(outcome)
    return tuple(outcomes)


def recall_pet_visits(
    files: Iterable[PetFile], out_dir: Path, find_error: Callable[[str], str]
) -> tuple[PetOutcome, ...]:
    """What became of PET scans, read off their files; ``find_error`` says of a scan's name why it failed, or ""."""
    outcomes = []
    for file in files:
        about = file.name, file.subject, file.session, file.run
        table = pet_path(out_dir, "pet_clusters", file)
        try:
            content = json.loads(pet_path(out_dir, "pet_summary", file).read_text(encoding="utf-8"))
            summary = PetSummary.from_plain(content["catalogue"])
            times = float(content["wall_s"]), content["peak_memory_mb"]
        except (OSError, ValueError, KeyError, TypeError):
            error = find_error(file.name) or "it has not been analysed yet; run the participant level."
            outcomes.append(PetOutcome(*about, 0.0, None, error=error))
        else:
            outcomes.append(PetOutcome(*about, *times, summary, table))
    return tuple(outcomes)


def _run_one(file: PetFile, out_dir: Path, config: Config, n_cpus: int, on_progress: Progress | None) -> PetOutcome:
    started = time.perf_counter()
    summary, table, message = None, None, ""
    if on_progress is not None:
        on_progress(f"{file.name}: hot spots", 0, 1)
    try:
        summary, table = _analyse_and_write(file, out_dir, config, n_cpus, started)
    except FerrosightError as error:
        _LOG.debug("%s failed", file.name, exc_info=True)
        message = str(error)
    return PetOutcome(
        name=file.name,
        subject=file.subject,
        session=file.session,
        run=file.run,
        wall_s=time.perf_counter() - started,
        peak_memory_mb=peak_memory_mb(),
        summary=summary,
        table=table,
        error=message,
    )


def _analyse_and_write(
    file: PetFile, out_dir: Path, config: Config, n_cpus: int, started: float
) -> tuple[PetSummary, Path]:
    """Everything is found before anything is written; the summary is written last."""
    if file.rivals:
        raise BidsError(
            f"{file.path.parent}: {file.name} could be any of {', '.join(file.rivals)}; keep one, or tell them apart "
            "with trc-, rec- or run-."
        )
    bids_dir = file.bids_dir
    scan = read_pet_file(file, bids_dir)
    response = state_point_spread(scan, config.pet)
    catalogue = find_hot_spots(scan, response, config.pet)
    summary = summarise_hot_spots(catalogue, response, config.pet.q)
    write_dataset_description(out_dir)
    table = pet_path(out_dir, "pet_clusters", file)
    write_table(catalogue.clusters, table)
    sidecar = {
        "Units": "1",
        "Description": "Evidence for a point of activity in what the explained hot spots leave; 0 outside the body.",
        "RawSources": [file.path.relative_to(bids_dir).as_posix()],
    }
    write_nifti(catalogue.z, catalogue.grid, pet_path(out_dir, "pet_evidence", file), sidecar)
    sources = [file.path, *read_metadata(file.path, bids_dir).sources]
    participants = bids_dir / "participants.tsv"
    content = {
        "visit": file.name,
        "catalogue": summary.as_plain(),
        "wall_s": time.perf_counter() - started,
        "peak_memory_mb": peak_memory_mb(),
        **describe_run(config, None, None, n_cpus),
        # The body's mass may come from there.
        "inputs_sha256": hash_files([*sources, *([participants] if participants.exists() else [])], bids_dir),
    }
    write_json_atomic(pet_path(out_dir, "pet_summary", file), plain_value(content))
    return summary, table


def pet_path(out_dir: Path, product: str, file: PetFile) -> Path:
    """Where a product of this PET scan goes."""
    return output_path(
        out_dir,
        product,
        file.subject,
        file.session,
        file.run,
        tracer=file.tracer,
        reconstruction=file.reconstruction,
    )


def summarise_hot_spots(catalogue: PetCatalogue, response: PetResponse, q: float) -> PetSummary:
    """Count and add up what a PET scan's catalogue, judged at ``q``, holds."""
    clusters, accepted = catalogue.clusters, catalogue.accepted
    reasons = clusters["reasons"][clusters["status"] != "accepted"].tolist()
    counted = Counter(name for names in reasons for name in names.split(";") if name)
    peaks = accepted["suv_peak"][np.isfinite(accepted["suv_peak"])]
    return PetSummary(
        n_candidates=len(clusters),
        n_accepted=len(accepted),
        rejected_by_reason=dict(counted.most_common()),
        q_threshold=q,
        activity_bq=float(accepted["activity_bq"].sum()) if len(accepted) else math.nan,
        activity_bq_err=float(np.sqrt((accepted["activity_bq_err"] ** 2).sum())) if len(accepted) else math.nan,
        highest_suv_peak=float(peaks.max()) if len(peaks) else math.nan,
        highest_score=float(clusters["score"].max()) if len(clusters) else math.nan,
        lowest_expected_false=float(clusters["expected_false"].min()) if len(clusters) else math.nan,
        score_expecting_one=catalogue.expected_per_z[0],
        n_decoys=catalogue.n_decoys,
        point_spread_mm=response.fwhm_mm,
        positron_range_mm=response.positron_range_mm,
        notes=catalogue.notes,
    )
