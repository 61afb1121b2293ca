"""Do the intervals of a followed subject hold, where clusters were found and where they were only measured?

    uv run python benchmarks/follow.py [--seed N] [--subjects 3] [--full]

Simulated subjects with a baseline and three labelled visits a week apart, at 9.4 T with 0.1 mm voxels, each visit in a
posture of its own (3 degrees and 0.1 mm along each axis, standard deviations): the anatomy is a formula, computed anew.
Clusters of 0.4 to 10 pg of iron, some of them too weak for every visit, lie 0.5 mm apart or more, wander by 0.02 mm in
the root of a day, keep 85 % of their iron per visit, give or take a tenth, and one in five goes between two visits; one
new one comes with each. The label's magnetisation and the batch's mean load are drawn once per subject, with the spread
that the analysis is told.

Scans go through BIDS and `run`'s own functions. A track belongs to the true cluster that most of its sightings lie at,
within 0.25 mm. Then every row is held against the truth: the 95 % intervals of moment, iron and cells and the one-sided
limits, where a cluster was detected, where it was there and not detected, and where it was not there at all.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import secrets
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from ferrosight.io import Participant, Session, read_table, write_scan, write_study
from ferrosight.numerics.intervals import binomial_interval
from ferrosight.physics.labels import get_label
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_moved_scan
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import CLUSTERS, IronPerCell, PhaseSign, Rigid
from ferrosight.types.schema import TRACKS

FloatArray = NDArray[np.float64]

SHAPE, VOXEL_MM = (60, 60, 30), (0.1, 0.1, 0.1)
LABEL = get_label("ferumoxides")
LOAD = IronPerCell(2.01, 0.34, "CD34+ progenitors; a spread of 17 % between batches is an assumption")
DAYS = {"pre": -7.0, "d00": 0.0, "d07": 7.0, "d14": 14.0}
N_CLUSTERS, IRON_PG, APART_MM = 10, (0.4, 10.0), 0.5
MOTION_MM, KEPT, SPREAD, GOES = 0.02, 0.85, 0.1, 0.2
TURN_DEG, SHIFT_MM, SAME_MM = 3.0, 0.1, 0.25
WHAT = {
    "where detected": {"detected"},
    "where not detected": {"missed", "absent"},
    "there, not detected": {"missed"},
    "not there": {"absent"},
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Of one true cluster: its place and iron (pg) at each visit at which it is there."""

    places_mm: dict[str, FloatArray]
    iron_pg: dict[str, float]


def main() -> None:
    """Simulate, run, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="20 subjects")
    options = parser.parse_args()
    n = 20 if options.full else options.subjects
    print(f"seed {options.seed}, {n} subjects", flush=True)
    start, rows, counts = time.perf_counter(), [], Counter[str]()
    peak_mb = 0.0
    for number in range(n):
        found, counted, peak = follow_one(np.random.default_rng([options.seed, number]), f"{number + 1:02d}")
        rows += found
        counts += counted
        peak_mb = max(peak_mb, peak)
        kinds = Counter(row["kind"] for row in found)
        print(f"subject {number + 1}: {dict(kinds)}, {dict(counted)}", flush=True)
    tell(rows, counts, n, options.seed, time.perf_counter() - start, peak_mb)


def follow_one(rng: np.random.Generator, subject: str) -> tuple[list[dict[str, Any]], Counter[str], float]:
    """One subject from its truth to rows that were held against it."""
    clusters = draw_clusters(rng)
    magnetisation = LABEL.ms_am2_per_kg_fe * draw_factor(LABEL.ms_rel_sd, rng)
    load_pg = LOAD.mean_pg * draw_factor(LOAD.rel_sd, rng)
    poses, seed = {}, int(rng.integers(2**31))
    with tempfile.TemporaryDirectory() as folder:
        bids, out = Path(folder) / "bids", Path(folder) / "out"
        sessions = [Session(name, day, baseline=name == "pre", label_day=0.0) for name, day in DAYS.items()]
        write_study(bids, "simulated", [Participant(subject, label=LABEL.label_id)], sessions, readme="Simulated.\n")
        for visit, name in enumerate(DAYS):
            turn = np.deg2rad(rng.normal(scale=TURN_DEG, size=3))
            poses[name] = Rigid.from_twist(np.concatenate([rng.normal(scale=SHIFT_MM, size=3), turn]))
            points = tuple(
                Point(tuple(one.places_mm[name].tolist()), one.iron_pg[name] * 1e-15 * magnetisation, 9.0)
                for one in clusters
                if name in one.iron_pg
            )
            scan, _ = simulate_moved_scan(build_spec(points), seed, poses[name], visit=visit)
            write_scan(dataclasses.replace(scan, subject=subject, session=name, phase_sign=PhaseSign.POSITIVE), bids)
        options = StudyOptions(iron_per_cell=LOAD, n_cpus=2)
        study = run_study(plan_study(bids, out, options), out, options)
        if study.exit_code:
            raise SystemExit(f"the study failed: {study.failed} {study.not_followed}")
        rows, counts = compare(out, subject, clusters, poses, magnetisation, load_pg)
    return rows, counts, max(visit.peak_memory_mb or 0.0 for visit in study.visits)


def draw_factor(rel_sd: float, rng: np.random.Generator) -> float:
    """A log-normal factor of mean 1."""
    log_sd = np.sqrt(np.log1p(rel_sd**2))
    return float(np.exp(rng.normal(-(log_sd**2) / 2, log_sd)))


def draw_clusters(rng: np.random.Generator) -> list[Cluster]:
    """Every cluster's places in the subject and its iron, visit by visit."""
    half = np.array(SHAPE) * VOXEL_MM / 2 * 0.6
    labelled = [name for name in DAYS if name != "pre"]
    clusters: list[Cluster] = []
    for visit, name in enumerate(labelled):
        for _ in range(N_CLUSTERS if not visit else 1):
            taken = [place for one in clusters for place in one.places_mm.values()]
            while True:
                place = rng.uniform(-1, 1, 3)
                if place @ place < 1 and all(np.linalg.norm(place * half - one) > APART_MM for one in taken):
                    break
            clusters.append(draw_course(place * half, labelled[labelled.index(name) :], rng))
    return clusters


