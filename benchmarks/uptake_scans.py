"""Do cells counted in simulated *scans* cover the truth, with the load that was predicted for their day?

    uv run python benchmarks/uptake_scans.py [--seed N] [--n 6]

A culture is grown cell by cell as in ``uptake.py``; each laboratory assays six batches and predicts. Clusters of a
further batch lie in a scan on days 0, 7 and 14, each of cells from the culture of that day; the whole analysis finds,
fits and counts them. How many are found is said; those that are not are in no coverage.
"""

from __future__ import annotations

import argparse
import secrets
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.study.visit import analyse_visit
from ferrosight.types.uptake import Division, Fate, Labelling
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import load_on_day, predict_course
from uptake import CULTURES, DAYS, DESIGNS, DOSE, EXPOSURE_H, LABEL, PG_PER_KG, draw_assays, draw_level, grow, percent

CULTURE, DESIGN, N_BATCHES, BATCH_REL_SD = CULTURES[0], DESIGNS["full"], 6, 0.17
PLACES_MM = np.array([(-1.1, -0.9, -0.9), (1.1, -0.85, 0.9), (-1.0, 0.95, 0.95), (1.05, 0.9, -0.9)])
SHAPE = (44, 40, 36)
#: Iron of a cluster, pg: clear of the noise, and small against a voxel.
IRON_PG = (8.0, 60.0)
NEAR_MM = 0.25


def main() -> None:
    """Simulate, analyse, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=6, help="laboratories, of three scans each")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.n} laboratories")
    start, rng = time.perf_counter(), np.random.default_rng(options.seed)
    with limit_cpus(1):
        grown = {at: grow(CULTURE, *at, rng) for at in DESIGN}
        pools = {day: grow(CULTURE, DOSE, EXPOSURE_H, 24 * day, rng) for day in DAYS}
        found = [one for _ in range(options.n) for one in run_laboratory(grown, pools, rng)]
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    rows = [summarise(found, day) for day in DAYS]
    print_table({row["what"]: row["measured"] for row in rows})
    seen = [one for one in found if one["found"]]
    what = f"uptake, through simulated scans: 95 % intervals of cells that hold, of {len(seen)} clusters found"
    held, ignored = (percent([one[which] for one in seen]) for which in ("held", "held_ignored"))
    measured = {what: f"{held} with the load of the day, {ignored} with that of day 0"}
    command = f"uv run python benchmarks/uptake_scans.py --seed {options.seed} --n {options.n}"
    write_results("uptake_scans", command, measured, {"seed": options.seed, "clusters": found}, rows)


def run_laboratory(
    grown: dict[tuple[float, float, float], NDArray[np.float64]],
    pools: dict[float, NDArray[np.float64]],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Assay, fit, predict; scan a further batch on three days, and count it."""
    assays = draw_assays(CULTURE, DESIGN, grown, N_BATCHES, BATCH_REL_SD, rng)
    fresh = pools[0.0]
    division = Division(float(fresh.mean() / CULTURE.vesicle_pg), CULTURE.share)
    fate = Fate(cell_cv=float(fresh.std() / fresh.mean()), division=division)
    course = predict_course(fit_kinetics(sort_experiments(assays)[0]), Labelling(DOSE, EXPOSURE_H), fate, DAYS)
    level = draw_level(BATCH_REL_SD, rng)
    found = []
    for day, pool in pools.items():
        sources, numbers = draw_clusters(pool, level, rng)
        spec = ScanSpec(
            shape=SHAPE, affine=build_affine(SHAPE, (0.1, 0.1, 0.11)), echo_times_s=(0.004, 0.008, 0.012), b0_t=7.0,
            sources=sources, snr=40.0, r2star_per_s=30.0, point_spread="kspace", sub_sampling=8,
        )  # fmt: skip
        scan = simulate_scan(spec, int(rng.integers(2**31)))[0]
        counted = [
            analyse_visit(scan, LABEL, iron_per_cell=load_on_day(course, on)).catalogue.clusters for on in (day, 0.0)
        ]
        found += [judge(day, *one, *counted) for one in zip(sources, numbers, strict=True)]
    return found


def draw_clusters(
    pool: NDArray[np.float64], level: float, rng: np.random.Generator
) -> tuple[tuple[Point, ...], list[int]]:
    """Clusters of cells of the culture, at places a little off the middle of a voxel, and their numbers of cells."""
    magnetised = LABEL.ms_am2_per_kg_fe * draw_level(LABEL.ms_rel_sd, rng)
    sources, numbers = [], []
    for place in PLACES_MM:
        n_cells = max(1, round(float(np.exp(rng.uniform(*np.log(IRON_PG)))) / float(pool.mean())))
        iron_pg = float(rng.choice(pool, n_cells).sum()) * level
        at = place + rng.uniform(-0.05, 0.05, 3)
        sources.append(Point((float(at[0]), float(at[1]), float(at[2])), iron_pg / PG_PER_KG * magnetised))
        numbers.append(n_cells)
    return tuple(sources), numbers


def judge(day: float, source: Point, n_cells: int, carried: Any, ignored: Any) -> dict[str, Any]:
    """Whether a cluster was found, and whether its intervals hold with the day's load and with that of day 0."""
    row: dict[str, Any] = {"day": day, "n_cells": n_cells, "found": False}
    places = np.stack([carried[axis] for axis in ("x_mm", "y_mm", "z_mm")], axis=-1)
    away = np.linalg.norm(places - np.array(source.position_mm), axis=1)
    near = np.flatnonzero((away < NEAR_MM) & (carried["status"] == "accepted"))
    if not len(near):
        return row
    at = near[away[near].argmin()]
    held, held_ignored = (
        bool(table["n_cells_low"][at] <= n_cells <= table["n_cells_high"][at]) for table in (carried, ignored)
    )
    ratios = {
        "ratio": float(carried["n_cells"][at]) / n_cells,
        "ratio_ignored": float(ignored["n_cells"][at]) / n_cells,
    }
    return {**row, "found": True, "held": held, "held_ignored": held_ignored, **ratios}


def summarise(found: list[dict[str, Any]], day: float) -> dict[str, str]:
    """How often counts of a day held, and how far off they were."""
    of_day = [one for one in found if one["day"] == day]
    seen = [one for one in of_day if one["found"]]
    if not seen:
        return {"what": f"scans on day {day:g}", "measured": f"found 0 of {len(of_day)}"}
    parts = [f"found {len(seen)} of {len(of_day)}"]
    for said, held, ratio in (("load of the day", "held", "ratio"), ("load of day 0", "held_ignored", "ratio_ignored")):
        middle = float(np.median([one[ratio] for one in seen]))
        parts.append(f"{said}: {percent([one[held] for one in seen])} hold, median count {middle:.2f} of the truth")
    return {"what": f"scans on day {day:g}", "measured": "; ".join(parts)}


if __name__ == "__main__":
    main()
