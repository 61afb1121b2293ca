"""What a scan's catalogue amounts to: totals with intervals, what may be false, and what to be wary of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.report.numbers import plural
from ferrosight.types import FLAG_INFO, Catalogue, Flag, NullCalibration, PhaseSign, Scan, Table

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Total:
    """A sum over clusters with its 95 % interval; ``n_missing`` clusters have no number and are left out."""

    value: float
    low: float
    high: float
    n_missing: int


def total_moment(clusters: Table) -> Total:
    """Sum of moments, A m². Fit errors are independent between clusters: they add in quadrature."""
    moments, errors = clusters["moment_am2"], clusters["moment_am2_err"]
    known = np.isfinite(moments) & np.isfinite(errors)
    if not known.any():
        return Total(math.nan, math.nan, math.nan, len(clusters))
    total = float(moments[known].sum())
    half = _Z95 * float(np.sqrt((errors[known] ** 2).sum()))
    return Total(total, total - half, total + half, int(np.count_nonzero(~known)))


def total_quantity(clusters: Table, name: str) -> Total:
    """Sum of ``iron_pg`` or ``n_cells`` with its 95 % interval.

    A cluster's interval holds the error of its moment, independent between clusters, and the spread of the
    label's magnetisation and of iron per cell, which all clusters of a scan share. The first adds in
    quadrature; all that remains of an interval is taken as shared and adds linearly. This is on the safe
    side where part of the remainder (the spread between cells) is independent.
    """
    values = clusters[name]
    lows, highs = clusters[f"{name}_low"], clusters[f"{name}_high"]
    known = np.isfinite(values) & np.isfinite(lows) & np.isfinite(highs)
    n_missing = int(np.count_nonzero(~known))
    if not known.any():
        return Total(math.nan, math.nan, math.nan, n_missing)
    values, lows, highs = values[known], lows[known], highs[known]
    relative = _relative_error(clusters)[known]
    independent = _Z95 * relative * np.abs(values)
    total = float(values.sum())
    below = _joined_half(values - lows, independent)
    above = _joined_half(highs - values, independent)
    return Total(total, max(total - below, 0.0), total + above, n_missing)


def _relative_error(clusters: Table) -> NDArray[np.float64]:
    moments, errors = np.abs(clusters["moment_am2"]), clusters["moment_am2_err"]
    ratio = np.divide(errors, moments, out=np.zeros(len(clusters)), where=moments > 0)
    return np.asarray(np.nan_to_num(ratio))


def _joined_half(halves: NDArray[np.float64], independent: NDArray[np.float64]) -> float:
    """Half-width of a sum: independent parts in quadrature, the remainders linearly, both in quadrature."""
    halves = np.clip(halves, 0.0, None)
    independent = np.minimum(independent, halves)
    shared = np.sqrt(halves**2 - independent**2)
    return float(np.sqrt((independent**2).sum() + shared.sum() ** 2))


def expected_false_accepted(catalogue: Catalogue) -> float:
    """False candidates expected among the accepted: those that score at least as the weakest accepted one."""
    expected = catalogue.accepted["expected_false"]
    expected = expected[np.isfinite(expected)]
    return float(expected.max()) if len(expected) else math.nan


def tail_count(null: NullCalibration, scores: NDArray[np.float64], scale: float | None = None) -> NDArray[np.float64]:
    """Expected number of false candidates at each score or above (the formula of ``NullCalibration``)."""
    scale = null.tail_scale if scale is None else scale
    if not (scale > 0 and null.tail_rate >= 0 and math.isfinite(null.tail_threshold)):
        return np.full(np.shape(scores), np.nan)
    exponent = -(np.square(scores) - null.tail_threshold**2) / 2 / scale
    return np.asarray(null.tail_rate * np.exp(np.clip(exponent, -700, 50)))


def lone_cluster_score(null: NullCalibration, q: float) -> float:
    """Score at which a scan's only cluster is accepted: where q false candidates are expected in the scan."""
    if not (null.tail_scale > 0 and null.tail_rate > 0 and math.isfinite(null.tail_threshold)):
        return math.nan
    return math.sqrt(max(null.tail_threshold**2 + 2 * null.tail_scale * math.log(null.tail_rate / q), 0.0))


