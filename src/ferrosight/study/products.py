"""Every file that one visit leaves under OUT_DIR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferrosight.io import VisitFiles, output_path, write_json_atomic, write_nifti, write_table
from ferrosight.report.page import write_visit_report
from ferrosight.study.summary import plain_value
from ferrosight.study.visit import VisitResult
from ferrosight.types import Config, Progress


def visit_path(out_dir: Path, product: str, visit: VisitFiles) -> Path:
    """Where a product of this visit goes."""
    return output_path(out_dir, product, visit.subject, visit.session, visit.run, acquisition=visit.acquisition)


def write_tables(result: VisitResult, out_dir: Path, visit: VisitFiles) -> None:
    """The clusters, fits and nulls tables, with their data dictionaries; a file even when empty."""
    catalogue = result.catalogue
    tables = {"clusters": catalogue.clusters, "fits": catalogue.fits, "nulls": catalogue.null.candidates}
    for product, table in tables.items():
        write_table(table, visit_path(out_dir, product, visit))


def write_maps(result: VisitResult, out_dir: Path, visit: VisitFiles) -> None:
    """The field, R2* (where the scan has more than one echo), evidence and limit (with a label) maps, with sidecars."""
    field_map, evidence = result.field_map, result.evidence
    images: dict[str, tuple[Any, dict[str, Any]]] = {
        "fieldmap": (
            field_map.field_hz,
            {"Units": "Hz", "Description": "Field from the phase's slope over echo time; NaN outside the mask."},
        ),
        "evidence": (
            evidence.z[0],
            {
                "Units": "1",
                "Description": "Studentised evidence for a dipole along B0; 0 outside the mask.",
                "Pattern": evidence.patterns[0],
            },
        ),
    }
    if len(result.scan.echo_times_s) > 1:
        images["R2starmap"] = (
            field_map.r2star_per_s,
            {"Units": "s^-1", "Description": "Effective transverse relaxation rate; NaN outside the mask."},
        )
    if result.limit is not None:
        search = result.limit.search
        images["limit"] = (
            result.limit.iron_pg,
            {
                "Units": "pg",
                "Description": "Smallest mass of iron that an ideal observer would find; NaN outside the mask.",
                "Power": search.power,
                "FalseAlarmsPerScan": search.false_per_scan,
                "VoxelsSearched": search.positions,
                "DPrimeRequired": result.limit.d_prime_required,
            },
        )
    sources = {"RawSources": [file.path.relative_to(visit.bids_dir).as_posix() for file in visit.files]}
    for product, (array, sidecar) in images.items():
        write_nifti(array, field_map.grid, visit_path(out_dir, product, visit), {**sidecar, **sources})


def write_report(
    result: VisitResult,
    out_dir: Path,
    visit: VisitFiles,
    *,
    config: Config,
    provenance: Mapping[str, Any],
    on_progress: Progress | None = None,
) -> Path:
    """The visit's page; returns its path."""
    path = visit_path(out_dir, "report", visit)
    write_visit_report(
        path,
        result.scan,
        result.field_map,
        result.evidence,
        result.catalogue,
        limit=result.limit,
        config=config,
        provenance=provenance,
        on_progress=on_progress,
    )
    return path


def write_summary(content: Mapping[str, Any], out_dir: Path, visit: VisitFiles) -> Path:
    """The visit's summary, written last: where it is, everything else is. Returns its path."""
    return write_json_atomic(visit_path(out_dir, "summary", visit), plain_value(content))