def draw_course(place: FloatArray, names: list[str], rng: np.random.Generator) -> Cluster:
    """A cluster from its first visit on."""
    iron = float(np.exp(rng.uniform(*np.log(IRON_PG))))
    places, irons = {}, {}
    for number, name in enumerate(names):
        if number:
            if rng.random() < GOES:
                break
            days = DAYS[name] - DAYS[names[number - 1]]
            place = place + rng.normal(scale=MOTION_MM * np.sqrt(days), size=3)
            iron *= KEPT * float(np.exp(rng.normal(scale=SPREAD)))
        places[name], irons[name] = place, iron
    return Cluster(places, irons)


def build_spec(points: tuple[Point, ...]) -> ScanSpec:
    """The protocol, and the tissue around the points."""
    return ScanSpec(
        shape=SHAPE,
        affine=build_affine(SHAPE, VOXEL_MM),
        echo_times_s=(0.004, 0.008, 0.012),
        b0_t=9.4,
        sources=points,
        snr=40.0,
        r2star_per_s=30.0,
        r2star_variation=0.1,
        density_variation=0.1,
        structure_mm=0.5,
        point_spread="kspace",
        tissue_fraction=0.9,
        receive_variation=0.2,
        background_hz=30.0,
        coil_phase_rad=0.5,
        texture_ppm=0.003,
        texture_mm=0.15,
        sub_sampling=8,
    )