def lone_cluster_moment(catalogue: Catalogue) -> float:
    """Moment, A m², of a lone cluster at a typical place that this scan would just have accepted.

    The moment per unit of score is the median over the weaker half of all candidates: strong ones are
    damped by dephasing inside their voxel. NaN where the scan has no candidate or no tail to tell from.
    """
    moments, scores = np.abs(catalogue.clusters["moment_am2"]), np.abs(catalogue.clusters["score"])
    known = np.isfinite(moments) & np.isfinite(scores) & (scores > 0)
    if not known.any():
        return math.nan
    moments, scores = moments[known], scores[known]
    weak = scores <= np.median(scores)
    return float(np.median(moments[weak] / scores[weak])) * lone_cluster_score(catalogue.null, catalogue.q_threshold)


def reason_words(names: str) -> list[tuple[str, str]]:
    """``;``-separated flag names as (name, sentence); a name outside the registry is kept without one."""
    sentences = {info.name: info.description for info in FLAG_INFO.values()}
    return [(name, sentences.get(name, "")) for name in names.split(";") if name]


def has_flag(names: NDArray[np.str_], flag: Flag) -> NDArray[np.bool_]:
    """Which rows of a ``reasons`` or ``remarks`` column carry a flag."""
    wanted = FLAG_INFO[flag].name
    return np.array([wanted in str(cell).split(";") for cell in names], dtype=bool)


def opposite_count(catalogue: Catalogue) -> int | None:
    """Candidates of opposite polarity at the acceptance threshold, or None where nothing was counted."""
    count = catalogue.null.counts_at_threshold.get("opposite")
    return None if count is None else int(count)


def collect_warnings(scan: Scan, catalogue: Catalogue) -> list[str]:
    """Sentences that a reader must know before the numbers, the gravest first."""
    found = [*_phase_warnings(scan, catalogue), *_label_warnings(catalogue), *_fit_warnings(catalogue)]
    if catalogue.null.source != "decoys":
        found.append(
            "The false-positive rate was not measured on this scan’s own decoys; "
            f"it comes from: {catalogue.null.source}."
        )
    opposite = opposite_count(catalogue)
    if opposite:
        found.append(
            f"At the acceptance threshold this scan also holds {plural(opposite, 'candidate')} of the polarity that "
            "iron cannot have."
        )
    return found


def _phase_warnings(scan: Scan, catalogue: Catalogue) -> list[str]:
    if catalogue.phase_sign is not PhaseSign.UNKNOWN:
        return []
    stored = "" if scan.phase_sign is PhaseSign.UNKNOWN else " by the analysis, although the scan states one"
    return [
        f"The sign of phase is unknown{stored}: both polarities were tested and paid for, and iron cannot be told from "
        "calcification by its polarity."
    ]


def _label_warnings(catalogue: Catalogue) -> list[str]:
    label = catalogue.label
    if label is None or "assumption" not in label.ms_source.lower():
        return []
    return [
        f"The magnetisation of {label.name} is an assumption, not a published measurement; iron masses scale with it."
    ]


def _fit_warnings(catalogue: Catalogue) -> list[str]:
    accepted = catalogue.clusters["status"] == "accepted"
    n_accepted = int(np.count_nonzero(accepted))
    if not n_accepted:
        return []
    remarks = catalogue.fits["remarks"][accepted]
    found = []
    n_poor = int(np.count_nonzero(has_flag(remarks, Flag.POOR_FIT)))
    if n_poor:
        found.append(
            f"{n_poor:,} of {plural(n_accepted, 'accepted cluster')} fit less well than noise allows; "
            "their errors are inflated."
        )
    n_bubble = int(np.count_nonzero(has_flag(remarks, Flag.BUBBLE_NOT_EXCLUDED)))
    if n_bubble:
        found.append(
            f"For {n_bubble:,} of {plural(n_accepted, 'accepted cluster')} a gas bubble of the same moment "
            "cannot be told from iron in this scan."
        )
    return found


def fit_facts(catalogue: Catalogue) -> list[tuple[str, str]]:
    """The accepted clusters' fits in a few numbers: what, and how many or how much."""
    fits = catalogue.fits.where(catalogue.clusters["status"] == "accepted")
    chi2 = fits["chi2_dof"][np.isfinite(fits["chi2_dof"])]
    facts = []
    if len(chi2):
        facts += [
            ("median χ²/dof", f"{np.median(chi2):.2f}"),
            ("χ²/dof above 2", f"{np.count_nonzero(chi2 > 2):,} of {len(chi2):,}"),
        ]
    for flag in (Flag.POOR_FIT, Flag.WINDOWS_DISAGREE, Flag.JOINT_FIT, Flag.CORE_RESOLVED, Flag.PARTIAL_WINDOW):
        count = int(np.count_nonzero(has_flag(fits["remarks"], flag)))
        if count:
            facts.append((FLAG_INFO[flag].description, f"{count:,} of {len(fits):,}"))
    return facts
