"""How close detection comes to the ideal observer: the smallest moment found with 90 % power at one false per scan.

    uv run python benchmarks/efficiency.py [--seed N] [--presets a,b] [--n-null 12] [--n-scans 8] [--resume] [--full]

Simulated scans of every preset's protocol: field strength, echoes, voxel, signal-to-noise, R2*, k-space, B0's
direction along the voxel. 48 x 44 x 36 voxels filled with tissue; a smooth background field, receive profile and
coil phase, each of one wave over the image; no impostors. Two backgrounds: *smooth* has nothing else, *texture* the
preset's random susceptibility through the dipole kernel too.

The detector's threshold is the score that candidates of iron's polarity exceed once per scan, counted in scans without
clusters, shape tests included; where fewer are found at all it is the lowest score that the search keeps. Then
clusters, up to eight a scan, at random sub-voxel places, 0.7 to 3 times the ideal's limit: a cluster is found if a
candidate above the threshold lies within 1.5 mean voxel edges. A probit in the logarithm of the moment gives the
moment of 90 % power, bootstrap its 95 % interval.

The ideal observer knows signal, background and covariance. At every k it sees the complex image there and at -k, all
echoes: noise is flat within the acquired k-space, the texture's field turns the phase of all echoes in proportion to
their time,

    z = [X_e(k), X_e(-k)*],   C = c·1 + P(k) u u^H,   u_e = i 2π TE_e S_e [1, -1],   d'² = Σ_k z^H C⁻¹ z,

with c = 2 n σ²/W for n voxels, P the spectrum of the texture's field. Its threshold and power are those of
``ferrosight limit`` (expected maxima of the filter's output, held to simulated maxima in tests/limits), with the
spread of k weighted by the prewhitened energy. *window* is what a fit at the true place knows of the moment, place
and the window's quadratic background free: d' of the ideal over its d' is what window and background cost alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

import ferrosight as fs
from _command import OUT, print_table, write_results
from _simulated import draw_sites, measure_d_primes
from ferrosight.limits.false_alarms import detection_power, find_threshold
from ferrosight.simulate import PRESETS, Point, ScanSpec, build_affine, simulate_scan
from ferrosight.simulate.background import draw_texture_hz
from ferrosight.simulate.point_spread import support_mask
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import GRAFT_ESTIMATOR, Catalogue, Scan
from ferrosight.types.config import ClustersConfig

Row = dict[str, Any]
FloatArray = NDArray[np.float64]

ROWS = OUT / "efficiency_rows.jsonl"
SHAPE = (48, 44, 36)
FROM_FACE, APART, PER_SCAN, MATCH_EDGES = 7.0, 10.0, 8, 1.5
POWER, FALSE_PER_SCAN = 0.9, 1.0
BACKGROUNDS = {"smooth": 1.25, "texture": 1.5}
#: Masses tried, over the ideal's limit.
AROUND = (0.7, 3.0)
#: Scores are looked at down to here: low enough that there is one false candidate per scan. What texture leaves in a
#: fit lowers all scores.
SCREEN_Z = {"smooth": 4.0, "texture": 3.0}
N_SPECTRA = 24
N_BOOT = 400
STATISTICAL = ("", "not_significant")
PRINTED = (
    "preset",
    "background",
    "ideal's limit, A m²",
    "ideal's d', threshold",
    "detector's threshold (score)",
    "found of all",
    "over the ideal",
    "asked",
    "window and background alone",
)


@dataclass(frozen=True)
class Ideal:
    """The ideal observer of one case: its limit, threshold, d' there and that of a window's fit."""

    moment_am2: float
    threshold: float
    d_prime: float
    d_window: float


def main() -> None:
    """Simulate, analyse, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--n-null", type=int, default=12, help="scans without clusters, per case")
    parser.add_argument("--n-scans", type=int, default=8, help="scans with clusters, per case")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier run")
    parser.add_argument("--full", action="store_true", help="100 and 40 scans per case")
    options = parser.parse_args()
    n_null, n_scans = (100, 40) if options.full else (options.n_null, options.n_scans)
    start = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    if not options.resume:
        ROWS.unlink(missing_ok=True)
    known = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    done = {(r["seed"], r["preset"], r["background"], r["what"], r["index"]): r for r in known}
    print(f"seed {options.seed}, {n_null} scans without and {n_scans} with clusters per case", flush=True)
    cases = []
    with limit_cpus(4):
        for preset in options.presets.split(","):
            for background in BACKGROUNDS:
                key = (options.seed, preset, background)
                ideal = find_ideal(build_spec(preset, background), np.random.default_rng(options.seed))
                rows = []
                for what, n in (("null", n_null), ("clusters", n_scans)):
                    for index in range(n):
                        row = done.get((*key, what, index)) or run_scan(key, what, index, ideal)
                        rows.append(row)
                cases.append(summarise(preset, background, ideal, rows))
                print_table({f"  {name}": cases[-1][name] for name in PRINTED})
    measured = {
        f"{c['preset']}, {c['background']}: moment at 90 % over the ideal's": c["over the ideal"] for c in cases
    }
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    details = [{name: case[name] for name in PRINTED} for case in cases]
    write_results(
        "efficiency",
        "uv run python benchmarks/efficiency.py",
        measured,
        {"seed": options.seed, "n_null": n_null, "n_scans": n_scans, "cases": cases},
        details,
    )
    plot(cases)


