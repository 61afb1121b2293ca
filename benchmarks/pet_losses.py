"""PET: where between the counts and the verdict is a small hot spot's signal lost?

    python benchmarks/pet_losses.py [--seed N] [--n-empty 30] [--n-full 12]

The small-animal preset of ``benchmarks/pet.py``, spheres 0.5 mm across at five times what the ideal observer of the
counts needs. At each of their places, over many empty scans and in the scan with the sphere, signal over noise is taken

1. of the counts, for an observer who knows background, place and size (the ideal);
2. of the reconstructed image, by the filter that is matched to a point in the image's noise, background known;
3. by the filters of the search, which fit the background beside the point;
4. as the search itself states it, with the error that it takes for the place from the image.

Each step's loss is the ratio to the one before; the median over places, with its error from drawing places anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from ferrosight.pet.noise import measure_noise
from ferrosight.pet.screen import Screen, interpolate, match_kernel, screen_image, weigh
from ferrosight.simulate import HotSphere, build_pet_spec, simulate_pet_scan
from ferrosight.study.resources import limit_cpus
from ferrosight.types import PetResponse
from pet import PRESET, draw_places, fill_empty_counts, ideal_d_prime, organ_depth, use_one_cpu

Array = NDArray[np.float64]

#: The preset's point, as its own scans of a point give it (benchmarks/pet.py).
RESPONSE = PetResponse((1.26, 1.24, 1.49), 0.6)
D_PRIME, PER_SCAN = 25.0, 4
#: Voxels about a place that its interpolated value is read from.
_AROUND = 6
STEPS = ("reconstruction", "unknown background", "error taken for the place")


def main() -> None:
    """Simulate, measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n-empty", type=int, default=30)
    parser.add_argument("--n-full", type=int, default=12)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    use_one_cpu()
    rng = np.random.default_rng(options.seed)
    with limit_cpus(1):
        rows = measure_losses(rng, options.n_empty, options.n_full)
    groups = {
        "everywhere": rows,
        "away from the organ's surface": rows[rows[:, -1] == 0],
        "at the organ's surface": rows[rows[:, -1] == 1],
    }
    details = [
        {"places": f"{name} ({len(part)})", **summarise(part, rng)} for name, part in groups.items() if len(part)
    ]
    for detail in details:
        print_table(detail)
        print()
    lost = f"{details[0]['all three']}; by reconstruction alone {details[0]['reconstruction']}"
    write_results(
        "pet_losses",
        f"uv run python benchmarks/pet_losses.py --seed {options.seed} --n-empty {options.n_empty} "
        f"--n-full {options.n_full}",
        {"simulated PET, signal over noise that is lost from the counts to the search": lost},
        {"seed": options.seed, "wall_s": round(time.perf_counter() - start), "details": details},
        details,
    )


@dataclasses.dataclass(frozen=True)
class Searched:
    """An empty scan: the image, its search, and what the filter that knows the background makes of it."""

    image: Array
    screen: Screen
    known: Array


def measure_losses(rng: np.random.Generator, n_empty: int, n_full: int) -> Array:
    """Signal over noise at each place (n, 4) by each of the ways, and 1 where the place is at the organ's surface."""
    bare = build_pet_spec(PRESET)
    voxel_mm, counts = bare.scanner.voxel_mm, fill_empty_counts()[0]
    scans = [simulate_pet_scan(bare, int(seed), counts)[0] for seed in rng.integers(2**31, size=n_empty)]
    images = [scan.average_frames().astype(np.float64) for scan in scans]
    noises = [measure_noise(image, voxel_mm, RESPONSE) for image in images]
    mean = np.mean(images, axis=0)
    kernel = match_kernel(noises[0], voxel_mm, RESPONSE, 2.5, 0)
    empty = [
        Searched(image, screen_image(image, noise, voxel_mm, RESPONSE), weigh(image - mean, kernel))
        for image, noise in zip(images, noises, strict=True)
    ]
    rows = []
    for _ in range(n_full):
        units = [HotSphere(tuple(map(float, place)), 0.25, 1.0) for place in draw_places(rng, PER_SCAN)]
        spheres = [dataclasses.replace(one, activity_bq=D_PRIME / ideal_d_prime(bare, counts, one)) for one in units]
        scan, _ = simulate_pet_scan(build_pet_spec(PRESET, tuple(spheres)), int(rng.integers(2**31)))
        excess = scan.average_frames() - mean
        kernels = [kernel, *(one.kernel for one in empty[0].screen.filters)]
        signals = [weigh(excess, one) for one in kernels]
        for sphere in spheres:
            place = np.array(sphere.centre_mm)
            at = scan.grid.to_ijk(place)
            is_edge = float(0.5 < organ_depth(place) < 1.6)
            rows.append([D_PRIME, *compare_ways(signals, empty, at), is_edge])
    return np.array(rows)


def compare_ways(signals: list[Array], empty: list[Searched], at: Array) -> tuple[float, float, float]:
    """Signal over noise of a place (3,), voxels: background known, background fitted, as the search states it."""
    middle = tuple(int(n) for n in np.round(at))
    # The filter that the empty scans choose there: a source in the image is no part of its background.
    chosen = int(np.bincount([int(one.screen.choice[middle]) for one in empty]).argmax())
    known = [read_at(one.known, at) for one in empty]
    filters = [one.screen.filters[chosen] for one in empty]
    fitted = [read_at(one.amplitude_bq, at) for one in filters]
    stated = [float(one.unit_err_bq[middle] * one.scatter[middle]) for one in filters]
    signal = read_at(signals[1 + chosen], at)
    return (
        read_at(signals[0], at) / float(np.std(known, ddof=1)),
        signal / float(np.std(fitted, ddof=1)),
        signal / float(np.mean(stated)),
    )


def read_at(image: Array, at: Array) -> float:
    """An image's cubic spline at one fractional voxel (3,), from the voxels about it."""
    low = np.maximum(np.round(at).astype(np.int64) - _AROUND, 0)
    box = image[tuple(slice(int(n), int(n) + 2 * _AROUND + 1) for n in low)]
    return float(interpolate(box, (at - low)[None])[0])


def summarise(rows: Array, rng: np.random.Generator) -> dict[str, str]:
    """Each step's loss: the ratio of medians over places would mix places, so the median of ratios."""
    ratios = rows[:, :3] / rows[:, 1:4]
    ratios = np.column_stack([ratios, rows[:, 0] / rows[:, 3]])
    drawn = [np.median(ratios[rng.integers(len(rows), size=len(rows))], axis=0) for _ in range(200)]
    middle, error = np.median(ratios, axis=0), np.std(drawn, axis=0, ddof=1)
    return {name: f"{m:.2f} ± {e:.2f}" for name, m, e in zip((*STEPS, "all three"), middle, error, strict=True)}


if __name__ == "__main__":
    main()
