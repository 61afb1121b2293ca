"""How closely are visits laid onto each other, and as closely as they say?

    uv run python benchmarks/registration.py [--seed N] [--cases a,b] [--subjects 3] [--n 3] [--full]

Simulated subjects of four visits: the anatomy is a formula, computed anew in each posture at twice the resolution and
cut off in k-space, so that no image is a resampled other. Postures turn by 6 degrees about each axis and shift by 6 %
of the least extent (standard deviations); slabs are tilted by 3 degrees anew on each day. The first visit is a baseline
without label; the second has a shorter field of view, the third coarser voxels (1.25 times) in a smaller field, the
fourth fewer slices. Each has its own receive profile, shim and noise; clusters, bleeds, bubbles and the widest veins
turn with B0. Registration sees what an analysis has: the measured mask and noise, and where candidates lie.

Two cases of our own, 1 mm voxels at 3 T and 0.1 x 0.1 x 0.3 mm at 9.4 T, with 20 voids; and the presets in a smaller
field of view. Target registration error is the mean distance, over places in the tissue, between where a visit's place
lies on another and where it should; the *ratio* is RMS actual error over RMS predicted, over subjects, noise draws,
pairs and places. The pairs of four visits share their noise, so that a draw has some ten independent errors and its
ratio scatters by 0.15: the ratio's own error is read from the scatter of the subjects. Loops run once around the four
visits. At last pairs that do not belong together are tried.
"""

from __future__ import annotations

import argparse
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import OUT, print_table, write_results
from ferrosight.field import measure_field
from ferrosight.register import build_visit_image, register_visits
from ferrosight.simulate import PRESETS, Point, ScanSpec, Vein, build_affine, simulate_moved_scan
from ferrosight.simulate.background import draw_noise
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import FieldMap, Grid, PhaseSign, Rigid, Scan, SubjectSpace, Table, VisitImage
from ferrosight.types.config import FieldConfig, RegisterConfig

FloatArray = NDArray[np.float64]

TURN_DEG, SHIFT, TILT_DEG = 6.0, 0.06, 3.0
#: Field of view along each axis, over the first visit's, and voxel edges, of the four visits.
FIELDS = ((1.0, 1.0, 1.0), (1.0, 0.9, 1.0), (0.8, 0.8, 0.8), (1.0, 1.0, 0.85))
COARSER = (1.0, 1.0, 1.25, 1.0)
N_PLACES, MOST_VEINS, FIELD = 200, 4, (64, 72, 32)
PAIRS = [(i, j) for j in range(4) for i in range(j)]


@dataclass(frozen=True)
class Visit:
    """One visit without noise, where it truly lies, and what an analysis knows of it."""

    clean: Scan
    spec: ScanSpec
    to_subject: Rigid
    field_map: FieldMap
    clusters: Table


@dataclass(frozen=True)
class Draw:
    """One draw of noise: squared errors, mm², actual and predicted (pair, place), and where loops end, mm."""

    subject: int
    used: int
    seconds: float
    actual: FloatArray
    predicted: FloatArray
    loops: tuple[float, float]


