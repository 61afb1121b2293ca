"""What is lost of clusters of 0.3 pg put into the real gel, cause by cause.

    FERROSIGHT_DATA=... uv run python benchmarks/gel_losses.py [--seed N] [--n 100] [--pg 0.3]

Clusters are put in as in ``gel_injection.py``. Each line is the share of them that reaches the score from which the
scan's own decoys let a cluster be accepted; a line has one thing more against it than the one before:

noise           the ideal observer at the known place: its d' in the scan's noise, signal known but for its strength
background      the same with a quadratic background that is not known
gel             fitted in the gel from the known place, under the point spread it was put in with, no neighbour known
neighbours      the same with the sources around it explained, as the search found them
point spread    the same under the point spread that the scan's strongest sources chose
all of them     the same under the best of all point spreads, as weak sources are refitted
place           a source of any pattern and sign kept by the search within 0.07 mm, wherever it started
search          one that is a dipole of iron's polarity
doubt           its score divided by what errors of neighbours add
judgement       accepted: not a vein, not a bubble, not outside

The first two are expectations over noise, the others counts. Scores are those that the
search would give: whitened by the structure of the scan's field, over the spread of the pattern's screening statistic.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import KDTree

import ferrosight as fs
from _command import data_folder, print_table, write_results
from ferrosight.clusters.calibrate import class_spreads
from ferrosight.clusters.fit import Neighbours, Sources, WindowData, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.point_spread import choose_point_spread, other_point_spreads
from ferrosight.clusters.prepare import PAD, PointSpread, PreparedScan, build_tables, prepare_scan, window_data
from ferrosight.clusters.refit import REFIT_LEVELS, refit_weak
from ferrosight.clusters.screen import WEAK_LEVELS, Screener
from ferrosight.clusters.search import SearchResult, search_sources
from ferrosight.clusters.structure import Structure, whiten_sources
from ferrosight.field import measure_field
from ferrosight.physics.cluster_signal import Readout
from ferrosight.physics.dipole import phase_amplitude_rad_m3
from ferrosight.physics.table_reading import interpolate_value
from ferrosight.study.resources import limit_cpus
from ferrosight.types import FieldMap, PhaseSign, Scan
from ferrosight.types.config import ClustersConfig, FieldConfig
from gel_injection import AM2_PER_PG, MATCH_MM, draw_sites, free_voxels, inject

WAYS = ("box", "kspace")
#: A source this near (voxels) to the known place is the cluster itself.
OWN_VOXELS = 2.0


def main() -> None:
    """Inject, count what is left after each cause, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--pg", type=float, default=0.3)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with limit_cpus(2):
        scan = dataclasses.replace(fs.read_bids(data_folder() / "gel", subject="gel"), phase_sign=PhaseSign.NEGATIVE)
        field_map = measure_field(scan, FieldConfig())
        free = free_voxels(field_map, fs.analyse_scan(scan))
        left = {way: count_losses(scan, field_map, draw_sites(free, options.n, rng), options.pg, way) for way in WAYS}
    print(f"seed {options.seed}, {options.n} clusters of {options.pg:g} pg per way, share left after each cause")
    for way, rows in left.items():
        print(f"\n{way}")
        print_table({name: f"{100 * share:.0f} %" for name, share in rows.items()})
    details = [
        {"left after": name, **{f"put in by {way}, %": f"{100 * left[way][name]:.0f}" for way in WAYS}}
        for name in left[WAYS[0]]
    ]
    write_results("gel_losses", "uv run python benchmarks/gel_losses.py", {}, {**vars(options), "left": left}, details)


def count_losses(scan: Scan, field_map: FieldMap, sites: NDArray[np.float64], pg: float, way: str) -> dict[str, float]:
    """Share of the clusters that is left after each cause."""
    injected = inject(scan, field_map, sites, pg, way)
    catalogue = fs.analyse_scan(injected)
    threshold = float(catalogue.fits["selection_score"][catalogue.clusters["status"] == "accepted"][0])
    found, prepared, chosen = search_scan(injected)
    right = PointSpread("box" if way == "box" else "kspace", chosen.supports, Readout(), "")
    tables = build_tables(injected, prepared, right)
    per_q = scan.grid.voxel_volume_m3 / phase_amplitude_rad_m3(1.0, float(scan.echo_times_s[0]))
    q = -pg * AM2_PER_PG / per_q
    data = found.data
    with_right = dataclasses.replace(data, tables=tables)
    place = place_at(sites, q)
    own = own_rows(found, sites)
    spreads = class_spreads(found.residual_map, prepared.inside)
    score = found.score / spreads[found.sources.patterns]
    iron = (found.sources.patterns == 0) & (found.sources.q < 0)
    forced = {
        "gel": fit_once(with_right, place, no_neighbours(data), np.full_like(own, -1), found.structure),
        "neighbours": fit_once(with_right, place, found.neighbours, own, found.structure),
        "point spread": fit_once(data, place, found.neighbours, own, found.structure),
        "all of them": refit(injected, prepared, chosen, found, place, own),
    }
    alone, unknown = (ideal_d_prime(with_right, sites, q, terms) for terms in (0, data.basis.shape[0]))
    return {
        "noise": float(stats.norm.cdf(alone - threshold).mean()),
        "background": float(stats.norm.cdf(unknown - threshold).mean()),
        **{name: float((one / spreads[0] >= threshold).mean()) for name, one in forced.items()},
        "place": share_found(found, scan, sites, score >= threshold),
        "search": share_found(found, scan, sites, iron & (score >= threshold)),
        "doubt": share_found(found, scan, sites, iron & (score / found.neighbour_spread >= threshold)),
        "judgement": share_accepted(catalogue, scan, sites),
    }


