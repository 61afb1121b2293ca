"""Are the right clusters linked, how sure is it said to be, and how long does it take, beside LapTrack and motile?

    uv run --group peers python benchmarks/linking.py [--seed N] [--full]

Stories of ten visits by rules that no linker knows (`_drifting_clusters.py`), at a low and at four times that density.
Each linker is tuned at each density on one story (settings one after another, for the highest mean F1 of links, splits
and merges), then judged on a fresh one, four processes at a time: compare seconds of the processor. Links and splits
are scored by traccuracy where it is installed, splits and merges by Ferrosight's own count, which asks for all parts.
Then Ferrosight links 100,000 clusters, or a few more, against the clock, alone on four cores (`--full`: larger stories,
settings tried twice round, and the peers against the clock), and real tracks that other tools or hands made, reported
as they are. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.util
import math
import multiprocessing
import os
import secrets
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import OUT, print_table, write_results
from _drifting_clusters import Scene, Story, simulate_story, thicken
from _linkers import LINKERS, Settings, list_linkers
from ferrosight.evaluate import check_probabilities, score_links
from ferrosight.link import link_detections
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import Detections
from ferrosight.types.config import LinkConfig
from ferrosight.types.evaluation import Tracking

SPACING_MM = 2.5
DENSITIES = {"low": 1.0, "four-fold": 4.0}
#: Clusters to tune on, to be judged on, and against the clock; and how often round all settings are tried.
N_TRAIN, N_TEST, N_CLOCK, ROUNDS = 2_000, 8_000, 100_000, 1
N_TRAIN_FULL, N_TEST_FULL, ROUNDS_FULL = 4_000, 24_000, 2
TRAINING_SEED = 20_000


def main() -> None:
    """Tune, judge, time, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--full", action="store_true", help="larger stories; the peers link 100,000 clusters as well")
    options = parser.parse_args()
    if options.seed == TRAINING_SEED:
        parser.error(f"seed {TRAINING_SEED} made the training stories; choose another.")
    n_train, n_test, rounds = (N_TRAIN_FULL, N_TEST_FULL, ROUNDS_FULL) if options.full else (N_TRAIN, N_TEST, ROUNDS)
    linkers = list_linkers()
    print(f"seed {options.seed}; training seed {TRAINING_SEED}; linkers: {', '.join(linkers)}")
    print(*(f"{name} is not installed and left out." for name in LINKERS if name not in linkers), sep="\n")
    everything: dict[str, Any] = {"seed": options.seed, "load": os.getloadavg()[0]}
    cases = [(name, density) for density in DENSITIES for name in linkers]
    tuned = run_apart(tune, [(name, density, n_train, rounds) for name, density in cases])
    for (name, density), (settings, reached) in zip(cases, tuned, strict=True):
        print(f"{density:<9} {name:<10} tuned to a mean F1 of {reached:.4f}: {settings}", flush=True)
    jobs = [(*case, settings, options.seed, n_test) for case, (settings, _) in zip(cases, tuned, strict=True)]
    rows = [report_row(row | {"judged": True}) for row in run_apart(judge, jobs)]
    for name, density, settings, seed, _ in jobs:
        if name == "ferrosight" or options.full:
            rows += [report_row(row) for row in run_apart(judge, [(name, density, settings, seed + 1, N_CLOCK)])]
    everything |= {"rows": rows, "real": link_real_tracks()}
    plot_reliability(rows, OUT / "linking.png")
    print_table({"peak memory of this process, MB": round(peak_memory_mb() or 0)})
    write_results("linking", f"uv run python benchmarks/linking.py --seed {options.seed}", *tell(rows, everything))


