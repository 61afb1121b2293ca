"""``ferrosight demo``: the whole pipeline on a study whose truth is known."""

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
    from ferrosight.study.demo import ComparedSubject

_DEFAULT_FOLDER = Path("ferrosight-demo")


def demo(
    out: Annotated[
        Path | None,
        typer.Option(help="A new or empty folder; ferrosight-demo, or with a number behind it, by default."),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the report in a browser.")] = False,
) -> None:
    """Simulate a study of three subjects, analyse it, and open the report.

    What was found is compared with what was put in.
    """
    from ferrosight.cli.show import describe_subject
    from ferrosight.study.demo import run_demo

    folder = out or _new_folder(_DEFAULT_FOLDER)
    with show_progress() as on_progress:
        outcome = run_demo(folder, on_progress=on_progress)
    followed = {one.subject: one for one in outcome.study.subjects}
    for subject in outcome.subjects:
        _show_subject(subject)
        if subject.name in followed:
            print(describe_subject(followed[subject.name]), end="\n\n")
    _show_total(outcome.subjects)
    print(
        f"The scans are in {folder / 'bids'}, their truth in {folder / 'truth'}, results in {folder / 'derivatives'}."
    )
    if not no_open and outcome.report is not None:
        open_page(outcome.report)


def _new_folder(folder: Path) -> Path:
    """``folder``, or the first of folder-2, folder-3, … that does not exist: nothing is written over."""
    number = 1
    candidate = folder
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _show_subject(subject: ComparedSubject) -> None:
    """A line per visit: the iron that was put in and what was found of it, beside what is there but was not found."""
    print(f"{subject.name}: {subject.about}")
    rows = []
    for visit in subject.visits:
        matches, found = visit.comparison.matches, visit.comparison.found
        rows.append(
            [
                f"{visit.day:g}",
                f"{sum(match.true_iron_pg for match in matches):.0f}",
                f"{sum(match.iron_pg for match in found):.0f}",
                f"{len(found)} of {len(matches)}",
                f"{sum(match.covers_iron for match in found)} of {len(found)}",
                f"{visit.comparison.n_false}",
            ]
        )
    print_table(["day", "iron put in, pg", "found, pg", "clusters found", "intervals that hold", "false"], rows)
    print()


def _show_total(subjects: tuple[ComparedSubject, ...]) -> None:
    every = [visit.comparison for subject in subjects for visit in subject.visits]
    found = [match for comparison in every for match in comparison.found]
    print(
        f"Of {sum(len(comparison.matches) for comparison in every)} labelled clusters in {len(every)} scans "
        f"{len(found)} were found; the 95 % interval of iron holds the truth in {sum(m.covers_iron for m in found)} "
        f"of them. {sum(comparison.n_false for comparison in every)} were accepted where nothing labelled is."
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
