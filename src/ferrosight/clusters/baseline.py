"""What was there before the label was given: a scan without label, and candidates held against it.

Veins, haemorrhages and air are dipoles along B0 in every scan, and no test of one scan's own can tell a haemorrhage
from labelled cells. A scan from before labelling can: it is measured at every candidate's place, so that what
lies below its threshold counts too, and matching two catalogues is not needed.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.measure_at import measure_at
from ferrosight.clusters.search import EXPLAINS
from ferrosight.types import GRAFT_ESTIMATOR, Catalogue, FieldMap, PhaseSign, Scan, Table
from ferrosight.types.config import ClustersConfig
from ferrosight.types.flags import Flag, append_flag, flag_names

#: One standard deviation of what is unchanged between two visits, as a share of its moment, beyond both errors:
#: another partial volume, another share of signal lost, another division among neighbours. An assumption.
_REPRODUCES = 0.2
#: Standard deviations by which a candidate must exceed what the baseline holds at its place to be more than that.
_GROWN = 3.0
#: Standard deviations from which the baseline holds anything: a labelled cluster lost is worse than a weak vein kept.
_SOMETHING = 3.0
#: Where the baseline's error is more than this share of the candidate's moment it says too little.
_TELLS = 1 / 3
#: Share of the smaller of two tissues that must lie within the other; else the scans show different places.
_LEAST_OVERLAP = 0.5
#: Relative difference of field strengths above which moments of what is not iron are not the same.
_SAME_B0 = 0.05
_Z95 = 1.959964


def judge_by_baseline(
    catalogue: Catalogue,
    scan: Scan,
    field_map: FieldMap,
    baseline: Scan,
    baseline_field_map: FieldMap,
    config: ClustersConfig,
    *,
    grafts: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Catalogue:
    """Reject the candidates of ``scan`` that the ``baseline``, a scan without label, holds at the same place.

    All of the scan's sources that explain their surroundings are measured in the baseline together, each with a
    Gaussian prior on its position (its own error and ``repositioning_mm``), so that a vein is divided in the baseline
    as it was in the scan. With m, s the candidate's moment and error and b, t the baseline's there, and
    σ² = s² + t² + (0.2 b)², a candidate is rejected (``in_baseline``) where

    - the baseline holds something: b > 3 t (or, where t > m, b > 0),
    - b lies nearer to m than to zero, in their own errors: (m - b) / √(s² + t²) < b / t, and
    - the excess is not significant: m - b < 3 σ.

    A candidate that exceeds what was there is kept, with the remark ``above_baseline``; where the baseline lies outside
    its tissue or its error exceeds m / 3 the remark is ``no_baseline``. Positions of both scans are taken to be those
    of one scanner frame.

    Returns
    -------
    The catalogue with the same rows; reasons, remarks, status, intervals and the baseline's moments are filled in, and
    a note says what was done. Where nothing can be compared (frames that do not overlap, other field strength, sign
    of phase unknown) only the note is added.
    """
    name = describe_baseline(baseline)
    obstacle = _find_obstacle(catalogue, scan, field_map, baseline, baseline_field_map)
    if obstacle:
        return _add_note(catalogue, f"Judged without a baseline: {name} cannot be used, because {obstacle}.")
    clusters = catalogue.clusters
    measured = np.isfinite(clusters["moment_am2"]) & np.isfinite(clusters["moment_am2_err"])
    # A graft is no point, and a fit of one says nothing about it.
    graft = clusters["estimator"] == GRAFT_ESTIMATOR
    asked = measured & is_significant(clusters) & (~graft | (grafts is not None))
    known = ~graft & (asked | (np.isfinite(clusters["moment_am2"]) & (clusters["score"] >= EXPLAINS)))
    there = _measure(catalogue, known, scan, baseline, baseline_field_map, config)
    if grafts is not None:
        there = (np.where(graft, grafts[0], there[0]), np.where(graft, grafts[1], there[1]))
    held, told, grown = _compare(clusters, asked, *there)
    fits = catalogue.fits.with_columns(
        baseline_moment_am2=np.where(asked, there[0], np.nan),
        baseline_moment_am2_err=np.where(asked, there[1], np.nan),
    )
    fits = fits.with_columns(
        remarks=append_flag(append_flag(fits["remarks"], asked & ~told, Flag.NO_BASELINE), grown, Flag.ABOVE_BASELINE)
    )
    judged = _reject(dataclasses.replace(catalogue, fits=fits), held, Flag.IN_BASELINE)
    n_lost = len(catalogue.accepted) - len(judged.accepted)
    return _add_note(
        judged,
        f"Held against the baseline {name}: of {len(catalogue.accepted)} candidates that the scan alone would accept, "
        f"{n_lost} were there before the label was given and are rejected. Both scans were taken to lie in one "
        "scanner frame.",
    )


def reject_unlabelled(catalogue: Catalogue) -> Catalogue:
    """The catalogue of a scan without label: nothing in it is labelled, and whatever is significant says so."""
    rejected = _reject(catalogue, is_significant(catalogue.clusters), Flag.BASELINE_SCAN)
    return _add_note(
        rejected,
        f"This is a baseline scan, without label: the {len(catalogue.accepted)} candidates that would have been "
        "accepted in a labelled one are rejected.",
    )


def describe_baseline(baseline: Scan) -> str:
    """``ses-d00_run-1``, or that it has no name."""
    labels = (("ses", baseline.session), ("run", baseline.run))
    return "_".join(f"{key}-{value}" for key, value in labels if value) or "scan without a session"


def is_significant(clusters: Table) -> NDArray[np.bool_]:
    """Rows (n,) that chance does not explain, whatever else rejects them."""
    name = flag_names(int(Flag.NOT_SIGNIFICANT))
    return ~np.array([name in str(names).split(";") for names in clusters["reasons"]], np.bool_)


def _find_obstacle(
    catalogue: Catalogue,
    scan: Scan,
    field_map: FieldMap,
    baseline: Scan,
    baseline_field_map: FieldMap,
) -> str:
    """Why the two scans cannot be compared; "" where they can."""
    if abs(baseline.b0_t / scan.b0_t - 1) > _SAME_B0:
        return f"it was made at {baseline.b0_t:g} T and this scan at {scan.b0_t:g} T"
    if PhaseSign.UNKNOWN in (catalogue.phase_sign, baseline.phase_sign):
        return "the sign of phase must be known in both scans, and is not; state it"
    overlap = measure_overlap(field_map, baseline_field_map)
    if overlap < _LEAST_OVERLAP:
        return (
            f"only {overlap:.0%} of the smaller tissue of the two lies within the other, so their frames disagree; "
            "register the scans, or correct the affines"
        )
    return ""


def measure_overlap(one: FieldMap, other: FieldMap) -> float:
    """Volume of tissue that both masks hold, in the scanner's frame, over that of the smaller; 0 where one is empty."""
    volumes = [field.mask.sum() * field.grid.voxel_volume_m3 for field in (one, other)]
    if not min(volumes):
        return 0.0
    ijk = np.argwhere(one.mask)
    there = np.round(other.grid.to_ijk(one.grid.to_mm(ijk))).astype(np.int64)
    within = ((there >= 0) & (there < np.array(other.grid.shape))).all(axis=1)
    shared = np.count_nonzero(other.mask[tuple(there[within].T)]) * one.grid.voxel_volume_m3
    return float(shared / min(volumes))


