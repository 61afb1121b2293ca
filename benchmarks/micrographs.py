"""Are areas, scale bars and numbers from electron micrographs right, and as sure as they say?

    uv run python benchmarks/micrographs.py [--seed N] [--n 20] [--no-real]

Real: the seven micrographs under $FERROSIGHT_DATA/tem, whose lysosomes and particles their authors outlined by hand;
the method was set up on others, but the limit of `outline_rival` and the choice of aggregates with these seven known.
Synthetic: micrographs made electron by electron with a known number of particles; density, contrast, noise,
resolution, spread of size and touching are swept, and what cannot be counted must be refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from typing import Any

import numpy as np

from _command import data_folder, print_table, write_results
from ferrosight.io.micrographs import read_micrograph
from ferrosight.numerics.intervals import binomial_interval
from ferrosight.simulate.micrographs import MicrographSpec, simulate_micrograph
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types.micrograph import MicrographOptions
from ferrosight.uptake.counts import count_particles
from ferrosight.uptake.density import measure_density
from ferrosight.uptake.micrographs import measure_micrograph
from ferrosight.uptake.particles import find_singles

BASE = MicrographSpec(shape=(520, 560))
#: What is swept, one at a time; the last are beyond what can be counted.
COUNTABLE: dict[str, dict[str, float]] = {
    "very sparse: 0.02 layers": {"layers": 0.02},
    "sparse: 0.05 layers": {"layers": 0.05},
    "0.15 layers": {"layers": 0.15},
    "0.3 layers": {},
    "0.6 layers": {"layers": 0.6},
    "1 layer": {"layers": 1.0},
    "low contrast: 0.3": {"contrast": 0.3},
    "high contrast: 1.2": {"contrast": 1.2},
    "noisy: 30 electrons": {"electrons": 30.0},
    "coarse: 1.5 nm pixels": {"nm_per_pixel": 1.5},
    "sizes vary by 15 %": {"size_cv": 0.15},
    "side by side: 0.3 layers, none over another": {"hard_core": 1.0},
    "side by side: 0.6 layers, none over another": {"layers": 0.6, "hard_core": 1.0},
    "in between: 0.6 layers, middles 0.7 diameters apart": {"layers": 0.6, "hard_core": 0.7},
}
BEYOND: dict[str, dict[str, float]] = {
    "4 layers": {"layers": 4.0},
    "black: density 8": {"contrast": 8.0},
    "unresolved: 3.2 nm pixels": {"nm_per_pixel": 3.2},
    "very noisy: 3 electrons": {"electrons": 3.0},
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=20, help="synthetic micrographs of each kind")
    parser.add_argument("--no-real", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    with limit_cpus(2):
        real = [] if options.no_real else measure_real()
        rows = [sweep(name, change, options.n, rng) for name, change in {**COUNTABLE, **BEYOND}.items()]
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    measured, details = summarise(real, rows)
    everything = {"seed": options.seed, "n": options.n, "real": real, "synthetic": rows}
    write_results("micrographs", "uv run python benchmarks/micrographs.py", measured, everything, details)


def measure_real() -> list[dict[str, Any]]:
    """The seven: the scale as read, and areas over what their authors outlined."""
    folder = data_folder() / "tem"
    head, *lines = (folder / "measured.tsv").read_text(encoding="utf-8").splitlines()
    results = []
    for line in lines:
        truth = dict(zip(head.split("\t"), line.split("\t"), strict=True))
        measured = measure_micrograph(read_micrograph(folder / truth["image"]), MicrographOptions())
        row = measured.bodies.to_pandas().iloc[0]
        body, particles, dense = (
            float(row[ours]) / float(truth[theirs])
            for ours, theirs in (
                ("body_area_nm2", "lysosome_area_nm2"),
                ("particle_area_nm2", "particle_area_nm2"),
                ("dense_area_nm2", "dense_particle_area_nm2"),
            )
        )
        result = {
            "image": truth["image"],
            "scale": row["scale_label"],
            "nm_per_pixel": float(row["pixel_nm"]),
            "body": body,
            "body_err": float(row["body_area_nm2_err"]) / float(truth["lysosome_area_nm2"]),
            "particles": particles,
            "particles_err": float(row["particle_area_nm2_err"]) / float(truth["particle_area_nm2"]),
            "dense": dense,
            "remarks": row["remarks"],
        }
        results.append(result)
        print(
            f"{truth['image']:<24} {result['scale']:>7} {result['nm_per_pixel']:.4f} nm per pixel, over the outlined: "
            f"lysosome {body:.2f} ± {result['body_err']:.2f}, particles {particles:.2f} ± "
            f"{result['particles_err']:.2f}, dense {dense:.2f}  {row['remarks']}",
            flush=True,
        )
    return results


def sweep(name: str, change: dict[str, float], n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Bias and coverage of the number in ``n`` synthetic micrographs of one kind."""
    spec = dataclasses.replace(BASE, **change)  # type: ignore[arg-type]
    errors, held, halves, refusals = [], [], [], []
    for _ in range(n):
        image, truth = simulate_micrograph(spec, rng)
        density = measure_density(image, np.zeros(image.shape, bool), spec.nm_per_pixel)
        counts = count_particles(density, find_singles(density))
        number, low, high = counts.sum_over(np.ones(image.shape, bool))
        if counts.refusal:
            refusals.append(counts.refusal)
            continue
        errors.append(number / truth - 1)
        held.append(low <= truth <= high)
        halves.append((high - low) / 2 / truth)
    kept = len(errors)
    low, high = binomial_interval(sum(held), kept)
    row = {
        "name": name,
        "n": n,
        "refused": len(refusals),
        "why": sorted(set(refusals)),
        "bias": float(np.mean(errors)) if kept else None,
        "bias_err": float(np.std(errors, ddof=1) / np.sqrt(kept)) if kept > 1 else None,
        "spread": float(np.std(errors, ddof=1)) if kept > 1 else None,
        "half_width": float(np.mean(halves)) if kept else None,
        "held": int(sum(held)),
        "countable": name in COUNTABLE,
    }
    said = f"refused {len(refusals):>3} of {n} ({', '.join(row['why'])})" if refusals else f"refused   0 of {n}"
    if kept > 1:
        said += (
            f"; bias {100 * row['bias']:+.1f} ± {100 * row['bias_err']:.1f} %, spread {100 * row['spread']:.1f} %, "
            f"half width {100 * row['half_width']:.1f} %, held {sum(held)} of {kept} "
            f"({100 * low:.0f} to {100 * high:.0f} %)"
        )
    print(f"{name:<26} {said}", flush=True)
    return row


def summarise(real: list[dict[str, Any]], rows: list[dict[str, Any]]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The line for the README's table, and the rows for the documentation."""
    details = [
        {
            "what": f"micrographs, {one['image']}: measured over outlined by hand",
            "measured": f"lysosome {one['body']:.2f}, particles {one['particles']:.2f}; {one['remarks'] or 'none'}",
        }
        for one in real
    ]
    for row in rows:
        kept = row["n"] - row["refused"]
        said = f"refused {row['refused']} of {row['n']}"
        if kept > 1:
            said += f"; bias {100 * row['bias']:+.1f} ± {100 * row['bias_err']:.1f} %"
            said += f"; 95 % intervals held {row['held']} of {kept}"
        details.append({"what": f"micrographs, synthetic, {row['name']}", "measured": said})
    if not real:
        return {}, details
    close = [sum(abs(one[kind] - 1) <= limit for one in real) for kind, limit in (("particles", 0.2), ("body", 0.15))]
    text = f"{close[0]} and {close[1]} of {len(real)}"
    return {"micrographs: particle area within 20 %, lysosome area within 15 % of outlines by hand": text}, details


if __name__ == "__main__":
    main()