def compare(
    out: Path, subject: str, clusters: list[Cluster], poses: dict[str, Rigid], magnetisation: float, load_pg: float
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Each row of the table that belongs to a true cluster, with what is true of it, and counts of tracks and links."""
    tracks = read_table(TRACKS, out / f"sub-{subject}" / f"sub-{subject}_tracks.tsv").to_pandas()
    found: dict[str, FloatArray] = {}
    for name in DAYS:
        path = out / f"sub-{subject}" / f"ses-{name}" / "anat" / f"sub-{subject}_ses-{name}_clusters.tsv"
        table = read_table(CLUSTERS, path)
        xyz = np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1)
        found |= dict(zip(table["cluster_id"].tolist(), poses[name].apply(xyz), strict=True))
    rows, counts, track_of = [], Counter[str](), {}
    for track_id, own in tracks.groupby("track_id", sort=False):
        sightings = own[own["measurement"] == "detected"]
        true_of = {
            line.session_id: find_true(found[line.cluster_id], line.session_id, clusters)
            for line in sightings.itertuples()
        }
        votes = Counter(one for one in true_of.values() if one is not None)
        counts["tracks"] += 1
        if not votes:
            counts["false tracks"] += 1
            continue
        true = votes.most_common(1)[0][0]
        for line in own.itertuples():
            if line.measurement not in ("detected", "forced"):
                continue
            name = line.session_id
            which = true_of.get(name) if line.measurement == "detected" else true
            iron = 0.0 if which is None else clusters[which].iron_pg.get(name, 0.0)
            kind = "detected" if line.measurement == "detected" else "missed" if iron else "absent"
            rows.append(judge(line, kind, iron, magnetisation, load_pg))
            if line.measurement == "detected" and which is not None:
                track_of[which, name] = track_id
    counts.update(score_links(track_of, clusters))
    counts["clusters at visits"] += sum(len(one.iron_pg) for one in clusters)
    return rows, counts


def find_true(place: FloatArray, name: str, clusters: list[Cluster]) -> int | None:
    """The true cluster that lies at a place at that visit."""
    far = {
        n: float(np.linalg.norm(one.places_mm[name] - place)) for n, one in enumerate(clusters) if name in one.iron_pg
    }
    nearest = min(far, key=lambda n: far[n], default=None)
    return nearest if nearest is not None and far[nearest] < SAME_MM else None


def score_links(track_of: dict[tuple[int, str], str], clusters: list[Cluster]) -> Counter[str]:
    """Of a true cluster seen at one visit and the next at which it is seen: is it the same track?"""
    counts = Counter[str]()
    for number in range(len(clusters)):
        names = [name for name in DAYS if (number, name) in track_of]
        for first, second in itertools.pairwise(names):
            counts["links"] += 1
            counts["links right"] += track_of[number, first] == track_of[number, second]
    return counts


def judge(line: Any, kind: str, iron_pg: float, magnetisation: float, load_pg: float) -> dict[str, Any]:
    """Whether the row's intervals and limits hold."""
    moment, cells = iron_pg * 1e-15 * magnetisation, iron_pg / load_pg
    return {
        "kind": kind,
        "moment": bool(line.moment_am2_low <= moment <= line.moment_am2_high),
        "iron": bool(line.iron_pg_low <= iron_pg <= line.iron_pg_high),
        "cells": bool(line.n_cells_low <= cells <= line.n_cells_high),
        "limit": bool(moment <= line.upper_limit_moment_am2),
        "limit_cells": bool(cells <= line.upper_limit_n_cells),
        "pull": float((line.moment_am2 - moment) / line.moment_am2_err),
        "limit_pg": float(line.upper_limit_iron_pg),
        "has_value": bool(np.isfinite(line.moment_am2_low)),
    }


def share(right: list[bool]) -> str:
    """``94 % (90 to 97; 188 of 200)``."""
    if not right:
        return "none"
    low, high = binomial_interval(sum(right), len(right))
    return f"{100 * sum(right) / len(right):.1f} % ({100 * low:.1f} to {100 * high:.1f}; {sum(right)} of {len(right)})"


def tell(rows: list[dict[str, Any]], counts: Counter[str], n: int, seed: int, wall_s: float, peak_mb: float) -> None:
    """Print and write what was found."""
    shown: dict[str, str] = {}
    details: list[dict[str, str]] = []
    for where, kinds in WHAT.items():
        own = [row for row in rows if row["kind"] in kinds and row["has_value"]]
        shown[f"followed subjects, {where}: 95 % intervals of the moment that hold"] = share([r["moment"] for r in own])
        about = {
            "95 % intervals of iron that hold": share([r["iron"] for r in own]),
            "95 % intervals of the cells that hold": share([r["cells"] for r in own]),
            "one-sided 95 % limits of the moment that hold": share([r["limit"] for r in own]),
            "one-sided 95 % limits of the cells that hold": share([r["limit_cells"] for r in own]),
        }
        if own:
            pulls = np.array([row["pull"] for row in own])
            about["moment less truth, in its errors: mean, standard deviation"] = (
                f"{pulls.mean():+.2f}, {pulls.std():.2f}"
            )
            about["median limit, pg of iron"] = f"{np.median([row['limit_pg'] for row in own]):.2g}"
        details += [{"what": f"followed subjects, {where}: {what}", "measured": value} for what, value in about.items()]
    links = [True] * counts["links right"] + [False] * (counts["links"] - counts["links right"])
    details += [
        {"what": f"followed subjects, {what}", "measured": value}
        for what, value in {
            "a cluster seen again is the same track": share(links),
            "tracks where nothing ever was": f"{counts['false tracks']} of {counts['tracks']}",
            "clusters times visits, and subjects": f"{counts['clusters at visits']}, {n}",
            "not measured": str(sum(not row["has_value"] for row in rows)),
            "wall time of all, s": f"{wall_s:.0f}",
            "peak memory, MB": f"{peak_mb:.0f}",
        }.items()
    ]
    print_table({**shown, **{row["what"].removeprefix("followed subjects, "): row["measured"] for row in details}})
    command = f"uv run python benchmarks/follow.py --seed {seed} --subjects {n}"
    write_results("follow", command, shown, {"seed": seed, "rows": rows, "counts": dict(counts)}, details)


if __name__ == "__main__":
    main()