def _measure(
    catalogue: Catalogue,
    known: NDArray[np.bool_],
    scan: Scan,
    baseline: Scan,
    field_map: FieldMap,
    config: ClustersConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moment and error (n,) of the baseline at the place of every known row; NaN elsewhere."""
    rows = catalogue.clusters.where(known)
    places = np.stack([rows[f"{axis}_mm"] for axis in "xyz"], axis=1)
    edge = float(np.cbrt(np.prod(scan.grid.voxel_mm)))
    own = np.stack([rows[f"{axis}_mm_err"] for axis in "xyz"], axis=1)
    spread = np.hypot(np.where(np.isfinite(own), np.minimum(own, edge), edge), config.repositioning_mm or edge / 4)
    table = measure_at(baseline, field_map, places, config, positions_mm_err=spread)
    moment, err = np.full((2, len(known)), np.nan)
    moment[known], err[known] = table["moment_am2"], table["moment_am2_err"]
    return moment, err


def _compare(
    clusters: Table, asked: NDArray[np.bool_], there: NDArray[np.float64], there_err: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows (n,) the baseline holds, of which it tells anything, and which exceed what it holds.

    A candidate of the other polarity is compared with its own sign.
    """
    sign = np.sign(clusters["moment_am2"])
    moment, err, base = np.abs(clusters["moment_am2"]), clusters["moment_am2_err"], sign * there
    excess = moment - base
    with np.errstate(invalid="ignore"):
        told = asked & np.isfinite(base) & np.isfinite(there_err)
        # Places that two of the visit's sources share in the baseline have no error to speak of: the value decides.
        graft = clusters["estimator"] == GRAFT_ESTIMATOR
        something = (base > _SOMETHING * there_err) | ((base > 0) & (graft | (there_err > moment)))
        holds = told & something & (excess / np.hypot(err, there_err) < base / there_err)
        grown = holds & (excess >= _GROWN * np.sqrt(err**2 + there_err**2 + (_REPRODUCES * base) ** 2))
        told &= holds | (there_err <= _TELLS * moment)
    return holds & ~grown, told, grown


def _reject(catalogue: Catalogue, rows: NDArray[np.bool_], flag: Flag) -> Catalogue:
    """Rows (n,) rejected for ``flag`` besides what rejects them already; the numbers that hang on it follow."""
    clusters, fits = catalogue.clusters, catalogue.fits
    half = _Z95 * clusters["moment_am2_err"]
    clusters = clusters.with_columns(
        reasons=append_flag(clusters["reasons"], rows, flag),
        status=np.where(rows, "rejected", clusters["status"]),
        moment_am2_low=np.where(rows, clusters["moment_am2"] - half, clusters["moment_am2_low"]),
        moment_am2_high=np.where(rows, clusters["moment_am2"] + half, clusters["moment_am2_high"]),
    )
    fits = fits.with_columns(selection_score=np.where(rows, np.nan, fits["selection_score"]))
    return _recount(dataclasses.replace(catalogue, clusters=clusters, fits=fits))


def _recount(catalogue: Catalogue) -> Catalogue:
    """The lowest accepted score, and every class's candidates at that score or above."""
    null, accepted = catalogue.null, catalogue.accepted
    threshold = float(accepted["score"].min()) if len(accepted) else float("nan")
    reached = null.candidates["score"] >= threshold
    counts = {
        name: int(np.count_nonzero(reached & (null.candidates["pattern"] == name))) for name in null.counts_at_threshold
    }
    null = dataclasses.replace(null, score_threshold=threshold, counts_at_threshold=counts)
    return dataclasses.replace(catalogue, null=null)


def _add_note(catalogue: Catalogue, note: str) -> Catalogue:
    return dataclasses.replace(catalogue, notes=(*catalogue.notes, note))
