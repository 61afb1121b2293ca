"""Do uptake's intervals hold, and do counts of cells that carry the predicted load?

    uv run python benchmarks/uptake.py [--seed N] [--n 150] [--full]

The truth is a culture of single cells, not the fitted equation: cells of different sizes take up vesicles one by one,
in proportion to their surface, pass a cell cycle of random stages, hand vesicles on at random when they divide, and
give them off one by one. Laboratories assay batches of it with scatter; a fit predicts the load of a further batch on
days 0, 7 and 14; clusters of its cells are drawn from the culture and weighed with the errors of a scan's fit.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from ferrosight.cells.dilution import divide_cells, keep_vesicles
from ferrosight.physics.labels import LABELS
from ferrosight.quantify import quantify_clusters
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import CLUSTERS, FITS, NULLS, Catalogue, IronPerCell, NullCalibration, PhaseSign, Table
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.uptake import ASSAYS, Division, Fate, Labelling, UptakeFit
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import load_on_day, predict_course

DESIGNS = {
    "full": ((10, 24, 0), (25, 24, 0), (50, 24, 0), (100, 24, 0), (200, 24, 0), (50, 6, 0), (50, 24, 24), (50, 24, 72),
             (50, 24, 144)),
    "short": ((20, 24, 0), (50, 24, 0), (150, 24, 0), (50, 24, 24), (50, 24, 96)),
}  # fmt: skip
DAYS = (0.0, 7.0, 14.0)
DOSE, EXPOSURE_H = 50.0, 24.0
LABEL = LABELS["ferumoxides"]
#: One standard deviation of a moment (A m²): that of 0.1 mm voxels at 7 T, SNR 30, and 3 % of it.
MOMENT_ERR_AM2, MOMENT_REL_ERR = 1.6e-14, 0.03
PG_PER_KG = 1e15
STEP_H = 0.5


@dataclasses.dataclass(frozen=True)
class Culture:
    """True cells: doubling time (h), diameter and its spread, vesicles per hour at full uptake, iron of a vesicle."""

    name: str
    doubling_h: float
    diameter_um: float
    vesicles_per_h: float
    vesicle_pg: float
    half_dose: float
    exocytosis_per_h: float
    share: float = 0.5
    stages: int = 11
    diameter_cv: float = 0.12
    onset_h: float = 48.0


CULTURES = (
    Culture("slow, large", 96.0, 20.0, 12.0, 0.08, 40.0, 0.002),
    Culture("fast, small", 40.0, 13.0, 5.0, 0.08, 40.0, 0.004, share=0.65),
)


def main() -> None:
    """Simulate, fit, predict, count, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=150, help="laboratories per culture and design")
    parser.add_argument("--full", action="store_true", help="1000 laboratories each")
    options = parser.parse_args()
    n = 1000 if options.full else options.n
    print(f"seed {options.seed}, {n} laboratories per culture and design")
    start, rows, cases = time.perf_counter(), [], []
    with limit_cpus(1):
        for number, culture in enumerate(CULTURES):
            rng = np.random.default_rng([options.seed, number])
            grown = {
                (dose, h, chase): grow(culture, dose, h, chase, rng)
                for design in DESIGNS.values()
                for dose, h, chase in design
            }
            pools = {day: grow(culture, DOSE, EXPOSURE_H, 24 * day, rng) for day in DAYS}
            for design, n_batches, batch_rel_sd in (("full", 5, 0.17), ("full", 3, 0.17), ("short", 6, 0.3)):
                what = f"{culture.name}; {design} design, {n_batches} batches that differ by {batch_rel_sd:.0%}"
                found = [
                    run_laboratory(culture, DESIGNS[design], grown, pools, n_batches, batch_rel_sd, rng)
                    for _ in range(n)
                ]
                rows += summarise(what, found)
                cases.append({"what": what, "laboratories": found})
                for row in rows[-2 - len(DAYS) :]:
                    print(f"{row['what']:<75} {row['measured']}", flush=True)
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    everything = {"seed": options.seed, "n": n, "rows": rows, "cases": cases}
    measured = overall(cases)
    for what, value in measured.items():
        print(f"{what:<75} {value}")
    write_results("uptake", "uv run python benchmarks/uptake.py", measured, everything, rows)


