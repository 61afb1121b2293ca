"""How well the field stage measures: noise, k-space support, field and R2*, on scans of known truth.

    uv run python benchmarks/field_accuracy.py [--seed 1] [--draws 20] [--bids FOLDER]

Prints a table and writes benchmarks/out/field_accuracy.json. Every number comes with the seed it was drawn
from; another seed is another draw. With ``--bids``, the one run in that data set is timed too.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferrosight.field import measure_field
from ferrosight.field.noise import map_sigma, measure_noise_power
from ferrosight.field.support import measure_spectra, noise_autocorrelation
from ferrosight.types import Scan
from ferrosight.types.config import FieldConfig

OUT = Path(__file__).parent / "out" / "field_accuracy.json"
BANDS = {
    "full": (-0.5, 0.5),
    "zero-filled 1.5x": (-1 / 3, 1 / 3),
    "zero-filled 2x": (-0.25, 0.25),
    "partial Fourier 5/8": (-0.125, 0.5),
    "partial Fourier 6/8": (-0.25, 0.5),
    "partial Fourier 7/8": (-0.375, 0.5),
}
Row = dict[str, object]


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def acquire(image: NDArray[np.complex128], bands: list[tuple[float, float]]) -> tuple[NDArray[np.complex128], float]:
    """The image with k-space outside ``bands`` set to zero, and the share of k-space kept."""
    k_space, kept = np.fft.fftshift(np.fft.fftn(image)), 1.0
    for axis, (low, high) in enumerate(bands):
        frequency = np.arange(image.shape[axis]) / image.shape[axis] - 0.5
        keep = (frequency >= low - 1e-9) & (frequency < high - 1e-9)
        kept *= float(keep.mean())
        k_space *= keep.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.fft.ifftn(np.fft.ifftshift(k_space)), kept


def draw_object(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    phase = 3 * x**2 + 4 * y * z + rng.normal() * x
    if kind == "smooth":
        return np.exp(-(x**2 + y**2 + z**2) / 0.3 + 1j * phase)
    if kind == "sharp ball":
        # Averaged over 3 × 3 × 3 points: a voxel's edge is partial volume, not a staircase.
        steps = [np.linspace(-1, 1, 3) / 3 * 2 / n for n in shape]
        ball = [(x + a) ** 2 + (y + b) ** 2 + (z + c) ** 2 < 0.6 for a in steps[0] for b in steps[1] for c in steps[2]]
        return np.mean(ball, axis=0) * np.exp(1j * phase)
    magnitude = 1 + 0.3 * x
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    for _ in range(40):
        r = [g - rng.uniform(0, n) for g, n in zip(grid, shape, strict=True)]
        r2 = r[0] ** 2 + r[1] ** 2 + r[2] ** 2 + 1.0
        phase = phase + rng.uniform(1, 8) * (3 * r[2] ** 2 / r2 - 1) / r2**1.5
        magnitude = magnitude * (1 - np.exp(-r2 / 4))
    return magnitude * np.exp(1j * phase)


def draw_shape(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers((48, 48, 28), (90, 90, 48)))


def measure_support(rng: np.random.Generator, draws: int) -> list[Row]:
    """Share of axes whose support is found to 1.5 lines, SNR 5 to 200, each object in turn, half of them cropped."""
    rows: list[Row] = []
    for name, band in BANDS.items():
        hits, total, errors = 0, 0, []
        for draw in range(draws):
            shape, axis = draw_shape(rng), int(rng.integers(3))
            snr = float(np.exp(rng.uniform(np.log(5), np.log(200))))
            bands = [BANDS["full"]] * 3
            bands[axis] = band
            image = draw_object(rng, ("smooth", "sharp ball", "dipoles")[draw % 3], shape) + noise(rng, shape) / snr
            image, _ = acquire(image, bands)
            crop = 6 * (draw % 2)
            signal = image[crop : shape[0] - crop, crop : shape[1] - crop][None].astype(np.complex64)
            for spectrum, (low, high), n in zip(measure_spectra(signal), bands, signal.shape[1:], strict=True):
                error = max(abs(spectrum.support.low - low), abs(spectrum.support.high - high)) * n
                hits, total = hits + (error < 1.5), total + 1
                errors.append(error)
        rows.append({"support": name, "axes": total, "found": hits / total, "worst_lines": max(errors)})
    return rows


def measure_sigma(rng: np.random.Generator, draws: int) -> list[Row]:
    """Bias of the noise map by object, SNR and support, and its worst error where noise doubles across."""
    cases = [(kind, snr, "full") for kind in ("smooth", "dipoles", "sharp ball") for snr in (10, 30, 100)]
    cases += [("smooth", 30, name) for name in BANDS if name != "full"] + [("dipoles", 30, "zero-filled 1.5x")]
    cases += [("sharp ball", snr, "zero-filled 1.5x") for snr in (10, 30, 100)]
    rows: list[Row] = []
    for kind, snr, name in cases:
        ratios = []
        for _ in range(max(draws // 3, 2)):
            shape = draw_shape(rng)
            bands = [BANDS[name], BANDS[name], BANDS["full"]]
            image, kept = acquire(draw_object(rng, kind, shape) + noise(rng, shape) / snr, bands)
            echo = image.astype(np.complex64)
            sigma = map_sigma(measure_noise_power(echo, measure_spectra(echo[None])))
            ratios.append(float(sigma.mean()) * snr / np.sqrt(kept))
        rows.append({"object": kind, "snr": snr, "support": name, "bias": np.mean(ratios) - 1, "sd": np.std(ratios)})
    worst = []
    for _ in range(max(draws // 3, 2)):
        shape = draw_shape(rng)
        gradient = 1 + np.linspace(0, 1, shape[0])[:, None, None]
        echo = (30 * draw_object(rng, "dipoles", shape) + gradient * noise(rng, shape)).astype(np.complex64)
        ratio = map_sigma(measure_noise_power(echo, measure_spectra(echo[None]))) / gradient
        worst.append(float(np.quantile(np.abs(ratio - 1), 0.95)))
    rows.append({"object": "dipoles", "snr": 30, "support": "full", "gradient": 2, "error_95": float(np.mean(worst))})
    return rows


def measure_autocorrelation(rng: np.random.Generator, draws: int) -> list[Row]:
    """Largest error over all 125 lags against noise of the same support."""
    rows: list[Row] = []
    for name, band in BANDS.items():
        errors = []
        for _ in range(max(draws // 5, 2)):
            shape, bands = draw_shape(rng), [band, BANDS["full"], band]
            image, _ = acquire(draw_object(rng, "dipoles", shape) + noise(rng, shape) / 30, bands)
            true = np.zeros((5, 5, 5))
            for _ in range(10):
                channel = acquire(noise(rng, shape), bands)[0].real
                lags = np.fft.ifftn(np.abs(np.fft.fftn(channel)) ** 2).real
                true += np.roll(lags, (2, 2, 2), (0, 1, 2))[:5, :5, :5] / lags[0, 0, 0] / 10
            found = noise_autocorrelation(measure_spectra(image[None].astype(np.complex64)))
            errors.append(float(np.abs(found - true).max()))
        rows.append({"support": name, "largest_error": max(errors)})
    return rows


def measure_errors(rng: np.random.Generator, draws: int) -> list[Row]:
    """z-scores of field and R2* through the whole stage: their SD should be 1.

    ``wrong_turn`` is the share of voxels whose field is off by a whole turn of phase; they are in ``field_z_sd``
    too, and a handful dominates it. ``field_z_68`` is what it would be without: half the central 68 % interval.
    """
    rows: list[Row] = []
    shape = (61, 50, 33)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    tissue, field = x**2 + y**2 + z**2 < 0.85, 130 * x - 90 * y * z + 40
    for n_echoes, snr, r2star in ((1, 40, 30), (2, 40, 30), (3, 40, 30), (4, 15, 30), (4, 100, 30), (4, 60, 250)):
        times = np.array([0.004, 0.009, 0.014, 0.019])[:n_echoes]
        t = times[:, None, None, None]
        clean = tissue * np.exp(-r2star * t + 2j * np.pi * field * t + 1j * (0.5 if n_echoes > 1 else 0))
        turn_hz = 1 / (times[0] if n_echoes == 1 else np.diff(times).min())
        field_z, r2_z, r2_bias, wrong = [], [], [], []
        for _ in range(max(draws // 4, 2)):
            signal = (clean + noise(rng, clean.shape) / snr).astype(np.complex64)
            found = measure_field(Scan(signal, times, 7.0, np.diag([0.3, 0.4, 0.5, 1])), FieldConfig())
            use = found.mask & tissue
            field_z.append(((found.field_hz - field) / found.field_hz_err)[use])
            wrong.append(np.mean(np.abs(found.field_hz - field)[use] > turn_hz / 2))
            r2_z.append(((found.r2star_per_s - r2star) / found.r2star_per_s_err)[use])
            r2_bias.append(np.mean(found.r2star_per_s[use]) / r2star - 1)
        scores = np.concatenate(field_z)
        row: Row = {"echoes": n_echoes, "snr": snr, "r2star": r2star, "field_z_mean": np.mean(scores)}
        low, high = np.quantile(scores, [0.1587, 0.8413])
        row |= {"field_z_sd": np.std(scores), "field_z_68": (high - low) / 2, "wrong_turn": np.mean(wrong)}
        row |= {"field_in_95": np.mean(np.abs(scores) < 1.96)}
        if n_echoes > 1:
            row |= {"r2star_bias": np.mean(r2_bias), "r2star_z_sd": np.std(np.concatenate(r2_z))}
        rows.append(row)
    return rows


def time_scan(folder: Path) -> list[Row]:
    """Wall time of the whole stage on the data set's only run, twice: the first warms imports up."""
    import ferrosight as fs

    subject = next(folder.glob("sub-*")).name.removeprefix("sub-")
    scan = fs.read_bids(folder, subject=subject)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        measure_field(scan, FieldConfig())
        seconds.append(time.perf_counter() - start)
    return [{"scan": folder.name, "shape": str(scan.signal.shape), "first_s": seconds[0], "second_s": seconds[1]}]


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--bids", type=Path, default=None)
    args = parser.parse_args()
    result: dict[str, object] = {"seed": args.seed, "draws": args.draws}
    if args.bids is not None:
        # First, so that the peak is the scan's own.
        result["time"] = time_scan(args.bids)
        show("Time", result["time"])
        result["scan_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  peak memory {result['scan_peak_mb']:.0f} MB")
    parts: list[tuple[str, str, Callable[[np.random.Generator, int], list[Row]]]] = [
        ("support", "k-space support found to 1.5 lines", measure_support),
        ("sigma", "Noise standard deviation, relative to the truth", measure_sigma),
        ("autocorrelation", "Noise autocorrelation", measure_autocorrelation),
        ("errors", "Field and R2*: z-scores and bias", measure_errors),
    ]
    for index, (key, title, measure) in enumerate(parts):
        rows = measure(np.random.default_rng([args.seed, index]), args.draws)
        result[key] = rows
        show(f"{title} (seed {args.seed})", rows)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of the whole benchmark {result['peak_mb']:.0f} MB")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2, default=float) + "\n", encoding="utf-8")
    print(f"written to {OUT}")


if __name__ == "__main__":
    main()
