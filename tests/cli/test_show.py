"""What is printed of a visit says what a reader of the numbers must know."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from ferrosight.cli.show import describe_pet, describe_visit, format_total
from ferrosight.report.summary import Total, WindowAgreement
from ferrosight.study.pet_visit import PetOutcome, PetSummary
from ferrosight.study.run import VisitOutcome
from ferrosight.study.summary import CHI2_EDGES, CatalogueSummary

NOTHING = Total(math.nan, math.nan, math.nan, 0)
SUMMARY = CatalogueSummary(
    n_candidates=40,
    n_accepted=12,
    n_accepted_per_slice=(0, 5, 7),
    n_negative_accepted=0,
    rejected_by_reason={"not_significant": 20, "bubble": 8},
    n_rejected_only_as_bubble=7,
    n_bubble_not_excluded=3,
    q_threshold=0.05,
    score_threshold=5.25,
    highest_score=31.5,
    lowest_expected_false=2e-6,
    counts_at_threshold={"dipole": 12, "opposite": 1, "xz": 4},
    few_decoys=False,
    expected_false_accepted=0.04,
    moment_am2=Total(1e-12, 0.9e-12, 1.1e-12, 0),
    iron_pg=Total(10.7, 9.1, 12.9, 2),
    n_cells=NOTHING,
    phase_sign="positive",
    phase_sign_source="sidecar",
    point_spread="box",
    chi2_dof_edges=CHI2_EDGES,
    chi2_dof_counts=(0, 9, 2, 0, 1, 0, 0, 0, 0, 0),
    median_error_inflation=1.3,
    windows=WindowAgreement(12, 11, 1, 1.02),
    notes=("Displacement is not corrected.",),
)
DONE = VisitOutcome("sub-01", "01", "", "", 12.34, 512.0, SUMMARY, Path("out/sub-01_report.html"))


def test_a_visit_shows_counts_totals_and_every_class():
    text = describe_visit(DONE)
    for said in (
        "12 of 40 candidates at q ≤ 0.05",
        "1e-12 A m² (95 %: 9e-13 to 1.1e-12)",
        "10.7 pg (95 %: 9.1 to 12.9; 2 of 12 without a number)",
        "dipole 12, opposite 1, xz 4",
        "at score ≥ 5.25",
        "not_significant 20, bubble 8",
        "positive: sidecar",
        "7 rejected only as bubbles; 3 accepted where a bubble is not excluded",
        "11 of 12 accepted agree within 2 errors (92%",
        "1 disagree and had their error widened",
        "1.3 times in the median",
        "0 5 7 (2 of 3 slices)",
        "from this scan's own decoys",
        "12.3 s, peak memory so far 512 MB",
        "out/sub-01_report.html",
        "Displacement is not corrected.",
    ):
        assert said in text
    assert "strongest" not in text


def test_the_histogram_has_a_bar_per_bin_and_the_longest_is_the_fullest():
    lines = [line for line in describe_visit(DONE).splitlines() if " to " in line and "%" not in line]
    assert len(lines) == len(CHI2_EDGES)
    bars = [line.count("█") for line in lines]
    assert bars.index(max(bars)) == 1
    assert [bool(bar) for bar in bars] == [bool(n) for n in SUMMARY.chi2_dof_counts]


def test_of_many_slices_those_that_hold_some_are_named():
    many = dataclasses.replace(SUMMARY, n_accepted_per_slice=(0,) * 30 + (3, 0, 9))
    text = describe_visit(dataclasses.replace(DONE, summary=many))
    assert "30: 3, 32: 9 (2 of 33 slices, counted from 0)" in text


def test_a_scan_without_decoys_of_its_own_says_so():
    text = describe_visit(dataclasses.replace(DONE, summary=dataclasses.replace(SUMMARY, few_decoys=True)))
    assert "assumed: this scan has too few decoys to tell" in text


def test_nothing_found_is_shown_without_numbers():
    nothing = dataclasses.replace(
        SUMMARY,
        n_accepted=0,
        n_accepted_per_slice=(0, 0, 0),
        median_error_inflation=math.nan,
        rejected_by_reason={},
        score_threshold=math.nan,
        moment_am2=NOTHING,
        iron_pg=NOTHING,
        chi2_dof_counts=(0,) * len(CHI2_EDGES),
        windows=WindowAgreement(0, 0, 0, math.nan),
    )
    text = describe_visit(dataclasses.replace(DONE, summary=nothing, peak_memory_mb=None))
    assert "nan" not in text
    assert "score 31.5, 2e-06 false ones expected" in text
    assert "n/a" in text


def test_a_failed_visit_shows_why():
    failed = dataclasses.replace(DONE, summary=None, report=None, error="the phase is missing.")
    text = describe_visit(failed)
    assert "failed" in text
    assert "the phase is missing." in text


def test_a_total_without_value_is_not_available():
    assert format_total(NOTHING, "pg", 3) == "n/a"


def test_a_pet_scan_is_described_by_its_activity() -> None:
    summary = PetSummary(
        n_candidates=5,
        n_accepted=2,
        rejected_by_reason={"not_significant": 3},
        q_threshold=0.05,
        activity_bq=1234.1,
        activity_bq_err=56.7,
        highest_suv_peak=3.21,
        highest_score=12.3,
        lowest_expected_false=1e-9,
        score_expecting_one=3.9,
        n_decoys=14,
        point_spread_mm=(1.25, 1.25, 1.5),
        positron_range_mm=0.6,
        notes=("Uptake values are not known.",),
    )
    text = describe_pet(PetOutcome("sub-01_pet", "01", "", "", 2.0, None, summary, Path("x.tsv")))
    assert "2 of 5 hot spots" in text
    assert "1234 ± 57 Bq" in text
    assert "Uptake values are not known." in text
    failed = describe_pet(PetOutcome("sub-01_pet", "01", "", "", 2.0, None, error="no Units"))
    assert "no Units" in failed
