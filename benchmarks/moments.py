"""Are moments right, and are they as sure as they say? At places that are given, and of what is accepted.

    FERROSIGHT_DATA=... uv run python benchmarks/moments.py [--seed N] [--n 4]

Simulated scans with the protocol of the gel (its echo time, B0 and voxels; SNR 38), clusters of 0.5 to 100 pg
(1 pg stands for 9.2e-14 A m²) at random sub-voxel places, twelve voxels apart, every mass in every scan. Measured at
the true places (``measure_at``) and as accepted by ``analyse_scan``, with the point spread right (k-space simulated and
chosen by the scan itself) and wrong (the voxel's box simulated, k-space fitted). ``--n`` is the number of scans with
the right point spread, each measured with four draws of noise; a quarter as many have the wrong one.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

import ferrosight as fs
from _command import OUT, data_folder, print_table, write_results
from _simulated import draw_sites, summarise_estimates
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import Scan, Table

AM2_PER_PG = 9.2e-14
MASSES_PG = (0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0)
SNR = 38.0
SHAPE = (96, 90, 66)
APART_VOXELS, MARGIN_VOXELS, PER_MASS, DRAWS = 12.0, 6.0, 9, 4
MATCH_MM = 0.07


def main() -> None:
    """Simulate, measure, print, plot, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=4)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    found: dict[str, list[NDArray[np.float64]]] = {}
    with limit_cpus(2):
        gel = fs.read_bids(data_folder() / "gel", subject="gel")
        for number in range(options.n + max(options.n // 4, 1)):
            measure_scan(gel, "right" if number < options.n else "wrong", rng, found)
            print(f"scan {number + 1}: {time.perf_counter() - start:.0f} s", flush=True)
    rows = [summarise(name, np.concatenate(parts)) for name, parts in found.items()]
    for row in rows:
        print_row(row)
    plot(rows)
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    measured = {
        f"simulated gel, {row['name']}: 95 % intervals that hold, of {row['n']}": (
            f"{100 * row['covered']:.1f} ± {100 * row['covered_err']:.1f} %, "
            f"largest bias {100 * row['worst_bias']:+.1f} %"
        )
        for row in rows
    }
    details = [{"what": what, "measured": value} for what, value in measured.items()]
    everything = {"seed": options.seed, "rows": rows}
    write_results(
        "moments", f"uv run python benchmarks/moments.py --seed {options.seed}", measured, everything, details
    )


def measure_scan(gel: Scan, spread: str, rng: np.random.Generator, found: dict[str, list[NDArray[np.float64]]]) -> None:
    """One simulated scan with several draws of noise; adds rows of (mass, moment, low, high), pg, by kind."""
    masses = np.repeat(MASSES_PG, PER_MASS)
    voxels = draw_sites(len(masses), SHAPE, MARGIN_VOXELS, APART_VOXELS, rng)
    affine = build_affine(SHAPE, gel.grid.voxel_mm)
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    spec = ScanSpec(
        SHAPE,
        affine,
        tuple(gel.echo_times_s),
        gel.b0_t,
        snr=np.inf,
        sources=tuple(Point(tuple(at), pg * AM2_PER_PG) for at, pg in zip(places, masses, strict=True)),
        point_spread="kspace" if spread == "right" else "box",
        sub_sampling=8,
    )
    # Finer cells change moments by 0.2 %, and take eight times as long.
    clean, _ = simulate_scan(spec, int(rng.integers(2**31)))
    for _ in range(DRAWS):
        noise = rng.normal(size=clean.signal.shape) + 1j * rng.normal(size=clean.signal.shape)
        scan = dataclasses.replace(clean, signal=clean.signal + noise / SNR)
        # Left to itself a scan finds out that its point spread is the box.
        never = mock.patch("ferrosight.clusters.point_spread._is_better", return_value=False)
        with never if spread == "wrong" else mock.patch.dict({}):
            catalogue = fs.analyse_scan(scan)
            forced = fs.measure_at(scan, places)
        found.setdefault(f"at given places, {spread} point spread", []).append(pack(masses, forced))
        accepted = catalogue.accepted
        nearest = match(accepted, places)
        hit = nearest >= 0
        if hit.any():
            kept = accepted.where(nearest[hit])
            found.setdefault(f"accepted, {spread} point spread", []).append(pack(masses[hit], kept))


def pack(masses: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
    """Rows of (mass, moment, low, high), pg."""
    names = ("moment_am2", "moment_am2_low", "moment_am2_high")
    return np.column_stack([masses, *(table[name] / AM2_PER_PG for name in names)])


def match(accepted: Table, places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Row of the accepted cluster within reach of each place, -1 where there is none."""
    if not len(accepted):
        return np.full(len(places), -1)
    distance, nearest = KDTree(np.column_stack([accepted[f"{axis}_mm"] for axis in "xyz"])).query(places)
    return np.where(distance < MATCH_MM, nearest, -1)


def summarise(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Bias and coverage, with their standard errors, by mass and pooled."""
    mass, moment, low, high = values.T
    inside = (low <= mass) & (mass <= high)
    by_mass = []
    for pg in MASSES_PG:
        here = mass == pg
        if np.count_nonzero(here) > 1:
            estimates = summarise_estimates(moment[here] / pg, inside[here])
            by_mass.append({"pg": pg, "n": int(np.count_nonzero(here)), **estimates})
    covered = float(inside.mean())
    return {
        "name": name,
        "n": len(values),
        "covered": covered,
        "covered_err": float(np.sqrt(covered * (1 - covered) / len(values))),
        "worst_bias": max((row["bias"] for row in by_mass), key=abs),
        "by_mass": by_mass,
    }


def print_row(row: dict[str, Any]) -> None:
    """One kind: pooled, then mass by mass."""
    print(f"{row['name']}: {100 * row['covered']:.1f} ± {100 * row['covered_err']:.1f} % of {row['n']} intervals hold")
    for one in row["by_mass"]:
        print(
            f"  {one['pg']:>5g} pg: n {one['n']:>4}, bias {100 * one['bias']:+6.2f} ± {100 * one['bias_err']:.2f} %, "
            f"spread {100 * one['spread']:5.2f} %, "
            f"covered {100 * one['covered']:5.1f} ± {100 * one['covered_err']:.1f} %"
        )


def plot(rows: list[dict[str, Any]]) -> None:
    """Bias and coverage against mass, a line per kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, row in enumerate(rows):
        pg = np.array([one["pg"] for one in row["by_mass"]]) * 1.03 ** (number - 1.5)
        for axes, name in ((left, "bias"), (right, "covered")):
            values = [100 * one[name] for one in row["by_mass"]]
            errors = [100 * one[f"{name}_err"] for one in row["by_mass"]]
            axes.errorbar(pg, values, errors, fmt="o-", ms=4, lw=1, capsize=2, label=row["name"])
    left.axhspan(-5, 5, color="0.92", zorder=0)
    left.axhline(0, color="0.6", lw=0.8)
    right.axhspan(93, 97, color="0.92", zorder=0)
    left.set(ylabel="bias of the moment (%)")
    right.set(ylabel="95 % intervals that hold the truth (%)", ylim=(0, 102))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="mass (pg; 1 pg = 9.2e-14 A m²)")
        axes.set_xticks(MASSES_PG, [f"{pg:g}" for pg in MASSES_PG])
        axes.minorticks_off()
    right.legend(fontsize=8, loc="lower left")
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "moments.png")
    print(f"plot: {OUT / 'moments.png'}")


if __name__ == "__main__":
    main()