def grow(
    culture: Culture, dose: float, exposure_h: float, chase_h: float, rng: np.random.Generator, most: int = 12_000
) -> NDArray[np.float64]:
    """Iron of every living cell of a culture, pg; it is split like a flask when it holds more than ``most``."""
    rate = np.log(2) / culture.doubling_h / (2 ** (1 / culture.stages) - 1)
    weights = 2.0 ** (-np.arange(culture.stages) / culture.stages)
    stage = rng.choice(culture.stages, size=6000, p=weights / weights.sum())
    size = np.exp(rng.normal(0, culture.diameter_cv, len(stage)))
    size /= np.sqrt(np.mean(size**2))  # the mean surface is that of the mean cell
    vesicles = np.zeros(len(stage), np.int64)
    uptake = culture.vesicles_per_h * dose / (culture.half_dose + dose)
    for step in range(round((exposure_h + chase_h) / STEP_H)):
        now = (step + 0.5) * STEP_H
        if now < exposure_h:
            vesicles = vesicles + rng.poisson(uptake * size**2 * STEP_H)
        if now >= culture.onset_h:
            vesicles = keep_vesicles(vesicles, 1 - np.exp(-culture.exocytosis_per_h * STEP_H), rng)
        stage = stage + rng.poisson(rate * STEP_H, len(stage))
        divides = stage >= culture.stages
        halves = divide_cells(vesicles[divides], culture.share, rng)
        stage = np.concatenate([stage[~divides], np.tile(stage[divides] - culture.stages, 2)])
        size = np.concatenate([size[~divides], np.tile(size[divides], 2)])
        vesicles = np.concatenate([vesicles[~divides], halves])
        if len(vesicles) > most:
            kept = rng.choice(len(vesicles), most // 2, replace=False)
            stage, size, vesicles = stage[kept], size[kept], vesicles[kept]
    return vesicles * culture.vesicle_pg


def run_laboratory(
    culture: Culture,
    design: tuple[tuple[float, float, float], ...],
    grown: dict[tuple[float, float, float], NDArray[np.float64]],
    pools: dict[float, NDArray[np.float64]],
    n_batches: int,
    batch_rel_sd: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Assay, fit, predict, and count clusters of a further batch: which intervals held, and how far counts were off."""
    fit = fit_kinetics(sort_experiments(draw_assays(culture, design, grown, n_batches, batch_rel_sd, rng))[0])
    truth = true_quantities(culture, fit, grown)
    held = {q.name: bool(q.low <= truth[q.name] <= q.high) for q in fit.quantities if np.isfinite(q.value)}
    fresh = pools[0.0]
    vesicles = float(fresh.mean() / culture.vesicle_pg)
    fate = Fate(cell_cv=float(fresh.std() / fresh.mean()), division=Division(vesicles, culture.share))
    course = predict_course(fit, Labelling(DOSE, EXPOSURE_H), fate, DAYS)
    level = draw_level(batch_rel_sd, rng)
    counts = {}
    for day, pool in pools.items():
        n_cells = int(np.exp(rng.uniform(np.log(30), np.log(3000))))
        iron = float(rng.choice(pool, n_cells).sum()) * level
        moment = weigh(iron, rng)
        carried, ignored = (count(moment, load_on_day(course, on)) for on in (day, 0.0))
        counts[f"{day:g}"] = {"n_cells": n_cells, "carried": carried, "ignored": ignored}
    return {"held": held, "counts": counts}


def draw_assays(
    culture: Culture,
    design: tuple[tuple[float, float, float], ...],
    grown: dict[tuple[float, float, float], NDArray[np.float64]],
    n_batches: int,
    batch_rel_sd: float,
    rng: np.random.Generator,
) -> Table:
    """A table of assays: 2000 cells each, a level per batch, 10 % between assays; four diameters and doubling times."""
    rows: list[dict[str, Any]] = []
    blank = dict.fromkeys((column.name for column in ASSAYS.columns if column.dtype == "number"), np.nan)
    for batch in range(n_batches):
        level = draw_level(batch_rel_sd, rng)
        for dose, exposure, chase in design:
            mean = float(rng.choice(grown[(dose, exposure, chase)], 2000).mean())
            rows.append(
                {
                    **blank, "cell_type": culture.name, "particle": "A", "batch": f"b{batch}", "assay": "icp",
                    "dose_ug_per_ml": dose, "exposure_h": exposure, "chase_h": chase,
                    "iron_per_cell_pg": mean * level * draw_level(0.1, rng),
                }
            )  # fmt: skip
    for _ in range(4):
        for name, value, spread in (
            ("diameter_um", culture.diameter_um, 0.05),
            ("doubling_time_h", culture.doubling_h, 0.08),
        ):
            rows.append({**blank, "cell_type": culture.name, name: value * np.exp(rng.normal(0, spread))})
    return Table.from_rows(ASSAYS, rows)


def draw_level(rel_sd: float, rng: np.random.Generator) -> float:
    """A factor of median 1, log-normal."""
    return float(np.exp(rng.normal(0, np.sqrt(np.log1p(rel_sd**2)))))


def true_quantities(
    culture: Culture, fit: UptakeFit, grown: dict[tuple[float, float, float], NDArray[np.float64]]
) -> dict[str, float]:
    """What the culture was made with, and the load it came to."""
    full, dose = culture.vesicles_per_h * culture.vesicle_pg, fit.reference_dose_ug_per_ml
    uptake = full * dose / (culture.half_dose + dose)
    return {
        "load": float(grown[(dose, fit.longest_exposure_h, 0)].mean()),
        "uptake": uptake,
        "full_uptake": full,
        "half_dose": culture.half_dose,
        "doubling_time": culture.doubling_h,
        "exocytosis": 24 * culture.exocytosis_per_h,
        "diameter": culture.diameter_um,
        "uptake_per_surface": uptake / (np.pi * culture.diameter_um**2 / 1e3),
    }


def weigh(iron_pg: float, rng: np.random.Generator) -> tuple[float, float]:
    """A measured moment and its error, A m²: of a label whose magnetisation is as uncertain as is said of it."""
    spread = np.sqrt(np.log1p(LABEL.ms_rel_sd**2))
    true = iron_pg / PG_PER_KG * LABEL.ms_am2_per_kg_fe * np.exp(rng.normal(-(spread**2) / 2, spread))
    err = float(np.hypot(MOMENT_ERR_AM2, MOMENT_REL_ERR * true))
    return float(true + rng.normal(0, err)), err


def count(moment: tuple[float, float], load: IronPerCell) -> tuple[float, float, float]:
    """Number of cells and its interval, by the same code as a catalogue's; NaN where the moment is not positive."""
    table = Table(
        CLUSTERS,
        {"cluster_id": np.array(["a"]), "moment_am2": np.array([moment[0]]), "moment_am2_err": np.array([moment[1]])},
    )
    curve = np.array([4.0, 9.0]), np.array([1.0, 1e-6])
    null = NullCalibration(Table(NULLS, {}), *curve, 4.0, 1.0, 1.0, 0.1, 20, float("nan"), {}, {}, 50)
    fits = Table(FITS, {"cluster_id": np.array(["a"])})
    empty = Catalogue(table, fits, null, (), PhaseSign.POSITIVE, "sidecar", "kspace", 0.05)
    counted = quantify_clusters(empty, LABEL, 7.0, load, QuantifyConfig()).clusters
    number, low, high = (float(counted[name][0]) for name in ("n_cells", "n_cells_low", "n_cells_high"))
    return number, low, high


def summarise(what: str, found: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Coverage of each quantity and of counts; the bias of counts that are made with the load of day 0."""
    rows = []
    names = dict.fromkeys(name for one in found for name in one["held"])
    each = [np.mean([one["held"][name] for one in found if name in one["held"]]) for name in names]
    listed = ", ".join(f"{name.replace('_', ' ')} {100 * share:.1f}" for name, share in zip(names, each, strict=True))
    rows.append({"what": f"{what}: intervals of the fit that hold, %", "measured": listed})
    rows.append(
        {"what": f"{what}: all of them", "measured": percent([h for one in found for h in one["held"].values()])}
    )
    counted = [{"what": f"{what}: cells on day {day:g}", "measured": describe_counts(found, day)} for day in DAYS]
    return [*rows, *counted]


def describe_counts(found: list[dict[str, Any]], day: float) -> str:
    """How often counts held and how far off they were, with the day's load and with that of day 0."""
    parts = []
    for which, said in (("carried", "load of the day"), ("ignored", "load of day 0")):
        inside, ratio = judge_counts(found, day, which)
        parts.append(f"{said}: {percent(inside)} hold, median count {ratio:.2f} of the truth")
    return "; ".join(parts)


def judge_counts(found: list[dict[str, Any]], day: float, which: str) -> tuple[list[bool], float]:
    """Which intervals hold, of clusters whose moment came out positive, and the median count over the truth."""
    counts = [one["counts"][f"{day:g}"] for one in found]
    seen = [one for one in counts if np.isfinite(one[which][0])]
    inside = [bool(one[which][1] <= one["n_cells"] <= one[which][2]) for one in seen]
    return inside, float(np.median([one[which][0] / one["n_cells"] for one in seen]))


def overall(cases: list[dict[str, Any]]) -> dict[str, str]:
    """Over all cultures and designs."""
    everything = [one for case in cases for one in case["laboratories"]]
    held = [value for one in everything for value in one["held"].values()]
    rows = {f"uptake: 95 % intervals of the kinetics that hold, of {len(held)}": percent(held)}
    days = ", ".join(f"{day:g}" for day in DAYS)
    for which, said in (("carried", "the predicted load of the day"), ("ignored", "the load of day 0")):
        judged = [judge_counts(everything, day, which) for day in DAYS]
        rows[f"uptake: cells on days {days} with {said}: 95 % intervals that hold, and median count"] = (
            f"{', '.join(percent(inside) for inside, _ in judged)}; "
            f"{', '.join(f'{ratio:.2f}' for _, ratio in judged)} of the truth"
        )
    return rows


def percent(held: list[bool]) -> str:
    """A share with its standard error."""
    share = float(np.mean(held))
    err = float(np.sqrt(max(share * (1 - share), 1 / len(held)) / len(held)))
    return f"{100 * share:.1f} ± {100 * err:.1f} %"


if __name__ == "__main__":
    main()
