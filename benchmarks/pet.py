"""PET: is the activity of small spheres right, how many false hot spots are there, and how much less could be seen?

    uv run python benchmarks/pet.py [--seed N] [--full] [--jobs N]

All scans are of the small-animal preset: a mouse with a warm organ, 18F, iterative reconstruction of Poisson counts.
The point spread is measured in a scan of a point source, as in a laboratory.

1. *Forced.* Spheres 0.5, 1, 2 and 4 mm across at contrasts 3, 10 and 30 to 1, five to a scan, at known places; their
   size is not known to the fit. Those with an ideal d' of at least 5 count. Beside it the error of the peak uptake.
2. *Empty scans.* What is accepted at q <= 0.05 in scans without any sphere.
3. *Smallest detectable activity.* Spheres 0.5 mm across, with activities that are multiples of what the ideal observer
   needs at their place: a matched filter of the counts themselves, which knows the background. Both may raise one false
   alarm in ten scans, by thresholds from the same empty scans, and are asked to find 90 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.optimize import minimize
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from _command import OUT, print_table, write_results
from ferrosight.numerics.intervals import binomial_interval, mean_interval
from ferrosight.pet import find_hot_spots, measure_hot_spots_at, measure_peak, measure_point_spread
from ferrosight.simulate import (
    HotSphere,
    PetCounts,
    PetSpec,
    build_pet_spec,
    contrast_activity_bq,
    expect_counts,
    expect_source_counts,
    simulate_pet_scan,
)
from ferrosight.simulate.pet_projector import build_subsets
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import PetResponse
from ferrosight.types.config import PetConfig

PRESET = "small-animal"
BACKGROUND_BQ_ML = 1e5
RADII_MM, CONTRASTS = (0.25, 0.5, 1.0, 2.0), (3.0, 10.0, 30.0)
POSITRON_RANGE_MM = 0.6
LEAST_D_PRIME = 5.0
#: One false alarm in ten scans; 90 % found.
FALSE_PER_SCAN, POWER = 0.1, 0.9
MULTIPLES = (0.8, 1.0, 1.2, 1.4, 1.7, 2.0)
#: Half axes (mm) of the part of the body where spheres are put, and their least distance to one another.
INNER_MM, APART_MM = (11.5, 8.5, 12.0), 9.0
ORGAN_CENTRE_MM, ORGAN_MM = np.array([5.0, -2.0, -6.0]), np.array([5.0, 4.0, 4.0])


def main() -> None:
    """Simulate, measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--full", action="store_true", help="400 and 240 scans with spheres, 1000 empty ones")
    parser.add_argument("--jobs", type=int, default=1, help="processes; the results do not depend on it")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    n_forced, n_empty, n_limit = (400, 1000, 240) if options.full else (60, 200, 45)
    with limit_cpus(1), ProcessPoolExecutor(options.jobs, initializer=use_one_cpu) as pool:

        def over_scans(measure: Callable[..., Any], n: int, *given: Any) -> list[Any]:
            """What ``measure`` returns for each of n scans, every one with its own seed."""
            seeds = [int(seed) for seed in rng.integers(2**31, size=n)]
            return list(pool.map(functools.partial(measure, response, *given), seeds))

        response = calibrate(rng)
        print(f"point spread measured: {', '.join(f'{width:.3f}' for width in response.fwhm_mm)} mm FWHM")
        forced = [row for rows in over_scans(measure_spheres, n_forced) for row in rows]
        print_forced(forced)
        empty, false, scores, ideal_threshold = summarise_empty(over_scans(scan_empty, n_empty))
        print_table(empty)
        threshold = threshold_of(scores, n_empty)
        print(f"thresholds {threshold:.3f}, ideal {ideal_threshold:.3f}", flush=True)
        limit = [row for rows in over_scans(detect_spheres, n_limit, threshold, ideal_threshold) for row in rows]
        ratios = {name: print_limit(name, group) for name, group in group_places(limit).items()}
    used = {"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)}
    print_table(used)
    counted = [row for row in forced if row["d_prime"] >= LEAST_D_PRIME]
    summary = {
        "command": f"benchmarks/pet.py --seed {options.seed}{' --full' if options.full else ''}",
        "seed": options.seed,
        **used,
        "point_spread_mm": response.fwhm_mm,
        "forced": summarise_forced(counted),
        "forced_cells": [summarise_cell(counted, r, c) for r in RADII_MM for c in CONTRASTS],
        "empty": {**empty, "false_scans": false},
        "threshold": threshold,
        "ideal_threshold": ideal_threshold,
        "smallest_detectable_over_ideal": ratios,
    }
    write_summary(summary)
    plot(forced, limit, OUT / "pet.png")


def write_summary(summary: dict[str, Any]) -> None:
    """The README's rows, every combination of size and contrast, and everything."""
    forced, empty, ratios = (summary[name] for name in ("forced", "empty", "smallest_detectable_over_ideal"))
    low, high = forced["bias_interval"]
    away = ratios["away from the organ's surface"]
    measured = {
        f"simulated PET, small animal, {forced['n']} spheres of 0.5 to 4 mm at given places: bias of the activity": (
            f"{forced['bias']:+.1%} ({low:+.1%} to {high:+.1%}); of the peak {forced['peak_error']:+.0%}"
        ),
        "the same: 95 % intervals that hold": "{:.1%} ({:.1%} to {:.1%})".format(
            forced["covered"], *forced["covered_interval"]
        ),
        f"simulated PET, empty scans with anything accepted, of {empty['empty scans']}": empty[
            "with anything accepted at q <= 0.05"
        ],
        "simulated PET, smallest activity found over the ideal's": "{:.2f} ({:.2f} to {:.2f})".format(
            away["ratio"], *away["interval"]
        ),
    }
    write_results(
        "pet",
        f"uv run python {summary['command']}",
        measured,
        summary,
        [{name: str(value) for name, value in cell.items()} for cell in summary["forced_cells"] if cell["n"]],
    )


def calibrate(rng: np.random.Generator) -> PetResponse:
    """The point spread from a bright point in the body."""
    place = (-6.1, 1.3, 4.2)
    spec = build_pet_spec(PRESET, (HotSphere(place, 0.2, 2e4),))
    scan, _ = simulate_pet_scan(spec, int(rng.integers(2**31)))
    return measure_point_spread(scan, np.array(place), 1.3, POSITRON_RANGE_MM)


def draw_places(rng: np.random.Generator, n: int) -> list[NDArray[np.float64]]:
    """Places in the inner part of the body, apart from one another."""
    places: list[NDArray[np.float64]] = []
    while len(places) < n:
        place = rng.uniform(-1, 1, 3) * INNER_MM
        inside = (place[0] / INNER_MM[0]) ** 2 + (place[1] / INNER_MM[1]) ** 2 <= 1
        if inside and all(np.linalg.norm(place - other) > APART_MM for other in places):
            places.append(place)
    return places


def background_at(place: NDArray[np.float64]) -> float:
    """Activity of the tissue there, Bq/mL: twice as much in the organ."""
    return BACKGROUND_BQ_ML * (2.0 if organ_depth(place) < 1 else 1.0)


def organ_depth(place: NDArray[np.float64]) -> float:
    """1 at the organ's surface."""
    return float(np.linalg.norm((place - ORGAN_CENTRE_MM) / ORGAN_MM))


def ideal_d_prime(spec: PetSpec, counts: PetCounts, sphere: HotSphere) -> float:
    """d' of a matched filter of the counts that knows background, place and size."""
    signal = expect_source_counts(spec, sphere, counts)
    return float(np.sqrt((signal**2 / counts.prompts).sum()))


def use_one_cpu() -> None:
    """One thread for each process."""
    threadpool_limits(1)


def measure_spheres(response: PetResponse, seed: int) -> list[dict[str, float]]:
    """One scan of five spheres, measured at their places."""
    rng = np.random.default_rng(seed)
    places = draw_places(rng, 5)
    spheres = []
    for place in places:
        radius, contrast = rng.choice(RADII_MM), rng.choice(CONTRASTS)
        activity = contrast_activity_bq(contrast, background_at(place), radius)
        spheres.append((HotSphere(tuple(map(float, place)), float(radius), activity), float(contrast)))
    spec = build_pet_spec(PRESET, tuple(sphere for sphere, _ in spheres))
    scan, _ = simulate_pet_scan(spec, int(rng.integers(2**31)))
    bare = build_pet_spec(PRESET)
    counts = EMPTY_COUNTS or fill_empty_counts()
    table = measure_hot_spots_at(scan, response, np.array(places), PetConfig())
    rows = []
    for index, (sphere, contrast) in enumerate(spheres):
        peak = measure_peak(
            scan.data[0].astype(np.float64),
            scan.grid.to_ijk(places[index]),
            scan.grid.voxel_mm,
            max(response.fwhm_mm) / 2,
        )
        rows.append(
            {
                "radius_mm": sphere.radius_mm,
                "contrast": contrast,
                "d_prime": ideal_d_prime(bare, counts[0], sphere),
                "edge": float(0.5 < organ_depth(places[index]) < 1.6),
                "truth_bq": sphere.activity_bq,
                "activity_bq": float(table["activity_bq"][index]),
                "activity_bq_err": float(table["activity_bq_err"][index]),
                "radius_fit_mm": float(table["radius_mm"][index]),
                "peak_ratio": peak / (contrast * background_at(places[index])),
            }
        )
    return rows


EMPTY_COUNTS: list[PetCounts] = []


def fill_empty_counts() -> list[PetCounts]:
    """The expected counts of the scan without spheres, computed once."""
    EMPTY_COUNTS.append(expect_counts(build_pet_spec(PRESET)))
    return EMPTY_COUNTS


def scan_empty(response: PetResponse, seed: int) -> tuple[NDArray[np.float64], int, list[float], NDArray[np.float32]]:
    """Scores, number accepted and number expected of one empty scan; and the ideal observer's map of it."""
    spec = build_pet_spec(PRESET)
    counts = (EMPTY_COUNTS or fill_empty_counts())[0]
    scan, _ = simulate_pet_scan(spec, seed, counts)
    found = find_hot_spots(scan, response, PetConfig())
    expected = [float((found.clusters["expected_false"] <= level).sum()) for level in (1.0, 0.1)]
    ideal = filter_counts(spec, counts, np.random.default_rng(seed).poisson(counts.prompts))
    return found.clusters["score"], len(found.accepted), expected, ideal


def summarise_empty(
    scans: list[tuple[NDArray[np.float64], int, list[float], NDArray[np.float32]]],
) -> tuple[dict[str, Any], int, list[NDArray[np.float64]], float]:
    """What is accepted and scored in empty scans; and the ideal observer's threshold there."""
    spec, n = build_pet_spec(PRESET), len(scans)
    scores, accepted, expected, maps = ([scan[part] for scan in scans] for part in range(4))
    false = int(np.count_nonzero(accepted))
    low, high = binomial_interval(false, n)
    rates = np.array(expected).mean(axis=0)
    shown = {
        "empty scans": n,
        "with anything accepted at q <= 0.05": f"{false} ({100 * low:.1f} to {100 * high:.1f} %)",
        "accepted per scan": f"{np.mean(accepted):.4f}",
        "candidates per scan where at most 1 is expected": f"{rates[0]:.3f}",
        "candidates per scan where at most 0.1 is expected": f"{rates[1]:.3f}",
    }
    stack = np.array(maps)
    body = scan_body(spec)
    deviation = stack.std(axis=0)
    maxima = [np.where(body, one / deviation, 0) for one in stack]
    peaks = np.sort(np.concatenate([local_maxima(one) for one in maxima]))[::-1]
    return shown, false, scores, float(peaks[round(FALSE_PER_SCAN * n) - 1])


def filter_counts(spec: PetSpec, counts: PetCounts, drawn: NDArray[Any]) -> NDArray[np.float32]:
    """The ideal observer's statistic at every voxel, not standardised: counts back-projected, blurred as a point is."""
    scanner = spec.scanner
    ratio = counts.factors * (drawn - counts.prompts) / np.maximum(counts.prompts, 1e-12)
    total = np.zeros((scanner.shape[0] * scanner.shape[1], scanner.shape[2]), np.float32)
    for subset in build_subsets(scanner):
        total += subset.backward @ ratio[subset.angles].reshape(-1, scanner.shape[2]).astype(np.float32)
    blur = [w / e / 2.3548 for w, e in zip((1.5, 1.5, 1.7), scanner.voxel_mm, strict=True)]
    return np.asarray(gaussian_filter(total.reshape(scanner.shape), blur), dtype=np.float32)


def scan_body(spec: PetSpec) -> NDArray[np.bool_]:
    """Voxels of the body."""
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in spec.scanner.shape], indexing="ij"), axis=-1)
    mm = spec.grid.to_mm(ijk)
    return np.asarray(((mm / np.array(spec.tissue[0].half_axes_mm)) ** 2).sum(axis=-1) <= 1)