def fit_once(
    data: WindowData, place: Sources, neighbours: Neighbours, own: NDArray[np.int64], structure: Structure
) -> NDArray[np.float64]:
    """Scores (n,) of sources fitted from known places under one point spread."""
    fitted = fit_sources(data, place, neighbours, own, search=False)
    return whiten_sources(data, fitted, neighbours, own, structure).score


def search_scan(scan: Scan) -> tuple[SearchResult, PreparedScan, PointSpread]:
    """The search as ``find_clusters`` does it."""
    config = ClustersConfig()
    field_map = measure_field(scan, FieldConfig())
    prepared = prepare_scan(scan, field_map, config.window_voxels)
    plain = PointSpread("kspace", field_map.noise.support, Readout(), "")
    screener = Screener(prepared, build_tables(scan, prepared, plain, levels=WEAK_LEVELS))
    evidence = screener.screen(prepared.signal)
    chosen = choose_point_spread(scan, field_map, prepared, evidence)
    data = window_data(prepared, build_tables(scan, prepared, chosen))
    others = (build_tables(scan, prepared, other, levels=REFIT_LEVELS) for other in other_point_spreads(chosen))
    found = search_sources(data, prepared.search_mask, screener, evidence, config.screen_z, others)
    return found, prepared, chosen


def place_at(sites: NDArray[np.float64], q: float) -> Sources:
    """Sources at known places and of known strength, to be fitted."""
    centres = np.round(sites).astype(np.int64) + PAD
    n = len(sites)
    sources = unfitted(np.zeros(n, np.int64), np.full(n, int(np.sign(q))), centres, 1)
    return dataclasses.replace(sources, shifts=sites + PAD - centres, q=np.full(n, q), steps=np.zeros(n, np.int64))


def own_rows(found: SearchResult, sites: NDArray[np.float64]) -> NDArray[np.int64]:
    """The neighbour that is the cluster itself, -1 where there is none."""
    explaining = found.sources.pick(found.own >= 0)
    distance, nearest = KDTree(explaining.positions - PAD).query(sites)
    return np.where(distance < OWN_VOXELS, nearest, -1).astype(np.int64)


def refit(
    scan: Scan,
    prepared: PreparedScan,
    chosen: PointSpread,
    found: SearchResult,
    place: Sources,
    own: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Scores (n,) of the best fits of all point spreads."""
    others = (build_tables(scan, prepared, other, levels=REFIT_LEVELS) for other in other_point_spreads(chosen))
    first = fit_sources(found.data, place, found.neighbours, own, search=False)
    return refit_weak(found.data, first, found.neighbours, own, others, found.structure).score


def ideal_d_prime(data: WindowData, sites: NDArray[np.float64], q: float, terms: int) -> NDArray[np.float64]:
    """d' (n,) in a window's noise, the signal being that of the window and so many terms of a background unknown."""
    table = data.tables[0]
    signal = np.empty(len(table.voxels), np.complex64)
    out = []
    for site in sites:
        centre = np.round(site).astype(np.int64) + PAD
        at = tuple((table.voxels + centre).T)
        inside = np.all((table.voxels + centre >= 0) & (table.voxels + centre < data.weights.shape[1:]), axis=1)
        used = np.zeros(len(inside), np.bool_)
        used[inside] = data.weights[0][tuple(axis[inside] for axis in at)] > 0
        power = np.mean(np.abs(data.signal[0][tuple(axis[used] for axis in at)]) ** 2)
        interpolate_value(table.values, table.matrix, table.edges, table.voxels, q, site + PAD - centre, signal)
        change: Any = (signal - 1)[used] * np.sqrt(power)
        if terms:
            basis, _ = np.linalg.qr(data.basis[:terms, used].T.astype(np.float64))
            change = change - basis @ (basis.T @ change)
        out.append(np.sqrt(np.sum(np.abs(change) ** 2)))
    return np.array(out)


def share_found(found: SearchResult, scan: Scan, sites: NDArray[np.float64], enough: NDArray[np.bool_]) -> float:
    """Share of the sites with one of these sources within reach."""
    places = scan.grid.to_mm(found.sources.positions[enough] - PAD)
    return float((KDTree(places).query(scan.grid.to_mm(sites))[0] < MATCH_MM).mean())


def share_accepted(catalogue: fs.Catalogue, scan: Scan, sites: NDArray[np.float64]) -> float:
    """Share of the sites with an accepted cluster within reach."""
    places = np.stack([catalogue.accepted[f"{axis}_mm"] for axis in "xyz"], axis=1)
    return float((KDTree(places).query(scan.grid.to_mm(sites))[0] < MATCH_MM).mean())


if __name__ == "__main__":
    main()
