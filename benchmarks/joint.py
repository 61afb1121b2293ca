"""PET with MRI: how few cells are found by MRI alone, by PET alone, and by both together?

    python benchmarks/joint.py [--seed N] [--n 12] [--n-empty 16] [--jobs 2] [--searched FILE]

Simulated PET/MR visits. The same clusters of cells lie in a crop of MRI (9.4 T, 0.15 mm voxels, four echoes, SNR 40,
texture of 0.002 ppm) and in the mouse that PET sees whole (the small-animal preset, 18F); the two lie apart by 0.2 mm
along each axis at random, which is what ``register.pet_header_err_mm`` states. Moments and activities are multiples of
a reference: PET's activity of a cell is a half, once and twice what makes both modalities about alike. PET costs a
tenth of MRI, so that every MRI is paired with several PET scans of new noise.

Thresholds let one false candidate through per subject, from the same number of simulated empty subjects for each of the
three (every empty MRI paired with several empty PET scans), so that nothing rests on any one's own calibration. Both is
asked with the ratio known and without. The smallest number of cells found is where half of them are: the median of a
logistic curve through what was found, as a multiple of what MRI alone needs, with its error from drawing subjects anew.
What was searched can be kept in a file, and is taken from there: judging it takes a tenth of the time.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import pickle
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from _command import print_table, write_results
from _simulated import draw_sites
from ferrosight.pet import Opinion, find_hot_spots, judge_jointly
from ferrosight.simulate import (
    HotSphere,
    Point,
    ScanSpec,
    build_affine,
    build_pet_spec,
    simulate_pet_scan,
    simulate_scan,
)
from ferrosight.study.joint import Seen, measure_scatter, see_mri, weigh_both
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.study.visit import analyse_visit
from ferrosight.types import PetResponse, Rigid
from ferrosight.types.config import Config, PetConfig

FloatArray = NDArray[np.float64]

#: The crop of MRI, and where in the mouse it lies: away from the warm organ.
SHAPE, VOXEL_MM, MIDDLE_MM = (52, 48, 40), 0.15, (-6.0, 0.5, 3.0)
FROM_FACE_VOXELS, N_CLUSTERS, APART_MM = 8.0, 4, 2.6
#: A cluster's reference: about what either modality finds half of the time (measured once; it only sets the scale).
MOMENT_AM2, ACTIVITY_BQ = 3.0e-13, 140.0
#: Multiples of the reference that are simulated, a factor of root two apart.
MULTIPLES = tuple(2.0 ** (k / 2) for k in range(-2, 2))
#: PET's over MRI's multiple of one cluster; how many PET scans are drawn of each.
RATIOS, N_PET = (0.5, 1.0, 2.0), 2
HEADER_ERR_MM, MATCH_MM = 0.2, 1.0
RADIUS_MM = 0.1
#: Widths of the preset's point, as its own scans of a point give them (benchmarks/pet.py).
RESPONSE = PetResponse((1.26, 1.24, 1.49), 0.6)
#: How many empty PET scans each empty MRI is paired with.
PAIRED = 5
#: Weaker candidates than by default, so that MRI alone may have one false one per subject too.
CONFIG = Config().with_settings({"clusters.screen_z": 4.0})
METHODS = ("MRI", "PET", "both, ratio known", "both")
#: What is asked for is one false candidate: the signals to be expected are those at a level near it.
JUDGED_AT = PetConfig(q=0.5)


@dataclass(frozen=True)
class Subject:
    """Where its clusters lie, MRI's RAS+ mm (n, 3), and its scans' searches: MRI's at each multiple, PET's at each and
    ratio. A subject without clusters has those of multiple 0 alone."""

    places_mm: FloatArray
    mri: dict[float, Seen]
    pet: dict[tuple[float, float], list[Seen]]


def main() -> None:
    """Simulate, search, pair, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=12, help="subjects with clusters")
    parser.add_argument("--n-empty", type=int, default=16, help="empty subjects, for thresholds")
    parser.add_argument("--jobs", type=int, default=2, help="processes; the results do not depend on it")
    parser.add_argument("--searched", type=Path, help="keep what was searched there, and begin with what is")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.n} subjects of {N_CLUSTERS} clusters, {options.n_empty} empty", flush=True)
    start = time.perf_counter()
    subjects = search_all(options.seed, options.n_empty, options.n, options.jobs, options.searched)
    print(f"searched after {time.perf_counter() - start:.0f} s", flush=True)
    empty, full = subjects[: options.n_empty], subjects[options.n_empty :]
    per_cell = compare_signals(empty)
    print(f"PET's over MRI's signal of a cell at ratio 1: {per_cell:.2f}")
    thresholds = find_thresholds(empty, per_cell)
    rows = [row | {"subject": number} for number, one in enumerate(full) for row in score_subject(one, per_cell)]
    found = [row | {"found": row["score"] >= thresholds[row["method"], row["of"]]} for row in rows]
    details = [summarise(found, ratio, options.seed) for ratio in RATIOS]
    for detail in details:
        print_table(detail)
        print()
    used = {"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)}
    print_table(used)
    write_results(
        "joint",
        f"uv run python benchmarks/joint.py --seed {options.seed} --n {options.n} --n-empty {options.n_empty}",
        {
            f"simulated PET/MR, PET's label {detail['ratio']} of what makes both alike: cells found half of the time, "
            f"over the better alone's": f"{detail['both over the better']}; ratio of the labels known "
            f"{detail['both, ratio known, over the better']}"
            for detail in details
        },
        {
            "seed": options.seed,
            **used,
            "thresholds": {f"{method} {of:g}": value for (method, of), value in thresholds.items()},
            "details": details,
            "found": found,
        },
        details,
    )


def search_all(seed: int, n_empty: int, n_full: int, jobs: int, path: Path | None) -> list[Subject]:
    """All subjects, the empty ones first; what is in the file already is not searched again."""
    seeds = [int(one) for one in np.random.default_rng(seed).integers(2**31, size=n_empty + n_full)]
    known: dict[int, Subject] = pickle.loads(path.read_bytes()) if path is not None and path.exists() else {}
    # Full and empty ones in turn: what is kept of a run that was cut is of use.
    order = sorted(range(len(seeds)), key=lambda k: k / n_empty if k < n_empty else (k - n_empty) / max(n_full, 1))
    missing = [k for k in order if seeds[k] not in known]
    # A fork of a process whose compiled code has run with threads is not safe.
    spawn = multiprocessing.get_context("spawn")
    with limit_cpus(1), ProcessPoolExecutor(jobs, spawn, use_one_cpu) as pool:
        jobs_of = ([seeds[k] for k in missing], [k < n_empty for k in missing])
        for number, (k, subject) in enumerate(zip(missing, pool.map(search_subject, *jobs_of), strict=True), start=1):
            known[seeds[k]] = subject
            print(f"{number} of {len(missing)} searched", flush=True)
            if path is not None:
                path.write_bytes(pickle.dumps(known))
    return [known[one] for one in seeds]


def use_one_cpu() -> None:
    """One thread for each process."""
    threadpool_limits(1)
    numba.set_num_threads(1)


def draw_subject(rng: np.random.Generator) -> tuple[FloatArray, Rigid]:
    """Places of its clusters, and where PET's space lies in the MRI's."""
    affine = place_crop()
    sites = draw_sites(N_CLUSTERS, SHAPE, FROM_FACE_VOXELS, APART_MM / VOXEL_MM, rng)
    places = sites @ affine[:3, :3].T + affine[:3, 3]
    return places, Rigid(np.eye(3), rng.normal(scale=HEADER_ERR_MM, size=3))


def place_crop() -> FloatArray:
    """The crop's affine."""
    affine = build_affine(SHAPE, (VOXEL_MM,) * 3)
    affine[:3, 3] += MIDDLE_MM
    return affine


def search_mri(places_mm: FloatArray, multiple: float, seed: int) -> Seen:
    """One MRI with clusters of so many references at these places, and what the search leaves of it."""
    points = tuple(Point((float(x), float(y), float(z)), multiple * MOMENT_AM2) for x, y, z in places_mm)
    spec = ScanSpec(
        SHAPE,
        place_crop(),
        (0.004, 0.008, 0.012, 0.016),
        9.4,
        sources=points if multiple else (),
        snr=40.0,
        r2star_per_s=30.0,
        point_spread="kspace",
        sub_sampling=8,
        receive_variation=0.2,
        background_hz=60.0,
        coil_phase_rad=0.5,
        texture_ppm=0.002,
        texture_mm=0.15,
    )
    scan, _ = simulate_scan(spec, seed)
    result = analyse_visit(scan, config=CONFIG)
    return see_mri(result.evidence.z[0], scan.grid, result.catalogue, CONFIG.clusters.screen_z)


def search_pet(places_mm: FloatArray, multiple: float, seed: int) -> Seen:
    """The same of PET, places in its own space."""
    spheres = tuple(
        HotSphere((float(x), float(y), float(z)), RADIUS_MM, multiple * ACTIVITY_BQ) for x, y, z in places_mm
    )
    scan, _ = simulate_pet_scan(build_pet_spec("small-animal", spheres if multiple else ()), seed)
    found = find_hot_spots(scan, RESPONSE, PetConfig())
    return crop_pet(Seen(found.z.astype(np.float64), scan.grid, found.clusters, found.n_decoys + 0.5))


def crop_pet(seen: Seen) -> Seen:
    """What PET says of the crop that MRI sees, and a millimetre about it: elsewhere the two are not compared."""
    reach = np.array(SHAPE) * VOXEL_MM / 2 + 1.0
    kept = (np.abs(seen.places_mm - MIDDLE_MM) <= reach).all(axis=1)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in seen.grid.shape), indexing="ij"), axis=-1)
    inside = (np.abs(seen.grid.to_mm(ijk) - MIDDLE_MM) <= reach).all(axis=-1)
    share = float((inside & seen.inside).sum() / seen.inside.sum())
    clusters = seen.clusters.where(kept)
    clusters = clusters.with_columns(expected_false=clusters["expected_false"] * share)
    return Seen(np.where(inside, seen.z, 0.0), seen.grid, clusters, seen.n_floor * share)


