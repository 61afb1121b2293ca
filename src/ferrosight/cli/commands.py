"""The commands, their options, and how errors leave the program."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ferrosight import __version__
from ferrosight.cli.calibrate import calibrate
from ferrosight.cli.demo import demo
from ferrosight.cli.doctor import doctor
from ferrosight.cli.evaluate import evaluate
from ferrosight.cli.labels import labels
from ferrosight.cli.limit import limit
from ferrosight.cli.plan import plan
from ferrosight.cli.run import run
from ferrosight.cli.simulate import simulate
from ferrosight.cli.uptake import uptake
from ferrosight.errors import FerrosightError

BAD_INPUT = 2

app = typer.Typer(
    name="ferrosight",
    help="Find, measure and count iron-oxide-labelled cells in gradient-echo MRI. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ferrosight {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    # What it says of a damaged header becomes part of the one sentence; it would print it twice besides.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)


app.command()(demo)
app.command()(run)
app.command()(limit)
app.command()(plan)
app.command()(simulate)
app.command()(evaluate)
app.add_typer(uptake)
app.command()(calibrate)
app.command()(labels)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what is wrong with the input is said in one sentence, with exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without χ is no reason to fail
    try:
        app(args=None if arguments is None else list(arguments), prog_name="ferrosight")
    except FerrosightError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
