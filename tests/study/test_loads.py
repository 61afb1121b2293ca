"""Every visit gets the load of its own day since labelling, or a sentence why it has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ferrosight.io import Session, VisitFiles, read_sessions
from ferrosight.physics.labels import get_label
from ferrosight.study.loads import choose_load, day_since_labelling, without_load
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import Calibration, IronPerCell, Label, Table, UptakeCourse
from ferrosight.types.uptake import UPTAKE

VALUES = {"day": [0.0, 14.0], "iron_per_cell_pg": [16.0, 4.0], "batch_rel_sd": [0.2, 0.3], "cell_cv": [0.5, 1.0]}
COURSE = UptakeCourse(Table(UPTAKE, {name: np.array(v) for name, v in VALUES.items()}), "a course")
NAN = math.nan


def visit(session: str) -> VisitFiles:
    return VisitFiles(Path(), "01", session, "", "", "MEGRE", ())


@pytest.mark.parametrize(
    ("lines", "day"),
    [
        ((Session("d07", 9.0, label_day=2.0),), 7.0),
        ((Session("d00", 2.0, label_day=2.0), Session("d07", 9.0)), 7.0),
        ((Session("d00", 0.0, label_day=0.0), Session("d05", 5.0, label_day=5.0), Session("d07", 9.0)), 4.0),
        ((Session("d07", 9.0), Session("d20", 20.0, label_day=20.0)), NAN),
        ((Session("d07", 9.0),), NAN),
        ((Session("d07", NAN, label_day=2.0),), NAN),
        ((Session("d14", 9.0, label_day=2.0),), NAN),
        ((), NAN),
    ],
)
def test_the_day_since_labelling_is_the_visits_own_or_the_last_before_it(lines, day):
    assert day_since_labelling(visit("d07"), lines) == pytest.approx(day, nan_ok=True)


def test_a_course_gives_the_load_of_the_day_and_without_one_the_given_stays():
    lines = (Session("d07", 7.0, label_day=0.0),)
    found = choose_load(visit("d07"), lines, None, COURSE).iron_per_cell
    assert found is not None
    assert (found.mean_pg, found.cell_cv) == (pytest.approx(8.0), pytest.approx(0.75))
    given = IronPerCell(10.0, 1.0, "given")
    assert choose_load(visit("d07"), lines, given, None).iron_per_cell is given


def test_a_day_that_is_unknown_or_outside_gives_no_load_and_says_why():
    unknown = choose_load(visit("d07"), (), None, COURSE)
    assert unknown.iron_per_cell is None
    assert "sub-01_sessions.tsv" in unknown.note
    late = choose_load(visit("d30"), (Session("d30", 30.0, label_day=0.0),), None, COURSE)
    assert late.iron_per_cell is None
    assert "day 30" in late.note


def test_a_calibration_is_carried_to_the_visits_day_or_says_that_it_is_not():
    phantom = Calibration(2e-15, 0.2, 0.05, 0.5, 7.0, 12, 3, "a phantom")
    lines = (Session("d07", 7.0, label_day=0.0),)
    carried = choose_load(visit("d07"), lines, None, COURSE, phantom)
    assert carried.iron_per_cell is None
    assert carried.calibration is not None
    assert carried.calibration.moment_per_cell_am2 == pytest.approx(1e-15)
    unknown = choose_load(visit("d07"), (), None, COURSE, phantom)
    assert unknown.calibration is None
    assert "label_day" in unknown.note
    alone = choose_load(visit("d07"), lines, None, None, phantom).calibration
    assert alone is not None
    assert alone.moment_per_cell_am2 == 2e-15
    assert "used on day 7 as it is: give --uptake" in alone.source
    assert choose_load(visit("d07"), (), None, None, phantom).calibration == phantom


def test_a_label_loses_its_own_load_so_that_it_does_not_stand_in():
    label = Label("ours", "ours", 90.0, 0.1, "assumption", None, "", 10.0, 1.0, "assay")
    assert without_load(label).load is None
    assert without_load(label).ms_am2_per_kg_fe == 90.0


def test_every_visit_of_a_study_is_counted_with_the_load_of_its_day(stages, followed_dir, tmp_path):
    table = followed_dir / "sub-01" / "sub-01_sessions.tsv"
    lines = ["session_id\tday\tlabel_day\tbaseline", "ses-pre\t-1\tn/a\ttrue", "ses-d07\t7\t0\tfalse"]
    table.write_text("\n".join([*lines, "ses-d14\t20\tn/a\tfalse"]) + "\n", encoding="utf-8")
    assert [line.label_day for line in read_sessions(followed_dir, "01")][1] == 0.0
    options = StudyOptions(label=get_label("ferumoxides"), uptake=COURSE)
    planned = plan_study(followed_dir, tmp_path / "out", options)
    loads = {one.files.session: one.load for one in planned}
    assert loads["d07"].iron_per_cell is not None
    assert loads["d07"].iron_per_cell.mean_pg == pytest.approx(8.0)
    assert "day 20" in loads["d14"].note
    assert run_study(planned, tmp_path / "out", options).exit_code == 0

    def cells_of(session: str) -> list[str]:
        path = next((tmp_path / "out").rglob(f"*ses-{session}*_clusters.tsv"))
        head, *rows = path.read_text(encoding="utf-8").splitlines()
        return [row.split("\t")[head.split("\t").index("n_cells")] for row in rows]

    assert float(cells_of("d07")[0]) == pytest.approx(9.36e-14 / 93.6 * 1e15 / 8.0)
    assert set(cells_of("d14")) == {"n/a"}
    assert stages.provenance["iron_per_cell"] is None  # of the last visit, which has none

    phantom = Calibration(2e-15, 0.2, 0.05, 0.5, 7.0, 12, 3, "a phantom")
    options = StudyOptions(label=get_label("ferumoxides"), uptake=COURSE, calibration=phantom)
    planned = plan_study(followed_dir, tmp_path / "out", options)
    assert run_study(planned, tmp_path / "out", options).exit_code == 0
    assert float(cells_of("d07")[0]) == pytest.approx(9.36e-14 / 1e-15)
    assert set(cells_of("d14")) == {"n/a"}