def search_subject(seed: int, is_empty: bool) -> Subject:
    """All scans of one subject."""
    rng = np.random.default_rng(seed)
    places, to_mri = draw_subject(rng)
    if is_empty:
        none = np.zeros((0, 3))
        draws = [int(one) for one in rng.integers(2**31, size=1 + N_PET)]
        return Subject(
            none,
            {0.0: search_mri(none, 0.0, draws[0])},
            {(0.0, 1.0): [search_pet(none, 0.0, one) for one in draws[1:]]},
        )
    there = to_mri.inverse().apply(places)
    mri = {m: search_mri(places, m, int(rng.integers(2**31))) for m in MULTIPLES}
    pet = {
        (m, ratio): [search_pet(there, m * ratio, int(rng.integers(2**31))) for _ in range(N_PET)]
        for m in MULTIPLES
        for ratio in RATIOS
    }
    return Subject(places, mri, pet)


def compare_signals(empty: list[Subject]) -> float:
    """PET's over MRI's signal of a cell, standard deviations, where both bear a reference's label."""
    opinions = [weigh_both(one.mri[0.0], pet, build_pose())[:2] for one in empty for pet in one.pet[0.0, 1.0]]
    moment = np.concatenate([measure_scatter(ours, "moment_am2") for ours, _ in opinions])
    activity = np.concatenate([measure_scatter(theirs, "activity_bq") for _, theirs in opinions])
    return float(ACTIVITY_BQ / MOMENT_AM2 * np.nanmedian(moment) / np.nanmedian(activity))


