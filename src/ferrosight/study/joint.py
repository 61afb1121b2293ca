"""MRI and PET of one visit together: each asked what it says where the other found something, and both judged."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters import measure_at
from ferrosight.errors import InputError
from ferrosight.numerics.place_evidence import weigh_places
from ferrosight.pet import Opinion, build_pet_image, judge_jointly, measure_hot_spots_at, name_findings
from ferrosight.quantify.cells import find_factors
from ferrosight.register import build_visit_image, register_pet
from ferrosight.study.follow_detections import map_found
from ferrosight.types import (
    FORCED,
    PET_FORCED,
    Calibration,
    Catalogue,
    Config,
    FieldMap,
    Grid,
    IronPerCell,
    Label,
    PetPose,
    PetResponse,
    PetScan,
    PhaseSign,
    Rigid,
    Scan,
    Table,
)

Array = NDArray[np.float64]

#: Candidates of which at most so many false ones are expected are measured in the other modality, besides the accepted.
_LIKELY = 1.0
#: A candidate that was only screened, and whose place has no error, is known to so many voxel edges (a point spread of
#: two voxels over the least statistic that is kept); none is known better than the second number.
_UNKNOWN_VOXELS, _LEAST_VOXELS = 0.5, 0.05
#: Evidence at this level makes a value that was looked for an estimate and not only a bound.
_LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Seen:
    """What one modality's search left of a visit.

    ``z`` (x, y, z) is its screening statistic, positive for what is looked for and 0 where nothing was; ``clusters``
    its candidates in its own scanner space; ``n_floor`` how many false ones are expected in all, however weak.
    """

    z: Array
    grid: Grid
    clusters: Table
    n_floor: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Voxels (x, y, z) that were searched."""
        return np.asarray(self.z != 0)

    @property
    def places_mm(self) -> Array:
        """Places (n, 3) of the candidates."""
        return np.stack([self.clusters[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3)

    @property
    def covariance_mm2(self) -> Array:
        """Their covariance (n, 3, 3)."""
        edge = float(max(self.grid.voxel_mm))
        errors = np.stack([self.clusters[f"{axis}_mm_err"] for axis in "xyz"], axis=1).reshape(-1, 3)
        errors = np.maximum(np.where(np.isfinite(errors), errors, _UNKNOWN_VOXELS * edge), _LEAST_VOXELS * edge)
        return np.asarray(errors[:, :, None] ** 2 * np.eye(3))

    @property
    def is_likely(self) -> NDArray[np.bool_]:
        """Candidates (n,) that are accepted or may be true."""
        return np.asarray((self.clusters["status"] == "accepted") | (self.clusters["expected_false"] <= _LIKELY))


def see_mri(z: Array, grid: Grid, catalogue: Catalogue, floor: float) -> Seen:
    """MRI's side of a visit, from its evidence for a dipole (x, y, z) and its catalogue, whose phase sign is known.

    ``floor`` is the score from which candidates are listed (``clusters.screen_z``).
    """
    null = catalogue.null.candidates
    # The null also keeps what is weaker than anything that is listed.
    n_opposite = np.count_nonzero((null["pattern"] == "opposite") & (null["score"] >= floor))
    expected = catalogue.clusters["expected_false"]
    weakest = float(np.nanmax(expected)) if np.isfinite(expected).any() else 0.0
    return Seen(
        int(catalogue.phase_sign) * np.asarray(z, dtype=np.float64),
        grid,
        catalogue.clusters,
        max(n_opposite + 0.5, weakest),
    )


def weigh_both(mri: Seen, pet: Seen, to_mri: Rigid) -> tuple[Opinion, Opinion, Array]:
    """Each modality's candidates with what the other says of them, in the MRI's space; nothing is measured yet.

    The third are the places (n_pet, 3), MRI's RAS+ mm, where MRI would most likely have what PET found.
    """
    to_pet = to_mri.inverse()
    mri_places, pet_places = mri.places_mm, to_mri.apply(pet.places_mm)
    pet_covariance = to_mri.carry_covariance(pet.places_mm, pet.covariance_mm2)
    there = to_pet.apply(mri_places)
    there_covariance = to_pet.carry_covariance(mri_places, mri.covariance_mm2)
    of_pet = weigh_places(pet.z, pet.grid, pet.inside, there, there_covariance)
    of_mri = weigh_places(mri.z, mri.grid, mri.inside, pet_places, pet_covariance)
    blank = {"remarks": np.full(len(mri_places), "", np.str_)}, {"remarks": np.full(len(pet_places), "", np.str_)}
    return (
        Opinion(
            mri.clusters, mri_places, mri.covariance_mm2, float(mri.inside.sum()), mri.n_floor,
            of_pet.p_value, of_pet.score, of_pet.heard, Table(PET_FORCED, blank[0]),
        ),
        Opinion(
            pet.clusters, pet_places, pet_covariance, float(pet.inside.sum()), pet.n_floor,
            of_mri.p_value, of_mri.score, of_mri.heard, Table(FORCED, blank[1]),
        ),
        of_mri.likeliest_mm,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class JointVisit:
    """One visit's joint list (schema JOINT_CLUSTERS), how PET lies beside its MRI, and what must be known of it."""

    clusters: Table
    pose: PetPose
    notes: tuple[str, ...]


def join_visit(
    scan: Scan,
    field_map: FieldMap,
    mri_z: Array,
    catalogue: Catalogue,
    pet_scan: PetScan,
    response: PetResponse,
    pet: Seen,
    config: Config,
    *,
    label: Label | None = None,
    iron_per_cell: IronPerCell | None = None,
    calibration: Calibration | None = None,
) -> JointVisit:
    """Lay PET onto the MRI, measure each where the other found something, and judge both together.

    ``mri_z`` (x, y, z) is the evidence for a dipole of the MRI's own search.

    Raises
    ------
    InputError
        The sign of phase is unknown.
    AnalysisError
        One of the images holds nothing that could be laid onto the other.
    """
    if catalogue.phase_sign is PhaseSign.UNKNOWN:
        raise InputError(
            "MRI and PET cannot be judged together while the sign of phase is unknown, for nothing is known to be "
            "iron; state it with --phase-sign."
        )
    image = build_visit_image(scan, field_map, catalogue.clusters)
    pose = register_pet(image, build_pet_image(pet_scan, response, pet.clusters), response, config.register)
    mri = see_mri(mri_z, scan.grid, catalogue, config.clusters.screen_z)
    ours, theirs, likeliest = weigh_both(mri, pet, pose.to_mri)
    ours = dataclasses.replace(ours, other_values=_measure_pet(mri, pet_scan, response, pose.to_mri, config))
    theirs = dataclasses.replace(
        theirs, other_values=_measure_mri(scan, field_map, catalogue, pet, theirs, likeliest, config)
    )
    factors = find_factors(label, scan.b0_t, iron_per_cell, config.quantify, calibration)
    per_cell = factors["n_cells"].moment_per_unit if "n_cells" in factors else math.nan
    bq_per_cell = config.pet.activity_per_cell_bq if config.pet.activity_per_cell_bq >= 0 else math.nan
    ratio = _expect_ratio(ours, theirs, bq_per_cell / per_cell)
    table = judge_jointly(ours, theirs, config.pet, ratio=ratio)
    places = np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3)
    limit = map_found(scan, field_map, config).read(places)
    table = table.with_columns(limit_moment_am2=limit, finding=name_findings(table, per_cell, bq_per_cell))
    notes = [pose.sentence]
    if not np.isfinite(ratio).any():
        notes.append(
            "Both modalities were taken to find as few cells, since moment and activity of one are not both "
            "known; state pet.activity_per_cell_bq beside a label and its iron per cell."
        )
    return JointVisit(table, pose, tuple(notes))


def _measure_pet(mri: Seen, pet_scan: PetScan, response: PetResponse, to_mri: Rigid, config: Config) -> Table:
    """Activity at MRI's likely candidates (schema PET_FORCED, a row per candidate), their places' error counted."""
    rows = np.flatnonzero(mri.is_likely)
    back = to_mri.inverse()
    places, covariance = mri.places_mm[rows], mri.covariance_mm2[rows]
    measured = measure_hot_spots_at(
        pet_scan,
        response,
        back.apply(places),
        config.pet,
        covariance_mm2=back.carry_covariance(places, covariance),
    )
    return _spread_rows(measured, rows, len(mri.clusters))


def _measure_mri(
    scan: Scan,
    field_map: FieldMap,
    catalogue: Catalogue,
    pet: Seen,
    theirs: Opinion,
    likeliest_mm: Array,
    config: Config,
) -> Table:
    """Moment at PET's likely candidates (schema FORCED, a row per candidate), where within reach it most likely is.

    What was looked for and is no more than chance would find is only a bound: its interval reaches down to nothing.
    """
    rows = np.flatnonzero(pet.is_likely)
    edge = float(min(scan.grid.voxel_mm))
    own = np.sqrt(np.einsum("naa->na", theirs.covariance_mm2[rows]))
    measured = measure_at(
        scan,
        field_map,
        likeliest_mm[rows],
        config.clusters,
        catalogue=catalogue,
        positions_mm_err=np.minimum(own, edge),
    )
    weak = ~(theirs.other_p[rows] <= _LEVEL)
    low = np.where(weak, np.minimum(measured["moment_am2_low"], 0.0), measured["moment_am2_low"])
    return _spread_rows(measured.with_columns(moment_am2_low=low), rows, len(pet.clusters))


def _spread_rows(measured: Table, rows: NDArray[np.int64], n: int) -> Table:
    """A table of n rows of which these were measured; the others hold nothing."""
    columns = {}
    for column in measured.schema.columns:
        values = measured[column.name]
        full = np.full(n, "", values.dtype) if column.dtype == "string" else np.full(n, np.nan)
        if column.dtype == "integer":
            full = np.zeros(n, np.int64)
        full[rows] = values
        columns[column.name] = full
    return Table(measured.schema, columns)


def measure_scatter(opinion: Opinion, column: str) -> Array:
    """What one standard deviation of each candidate's score (n,) is of the signal in ``column``.

    That is the value over its score. The errors of fitted values are larger: they know neither place nor size, which a
    search for points does not ask.
    """
    scores = opinion.scores
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(scores > 0, np.abs(opinion.clusters[column]) / scores, np.nan))


def _expect_ratio(ours: Opinion, theirs: Opinion, bq_per_am2: float) -> Array:
    """PET's over MRI's signal of a cell (n_mri + n_pet,), standard deviations; NaN where that is not known.

    Where a candidate is not the modality's own, the median over the modality's candidates stands for its place.
    """
    moment, activity = measure_scatter(ours, "moment_am2"), measure_scatter(theirs, "activity_bq")
    typical_moment = _take_median(moment, theirs.other_values["moment_am2_err"])
    typical_activity = _take_median(activity, ours.other_values["activity_bq_err"])
    with np.errstate(divide="ignore", invalid="ignore"):
        return bq_per_am2 * np.concatenate([moment / typical_activity, typical_moment / activity])


def _take_median(scatter: Array, errors: Array) -> float:
    """The median of what is known; of the errors of what was looked for where nothing was found at all."""
    known = [part[np.isfinite(part)] for part in (scatter, errors)]
    return next((float(np.median(part)) for part in known if part.size), math.nan)
