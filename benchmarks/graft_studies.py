"""Are the cells of grafts counted right, visit after visit, from scans to the table of tracks?

    uv run python benchmarks/graft_studies.py [--seed N] [--subjects 6] [--jobs 2] [--full]

Simulated subjects of the preset ``mouse-brain-9t``, its field of view cut to 5.6 x 5.6 x 3.6 mm, with veins, bleeds and
what else it holds, each visit in a posture of its own. Two grafts of 150 to 800 cells, clear of all that, scattered one
by one in an ellipsoid as densely as the preset's own graft, each cell with its own load; cells die with half-lives of 7
to 40 days and take their iron with them. A baseline scan, then days 0, 7, 14 and 28. The label's magnetisation and the
batch's mean load are drawn once per subject, with the spread that the analysis is told.

Scans go through BIDS and `run`'s own functions. A track belongs to a graft if most of its sightings lie within 0.75 mm
of its middle; where a graft has several tracks at a visit their cells are added, and their intervals'
half widths in quadrature. A visit counts as right if the 95 % interval holds the living cells; one without any row
counts as wrong. ``--full`` is 20 subjects.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from _relapse_subjects import measure_gap
from ferrosight.io import Participant, Session, read_table, write_scan, write_study
from ferrosight.numerics.intervals import binomial_interval
from ferrosight.physics.labels import get_label
from ferrosight.simulate import PlacedCells, ScanSpec, build_affine, draw_posture, get_preset, simulate_moved_scan
from ferrosight.simulate.anatomy import Content, draw_placed, draw_sources
from ferrosight.simulate.background import is_in_tissue
from ferrosight.simulate.courses import Course
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import CLUSTERS, IronPerCell, PhaseSign, Table
from ferrosight.types.schema import TRACKS

FloatArray = NDArray[np.float64]

PRESET, SHAPE = get_preset("mouse-brain-9t"), (56, 56, 36)
LABEL = get_label("ferumoxides")
LOAD = IronPerCell(PRESET.content.iron_per_cell_pg, 0.34, "a spread of 17 % between batches is an assumption")
#: A loose graft of fewer cells at first is often no graft to the analysis, but a few points.
FEW_CELLS = 350
DAYS = {"pre": -7.0, "d00": 0.0, "d07": 7.0, "d14": 14.0, "d28": 28.0}
N_GRAFTS, N_CELLS, HALF_LIFE_DAYS = 2, (150, 800), (7.0, 40.0)
#: Each half axis of the preset's graft varies by so much (uniform), all with the cube root of the cells.
(PRESET_CELLS, PRESET_AXES_UM), AXES_VARY = PRESET.content.grafts[0], 0.2
#: How far grafts' middles lie from each other, below the tissue's surface and from what is not labelled; and from a
#: track that is theirs.
APART_MM, DEEP_MM, CLEAR_MM, NEAR_MM = 1.5, 0.6, 0.7, 0.75


@dataclasses.dataclass(frozen=True)
class Graft:
    """A graft on its first day: its middle (RAS+ mm of the first posture), cells, half axes, and how fast they die."""

    place_mm: tuple[float, float, float]
    n_cells: int
    half_axes_um: tuple[float, float, float]
    half_life_days: float


def main() -> None:
    """Simulate, run, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    n = 20 if options.full else options.subjects
    print(f"seed {options.seed}, {n} subjects", flush=True)
    start, rows, peak_mb = time.perf_counter(), [], 0.0
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, (found, peak) in enumerate(pool.map(follow_one, [(options.seed, one) for one in range(n)])):
            rows += [{"subject": number + 1} | row for row in found]
            peak_mb = max(peak_mb, peak)
            for row in found:
                print(f"subject {number + 1} graft {row['graft']} {row['session']}: {say(row)}", flush=True)
    tell(rows, n, options.seed, time.perf_counter() - start, peak_mb)


def say(row: dict[str, Any]) -> str:
    """``430 cells, counted 401 (350 to 520), detected``."""
    if not row["n_rows"]:
        return f"{row['truth']:.0f} cells, not followed"
    within = "" if row["right"] else ", MISSED"
    counted = f"counted {row['cells']:.0f} ({row['low']:.0f} to {row['high']:.0f})"
    return f"{row['truth']:.0f} cells, {counted}, {row['how']}, {row['n_rows']} tracks{within}"