def build_pose() -> Rigid:
    """What the header says of how PET lies beside MRI; where it truly lies is not told."""
    return Rigid(np.eye(3), np.zeros(3), np.diag([HEADER_ERR_MM**2] * 3 + [0.0] * 3))


def score_both(opinions: tuple[Opinion, Opinion], ratio: float) -> dict[str, Any]:
    """Joint scores and places (n, 3); ``ratio`` of the signals is NaN where it is not known."""
    every = np.full(sum(len(one.clusters) for one in opinions), ratio)
    table = judge_jointly(*opinions, JUDGED_AT, ratio=every)
    # Fewer expected is more: the scale on which candidates of both are one list.
    score = -np.log(np.maximum(table["expected_false"], 1e-300))
    places = np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3)
    known = np.isfinite(score)
    return {"score": score[known], "places": places[known]}


def score_alone(opinion: Opinion) -> dict[str, Any]:
    """One modality's own scores and places, of candidates that were not rejected for what they look like."""
    kept = ~opinion.is_vetoed
    score = -np.log(np.maximum(opinion.clusters["expected_false"], 1e-300))
    return {"score": score[kept], "places": opinion.places_mm[kept]}


def score_all(
    mri: Seen, pet: Seen, ratios: Iterable[float], per_cell: float
) -> dict[tuple[str, float], dict[str, Any]]:
    """Scores and places by method and, where that is known, ratio."""
    ours, theirs, _ = weigh_both(mri, pet, build_pose())
    out = {("MRI", 0.0): score_alone(ours), ("PET", 0.0): score_alone(theirs)}
    for ratio in ratios:
        out["both, ratio known", ratio] = score_both((ours, theirs), ratio * per_cell)
    out["both", 0.0] = score_both((ours, theirs), math.nan)
    return out


