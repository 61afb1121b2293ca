"""What one visit amounts to: the numbers that the summary file holds and the command line prints."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.report.summary import (
    Total,
    WindowAgreement,
    compare_windows,
    expected_false_accepted,
    few_decoys,
    has_flag,
    total_moment,
    total_quantity,
)
from ferrosight.types import Catalogue, Flag, Grid, flag_names

#: Edges of the histogram of χ² per degree of freedom; the last bin is open.
CHI2_EDGES = (0.0, 0.8, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class CatalogueSummary:
    """Counts and totals of a catalogue; NaN where there is nothing to sum.

    ``n_accepted_per_slice`` counts along the third array axis; ``median_error_inflation`` is by how much the
    errors of accepted moments exceed what noise alone would give.
    """

    n_candidates: int
    n_accepted: int
    n_accepted_per_slice: tuple[int, ...]
    n_negative_accepted: int
    rejected_by_reason: Mapping[str, int]
    n_rejected_only_as_bubble: int
    n_bubble_not_excluded: int
    q_threshold: float
    score_threshold: float
    highest_score: float
    lowest_expected_false: float
    counts_at_threshold: Mapping[str, int]
    few_decoys: bool
    expected_false_accepted: float
    moment_am2: Total
    iron_pg: Total
    n_cells: Total
    phase_sign: str
    phase_sign_source: str
    point_spread: str
    chi2_dof_edges: tuple[float, ...]
    chi2_dof_counts: tuple[int, ...]
    median_error_inflation: float
    windows: WindowAgreement
    notes: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """Nested plain values for JSON: NaN and infinity become None."""
        return {key: plain_value(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> CatalogueSummary:
        """What ``as_plain`` made; what was infinite is not known any more and becomes NaN.

        Raises KeyError, TypeError or ValueError where ``content`` is something else.
        """
        known: dict[str, Any] = {field.name: content[field.name] for field in dataclasses.fields(cls)}
        known |= {name: Total(**_numbers(known[name])) for name in ("moment_am2", "iron_pg", "n_cells")}
        known["windows"] = WindowAgreement(**_numbers(known["windows"]))
        known = _numbers(known)
        known |= {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(**known)


def summarise_catalogue(catalogue: Catalogue, grid: Grid) -> CatalogueSummary:
    """Count and add up what the catalogue of a scan on this grid holds."""
    accepted, status = catalogue.accepted, catalogue.clusters["status"]
    fits = catalogue.fits.where(status == "accepted")
    reasons = catalogue.clusters["reasons"][status != "accepted"]
    chi2 = fits["chi2_dof"][np.isfinite(fits["chi2_dof"])]
    counts, _ = np.histogram(chi2, bins=[*CHI2_EDGES, np.inf])
    return CatalogueSummary(
        n_candidates=len(catalogue.clusters),
        n_accepted=len(accepted),
        n_accepted_per_slice=_count_slices(fits["k_voxel"], grid.shape[2]),
        n_negative_accepted=int(np.count_nonzero(accepted["moment_am2"] < 0)),
        rejected_by_reason=_count_reasons(reasons.tolist()),
        n_rejected_only_as_bubble=int(np.count_nonzero(reasons == flag_names(Flag.BUBBLE))),
        n_bubble_not_excluded=int(np.count_nonzero(has_flag(fits["remarks"], Flag.BUBBLE_NOT_EXCLUDED))),
        q_threshold=catalogue.q_threshold,
        score_threshold=catalogue.null.score_threshold,
        highest_score=_reduce(catalogue.clusters["score"], np.max),
        lowest_expected_false=_reduce(catalogue.clusters["expected_false"], np.min),
        counts_at_threshold=dict(catalogue.null.counts_at_threshold),
        few_decoys=few_decoys(catalogue),
        expected_false_accepted=expected_false_accepted(catalogue),
        moment_am2=total_moment(accepted),
        iron_pg=total_quantity(accepted, "iron_pg"),
        n_cells=total_quantity(accepted, "n_cells"),
        phase_sign=catalogue.phase_sign.name.lower(),
        phase_sign_source=catalogue.phase_sign_source,
        point_spread=catalogue.point_spread,
        chi2_dof_edges=CHI2_EDGES,
        chi2_dof_counts=tuple(int(count) for count in counts),
        median_error_inflation=_reduce(fits["error_inflation"], np.median),
        windows=compare_windows(catalogue),
        notes=catalogue.notes,
    )


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in content.items()}


def _count_reasons(reasons: list[str]) -> dict[str, int]:
    counted = Counter(name for names in reasons for name in names.split(";") if name)
    return dict(counted.most_common())


def _count_slices(k_voxel: NDArray[np.float64], n_slices: int) -> tuple[int, ...]:
    nearest = np.rint(k_voxel[np.isfinite(k_voxel)]).astype(np.int64)
    return tuple(np.bincount(np.clip(nearest, 0, n_slices - 1), minlength=n_slices).tolist())


def _reduce(values: NDArray[np.float64], choose: Callable[[NDArray[np.float64]], np.float64]) -> float:
    """``choose`` of the numbers that are known; NaN where there are none."""
    known = values[np.isfinite(values)]
    return float(choose(known)) if len(known) else math.nan


def plain_value(value: Any) -> Any:
    """A value that JSON knows: tuples and arrays become lists, NaN and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
