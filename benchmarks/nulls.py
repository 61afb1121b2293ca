"""Scans with nothing to find, and scans with next to nothing: how often is anything accepted, and are p-values right?

    uv run python benchmarks/nulls.py [--seed N] [--n 200] [--kinds white,correlated,...] [--resume]

Simulated crops and whole ellipsoids of tissue, 64 x 60 x 28 voxels of 0.1 mm at 9.4 T, SNR 20 to 60; one echo or
four, B0 along an axis or oblique, either sign of phase, in turn. No setting is told which kind it is.

white       white noise, a smooth background field, receive profile and coil phase (all kinds have these three)
correlated  6/8 partial Fourier along one or two axes, or zero filling by 1.5 along two
texture     random susceptibility of 0.01 ppm through the dipole kernel, correlated over 1 to 1.5 voxels
rough       the same of 0.02 ppm
veins       4 to 8 straight veins across everything, of any direction, 30 to 100 µm, 0.4 ppm
lone        1, 3 or 30 clusters in texture of 0.002 ppm (a quarter of n scans each), 300 in a larger volume (n / 40)

Each lone cluster has d' = 10: its moment is ten times the error that a fit at its place gets from the noise, its
position and a smooth background free, worked out on the same scan without noise.

If E is the number of false candidates expected at a score, then in a scan with nothing to find the smallest E of
all candidates falls below x with probability 1 - exp(-x), and x candidates per scan have E below x: the plot shows
both. As p = E / places, the second is the p-values' tail.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

import ferrosight as fs
from _command import OUT, print_table, write_results
from _simulated import draw_sites, measure_d_primes
from ferrosight.simulate import Point, ScanSpec, Source, Vein, build_affine, simulate_scan
from ferrosight.simulate.spec import FULL_SUPPORT
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import GRAFT_ESTIMATOR, AxisSupport, Catalogue, PhaseSign, Scan, Table

Row = dict[str, Any]

ROWS = OUT / "nulls_rows.jsonl"
KINDS = ("white", "correlated", "texture", "rough", "veins", "lone")
TEXTURE_PPM = {"texture": 0.01, "rough": 0.02, "lone": 0.002}
SHAPE, LARGE = (64, 60, 28), (112, 96, 40)
VOXEL_MM = 0.1
#: Simulated around a crop, so that nothing wraps round at its faces.
MARGIN = 16
#: Few directions of B0, so that a table of signals serves many scans.
ROTATIONS = ((0.0, 0.0, 0.0), (25.0, -40.0, 0.0), (50.0, 20.0, 0.0))
PARTIAL, FILLED = AxisSupport(-0.25, 0.5), AxisSupport(-1 / 3, 1 / 3)
SUPPORTS = (
    (PARTIAL, AxisSupport(), AxisSupport()),
    (AxisSupport(-0.5, 0.25), PARTIAL, AxisSupport()),
    (FILLED, FILLED, AxisSupport()),
)
N_LONE = (1, 3, 30, 300)
D_PRIME = 10.0
APART_VOXELS, FROM_FACE_VOXELS, MATCH_VOXELS = 8.0, 5.0, 1.0
#: Expected numbers of false candidates at which the calibration is tabulated.
LEVELS = (0.01, 0.05, 0.2, 1.0)
#: Candidates scoring less are not kept.
LOWEST_SCORE = 3.5


def main() -> None:
    """Simulate, analyse, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--resume", action="store_true", help="go on with the scans of a run that was cut short")
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"seed {options.seed}, {options.n} scans per kind", flush=True)
    rows = read_finished(options.seed) if options.resume else []
    finished = {(row["kind"], row["n_clusters"], row["index"]) for row in rows}
    OUT.mkdir(exist_ok=True)
    with limit_cpus(2), ROWS.open("a" if options.resume else "w", encoding="utf-8") as stream:
        for kind, n_clusters, index in list_scans(options.kinds.split(","), options.n):
            if (kind, n_clusters, index) not in finished:
                rows.append({"run_seed": options.seed, **run_scan(kind, n_clusters, index, options.seed)})
                print(json.dumps(rows[-1]), file=stream, flush=True)
                print_progress(rows[-1])
    report(rows, options.seed)
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})