def find_thresholds(empty: list[Subject], per_cell: float) -> dict[tuple[str, float], float]:
    """The score that one false candidate per subject reaches, by method and ratio."""
    pooled: dict[tuple[str, float], list[FloatArray]] = {}
    scans = [pet for one in empty for pet in one.pet[0.0, 1.0]]
    for number, one in enumerate(empty):
        for step in range(PAIRED):
            pet = scans[(number * N_PET + step) % len(scans)]
            for key, scored in score_all(one.mri[0.0], pet, RATIOS, per_cell).items():
                pooled.setdefault(key, []).append(scored["score"])
    out = {}
    for key, lists in pooled.items():
        every = np.sort(np.concatenate(lists))[::-1]
        wanted = len(lists)
        # Where there are fewer candidates than subjects the weakest of all is enough.
        out[key] = float(every[wanted - 1]) if len(every) >= wanted else -math.inf
        print(f"threshold of {key[0]} ({key[1]:g}): {out[key]:.2f}; {len(every) / wanted:.1f} candidates", flush=True)
    return out


def score_subject(subject: Subject, per_cell: float) -> list[dict[str, Any]]:
    """Every pairing of a subject's scans: for each cluster and method its best score within reach."""
    rows = []
    for (multiple, ratio), scans in subject.pet.items():
        for pet in scans:
            for (method, of), scored in score_all(subject.mri[multiple], pet, [ratio], per_cell).items():
                about = {"method": method, "of": of, "ratio": ratio, "multiple": multiple}
                for place in subject.places_mm:
                    near = np.linalg.norm(scored["places"] - place, axis=1) <= MATCH_MM
                    best = float(scored["score"][near].max()) if near.any() else -math.inf
                    rows.append(about | {"score": best})
    return rows


def fit_half(multiples: FloatArray, found: NDArray[np.bool_]) -> float:
    """The multiple at which half are found: a logistic curve of the logarithm, by penalised likelihood."""
    x, y = np.log2(multiples), found.astype(np.float64)

    def lose(p: FloatArray) -> float:
        slope = math.exp(p[1])
        odds = slope * (x - p[0])
        # Steepness is known to within a factor of two or so: four per doubling.
        return float(
            np.sum(np.logaddexp(0, odds) - y * odds) + ((p[1] - math.log(4.0)) / 0.7) ** 2 / 2 + p[0] ** 2 / 50
        )

    best = minimize(lose, np.array([0.0, math.log(4.0)]), method="Nelder-Mead")
    return float(2.0 ** best.x[0])


def summarise(found: list[dict[str, Any]], ratio: float, seed: int) -> dict[str, str]:
    """The smallest number of cells found by each method at one ratio, and both over the better alone."""
    rows = [row for row in found if row["ratio"] == ratio]
    subjects = sorted({row["subject"] for row in rows})
    data = {
        method: {
            subject: (
                np.array([r["multiple"] for r in rows if r["method"] == method and r["subject"] == subject]),
                np.array([r["found"] for r in rows if r["method"] == method and r["subject"] == subject]),
            )
            for subject in subjects
        }
        for method in METHODS
    }

    def measure(chosen: list[int]) -> dict[str, float]:
        return {
            method: fit_half(np.concatenate([of[s][0] for s in chosen]), np.concatenate([of[s][1] for s in chosen]))
            for method, of in data.items()
        }

    best = measure(subjects)
    rng = np.random.default_rng(seed)
    drawn = [measure(rng.choice(subjects, len(subjects)).tolist()) for _ in range(60)]

    def say(pick: Any) -> str:
        return f"{pick(best):.2f} ± {np.std([pick(one) for one in drawn], ddof=1):.2f}"

    return {
        "ratio": f"{ratio:g}",
        **{method: say(lambda one, method=method: one[method]) for method in METHODS},
        "both over the better": say(lambda one: one["both"] / min(one["MRI"], one["PET"])),
        "both, ratio known, over the better": say(lambda one: one["both, ratio known"] / min(one["MRI"], one["PET"])),
    }


if __name__ == "__main__":
    main()
