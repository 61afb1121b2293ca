"""Veins, micro-bleeds and air: how often are they accepted, and what is found beside them, with three rivals and QSM?

    uv run python benchmarks/confusers.py [--seed N] [--n 6] [--n-labelled 6] [--presets a,b] [--side 64] [--resume]
                                          [--full]

Simulated subjects of a preset, fields of view of at most ``--side`` voxels an edge, with the vessels, haemorrhages,
air and calcifications that the preset has: n without any labelled cell, and n with clusters of labelled cells whose
iron is log-uniform between half and 40 times what the ideal observer needs in the median voxel. Each subject has a
baseline scan too, the same anatomy under other noise, with which every scan is judged a second time.

*False* are accepted clusters farther than 1.5 mean voxel edges from every cluster put in. Rivals, each written the
plain textbook way: normalised cross-correlation of the local field with a dipole, magnitude against its surroundings,
blobs (Laplacian of Gaussian) of R2* and of susceptibility (thresholded division in k-space). A rival's threshold is
the one at which it has as many false positives, in all scans without labelled cells together, as Ferrosight has without
baseline, or one if that is more. The smallest mass at 90 % recall is a probit's in the logarithm of the mass, its
interval a bootstrap's; "not reached" where that lies above the largest mass tried.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, stats
from scipy.spatial import KDTree

from _command import OUT, print_table, write_results
from ferrosight.field import measure_field
from ferrosight.limits import map_limit
from ferrosight.physics.dipole import dipole_kernel
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.simulate import PRESET_LABEL_ID, PRESETS, Preset, simulate_scan
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.study.visit import analyse_visit, as_baseline, hold_against, prepare_baseline
from ferrosight.types import Catalogue, Config, FieldMap, PhaseSign, Scan
from gel_injection import correlate_phase, find_dark

Row = dict[str, Any]
FloatArray = NDArray[np.float64]

ROWS = OUT / "confusers_rows.jsonl"
CASES = ("mouse-brain-9t", "human-brain-3t")
PER_SCAN, AROUND = 10, (0.5, 40.0)
MATCH_EDGES = 1.5
#: A rival's strongest peaks, as many as are kept of a scan.
KEPT_PEAKS = 300
POWER, N_BOOT = 0.9, 400
#: Division in k-space where the kernel is at least this (Shmueli et al., Magn Reson Med 2009; 62:1510).
LEAST_KERNEL = 0.2
OURS = ("Ferrosight", "Ferrosight with baseline")


def main() -> None:
    """Simulate, analyse, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--presets", default=",".join(CASES))
    parser.add_argument("--n", type=int, default=6, help="subjects without labelled cells, per preset")
    parser.add_argument("--n-labelled", type=int, default=6, help="subjects with labelled cells, per preset")
    parser.add_argument("--side", type=int, default=64, help="largest edge of the field of view, voxels")
    parser.add_argument("--jobs", type=int, default=4, help="scans at a time, a core each")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier run")
    parser.add_argument("--full", action="store_true", help="100 and 30 subjects, 96 voxels: some 40 hours on 4 cores")
    options = parser.parse_args()
    n_null, n_labelled, side = (100, 30, 96) if options.full else (options.n, options.n_labelled, options.side)
    start = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    if not options.resume:
        ROWS.unlink(missing_ok=True)
    rows = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    done = {tuple(row["key"]) for row in rows}
    presets = options.presets.split(",")
    keys = [
        (options.seed, preset, side, what, index)
        for what, n in (("null", n_null), ("labelled", n_labelled))
        for index in range(n)
        for preset in presets
    ]
    print(f"seed {options.seed}: {n_null} subjects without and {n_labelled} with labelled cells per preset", flush=True)
    with ProcessPoolExecutor(options.jobs) as pool, ROWS.open("a", encoding="utf-8") as stream:
        for row in pool.map(run_subject, [key for key in keys if key not in done]):
            rows.append(row)
            print(json.dumps(row), file=stream, flush=True)
            print_progress(row)
    rows = [row for row in rows if tuple(row["key"]) in set(keys)]
    cases = [summarise(preset, [row for row in rows if row["key"][1] == preset]) for preset in presets]
    for case in cases:
        print_table({f"  {name}": value for name, value in case["shown"].items()})
    print_table(
        {
            "wall time, s": round(time.perf_counter() - start),
            "peak memory of one process, MB": round(max(row["peak_mb"] for row in rows)),
        }
    )
    measured = {name: value for case in cases for name, value in case["measured"].items()}
    details = [
        {"what": f"confusers, {case['preset']}, {k}", "value": v} for case in cases for k, v in case["shown"].items()
    ]
    write_results(
        "confusers",
        f"uv run python benchmarks/confusers.py --seed {options.seed} --n {n_null} --n-labelled {n_labelled} "
        f"--side {side}",
        measured,
        {"seed": options.seed, "rows": rows, "cases": cases},
        details,
    )
    plot(cases)