def run_apart(function: Any, jobs: list[tuple[Any, ...]]) -> list[Any]:
    """Run each job in a process of its own, so that its peak memory is its own; four at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(function, *zip(*jobs, strict=True)))


def tell_story(density: str, seed: int, n_clusters: int, *, at_least: bool = False) -> Story:
    """A story at a density; of ``at_least`` so many clusters where asked, though clusters go unseen and are lost."""
    scene = thicken(Scene(n_clusters, SPACING_MM), DENSITIES[density])
    while True:
        story = simulate_story(scene, np.random.default_rng(seed))
        missing = n_clusters / len(story.detections)
        if not at_least or missing <= 1:
            return story
        scene = dataclasses.replace(scene, n_clusters=math.ceil(scene.n_clusters * missing * 1.005))


def tune(name: str, density: str, n_clusters: int, rounds: int) -> tuple[Settings, float]:
    """The best settings on the training story: each tried in turn, so often round, from the first of its values on."""
    story = tell_story(density, TRAINING_SEED, n_clusters)
    link, space = LINKERS[name]
    best = {setting: values[0] for setting, values in space.items()}

    def rate(settings: Settings) -> float:
        scores = score_links(link(story.detections, settings), story.links)
        return float(np.mean(np.nan_to_num([scores.links.f1, scores.splits.f1, scores.merges.f1])))

    with limit_cpus(1):
        reached = rate(best)
        for _ in range(rounds):
            for setting, values in space.items():
                for value in values:
                    if value != best[setting] and (score := rate(best | {setting: value})) > reached:
                        best, reached = best | {setting: value}, score
    return best, reached


def judge(name: str, density: str, settings: Settings, seed: int, n_clusters: int) -> dict[str, Any]:
    """Link a fresh story: scores, wall time, peak memory; for Ferrosight its proof and its probabilities too."""
    story = tell_story(density, seed, n_clusters, at_least=n_clusters >= N_CLOCK)
    link = LINKERS[name][0]
    link(tell_story(density, seed + 2, 400).detections, settings)  # compile and import first
    with limit_cpus(4):
        start, cpu = time.perf_counter(), time.process_time()
        if name == "ferrosight":
            tracks = link_detections(story.detections, LinkConfig(**settings))
            found = np.stack([tracks.links.source, tracks.links.target], axis=1)[tracks.links.chosen]
        else:
            found = link(story.detections, settings)
        wall_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    peak = peak_memory_mb()
    row = {"linker": name, "density": density, "n": len(story.detections), "wall_s": wall_s, "cpu_s": cpu_s}
    row["settings"] = settings
    row |= score(found, story) | {"peak_mb": peak, "load": os.getloadavg()[0]}
    if name == "ferrosight":
        pairs = zip(tracks.links.source.tolist(), tracks.links.target.tolist(), strict=True)
        true = set(map(tuple, story.links.tolist()))
        right = np.array([pair in true for pair in pairs])
        row["gap"] = tracks.optimality.gap
        row["optimality"] = dataclasses.asdict(tracks.optimality)
        row["reliability"] = [dataclasses.asdict(r) for r in check_probabilities(tracks.links.probability, right)]
    return row


def score(found: NDArray[np.int64], story: Story) -> dict[str, Any]:
    """F1 of links, splits and merges: our own count, and traccuracy's where it is installed."""
    own: Tracking = score_links(found, story.links)
    scores: dict[str, Any] = {
        kind: dataclasses.asdict(event) | {"f1": event.f1, "recall": event.recall, "precision": event.precision}
        for kind, event in (("links", own.links), ("splits", own.splits), ("merges", own.merges))
    }
    if importlib.util.find_spec("traccuracy"):
        scores["traccuracy"] = score_by_traccuracy(found, story)
    return scores


def score_by_traccuracy(found: NDArray[np.int64], story: Story) -> dict[str, float]:
    """Its edge F1 and division F1, and the division F1 of both graphs turned round in time: merges."""
    import networkx as nx
    from traccuracy import TrackingGraph
    from traccuracy.matchers import Matched
    from traccuracy.metrics import BasicMetrics, DivisionMetrics

    data, last = story.detections, len(story.detections.days) - 1

    def build(links: NDArray[np.int64], *, backwards: bool) -> TrackingGraph:
        graph = nx.DiGraph()
        visits = (last - data.visit if backwards else data.visit).tolist()
        for row, (visit, (x, y, z)) in enumerate(zip(visits, data.position_mm.tolist(), strict=True)):
            graph.add_node(row, t=visit, x=x, y=y, z=z)
        graph.add_edges_from((links[:, ::-1] if backwards else links).tolist())
        return TrackingGraph(graph, label_key=None, location_keys=("x", "y", "z"))

    def match(*, backwards: bool) -> Matched:
        graphs = [build(links, backwards=backwards) for links in (story.links, found)]
        same = [(row, row) for row in range(len(data))]
        return Matched(*graphs, same, {"name": "the same detections", "matching type": "one-to-one"})

    forwards = match(backwards=False)
    edges = BasicMetrics().compute(forwards).results
    splits = DivisionMetrics().compute(forwards).results["Frame Buffer 0"]
    merges = DivisionMetrics().compute(match(backwards=True)).results["Frame Buffer 0"]
    return {
        "edge_f1": edges["Edge F1"],
        "division_f1": splits["Division F1"],
        "reversed_division_f1": merges["Division F1"],
    }


