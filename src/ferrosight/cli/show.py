"""What ``run`` and ``demo`` print of a visit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferrosight.report.summary import Total
    from ferrosight.study.joint_visit import JointOutcome
    from ferrosight.study.pet_visit import PetOutcome
    from ferrosight.study.run import SubjectOutcome, VisitOutcome
    from ferrosight.study.summary import CatalogueSummary

_BAR_WIDTH = 30
#: Up to this many slices are printed with their zeros.
_FEW_SLICES = 24


def describe_visit(outcome: VisitOutcome) -> str:
    """A small table of one visit, or why it failed."""
    if outcome.is_reused:
        return f"{outcome.name}: nothing has changed since it was analysed ({outcome.report})"
    resources = _resources(outcome)
    if outcome.summary is None:
        return f"{outcome.name}: failed after {resources}\n  {outcome.error}"
    return _align(outcome.name, [*_rows(outcome.summary), ("took", resources), ("report", str(outcome.report))])


def describe_pet(outcome: PetOutcome) -> str:
    """The same of one PET scan."""
    summary, resources = outcome.summary, _resources(outcome)
    if summary is None:
        return f"{outcome.name}: failed after {resources}\n  {outcome.error}"
    strongest = f"score {_number(summary.highest_score)}, {_number(summary.lowest_expected_false)} false ones expected"
    total = "n/a"
    if math.isfinite(summary.activity_bq):
        total = f"{summary.activity_bq:.4g} ± {summary.activity_bq_err:.2g} Bq at the scan's start"
    rows = [
        ("accepted", f"{summary.n_accepted} of {summary.n_candidates} hot spots at q ≤ {summary.q_threshold:g}"),
        ("strongest", strongest),
        ("total activity", total),
        ("highest SUV peak", _number(summary.highest_suv_peak)),
        ("rejected for", ", ".join(f"{name} {n}" for name, n in summary.rejected_by_reason.items()) or "none"),
        ("one false expected", f"at score {_number(summary.score_expecting_one)}, by {summary.n_decoys} minima"),
        ("point spread", f"{', '.join(f'{width:g}' for width in summary.point_spread_mm)} mm"),
        *[("note", note) for note in summary.notes],
        ("took", resources),
        ("table", str(outcome.table)),
    ]
    return _align(outcome.name, rows)


def describe_joint(outcome: JointOutcome) -> str:
    """What MRI and PET of one visit say together."""
    name = f"{outcome.name} with {outcome.mri}"
    if outcome.is_reused:
        return f"{name}: nothing has changed since they were judged together ({outcome.table})"
    found = ", ".join(f"{count} {finding.replace('_', ' ')}" for finding, count in outcome.findings)
    rows = [
        ("accepted", f"{outcome.n_accepted}{f': {found}' if found else ''}"),
        *[("note", note) for note in outcome.notes],
        ("took", f"{outcome.wall_s:.1f} s"),
        ("table", str(outcome.table)),
    ]
    return _align(name, rows)


def _resources(outcome: VisitOutcome | PetOutcome) -> str:
    memory = "" if outcome.peak_memory_mb is None else f", peak memory so far {outcome.peak_memory_mb:,.0f} MB"
    return f"{outcome.wall_s:.1f} s{memory}"


def _align(name: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(heading) for heading, _ in rows)
    return "\n".join([name, *(f"  {heading.ljust(width)}  {text}" for heading, text in rows)])


def describe_subject(outcome: SubjectOutcome) -> str:
    """How many tracks a subject has, and what must be known of them."""
    again = "; nothing has changed" if outcome.is_reused else ""
    growth = "growth cannot be known"
    if outcome.is_identifiable:
        growth = f"ALARM at {outcome.alarm_session}" if outcome.alarm_session else "no alarm"
    lines = [
        f"sub-{outcome.subject}: {outcome.n_tracks} tracks through its visits{again} ({outcome.tracks})",
        f"  growth  {growth}",
        f"  report  {outcome.report}",
    ]
    return "\n".join([*lines, *(f"  note  {note}" for note in (*outcome.relapse_notes, *outcome.notes))])


def _rows(summary: CatalogueSummary) -> list[tuple[str, str]]:
    strongest = f"score {_number(summary.highest_score)}, {_number(summary.lowest_expected_false)} false ones expected"
    rejected = ", ".join(f"{name} {count}" for name, count in summary.rejected_by_reason.items()) or "none"
    rows = [
        ("accepted", f"{summary.n_accepted} of {summary.n_candidates} candidates at q ≤ {summary.q_threshold:g}"),
        *([] if summary.n_accepted or not summary.n_candidates else [("strongest", strongest)]),
        ("accepted per slice", _slices(summary.n_accepted_per_slice)),
        ("total moment", format_total(summary.moment_am2, "A m²", summary.n_accepted)),
        ("total iron", format_total(summary.iron_pg, "pg", summary.n_accepted)),
        ("total cells", format_total(summary.n_cells, "cells", summary.n_accepted)),
        ("rejected for", rejected),
        ("opposite polarity accepted", str(summary.n_negative_accepted)),
        (f"at score ≥ {_number(summary.score_threshold)}", _classes(summary)),
        ("expected false", f"{_number(summary.expected_false_accepted)} at that score ({_judge(summary)})"),
        ("phase sign", f"{summary.phase_sign}: {summary.phase_sign_source}"),
        ("point spread", summary.point_spread),
        ("bubbles", _bubbles(summary)),
        ("inner/outer window", _windows(summary)),
        ("errors inflated", f"{_number(summary.median_error_inflation)} times in the median"),
    ]
    notes = [("note", note) for note in summary.notes]
    return [*rows, *_chi2_histogram(summary), *notes]


def format_total(total: Total, unit: str, n_clusters: int) -> str:
    """``1.2e+03 pg (1e+03 to 1.4e+03)``; how many clusters have no number is said."""
    if not math.isfinite(total.value):
        return "n/a"
    missing = f"; {total.n_missing} of {n_clusters} without a number" if total.n_missing else ""
    return f"{total.value:.4g} {unit} (95 %: {total.low:.4g} to {total.high:.4g}{missing})"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "n/a"


def _classes(summary: CatalogueSummary) -> str:
    return ", ".join(f"{name} {count}" for name, count in summary.counts_at_threshold.items()) or "n/a"


def _bubbles(summary: CatalogueSummary) -> str:
    return (
        f"{summary.n_rejected_only_as_bubble} rejected only as bubbles; "
        f"{summary.n_bubble_not_excluded} accepted where a bubble is not excluded"
    )


def _judge(summary: CatalogueSummary) -> str:
    return "assumed: this scan has too few decoys to tell" if summary.few_decoys else "from this scan's own decoys"


def _slices(counts: tuple[int, ...]) -> str:
    """Counts of each slice; of many slices only those that hold any."""
    n_held = sum(count > 0 for count in counts)
    if not n_held:
        return "n/a"
    held = f"{n_held} of {len(counts)} slices"
    if len(counts) <= _FEW_SLICES:
        return f"{' '.join(map(str, counts))} ({held})"
    return f"{', '.join(f'{k}: {count}' for k, count in enumerate(counts) if count)} ({held}, counted from 0)"


def _windows(summary: CatalogueSummary) -> str:
    windows = summary.windows
    if not windows.n_compared:
        return "n/a"
    return (
        f"{windows.n_agree} of {windows.n_compared} accepted agree within 2 errors "
        f"({windows.n_agree / windows.n_compared:.0%}; 95% if all is right); {windows.n_widened} disagree and had "
        f"their error widened; median outer/inner {windows.median_outer_over_inner:.2f}"
    )


def _chi2_histogram(summary: CatalogueSummary) -> list[tuple[str, str]]:
    counts = summary.chi2_dof_counts
    if not sum(counts):
        return [("χ²/dof of accepted", "n/a")]
    uppers = [*(f"{edge:g}" for edge in summary.chi2_dof_edges[1:]), "∞"]
    rows = []
    for index, (low, high, count) in enumerate(zip(summary.chi2_dof_edges, uppers, counts, strict=True)):
        bar = "█" * math.ceil(_BAR_WIDTH * count / max(counts))
        rows.append(("χ²/dof of accepted" if index == 0 else "", f"{low:>5g} to {high:<5} {count:>6} {bar}".rstrip()))
    return rows
