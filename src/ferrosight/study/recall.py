"""What a finished visit left, read back from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ferrosight.errors import BidsError, InputError
from ferrosight.io import VisitFiles, read_table
from ferrosight.study.products import visit_path
from ferrosight.study.provenance import hash_content
from ferrosight.study.summary import CatalogueSummary
from ferrosight.types import CLUSTERS, FITS, NULLS, Catalogue, Config, NullCalibration, PhaseSign

#: Stages whose settings a visit's results and page depend on.
VISIT_STAGES: Final = ("field", "clusters", "quantify", "limits", "report")
#: Further ones that a subject's tracks depend on.
SUBJECT_STAGES: Final = (*VISIT_STAGES, "register", "link")
#: Without these a visit is not finished.
_PRODUCTS: Final = ("clusters", "fits", "nulls", "fieldmap", "evidence", "report")


@dataclass(frozen=True)
class FinishedVisit:
    """A visit whose summary, which is written last, is there: its ``content``, and the ``fingerprint`` in it."""

    files: VisitFiles
    fingerprint: str
    content: Mapping[str, Any]
    summary: CatalogueSummary


def recall_visit(out_dir: Path, files: VisitFiles) -> FinishedVisit | None:
    """What a visit left; None where it is not finished, or was by a version that left less."""
    try:
        content = json.loads(visit_path(out_dir, "summary", files).read_text(encoding="utf-8"))
        finished = FinishedVisit(
            files, str(content["fingerprint"]), content, CatalogueSummary.from_plain(content["catalogue"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return finished if all(visit_path(out_dir, product, files).exists() for product in _PRODUCTS) else None


def recall_catalogue(out_dir: Path, finished: FinishedVisit) -> Catalogue:
    """The catalogue of a finished visit, without patches and without the curve of its null.

    Raises
    ------
    InputError
        A table is not as it was written.
    """
    files, summary = finished.files, finished.summary
    try:
        clusters, fits, nulls = (
            read_table(schema, visit_path(out_dir, schema.name, files)) for schema in (CLUSTERS, FITS, NULLS)
        )
    except BidsError as error:
        raise InputError(f"{str(error).rstrip('.')}; remove that file, and {files.name} is analysed again.") from error
    if clusters["cluster_id"].tolist() != fits["cluster_id"].tolist():
        raise InputError(f"{files.name}: its tables of clusters and fits do not belong together; analyse it again.")
    unknown = np.zeros(0)
    null = NullCalibration(
        nulls, unknown, unknown, np.nan, np.nan, np.nan, np.nan, 0, summary.score_threshold,
        summary.counts_at_threshold, {}, 0,
    )  # fmt: skip
    sign = PhaseSign[summary.phase_sign.upper()]
    origin = summary.phase_sign_source, summary.point_spread, summary.q_threshold
    return Catalogue(clusters, fits, null, (), sign, *origin, notes=summary.notes)


def pick_settings(config: Config, stages: tuple[str, ...]) -> dict[str, Any]:
    """The settings of some stages."""
    return {name: value for name, value in config.as_dict().items() if name.split(".")[0] in stages}


def hash_settings(config: Config, stages: tuple[str, ...]) -> str:
    """SHA-256 of the settings of some stages."""
    return hash_content(pick_settings(config, stages))