def local_maxima(z: NDArray[Any]) -> NDArray[np.float64]:
    """Values of a map's maxima above 2.5 within two voxels."""
    return np.asarray(z[(z == maximum_filter(z, size=5)) & (z > 2.5)], dtype=np.float64)


def threshold_of(scores: list[NDArray[np.float64]], n: int) -> float:
    """The score that one false candidate in ten empty scans reaches."""
    return float(np.sort(np.concatenate(scores))[::-1][round(FALSE_PER_SCAN * n) - 1])


def detect_spheres(
    response: PetResponse, threshold: float, ideal_threshold: float, seed: int
) -> list[dict[str, float]]:
    """One scan of four small spheres: the multiple of the ideal observer's need, and whether each was found."""
    rng = np.random.default_rng(seed)
    bare = build_pet_spec(PRESET)
    counts = (EMPTY_COUNTS or fill_empty_counts())[0]
    needed = ideal_threshold + float(norm.ppf(POWER))
    spheres, multiples = [], []
    for place in draw_places(rng, 4):
        unit = HotSphere(tuple(map(float, place)), 0.25, 1.0)
        multiple = float(rng.choice(MULTIPLES))
        spheres.append(dataclasses.replace(unit, activity_bq=multiple * needed / ideal_d_prime(bare, counts, unit)))
        multiples.append(multiple)
    scan, _ = simulate_pet_scan(build_pet_spec(PRESET, tuple(spheres)), int(rng.integers(2**31)))
    found = find_hot_spots(scan, response, PetConfig()).clusters
    mm = np.column_stack([found[name] for name in ("x_mm", "y_mm", "z_mm")])
    rows = []
    for sphere, multiple in zip(spheres, multiples, strict=True):
        near = np.linalg.norm(mm - sphere.centre_mm, axis=1) <= max(response.fwhm_mm)
        place = np.array(sphere.centre_mm)
        rows.append(
            {
                "multiple": multiple,
                "found": float((near & (found["score"] >= threshold)).any()),
                "edge": float(0.5 < organ_depth(place) < 1.6),
            }
        )
    return rows


