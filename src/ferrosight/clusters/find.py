"""The clusters stage: from a scan and its field map to a fitted and judged catalogue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.judge import Verdict, judge_sources
from ferrosight.clusters.patches import draw_patches
from ferrosight.clusters.point_spread import choose_point_spread, other_point_spreads
from ferrosight.clusters.polarity import Polarity, decide_polarity
from ferrosight.clusters.prepare import PAD, PointSpread, build_tables, prepare_scan, window_data
from ferrosight.clusters.refit import REFIT_LEVELS
from ferrosight.clusters.rows import tabulate_clusters, tabulate_nulls
from ferrosight.clusters.screen import WEAK_LEVELS, Screener
from ferrosight.clusters.search import SearchResult, search_sources
from ferrosight.clusters.veins import VEIN_MARGIN, compare_cylinders
from ferrosight.errors import AnalysisError
from ferrosight.physics.cluster_signal import PATTERNS, Readout
from ferrosight.types import FEW_DECOYS, Catalogue, EvidenceMap, FieldMap, PhaseSign, Progress, Scan
from ferrosight.types.config import ClustersConfig


def find_clusters(
    scan: Scan, field_map: FieldMap, config: ClustersConfig, *, on_progress: Progress | None = None
) -> tuple[EvidenceMap, Catalogue]:
    """Find, fit and judge every cluster of a scan.

    Every voxel of the mask in every slice is searched, and a little beyond. Iron and cells are left missing.

    Returns
    -------
    The screening map of every pattern, and the catalogue: candidates of iron's polarity (of both where the
    sign of phase stays unknown), and those of the other that would have been accepted.

    Raises
    ------
    AnalysisError
        The mask is empty.
    """

    def report(what: str, done: int) -> None:
        if on_progress is not None:
            on_progress(what, done, 4)

    if not field_map.mask.any():
        raise AnalysisError("nothing in this scan rises above its noise, so there is nothing to search.")
    prepared = prepare_scan(scan, field_map, config.window_voxels)
    report("screening", 0)
    as_acquired = PointSpread("kspace", field_map.noise.support, Readout(), "")
    screener = Screener(prepared, build_tables(scan, prepared, as_acquired, levels=WEAK_LEVELS))
    evidence = screener.screen(prepared.signal)
    report("choosing the point spread", 1)
    point_spread = choose_point_spread(scan, field_map, prepared, evidence)
    report("tabulating signals", 2)
    data = window_data(prepared, build_tables(scan, prepared, point_spread))
    others = (build_tables(scan, prepared, other, levels=REFIT_LEVELS) for other in other_point_spreads(point_spread))
    found = search_sources(
        data, prepared.search_mask, screener, evidence, config.screen_z, others, on_progress=on_progress
    )
    report("judging", 3)
    inside = _is_inside(found.sources.positions, prepared.inside)
    cylinder = _compare_likely(found, scan, config.screen_z)
    eligible = inside & ~(cylinder < -VEIN_MARGIN)
    polarity = decide_polarity(found, eligible, prepared.inside, scan.phase_sign, config.screen_z)
    verdict = judge_sources(scan, field_map.noise, point_spread, found, inside, cylinder, polarity, config)
    clusters, fits = tabulate_clusters(scan, found, verdict)
    report("judging", 4)
    crop = (slice(None), *(slice(PAD, PAD + n) for n in scan.grid.shape))
    return (
        EvidenceMap(scan.grid, PATTERNS, evidence[crop]),
        Catalogue(
            clusters=clusters,
            fits=fits,
            null=tabulate_nulls(scan, found, eligible, polarity, verdict),
            patches=draw_patches(field_map, found, verdict, clusters["cluster_id"]),
            phase_sign=polarity.phase_sign,
            phase_sign_source=polarity.source,
            point_spread=point_spread.description,
            q_threshold=config.q,
            notes=_notes(scan, point_spread, polarity, verdict),
        ),
    )


def _compare_likely(found: SearchResult, scan: Scan, floor: float) -> NDArray[np.float64]:
    """How much better a vein explains each source of any class that may count; NaN for the others."""
    delta = np.full(len(found.sources), np.nan)
    likely = found.score / found.neighbour_spread >= floor
    delta[likely] = compare_cylinders(
        found.data,
        found.sources.pick(likely),
        found.neighbours,
        found.own[likely],
        scan.b0_in_array,
        found.lowered[likely],
    )
    return delta


def _is_inside(positions: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each position's nearest voxel lies in the mask."""
    nearest = np.clip(np.round(positions).astype(np.int64), 0, np.array(mask.shape) - 1)
    return np.asarray(mask[tuple(nearest.T)], dtype=np.bool_)


def _notes(scan: Scan, point_spread: PointSpread, polarity: Polarity, verdict: Verdict) -> tuple[str, ...]:
    """Sentences that a reader of the numbers must know."""
    notes = []
    if polarity.phase_sign is PhaseSign.UNKNOWN:
        notes.append(
            "The sign of phase is unknown and this scan does not decide it: both polarities were tested, and "
            "each expected number of false candidates counts both."
        )
    if len(scan.echo_times_s) > 1:
        notes.append("Displacement along the readout is not corrected with several echoes.")
    elif not point_spread.readout.voxels_per_rad:
        notes.append("No displacement along the readout was found, and none is corrected.")
    if verdict.n_windows_disagree:
        notes.append(
            f"Inner and outer windows disagree for {verdict.n_windows_disagree} clusters that this scan alone accepts; "
            "their errors were inflated to cover both."
        )
    if verdict.tail.n_tail < FEW_DECOYS:
        notes.append("This scan has few decoys: its false-positive rate rests on what noise alone would do.")
    return tuple(notes)