def follow_one(task: tuple[int, int]) -> tuple[list[dict[str, Any]], float]:
    """One subject, from its truth to the rows that were held against it."""
    rng = np.random.default_rng(task)
    seed = int(rng.integers(2**31))
    spec = draw_tissue(seed)
    grafts = draw_grafts(spec, rng)
    magnetisation = LABEL.ms_am2_per_kg_fe * draw_factor(LABEL.ms_rel_sd, rng)
    batch = draw_factor(LOAD.rel_sd, rng)
    subject, truths = "01", {}
    with tempfile.TemporaryDirectory() as folder:
        bids, out = Path(folder) / "bids", Path(folder) / "out"
        sessions = [Session(name, day, baseline=name == "pre", label_day=0.0) for name, day in DAYS.items()]
        write_study(bids, "Simulated", [Participant(subject, label=LABEL.label_id)], sessions, readme="Simulated.\n")
        for visit, (name, day) in enumerate(DAYS.items()):
            cells = [draw_cells(graft, number, seed, day, magnetisation, batch) for number, graft in enumerate(grafts)]
            there = tuple(one for one in cells if one is not None) if day >= 0 else ()
            posture = draw_posture(spec.grid.voxel_mm, seed, visit)
            moved = dataclasses.replace(spec, sources=(*there, *spec.sources))
            scan, truth = simulate_moved_scan(moved, seed, posture, visit=visit)
            write_scan(dataclasses.replace(scan, subject=subject, session=name, phase_sign=PhaseSign.POSITIVE), bids)
            truths[name] = truth.table.where(truth.table["kind"] == "labelled")
        options = StudyOptions(iron_per_cell=LOAD, n_cpus=1)
        study = run_study(plan_study(bids, out, options), out, options)
        if study.exit_code:
            raise SystemExit(f"the study failed: {study.failed} {study.not_followed}")
        rows = compare(out, subject, grafts, truths)
    return rows, max(visit.peak_memory_mb or 0.0 for visit in study.visits)


def draw_factor(rel_sd: float, rng: np.random.Generator) -> float:
    """A log-normal factor of mean 1."""
    log_sd = np.sqrt(np.log1p(rel_sd**2))
    return float(np.exp(rng.normal(-(log_sd**2) / 2, log_sd)))


def draw_tissue(seed: int) -> ScanSpec:
    """The preset's tissue and whatever it holds that is not labelled, as many as fit the cut field of view."""
    spec = dataclasses.replace(PRESET.scan, shape=SHAPE, affine=build_affine(SHAPE, PRESET.voxel_mm))
    share = float(np.prod(SHAPE) / np.prod(PRESET.scan.shape))
    content = dataclasses.replace(PRESET.content, cells=(), grafts=(), cavities_um=())
    return draw_sources(spec, content, share, np.random.SeedSequence([seed, 2]), 0.0)


def draw_grafts(spec: ScanSpec, rng: np.random.Generator) -> list[Graft]:
    """Grafts deep in tissue, apart from each other and from what is not labelled."""
    grafts: list[Graft] = []
    for _ in range(100_000):
        if len(grafts) == N_GRAFTS:
            return grafts
        ijk = rng.uniform(0, np.array(spec.shape) - 1)
        if not is_in_tissue(spec, ijk[None], DEEP_MM)[0]:
            continue
        spot = spec.grid.to_mm(ijk)
        if any(np.linalg.norm(spot - np.array(other.place_mm)) < APART_MM for other in grafts):
            continue
        if any(measure_gap(source, spot) < CLEAR_MM for source in spec.sources):
            continue
        x, y, z = (float(one) for one in spot)
        n, half_life = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (N_CELLS, HALF_LIFE_DAYS))
        scale = np.cbrt(n / PRESET_CELLS) * rng.uniform(1 - AXES_VARY, 1 + AXES_VARY, 3)
        a, b, c = (float(one) for one in scale * PRESET_AXES_UM)
        grafts.append(Graft((x, y, z), round(n), (a, b, c), half_life))
    raise SystemExit(f"no room for {N_GRAFTS} grafts in {spec.shape}.")


def draw_cells(
    graft: Graft, number: int, seed: int, day: float, magnetisation: float, batch: float
) -> PlacedCells | None:
    """The living cells of a day, each where it lay on the first and with the load that it had."""
    content = Content(
        iron_per_cell_pg=LOAD.mean_pg,
        cell_radius_um=PRESET.content.cell_radius_um,
        ms_am2_per_kg_fe=magnetisation,
    )
    rng = np.random.default_rng([seed, 5, number])
    course = Course(half_life_days=graft.half_life_days)
    cells = draw_placed(graft.place_mm, graft.n_cells, graft.half_axes_um, content, rng, max(day, 0.0), course, batch)
    return None if cells is None else dataclasses.replace(cells, object_id=f"labelled-{number + 1:02d}")


def compare(out: Path, subject: str, grafts: list[Graft], truths: dict[str, Table]) -> list[dict[str, Any]]:
    """A row for every graft and labelled visit."""
    tracks = read_table(TRACKS, out / f"sub-{subject}" / f"sub-{subject}_tracks.tsv").to_pandas()
    owner = {name: find_owner(own, out, subject, truths) for name, own in tracks.groupby("track_id", sort=False)}
    rows = []
    for number in range(len(grafts)):
        own = tracks[[owner[name] == number for name in tracks["track_id"]]]
        for name, day in DAYS.items():
            if day < 0:
                continue
            truth = truths[name]
            is_it = truth["object_id"] == f"labelled-{number + 1:02d}"
            here = own[(own["session_id"] == name) & own["measurement"].isin(["detected", "forced"])]
            here = here[np.isfinite(here["n_cells_low"])]
            rows.append(judge(number, name, float(truth["n_cells"][is_it].sum()), here))
    return rows