def group_places(rows: list[dict[str, float]]) -> dict[str, list[dict[str, float]]]:
    """All places, and those away from the organ's surface."""
    return {"everywhere": rows, "away from the organ's surface": [row for row in rows if not row["edge"]]}


def print_limit(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Share found at each multiple; the multiple at which 90 % are, by a fitted normal ogive."""
    m = np.array([row["multiple"] for row in rows])
    hit = np.array([row["found"] for row in rows])
    shares = {f"{level:g}": f"{int(hit[m == level].sum())} of {int((m == level).sum())}" for level in MULTIPLES}

    def loss(p: NDArray[np.float64]) -> float:
        chance = np.clip(norm.cdf((m - p[0]) / math.exp(p[1])), 1e-6, 1 - 1e-6)
        return -float((hit * np.log(chance) + (1 - hit) * np.log(1 - chance)).sum())

    def fit(start: tuple[float, float] = (1.2, -1.0)) -> float:
        best = minimize(loss, start, method="Nelder-Mead").x
        return float(best[0] + norm.ppf(POWER) * math.exp(best[1]))

    ratio = fit()
    draws = []
    everything, resampler = (m.copy(), hit.copy()), np.random.default_rng(len(rows))
    for _ in range(100):
        chosen = resampler.integers(0, len(rows), len(rows))
        m, hit = everything[0][chosen], everything[1][chosen]
        draws.append(fit())
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{name}: smallest detectable activity over the ideal's {ratio:.2f} ({low:.2f} to {high:.2f})")
    print("   found at multiples of it: " + ", ".join(f"{level} {text}" for level, text in shares.items()))
    return {"ratio": round(ratio, 3), "interval": [round(float(low), 3), round(float(high), 3)], "found": shares}


def summarise_forced(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Bias and coverage of some spheres."""
    if not rows:
        return {"n": 0}
    ratio = np.array([row["activity_bq"] / row["truth_bq"] for row in rows])
    pull = np.array([(row["activity_bq"] - row["truth_bq"]) / row["activity_bq_err"] for row in rows])
    covered = int((np.abs(pull) <= norm.ppf(0.975)).sum())
    return {
        "n": len(rows),
        "bias": round(float(ratio.mean() - 1), 4),
        "bias_interval": [round(value - 1, 4) for value in mean_interval(ratio)],
        "median_bias": round(float(np.median(ratio) - 1), 4),
        "rms_error": round(float(np.sqrt(((ratio - 1) ** 2).mean())), 4),
        "covered": round(covered / len(rows), 4),
        "covered_interval": [round(value, 4) for value in binomial_interval(covered, len(rows))],
        "pull_sd": round(float(pull.std()), 3),
        "peak_error": round(float(np.mean([row["peak_ratio"] - 1 for row in rows])), 4),
    }


def summarise_cell(rows: list[dict[str, float]], radius: float, contrast: float) -> dict[str, Any]:
    """The spheres of one size and contrast."""
    chosen = [row for row in rows if row["radius_mm"] == radius and row["contrast"] == contrast]
    return {"diameter_mm": 2 * radius, "contrast": contrast, **summarise_forced(chosen)}


def print_forced(rows: list[dict[str, float]]) -> None:
    """A line per size and contrast, and all of them."""
    counted = [row for row in rows if row["d_prime"] >= LEAST_D_PRIME]
    print(f"spheres {len(rows)}, with an ideal d' of at least {LEAST_D_PRIME:g}: {len(counted)}")
    lines = [summarise_cell(counted, radius, contrast) for radius in RADII_MM for contrast in CONTRASTS]
    groups = {"all": counted, "away from the organ's surface": [row for row in counted if not row["edge"]]}
    for line in lines:
        if line["n"]:
            print_line(f"{line['diameter_mm']:g} mm, {line['contrast']:g}:1", line)
    for name, group in groups.items():
        print_line(name, summarise_forced(group))


def print_line(name: str, line: dict[str, Any]) -> None:
    """One line of the table."""
    low, high = line["bias_interval"]
    cover = line["covered_interval"]
    print(
        f"{name:<30} n {line['n']:>3}, bias {100 * line['bias']:+6.1f} % ({100 * low:+.1f} to {100 * high:+.1f}), "
        f"rms {100 * line['rms_error']:5.1f} %, covered {100 * line['covered']:5.1f} % "
        f"({100 * cover[0]:.1f} to {100 * cover[1]:.1f}), peak {100 * line['peak_error']:+6.1f} %"
    )


def plot(forced: list[dict[str, float]], limit: list[dict[str, float]], path: Path) -> None:
    """Activity against truth, the peak beside it, and the share found against the ideal's need."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), constrained_layout=True)
    counted = [row for row in forced if row["d_prime"] >= LEAST_D_PRIME]
    for radius in RADII_MM:
        rows = [row for row in counted if row["radius_mm"] == radius]
        truth = np.array([row["truth_bq"] for row in rows])
        value = np.array([row["activity_bq"] for row in rows]) / np.maximum(truth, 1e-9)
        error = np.array([row["activity_bq_err"] for row in rows]) / np.maximum(truth, 1e-9)
        left.errorbar(truth, value, error, fmt="o", ms=3, lw=0.7, label=f"{2 * radius:g} mm")
        middle.plot(truth, [row["peak_ratio"] for row in rows], "o", ms=3)
    left.axhline(1, color="k", lw=0.7)
    middle.axhline(1, color="k", lw=0.7)
    left.set(xscale="log", ylim=(0, 2), xlabel="true activity, Bq", ylabel="measured / true", title="fitted activity")
    middle.set(xscale="log", ylim=(0, 2), xlabel="true activity, Bq", ylabel="measured / true", title="peak uptake")
    left.legend(fontsize=8)
    for name, rows in group_places(limit).items():
        shares = [[row["found"] for row in rows if row["multiple"] == level] for level in MULTIPLES]
        right.plot(MULTIPLES, [np.mean(share) if share else np.nan for share in shares], "o-", label=name)
    right.legend(fontsize=8)
    right.axhline(POWER, color="k", lw=0.7, ls=":")
    right.axvline(1, color="k", lw=0.7, ls=":")
    right.set(xlabel="activity / ideal observer's need", ylabel="share found", ylim=(0, 1.02), title="detection")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
