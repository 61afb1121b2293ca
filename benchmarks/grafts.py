"""Are the moments of extended grafts right, and as sure as they say?

    uv run python benchmarks/grafts.py [--seed N] [--n 90]

Simulated scans of 36 to 45 voxels along each axis with one graft each: solid ellipsoids, cells scattered in ellipsoids
and cells along a bent track, 4 to 9 voxels across, magnetised by 0.15 to 6 A/m at 9.4 T and by 0.05 to 2 A/m at 3 T
(R2' of 20 to 800 and 7 to 270 s⁻¹), unequal voxels, oblique slabs, tissue with and without texture of susceptibility, a
smooth background, k-space point spread. The search for points is left out: an empty catalogue stands in its place.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from _simulated import summarise_estimates
from ferrosight.field import measure_field
from ferrosight.quantify import measure_grafts
from ferrosight.simulate import PlacedCells, ScanSpec, build_affine, build_graft, simulate_scan
from ferrosight.study.resources import limit_cpus, peak_memory_mb
from ferrosight.types import CLUSTERS, FITS, NULLS, Catalogue, NullCalibration, PhaseSign, Table
from ferrosight.types.config import FieldConfig, QuantifyConfig

VOXELS_MM = ((0.1, 0.1, 0.1), (0.08, 0.1, 0.15), (0.12, 0.1, 0.07))
#: B0, magnetisation (A/m), how many times larger the voxels are, echo times, R2*.
FIELDS = (
    (9.4, (0.15, 6.0), 1.0, (0.0035, 0.0075, 0.0115, 0.0155), 30.0),
    (3.0, (0.05, 2.0), 8.0, (0.006, 0.012, 0.018, 0.024), 20.0),
)
SHAPES = ("solid", "cells", "track")
WIDTH_VOXELS = (4.0, 9.0)
TEXTURES_PPM = (0.0, 0.01)


@dataclasses.dataclass(frozen=True)
class Case:
    """One scan's truth and what was measured; moments in A m², NaN where no region was found."""

    shape: str
    b0_t: float
    texture_ppm: float
    width: float
    magnetisation: float
    truth: float
    moment: float
    low: float
    high: float
    r2star: float
    accepted: bool