def run_subject(key: tuple[int, str, int, str, int]) -> Row:
    """Simulate a subject's scan and baseline; what each detector makes of it."""
    seed, name, side, what, index = key
    start = time.perf_counter()
    own = int(np.random.SeedSequence([seed, list(PRESETS).index(name), what == "null", index]).generate_state(1)[0])
    preset = PRESETS[name]
    shape = tuple(min(side, n) for n in preset.scan.shape)
    with limit_cpus(1):
        limit = find_limit_pg(preset, shape)
        preset = fill_preset(preset, shape, limit, PER_SCAN if what == "labelled" else 0)
        scan, truth = simulate_scan(preset.build_spec(own, 0.0, shape, "constant"), own, visit=0)
        before, _ = simulate_scan(preset.build_spec(own, -7.0, shape, "constant"), own, visit=-1)
        result = analyse_visit(scan)
        known = dataclasses.replace(before, phase_sign=scan.phase_sign)
        baseline = (
            as_baseline(analyse_visit(before, is_baseline=True))
            if scan.phase_sign is PhaseSign.UNKNOWN
            else prepare_baseline(known)
        )
        held = hold_against(result.catalogue, scan, result.field_map, baseline, Config())
    labelled = truth.table.where(truth.table["kind"] == "labelled")
    places = np.stack([labelled[f"{axis}_mm"] for axis in "xyz"], axis=-1)
    reach = MATCH_EDGES * float(np.cbrt(np.prod(scan.grid.voxel_mm)))
    rivals = measure_rivals(scan, result.field_map)
    return {
        "key": list(key),
        "limit_pg": limit,
        "iron_pg": labelled["iron_pg"].tolist(),
        "ours": {
            method: match_accepted(catalogue, places, reach)
            for method, catalogue in zip(OURS, (result.catalogue, held), strict=True)
        },
        "false_kinds": name_false(held, truth.table, places, reach),
        "rivals": {rival: match_peaks(strength, scan, places, reach) for rival, strength in rivals.items()},
        "peak_mb": peak_memory_mb() or 0.0,
        "wall_s": round(time.perf_counter() - start, 1),
    }


def find_limit_pg(preset: Preset, shape: tuple[int, ...]) -> float:
    """Iron that the ideal observer needs in the median voxel of the preset's empty tissue."""
    spec = dataclasses.replace(fill_preset(preset, shape, 1.0, 0), content=type(preset.content)()).build_spec(
        0, 0.0, (shape[0], shape[1], shape[2])
    )
    scan, _ = simulate_scan(spec, 0)
    ms = magnetisation_am2_per_kg_fe(get_label(PRESET_LABEL_ID), scan.b0_t)
    return float(np.nanmedian(map_limit(scan, measure_field(scan, Config().field), ms, Config().limits).iron_pg))


def fill_preset(preset: Preset, shape: tuple[int, ...], limit_pg: float, n: int) -> Preset:
    """The preset with its confusers, and n clusters in the place of what it has of labelled cells."""
    share = float(np.prod(shape) / np.prod(preset.scan.shape))
    content = dataclasses.replace(
        preset.content,
        cells=(),
        grafts=(),
        solid_grafts=(),
        n_particles=round(n / share),
        particles_pg=(AROUND[0] * limit_pg, AROUND[1] * limit_pg),
    )
    return dataclasses.replace(preset, content=content)


def match_accepted(catalogue: Catalogue, places: FloatArray, reach: float) -> Row:
    """Which places have an accepted cluster, and how many accepted clusters have none."""
    accepted = catalogue.accepted
    found = np.stack([accepted[f"{axis}_mm"] for axis in "xyz"], axis=-1)
    return {"found": near(places, found, reach).tolist(), "n_false": int((~near(found, places, reach)).sum())}


