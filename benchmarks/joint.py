"""PET with MRI: how few cells are found by MRI alone, by PET alone, and by both together?

    python benchmarks/joint.py [--seed N] [--n 6] [--n-empty 16] [--jobs 2]

Simulated PET/MR visits. The same clusters of cells lie in a crop of MRI (9.4 T, 0.15 mm voxels, four echoes, SNR 40,
texture of 0.002 ppm) and in the mouse that PET sees whole (the small-animal preset, 18F); the two lie apart by 0.2 mm
along each axis at random, which is what ``register.pet_header_err_mm`` states. Moments and activities are multiples of
a reference, and MRI of a subject is paired with several of its PET scans, so that one set of scans gives any ratio of
the labels: PET's activity of a cell at a half, once and twice what makes both modalities alike.

Thresholds let one false candidate through per subject, from the same number of simulated empty subjects for each of the
three (every empty MRI paired with several empty PET scans), so that nothing rests on any one's own calibration. Both is
asked with the ratio known and without. The smallest number of cells found is where half of them are: the median of a
logistic curve through what was found, as a multiple of what MRI alone needs, with its error from drawing subjects anew.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import secrets
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
from ferrosight.study.joint import Seen, see_mri, weigh_both
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
MULTIPLES = tuple(2.0 ** (k / 2) for k in range(-2, 3))
#: PET's over MRI's multiple of one cluster.
RATIOS = (0.5, 1.0, 2.0)
HEADER_ERR_MM, MATCH_MM = 0.2, 1.0
RADIUS_MM = 0.1
#: Widths of the preset's point, as its own scans of a point give them (benchmarks/pet.py).
RESPONSE = PetResponse((1.26, 1.24, 1.49), 0.6)
#: How many empty PET scans each empty MRI is paired with.
PAIRED = 5
#: Weaker candidates than by default, so that MRI alone may have one false one per subject too.
CONFIG = Config().with_settings({"clusters.screen_z": 4.0})
METHODS = ("MRI", "PET", "both, ratio known", "both")


@dataclass(frozen=True)
class Subject:
    """Where its clusters lie, MRI's RAS+ mm (n, 3), and how PET lies beside MRI; its scans' search at each multiple."""

    places_mm: FloatArray
    to_mri: Rigid
    mri: dict[float, Seen]
    pet: dict[float, Seen]


def main() -> None:
    """Simulate, search, pair, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=6, help="subjects with clusters")
    parser.add_argument("--n-empty", type=int, default=16, help="empty subjects, for thresholds")
    parser.add_argument("--jobs", type=int, default=2, help="processes; the results do not depend on it")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.n} subjects of {N_CLUSTERS} clusters, {options.n_empty} empty", flush=True)
    start = time.perf_counter()
    seeds = [
        int(seed) for seed in np.random.default_rng(options.seed).integers(2**31, size=options.n + options.n_empty)
    ]
    # A fork of a process whose compiled code has run with threads is not safe.
    spawn = multiprocessing.get_context("spawn")
    with limit_cpus(1), ProcessPoolExecutor(options.jobs, spawn, use_one_cpu) as pool:
        empty = list(pool.map(simulate_empty, seeds[: options.n_empty]))
        print(f"empty subjects searched after {time.perf_counter() - start:.0f} s", flush=True)
        thresholds = find_thresholds(empty)
        rows: list[dict[str, Any]] = []
        for number, of_subject in enumerate(pool.map(run_subject, seeds[options.n_empty :])):
            rows += [row | {"subject": number} for row in of_subject]
            print(f"subject {number + 1} of {options.n} after {time.perf_counter() - start:.0f} s", flush=True)
    found = [row | {"found": row["score"] >= thresholds[row["method"], row["angle"]]} for row in rows]
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
            "thresholds": {f"{method} {angle:.3f}": value for (method, angle), value in thresholds.items()},
            "details": details,
            "found": found,
        },
        details,
    )


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
    return see_mri(result.evidence.z[0], scan.grid, result.catalogue)


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


