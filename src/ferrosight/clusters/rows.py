"""From fits and verdicts to the tables of a catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources
from ferrosight.clusters.judge import Verdict
from ferrosight.clusters.polarity import Polarity, expected_false
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.search import SearchResult
from ferrosight.clusters.selection import select_interval
from ferrosight.physics.cluster_signal import PATTERNS
from ferrosight.physics.dipole import phase_amplitude_rad_m3
from ferrosight.types import CLUSTERS, FITS, NULLS, NullCalibration, Scan, Table, flag_names, name_clusters

_N_CURVE = 200


def moment_per_q(scan: Scan) -> float:
    """A m² per unit of q = p/V at the first echo."""
    return float(scan.grid.voxel_volume_m3 / phase_amplitude_rad_m3(1.0, float(scan.echo_times_s[0])))


def tabulate_clusters(scan: Scan, found: SearchResult, verdict: Verdict) -> tuple[Table, Table]:
    """The clusters and fits tables, strongest first; iron and cells still missing."""
    sources = found.sources.pick(verdict.rows)
    ijk = sources.positions - PAD
    mm = scan.grid.to_mm(ijk)
    to_mm = scan.grid.affine[:3, :3]
    spread = np.einsum("ab,nbc,dc->nad", to_mm, verdict.covariance[:, 1:, 1:], to_mm)
    mm_err = np.sqrt(np.einsum("naa->na", spread))
    # The moment is positive for iron's polarity, whatever the sign of the stored phase.
    per_q = moment_per_q(scan)
    moment = per_q * (verdict.iron_sign * verdict.strength if verdict.iron_sign else np.abs(verdict.strength))
    moment_err = per_q * np.sqrt(verdict.covariance[:, 0, 0])
    selection = np.where(verdict.accepted, verdict.acceptance_score, np.nan)
    low, high = select_interval(moment, moment_err, verdict.score, selection)
    ids = name_clusters(scan, mm)
    joint = verdict.shapes.n_neighbours > 0
    clusters: dict[str, Any] = {
        "cluster_id": ids,
        "moment_am2": moment,
        "moment_am2_err": moment_err,
        "moment_am2_low": low,
        "moment_am2_high": high,
        "score": verdict.score,
        "p_value": verdict.p_value,
        "q_value": verdict.q_value,
        "expected_false": verdict.expected_false,
        "status": np.where(verdict.accepted, "accepted", "rejected"),
        "reasons": np.array([flag_names(int(bits), rejecting=True) for bits in verdict.flags], dtype=np.str_),
        "estimator": np.where(joint, "joint", "point"),
    }
    for axis, name in enumerate("xyz"):
        clusters[f"{name}_mm"] = mm[:, axis]
        clusters[f"{name}_mm_err"] = mm_err[:, axis]
    shapes = verdict.shapes
    turn = np.sign(moment) * np.sign(sources.q) * per_q
    fits: dict[str, Any] = {
        "cluster_id": ids,
        "chi2_dof": sources.chi2 / sources.dof,
        "selection_score": selection,
        "error_inflation": verdict.inflation,
        "moment_inner_am2": turn * shapes.q_inner,
        "moment_inner_am2_err": per_q * shapes.q_inner_err,
        "moment_outer_am2": turn * shapes.q_outer,
        "moment_outer_am2_err": per_q * shapes.q_outer_err,
        "cylinder_delta_chi2": shapes.cylinder_delta_chi2,
        "bubble_delta_chi2": shapes.bubble_delta_chi2,
        "n_neighbours": shapes.n_neighbours,
        "explained_share": _explained_share(sources),
        "window_fraction": sources.n_data / len(found.data.voxels),
        "remarks": np.array([flag_names(int(bits), rejecting=False) for bits in verdict.flags], dtype=np.str_),
    }
    for axis, name in enumerate("ijk"):
        fits[f"{name}_voxel"] = ijk[:, axis]
    return Table(CLUSTERS, clusters), Table(FITS, fits)


def _explained_share(sources: Sources) -> NDArray[np.float64]:
    """Of the χ² that a background alone leaves beyond the noise, what the source explains; NaN where it failed."""
    gain = sources.chi2_background - sources.chi2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(gain / np.maximum(sources.chi2_background - sources.dof, gain), dtype=np.float64)


def tabulate_nulls(
    scan: Scan, found: SearchResult, eligible: NDArray[np.bool_], polarity: Polarity, verdict: Verdict
) -> NullCalibration:
    """Every class's candidates that are not rejected by place or shape, and the null they give."""
    sources, score = found.sources, polarity.score
    names = np.array(PATTERNS)[sources.patterns]
    signs = np.sign(sources.q).astype(np.int64)
    if polarity.sign:
        names = np.where((sources.patterns == 0) & (signs == -polarity.sign), "opposite", names)
    mm = scan.grid.to_mm(sources.positions - PAD)
    nearest = np.clip(np.round(sources.positions).astype(int), 0, np.array(found.residual_map.shape[1:]) - 1)
    table = Table(
        NULLS,
        {
            "pattern": names[eligible],
            "sign": signs[eligible],
            "x_mm": mm[eligible, 0],
            "y_mm": mm[eligible, 1],
            "z_mm": mm[eligible, 2],
            "screen_z": found.residual_map[(sources.patterns, *nearest.T)][eligible],
            "score": score[eligible],
        },
    )
    threshold = verdict.score_threshold
    counted = eligible & (score >= threshold) if np.isfinite(threshold) else np.zeros(len(score), bool)
    classes = ["dipole", *(["opposite"] if polarity.sign else []), *PATTERNS[1:]]
    tail = polarity.null
    curve = np.linspace(tail.threshold, max(float(score.max(initial=0.0)), tail.threshold + 10.0), _N_CURVE)
    return NullCalibration(
        candidates=table,
        curve_scores=curve,
        curve_expected=expected_false(polarity, curve),
        tail_threshold=tail.threshold,
        tail_rate=tail.rate,
        tail_scale=tail.scale,
        tail_scale_err=tail.scale_err,
        n_decoys_in_tail=tail.n_tail,
        score_threshold=threshold,
        counts_at_threshold={name: int((counted & (names == name)).sum()) for name in classes},
        class_spread=dict(zip(PATTERNS, polarity.spreads.tolist(), strict=True)),
        n_places=found.n_places,
    )