def build_spec(preset: str, background: str) -> ScanSpec:
    """The preset's protocol, and its tissue where that is asked for."""
    kind = PRESETS[preset]
    share = max(n / full for n, full in zip(SHAPE, kind.scan.shape, strict=True))
    spec = dataclasses.replace(
        kind.scan,
        shape=SHAPE,
        affine=build_affine(SHAPE, kind.voxel_mm, kind.rotation_deg),
        tissue_fraction=math.inf,
        # One wave over the image is as steep as a quadratic map of a π-th of its size.
        background_hz=kind.scan.background_hz * min(share, 1.0) / math.pi,
        r2star_variation=0.0,
        density_variation=0.0,
        noise_variation=0.0,
        fat_share=0.0,
        bandwidth_hz=math.inf,
        is_bipolar=False,
    )
    return spec if background == "texture" else dataclasses.replace(spec, texture_ppm=0.0)


def run_scan(key: tuple[int, str, str], what: str, index: int, ideal: Ideal) -> Row:
    """Simulate and analyse one scan; its candidates' scores, or those beside its clusters. Written once done."""
    seed, preset, background = key
    start = time.perf_counter()
    rng = np.random.default_rng([seed, list(PRESETS).index(preset), list(BACKGROUNDS).index(background), index])
    spec = build_spec(preset, background)
    n_sites = PER_SCAN if what == "clusters" else 0
    sites = draw_sites(n_sites, SHAPE, FROM_FACE, APART, rng, most_draws=500)
    moments = ideal.moment_am2 * np.exp(rng.uniform(*np.log(AROUND), len(sites)))
    points = spec.grid.to_mm(sites).tolist() if len(sites) else []
    sources = tuple(Point(tuple(place), float(m)) for place, m in zip(points, moments, strict=True))
    scan, _ = simulate_scan(dataclasses.replace(spec, sources=sources), int(rng.integers(2**32)))
    config = fs.Config(clusters=ClustersConfig(screen_z=SCREEN_Z[background]))
    catalogue = fs.analyse_scan(scan, config=config)
    row: Row = {"seed": seed, "preset": preset, "background": background, "what": what, "index": index}
    row["scores"] = sorted(standing_scores(catalogue), reverse=True)[:200]
    row["clusters"] = [
        {"over_ideal": float(m / ideal.moment_am2), "score": best_score(scan, catalogue, place)}
        for place, m in zip(np.array(points), moments, strict=True)
    ]
    row["wall_s"] = round(time.perf_counter() - start, 1)
    with ROWS.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def standing_scores(catalogue: Catalogue) -> list[float]:
    """Scores of the candidates that nothing but their score could reject."""
    clusters = catalogue.clusters
    standing = find_standing(catalogue)
    return [float(score) for score in clusters["score"][standing]]


def find_standing(catalogue: Catalogue) -> NDArray[np.bool_]:
    """Rows (n,) of points that nothing but their score could reject."""
    clusters = catalogue.clusters
    return np.isin(clusters["reasons"], STATISTICAL) & (clusters["estimator"] != GRAFT_ESTIMATOR)


