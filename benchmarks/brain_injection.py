"""A real brain without labelled cells, as it is and with clusters put into it: what is accepted, what is missed, why.

    FERROSIGHT_DATA=... uv run python benchmarks/brain_injection.py [--seed N] [--n 16] [--n-single 12] [--resume]

1 ng of iron stands for 9.36e-11 A m²: the saturated ferumoxides of ``physics.labels``, 93.6 A m² per kg of iron.
Echo times and field strength of the scan are assumptions of its own sidecar, so masses are too; d' is not.

As it is: what is accepted, and what rejects the others.

Injected: n clusters per mass at random sub-voxel places whose windows lie inside the image, some 8 per analysis,
20 of the shorter voxel edges apart. A cluster is drawn through the k-space that was acquired; what that truncation
does to the scan itself is taken out again, so that the scan changes by the clusters alone. They are positive dipoles:
the scan does not state its sign of phase, and its strongest dipoles, which are nobody's clusters, are positive. Each
scan is analysed with the sign unknown, as it comes (the configuration of the scan as it is), and with it stated. A
cluster is found if something accepted lies within two mean voxel edges. q borrows strength from other clusters: what
would be accepted alone is what nothing but its score could reject and whose own ``expected_false`` is at most q.
Single: one cluster per analysis, of d' 10 to 30 (half of them by noise, half beside structure), sign unknown:
nothing is borrowed.

Rows are written as they come; with --resume those of the same seed are kept, and only what is missing is run.

d' is the moment over the error that a fit at its place would have, position and smooth background free:
    noise       the error from the scan's measured noise, its correlation included
    structure   the same grown by the root of the misfit that the scan's own tissue leaves in that window
The ideal knows place and background, and prewhitens: d'² = f Σ|Δ|²/σ², Δ the change that the cluster makes, σ the
noise of one channel and f the share of k-space acquired (noise is flat within it, and nothing is outside it). It
pays for a search over every half voxel (and both signs where unknown) with 0.05 false per scan. What the scan's own
null asks for instead (the score at which it expects 0.05 false) is printed, and d' beside structure set against it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import KDTree

import ferrosight as fs
from _command import OUT, data_folder, print_table, write_results
from ferrosight.clusters.correlation import correct_for_correlation
from ferrosight.clusters.fit import (
    Sources,
    WindowData,
    cut_window,
    draw_neighbours,
    multiply_blocks,
    no_neighbours,
    unfitted,
)
from ferrosight.clusters.prepare import PAD, PointSpread, build_tables, prepare_scan, window_data
from ferrosight.clusters.rows import moment_per_q
from ferrosight.clusters.windows import invert, linearise, measure_phase_chi2
from ferrosight.field import measure_field
from ferrosight.physics.cluster_signal import Readout
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.simulate import inject_clusters
from ferrosight.simulate.point_spread import limit_to_support
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import Catalogue, FieldMap, PhaseSign, Scan
from ferrosight.types.config import ClustersConfig, FieldConfig

Row = dict[str, Any]
Job = tuple[str, float, int, int]

LABEL = "ferumoxides"
KG_PER_NG = 1e-12
ROWS = OUT / "brain_injection_rows.jsonl"
MASSES_NG = (0.3, 0.65, 1.4, 3.0, 6.5, 14.0, 30.0)
PER_RUN = 8
APART_EDGES, MATCH_EDGES = 20.0, 2.0
#: A real source scoring this, nearer than a window reaches, counts as near.
REAL_SCORE = 6.0
D_PRIME = 10.0
SINGLE_D_PRIME = (10.0, 30.0)
#: Both the expected number of false candidates that a lone cluster may have and that of the ideal.
FALSE_PER_SCAN = ClustersConfig().q
STATED = PhaseSign.POSITIVE
SIGNS = {"unknown": PhaseSign.UNKNOWN, "stated": STATED}
#: Clusters alone in their scan, by what their d' is drawn: noise, or the tissue's structure too.
SINGLES = ("single, noise", "single, structure")
KINDS = ("several", *SINGLES)
D_PRIME_BINS = (0.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 60.0, np.inf)


@dataclass(frozen=True)
class Brain:
    """The scan as it is, what it is fitted with, and its own sources of score 6 or more (n, 3), mm."""

    scan: Scan
    field_map: FieldMap
    data: WindowData
    catalogue: Catalogue
    real_mm: NDArray[np.float64]
    am2_per_ng: float
    window_mm: float

    @property
    def mean_edge_mm(self) -> float:
        """Cube root of the voxel's volume."""
        return float(np.cbrt(np.prod(self.scan.grid.voxel_mm)))


