"""Results against a known truth: which files belong together, and what is written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ferrosight.errors import InputError
from ferrosight.evaluate import evaluate_catalogues
from ferrosight.io import find_known_visits, read_known_visit, read_truth_voxel, write_json_atomic
from ferrosight.report.evaluation_charts import write_evaluation_charts
from ferrosight.study.summary import plain_value
from ferrosight.types import Evaluation, Progress

#: Where neither the user nor the truth says anything: a voxel of a small-animal scan. An assumption.
FALLBACK_MATCH_MM: Final = 0.1


@dataclass(frozen=True)
class StudyEvaluation:
    """An evaluation, where its matching distance comes from, and which scans are not in it."""

    evaluation: Evaluation
    match_source: str
    without_catalogue: tuple[str, ...]
    without_truth: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0; 1 where a truth has no catalogue."""
        return 1 if self.without_catalogue else 0

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = plain_value(dataclasses.asdict(self.evaluation))
        return {
            "exit_code": self.exit_code,
            "match_source": self.match_source,
            "without_catalogue": list(self.without_catalogue),
            "without_truth": list(self.without_truth),
            **plain,
        }


def evaluate_study(
    out_dir: Path, truth_dir: Path, *, match_mm: float | None = None, on_progress: Progress | None = None
) -> StudyEvaluation:
    """Compare every catalogue of ``out_dir`` with its truth in ``truth_dir``, all scans pooled.

    ``match_mm`` is by default the largest voxel edge that the truth's JSON gives (``VoxelMm``), and
    ``FALLBACK_MATCH_MM`` where none does. A scan with a truth and no catalogue is named and counts nowhere.

    Raises
    ------
    InputError
        Folders or tables are not as documented, no catalogue has a truth, or scans have different voxels.
    """
    found = find_known_visits(out_dir, truth_dir)
    visits = []
    for number, files in enumerate(found.visits):
        if on_progress is not None:
            on_progress("reading tables", number, len(found.visits))
        visits.append(read_known_visit(files))
    source = "as given"
    if match_mm is None:
        match_mm, source = choose_match_mm([read_truth_voxel(files.truth) for files in found.visits])
    if on_progress is not None:
        on_progress("matching", 0, 1)
    evaluation = evaluate_catalogues(visits, match_mm)
    return StudyEvaluation(evaluation, source, found.without_catalogue, found.without_truth)


def choose_match_mm(voxels_mm: list[tuple[float, float, float] | None]) -> tuple[float, str]:
    """The matching distance for scans of these voxels, and where it comes from.

    Raises
    ------
    InputError
        The scans differ.
    """
    edges = {None if voxel is None else round(max(voxel), 6) for voxel in voxels_mm}
    if len(edges) > 1:
        raise InputError(
            "one matching distance is needed for all scans, but the truth gives them different voxels or some of "
            "them none; say --match-mm."
        )
    edge = edges.pop()
    if edge is None:
        return FALLBACK_MATCH_MM, "by default: the truth does not give the voxel"
    return edge, "the largest edge of the voxel, as the truth gives it"


def write_evaluation(study: StudyEvaluation, folder: Path) -> tuple[Path, ...]:
    """Write evaluation.json and the charts into ``folder``, which is made where need be; returns their paths.

    Raises
    ------
    InputError
        ``folder`` is a file, or cannot be written to.
    """
    written = write_json_atomic(folder / "evaluation.json", study.as_plain())
    return (written, *write_evaluation_charts(study.evaluation, folder))