def simulate_empty(seed: int) -> tuple[Seen, Seen]:
    """MRI and PET of a subject without cells."""
    none = np.zeros((0, 3))
    return search_mri(none, 0.0, seed), search_pet(none, 0.0, seed + 1)


def list_angles() -> list[float]:
    """What is expected of PET over MRI at each ratio, rad; and NaN where it is not known."""
    return [math.atan(ratio) for ratio in RATIOS]


def score_both(mri: Seen, pet: Seen, angle: float, opinions: tuple[Opinion, Opinion]) -> dict[str, Any]:
    """Joint scores and places (n, 3); ``angle`` is NaN where the ratio is not known."""
    ratio = np.full(len(mri.clusters) + len(pet.clusters), math.tan(angle) if math.isfinite(angle) else math.nan)
    table = judge_jointly(*opinions, PetConfig(), ratio=ratio)
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


def score_all(mri: Seen, pet: Seen) -> dict[tuple[str, float], dict[str, Any]]:
    """Scores and places by method and angle."""
    known = Rigid(np.eye(3), np.zeros(3), np.diag([HEADER_ERR_MM**2] * 3 + [0.0] * 3))
    # Both are judged by what the header says; where PET truly lies is not told.
    ours, theirs, _ = weigh_both(mri, pet, known)
    out = {("MRI", 0.0): score_alone(ours), ("PET", 0.0): score_alone(theirs)}
    for angle in list_angles():
        out["both, ratio known", angle] = score_both(mri, pet, angle, (ours, theirs))
    out["both", 0.0] = score_both(mri, pet, math.nan, (ours, theirs))
    return out


def find_thresholds(empty: list[tuple[Seen, Seen]]) -> dict[tuple[str, float], float]:
    """The score that one false candidate per subject reaches, by method and angle."""
    pooled: dict[tuple[str, float], list[FloatArray]] = {}
    n = len(empty)
    for one in range(n):
        for step in range(min(PAIRED, n)):
            for key, scored in score_all(empty[one][0], empty[(one + step) % n][1]).items():
                pooled.setdefault(key, []).append(scored["score"])
    out = {}
    for key, lists in pooled.items():
        every = np.sort(np.concatenate(lists))[::-1]
        wanted = len(lists)
        # Where there are fewer candidates than subjects the weakest of all is enough.
        out[key] = float(every[wanted - 1]) if len(every) >= wanted else -math.inf
        print(
            f"threshold of {key[0]} ({key[1]:.2f} rad): {out[key]:.2f}; {len(every) / wanted:.1f} candidates",
            flush=True,
        )
    return out


def run_subject(seed: int) -> list[dict[str, Any]]:
    """Every pairing of a subject's scans: for each cluster and method its best score within reach."""
    rng = np.random.default_rng(seed)
    places, to_mri = draw_subject(rng)
    there = to_mri.inverse().apply(places)
    draws = rng.integers(2**31, size=(2, len(MULTIPLES)))
    mri = {m: search_mri(places, m, int(draws[0, k])) for k, m in enumerate(MULTIPLES)}
    pet = {m: search_pet(there, m, int(draws[1, k])) for k, m in enumerate(MULTIPLES)}
    rows = []
    for multiple in MULTIPLES:
        for ratio in RATIOS:
            other = next((m for m in MULTIPLES if math.isclose(m, multiple * ratio)), None)
            if other is None:
                continue
            for (method, angle), scored in score_all(mri[multiple], pet[other]).items():
                if method == "both, ratio known" and not math.isclose(angle, math.atan(ratio)):
                    continue
                for place in places:
                    near = np.linalg.norm(scored["places"] - place, axis=1) <= MATCH_MM
                    best = float(scored["score"][near].max()) if near.any() else -math.inf
                    rows.append({"method": method, "angle": angle, "ratio": ratio, "multiple": multiple, "score": best})
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