def best_score(scan: Scan, catalogue: Catalogue, place_mm: FloatArray) -> float:
    """The best standing score within reach of a place; 0 where there is none."""
    clusters = catalogue.clusters
    at = np.stack([clusters[f"{axis}_mm"] for axis in "xyz"], axis=1)
    reach = MATCH_EDGES * float(np.cbrt(np.prod(scan.grid.voxel_mm)))
    near = (np.linalg.norm(at - place_mm, axis=1) < reach) & find_standing(catalogue)
    return float(clusters["score"][near].max(initial=0.0))


def find_ideal(spec: ScanSpec, rng: np.random.Generator) -> Ideal:
    """The ideal observer's limit for a scan like this."""
    place = (np.array(spec.shape) - 1) / 2
    quiet = dataclasses.replace(
        spec,
        snr=math.inf,
        texture_ppm=0.0,
        background_hz=0.0,
        receive_variation=0.0,
        coil_phase_rad=0.0,
        phase_offset_rad=0.0,
    )
    without = simulate_scan(quiet, 0)[0].signal.astype(np.complex128)
    spectrum = measure_texture(spec, rng)
    n_voxels = float(np.prod(spec.shape))

    def observe(moment: float, at: FloatArray = place) -> tuple[float, float]:
        source = Point(tuple(spec.grid.to_mm(at[None])[0].tolist()), moment)
        signal = simulate_scan(dataclasses.replace(quiet, sources=(source,)), 0)[0].signal
        energy = prewhiten(spec, signal.astype(np.complex128) - without, without, spectrum)
        total = float(energy.sum())
        k = np.stack(np.meshgrid(*(np.fft.fftfreq(n) for n in spec.shape), indexing="ij"))
        spread = np.einsum("axyz,bxyz,xyz->ab", k, k, energy) / total
        return math.sqrt(total), (2 * math.pi) ** 3 * math.sqrt(float(np.linalg.det(spread)))

    def excess(log_moment: float) -> float:
        d_prime, root_det = observe(math.exp(log_moment))
        return detection_power(d_prime, find_threshold(FALSE_PER_SCAN, n_voxels, root_det)) - POWER

    guess = 1e-13
    for _ in range(6):
        guess *= 6.0 / observe(guess)[0]
    log_moment = float(optimize.brentq(excess, math.log(guess / 2), math.log(2 * guess), xtol=1e-3))
    moment = math.exp(log_moment)
    d_prime, root_det = observe(moment)
    window = [measure_window(spec, quiet, moment, place + rng.uniform(-0.5, 0.5, 3)) for _ in range(6)]
    return Ideal(moment, find_threshold(FALSE_PER_SCAN, n_voxels, root_det), d_prime, float(np.mean(window)))


def measure_texture(spec: ScanSpec, rng: np.random.Generator) -> FloatArray:
    """Spectrum (x, y, z) of the texture's field, Hz², as its unnormalised transform has it."""
    if spec.texture_ppm == 0:
        return np.zeros(spec.shape)
    draws = [np.abs(np.fft.fftn(draw_texture_hz(spec, rng))) ** 2 for _ in range(N_SPECTRA)]
    return np.asarray(np.mean(draws, axis=0))


def prewhiten(
    spec: ScanSpec, change: NDArray[np.complex128], without: NDArray[np.complex128], spectrum: FloatArray
) -> FloatArray:
    """What every k (x, y, z) gives to d'², z^H C⁻¹ z of the change that a cluster makes (echo, x, y, z)."""
    acquired = np.ones(spec.shape, bool)
    for axis, one in enumerate(spec.support):
        acquired &= support_mask(spec.shape[axis], one).reshape([-1 if a == axis else 1 for a in range(3)])
    opposite = np.roll(acquired[::-1, ::-1, ::-1], 1, axis=(0, 1, 2))
    amplitude = without.real.mean(axis=(1, 2, 3))
    turn = 2 * np.pi * np.array(spec.echo_times_s) * amplitude
    x = np.fft.fftn(change, axes=(1, 2, 3))
    mirrored = np.roll(x[:, ::-1, ::-1, ::-1], 1, axis=(1, 2, 3)).conj()
    z = np.concatenate([x * acquired, mirrored * opposite])
    side = np.where(np.arange(len(z)) < len(x), 1j, -1j) * np.tile(turn, 2)
    u = side[:, None, None, None] * np.stack([acquired] * len(x) + [opposite] * len(x))
    c = 2 * np.prod(spec.shape) / spec.snr**2 / acquired.mean()
    plain = (np.abs(z) ** 2).sum(axis=0) / c
    along = (u.conj() * z).sum(axis=0) / c
    size = (np.abs(u) ** 2).sum(axis=0) / c
    return np.asarray(plain - spectrum * np.abs(along) ** 2 / (1 + spectrum * size))