def read_finished(seed: int) -> list[Row]:
    """The rows of an earlier run with the same seed."""
    lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.exists() else []
    return [row for row in map(json.loads, lines) if row["run_seed"] == seed]


def list_scans(kinds: list[str], n: int) -> Iterator[tuple[str, int, int]]:
    """Kind, number of clusters and index of every scan, kinds in turn so that a run cut short has some of each."""
    for index in range(n):
        for kind in kinds:
            if kind != "lone":
                yield kind, 0, index
            elif index % 4 < 3:
                yield kind, N_LONE[index % 4], index // 4
            elif index % 40 == 39:
                yield kind, N_LONE[3], index // 40


def run_scan(kind: str, n_clusters: int, index: int, seed: int) -> Row:
    """Simulate and analyse one scan; what came of it."""
    start = time.perf_counter()
    own = np.random.SeedSequence([seed, KINDS.index(kind), n_clusters, index])
    rng = np.random.default_rng(own)
    draw = int(own.generate_state(1)[0])
    spec, cropped = build_spec(kind, n_clusters, index, rng)
    if n_clusters:
        spec = add_clusters(spec, n_clusters, draw, rng)
    scan, _ = simulate_scan(spec, draw)
    scan = crop_scan(scan) if cropped else scan
    catalogue = fs.analyse_scan(scan)
    accepted = catalogue.accepted
    return {
        "kind": kind,
        "n_clusters": n_clusters,
        "index": index,
        "seed": draw,
        "n_echoes": len(spec.echo_times_s),
        "b0_in_array": scan.b0_in_array.round(4).tolist(),
        "phase_sign": int(spec.phase_sign),
        "cropped": cropped,
        "support": [(one.low, one.high) for one in spec.support],
        "snr": spec.snr,
        "texture_mm": spec.texture_mm,
        **describe_null(catalogue),
        "clusters": match_clusters(scan, catalogue, spec),
        "n_false": count_false(accepted, spec),
        "n_false_grafts": count_false(accepted.where(accepted["estimator"] == GRAFT_ESTIMATOR), spec),
        "wall_s": round(time.perf_counter() - start, 2),
    }


