"""PET and MRI of each visit judged together, from the files that both left."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight import __version__
from ferrosight.errors import FerrosightError
from ferrosight.field import measure_field
from ferrosight.io import (
    PetFile,
    read_nifti,
    read_pet_file,
    read_table,
    read_visit,
    remove_file,
    write_json_atomic,
    write_table,
)
from ferrosight.io.bids_names import same_label
from ferrosight.pet import state_point_spread
from ferrosight.report.joint_page import write_joint_report
from ferrosight.study.joint import JointVisit, Seen, join_visit
from ferrosight.study.pet_visit import pet_path
from ferrosight.study.plan import PlannedVisit, StudyOptions
from ferrosight.study.products import visit_path
from ferrosight.study.provenance import describe_run, hash_content
from ferrosight.study.recall import SUBJECT_STAGES, FinishedVisit, pick_settings, recall_catalogue, recall_visit
from ferrosight.study.resources import peak_memory_mb
from ferrosight.study.summary import plain_value
from ferrosight.types import PET_CLUSTERS, FieldMap, Grid, PetScan, Progress, Rigid, Scan

_LOG = logging.getLogger(__name__)

#: Settings that a joint list depends on.
_STAGES = (*SUBJECT_STAGES, "pet")


@dataclass(frozen=True)
class JointOutcome:
    """What became of judging PET and MRI of one visit together: the table, or the ``error`` that ended it."""

    name: str
    mri: str
    subject: str
    session: str
    wall_s: float
    table: Path | None = None
    n_accepted: int = 0
    findings: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    is_reused: bool = False

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "pet": self.name,
            "mri": self.mri,
            "subject": self.subject,
            "session": self.session or None,
            "status": "failed" if self.error else "done",
            "error": self.error or None,
            "reused": self.is_reused,
            "wall_s": round(self.wall_s, 3),
            "table": None if self.table is None else str(self.table),
            "n_accepted": self.n_accepted,
            "findings": dict(self.findings),
            "notes": list(self.notes),
        }


def join_visits(
    planned: Sequence[PlannedVisit],
    pet: Iterable[PetFile],
    out_dir: Path,
    options: StudyOptions,
    *,
    on_progress: Progress | None = None,
    on_joint: Callable[[JointOutcome], None] | None = None,
) -> tuple[JointOutcome, ...]:
    """Judge every PET scan with each finished MRI of its visit that bears label, and write what comes of it.

    What is there already from the same is not done again; what fails is recorded, and the others go on.
    """
    outcomes = []
    for file in pet:
        visit = _find_mri(planned, file, out_dir)
        if visit is None or not _is_found(file, out_dir):
            continue
        if on_progress is not None:
            on_progress(f"{file.name}: with {visit[0].files.name}", 0, 1)
        outcomes.append(_join_one(*visit, file, out_dir, options))
        if on_joint is not None:
            on_joint(outcomes[-1])
    return tuple(outcomes)


def recall_joint_visits(files: Iterable[PetFile], out_dir: Path) -> tuple[JointOutcome, ...]:
    """What became of judging PET scans with MRI, read off the files; those that were not are left out."""
    outcomes = []
    for file in files:
        try:
            content = json.loads(pet_path(out_dir, "joint_summary", file).read_text(encoding="utf-8"))
            outcomes.append(_tell_joint(file, str(content["mri"]), float(content["wall_s"]), content, out_dir, True))
        except (OSError, ValueError, KeyError):
            continue
    return tuple(outcomes)


def recall_poses(files: Iterable[PetFile], out_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """Where the PET scans of each session (by its label) were laid beside MRI, as their files have it."""
    poses: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        try:
            content = json.loads(pet_path(out_dir, "joint_summary", file).read_text(encoding="utf-8"))
            pose = {"pet": content["pet"], "mri": content["mri"], **content["pose"]}
        except (OSError, ValueError, KeyError):
            continue
        poses.setdefault(file.session, []).append(pose)
    return poses


def _find_mri(
    planned: Sequence[PlannedVisit], file: PetFile, out_dir: Path
) -> tuple[PlannedVisit, FinishedVisit] | None:
    """The finished scan of PET's visit, the first by its name; scans without label have nothing to find."""
    for visit in sorted(planned, key=lambda one: one.files.name):
        same = visit.files.subject == file.subject and same_label(visit.files.session, file.session)
        done = recall_visit(out_dir, visit.files) if same and not visit.choice.is_baseline else None
        if done is not None:
            return visit, done
    return None


def _is_found(file: PetFile, out_dir: Path) -> bool:
    return all(pet_path(out_dir, product, file).exists() for product in ("pet_clusters", "pet_evidence", "pet_summary"))


def _join_one(
    visit: PlannedVisit, done: FinishedVisit, file: PetFile, out_dir: Path, options: StudyOptions
) -> JointOutcome:
    started = time.perf_counter()
    about = file.name, visit.files.name, file.subject, file.session
    try:
        summary = json.loads(pet_path(out_dir, "pet_summary", file).read_text(encoding="utf-8"))
        fingerprint = _take_fingerprint(done, summary, options)
        before = _recall_joint(file, out_dir, fingerprint)
        if before is None:
            scans = _read_scans(visit, file, options)
            joint = _analyse(scans, visit, done, file, float(summary["catalogue"]["n_decoys"]), out_dir, options)
            _write_page(joint, scans, visit, file, out_dir, options)
            _write_joint(joint, visit, file, fingerprint, out_dir, options, started)
        content = before or _recall_joint(file, out_dir, fingerprint) or {}
    except FerrosightError as error:
        _LOG.debug("%s could not be judged with MRI", file.name, exc_info=True)
        return JointOutcome(*about, time.perf_counter() - started, error=str(error))
    return _tell_joint(file, visit.files.name, time.perf_counter() - started, content, out_dir, before is not None)