def find_owner(own: Any, out: Path, subject: str, truths: dict[str, Table]) -> int:
    """The graft that most of a track's sightings lie in, -1 for none."""
    votes = Counter[int]()
    for line in own[own["measurement"] == "detected"].itertuples():
        folder = out / f"sub-{subject}" / f"ses-{line.session_id}" / "anat"
        clusters = read_table(CLUSTERS, folder / f"sub-{subject}_ses-{line.session_id}_clusters.tsv")
        here = place_of(clusters.where(clusters["cluster_id"] == line.cluster_id), 0)
        truth = truths[line.session_id]
        far = [float(np.linalg.norm(place_of(truth, k) - here)) for k in range(len(truth))]
        nearest = int(np.argmin(far)) if far else -1
        near = nearest >= 0 and far[nearest] < NEAR_MM
        votes[int(str(truth["object_id"][nearest]).rsplit("-", 1)[1]) - 1 if near else -1] += 1
    return votes.most_common(1)[0][0] if votes else -1


def place_of(table: Table, row: int) -> FloatArray:
    """A row's place, scanner mm."""
    return np.array([float(table[f"{axis}_mm"][row]) for axis in "xyz"])


def judge(number: int, session: str, truth: float, here: Any) -> dict[str, Any]:
    """Whether the graft's cells lie within the interval of all its rows together."""
    cells, low, high = (here[name].to_numpy(dtype=float) for name in ("n_cells", "n_cells_low", "n_cells_high"))
    # One row has an interval that is not symmetric, and ends at nothing.
    total = float(cells.sum())
    ends = (total - float(np.hypot.reduce(cells - low)), total + float(np.hypot.reduce(high - cells)))
    least, most = (float(low[0]), float(high[0])) if len(here) == 1 else ends
    return {
        "graft": number,
        "session": session,
        "truth": truth,
        "n_rows": len(here),
        "how": "detected" if (here["measurement"] == "detected").any() else "measured where it was",
        "cells": total,
        "low": least,
        "high": most,
        "right": bool(len(here)) and least <= truth <= most,
    }


def share(right: list[bool]) -> str:
    """``94 % (90 to 97; 188 of 200)``."""
    if not right:
        return "none"
    low, high = binomial_interval(sum(right), len(right))
    return f"{100 * sum(right) / len(right):.1f} % ({100 * low:.1f} to {100 * high:.1f}; {sum(right)} of {len(right)})"


def tell(rows: list[dict[str, Any]], n: int, seed: int, wall_s: float, peak_mb: float) -> None:
    """Print and write what was found."""
    what = "simulated mouse-brain-9t studies: visits at which the 95 % interval holds a graft's cells"
    first = {(row["subject"], row["graft"]): row["truth"] for row in rows if row["session"] == list(DAYS)[1]}
    few = [first[row["subject"], row["graft"]] < FEW_CELLS for row in rows]
    shown = {
        f"{what}, of {size} {FEW_CELLS} at first": share(
            [r["right"] for r, f in zip(rows, few, strict=True) if f is which]
        )
        for size, which in (("at least", False), ("fewer than", True))
    }
    about = {"all": share([row["right"] for row in rows])}
    about |= {name: share([row["right"] for row in rows if row["session"] == name]) for name in list(DAYS)[1:]}
    found = [row for row in rows if row["n_rows"]]
    alive = [row for row in found if row["truth"] > 0]
    ratios = np.array([row["cells"] / row["truth"] for row in alive])
    widths = np.array([row["high"] / max(row["low"], 1.0) for row in alive])
    detected = [row["how"] == "detected" for row in rows]
    about |= {
        "detected": share(detected),
        "not followed at all": f"{len(rows) - len(found)} of {len(rows)}",
        "followed by several tracks": f"{sum(row['n_rows'] > 1 for row in rows)} of {len(rows)}",
        "cells over truth, median (10 to 90 %)": f"{np.median(ratios):.2f} ({np.quantile(ratios, 0.1):.2f} to "
        f"{np.quantile(ratios, 0.9):.2f})",
        "upper over lower end, median": f"{np.median(widths):.2f}",
        "subjects; wall time, s; peak memory, MB": f"{n}; {wall_s:.0f}; {peak_mb:.0f}",
    }
    details = [{"what": f"grafts over visits, {name}", "measured": value} for name, value in about.items()]
    print_table({**shown, **about})
    command = f"uv run python benchmarks/graft_studies.py --seed {seed} --subjects {n}"
    write_results("graft_studies", command, shown, {"seed": seed, "rows": rows}, details)


if __name__ == "__main__":
    main()