def build_spec(kind: str, n_clusters: int, index: int, rng: np.random.Generator) -> tuple[ScanSpec, bool]:
    """A scan without clusters, and whether its middle is to be cut out."""
    cropped = bool(n_clusters) or (index // 8) % 2 == 0
    inner = LARGE if n_clusters > 100 else SHAPE
    shape = tuple(n + 2 * MARGIN for n in inner) if cropped else inner
    rotation = ROTATIONS[0] if (index // 2) % 2 == 0 else ROTATIONS[1 + int(rng.integers(2))]
    spec = ScanSpec(
        (shape[0], shape[1], shape[2]),
        build_affine((shape[0], shape[1], shape[2]), (VOXEL_MM,) * 3, rotation),
        echo_times_s=(0.004, 0.008, 0.012, 0.016) if index % 2 else (0.010,),
        b0_t=9.4,
        phase_sign=PhaseSign.POSITIVE if (index // 4) % 2 else PhaseSign.NEGATIVE,
        snr=float(np.exp(rng.uniform(np.log(20), np.log(60)))),
        r2star_per_s=30.0,
        point_spread="kspace",
        support=SUPPORTS[index % len(SUPPORTS)] if kind == "correlated" else FULL_SUPPORT,
        tissue_fraction=0.95,
        receive_variation=0.25,
        background_hz=60.0,
        phase_offset_rad=0.4,
        coil_phase_rad=0.8,
        texture_ppm=TEXTURE_PPM.get(kind, 0.0),
        texture_mm=VOXEL_MM * float(rng.uniform(1.0, 1.5)),
        sub_sampling=8,
    )
    if kind == "veins":
        spec = dataclasses.replace(spec, sources=draw_veins(rng, inner))
    return spec, cropped


def draw_veins(rng: np.random.Generator, inner: tuple[int, ...]) -> tuple[Source, ...]:
    """Straight veins of any direction, whose ends lie far outside the image: a vein's end is a magnetic pole."""
    veins: list[Source] = []
    for _ in range(int(rng.integers(4, 9))):
        middle = rng.uniform(-0.5, 0.5, 3) * np.array(inner) * VOXEL_MM
        along = rng.normal(size=3)
        along *= 40.0 / np.linalg.norm(along)
        ends = [tuple(float(value) for value in middle + sign * along) for sign in (-1, 1)]
        veins.append(Vein(ends[0], ends[1], float(rng.uniform(30.0, 100.0)), 0.4e-6))  # type: ignore[arg-type]
    return tuple(veins)


def crop_scan(scan: Scan) -> Scan:
    """The scan without its margin."""
    inside = slice(MARGIN, -MARGIN)
    affine = scan.affine.copy()
    affine[:3, 3] = scan.grid.to_mm(np.full(3, float(MARGIN)))
    return dataclasses.replace(scan, signal=scan.signal[:, inside, inside, inside], affine=affine)


def add_clusters(spec: ScanSpec, n_clusters: int, draw: int, rng: np.random.Generator) -> ScanSpec:
    """The scan with clusters of d' = 10, each at a random place of its own."""
    middle, radius = (np.array(spec.shape) - 1) / 2, np.array(spec.shape) / 2 * spec.tissue_fraction
    sites = draw_sites(
        n_clusters,
        spec.shape,
        MARGIN + FROM_FACE_VOXELS,
        APART_VOXELS,
        rng,
        allows=lambda site: bool(np.linalg.norm((site - middle) / radius) < 0.85),
    )
    places = spec.grid.to_mm(sites).tolist()
    moments = np.full(n_clusters, 1e-13)
    for _ in range(3):
        sources = [Point(tuple(p), float(m)) for p, m in zip(places, moments, strict=True)]
        # The same scan, without noise.
        scan, _ = simulate_scan(dataclasses.replace(spec, sources=tuple(sources), snr=np.inf), draw)
        moments *= D_PRIME / measure_d_primes(scan, sources, spec.snr, FULL_SUPPORT)
    sources = [Point(tuple(p), float(m)) for p, m in zip(places, moments, strict=True)]
    return dataclasses.replace(spec, sources=tuple(sources), sub_sampling=16)


def describe_null(catalogue: Catalogue) -> Row:
    """Everything that decided what this scan accepted."""
    null, clusters = catalogue.null, catalogue.clusters
    # What is a vein, or of the other polarity, was not in the running; grafts have a null of their own.
    graft = clusters["estimator"] == GRAFT_ESTIMATOR
    counted = np.isin(clusters["reasons"], ("", "not_significant"))
    names, signs, scores = (null.candidates[name] for name in ("pattern", "sign", "score"))
    kept = scores >= LOWEST_SCORE
    tops: dict[str, float] = {}
    for name, sign, score in zip(names[kept], signs[kept], scores[kept], strict=True):
        key = f"{name}{'+' if sign > 0 else '-'}" if name not in ("dipole", "opposite") else str(name)
        tops[key] = max(tops.get(key, 0.0), round(float(score), 3))
    return {
        "expected_false": np.sort(clusters["expected_false"][counted & ~graft]).tolist(),
        "grafts_expected_false": np.sort(clusters["expected_false"][counted & graft]).tolist(),
        "n_grafts": int(graft.sum()),
        "reasons": {str(name): int((clusters["reasons"] == name).sum()) for name in np.unique(clusters["reasons"])},
        "accepted": [
            {name: float(clusters[name][row]) for name in ("score", "expected_false", "q_value", "moment_am2")}
            for row in np.flatnonzero(clusters["status"] == "accepted")
        ],
        "n_places": null.n_places,
        "n_tail": null.n_decoys_in_tail,
        "tail_threshold": null.tail_threshold,
        "tail_rate": null.tail_rate,
        "tail_scale": null.tail_scale,
        "tail_scale_err": null.tail_scale_err,
        "class_spread": dict(null.class_spread),
        "point_spread": catalogue.point_spread,
        "top": tops,
        "candidates": [
            (str(name), int(sign), round(float(score), 4))
            for name, sign, score in zip(names[kept], signs[kept], scores[kept], strict=True)
        ],
    }


def match_clusters(scan: Scan, catalogue: Catalogue, spec: ScanSpec) -> list[Row]:
    """Of every cluster put in: whether it was accepted, and how far its fit is from the truth in its own errors."""
    clusters = catalogue.clusters
    found = scan.grid.to_ijk(np.stack([clusters[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 3))
    rows: list[Row] = []
    for source in spec.sources:
        if not isinstance(source, Point):
            continue
        row: Row = {"moment_am2": source.moment_am2, "accepted": False}
        distance = np.linalg.norm(found - scan.grid.to_ijk(source.position_mm), axis=1)
        if len(distance) and distance.min() < MATCH_VOXELS:
            best = int(distance.argmin())
            row |= {name: float(clusters[name][best]) for name in ("score", "expected_false", "q_value")}
            row["accepted"] = bool(clusters["status"][best] == "accepted")
            row["reasons"] = str(clusters["reasons"][best])
            row["inflation"] = float(catalogue.fits["error_inflation"][best])
            truth = dict(zip(("x_mm", "y_mm", "z_mm"), source.position_mm, strict=True))
            for name, value in {**truth, "moment_am2": source.moment_am2}.items():
                row[f"z_{name[0]}"] = float((clusters[name][best] - value) / clusters[f"{name}_err"][best])
        rows.append(row)
    return rows


def count_false(accepted: Table, spec: ScanSpec) -> int:
    """Accepted candidates that no cluster is near."""
    places = np.stack([accepted[f"{axis}_mm"] for axis in "xyz"], axis=1).reshape(-1, 1, 3)
    truth = np.array([source.position_mm for source in spec.sources if isinstance(source, Point)]).reshape(-1, 3)
    distance = np.linalg.norm(places - truth, axis=2).min(axis=1, initial=np.inf) / VOXEL_MM
    return int((distance >= MATCH_VOXELS).sum())


def print_progress(row: Row) -> None:
    """One line per scan."""
    smallest = min(row["expected_false"], default=float("inf"))
    found = sum(cluster["accepted"] for cluster in row["clusters"])
    print(
        f"{row['kind']:>10} {row['n_clusters']:>3} #{row['index']}: found {found}, false {row['n_false']}, "
        f"{row['n_false_grafts']} of them and of {row['n_grafts']} regions a graft, "
        f"smallest E {smallest:.3g}, {row['n_tail']} in the tail, {row['wall_s']} s",
        flush=True,
    )


def report(rows: list[Row], seed: int) -> None:
    """Tables, plot and files."""
    nulls = {kind: summarise_null(some) for kind in KINDS if (some := pick(rows, kind, 0))}
    lone = {f"lone {n}": summarise_lone(some) for n in N_LONE if (some := pick(rows, "lone", n))}
    for name, summary in {**nulls, **lone}.items():
        print(f"\n{name}")
        print_table({f"  {what}": value for what, value in summary.items()})
    residuals = summarise_residuals([row for row in rows if row["n_clusters"]])
    if residuals:
        print("\n(fit - truth) / error of the accepted")
        print_table({f"  {what}": value for what, value in residuals.items()})
    plot(rows)
    measured = {f"{name}, scans with anything accepted": s["scans with anything accepted"] for name, s in nulls.items()}
    for what in ("point", "graft"):
        measured |= {
            f"{name}, scans with a {what} accepted": s[f"scans with a {what} accepted"]
            for name, s in nulls.items()
            if name == "veins"
        }
    measured |= {f"{name}, accepted (each of d' = 10)": s["clusters accepted"] for name, s in lone.items()}
    measured |= {f"{what}, (fit - truth) / error": value for what, value in residuals.items()}
    details = [{"what": what, "measured": value} for what, value in measured.items()]
    shown = {f"nothing to find, {what}": value for what, value in measured.items() if what.split(",")[0] in nulls}
    write_results(
        "nulls", f"uv run python benchmarks/nulls.py --seed {seed}", shown, {"seed": seed, "rows": rows}, details
    )


def pick(rows: list[Row], kind: str, n_clusters: int) -> list[Row]:
    """The rows of one kind."""
    return [row for row in rows if row["kind"] == kind and row["n_clusters"] == n_clusters]


def summarise_null(rows: list[Row]) -> dict[str, str]:
    """How often anything was accepted, and how the smallest E of a scan is distributed."""
    smallest = np.array([min(row["expected_false"], default=np.inf) for row in rows])
    summary = {
        "scans with anything accepted": share(sum(row["n_false"] > 0 for row in rows), len(rows)),
        "accepted per scan": f"{np.mean([row['n_false'] for row in rows]):.3f}",
        "extended regions looked at, of all scans": str(sum(row["n_grafts"] for row in rows)),
        "scans with a graft accepted": share(sum(row["n_false_grafts"] > 0 for row in rows), len(rows)),
        "scans with a point accepted": share(sum(row["n_false"] > row["n_false_grafts"] for row in rows), len(rows)),
    }
    for level in LEVELS:
        count = np.mean([sum(e <= level for e in row["expected_false"]) for row in rows])
        summary[f"smallest E below {level:g} (should be {100 * (1 - np.exp(-level)):.1f} %)"] = (
            f"{share(int((smallest <= level).sum()), len(rows))}; {count:.3f} candidates per scan"
        )
    return summary


def summarise_lone(rows: list[Row]) -> dict[str, str]:
    """How many clusters were accepted, and what else."""
    clusters = [cluster for row in rows for cluster in row["clusters"]]
    return {
        "scans": str(len(rows)),
        "clusters accepted": share(sum(cluster["accepted"] for cluster in clusters), len(clusters)),
        "fitted within a voxel": share(sum("score" in cluster for cluster in clusters), len(clusters)),
        "false, of all accepted": share(
            sum(row["n_false"] for row in rows), max(sum(len(row["accepted"]) for row in rows), 1)
        ),
    }


def summarise_residuals(rows: list[Row]) -> dict[str, str]:
    """Mean and standard deviation of the standardised residuals, each with its standard error."""
    accepted = [cluster for row in rows for cluster in row["clusters"] if cluster["accepted"]]
    summary = {}
    for axis, name in {"x": "x", "y": "y", "z": "z", "m": "moment"}.items():
        z = np.array([cluster[f"z_{axis}"] for cluster in accepted])
        if len(z) > 1:
            sd = z.std(ddof=1)
            summary[name] = (
                f"mean {z.mean():+.2f} ± {sd / np.sqrt(len(z)):.2f}, SD {sd:.2f} ± {sd / np.sqrt(2 * len(z)):.2f}"
                f" ({len(z)} clusters, {100 * (np.abs(z) < 1.96).mean():.1f} % within 1.96)"
            )
    return summary


def share(k: int, n: int) -> str:
    """A share with its 95 % binomial interval (Clopper and Pearson)."""
    interval = stats.binomtest(k, n).proportion_ci()
    return f"{100 * k / n:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f}; {k} of {n})"


def plot(rows: list[Row]) -> None:
    """Measured against expected: the smallest E of a scan, and candidates per scan."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    x = np.geomspace(0.01, 3, 200)
    for kind in (kind for kind in KINDS if pick(rows, kind, 0)):
        some = pick(rows, kind, 0)
        smallest = np.array([min(row["expected_false"], default=np.inf) for row in some])
        every = np.concatenate([row["expected_false"] for row in some])
        line = left.plot(x, [(smallest <= value).mean() for value in x], label=f"{kind} ({len(some)} scans)")
        right.plot(x, [(every <= value).sum() / len(some) for value in x], color=line[0].get_color(), label=kind)
    n = max(len(pick(rows, kind, 0)) for kind in KINDS)
    if n:
        low, high = (stats.binom.ppf(side, n, 1 - np.exp(-x)) / n for side in (0.025, 0.975))
        left.fill_between(x, low, high, color="0.9", label=f"95 % of {n} scans")
    left.plot(x, 1 - np.exp(-x), "k--", label="as it should be")
    right.plot(x, x, "k--", label="as it should be")
    left.set(ylabel="share of scans whose smallest E is at most x", ylim=(2e-3, 1.2))
    right.set(ylabel="candidates per scan with E of at most x (p-values' tail)", ylim=(2e-3, 5))
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="x, false candidates expected in the scan")
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(OUT / "nulls.png")
    print(f"plot: {OUT / 'nulls.png'}")


if __name__ == "__main__":
    main()