def near(these: FloatArray, those: FloatArray, reach: float) -> NDArray[np.bool_]:
    """Which of these places (n, 3) lie within reach of any of those (m, 3)."""
    if not len(these) or not len(those):
        return np.zeros(len(these), dtype=np.bool_)
    return np.asarray(KDTree(those).query(these)[0] < reach)


def name_false(catalogue: Catalogue, truth: Any, places: FloatArray, reach: float) -> list[str]:
    """The kind of body nearest to the centre of which each false cluster lies; "nothing" beyond 5 reaches."""
    accepted = catalogue.accepted
    found = np.stack([accepted[f"{axis}_mm"] for axis in "xyz"], axis=-1)
    found = found[~near(found, places, reach)]
    bodies = np.stack([truth[f"{axis}_mm"] for axis in "xyz"], axis=-1)
    if not len(found) or not len(bodies):
        return ["nothing"] * len(found)
    distance, row = KDTree(bodies).query(found)
    return [str(truth["kind"][r]) if d < 5 * reach else "nothing" for d, r in zip(distance, row, strict=True)]


def measure_rivals(scan: Scan, field_map: FieldMap) -> dict[str, FloatArray]:
    """What each rival thresholds (x, y, z), larger where it sees more of a cluster."""
    sign = -1.0 if scan.phase_sign is PhaseSign.NEGATIVE else 1.0
    r2star = np.nan_to_num(field_map.r2star_per_s).astype(np.float64)
    blobs = {
        "blobs of R2*": -ndimage.gaussian_laplace(r2star, 1.0),
        "blobs of susceptibility": -ndimage.gaussian_laplace(sign * invert_field(scan, field_map), 1.0),
    }
    return {
        "cross-correlation": sign * correlate_phase(scan, field_map)[0],
        "dark spots": find_dark(scan, field_map)[0],
        **{name: np.where(field_map.mask, value, 0.0) for name, value in blobs.items()},
    }


def invert_field(scan: Scan, field_map: FieldMap) -> FloatArray:
    """Susceptibility, arbitrary units, by thresholded division of the local field in k-space."""
    field = np.nan_to_num(field_map.local_field_hz).astype(np.float64)
    shape = tuple(2 * n for n in field.shape)
    kernel = dipole_kernel(shape, scan.grid.voxel_mm, scan.b0_in_array)
    bounded = np.where(np.abs(kernel) < LEAST_KERNEL, LEAST_KERNEL * np.where(kernel < 0, -1.0, 1.0), kernel)
    inverted = np.fft.ifftn(np.fft.fftn(field, shape) / bounded).real
    return np.asarray(inverted[tuple(slice(0, n) for n in field.shape)])


def match_peaks(strength: FloatArray, scan: Scan, places: FloatArray, reach: float) -> Row:
    """The strongest peak at each place, and the strongest that are at none."""
    peaks = np.argwhere((strength == ndimage.maximum_filter(strength, 3)) & (strength > 0))
    values = strength[tuple(peaks.T)]
    where = scan.grid.to_mm(peaks.astype(np.float64)) if len(peaks) else np.zeros((0, 3))
    # A rival tells no sub-voxel place: half a voxel's diagonal more is allowed.
    reach += 0.5 * float(np.linalg.norm(scan.grid.voxel_mm))
    at = [float(values[np.linalg.norm(where - place, axis=1) < reach].max(initial=0.0)) for place in places]
    false = np.sort(values[~near(where, places, reach)])[::-1]
    return {"at": at, "false": false[:KEPT_PEAKS].tolist()}


def print_progress(row: Row) -> None:
    """A line per subject."""
    ours = "; ".join(
        f"{name}: {sum(one['found'])} of {len(one['found'])} found, {one['n_false']} false"
        for name, one in row["ours"].items()
    )
    print(f"{row['key'][1:]}: {ours}; {row['wall_s']} s", flush=True)


