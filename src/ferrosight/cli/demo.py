"""``ferrosight demo``: the whole pipeline on a scan whose truth is known."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferrosight.cli.output import print_table
from ferrosight.cli.progress import show_progress

if TYPE_CHECKING:
    from ferrosight.study.demo import Comparison

_DEFAULT_FOLDER = Path("ferrosight-demo")


def demo(
    out: Annotated[
        Path | None,
        typer.Option(help="A new or empty folder; ferrosight-demo, or with a number behind it, by default."),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the report in a browser.")] = False,
) -> None:
    """Simulate a scan, analyse it, and open the report.

    What was found is compared with what was put in.
    """
    from ferrosight.cli.show import describe_visit
    from ferrosight.study.demo import run_demo

    folder = out or _new_folder(_DEFAULT_FOLDER)
    with show_progress() as on_progress:
        outcome = run_demo(folder, on_progress=on_progress)
    visit = outcome.study.visits[0]
    print(describe_visit(visit), end="\n\n")
    _show_comparison(outcome.comparison)
    print(f"\nThe scan is in {folder / 'bids'}, its truth in {folder / 'truth'}, results in {folder / 'derivatives'}.")
    if not no_open and visit.report is not None:
        open_page(visit.report)


def _new_folder(folder: Path) -> Path:
    """``folder``, or the first of folder-2, folder-3, … that does not exist: nothing is written over."""
    number = 1
    candidate = folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _show_comparison(comparison: Comparison) -> None:
    matches = sorted(comparison.matches, key=lambda match: match.true_iron_pg)
    print("What was put in, and what was found there (95 % intervals):")
    print_table(
        ["true iron pg", "found", "interval", "true cells", "found", "interval"],
        [
            [
                f"{match.true_iron_pg:.2f}",
                *([f"{match.iron_pg:.2f}", f"{match.iron_pg_low:.2f} to {match.iron_pg_high:.2f}"] if match.is_found
                  else ["missed", ""]),
                f"{match.true_n_cells:.0f}",
                *([f"{match.n_cells:.1f}", f"{match.n_cells_low:.1f} to {match.n_cells_high:.1f}"] if match.is_found
                  else ["missed", ""]),
            ]
            for match in matches
        ],
    )  # fmt: skip
    found = [match for match in matches if match.is_found]
    print(
        f"Found {comparison.n_found} of {len(matches)}, missed {len(matches) - comparison.n_found}, "
        f"false {comparison.n_false}; intervals hold the truth for iron in "
        f"{sum(match.covers_iron for match in found)}, for cells in {sum(match.covers_cells for match in found)} "
        f"of {len(found)}."
    )


def open_page(path: Path) -> None:
    """Show a page in a browser where there is a display; a browser that does not start is no error."""
    headless = sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if headless:
        # Without a display the only browsers left are those that would take over the terminal.
        print(f"There is no display; open {path} in a browser.")
        return
    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print(f"No browser could be started; open {path} in one.")
