"""What a scan's catalogue amounts to: totals with intervals, what may be false, and what to be wary of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.report.numbers import format_iron, format_number, plural
from ferrosight.types import (
    FLAG_INFO,
    GRAFT_ESTIMATOR,
    Catalogue,
    Flag,
    LimitMap,
    NullCalibration,
    PhaseSign,
    Scan,
    Table,
)

_Z95 = 1.959963984540054
_TINY = 1e-300
#: Inner and outer moments nearer than this many joint standard deviations agree.
AGREE_WITHIN = 2.0


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


def total_quantity(clusters: Table, name: str, floor: float = 0.0) -> Total:
    """Sum of ``iron_pg`` or ``n_cells`` with its 95 % interval, which does not reach below ``floor``.

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
    return Total(total, max(total - below, floor), total + above, n_missing)


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


def expected_false_at(null: NullCalibration, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """False candidates expected in the scan at each score or above; NaN below the first score it was told for."""
    if not len(null.curve_scores):
        return np.full(np.shape(scores), np.nan)
    known = np.interp(scores, null.curve_scores, np.log(np.maximum(null.curve_expected, _TINY)))
    return np.where(np.asarray(scores) >= null.curve_scores[0], np.exp(known), np.nan)


def score_for_expected(null: NullCalibration, expected_false: float) -> float:
    """Lowest score at which no more than so many false candidates are expected in the scan; NaN where none is."""
    enough = null.curve_expected <= expected_false
    if not enough.any():
        return math.nan
    first = int(np.argmax(enough))
    if first == 0:
        return float(null.curve_scores[0])
    ends = slice(first - 1, first + 1)
    # np.interp wants rising abscissae, and the expected number falls.
    falls = -np.log(np.maximum(null.curve_expected[ends], _TINY))
    return float(np.interp(-math.log(expected_false), falls, null.curve_scores[ends]))


def typical_moment(catalogue: Catalogue, score: float) -> float:
    """Moment, A m², of a cluster that would reach ``score`` at a typical place of this scan.

    The moment per unit of score is the median over the weaker half of all candidates: strong ones are
    damped by dephasing inside their voxel. Grafts say nothing of it, as their score is that of a region, nor does what
    was rejected for its shape, such as pieces of a vein. NaN where the scan has no candidate to tell from.
    """
    moments, scores = np.abs(catalogue.clusters["moment_am2"]), np.abs(catalogue.clusters["score"])
    known = np.isfinite(moments) & np.isfinite(scores) & (scores > 0)
    known &= catalogue.clusters["estimator"] != GRAFT_ESTIMATOR
    known &= np.isin(catalogue.clusters["reasons"], ("", FLAG_INFO[Flag.NOT_SIGNIFICANT].name))
    if not known.any():
        return math.nan
    moments, scores = moments[known], scores[known]
    weak = scores <= np.median(scores)
    return float(np.median(moments[weak] / scores[weak])) * score


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
    return [f"The sign of phase is unknown{stored}: iron cannot be told from calcification by its polarity."]


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


@dataclass(frozen=True)
class WindowAgreement:
    """Moments of accepted clusters from the inner and the outer half of the window: do they agree?

    ``n_agree`` of ``n_compared`` differ by no more than ``AGREE_WITHIN`` joint standard deviations; 95 % would
    if the errors were right and the model true. ``n_widened`` had their error widened to cover both.
    """

    n_compared: int
    n_agree: int
    n_widened: int
    median_outer_over_inner: float


def compare_windows(catalogue: Catalogue) -> WindowAgreement:
    """Compare the inner and outer moments of the accepted clusters that have both."""
    fits = catalogue.fits.where(_accepted(catalogue))
    inner, inner_err, outer, outer_err = window_moments(fits)
    agree = np.abs(inner - outer) <= AGREE_WITHIN * np.hypot(inner_err, outer_err)
    ratio = (outer / inner)[inner != 0]
    return WindowAgreement(
        n_compared=len(inner),
        n_agree=int(np.count_nonzero(agree)),
        n_widened=int(np.count_nonzero(has_flag(fits["remarks"], Flag.WINDOWS_DISAGREE))),
        median_outer_over_inner=float(np.median(ratio)) if len(ratio) else math.nan,
    )


def window_moments(fits: Table) -> tuple[NDArray[np.float64], ...]:
    """Inner moment, its error, outer moment and its error, A m², of the rows that have all four."""
    columns = [fits[f"moment_{window}_am2{suffix}"] for window in ("inner", "outer") for suffix in ("", "_err")]
    known = np.all(np.isfinite(columns), axis=0)
    return tuple(column[known] for column in columns)


def remarks_of_all(catalogue: Catalogue) -> frozenset[str]:
    """Remarks that speak of the scan and not of one candidate: those by nature, and what all accepted ones carry."""
    remarks = [set(str(cell).split(";")) for cell in catalogue.fits["remarks"][_accepted(catalogue)]]
    shared = set.intersection(*remarks) if len(remarks) > 2 else set()
    return frozenset(shared | {FLAG_INFO[flag].name for flag in (Flag.SIGN_UNKNOWN, Flag.FEW_DECOYS)})


def _accepted(catalogue: Catalogue) -> NDArray[np.bool_]:
    return np.asarray(catalogue.clusters["status"] == "accepted", dtype=np.bool_)


def few_decoys(catalogue: Catalogue) -> bool:
    """Whether the false-positive rate rests on an assumption, for lack of decoys."""
    return catalogue.null.few_decoys


def fit_facts(catalogue: Catalogue) -> list[tuple[str, str]]:
    """The accepted clusters' fits in a few numbers: what, and how many or how much."""
    fits = catalogue.fits.where(_accepted(catalogue))
    chi2 = fits["chi2_dof"][np.isfinite(fits["chi2_dof"])]
    facts = []
    if len(chi2):
        facts += [
            ("median χ²/dof", f"{np.median(chi2):.2f}"),
            ("χ²/dof above 2", f"{np.count_nonzero(chi2 > 2):,} of {len(chi2):,}"),
        ]
    for flag in (Flag.POOR_FIT, Flag.WINDOWS_DISAGREE, Flag.JOINT_FIT, Flag.PARTIAL_WINDOW):
        count = int(np.count_nonzero(has_flag(fits["remarks"], flag)))
        if count:
            facts.append((FLAG_INFO[flag].description, f"{count:,} of {len(fits):,}"))
    return facts


def list_limits(limit: LimitMap) -> list[tuple[str, str, str]]:
    """In which share of the tissue how much iron, and how many cells, would have been found, in words."""
    values = limit.iron_pg[np.isfinite(limit.iron_pg)]
    rows = []
    for words, share in (("a tenth of the tissue", 0.1), ("half", 0.5), ("nine tenths", 0.9)):
        iron_pg = float(np.quantile(values, share))
        rows.append((words, format_iron(iron_pg), format_number(iron_pg / limit.iron_per_cell_pg, 2)))
    return rows