def main() -> None:
    """Simulate, measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--n", type=int, default=90)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    with limit_cpus(2):
        cases = [measure_case(number, rng) for number in range(options.n)]
    rows = [summarise(name, group) for name, group in group_cases(cases).items() if len(group) > 1]
    for row in rows:
        print(
            f"{row['name']:<28} n {row['n']:>4}, seen {100 * row['seen']:5.1f} %, "
            f"accepted {100 * row['accepted']:5.1f} %, "
            f"bias {100 * row['bias']:+6.2f} ± {100 * row['bias_err']:.2f} %, median {100 * row['median']:+6.2f} %, "
            f"spread {100 * row['spread']:5.1f} %, "
            f"covered {100 * row['covered']:5.1f} ± {100 * row['covered_err']:.1f} %, "
            f"R2* opinion {row['r2star']:.2f}"
        )
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    summaries = {
        f"grafts, {row['name']}: 95 % intervals that hold, of {row['n_seen']}": (
            f"{100 * row['covered']:.1f} ± {100 * row['covered_err']:.1f} %, "
            f"bias {100 * row['bias']:+.1f} ± {100 * row['bias_err']:.1f} % (median {100 * row['median']:+.1f} %)"
        )
        for row in rows
    }
    details = [{"what": what, "measured": value} for what, value in summaries.items()]
    measured = dict(list(summaries.items())[:2])
    everything = {"seed": options.seed, "rows": rows, "cases": [dataclasses.asdict(case) for case in cases]}
    write_results("grafts", "uv run python benchmarks/grafts.py", measured, everything, details)


def measure_case(number: int, rng: np.random.Generator) -> Case:
    """One scan, drawn and measured."""
    shape = SHAPES[number % len(SHAPES)]
    b0_t, magnetisations, scale, times, r2star = FIELDS[(number // 3) % 2]
    texture = TEXTURES_PPM[(number // 6) % 2]
    voxel = np.array(VOXELS_MM[rng.integers(len(VOXELS_MM))]) * scale
    unit = float(np.cbrt(np.prod(voxel)))
    width = float(rng.uniform(*WIDTH_VOXELS))
    magnetisation = float(np.exp(rng.uniform(*np.log(magnetisations))))
    size = tuple(int(n) for n in rng.integers(36, 46, 3))
    spec = ScanSpec(
        size,
        build_affine(size, tuple(voxel), tuple(rng.uniform(-40, 40, 3))),
        times,
        b0_t,
        sources=(draw_graft(shape, width * unit, magnetisation, b0_t, unit, rng),),
        snr=float(rng.uniform(25, 60)),
        r2star_per_s=r2star,
        r2star_variation=0.15,
        structure_mm=6 * unit,
        point_spread="kspace",
        background_hz=40.0,
        receive_variation=0.3,
        phase_offset_rad=0.4,
        coil_phase_rad=0.8,
        texture_ppm=texture,
        texture_mm=1.5 * unit,
        sub_sampling=8,
    )
    scan, truth = simulate_scan(spec, int(rng.integers(2**31)))
    field_map = measure_field(scan, FieldConfig())
    found = measure_grafts(scan, field_map, make_empty_catalogue(), QuantifyConfig())
    moment = float(truth.table["moment_am2"][0])
    about = (shape, b0_t, texture, width, magnetisation, moment)
    if not len(found.clusters):
        return Case(*about, *(float("nan"),) * 4, accepted=False)
    row, fit = (table.to_pandas().iloc[0] for table in (found.clusters, found.fits))
    return Case(
        *about,
        float(row["moment_am2"]),
        float(row["moment_am2_low"]),
        float(row["moment_am2_high"]),
        float(fit["moment_r2star_am2"]),
        row["status"] == "accepted",
    )


def draw_graft(
    shape: str, width_mm: float, magnetisation: float, b0_t: float, unit_mm: float, rng: np.random.Generator
) -> Any:
    """A source of the volume of a ball of that width."""
    volume_m3 = np.pi / 6 * (width_mm * 1e-3) ** 3
    moment = magnetisation * volume_m3
    centre = rng.uniform(-2, 2, 3) * unit_mm
    stretch = np.exp(rng.normal(scale=0.25, size=3))
    half_mm = width_mm / 2 * stretch / np.cbrt(stretch.prod())
    if shape == "solid":
        turn = tuple(rng.uniform(0, 360, 3))
        return build_graft(tuple(centre), tuple(half_mm * 1e3), moment, b0_t, rotation_deg=turn)
    n = int(np.exp(rng.uniform(np.log(150), np.log(600))))
    balls = rng.normal(size=(n, 3))
    balls *= np.cbrt(rng.random((n, 1))) / np.linalg.norm(balls, axis=1, keepdims=True)
    places = balls * half_mm
    if shape == "track":
        # A bent sausage of the same volume: a quarter circle, as long as three of its widths.
        angle = rng.uniform(-np.pi / 4, np.pi / 4, n)[:, None]
        bend = np.concatenate([np.sin(angle), 1 - np.cos(angle), 0 * angle], axis=1) * 1.2 * width_mm
        frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        places = (bend + balls * 0.35 * width_mm) @ frame
    loads = rng.lognormal(0.0, 0.5, n)
    return PlacedCells(places + centre, moment * loads / loads.sum(), 0.07 * unit_mm * 1e3)


def make_empty_catalogue() -> Catalogue:
    """What a search that found no point returns."""
    curve = np.array([4.0, 9.0]), np.array([1.0, 1e-6])
    null = NullCalibration(Table(NULLS, {}), *curve, 4.0, 1.0, 1.0, 0.1, 20, float("nan"), {}, {}, 50)
    return Catalogue(Table(CLUSTERS, {}), Table(FITS, {}), null, (), PhaseSign.POSITIVE, "sidecar", "kspace", 0.05)


def group_cases(cases: list[Case]) -> dict[str, list[Case]]:
    """All of them, what was accepted, and by shape, field, texture, width and magnetisation."""
    groups: dict[str, list[Case]] = {"all": cases, "accepted": [case for case in cases if case.accepted]}
    for case in cases:
        relative = case.magnetisation / FIELDS[0 if case.b0_t > 5 else 1][1][0]
        strength = "weak" if relative < 3.4 else "middling" if relative < 11.7 else "strong"
        names = (
            case.shape,
            f"{case.b0_t:g} T",
            f"texture {case.texture_ppm:g} ppm",
            f"{'below' if case.width < 6.5 else 'from'} 6.5 voxels",
            f"{strength} magnetisation",
        )
        for name in names:
            groups.setdefault(name, []).append(case)
    return groups


def summarise(name: str, cases: list[Case]) -> dict[str, Any]:
    """Bias and coverage with their standard errors, of what was seen."""
    seen = [case for case in cases if np.isfinite(case.moment)]
    ratio = np.array([case.moment / case.truth for case in seen])
    held: NDArray[np.bool_] = np.array([case.low <= case.truth <= case.high for case in seen], dtype=np.bool_)
    return {
        "name": name,
        "n": len(cases),
        "n_seen": len(seen),
        "seen": len(seen) / len(cases),
        "accepted": float(np.mean([case.accepted for case in cases])),
        "median": float(np.median(ratio)) - 1 if seen else float("nan"),
        "r2star": float(np.nanmedian([case.r2star / case.truth for case in seen])) if seen else float("nan"),
        **summarise_estimates(ratio, held),
    }


if __name__ == "__main__":
    main()
