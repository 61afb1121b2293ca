"""``ferrosight uptake``: iron per cell, and its course."""

from __future__ import annotations

import typer

from ferrosight.cli.uptake_kinetics import fit, predict

uptake = typer.Typer(name="uptake", help="Iron per cell, and its course.", no_args_is_help=True, rich_markup_mode=None)
uptake.command()(fit)
uptake.command()(predict)
