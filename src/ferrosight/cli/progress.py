"""Progress on standard error: a bar on a terminal, else a line per step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferrosight.types import Progress


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A callback for ``on_progress`` while the block runs."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _lines()


def _lines() -> Progress:
    last = ""

    def report(what: str, done: int, total: int) -> None:  # noqa: ARG001  (the shape of a progress callback)
        nonlocal last
        if what != last:
            print(what, file=sys.stderr, flush=True)
            last = what

    return report


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, object] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for old in tasks:
                    bars.update(tasks[old], visible=False)  # type: ignore[arg-type]
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total, visible=True)  # type: ignore[arg-type]

        yield report
