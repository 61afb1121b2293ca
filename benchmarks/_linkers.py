"""Three ways to link the same detections: Ferrosight's, LapTrack's and motile's, each with settings to tune.

The peers get what they can use: positions, and log moments as a further coordinate or edge cost whose weight is tuned
with the rest. They are given no registration error, no detection probability and no false-candidate rate, for which
they have no place. motile takes about ten times as long to tune as the others, so that fewer values are tried; costs of
its own for the edges of splits and merges made it several times slower and no better, and are left out.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ferrosight.link import link_detections
from ferrosight.types import Detections
from ferrosight.types.config import LinkConfig

Settings = dict[str, Any]
Links = NDArray[np.int64]


def link_ferrosight(data: Detections, settings: Settings) -> Links:
    """The chosen links (n, 2)."""
    links = link_detections(data, LinkConfig(**settings)).links
    return np.stack([links.source, links.target], axis=1)[links.chosen]


def link_laptrack(data: Detections, settings: Settings) -> Links:
    """LapTrack: frame to frame, then gaps, splits and merges between segments; cut-offs are distances in mm."""
    from laptrack import LapTrack

    coordinates = np.column_stack([data.position_mm, settings["mass_mm"] * np.log(data.moment_am2)])
    rows = [np.flatnonzero(data.visit == t) for t in range(len(data.days))]
    tracker = LapTrack(
        cutoff=settings["cutoff_mm"] ** 2,
        gap_closing_cutoff=settings["gap_mm"] ** 2,
        gap_closing_max_frame_count=settings["gap_frames"],
        splitting_cutoff=settings["split_mm"] ** 2,
        merging_cutoff=settings["merge_mm"] ** 2,
        alternative_cost_percentile=settings["percentile"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = tracker.predict([coordinates[own] for own in rows])
    links = [(rows[a][i], rows[b][j]) for (a, i), (b, j) in tree.edges()]
    return np.array(links, dtype=np.int64).reshape(-1, 2)


def link_motile(data: Detections, settings: Settings) -> Links:
    """motile: an integer programme (SCIP) over edges, appearances, disappearances, splits and merges."""
    from ilpy import Preference
    from motile import Solver, TrackGraph, constraints, costs
    from motile.variables import EdgeSelected

    graph = TrackGraph()
    for row, visit in enumerate(data.visit.tolist()):
        graph.add_node(row, {"t": visit})
    for (source, target), near, mass in _candidate_edges(data, settings):
        skipped = int(data.visit[target] - data.visit[source]) - 1
        cost = near + settings["mass"] * mass + settings["gap"] * skipped - settings["reward"]
        graph.add_edge((source, target), {"cost": cost})
    graph._update_metadata()
    solver = Solver(graph)
    solver.add_cost(costs.EdgeSelectedCost(weight=1.0, attribute="cost"))
    solver.add_cost(costs.NodeAppearCost(constant=settings["alone"]))
    solver.add_cost(costs.NodeDisappearCost(constant=settings["alone"]))
    solver.add_cost(costs.NodeSplitCost(constant=settings["split"]))
    solver.add_cost(costs.NodeMergeCost(constant=settings["merge"]))
    solver.add_constraint(constraints.MaxParents(2))
    solver.add_constraint(constraints.MaxChildren(2))
    solution = solver.solve(timeout=settings["timeout_s"], num_threads=4, backend=Preference.Scip)
    picked = [edge for edge, index in solver.get_variables(EdgeSelected).items() if solution[index] > 0.5]
    return np.array(picked, dtype=np.int64).reshape(-1, 2)


def _candidate_edges(data: Detections, settings: Settings) -> list[tuple[tuple[int, int], float, float]]:
    """Pairs of nodes within reach over up to two missed visits: rows, squared distance, squared change of log mass."""
    rows = [np.flatnonzero(data.visit == t) for t in range(len(data.days))]
    logs, edges = np.log(data.moment_am2), []
    for t, own in enumerate(rows):
        for later in rows[t + 1 : t + 4]:
            if not len(own) or not len(later):
                continue
            found = KDTree(data.position_mm[own]).query_ball_tree(KDTree(data.position_mm[later]), settings["reach_mm"])
            for source, near in zip(own.tolist(), found, strict=True):
                for target in later[near].tolist():
                    squared = float(np.sum((data.position_mm[source] - data.position_mm[target]) ** 2))
                    change = float((logs[source] - logs[target]) ** 2)
                    edges.append(((source, target), squared / settings["scale_mm"] ** 2, change))
    return edges


#: How each links, and what is tuned: the values tried, the first of them to begin with.
LINKERS: dict[str, tuple[Callable[[Detections, Settings], Links], dict[str, list[Any]]]] = {
    "ferrosight": (
        link_ferrosight,
        {
            "motion_mm": [0.09, 0.06, 0.075, 0.11, 0.14],
            "mass_change": [0.12, 0.06, 0.09, 0.18, 0.25],
            "split_per_day": [0.006, 0.002, 0.003, 0.012, 0.024],
            "merge_per_day": [0.05, 0.0125, 0.025, 0.1, 0.2, 0.4],
            "separation_mm": [0.5, 0.25, 0.35, 0.7, 1.0],
            "tail_dof": [5.0, 2.0, 3.0, 10.0],
            "new_per_day": [0.01, 0.0025, 0.005, 0.02],
            "gone_per_day": [0.01, 0.0025, 0.005, 0.02],
            "mass_loss_per_day": [0.016, 0.0, 0.03],
        },
    ),
    "laptrack": (
        link_laptrack,
        {
            "cutoff_mm": [0.9, 0.4, 0.6, 1.3, 1.8],
            "split_mm": [0.9, 0.4, 0.6, 1.3, 1.8],
            "merge_mm": [0.9, 0.4, 0.6, 1.3, 1.8],
            "gap_mm": [0.9, 0.4, 0.6, 1.3, 1.8],
            "mass_mm": [0.2, 0.0, 0.1, 0.4, 0.8],
            "percentile": [90.0, 50.0, 75.0, 97.0, 100.0],
            "gap_frames": [2, 1, 3],
        },
    ),
    "motile": (
        link_motile,
        {
            "mass": [0.5, 0.0, 2.0],
            "split": [3.0, 1.0, 6.0],
            "merge": [3.0, 1.0, 6.0],
            "reward": [4.0, 2.0, 8.0],
            "alone": [3.0, 1.5, 6.0],
            "gap": [2.0, 4.0],
            "scale_mm": [0.25, 0.4],
            "reach_mm": [0.8, 1.2],
            "timeout_s": [300.0],
        },
    ),
}


def list_linkers() -> list[str]:
    """Ferrosight, and those peers that are installed."""
    return ["ferrosight", *(name for name in ("laptrack", "motile") if importlib.util.find_spec(name))]