def report_row(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row as it comes."""
    f1 = ", ".join(f"{kind} {row[kind]['f1']:.4f}" for kind in ("links", "splits", "merges"))
    theirs = " ".join(f"{value:.4f}" for value in row.get("traccuracy", {}).values())
    gap = f", gap {row['gap']:.1e}" if "gap" in row else ""
    print(
        f"{row['density']:<9} {row['linker']:<10} n {row['n']:>6}: F1 {f1} (traccuracy: {theirs or 'not installed'}), "
        f"{row['wall_s']:.1f} s ({row['cpu_s']:.1f} s of processor), {row['peak_mb']:.0f} MB{gap}, "
        f"load {row['load']:.1f}",
        flush=True,
    )
    for bin_ in row.get("reliability", []):
        right = bin_["right"]
        print(
            f"    said {bin_['said']:.3f}, right {right['value']:.3f} ({right['low']:.3f} to {right['high']:.3f}) "
            f"of {right['total']}"
        )
    return row


def link_real_tracks() -> dict[str, Any]:
    """Tracks that other tools or hands made, positions alone: shares of their links that are found, and the reverse."""
    folder = Path(os.environ.get("FERROSIGHT_DATA", "")) / "tracks"
    if not os.environ.get("FERROSIGHT_DATA") or not folder.is_dir():
        print("Real tracks are left out: FERROSIGHT_DATA does not point to their folder.")
        return {}
    results = {}
    for name, (time_, place, links) in {"trackmate": read_trackmate(folder), "t-cells": read_t_cells(folder)}.items():
        data = as_detections(time_, place)
        config, tracks = link_with_own_motion(data)
        chosen = np.stack([tracks.links.source, tracks.links.target], axis=1)[tracks.links.chosen]
        scores = score_links(chosen, links)
        results[name] = {
            "n": len(data),
            "motion": config.motion_mm,
            "gap": tracks.optimality.gap,
            **{k: dataclasses.asdict(v) | {"f1": v.f1} for k, v in vars(scores).items()},
        }
        told = ", ".join(f"{k} {v.right} of {v.true} true, {v.found} found" for k, v in vars(scores).items())
        print(f"real tracks, {name}: {len(data)} detections at {len(data.days)} times: {told}")
    return results


def read_trackmate(folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Times, places (z = 0) and links of TrackMate's own output."""
    spots = list(csv.DictReader((folder / "trackmate-laptrack-bsd3_spots.csv").open(encoding="utf-8")))
    row = {spot["id"]: k for k, spot in enumerate(spots)}
    edges = csv.DictReader((folder / "trackmate-laptrack-bsd3_edges.csv").open(encoding="utf-8"))
    links = np.array([(row[edge["spot_source_id"]], row[edge["spot_target_id"]]) for edge in edges])
    place = np.array([(float(spot["position_x"]), float(spot["position_y"]), 0.0) for spot in spots])
    return np.array([int(spot["frame"]) for spot in spots]), place, links


def read_t_cells(folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Times, places and links of T cells that were tracked by hand; who is who is only in the links."""
    rows = list(csv.DictReader((folder / "tcells-celltrackR-gpl2.csv").open(encoding="utf-8")))
    time_ = np.array([float(row["t"]) for row in rows])
    place = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    cell = np.array([row["track"] for row in rows])
    order = np.lexsort((time_, cell))
    same = cell[order[1:]] == cell[order[:-1]]
    return time_, place, np.stack([order[:-1][same], order[1:][same]], axis=1)


def as_detections(time_: NDArray[Any], place: NDArray[Any]) -> Detections:
    """Places alone: equal masses, seen 19 times in 20, few false; a frame is a day, a unit of length a mm."""
    times, visit = np.unique(time_, return_inverse=True)
    n, extent = len(visit), np.ptp(place, axis=0)
    error = 0.02 * np.cbrt(np.prod(extent[extent > 0])) / np.cbrt(n / len(times))
    volume = float(np.prod(np.where(extent > 0, extent, 10 * error)))
    return Detections(
        sessions=tuple(f"t{t:g}" for t in times),
        days=np.arange(len(times), dtype=float),
        cluster_ids=np.array([f"{t}_{k}" for k, t in enumerate(visit)]),
        visit=visit,
        position_mm=place,
        covariance_mm2=np.repeat(np.eye(3)[None] * error**2, n, axis=0),
        moment_am2=np.full(n, 1e-13),
        moment_am2_err=np.full(n, 1e-14),
        detection_probability=np.full((n, len(times)), 0.95),
        false_per_mm3=np.full(n, 0.01 * n / len(times) / volume),
        volume_mm3=volume,
    )


def link_with_own_motion(data: Detections) -> tuple[LinkConfig, Any]:
    """Link, measure the motion in the links, link again: no truth is looked at."""
    from scipy.spatial import KDTree

    steps = []
    for t in range(len(data.days) - 1):
        own, later = (data.position_mm[data.visit == s] for s in (t, t + 1))
        steps.append(KDTree(later).query(own)[0])
    motion = float(np.median(np.concatenate(steps))) / np.sqrt(3)
    for _ in range(6):
        config = LinkConfig(
            use_mass=False,
            motion_mm=motion,
            separation_mm=3 * motion,
            new_per_day=0.02,
            gone_per_day=0.02,
            split_per_day=0.002,
            merge_per_day=0.01,
        )
        tracks = link_detections(data, config)
        links = tracks.links
        whole = links.chosen & (links.kind == 0) & (data.visit[links.target] == data.visit[links.source] + 1)
        moved = data.position_mm[links.target[whole]] - data.position_mm[links.source[whole]]
        motion = float(np.median(np.linalg.norm(moved, axis=1))) / 1.54  # the median length of a normal step of scale 1
    return config, tracks


def plot_reliability(rows: list[dict[str, Any]], path: Path) -> None:
    """F1 side by side, and said against right."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    judged = [row for row in rows if "judged" in row]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    colours = {"ferrosight": "#0b6e4f", "laptrack": "#d1840f", "motile": "#6b6fb5"}
    for axis, density in zip(axes[:2], DENSITIES, strict=True):
        own = [row for row in judged if row["density"] == density]
        for k, row in enumerate(own):
            heights = [row[kind]["f1"] for kind in ("links", "splits", "merges")]
            bars = axis.bar(np.arange(3) + 0.27 * (k - 1), heights, 0.25, color=colours[row["linker"]])
            axis.bar_label(bars, [f"{height:.3f}" for height in heights], fontsize=7)
            bars.set_label(row["linker"])
        axis.set(xticks=range(3), xticklabels=["links", "splits", "merges"], ylim=(0, 1.08), ylabel="F1")
        axis.set_title(f"{density} density, {own[0]['n']} clusters at ten visits", fontsize=10)
        axis.legend(loc="upper right", fontsize=8)
    axes[2].plot([0, 1], [0, 1], color="0.7", lw=1)
    for row, marker in zip([r for r in judged if r["linker"] == "ferrosight"], "os", strict=True):
        said = [bin_["said"] for bin_ in row["reliability"]]
        right = np.array([[bin_["right"][k] for k in ("value", "low", "high")] for bin_ in row["reliability"]])
        spread = np.abs(right[:, 1:] - right[:, :1]).T
        axes[2].errorbar(said, right[:, 0], spread, fmt=marker, capsize=2, ms=5, label=f"{row['density']} density")
    axes[2].set(xlabel="probability of a link, as said", ylabel="share that is right (95 % interval)")
    axes[2].set_title("Are Ferrosight's probabilities right?", fontsize=10)
    axes[2].legend(fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    print(f"plot: {path}")


def tell(rows: list[dict[str, Any]], everything: dict[str, Any]) -> tuple[dict[str, str], Any, list[dict[str, str]]]:
    """What the README may show, everything, and the documentation's table."""
    details = []
    for row in rows:
        f1 = ", ".join(f"{kind} {row[kind]['f1']:.3f}" for kind in ("links", "splits", "merges"))
        gap = f", gap {row['gap']:.0e}" if "gap" in row else ""
        cost = f"{row['wall_s']:.0f} s ({row['cpu_s']:.0f} s of processor), {row['peak_mb']:.0f} MB"
        what = f"{row['linker']}, {row['density']} density, {row['n']} clusters at ten visits: F1"
        details.append(
            {
                "what": what,
                "measured": f"{f1}; {cost}{gap}",
            }
        )
    for name, real in everything["real"].items():
        told = ", ".join(f"{k} {real[k]['right']} of {real[k]['true']}" for k in ("links", "splits", "merges"))
        details.append({"what": f"real tracks, {name}, by position alone: found as there", "measured": told})
    return {}, everything, details


if __name__ == "__main__":
    main()
