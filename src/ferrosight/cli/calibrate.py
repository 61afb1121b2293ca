"""``ferrosight calibrate``: moment per cell from a phantom of counted cells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferrosight.cli.output import print_json, print_table
from ferrosight.cli.progress import show_progress
from ferrosight.cli.run import SignChoice
from ferrosight.errors import InputError

if TYPE_CHECKING:
    from ferrosight.study.calibration import PhantomResult


def calibrate(
    bids_dir: Annotated[Path, typer.Argument(help="A BIDS folder with the phantom's scans; it is never written to.")],
    spots: Annotated[Path, typer.Argument(help="A TSV of the spots: where they are, and how many cells each holds.")],
    out: Annotated[Path, typer.Argument(help="Where the calibration is written.", metavar="OUT.toml")],
    position_sd_mm: Annotated[float, typer.Option(help="How well the positions are known along each axis, mm.")] = 0.1,
    cell_cv: Annotated[float, typer.Option(help="Relative spread of iron between single cells.")] = 0.5,
    day: Annotated[float, typer.Option(help="Days from labelling to when the phantom's cells were fixed.")] = 0.0,
    phase_sign: Annotated[
        SignChoice, typer.Option(help="Whether phase grows or falls where the field is stronger.")
    ] = SignChoice.AUTO,
    plot: Annotated[Path | None, typer.Option(help="Draw moment against cells; .svg, .pdf or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure moment per cell in a phantom, for `run --calibration`.

    Known numbers of labelled cells, scanned with the study's protocol, take the label's magnetisation and the iron per
    cell out of every count.
    """
    from ferrosight.io.calibration_file import write_calibration
    from ferrosight.report.svg import check_figure_path
    from ferrosight.study.calibration import calibrate_phantom
    from ferrosight.types import PhaseSign

    if out.suffix.lower() != ".toml":
        raise InputError(f"the output must be a .toml file, but {out} was asked for.")
    if plot is not None:
        check_figure_path(plot)
    with show_progress() as on_progress:
        result = calibrate_phantom(
            bids_dir,
            spots,
            position_sd_mm=position_sd_mm,
            cell_cv=cell_cv,
            day=day,
            phase_sign=None if phase_sign is SignChoice.AUTO else PhaseSign[phase_sign.name],
            on_progress=on_progress,
        )
    write_calibration(result.calibration, out)
    if plot is not None:
        from ferrosight.report.uptake_chart import write_calibration_chart

        write_calibration_chart(plot, result.calibration, result.spots)
    _show(result, as_json=as_json)
    for path in (out, plot):
        if path is not None:
            print(f"written: {path}", file=sys.stderr)


def _show(result: PhantomResult, *, as_json: bool) -> None:
    found = result.calibration
    if as_json:
        print_json({**vars(found), "notes": list(found.notes), "left_out": list(result.left_out)})
        return
    print_table(
        ["", "value", "unit"],
        [
            ["moment per cell", f"{found.moment_per_cell_am2:.4g}", "A m²"],
            ["known to", f"{found.mean_rel_sd:.1%}", "1 SD"],
            ["another batch", f"{found.rel_sd:.1%}", "1 SD"],
            ["spots", f"{found.n_spots}", ""],
            ["batches", f"{found.n_batches or 'not named'}", ""],
            ["field strength", f"{found.b0_t:g}", "T"],
            ["after labelling", f"{found.day:g}", "d"],
        ],
    )
    for said in (*result.left_out, *found.notes):
        print(f"- {said}")