def measure_window(spec: ScanSpec, quiet: ScanSpec, moment: float, at: FloatArray) -> float:
    """Moment over its error in a fit of one window, place and background free: noise alone."""
    source = Point(tuple(spec.grid.to_mm(at[None])[0].tolist()), moment)
    scan = simulate_scan(dataclasses.replace(quiet, sources=(source,)), 0)[0]
    acquired = math.prod(one.width for one in spec.support)
    return float(measure_d_primes(scan, [source], spec.snr, spec.support)[0]) * math.sqrt(acquired)


def summarise(preset: str, background: str, ideal: Ideal, rows: list[Row]) -> Row:
    """One case as it is printed."""
    nulls = [row["scores"] for row in rows if row["what"] == "null"]
    scores = np.sort(np.concatenate([np.array(one, dtype=np.float64) for one in nulls]))[::-1]
    n_allowed = round(FALSE_PER_SCAN * len(nulls))
    threshold = float(scores[n_allowed - 1]) if len(scores) >= n_allowed else SCREEN_Z[background]
    clusters = [one for row in rows for one in row["clusters"]]
    over = np.array([one["over_ideal"] for one in clusters])
    found = np.array([one["score"] >= threshold for one in clusters])
    rng = np.random.default_rng(0)
    at_90 = fit_power(over, found)
    picks = rng.integers(len(over), size=(N_BOOT, len(over)))
    boot = [fit_power(over[pick], found[pick]) for pick in picks]
    low, high = np.percentile(boot, [2.5, 97.5])
    return {
        "preset": preset,
        "background": background,
        "ideal's limit, A m²": f"{ideal.moment_am2:.3g}",
        "ideal's d', threshold": f"{ideal.d_prime:.2f} {ideal.threshold:.2f}",
        "detector's threshold (score)": f"{threshold:.2f} ({len(scores) / len(nulls):.1f} candidates per scan)",
        "found of all": f"{found.sum()} of {len(found)}",
        "over the ideal": f"{at_90:.2f} ({low:.2f} to {high:.2f})",
        "asked": f"{BACKGROUNDS[background]:.2f}",
        "window and background alone": f"{ideal.d_prime / ideal.d_window:.2f}",
        "at_90": at_90,
        "low": float(low),
        "high": float(high),
        "lost_in_window": ideal.d_prime / ideal.d_window,
        "over": over.tolist(),
        "found": found.tolist(),
    }


def fit_power(over: FloatArray, found: NDArray[np.bool_]) -> float:
    """Moment (over the ideal's limit) of 90 % power: a probit in its logarithm, maximum likelihood."""
    x = np.log(over)

    def cost(parameters: FloatArray) -> float:
        middle, log_width = parameters
        z = (x - middle) / np.exp(log_width)
        width_prior = 0.5 * ((log_width - math.log(0.2)) / 1.0) ** 2
        return float(-stats.norm.logcdf(np.where(found, z, -z)).sum() + width_prior)

    best = optimize.minimize(cost, np.array([0.2, math.log(0.2)]), method="Nelder-Mead").x
    return float(np.exp(best[0] + stats.norm.ppf(POWER) * np.exp(best[1])))


def plot(cases: list[Row]) -> None:
    """Every case's moment at 90 % over the ideal's, what was asked for, and what the window alone costs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.42 * len(cases) + 1.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, case in enumerate(cases):
        colour = "C0" if case["background"] == "smooth" else "C1"
        axes.plot([case["low"], case["high"]], [i, i], color=colour)
        axes.plot(case["at_90"], i, "o", color=colour)
        axes.plot(case["lost_in_window"], i, "k|", ms=10)
        axes.plot(BACKGROUNDS[case["background"]], i, "r|", ms=14)
    axes.set_yticks(range(len(cases)), [f"{case['preset']}, {case['background']}" for case in cases])
    axes.invert_yaxis()
    axes.set(xlabel="moment of 90 % power over the ideal's\n(black: lost to window and background alone; red: asked)")
    axes.axvline(1, color="0.8")
    figure.savefig(OUT / "efficiency.png")
    print(f"plot: {OUT / 'efficiency.png'}")


if __name__ == "__main__":
    main()
