"""One visit, from scan to catalogue: the only place that knows the order of the stages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ferrosight.clusters import find_clusters
from ferrosight.field import measure_field
from ferrosight.physics.labels import get_label
from ferrosight.quantify import quantify_clusters
from ferrosight.types import Catalogue, Config, EvidenceMap, FieldMap, IronPerCell, Label, Progress, Scan


@dataclass(frozen=True)
class VisitResult:
    """Everything that a visit's analysis made, on the scan's own grid."""

    scan: Scan
    field_map: FieldMap
    evidence: EvidenceMap
    catalogue: Catalogue


def analyse_visit(
    scan: Scan,
    label: Label | None = None,
    *,
    iron_per_cell: IronPerCell | None = None,
    config: Config | None = None,
    on_progress: Progress | None = None,
) -> VisitResult:
    """Field and noise, then clusters, then iron and cells.

    Raises AnalysisError where the scan holds nothing that could be analysed.
    """
    config = config or Config()
    field_map = measure_field(scan, config.field, on_progress=on_progress)
    evidence, catalogue = find_clusters(scan, field_map, config.clusters, on_progress=on_progress)
    catalogue = quantify_clusters(catalogue, label, scan.b0_t, iron_per_cell, config.quantify)
    return VisitResult(scan, field_map, evidence, dataclasses.replace(catalogue, settings=config.as_dict()))


def analyse_scan(
    scan: Scan,
    label: Label | str | Path | None = None,
    *,
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
    return analyse_visit(scan, known, iron_per_cell=iron_per_cell, config=config, on_progress=on_progress).catalogue
