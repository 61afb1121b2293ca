"""What one visit amounts to: the numbers that the summary file holds and the command line prints."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferrosight.report.summary import (
    Total,
    expected_false_accepted,
    has_flag,
    total_moment,
    total_quantity,
)
from ferrosight.types import Catalogue, Flag, Table, flag_names

#: Edges of the histogram of χ² per degree of freedom; the last bin is open.
CHI2_EDGES = (0.0, 0.8, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
#: Standardised differences beyond this happen by chance in 5 % of pairs that agree.
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class WindowAgreement:
    """Moments from the inner and the outer half of the window: how many pairs differ by chance only.

    ``n_agree`` of ``n_compared`` differ by less than 1.96 of their joint standard deviations; 95 % would if
    the errors were right and the model true. ``n_flagged`` carry the remark that their error was widened to
    cover both.
    """

    n_compared: int
    n_agree: int
    n_flagged: int
    median_outer_over_inner: float


@dataclass(frozen=True)
class CatalogueSummary:
    """Counts and totals of a catalogue; NaN where there is nothing to sum."""

    n_candidates: int
    n_accepted: int
    n_negative_accepted: int
    rejected_by_reason: Mapping[str, int]
    n_rejected_only_as_bubble: int
    n_bubble_not_excluded: int
    q_threshold: float
    score_threshold: float
    counts_at_threshold: Mapping[str, int]
    null_source: str
    expected_false_accepted: float
    moment_am2: Total
    iron_pg: Total
    n_cells: Total
    phase_sign: str
    phase_sign_source: str
    point_spread: str
    chi2_dof_edges: tuple[float, ...]
    chi2_dof_counts: tuple[int, ...]
    windows: WindowAgreement
    notes: tuple[str, ...]

    def as_plain(self) -> dict[str, Any]:
        """Nested plain values for JSON: NaN and infinity become None."""
        return {key: plain_value(value) for key, value in dataclasses.asdict(self).items()}


def summarise_catalogue(catalogue: Catalogue) -> CatalogueSummary:
    """Count and add up what a scan's catalogue holds."""
    accepted, status = catalogue.accepted, catalogue.clusters["status"]
    fits = catalogue.fits.where(status == "accepted")
    reasons = catalogue.clusters["reasons"][status != "accepted"]
    chi2 = fits["chi2_dof"][np.isfinite(fits["chi2_dof"])]
    counts, _ = np.histogram(chi2, bins=[*CHI2_EDGES, np.inf])
    return CatalogueSummary(
        n_candidates=len(catalogue.clusters),
        n_accepted=len(accepted),
        n_negative_accepted=int(np.count_nonzero(accepted["moment_am2"] < 0)),
        rejected_by_reason=_count_reasons(reasons.tolist()),
        n_rejected_only_as_bubble=int(np.count_nonzero(reasons == flag_names(Flag.BUBBLE))),
        n_bubble_not_excluded=int(np.count_nonzero(has_flag(fits["remarks"], Flag.BUBBLE_NOT_EXCLUDED))),
        q_threshold=catalogue.q_threshold,
        score_threshold=catalogue.null.score_threshold,
        counts_at_threshold=dict(catalogue.null.counts_at_threshold),
        null_source=catalogue.null.source,
        expected_false_accepted=expected_false_accepted(catalogue),
        moment_am2=total_moment(accepted),
        iron_pg=total_quantity(accepted, "iron_pg"),
        n_cells=total_quantity(accepted, "n_cells"),
        phase_sign=catalogue.phase_sign.name.lower(),
        phase_sign_source=catalogue.phase_sign_source,
        point_spread=catalogue.point_spread,
        chi2_dof_edges=CHI2_EDGES,
        chi2_dof_counts=tuple(int(count) for count in counts),
        windows=_compare_windows(fits),
        notes=catalogue.notes,
    )


def _count_reasons(reasons: list[str]) -> dict[str, int]:
    counted = Counter(name for names in reasons for name in names.split(";") if name)
    return dict(counted.most_common())


def _compare_windows(fits: Table) -> WindowAgreement:
    inner, outer = fits["moment_inner_am2"], fits["moment_outer_am2"]
    joint_err = np.hypot(fits["moment_inner_am2_err"], fits["moment_outer_am2_err"])
    known = np.isfinite(inner) & np.isfinite(outer) & np.isfinite(joint_err) & (joint_err > 0) & (inner != 0)
    agree = np.abs(inner - outer)[known] < _Z95 * joint_err[known]
    return WindowAgreement(
        n_compared=int(np.count_nonzero(known)),
        n_agree=int(np.count_nonzero(agree)),
        n_flagged=int(np.count_nonzero(has_flag(fits["remarks"], Flag.WINDOWS_DISAGREE))),
        median_outer_over_inner=float(np.median((outer / inner)[known])) if known.any() else math.nan,
    )


def plain_value(value: Any) -> Any:
    """A value that JSON knows: tuples become lists, NaN and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
