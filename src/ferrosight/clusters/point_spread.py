"""Which point spread a scan has: decided by its own strongest sources.

The truncated k-space is what an acquisition does; averaging over the voxel is an approximation, used only
where it fits better (filters and interpolation can make it so). With one echo the displacement along the
readout is measured too: a scan's sidecar rarely gives the bandwidth, and strong dipoles show it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PointSpread, PreparedScan, build_tables, window_data
from ferrosight.clusters.search import find_places
from ferrosight.physics.cluster_signal import Readout, q_levels
from ferrosight.types import FieldMap, Scan

_AXIS_NAMES = ("first", "second", "third")
#: How many of the strongest sources decide, and how few are too few.
_N_JUDGES = 48
_N_NEEDED = 8
_JUDGE_Z = 6.0
#: Strengths (p/V) for which judging tables are made; weaker sources tell nothing.
_JUDGE_Q = (0.3, 20.0)
#: Readout displacements tried, voxels per radian: first by axis and sign, then by size.
_FIRST_DISPLACEMENT = 0.1
_DISPLACEMENTS = (0.05, 0.15, 0.2, 0.3)
#: An alternative is taken when it is better by this many standard errors.
_SURE = 3.0


def choose_point_spread(
    scan: Scan, field_map: FieldMap, prepared: PreparedScan, evidence: NDArray[np.float32]
) -> PointSpread:
    """The point spread under which the strongest sources of a scan are fitted best."""
    supports = field_map.noise.support
    default = PointSpread("kspace", supports, Readout(), "k-space as acquired (too few strong sources to compare)")
    judges = _pick_judges(evidence, prepared)
    if len(judges) < _N_NEEDED:
        return default
    misfit = {}

    def judge(choice: PointSpread) -> NDArray[np.float64]:
        key = (choice.kind, choice.readout)
        if key not in misfit:
            misfit[key] = _log_misfit(scan, prepared, choice, judges)
        return misfit[key]

    best = default
    box = replace(default, kind="box")
    if _is_better(judge(box), judge(default)):
        best = box
    if len(scan.echo_times_s) == 1:
        best = _choose_readout(best, judge)
    known = judge(best)[np.isfinite(judge(best))]
    if len(known) < _N_NEEDED:
        return default
    chi2 = float(np.exp(np.median(known)))
    return replace(best, description=_describe(best, len(judges), chi2))


def other_point_spreads(chosen: PointSpread) -> tuple[PointSpread, ...]:
    """The plain point spreads, without displacement, that were not chosen."""
    plain = (replace(chosen, kind=kind, readout=Readout()) for kind in ("kspace", "box"))
    return tuple(one for one in plain if (one.kind, one.readout) != (chosen.kind, chosen.readout))


def _choose_readout(best: PointSpread, judge) -> PointSpread:  # type: ignore[no-untyped-def]
    """Try a displacement along each axis and sign, then its size along the best."""
    ahead = [replace(best, readout=Readout(axis, _FIRST_DISPLACEMENT)) for axis in range(3)]
    still = _mean_misfit(judge(best))
    # To first order what a displacement one way costs, the other way gains: one sign per axis shows both.
    along = max(ahead, key=lambda choice: abs(_mean_misfit(judge(choice)) - still))
    away = replace(best, readout=Readout(along.readout.axis, -_FIRST_DISPLACEMENT))
    first = min((along, away), key=lambda choice: _mean_misfit(judge(choice)))
    if not _is_better(judge(first), judge(best)):
        return best
    sign = np.sign(first.readout.voxels_per_rad)
    sizes = [first] + [replace(best, readout=Readout(first.readout.axis, sign * size)) for size in _DISPLACEMENTS]
    return min(sizes, key=lambda choice: _mean_misfit(judge(choice)))


def _mean_misfit(misfit: NDArray[np.float64]) -> float:
    """Mean over the judges that could be fitted; infinite where none could."""
    known = misfit[np.isfinite(misfit)]
    return float(known.mean()) if len(known) else float("inf")


def _pick_judges(evidence: NDArray[np.float32], prepared: PreparedScan) -> NDArray[np.int64]:
    """The strongest dipole peaks of either sign: voxel and sign, (n, 4)."""
    dipole = evidence[:1]
    places = find_places(dipole, prepared.inside, _JUDGE_Z, prepared.edges, [])[:_N_JUDGES]
    signs = np.sign(dipole[0][tuple(places.T)]).astype(np.int64)
    return np.column_stack([places, signs])


def _log_misfit(
    scan: Scan, prepared: PreparedScan, choice: PointSpread, judges: NDArray[np.int64]
) -> NDArray[np.float64]:
    """ln(χ²/dof) of every judge under one point spread; NaN where it could not be fitted."""
    levels = slice(None)
    if len(prepared.ratios) == 1:
        # Many point spreads are tried with one echo; with several, one source spans all levels.
        used = np.flatnonzero((q_levels() > _JUDGE_Q[0]) & (q_levels() < _JUDGE_Q[1]))
        levels = slice(int(used[0]), int(used[-1]) + 1)
    tables = build_tables(scan, prepared, choice, ("dipole",), levels)
    data = window_data(prepared, tables)
    places = unfitted(np.zeros(len(judges), np.int64), judges[:, 3], judges[:, :3], len(prepared.ratios))
    fitted: Sources = fit_sources(data, places, no_neighbours(data), search=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(fitted.score > 0, np.log(fitted.chi2 / fitted.dof), np.nan))


def _is_better(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the judges prefer one by more than chance."""
    gain = (other - one)[np.isfinite(other) & np.isfinite(one)]
    if len(gain) < _N_NEEDED:
        return False
    return bool(gain.mean() > _SURE * gain.std(ddof=1) / np.sqrt(len(gain)))


def _describe(choice: PointSpread, n_judges: int, chi2: float) -> str:
    name = "average over the voxel" if choice.kind == "box" else "k-space as acquired"
    moved = ""
    if choice.readout.voxels_per_rad:
        moved = (
            f", displaced along the {_AXIS_NAMES[choice.readout.axis]} array axis by "
            f"{choice.readout.voxels_per_rad:+.2f} voxels per radian"
        )
    return f"{name}{moved}; chosen by the {n_judges} strongest sources (median χ²/dof {chi2:.2f})"