def _tell_joint(
    file: PetFile, mri: str, wall_s: float, content: Mapping[str, Any], out_dir: Path, is_reused: bool
) -> JointOutcome:
    return JointOutcome(
        file.name,
        mri,
        file.subject,
        file.session,
        wall_s,
        pet_path(out_dir, "joint_clusters", file),
        int(content["n_accepted"]),
        tuple(content["findings"].items()),
        tuple(content["notes"]),
        is_reused=is_reused,
    )


def _take_fingerprint(done: FinishedVisit, pet_summary: dict[str, Any], options: StudyOptions) -> str:
    return hash_content(
        {
            "code": __version__,
            "mri": done.fingerprint,
            "pet": pet_summary["inputs_sha256"],
            "settings": pick_settings(options.config, _STAGES),
        }
    )


def _recall_joint(file: PetFile, out_dir: Path, fingerprint: str) -> dict[str, Any] | None:
    """What was written before from the same; None where nothing was."""
    try:
        content: dict[str, Any] = json.loads(pet_path(out_dir, "joint_summary", file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_same = content.get("fingerprint") == fingerprint and pet_path(out_dir, "joint_clusters", file).exists()
    return content if is_same else None


def _read_scans(visit: PlannedVisit, file: PetFile, options: StudyOptions) -> tuple[Scan, FieldMap, PetScan]:
    scan = read_visit(visit.files, phase_sign=options.phase_sign)
    return scan, measure_field(scan, options.config.field), read_pet_file(file, file.bids_dir)


def _analyse(
    scans: tuple[Scan, FieldMap, PetScan],
    visit: PlannedVisit,
    done: FinishedVisit,
    file: PetFile,
    n_decoys: float,
    out_dir: Path,
    options: StudyOptions,
) -> JointVisit:
    config = options.config
    scan, field_map, pet_scan = scans
    catalogue = recall_catalogue(out_dir, done)
    mri_z = read_nifti(visit_path(out_dir, "evidence", visit.files)).data[0]
    pet_z = read_nifti(pet_path(out_dir, "pet_evidence", file)).data[0]
    hot_spots = read_table(PET_CLUSTERS, pet_path(out_dir, "pet_clusters", file))
    return join_visit(
        scan,
        field_map,
        np.asarray(mri_z, dtype=np.float64),
        catalogue,
        pet_scan,
        state_point_spread(pet_scan, config.pet),
        Seen(np.asarray(pet_z, dtype=np.float64), pet_scan.grid, hot_spots, n_decoys + 0.5),
        config,
        label=visit.label,
        iron_per_cell=visit.load.iron_per_cell,
        calibration=visit.load.calibration,
    )


def _write_page(
    joint: JointVisit,
    scans: tuple[Scan, FieldMap, PetScan],
    visit: PlannedVisit,
    file: PetFile,
    out_dir: Path,
    options: StudyOptions,
) -> None:
    scan, field_map, pet_scan = scans
    path = pet_path(out_dir, "joint_report", file)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_joint_report(
        path,
        f"{file.name} with {visit.files.name}",
        scan,
        field_map,
        lay_over(pet_scan, scan.grid, joint.pose.to_mri),
        str(pet_scan.unit),
        joint.clusters,
        notes=joint.notes,
        provenance=describe_run(options.config, visit.label, visit.load.iron_per_cell, 1),
    )


def lay_over(pet: PetScan, grid: Grid, to_mri: Rigid) -> NDArray[np.float32]:
    """The frames' mean on another grid (x, y, z), to look at; NaN where PET does not reach."""
    matrix = np.linalg.inv(to_mri.affine @ pet.grid.affine) @ grid.affine
    laid = ndimage.affine_transform(
        pet.average_frames(), matrix[:3, :3], matrix[:3, 3], grid.shape, order=1, mode="constant", cval=np.nan
    )
    return np.asarray(laid, dtype=np.float32)


def _write_joint(
    joint: JointVisit,
    visit: PlannedVisit,
    file: PetFile,
    fingerprint: str,
    out_dir: Path,
    options: StudyOptions,
    started: float,
) -> None:
    """The table, and last the summary: where it is, both are."""
    remove_file(pet_path(out_dir, "joint_summary", file))
    write_table(joint.clusters, pet_path(out_dir, "joint_clusters", file))
    accepted = joint.clusters.where(joint.clusters["status"] == "accepted")
    pose = joint.pose
    content = {
        "Description": "to_mri takes PET's scanner RAS+ mm to those of the visit's MRI; covariance (6 x 6) is that "
        "of a small motion after it, mm and rad, about the MRI's origin.",
        "pet": file.name,
        "mri": visit.files.name,
        "pose": {
            "source": pose.source,
            "to_mri": pose.to_mri.affine,
            "covariance": pose.to_mri.covariance,
            "overlap": pose.overlap,
            "similarity": pose.similarity,
            "shift_mm": pose.shift_mm,
            "error_mm": pose.error_mm,
        },
        "n_candidates": len(joint.clusters),
        "n_accepted": len(accepted),
        "findings": dict(Counter(accepted["finding"].tolist()).most_common()),
        "notes": joint.notes,
        "settings": options.config.as_dict(),
        "wall_s": time.perf_counter() - started,
        "peak_memory_mb": peak_memory_mb(),
        "fingerprint": fingerprint,
    }
    write_json_atomic(pet_path(out_dir, "joint_summary", file), plain_value(content))
