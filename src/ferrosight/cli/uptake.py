"""``ferrosight uptake``: iron per cell, and its course."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferrosight.cli.output import print_json, print_table
from ferrosight.cli.progress import show_progress
from ferrosight.cli.uptake_kinetics import fit, predict

if TYPE_CHECKING:
    from ferrosight.study.micrographs import MicrographsOutcome
    from ferrosight.types.micrograph import MicrographMeasurement

uptake = typer.Typer(name="uptake", help="Iron per cell, and its course.", no_args_is_help=True, rich_markup_mode=None)


@uptake.command()
def micrographs(
    images: Annotated[
        list[Path], typer.Argument(help="Micrographs (TIFF, MRC, DM3, DM4, JPEG, PNG), or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables, overlays and masks.", metavar="DIR")],
    scale_nm_per_pixel: Annotated[
        float | None,
        typer.Option(help="Edge of a pixel, nm. By default from the metadata, or from the burnt-in scale bar."),
    ] = None,
    particle_nm: Annotated[
        float | None,
        typer.Option(help="Diameter of a particle as it appears, nm. By default from those that stand apart."),
    ] = None,
    section_nm: Annotated[
        float | None, typer.Option(help="Thickness of the section, nm; numbers in whole bodies need it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure particles in electron micrographs of cells.

    Outlines of lysosomes (or cells) and of the area that particles cover, numbers, sizes and clusters, each with an
    error; an overlay per image shows what was found and how the scale was read. To correct, save NAME_bodies.png or
    NAME_particles.png of the folder, changed, as NAME_bodies_edited.png or NAME_particles_edited.png, and run again.
    Exit code 0: all measured; 1: some failed; 2: bad input, or none could be measured.
    """
    from ferrosight.study.micrographs import list_micrographs, measure_micrographs
    from ferrosight.types.micrograph import MicrographOptions

    def show(name: str, measurement: MicrographMeasurement | None, error: str) -> None:  # noqa: ARG001
        if measurement is None:
            print(f"error: {error}", file=sys.stderr)

    options = MicrographOptions(scale_nm_per_pixel, particle_nm, section_nm)
    with show_progress() as on_progress:
        outcome = measure_micrographs(list_micrographs(images), out, options, on_progress=on_progress, on_image=show)
    if as_json:
        print_json(outcome.as_plain())
    elif outcome.n_measured:
        _show(outcome, len(outcome.failed), out)
    raise typer.Exit(outcome.exit_code)


uptake.command()(fit)
uptake.command()(predict)


def _show(outcome: MicrographsOutcome, n_failed: int, out: Path) -> None:
    table = outcome.bodies
    rows = []
    for number in range(len(table)):
        row = {name: table[name][number] for name in table.schema.names}
        rows.append(
            [
                str(row["image"]),
                str(row["body_id"]) or "n/a",
                f"{row['pixel_nm']:.4g} ({row['scale_label'] or row['scale_source']})",
                _with_error(row["body_area_nm2"] * 1e-6, row["body_area_nm2_err"] * 1e-6),
                _with_error(row["particle_area_nm2"] * 1e-6, row["particle_area_nm2_err"] * 1e-6),
                _interval(row["n_particles"], row["n_particles_low"], row["n_particles_high"]),
                str(row["remarks"]),
            ]
        )
    print_table(
        ["image", "body", "nm per pixel", "body, µm²", "particles, µm²", "particles in section", "remarks"], rows
    )
    done = outcome.n_measured
    print(f"{done} of {done + n_failed} micrographs measured; results are in {out}. Check the overlays, and the scale.")


def _with_error(value: float, error: float) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{value:.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")


def _interval(value: float, low: float, high: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.0f} ({low:.0f} to {high:.0f})"
