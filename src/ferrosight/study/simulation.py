"""A simulated study: scans as a BIDS data set, and beside them what they really hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np

from ferrosight.errors import InputError
from ferrosight.io import Participant, Session, write_scan, write_study, write_truth
from ferrosight.simulate import PRESET_LABEL_ID, CourseName, Preset, draw_posture, simulate_moved_scan
from ferrosight.types import Progress

#: Days between visits; the first is on the day of (first) labelling, a baseline as long before it.
VISIT_INTERVAL_DAYS: Final = 7


def simulate_study(
    preset: Preset,
    out_dir: Path,
    *,
    seed: int = 0,
    n_subjects: int = 1,
    n_visits: int = 1,
    has_baseline: bool = False,
    course: CourseName = "mixed",
    shape: tuple[int, int, int] | None = None,
    on_progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write ``n_subjects`` of ``n_visits`` each into ``out_dir``, and truth/sub-X[_ses-Y]_truth.tsv; returns visits.

    Every subject is drawn from ``seed`` and its own number, so that more subjects or visits leave the others as
    they were. Visits are a week apart, from day 0; with one visit there are no sessions. At every visit but that of
    day 0 the subject lies a little differently, and the truth has its pose. ``course`` says what becomes of labelled
    clusters (``simulate.courses.draw_course``): label is given on day 0, or before every visit where they grow.
    ``has_baseline`` adds a visit a week before day 0, without label. ``shape`` cuts the field of view, as in
    ``Preset.build_spec``.

    Raises
    ------
    InputError
        Where ``out_dir`` holds anything already, or there is nobody to be simulated.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise InputError(f"simulate needs a new or empty folder, but {out_dir} is not; name another.")
    if n_subjects < 1 or n_visits < 1:
        raise InputError(f"a study needs a subject and a visit at least, but has {n_subjects} and {n_visits}.")
    if course != "mixed" and not preset.content.cells:
        raise InputError(f"{preset.name} holds no cells that could live or die; leave --course {course} out.")
    is_targeted = course == "growing"
    subjects = [f"{index + 1:0{max(2, len(str(n_subjects)))}d}" for index in range(n_subjects)]
    # a baseline is visit -1: the others are what they are without it
    visits = range(-1 if has_baseline else 0, n_visits)
    width = max(2, len(str((n_visits - 1) * VISIT_INTERVAL_DAYS)))
    sessions = [_describe_visit(visit, width, is_targeted) for visit in visits] if len(visits) > 1 else []
    kind = ("targeted" if is_targeted else "prelabelled") if preset.content.cells else ""
    group = course if preset.content.cells else ""
    write_study(
        out_dir,
        f"Simulated: {preset.name}",
        [Participant(subject, preset.species, group, kind, PRESET_LABEL_ID) for subject in subjects],
        sessions,
        readme=f"{preset.description}. Simulated by Ferrosight, preset {preset.name}, seed {seed}. "
        "What every scan holds is in truth/.\n",
    )
    names = []
    for index, subject in enumerate(subjects):
        own_seed = int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
        for place, visit in enumerate(visits):
            session = sessions[place].session if sessions else ""
            names.append(f"sub-{subject}" + (f"_ses-{session}" if session else ""))
            if on_progress is not None:
                on_progress(f"simulating {preset.name}", len(names) - 1, n_subjects * len(visits))
            spec = preset.build_spec(own_seed, float(visit * VISIT_INTERVAL_DAYS), shape, course)
            posture = draw_posture(spec.grid.voxel_mm, own_seed, visit)
            scan, truth = simulate_moved_scan(spec, own_seed, posture, visit=visit)
            scan = dataclasses.replace(scan, subject=subject, session=session)
            write_truth(truth, out_dir, subject, session)
            write_scan(scan, out_dir, description=f"Simulated: {preset.name}")
    if on_progress is not None:
        on_progress(f"simulating {preset.name}", len(names), len(names))
    return tuple(names)


def _describe_visit(visit: int, width: int, is_targeted: bool) -> Session:
    """A visit as sessions.tsv tells of it, labelled on its own day where label is given before every one.

    Days in names have ``width`` digits.
    """
    day = visit * VISIT_INTERVAL_DAYS
    if day < 0:
        return Session("baseline", float(day), baseline=True, label_day=0.0)
    return Session(f"d{day:0{width}d}", float(day), label_day=float(day) if is_targeted else 0.0)
