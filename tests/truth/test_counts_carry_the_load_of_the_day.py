"""Scans on days 0, 7 and 14 of cells that divide: counts hold the truth with the predicted load, not with day 0's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferrosight.cells.load import trace_load, uptake_rate
from ferrosight.io import write_scan
from ferrosight.physics.labels import get_label
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import IronPerCell, Scan, Table, UptakeCourse
from ferrosight.types.uptake import ASSAYS, Fate, Labelling
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import load_on_day, predict_course

DAYS = (0, 7, 14)
SHAPE = (44, 40, 36)
PLACES_MM = np.array([(-1.1, -0.9, -0.9), (1.1, -0.85, 0.9), (-1.0, 0.95, 0.95), (1.05, 0.9, -0.9)])
FULL_PG_PER_H, HALF_DOSE, DOUBLING_H, EXOCYTOSIS_PER_H, ONSET_H = 0.2, 40.0, 110.0, 0.002, 48.0
BETWEEN, WITHIN, CELL_CV = 0.17, 0.1, 0.5


def true_load(dose: float, exposure_h: float, chase_h: float) -> float:
    rate = uptake_rate(FULL_PG_PER_H, dose, HALF_DOSE)
    return float(trace_load(rate, np.log(2) / DOUBLING_H, EXOCYTOSIS_PER_H, exposure_h, chase_h, ONSET_H))


def predict_from_assays(rng: np.random.Generator) -> UptakeCourse:
    """What a laboratory that assayed six other batches would predict."""
    blank = {column.name: np.nan for column in ASSAYS.columns if column.dtype == "number"}
    rows = []
    for batch in range(6):
        level = np.exp(rng.normal(0, BETWEEN))
        for dose, exposure, chase in ((20, 24, 0), (50, 24, 0), (150, 24, 0), (50, 24, 48), (50, 24, 144)):
            value = true_load(dose, exposure, chase) * level * np.exp(rng.normal(0, WITHIN))
            measured = {"dose_ug_per_ml": dose, "exposure_h": exposure, "chase_h": chase, "iron_per_cell_pg": value}
            rows.append({**blank, "cell_type": "c", "particle": "p", "batch": f"b{batch}", "assay": "icp", **measured})
    rows += [{**blank, "cell_type": "c", "doubling_time_h": DOUBLING_H * np.exp(rng.normal(0, 0.05))} for _ in range(4)]
    (experiment,) = sort_experiments(Table.from_rows(ASSAYS, rows))
    return predict_course(fit_kinetics(experiment), Labelling(50.0, 24.0), Fate(cell_cv=CELL_CV), DAYS)


def scan_on_day(day: int, level: float, per_kg: float, rng: np.random.Generator) -> tuple[Scan, list[int]]:
    """Four clusters of cells, each cell with a load of its own."""
    load, sources, numbers = true_load(50.0, 24.0, 24.0 * day) * level, [], []
    spread = np.sqrt(np.log1p(CELL_CV**2))
    for place in PLACES_MM:
        n_cells = int(np.exp(rng.uniform(*np.log([8.0 / load, 60.0 / load]))))
        iron_pg = float((load * np.exp(rng.normal(-(spread**2) / 2, spread, n_cells))).sum())
        sources.append(Point(tuple(place + rng.uniform(-0.05, 0.05, 3)), iron_pg * 1e-15 * per_kg))
        numbers.append(n_cells)
    spec = ScanSpec(
        shape=SHAPE,
        affine=build_affine(SHAPE, (0.1, 0.1, 0.11), (8.0, -15.0, 5.0)),
        echo_times_s=(0.004, 0.008, 0.012),
        b0_t=7.0,
        sources=tuple(sources),
        snr=40.0,
        r2star_per_s=30.0,
        point_spread="kspace",
        sub_sampling=8,
    )
    scan = simulate_scan(spec, int(rng.integers(2**31)))[0]
    fields = ("signal", "echo_times_s", "b0_t", "affine", "b0_direction", "phase_sign")
    return Scan(**{name: getattr(scan, name) for name in fields}, subject="01", session=f"d{day:02}"), numbers


def count(folder: Path, out: Path, options: StudyOptions) -> dict[int, np.ndarray]:
    """Rows of (x, y, z, n_cells, low, high) of accepted clusters by day."""
    assert run_study(plan_study(folder, out, options), out, options).exit_code == 0
    found = {}
    for day in DAYS:
        head, *rows = next(out.rglob(f"*ses-d{day:02}_clusters.tsv")).read_text(encoding="utf-8").splitlines()
        names = head.split("\t")
        lines = [dict(zip(names, row.split("\t"), strict=True)) for row in rows]
        wanted = ("x_mm", "y_mm", "z_mm", "n_cells", "n_cells_low", "n_cells_high")
        kept = [[float(line[name]) for name in wanted] for line in lines if line["status"] == "accepted"]
        found[day] = np.array(kept).reshape(-1, len(wanted))
    return found


@pytest.mark.slow
def test_counts_of_scans_hold_the_truth_with_the_predicted_load_and_are_low_without(tmp_path):
    rng, label = np.random.default_rng(20), get_label("ferumoxides")
    course, level = predict_from_assays(rng), np.exp(rng.normal(0, BETWEEN))
    truth, lines = {}, ["session_id\tday\tlabel_day"]
    per_kg = label.ms_am2_per_kg_fe
    for day in DAYS:
        scan, truth[day] = scan_on_day(day, level, per_kg, rng)
        write_scan(scan, tmp_path / "study")
        lines.append(f"ses-d{day:02}\t{day}\t0")
    table = tmp_path / "study" / "sub-01" / "sub-01_sessions.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")

    first: IronPerCell = load_on_day(course, 0)
    carried = count(tmp_path / "study", tmp_path / "carried", StudyOptions(label=label, uptake=course))
    held, ignored = [], {}
    for day in DAYS:
        for place, n_cells in zip(PLACES_MM, truth[day], strict=True):
            near = np.linalg.norm(carried[day][:, :3] - place, axis=1) < 0.25
            assert near.sum() == 1, (day, place)
            number, low, high = carried[day][near][0, 3:]
            held.append(low <= n_cells <= high)
            ignored.setdefault(day, []).append(number * load_on_day(course, day).mean_pg / first.mean_pg / n_cells)
    # All share one batch and one day's load: they hold or fail together more than 12 coins would.
    assert sum(held) >= 10, held
    assert np.median(ignored[7]) < 0.5
    assert np.median(ignored[14]) < 0.2