def main() -> None:
    """Simulate, register, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    # the gel has nothing but its particles to register by
    known = ["1mm-3t", "thick-9t", *(name for name in PRESETS if name != "gel-11t")]
    parser.add_argument("--cases", default=",".join(known))
    parser.add_argument("--subjects", type=int, default=3, help="subjects per case, two or more")
    parser.add_argument("--n", type=int, default=3, help="noise draws per subject")
    parser.add_argument("--full", action="store_true", help="ten subjects of ten draws each")
    options = parser.parse_args()
    if options.subjects < 2:
        parser.error("two subjects or more are needed, for their scatter says how far a ratio can be trusted.")
    n_subjects, n = (10, 10) if options.full else (options.subjects, options.n)
    print(f"seed {options.seed}, {n_subjects} subjects of {n} noise draws each per case", flush=True)
    start = time.perf_counter()
    cases: list[dict[str, Any]] = []
    strangers: list[dict[str, Any]] = []
    with limit_cpus(1):
        for name in options.cases.split(","):
            case, apart = measure_case(name, n_subjects, n, options.seed)
            cases.append(case)
            print(describe(case), "pairs' ratios", " ".join(f"{r:.2f}" for r in case["pair_ratios"]), flush=True)
            strangers += apart
            done = ",".join(case["name"] for case in cases)
            counts = f"--subjects {n_subjects} --n {n}"
            command = f"uv run python benchmarks/registration.py --seed {options.seed} {counts} --cases {done}"
            write(cases, strangers, command, time.perf_counter() - start)
    plot(cases)


def write(cases: list[dict[str, Any]], strangers: list[dict[str, Any]], command: str, seconds: float) -> None:
    """What all cases so far say."""
    ratios = np.array([case["ratio"] for case in cases])
    pooled = {
        "ratio": float(np.sqrt(np.mean(ratios**2))),
        "lowest": float(ratios.min()),
        "highest": float(ratios.max()),
        "within": int(((ratios >= 0.8) & (ratios <= 1.2)).sum()),
    }
    told = f"{pooled['ratio']:.2f} ({pooled['lowest']:.2f} to {pooled['highest']:.2f})"
    within = f"within 20 % in {pooled['within']} of {len(cases)}"
    n_recognised = sum(stranger["recognised"] for stranger in strangers)
    rows = {
        "actual over predicted error, all cases (least and largest of a case)": f"{told}; {within}",
        "pairs that do not belong together, recognised": f"{n_recognised} of {len(strangers)}",
        "wall time, s": round(seconds),
        "peak memory, MB": round(peak_memory_mb() or 0),
    }
    print_table(rows)
    worst = max(cases, key=lambda case: case["tre_voxels"])
    measured = {
        f"registration, worst mean target error of {len(cases)} protocols": f"{worst['tre_voxels']:.3f} voxel edges",
        f"registration, actual over predicted error, {len(cases)} protocols": f"{told}; {within}",
    }
    details = [{"what": f"registration, {case['name']}", "measured": describe(case)} for case in cases]
    details += [{"what": f"registration, {what}", "measured": str(value)} for what, value in rows.items()]
    shown = [{key: value for key, value in case.items() if key != "squares"} for case in cases]
    everything = {"command": command, "cases": shown, "pooled": pooled, "strangers": strangers}
    write_results("registration", command, measured, everything, details)


def build_case(name: str, seed: int) -> ScanSpec:
    """The subject and protocol of a case, without noise."""
    rng = np.random.default_rng(seed)
    if name in PRESETS:
        preset = PRESETS[name]
        shape = tuple(min(a, b) for a, b in zip(preset.scan.shape, FIELD, strict=True))
        spec = preset.build_spec(seed, 0.0, (shape[0], shape[1], shape[2]))
        veins = sorted((s for s in spec.sources if isinstance(s, Vein)), key=lambda vein: -vein.radius_um)[:MOST_VEINS]
        others = [s for s in spec.sources if not isinstance(s, Vein)]
        return replace(spec, sources=(*others, *veins), bandwidth_hz=np.inf)
    big = name == "1mm-3t"
    voxel = (1.0, 1.0, 1.0) if big else (0.1, 0.1, 0.3)
    shape = (72, 84, 56) if big else (80, 96, 26)
    affine = build_affine(shape, voxel, (8.0, -5.0, 3.0))
    half = np.array(shape) / 2 * np.array(voxel) * 0.65
    places = rng.normal(size=(20, 3))
    places *= half * np.cbrt(rng.random((20, 1))) / np.linalg.norm(places, axis=1, keepdims=True)
    moments = np.exp(rng.uniform(*np.log((3e-10, 3e-8) if big else (1e-12, 1e-10)), 20))
    points = tuple(Point((x, y, z), m) for (x, y, z), m in zip(places.tolist(), moments.tolist(), strict=True))
    return ScanSpec(
        shape,
        affine,
        (0.006, 0.014, 0.022) if big else (0.004, 0.009, 0.014),
        3.0 if big else 9.4,
        sources=points,
        snr=40.0 if big else 35.0,
        r2star_per_s=20.0 if big else 30.0,
        r2star_variation=0.2,
        density_variation=0.1,
        structure_mm=6.0 if big else 0.7,
        point_spread="kspace",
        tissue_fraction=0.85,
        receive_variation=0.4,
        noise_variation=0.2,
        background_hz=40.0,
        phase_offset_rad=0.3,
        coil_phase_rad=0.8,
        texture_ppm=0.01,
        texture_mm=1.5 if big else 0.2,
        sub_sampling=8,
    )


def draw_visits(name: str, rng: np.random.Generator) -> list[Visit]:
    """Four visits of one subject."""
    seed = int(rng.integers(2**31))
    spec = build_case(name, seed)
    extent = min(n * v for n, v in zip(spec.shape, spec.grid.voxel_mm, strict=True))
    visits = []
    for number, (field, coarser) in enumerate(zip(FIELDS, COARSER, strict=True)):
        turn = np.deg2rad(rng.normal(scale=TURN_DEG, size=3))
        pose = Rigid.from_twist(np.concatenate([rng.normal(scale=SHIFT * extent, size=3), turn]))
        size = tuple(round(n * f) for n, f in zip(spec.shape, field, strict=True))
        tilt = Rigid.from_twist([0, 0, 0, *np.deg2rad(rng.normal(scale=TILT_DEG, size=3))])
        matrix = tilt.rotation @ spec.grid.affine[:3, :3] * coarser
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = matrix, -matrix @ ((np.array(size) - 1) / 2)
        sources = tuple(s for s in spec.sources if number or s.kind != "labelled")
        there = replace(spec, sources=sources, snr=np.inf)
        clean, truth = simulate_moved_scan(there, seed, pose, grid=Grid(size, affine), visit=number)
        # larger voxels have less noise
        shown = replace(there, shape=clean.grid.shape, affine=affine, snr=spec.snr * coarser**3)
        noisy = add_noise(clean, shown, rng)
        about = truth.table.where(np.asarray(truth.table["kind"]) != "vein")
        visits.append(Visit(clean, shown, pose, measure_field(noisy, FieldConfig()), about))
    return visits


def add_noise(clean: Scan, spec: ScanSpec, rng: np.random.Generator) -> Scan:
    """The scan with noise of its own."""
    seeds = np.random.SeedSequence(int(rng.integers(2**63))).spawn(2)
    noisy = clean.signal + draw_noise(spec, seeds)
    return replace(clean, signal=noisy, phase_sign=PhaseSign.POSITIVE)


def see(visit: Visit, session: str, rng: np.random.Generator) -> VisitImage:
    """The visit's image under a new draw of noise."""
    scan = replace(add_noise(visit.clean, visit.spec, rng), session=session)
    return build_visit_image(scan, visit.field_map, visit.clusters)