def main() -> None:
    """Analyse, inject, analyse again, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--n", type=int, default=16, help="clusters per mass")
    parser.add_argument("--n-single", type=int, default=12, help="analyses with one cluster, by each kind of d'")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier run")
    options = parser.parse_args()
    start = time.perf_counter()
    with limit_cpus(2):
        brain = read_brain()
        print(f"seed {options.seed}, {options.n} clusters per mass, 1 ng stands for {brain.am2_per_ng:.3g} A m²")
        as_it_is = {name: describe_scan(brain, sign) for name, sign in SIGNS.items()}
        for name, summary in as_it_is.items():
            print(f"\nas it is, sign {name}")
            print_table({f"  {what}": value for what, value in summary.items()})
        rows = run_jobs(brain, list_jobs(options.n, options.n_single), options.seed, options.resume)
    measured = {f"real brain as it is, sign {name}, accepted": str(s["accepted"]) for name, s in as_it_is.items()}
    measured |= report(rows)
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    write_results(
        "brain_injection",
        f"uv run python benchmarks/brain_injection.py --seed {options.seed}",
        {what: value for what, value in measured.items() if what.endswith("accepted")},
        {"seed": options.seed, "as_it_is": as_it_is, "rows": rows},
        [{"what": what, "measured": value} for what, value in measured.items()],
    )
    plot(rows)


def read_brain() -> Brain:
    """The scan with all that injections and judgements of them need."""
    scan = fs.read_bids(data_folder() / "brain-crop", subject="crop")
    field_map = measure_field(scan, FieldConfig())
    window_edges = ClustersConfig().window_voxels
    prepared = prepare_scan(scan, field_map, window_edges)
    as_acquired = PointSpread("kspace", field_map.noise.support, Readout(), "")
    data = window_data(prepared, build_tables(scan, prepared, as_acquired, ("dipole",)))
    catalogue = fs.analyse_scan(scan)
    clusters, decoys = catalogue.clusters, catalogue.null.candidates
    real = [
        np.stack([table[f"{axis}_mm"][table["score"] >= REAL_SCORE] for axis in "xyz"], axis=1)
        for table in (clusters, decoys)
    ]
    return Brain(
        scan,
        field_map,
        data,
        catalogue,
        np.concatenate(real),
        magnetisation_am2_per_kg_fe(get_label(LABEL), scan.b0_t) * KG_PER_NG,
        window_edges * float(np.cbrt(np.prod(scan.grid.voxel_mm))),
    )


def describe_scan(brain: Brain, sign: PhaseSign) -> Row:
    """What is accepted of the scan without clusters, and what rejects the rest."""
    catalogue = brain.catalogue
    if sign is not brain.scan.phase_sign:
        catalogue = fs.analyse_scan(dataclasses.replace(brain.scan, phase_sign=sign))
    clusters, null = catalogue.clusters, catalogue.null
    needed = null.curve_scores[null.curve_expected <= FALSE_PER_SCAN]
    patterns, scores = null.candidates["pattern"], null.candidates["score"]
    return {
        "accepted": int((clusters["status"] == "accepted").sum()),
        "rejected": {str(name): int((clusters["reasons"] == name).sum()) for name in np.unique(clusters["reasons"])},
        "smallest E": float(clusters["expected_false"].min(initial=np.inf)),
        "score a lone cluster needs": float(needed.min()) if len(needed) else f"> {null.curve_scores[-1]:.1f}",
        "strongest of each class": {
            str(name): scores[patterns == name].max().round(1).item() for name in np.unique(patterns)
        },
        "tail's threshold, scale": [round(null.tail_threshold, 2), round(null.tail_scale, 2)],
        "phase sign": f"{catalogue.phase_sign.name}, {catalogue.phase_sign_source}",
        "point spread": catalogue.point_spread,
    }


def list_jobs(n: int, n_single: int) -> list[Job]:
    """Every scan to inject into and analyse: (kind, its mass in ng or 0, its number among its like, clusters)."""
    several = [("several", ng, i, min(PER_RUN, n - i * PER_RUN)) for ng in MASSES_NG for i in range(-(-n // PER_RUN))]
    return several + [(kind, 0.0, i, 1) for i in range(n_single) for kind in SINGLES]


def run_jobs(brain: Brain, jobs: list[Job], seed: int, resume: bool) -> list[Row]:
    """Rows of every job, drawn from the seed and the job alone; each written once it is done."""
    OUT.mkdir(exist_ok=True)
    if not resume:
        ROWS.unlink(missing_ok=True)
    known = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    rows = [row for row in known if row["seed"] == seed and tuple(row["job"]) in jobs]
    done = {tuple(row["job"]) for row in rows}
    for job in jobs:
        if job not in done:
            kind, ng, i, n = job
            rng = np.random.default_rng([seed, KINDS.index(kind), round(1e3 * ng), i])
            new = inject_several(brain, ng, n, rng) if kind == "several" else inject_single(brain, kind, rng)
            new = [{"seed": seed, "job": job, **row} for row in new]
            with ROWS.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in new)
            rows += new
    return rows


def inject_several(brain: Brain, ng: float, n: int, rng: np.random.Generator) -> list[Row]:
    """Rows of clusters that share a scan with others of their mass."""
    sites = draw_sites(brain, n, rng)
    return run_scan(brain, sites, np.full(len(sites), ng * brain.am2_per_ng), "several")


def inject_single(brain: Brain, kind: str, rng: np.random.Generator) -> list[Row]:
    """The row of a cluster alone in its scan, its d' of one kind drawn evenly in its logarithm."""
    sites = draw_sites(brain, 1, rng)
    target = np.exp(rng.uniform(*np.log(SINGLE_D_PRIME)))
    moments = np.full(1, brain.am2_per_ng)
    for _ in range(8):
        moments *= target / measure_d_prime(brain, sites, moments)[SINGLES.index(kind)]
    return run_scan(brain, sites, moments, kind)


