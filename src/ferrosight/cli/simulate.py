"""``ferrosight simulate``: a study whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ferrosight.cli.progress import show_progress


def simulate(
    preset: Annotated[
        str,
        typer.Argument(
            help="gel-11t, mouse-brain-9t, rat-hindlimb-7t, human-brain-3t, human-brain-7t or mouse-liver-7t."
        ),
    ],
    out_dir: Annotated[Path, typer.Argument(help="A new or empty folder for the BIDS data set and its truth.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same study.", min=0)] = 0,
    subjects: Annotated[int, typer.Option(help="How many subjects.", min=1)] = 1,
    visits: Annotated[int, typer.Option(help="Visits of each subject, a week apart.", min=1)] = 1,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="One more visit, a week before the label is given.")
    ] = False,
    course: Annotated[
        Literal["mixed", "constant", "fading", "growing"],
        typer.Option(
            help="What becomes of clusters: some stay and some fade, all stay, all fade, or, label being given before "
            "every visit, some grow and some appear."
        ),
    ] = "mixed",
) -> None:
    """Simulate a study as a BIDS data set.

    What every scan really holds is written to truth/. Bodies keep their names there from visit to visit, while the
    subject lies differently each time.
    """
    from ferrosight.simulate import PRESET_LABEL_ID, get_preset
    from ferrosight.study.simulation import simulate_study

    chosen = get_preset(preset)
    with show_progress() as on_progress:
        names = simulate_study(
            chosen,
            out_dir,
            seed=seed,
            n_subjects=subjects,
            n_visits=visits,
            has_baseline=baseline,
            course=course,
            on_progress=on_progress,
        )
    print(
        f"{len(names)} {'scan is' if len(names) == 1 else 'scans are'} in {out_dir}, "
        f"the truth in {out_dir / 'truth'}; the label is {PRESET_LABEL_ID}."
    )
