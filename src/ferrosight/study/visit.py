"""One visit, from scan to catalogue: the only place that knows the order of the stages."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import ArrayLike

from ferrosight.clusters import find_clusters, judge_by_baseline, reject_unlabelled
from ferrosight.clusters import measure_at as measure_places
from ferrosight.field import measure_field
from ferrosight.limits import map_limit
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.quantify import Factor, find_factors, measure_grafts, measure_grafts_before, quantify_clusters
from ferrosight.types import (
    Calibration,
    Catalogue,
    Config,
    EvidenceMap,
    FieldMap,
    IronPerCell,
    Label,
    LimitMap,
    PhaseSign,
    Progress,
    Scan,
    Table,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class VisitResult:
    """Everything that a visit's analysis made, on the scan's own grid; no limit without a label."""

    scan: Scan
    field_map: FieldMap
    evidence: EvidenceMap
    catalogue: Catalogue
    limit: LimitMap | None


@dataclass(frozen=True)
class BaselineScan:
    """A scan without label and its field; the scan states its sign of phase where that is known."""

    scan: Scan
    field_map: FieldMap


def analyse_visit(
    scan: Scan,
    label: Label | None = None,
    *,
    baseline: BaselineScan | None = None,
    is_baseline: bool = False,
    iron_per_cell: IronPerCell | None = None,
    calibration: Calibration | None = None,
    config: Config | None = None,
    on_progress: Progress | None = None,
) -> VisitResult:
    """Field and noise, then clusters and grafts, then iron and cells, and the least iron that could have been found.

    With a ``baseline`` what it holds already is rejected; where the scan ``is_baseline`` itself all of it is. A
    ``calibration`` counts cells in the place of magnetisation and load.

    Raises AnalysisError where the scan holds nothing that could be analysed.
    """
    config = config or Config()
    field_map = measure_field(scan, config.field, on_progress=on_progress)
    evidence, catalogue = find_clusters(scan, field_map, config.clusters, on_progress=on_progress)
    catalogue = measure_grafts(scan, field_map, catalogue, config.quantify)
    if is_baseline:
        catalogue = reject_unlabelled(catalogue)
    elif baseline is not None:
        if on_progress is not None:
            on_progress("comparing with the baseline", 0, 1)
        catalogue = hold_against(catalogue, scan, field_map, baseline, config)
    catalogue = quantify_clusters(catalogue, label, scan.b0_t, iron_per_cell, config.quantify, calibration)
    catalogue = dataclasses.replace(catalogue, settings=config.as_dict())
    factors = find_factors(label, scan.b0_t, iron_per_cell, config.quantify, calibration)
    return VisitResult(scan, field_map, evidence, catalogue, _map_limit(scan, field_map, label, factors, config))


def hold_against(
    catalogue: Catalogue, scan: Scan, field_map: FieldMap, baseline: BaselineScan, config: Config
) -> Catalogue:
    """The catalogue with the points and grafts rejected that the baseline holds already."""
    both = scan, field_map, baseline.scan, baseline.field_map
    grafts = measure_grafts_before(catalogue, *both, config.quantify)
    return judge_by_baseline(catalogue, *both, config.clusters, grafts=grafts)


def _map_limit(
    scan: Scan, field_map: FieldMap, label: Label | None, factors: Mapping[str, Factor], config: Config
) -> LimitMap | None:
    if label is None:
        _LOG.info("no map of the limit of detection: it is a mass of iron, and no label says how magnetic iron is")
        return None
    limit = map_limit(scan, field_map, magnetisation_am2_per_kg_fe(label, scan.b0_t), config.limits)
    if "n_cells" not in factors:
        return limit
    per_cell = factors["n_cells"].moment_per_unit / factors["iron_pg"].moment_per_unit
    return dataclasses.replace(limit, iron_per_cell_pg=per_cell)


def add_note(result: VisitResult, note: str) -> VisitResult:
    """The same result with one more sentence that its readers must know."""
    catalogue = dataclasses.replace(result.catalogue, notes=(*result.catalogue.notes, note))
    return dataclasses.replace(result, catalogue=catalogue)


def prepare_baseline(scan: Scan, *, config: Config | None = None, on_progress: Progress | None = None) -> BaselineScan:
    """What a labelled visit needs of a scan without label; it is searched only where its sign of phase is not stated.

    Raises AnalysisError where the scan holds nothing that could be analysed.
    """
    if scan.phase_sign is PhaseSign.UNKNOWN:
        return as_baseline(analyse_visit(scan, config=config, is_baseline=True, on_progress=on_progress))
    return BaselineScan(scan, measure_field(scan, (config or Config()).field, on_progress=on_progress))


def as_baseline(result: VisitResult) -> BaselineScan:
    """What a labelled visit needs of a baseline that was analysed; the search may have settled the sign of phase."""
    scan = dataclasses.replace(result.scan, phase_sign=result.catalogue.phase_sign)
    return BaselineScan(scan, result.field_map)


def analyse_scan(
    scan: Scan,
    label: Label | str | Path | None = None,
    *,
    baseline: Scan | None = None,
    iron_per_cell: IronPerCell | None = None,
    config: Config | None = None,
    on_progress: Progress | None = None,
) -> Catalogue:
    """Find, measure and judge every cluster of a scan.

    Parameters
    ----------
    scan
        As ``read_bids`` returns it, or built by hand.
    label
        A label, its id, or the path of a TOML file; without one there are moments, but no iron.
    baseline
        A scan of the same subject without label, in the same scanner frame: what it holds already is rejected.
    iron_per_cell
        Without it, and without a load in the label, there are no numbers of cells.
    config
        Settings of every stage.
    on_progress
        Called as ``on_progress(what, done, total)``.

    Raises
    ------
    LabelError
        The label is unknown.
    AnalysisError
        The scan holds nothing that could be analysed.
    """
    known = label if label is None or isinstance(label, Label) else get_label(label)
    before = None if baseline is None else prepare_baseline(baseline, config=config, on_progress=on_progress)
    return analyse_visit(
        scan, known, baseline=before, iron_per_cell=iron_per_cell, config=config, on_progress=on_progress
    ).catalogue


def measure_at(
    scan: Scan,
    positions_mm: ArrayLike,
    *,
    positions_mm_err: ArrayLike | None = None,
    catalogue: Catalogue | None = None,
    config: Config | None = None,
) -> Table:
    """Measure the moment at given places, whether or not anything was found there.

    Nothing is selected here, so a value may be zero or negative and its 95 % interval is the plain one.

    Parameters
    ----------
    scan
        As ``read_bids`` returns it, or built by hand.
    positions_mm : float (n, 3)
        Scanner RAS+ mm.
    positions_mm_err : float (n, 3) or what broadcasts to it
        One standard deviation of each position along each scanner axis, mm; 0, the default, holds them.
    catalogue
        What ``analyse_scan`` gave for this scan: its clusters are fitted beside the places.
    config
        Settings of every stage.

    Returns
    -------
    Table
        Schema FORCED, a row per place: ``moment_am2`` (positive for iron's polarity) with ``_err``, ``_low`` and
        ``_high``, ``chi2_dof``, ``n_neighbours`` and ``remarks``; NaN outside the image or the tissue.

    Raises
    ------
    InputError
        Shapes do not match, or neither scan nor catalogue knows the sign of phase.
    """
    config = config or Config()
    field_map = measure_field(scan, config.field)
    return measure_places(
        scan, field_map, positions_mm, config.clusters, catalogue=catalogue, positions_mm_err=positions_mm_err
    )
