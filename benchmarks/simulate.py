"""How long simulating takes: a large scan with many clusters and a vessel tree, through each point spread.

    uv run python benchmarks/simulate.py [--seed N] [--shape 192,192,192]

0.1 mm voxels at 9.4 T, four echoes, 200 clusters of 1 to 200 cells, a tree of veins, smooth background and texture.
Prints a table and, at this size, writes benchmarks/results/simulate.json. Every row is a process of its own on two
cores, run twice, the first time in a small field of view to compile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from typing import Any

import numpy as np

from _command import N_CPUS, print_table, write_results
from ferrosight.simulate import ScanSpec, build_affine, simulate_scan
from ferrosight.simulate.anatomy import Content, draw_sources
from ferrosight.study.resources import peak_memory_mb

CONTENT = Content(
    cells=tuple(int(n) for n in np.geomspace(1, 200, 200).round()),
    iron_per_cell_pg=2.01,
    ms_am2_per_kg_fe=93.6,
    n_trees=1,
    root_radius_um=150.0,
    twig_radius_um=25.0,
)


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--shape", default="192,192,192")
    options = parser.parse_args()
    shape = tuple(int(n) for n in options.shape.split(","))
    cores = sorted(os.sched_getaffinity(0))[:N_CPUS]
    os.sched_setaffinity(0, cores)
    print(f"seed {options.seed}, {' x '.join(map(str, shape))} x 4 echoes, {len(cores)} cores", flush=True)
    rows = []
    for point_spread in ("kspace", "box"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(run, (point_spread, shape, options.seed)))
        row = rows[-1]
        print_table(
            {
                f"{point_spread}: wall time, s": row["wall_s"],
                f"{point_spread}: peak memory, MB": row["peak_mb"],
                f"{point_spread}: clusters, pieces of vein": f"{row['n_clusters']}, {row['n_veins']}",
                f"{point_spread}: load before": f"{row['load_before']:.1f}",
            }
        )
    if options.shape != parser.get_default("shape"):
        return
    size = " × ".join(map(str, shape))
    measured = {
        f"simulating {size} × 4 echoes, {row['n_clusters']} clusters, {row['n_veins']} pieces of vein, "
        f"{row['point_spread']}": f"{row['wall_s']} s on {len(cores)} cores, {row['peak_mb']} MB"
        for row in rows
    }
    content = {"seed": options.seed, "shape": shape, "n_cores": len(cores), "rows": rows}
    write_results("simulate", "uv run python benchmarks/simulate.py", measured, content)


def run(point_spread: str, shape: tuple[int, int, int], seed: int) -> dict[str, Any]:
    """One scan, compiled before; how long it took."""
    simulate_scan(build_spec(point_spread, (24, 22, 20), seed), seed)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    spec = build_spec(point_spread, shape, seed)
    _, truth = simulate_scan(spec, seed)
    kinds = truth.table["kind"].tolist()
    return {
        "point_spread": point_spread,
        "wall_s": round(time.perf_counter() - start, 1),
        "peak_mb": round(peak_memory_mb() or 0),
        "n_clusters": kinds.count("labelled"),
        "n_veins": kinds.count("vein"),
        "load_before": load,
    }


def build_spec(point_spread: str, shape: tuple[int, int, int], seed: int) -> ScanSpec:
    """The scan; in a small field of view with a share of the clusters."""
    spec = ScanSpec(
        shape,
        build_affine(shape, (0.1, 0.1, 0.1)),
        (0.004, 0.008, 0.012, 0.016),
        9.4,
        snr=40.0,
        r2star_per_s=30.0,
        point_spread=point_spread,  # type: ignore[arg-type]
        tissue_fraction=0.95,
        receive_variation=0.3,
        background_hz=60.0,
        texture_ppm=0.01,
        texture_mm=0.15,
        sub_sampling=8,
    )
    share = min(1.0, float(np.prod(shape)) / 192**3)
    return draw_sources(spec, CONTENT, share, np.random.SeedSequence(seed), 0.0)


if __name__ == "__main__":
    main()