def summarise(preset: str, rows: list[Row]) -> Row:
    """One preset as it is printed: false ones per scan, recall, the smallest mass."""
    nulls = [row for row in rows if row["key"][3] == "null"]
    labelled = [row for row in rows if row["key"][3] == "labelled"]
    mass = np.concatenate([row["iron_pg"] for row in labelled]) / labelled[0]["limit_pg"]
    found, shown, measured, at_90 = {}, {}, {}, {}
    for name in OURS:
        false = np.array([row["ours"][name]["n_false"] for row in nulls])
        low, high = stats.chi2.ppf([0.025, 0.975], [2 * false.sum(), 2 * false.sum() + 2]) / 2 / len(false)
        rate = f"{false.mean():.2f} ({np.nan_to_num(low):.2f} to {high:.2f}; {false.sum()} in {len(false)} scans)"
        shown[f"{name}: accepted per scan without labelled cells"] = rate
        measured[f"{preset}, veins, bleeds and air alone, {name}: accepted per scan"] = rate
        found[name] = np.concatenate([row["ours"][name]["found"] for row in labelled]).astype(bool)
    kinds = Counter(kind for row in nulls for kind in row["false_kinds"])
    shown["what was accepted with baseline lies at"] = ", ".join(f"{k} {n}" for k, n in kinds.most_common()) or "-"
    n_allowed = max(sum(row["ours"][OURS[0]]["n_false"] for row in nulls), 1)
    for rival in nulls[0]["rivals"]:
        false = np.sort(np.concatenate([row["rivals"][rival]["false"] for row in nulls]))[::-1]
        strengths = np.concatenate([row["rivals"][rival]["at"] for row in labelled])
        found[rival] = strengths > false[n_allowed]
    for name, hits in found.items():
        at_90[name] = describe_mass(mass, hits)
        shown[f"{name}: found, smallest iron at 90 % over the ideal's"] = (
            f"{hits.sum()} of {len(hits)}, {at_90[name]['text']}"
        )
    best = min((at_90[name]["value"] for name in found if name not in OURS), default=math.inf)
    ratio = best / at_90[OURS[0]]["value"]
    text = f"{ratio:.1f}" if math.isfinite(ratio) else "none reaches it within the masses tried"
    measured[f"{preset}: smallest iron at 90 % recall, ours and the best rival's over ours, equal false positives"] = (
        f"{at_90[OURS[0]]['text']} of the ideal's; {text}"
    )
    return {
        "preset": preset,
        "shown": shown,
        "measured": measured,
        "over": mass.tolist(),
        "found": {name: hits.tolist() for name, hits in found.items()},
    }


def describe_mass(mass: FloatArray, found: NDArray[np.bool_]) -> Row:
    """Mass of 90 % recall with its interval; infinite where it lies beyond what was tried."""
    value = fit_power(mass, found)
    rng = np.random.default_rng(0)
    picks = rng.integers(len(mass), size=(N_BOOT, len(mass)))
    low, high = np.percentile([fit_power(mass[pick], found[pick]) for pick in picks], [2.5, 97.5])
    if value > AROUND[1]:
        return {"value": math.inf, "text": f"not reached at {AROUND[1]:g}"}
    upper = f"{high:.1f}" if high <= AROUND[1] else f"above {AROUND[1]:g}"
    return {"value": value, "text": f"{value:.1f} ({low:.1f} to {upper})"}


def fit_power(mass: FloatArray, found: NDArray[np.bool_]) -> float:
    """Mass of 90 % recall: a probit in its logarithm, maximum likelihood with a weak prior on its width."""
    x = np.log(mass)

    def cost(parameters: FloatArray) -> float:
        middle, log_width = parameters
        z = (x - middle) / np.exp(log_width)
        return float(-stats.norm.logcdf(np.where(found, z, -z)).sum() + 0.5 * (log_width - math.log(0.5)) ** 2)

    best = optimize.minimize(cost, np.array([math.log(3.0), math.log(0.5)]), method="Nelder-Mead").x
    return float(np.exp(min(best[0] + stats.norm.ppf(POWER) * np.exp(best[1]), 50.0)))


def plot(cases: list[Row]) -> None:
    """Recall against mass over the ideal's limit, a line per detector."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(cases), 4), dpi=120, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(cases), sharey=True))
    edges = np.exp(np.linspace(*np.log(AROUND), 8))
    for axes, case in zip(panels, cases, strict=True):
        mass = np.array(case["over"])
        for name, hits in case["found"].items():
            in_bin = np.digitize(mass, edges) - 1
            recall = [np.mean(np.array(hits)[in_bin == b]) if (in_bin == b).any() else np.nan for b in range(7)]
            style = "o-" if name in OURS else "s--"
            axes.semilogx(np.sqrt(edges[1:] * edges[:-1]), recall, style, label=name, ms=4)
        axes.set(xlabel="iron over the ideal observer's limit", title=case["preset"], ylim=(-0.03, 1.03))
    panels[0].set_ylabel("found")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(OUT / "confusers.png")
    print(f"plot: {OUT / 'confusers.png'}")


if __name__ == "__main__":
    main()