def measure_case(name: str, n_subjects: int, n: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Errors, predicted and actual, of ``n`` draws of each subject; and pairs that do not belong together."""
    draws: list[Draw] = []
    for subject in range(n_subjects):
        rng = np.random.default_rng([seed, subject, *name.encode()])
        visits = draw_visits(name, rng)
        draws += measure_subject(visits, subject, n, rng)
        if not subject:
            strangers = try_strangers(name, visits, rng)
            voxel_mm = visits[0].clean.grid.voxel_mm
    return summarise(name, voxel_mm, draws, n_subjects * n), strangers


def measure_subject(visits: list[Visit], subject: int, n: int, rng: np.random.Generator) -> list[Draw]:
    """The draws of one subject; those in which not every visit was registered have no errors."""
    draws = []
    places = [draw_places(visit, rng) for visit in visits]
    for _ in range(n):
        images = [see(visit, str(number), rng) for number, visit in enumerate(visits)]
        start = time.process_time()
        space = register_visits(images, RegisterConfig())
        seconds = time.process_time() - start
        used = sum(pair.status == "used" for pair in space.pairs)
        empty = np.zeros((0, N_PLACES))
        if len(space.registered) < len(visits):
            draws.append(Draw(subject, used, seconds, empty, empty, (np.nan, np.nan)))
            continue
        actual, predicted = [], []
        for i, j in PAIRS:
            true = visits[i].to_subject.inverse().after(visits[j].to_subject)
            found = space.between(str(i), str(j))
            actual.append(np.square(found.apply(places[j]) - true.apply(places[j])).sum(axis=-1))
            predicted.append(np.trace(found.carry_covariance(places[j]), axis1=1, axis2=2))
        draws.append(Draw(subject, used, seconds, np.array(actual), np.array(predicted), close_loops(space, places[0])))
    return draws


def summarise(name: str, voxel_mm: tuple[float, ...], draws: list[Draw], n: int) -> dict[str, Any]:
    """What the draws of a case say; ``ratio_err`` is read from the scatter of the subjects."""
    voxel = float(np.cbrt(np.prod(voxel_mm)))
    kept = [draw for draw in draws if len(draw.actual)]
    actual, predicted = (np.array([getattr(draw, part) for draw in kept]) for part in ("actual", "predicted"))
    distance = np.sqrt(actual)
    ratio = float(np.sqrt(actual.mean() / predicted.mean()))
    subject = np.array([draw.subject for draw in kept])
    # of a ratio of means: each subject's part in it, squared
    excess = actual.mean(axis=(1, 2)) / predicted.mean() - ratio**2 * predicted.mean(axis=(1, 2)) / predicted.mean()
    parts = np.bincount(subject, excess) / len(kept)
    m = len(set(subject.tolist()))
    far = predicted > np.median(predicted, axis=2, keepdims=True)
    before, after = np.nanmean([draw.loops for draw in kept], axis=0)
    return {
        "name": name,
        "voxel_mm": voxel_mm,
        "n_subjects": m,
        "n_draws": len(kept),
        "n_unregistered": n - len(kept),
        "pairs_used": sum(draw.used for draw in draws) / (n * len(PAIRS)),
        "tre_mm": float(distance.mean()),
        "tre_voxels": float(distance.mean() / voxel),
        "tre_worst_voxels": float(distance.max() / voxel),
        "predicted_voxels": float(np.sqrt(predicted.mean()) / voxel),
        "ratio": ratio,
        "ratio_err": float(np.sqrt((parts**2).sum() * m / (m - 1)) / (2 * ratio)) if m > 1 else float("nan"),
        "ratio_near_far": [float(np.sqrt(actual[part].mean() / predicted[part].mean())) for part in (~far, far)],
        "draw_ratios": np.sqrt(actual.mean(axis=(1, 2)) / predicted.mean(axis=(1, 2))).tolist(),
        "pair_ratios": np.sqrt(actual.mean(axis=(0, 2)) / predicted.mean(axis=(0, 2))).tolist(),
        "loop_before_mm": float(before),
        "loop_after_mm": float(after),
        "cpu_s": float(np.mean([draw.seconds for draw in draws])),
        "squares": (actual, predicted),
    }


def draw_places(visit: Visit, rng: np.random.Generator) -> FloatArray:
    inside = np.argwhere(visit.field_map.mask)
    return visit.clean.grid.to_mm(inside[rng.integers(len(inside), size=N_PLACES)])


def close_loops(space: SubjectSpace, places: FloatArray) -> tuple[float, float]:
    """Mean distance, mm, from places to where a loop over the four visits ends, by pairs and by poses."""
    steps = {(pair.first, pair.second): pair.transform for pair in space.pairs}
    ends = []
    for by_graph in (False, True):
        moved = places
        for first, second in (("0", "3"), ("2", "3"), ("1", "2"), ("0", "1")):
            step = space.between(first, second) if by_graph else steps[first, second]
            if step is None:
                moved = np.full_like(places, np.nan)
                break
            moved = (step.inverse() if first == "0" and second == "3" else step).apply(moved)
        ends.append(float(np.linalg.norm(moved - places, axis=1).mean()))
    return ends[0], ends[1]


def try_strangers(name: str, visits: list[Visit], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Two halves that share nothing, and another subject's first visit."""
    mine = see(visits[0], "0", rng)
    middle = mine.grid.shape[1] // 2
    pairs = {"halves": (cut(mine, 0, middle - 2, "0"), cut(see(visits[1], "1", rng), middle + 2, None, "1"))}
    spec = replace(build_case(name, int(rng.integers(2**31))), sources=(), snr=np.inf)
    clean, _ = simulate_moved_scan(spec, int(rng.integers(2**31)), Rigid.identity())
    other = replace(visits[0], clean=clean, spec=replace(spec, snr=visits[0].spec.snr))
    pairs["other subject"] = (mine, see(other, "1", rng))
    rows = []
    for what, images in pairs.items():
        pair = register_visits(images, RegisterConfig()).pairs[0]
        about = {"status": pair.status, "overlap": pair.overlap, "similarity": pair.similarity}
        rows.append({"name": name, "what": what, "recognised": pair.status != "used", **about})
        print(
            f"  {name}, {what}: {pair.status}, overlap {pair.overlap:.2f}, similarity {pair.similarity:.2f}", flush=True
        )
    return rows


def cut(image: VisitImage, low: int, high: int | None, session: str) -> VisitImage:
    """Part of a visit along the second axis."""
    part = (slice(None), slice(low, high))
    affine = image.grid.affine.copy()
    affine[:3, 3] = image.grid.to_mm([0, low, 0])
    magnitude = image.magnitude[part]
    x, y, z = magnitude.shape
    return VisitImage(session, magnitude, Grid((x, y, z), affine), image.mask[part], image.excluded[part])


def describe(case: dict[str, Any]) -> str:
    """A case in a line."""
    x, y, z = case["voxel_mm"]
    return (
        f"{case['name']} ({x:.2g} × {y:.2g} × {z:.2g} mm): mean target error {case['tre_mm'] * 1e3:.2f} µm = "
        f"{case['tre_voxels']:.4f} voxel edges (worst {case['tre_worst_voxels']:.3f}), actual over predicted "
        f"{case['ratio']:.2f} ± {case['ratio_err']:.2f} ({case['n_draws']} draws of {case['n_subjects']} subjects; "
        f"near the middle {case['ratio_near_far'][0]:.2f}, far {case['ratio_near_far'][1]:.2f}), "
        f"loop {case['loop_before_mm'] * 1e3:.2f} µm before the graph and "
        f"{case['loop_after_mm'] * 1e3:.1g} µm after, pairs used {100 * case['pairs_used']:.0f} %, "
        f"{case['cpu_s']:.0f} s of one core for four visits"
    )


def plot(cases: list[dict[str, Any]]) -> None:
    """Actual over predicted error of every pair."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
    for case in cases:
        voxel = float(np.cbrt(np.prod(case["voxel_mm"])))
        actual, predicted = (np.sqrt(part.mean(axis=(0, 2))) / voxel for part in case["squares"])
        axes.plot(predicted, actual, "o", label=case["name"], alpha=0.8)
    low, high = axes.get_xlim()[0] / 1.5, max(axes.get_xlim()[1], axes.get_ylim()[1]) * 1.2
    line = np.array([max(low, 1e-4), high])
    axes.plot(line, line, "k-", lw=1)
    axes.fill_between(line, line * 0.8, line * 1.2, color="0.85", zorder=0, label="within 20 %")
    axes.set(
        xscale="log", yscale="log", xlabel="predicted RMS error, voxel edges", ylabel="actual RMS error, voxel edges"
    )
    axes.set_title("Each point: one pair of visits, over noise draws and places")
    axes.legend(fontsize="small", loc="upper left")
    figure.savefig(OUT / "registration.png", dpi=110)


if __name__ == "__main__":
    main()
