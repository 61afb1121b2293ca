"""A Scan as a BIDS data set of its own, for simulated data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ferrosight.errors import BidsError
from ferrosight.io.atomic import write_json_atomic, write_text_atomic
from ferrosight.io.bids_names import clean_label, visit_stem
from ferrosight.io.nifti import sidecar_path, write_nifti
from ferrosight.io.outputs import check_own_dataset, write_raw_description
from ferrosight.io.participants import Participant, Session
from ferrosight.io.tables import format_tsv, read_tsv, write_table
from ferrosight.types import PhaseSign, Scan, Truth

#: What the columns of participants.tsv and of sub-X_sessions.tsv mean.
_PERSON: Final = {
    "species": "Binomial name, or what else was scanned.",
    "group": "Group of the study.",
    "study_kind": "prelabelled, targeted or tracer: what labels what.",
    "label": "Iron-oxide label: an id that `ferrosight labels` lists.",
}
_VISIT: Final = {
    "day": "Day of the visit, counted from the study's own zero.",
    "baseline": "Whether the scan was made without label.",
    "label_day": "Day on which the label was given.",
    "reference": "What a tissue that cannot grow measured at the visit, in any unit.",
}


def write_scan(scan: Scan, bids_dir: Path | str, *, description: str = "Simulated scans") -> tuple[Path, ...]:
    """Write magnitude and phase (radians) with sidecars, and enter the subject; returns the images' paths.

    One echo becomes ``T2starw``, more become ``MEGRE``. ``description`` names the data set; ``participants.tsv``
    gains a line where the subject has none. Reading the folder back gives the same scan.

    Raises
    ------
    BidsError
        Where the scan has no subject, the folder is another data set, or an image of that name exists: nothing
        is written over.
    """
    root = Path(bids_dir)
    if not scan.subject:
        raise BidsError("a scan needs a subject label to be written as BIDS, but has none.")
    subject, session = clean_label("sub", scan.subject), clean_label("ses", scan.session)
    stem = visit_stem(subject, session, run=clean_label("run", scan.run))
    folder = root / f"sub-{subject}" / (f"ses-{session}" if session else "")
    check_own_dataset(root, "raw")
    images = _images(scan, folder / "anat", stem)
    for path, _, _ in images:
        if path.exists():
            raise BidsError(f"{path} exists already and is not written over; choose an empty folder.")
    write_raw_description(root, description)
    _enter_participant(root / "participants.tsv", subject)
    for path, data, sidecar in images:
        write_nifti(data, scan.grid, path, sidecar)
    return tuple(path for path, _, _ in images)


def write_truth(truth: Truth, out_dir: Path | str, subject: str, session: str = "") -> Path:
    """Write ``truth/sub-X[_ses-Y]_truth.tsv`` under ``out_dir``; returns its path.

    Its JSON has the true pose as ``ToSubject``, 4 × 4: the scan's scanner RAS+ mm to the subject's own space.
    Where ``out_dir`` is a BIDS data set, ``.bidsignore`` names the folder, so that it stays a valid one.
    """
    ignored = Path(out_dir) / ".bidsignore"
    if (Path(out_dir) / "dataset_description.json").exists() and not ignored.exists():
        write_text_atomic(ignored, "truth/\n")
    stem = visit_stem(clean_label("sub", subject), clean_label("ses", session))
    extra = {"Seed": truth.seed, "VoxelMm": list(truth.voxel_mm), "ToSubject": truth.to_subject.affine.tolist()}
    path, _ = write_table(truth.table, Path(out_dir) / "truth" / f"{stem}_truth.tsv", extra)
    return path


def write_study(
    bids_dir: Path | str,
    description: str,
    participants: Sequence[Participant],
    sessions: Sequence[Session] | Mapping[str, Sequence[Session]] = (),
    *,
    readme: str = "",
) -> None:
    """Begin a data set: its description, participants, and ``sessions``: the same for all, or by subject.

    Scans are then added with ``write_scan``. Tables get their JSON data dictionaries; columns that say nothing
    anywhere are left out.

    Raises
    ------
    BidsError
        Where the folder is a data set already, or a label is none.
    """
    root = Path(bids_dir)
    if (root / "dataset_description.json").exists():
        raise BidsError(f"{root} is a data set already, and a new one was to be begun; choose an empty folder.")
    people = [
        {"participant_id": f"sub-{clean_label('sub', one.subject)}", **{name: getattr(one, name) for name in _PERSON}}
        for one in participants
    ]
    _write_described(root / "participants.tsv", people, _PERSON)
    for one, person in zip(participants, people, strict=True):
        own = sessions.get(one.subject, ()) if isinstance(sessions, Mapping) else sessions
        name = person["participant_id"]
        if own:
            _write_described(root / name / f"{name}_sessions.tsv", [_describe_visit(visit) for visit in own], _VISIT)
    if readme:
        write_text_atomic(root / "README", readme)
    write_raw_description(root, description)


def _describe_visit(visit: Session) -> dict[str, str]:
    """A line of sub-X_sessions.tsv."""
    return {
        "session_id": f"ses-{clean_label('ses', visit.session)}",
        "day": _format_number(visit.day),
        "baseline": "true" if visit.baseline else "false",
        "label_day": _format_number(visit.label_day),
        "reference": _format_number(visit.reference),
    }


def _write_described(path: Path, rows: Sequence[Mapping[str, str]], columns: Mapping[str, str]) -> None:
    """A TSV of those columns that say something, the first as they are, and its data dictionary."""
    used = [name for name in rows[0] if name not in columns or any(row[name] for row in rows)]
    write_json_atomic(sidecar_path(path), {name: {"Description": columns[name]} for name in used if name in columns})
    write_text_atomic(path, format_tsv(used, rows))


def _format_number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:g}"


def _images(scan: Scan, folder: Path, stem: str) -> list[tuple[Path, Any, dict[str, Any]]]:
    """Path, data (x, y, z) and sidecar of every image of a scan."""
    several = len(scan.echo_times_s) > 1
    images = []
    for index, (echo, time_s) in enumerate(zip(scan.signal, scan.echo_times_s, strict=True), start=1):
        sidecar: dict[str, Any] = {
            "EchoTime": float(time_s),
            "MagneticFieldStrength": float(scan.b0_t),
            "B0Direction": [float(v) for v in scan.b0_direction],
        }
        if scan.phase_sign is not PhaseSign.UNKNOWN:
            sidecar["PhaseSign"] = scan.phase_sign.name.lower()
        name = f"{stem}_echo-{index}" if several else stem
        suffix = "MEGRE" if several else "T2starw"
        images.append((folder / f"{name}_part-mag_{suffix}.nii.gz", np.abs(echo), sidecar))
        images.append((folder / f"{name}_part-phase_{suffix}.nii.gz", np.angle(echo), {**sidecar, "Units": "rad"}))
    return images


def _enter_participant(path: Path, subject: str) -> None:
    header, rows = read_tsv(path) if path.exists() else (("participant_id",), [])
    if any(row.get("participant_id") == f"sub-{subject}" for row in rows):
        return
    write_text_atomic(path, format_tsv(header, [*rows, {"participant_id": f"sub-{subject}"}]))
