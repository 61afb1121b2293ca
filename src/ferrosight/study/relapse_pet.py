"""What PET gives to the evidence of relapse: hot spots in the subject's space, and values where none was found."""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import FerrosightError
from ferrosight.io import PetFile, output_path, read_pet_file, read_table
from ferrosight.pet import measure_hot_spots_at, state_point_spread
from ferrosight.study.pet_visit import pet_path
from ferrosight.study.relapse_series import MeasurePlaces
from ferrosight.types import PET_CLUSTERS, Rigid, Table
from ferrosight.types.config import PetConfig

_LOG = logging.getLogger(__name__)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class VisitPet:
    """A visit's hot spots (schema PET_CLUSTERS), places in the subject's space, and how to measure others there."""

    hot_spots: Table
    measure: MeasurePlaces


def gather_pet(files: Iterable[PetFile], out_dir: Path, subject: str, config: PetConfig) -> dict[str, VisitPet]:
    """By session, the PET scans that have their place in the subject's space; one per session, of the same kind.

    A session whose MRI has no place in it, or whose PET was not laid beside its MRI, is left out.
    """
    try:
        poses = json.loads(output_path(out_dir, "poses", subject).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    visits = {visit["session"]: visit for visit in poses["visits"]}
    found = {}
    for file in _choose_files(files):
        visit = visits.get(file.session)
        to_mri = next((pose for pose in (visit or {}).get("pet", []) if pose["pet"] == file.name), None)
        if visit is None or to_mri is None or visit["to_subject"] is None:
            continue
        to_subject = _read_rigid(visit["to_subject"], visit["covariance"]).after(
            _read_rigid(to_mri["to_mri"], to_mri["covariance"])
        )
        spots = read_table(PET_CLUSTERS, pet_path(out_dir, "pet_clusters", file))
        places = to_subject.apply(np.stack([spots[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3))
        moved = spots.with_columns(**{f"{axis}_mm": places[:, a] for a, axis in enumerate("xyz")})
        measure = functools.partial(_measure_places, file, to_subject, config)
        found[file.session] = VisitPet(moved, _remember(measure))
    return found


def _remember(measure: MeasurePlaces) -> MeasurePlaces:
    """The same places are asked for by the evidence and by the page; each takes a scan's reading and fits."""
    known: dict[bytes, tuple[Array, Array]] = {}

    def remembered(places_mm: Array) -> tuple[Array, Array]:
        key = np.ascontiguousarray(places_mm).tobytes()
        if key not in known:
            known[key] = measure(places_mm)
        return known[key]

    return remembered


def _choose_files(files: Iterable[PetFile]) -> Sequence[PetFile]:
    """One per session: of the tracer and reconstruction that most sessions have, and the first run."""
    every = sorted(files, key=lambda file: file.name)
    kinds = Counter((file.tracer, file.reconstruction) for file in every)
    sessions: dict[str, list[PetFile]] = {}
    for file in every:
        sessions.setdefault(file.session, []).append(file)
    return [
        min(scans, key=lambda one: (-kinds[one.tracer, one.reconstruction], one.name)) for scans in sessions.values()
    ]


def _read_rigid(affine: Any, covariance: Any) -> Rigid:
    matrix = np.array(affine, dtype=np.float64)
    return Rigid(matrix[:3, :3], matrix[:3, 3], np.array(covariance, dtype=np.float64))


def _measure_places(file: PetFile, to_subject: Rigid, config: PetConfig, places_mm: Array) -> tuple[Array, Array]:
    """Activities and their standard deviations (n,), Bq, at places (n, 3) of the subject's space; NaN where unseen."""
    try:
        scan = read_pet_file(file, file.bids_dir)
        back = to_subject.inverse()
        table = measure_hot_spots_at(
            scan,
            state_point_spread(scan, config),
            back.apply(places_mm),
            config,
            covariance_mm2=back.carry_covariance(places_mm),
        )
    except FerrosightError:
        _LOG.debug("%s cannot be measured", file.name, exc_info=True)
        return np.full(len(places_mm), np.nan), np.full(len(places_mm), np.nan)
    return table["activity_bq"], table["activity_bq_err"]
