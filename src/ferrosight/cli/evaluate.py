"""``ferrosight evaluate``: how good catalogues are where the truth is known."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferrosight.cli.output import print_json, print_table
from ferrosight.cli.progress import show_progress

if TYPE_CHECKING:
    from ferrosight.study.evaluation import StudyEvaluation
    from ferrosight.types.evaluation import Average, Calibration, Detection, PerScan, Share

_UNITS = {"iron_pg": ("iron, pg", 1.0), "moment_am2": ("moment, fA m²", 1e-15)}
_CURVES = {"all": "all candidates", "shape": "those not rejected for their shape"}
_FALSE_PER_SCAN = (0.1, 1.0, 10.0)


def evaluate(
    out_dir: Annotated[Path, typer.Argument(help="Results: sub-X[/ses-Y]/anat/…_clusters.tsv, from any program.")],
    truth_dir: Annotated[Path, typer.Argument(help="The truth: sub-X[_ses-Y]_truth.tsv, or a folder truth of them.")],
    match_mm: Annotated[
        float | None,
        typer.Option(
            help="How far from a labelled cluster a candidate may lie to be it, mm. By default the largest edge of "
            "the voxel, where the truth gives it, else 0.1."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write evaluation.json and the charts into this folder.", metavar="DIR")
    ] = None,
) -> None:
    """Compare catalogues with a known truth.

    Recall against mass, false discoveries and what they sit on, recall against false positives (FROC), bias, and
    how often intervals hold the truth; all scans pooled, with 95 % intervals. Exit code 1: a truth has no catalogue.
    """
    from ferrosight.study.evaluation import evaluate_study, write_evaluation

    with show_progress() as on_progress:
        study = evaluate_study(out_dir, truth_dir, match_mm=match_mm, on_progress=on_progress)
    written = () if out is None else write_evaluation(study, out)
    if as_json:
        print_json(study.as_plain())
    else:
        _show(study)
    for path in written:
        print(f"written: {path}", file=sys.stderr)
    for name in study.without_catalogue:
        print(f"problem: {name} has a truth but no catalogue, and counts nowhere", file=sys.stderr)
    for name in study.without_truth:
        print(f"note: {name} has a catalogue but no truth, and counts nowhere", file=sys.stderr)
    raise typer.Exit(study.exit_code)


def _show(study: StudyEvaluation) -> None:
    evaluation, detection = study.evaluation, study.evaluation.detection
    n_scans = len(evaluation.visits)
    print(
        f"{n_scans} {'scan' if n_scans == 1 else 'scans'}; matched within {evaluation.match_mm:.4g} mm "
        f"({study.match_source}); between brackets 95 % intervals.\n"
    )
    print_table(
        ["", "", "of"],
        [
            ["labelled clusters found", _share(detection.recall), str(detection.recall.total)],
            ["accepted that are false", _share(detection.false_discoveries), str(detection.false_discoveries.total)],
            ["the same, mean over scans", _average(detection.false_discovery_rate, ""), f"{n_scans} scans"],
        ],
    )
    _show_detection(detection)
    _show_calibration(evaluation.calibration)


def _show_detection(detection: Detection) -> None:
    if detection.by_mass:
        words, unit = _UNITS[detection.mass_column]
        print()
        print_table(
            [f"true {words}", "found", "of"],
            [
                [f"{_mass(one.low / unit)} to {_mass(one.high / unit)}", _share(one.recall), str(one.recall.total)]
                for one in detection.by_mass
            ],
        )
    print()
    print_table(
        ["false positives on", "per scan", "in all", "of such bodies"],
        [
            [
                one.kind,
                _per_scan(one.accepted),
                str(one.accepted.count),
                f"{one.bodies.count} of {one.bodies.total}" if one.bodies.total else "",
            ]
            for one in detection.confusers
        ],
    )
    if detection.froc:
        print()
        print_table(
            ["found at so many false per scan", *(f"{rate:g}" for rate in _FALSE_PER_SCAN), "lowest score"],
            [
                [
                    _CURVES[curve.candidates],
                    *(
                        f"{max(curve.recall[curve.false_per_scan <= rate], default=0.0):.1%}"
                        if curve.false_per_scan[-1] >= rate
                        else "n/a"
                        for rate in _FALSE_PER_SCAN
                    ),
                    f"{curve.score[-1]:.3g}",
                ]
                for curve in detection.froc
            ],
        )


def _show_calibration(calibration: Calibration) -> None:
    if calibration.bias:
        print()
        print_table(
            ["measured over true, less one", "mean", "median", "of"],
            [[one.column, _average(one.mean), _average(one.median), str(one.mean.n)] for one in calibration.bias],
        )
    if calibration.coverage:
        print()
        print_table(
            ["95 % interval", "holds the truth", "of", "truth below", "above", "no interval"],
            [
                [
                    one.interval,
                    _share(one.covered),
                    *(str(n) for n in (one.covered.total, one.n_below, one.n_above, one.n_without)),
                ]
                for one in calibration.coverage
            ],
        )


def _mass(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _share(share: Share) -> str:
    if not share.total:
        return "n/a"
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _per_scan(rate: PerScan) -> str:
    return f"{rate.value:.3g} ({rate.low:.2g} to {rate.high:.2g})"


def _average(average: Average, sign: str = "+") -> str:
    if not average.n:
        return "n/a"
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (average.value, average.low, average.high))
    return f"{value} %" if math.isnan(average.low) else f"{value} % ({low} to {high})"