def draw_sites(brain: Brain, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """At most n sub-voxel places (m, 3), apart from each other, their windows inside the image."""
    grid, mask = brain.scan.grid, brain.field_map.mask
    edges_mm = np.array(grid.voxel_mm)
    margin = np.ceil(brain.window_mm / edges_mm)
    apart_mm = APART_EDGES * edges_mm.min()
    sites: list[NDArray[np.float64]] = []
    for _ in range(2000):
        site = rng.uniform(margin - 0.5, np.array(grid.shape) - 0.5 - margin)
        far = all(np.linalg.norm((site - other) * edges_mm) > apart_mm for other in sites)
        if far and mask[tuple(np.round(site).astype(int))]:
            sites.append(site)
        if len(sites) == n:
            break
    return np.array(sites)


def inject(brain: Brain, sites: NDArray[np.float64], moments: NDArray[np.float64]) -> Scan:
    """The scan, its sign of phase as it was, changed by the clusters alone."""
    scan, support = brain.scan, brain.field_map.noise.support
    stated = dataclasses.replace(scan, phase_sign=STATED)
    places = scan.grid.to_mm(sites)
    with_clusters = inject_clusters(stated, places, moments, point_spread="kspace", support=support)
    # A crop's k-space is not confined to the support of the whole image: what lies beyond stays as it was.
    without = limit_to_support(scan.signal.astype(np.complex128), support)
    return dataclasses.replace(scan, signal=(scan.signal + (with_clusters.signal - without)).astype(np.complex64))


def run_scan(brain: Brain, sites: NDArray[np.float64], moments: NDArray[np.float64], kind: str) -> list[Row]:
    """Rows of one injected scan: one per cluster and sign (a single's sign stays unknown)."""
    scan = inject(brain, sites, moments)
    of_noise, of_structure = measure_d_prime(brain, sites, moments)
    ideal = measure_ideal(brain, scan, sites)
    away = np.atleast_1d(KDTree(brain.real_mm).query(scan.grid.to_mm(sites))[0])
    truth = [
        {
            "kind": kind,
            "ng": float(moments[i] / brain.am2_per_ng),
            "site": sites[i].tolist(),
            "d_noise": float(of_noise[i]),
            "d_structure": float(of_structure[i]),
            "d_ideal": float(ideal[i]),
            "mm_to_real": float(away[i]),
            "near": bool(away[i] < brain.window_mm),
        }
        for i in range(len(sites))
    ]
    rows = []
    for name, sign in SIGNS.items():
        if kind == "several" or name == "unknown":
            start = time.perf_counter()
            catalogue = fs.analyse_scan(dataclasses.replace(scan, phase_sign=sign))
            found = match_clusters(brain, catalogue, sites, moments)
            rows += [{"sign": name, **one, **other} for one, other in zip(truth, found, strict=True)]
            print_progress(rows[-len(sites) :], time.perf_counter() - start)
    return rows


def measure_d_prime(
    brain: Brain, sites: NDArray[np.float64], moments: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Moment over the error of its fit (n,), from noise and with the tissue's structure: the fit is at the truth."""
    middles = np.round(sites).astype(np.int64)
    n = len(sites)
    start = unfitted(np.zeros(n, np.int64), np.ones(n, np.int64), middles + PAD, len(brain.data.ratios))
    q = int(STATED) * moments / moment_per_q(brain.scan)
    sources = dataclasses.replace(start, shifts=sites - middles, q=q, steps=np.zeros(n, np.int64))
    drawn = multiply_blocks(brain.data.signal.shape, draw_neighbours(brain.data, sources))
    data = dataclasses.replace(brain.data, signal=brain.data.signal * drawn)
    sources = linearise_at(data, sources)
    nobody = no_neighbours(data)
    correlation = correct_for_correlation(data, sources, nobody, np.full(n, -1), brain.field_map.noise)
    of_noise = np.asarray(np.abs(q) / np.sqrt(sources.covariance[:, 0, 0] * correlation))
    return of_noise, of_noise / np.sqrt(np.maximum(sources.misfit, 1.0))


def linearise_at(data: WindowData, sources: Sources) -> Sources:
    """Covariance and misfit of sources where they are."""
    table, n, n_echoes = data.tables[0], len(data.voxels), len(data.ratios)
    window, own = (data.voxels, data.basis), (table.values, table.matrix, table.edges)
    covariance, numbers = np.empty((len(sources), 4, 4)), np.empty((len(sources), 3))
    for f in range(len(sources)):
        signal, weight = np.empty((n_echoes, n), np.complex64), np.empty((n_echoes, n), np.float32)
        other = np.ones((n_echoes, n), np.complex64)
        gram, gradient = np.empty((4, 4)), np.empty(4)
        q, shift = float(sources.q[f]), sources.shifts[f]
        numbers[f, 2] = cut_window(data.signal, data.weights, sources.centres[f], data.voxels, signal, weight)
        numbers[f, 0] = linearise(signal, other, weight, data.ratios, own, *window, q, shift, gram, gradient)
        numbers[f, 1] = measure_phase_chi2(signal, other, weight, data.ratios, own, *window, q, shift)
        invert(gram, q, covariance[f])
    chi2, chi2_phase, n_data = numbers.T
    return dataclasses.replace(
        sources, covariance=covariance, chi2=chi2, chi2_phase=chi2_phase, n_data=n_data.astype(np.int64)
    )


def measure_ideal(brain: Brain, injected: Scan, sites: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ideal's d' (n,) of every cluster; a voxel's change belongs to the nearest."""
    noise = brain.field_map.noise
    energy = (np.abs(injected.signal - brain.scan.signal) ** 2 / noise.sigma**2).sum(axis=0, dtype=np.float64)
    voxels = np.indices(energy.shape).reshape(3, -1).T
    edges_mm = np.array(brain.scan.grid.voxel_mm)
    nearest = KDTree(sites * edges_mm).query(voxels * edges_mm)[1]
    acquired = float(np.prod([one.width for one in noise.support]))
    return np.asarray(np.sqrt(acquired * np.bincount(nearest, energy.reshape(-1), len(sites))))


def ideal_threshold(n_voxels: int, sign: str) -> float:
    """What an ideal's statistic must reach for 0.05 false per scan."""
    n_places = 8 * n_voxels * (2 if sign == "unknown" else 1)
    return float(stats.norm.isf(FALSE_PER_SCAN / n_places))


def match_clusters(
    brain: Brain, catalogue: Catalogue, sites: NDArray[np.float64], moments: NDArray[np.float64]
) -> list[Row]:
    """What became of every cluster: its best candidate within reach, and the best decoy there."""
    clusters, fits, decoys = catalogue.clusters, catalogue.fits, catalogue.null.candidates
    reach = MATCH_EDGES * brain.mean_edge_mm
    needed = catalogue.null.curve_scores[catalogue.null.curve_expected <= FALSE_PER_SCAN]
    rows: list[Row] = []
    for place, moment in zip(brain.scan.grid.to_mm(sites), moments, strict=True):
        at, decoys_at = (
            np.linalg.norm(np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1) - place, axis=1) < reach
            for table in (clusters, decoys)
        )
        row: Row = {
            "accepted": False,
            "alone": False,
            "phase_sign": catalogue.phase_sign.name,
            "score_needed": float(needed.min()) if len(needed) else float("inf"),
            "n_mask": int(brain.field_map.mask.sum()),
        }
        other = decoys_at & (decoys["pattern"] != "dipole")
        if other.any():
            best = int(np.argmax(np.where(other, decoys["score"], -np.inf)))
            row["decoy"] = [str(decoys["pattern"][best]), float(decoys["score"][best])]
        if at.any():
            best = int(np.argmax(np.where(at, clusters["score"] + 1e3 * (clusters["status"] == "accepted"), -np.inf)))
            row |= {name: float(clusters[name][best]) for name in ("score", "expected_false", "q_value")}
            row |= {name: float(fits[name][best]) for name in ("chi2_dof", "error_inflation", "cylinder_delta_chi2")}
            row["accepted"] = bool(clusters["status"][best] == "accepted")
            row["reasons"] = str(clusters["reasons"][best])
            row["alone"] = row["reasons"] in ("", "not_significant") and row["expected_false"] <= FALSE_PER_SCAN
            row["ratio"] = float(clusters["moment_am2"][best] / moment)
        rows.append(row)
    return rows


def print_progress(rows: list[Row], wall_s: float) -> None:
    """One line per analysis."""
    accepted = sum(row["accepted"] for row in rows)
    first = rows[0]
    print(
        f"{first['kind']:>8} {first['ng']:7.2f} ng, sign {first['sign']}: {accepted} of {len(rows)} accepted, "
        f"d' {np.median([row['d_noise'] for row in rows]):.1f}, {wall_s:.0f} s",
        flush=True,
    )


def report(rows: list[Row]) -> dict[str, str]:
    """Tables by mass and by d', what rejects the detectable, and what is worth keeping of it."""
    measured: dict[str, str] = {}
    for name in SIGNS:
        some = [row for row in rows if row["kind"] == "several" and row["sign"] == name]
        threshold = ideal_threshold(some[0]["n_mask"], name)
        print(f"\nsign {name}, several per scan; the ideal needs {threshold:.2f}")
        for ng in MASSES_NG:
            summary = summarise_mass([row for row in some if np.isclose(row["ng"], ng)], threshold)
            print(f"{ng:6.2f} ng  {', '.join(f'{what} {value}' for what, value in summary.items())}")
            measured[f"real brain, sign {name}, {ng:g} ng injected: found"] = summary["found"]
        for by in ("d_noise", "d_structure"):
            print(f"by d' ({by.removeprefix('d_')})")
            for low, high in itertools.pairwise(D_PRIME_BINS):
                part = [row for row in some if low <= row[by] < high]
                if part:
                    print(f"  {low:g} to {high:g}: {share(part, 'accepted')}; alone {share(part, 'alone')}")
        for by in ("d_noise", "d_structure"):
            measured |= report_detectable([row for row in some if row[by] >= D_PRIME], f"sign {name}, several", by)
    for kind, by in zip(SINGLES, ("d_noise", "d_structure"), strict=True):
        singles = [row for row in rows if row["kind"] == kind and row[by] >= 0.99 * D_PRIME]
        measured |= report_detectable(singles, "sign unknown, single", by)
    return measured


def summarise_mass(rows: list[Row], threshold: float) -> dict[str, str]:
    """One mass: shares found, d', the ideal's power, moments."""
    far = [row for row in rows if not row["near"]]
    ratios = [row["ratio"] for row in rows if row["accepted"]]
    medians = [float(np.median([row[key] for row in rows])) for key in ("d_noise", "d_structure", "d_ideal")]
    needed = np.array([row["score_needed"] for row in rows])
    return {
        "found": share(rows, "accepted"),
        "alone": f"{100 * np.mean([row['alone'] for row in rows]):.0f} %",
        "away from real sources": f"{100 * np.mean([row['accepted'] for row in far]):.0f} % of {len(far)}"
        if far
        else "n/a",
        "d' noise, structure, ideal": " ".join(f"{value:.1f}" for value in medians),
        "ideal": f"{100 * power(rows, 'd_ideal', threshold):.0f} %",
        "score a lone one needs": f"{np.median(needed):.1f}",
        "d' beside structure reaches it": f"{100 * power(rows, 'd_structure', needed):.0f} %",
        "moment": f"{np.median(ratios):.2f}" if ratios else "n/a",
    }


def report_detectable(rows: list[Row], name: str, by: str) -> dict[str, str]:
    """Clusters of d' of 10 and more: how many are accepted, and what became of the others."""
    kind = by.removeprefix("d_")
    print(f"\nd' of {D_PRIME:g} and more ({kind}), {name}")
    if not rows:
        print("  none")
        return {}
    far = [row for row in rows if not row["near"]]
    fates = collections.Counter(describe_fate(row) for row in rows)
    ratios = [row["ratio"] for row in rows if row["accepted"]]
    table = {
        "accepted": share(rows, "accepted"),
        "accepted, away from real sources": share(far, "accepted"),
        "would be accepted alone": share(rows, "alone"),
        "moment over truth, median": f"{np.median(ratios):.3f}" if ratios else "n/a",
        "fates": dict(fates.most_common()),
        "sign decided as": dict(collections.Counter(row["phase_sign"] for row in rows)),
    }
    print_table({f"  {what}": value for what, value in table.items()})
    return {f"real brain, clusters of d' ≥ {D_PRIME:g} ({kind}), {name}: accepted": str(table["accepted"])}


def describe_fate(row: Row) -> str:
    """Accepted, the reasons against it, or what is there instead."""
    if row["accepted"]:
        return "accepted"
    if "reasons" in row:
        return str(row["reasons"])
    return f"taken for {row['decoy'][0]}" if "decoy" in row else "nothing there"


def share(rows: list[Row], key: str) -> str:
    """A share with its 95 % binomial interval (Clopper and Pearson)."""
    if not rows:
        return "n/a"
    k, n = sum(row[key] for row in rows), len(rows)
    interval = stats.binomtest(k, n).proportion_ci()
    return f"{100 * k / n:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f}; {k} of {n})"


def power(rows: list[Row], key: str, threshold: float | NDArray[np.float64]) -> float:
    """Mean chance that a Gaussian statistic of the rows' d' reaches a threshold."""
    return float(np.mean(stats.norm.sf(threshold - np.array([row[key] for row in rows]))))


def plot(rows: list[Row]) -> None:
    """Recall against mass beside the ideal, and against d'."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    several = [row for row in rows if row["kind"] == "several"]
    for name, colour in zip(SIGNS, ("C0", "C1"), strict=True):
        some = [row for row in several if row["sign"] == name]
        by_mass = [[row for row in some if np.isclose(row["ng"], ng)] for ng in MASSES_NG]
        found = [np.mean([row["accepted"] for row in part]) for part in by_mass]
        left.plot(MASSES_NG, found, "o-", color=colour, label=f"accepted, sign {name}")
        alone = [np.mean([row["alone"] for row in part]) for part in by_mass]
        left.plot(MASSES_NG, alone, "s:", color=colour, label=f"as if alone, sign {name}", markersize=4)
        bins = [[r for r in some if a <= r["d_noise"] < b] for a, b in itertools.pairwise(D_PRIME_BINS)]
        bins = [part for part in bins if part]
        middles = [np.median([row["d_noise"] for row in part]) for part in bins]
        right.plot(middles, [np.mean([r["accepted"] for r in part]) for part in bins], "o-", color=colour, label=name)
    stated = [row for row in several if row["sign"] == "stated"]
    by_mass = [[row for row in stated if np.isclose(row["ng"], ng)] for ng in MASSES_NG]
    threshold = ideal_threshold(stated[0]["n_mask"], "stated")
    for key, line, what in (("d_ideal", "k-", "ideal"), ("d_noise", "k--", "place and background free")):
        left.plot(MASSES_NG, [power(part, key, threshold) for part in by_mass], line, label=f"{what}, noise alone")
    expected = [power(part, "d_structure", np.array([row["score_needed"] for row in part])) for part in by_mass]
    left.plot(MASSES_NG, expected, "k:", label="beside the tissue's structure, at the scan's threshold")
    x = np.geomspace(1, 300, 200)
    right.plot(x, stats.norm.sf(threshold - x), "k--", label="Gaussian, noise alone")
    for kind, by, mark in zip(SINGLES, ("d_noise", "d_structure"), ("k|", "C2|"), strict=True):
        singles = [row for row in rows if row["kind"] == kind]
        label = f"single clusters at their d' ({by.removeprefix('d_')})"
        right.plot([r[by] for r in singles], [r["accepted"] for r in singles], mark, ms=12, label=label)
    right.axvline(D_PRIME, color="0.8")
    left.set(xlabel=f"iron (ng; {LABEL})", ylabel="share found")
    right.set(xlabel="d' (moment over the error that noise alone gives its fit)")
    left.set_xticks(MASSES_NG, [f"{ng:g}" for ng in MASSES_NG])
    for axes in (left, right):
        axes.set(xscale="log", ylim=(-0.03, 1.03))
        axes.legend(fontsize=7)
    left.set_xticks(MASSES_NG, [f"{ng:g}" for ng in MASSES_NG])
    left.minorticks_off()
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "brain_injection.png")
    print(f"plot: {OUT / 'brain_injection.png'}")


if __name__ == "__main__":
    main()
