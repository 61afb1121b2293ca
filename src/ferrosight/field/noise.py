"""How noisy a scan is, where.

Tissue, its phase and its dipoles are many times the noise, but smooth on the scale of a voxel along at least
one axis. The product of second differences along all axes leaves the noise and the few sharpest edges; a
mean that is cut off where those begin, and corrected for the cut, then reads the noise off the rest. What
zero filling does to neighbouring voxels, and so to their differences, is known from the noise's spectrum.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.errors import AnalysisError
from ferrosight.field.support import Spectra

#: Edge of the blocks that get a value of their own, voxels.
_BLOCK = 12
#: A block needs this many usable voxels.
_MIN_VOXELS = 60
#: Filtered power above this many times its mean is an edge or a dipole, not noise.
_CUT = 2.5
#: Mean of an exponential variable of mean 1 below the cut.
_MEAN_BELOW_CUT = 1 - _CUT / math.expm1(_CUT)
#: Width over which the phase's slope is taken as uniform, voxels.
_SLOPE_WIDTH = 7
#: Share of the energy, beyond what noise alone shows, above which a slope is there to be taken off.
_MIN_COHERENCE = 0.4
#: Expected SD of a block's log variance: 1.5/√(effective number of voxels), of which the filter leaves one in 7.
_BLOCK_SD = 1.5 * math.sqrt(7.0)
#: Weight of blocks above the trend against those below, and what that shifts the trend by, in SD (an expectile).
_HIGH_WEIGHT, _EXPECTILE_SD = 0.2, 0.55
#: A block this many SD above the trend whose power has a tail this much heavier than noise holds structure.
_HIGH_SD, _HEAVY_TAIL = 3.0, 1.1
#: Smoothing of the blocks' departure from a quadratic trend, blocks.
_SMOOTH_BLOCKS = 1.0


def measure_noise_power(echo: NDArray[np.complex64], spectra: Spectra) -> NDArray[np.float32]:
    """Per voxel, one sample of the noise's variance, of one real channel: exponential, mean σ².

    ``echo`` is (x, y, z); so is the result, NaN where the filter does not reach (the outermost voxels and
    those beside voxels that are exactly zero). Raises AnalysisError where no axis has three voxels.
    """
    axes = [axis for axis in range(3) if echo.shape[axis] >= 3]
    if not axes:
        raise AnalysisError(f"the noise needs an axis of at least 3 voxels, but the image has {echo.shape}.")
    filtered = np.asarray(echo, dtype=np.complex64)
    present = echo != 0
    gain = np.ones(echo.shape, dtype=np.float32)
    for axis in axes:
        # Variance of the filtered noise over that of the noise, from its correlation at lags 1 and 2.
        near, far = (np.complex64(spectra[axis].correlation(lag)) for lag in (1, 2))
        slope = _phase_step(echo, axis, abs(complex(near)))
        inner = (slice(None),) * axis + (slice(1, -1),)
        ahead, here, behind = np.roll(filtered, -1, axis), filtered, np.roll(filtered, 1, axis)
        filtered = ahead * np.conj(slope) - 2 * here + behind * slope
        inside = np.zeros_like(present)
        inside[inner] = True
        present = present & inside & np.roll(present, 1, axis) & np.roll(present, -1, axis)
        turned = np.conj(slope)
        gain *= (6 - 8 * (near * turned).real + 2 * (far * turned**2).real).astype(np.float32)
    power = (np.abs(filtered) ** 2 / np.maximum(gain, 1e-3) / 2).astype(np.float32)
    power[~present] = np.nan
    return power


def _phase_step(echo: NDArray[np.complex64], axis: int, noise_coherence: float) -> NDArray[np.complex64]:
    """exp(i · local phase advance per voxel along ``axis``), a unit phasor at every voxel.

    One where there is no more coherence than noise has by itself: a slope fitted to noise takes noise off.
    """
    step = np.zeros_like(echo)
    ahead = (slice(None),) * axis + (slice(1, None),)
    behind = (slice(None),) * axis + (slice(None, -1),)
    step[behind] = echo[ahead] * np.conj(echo[behind])
    size = [min(_SLOPE_WIDTH, n) for n in echo.shape]
    smooth = ndimage.uniform_filter(step.real, size) + 1j * ndimage.uniform_filter(step.imag, size)
    energy = ndimage.uniform_filter(np.abs(echo) ** 2, size)
    length = np.abs(smooth)
    least = noise_coherence + _MIN_COHERENCE * (1 - noise_coherence)
    coherent = (length > least * energy) & (length > 0)
    return np.asarray(np.where(coherent, smooth / np.where(coherent, length, 1), 1), dtype=np.complex64)


def map_sigma(power: NDArray[np.float32], where: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Noise standard deviation of one real channel at every voxel, from samples of its variance.

    ``power`` comes from ``measure_noise_power``; only voxels in ``where`` are used, if that leaves enough.
    Smooth: a quadratic over the volume plus what neighbouring blocks agree on. Raises AnalysisError where
    nothing can be measured.
    """
    usable = np.isfinite(power)
    if where is not None and np.count_nonzero(usable & where) >= _MIN_VOXELS:
        usable = usable & where
    blocks = tuple(max(1, round(n / _BLOCK)) for n in power.shape)
    block_of, centres = _split(power.shape, blocks)
    variance, spread, tail = _block_variances(power, usable, block_of, blocks)
    known = np.isfinite(variance)
    if not known.any():
        level = _cut_mean(power[usable])
        if not level > 0:
            raise AnalysisError(
                "the noise could not be measured, because too few voxels differ from their neighbours; "
                "give a scan that was not masked, filtered or cut down to a few voxels."
            )
        return np.full(power.shape, math.sqrt(level), dtype=np.float32)
    log_variance = _smooth_blocks(np.log(np.where(known, variance, 1.0)), known, spread, tail)
    return np.asarray(np.exp(_interpolate(log_variance, centres, power.shape) / 2), dtype=np.float32)


def _split(shape: tuple[int, ...], blocks: tuple[int, ...]) -> tuple[list[list[slice]], list[NDArray[np.float64]]]:
    """Along each axis: the voxels of every block, and the blocks' centres."""
    edges = [np.linspace(0, n, k + 1).round().astype(int) for n, k in zip(shape, blocks, strict=True)]
    slices = [[slice(int(a), int(b)) for a, b in itertools.pairwise(e)] for e in edges]
    return slices, [(e[:-1] + e[1:] - 1) / 2 for e in edges]


def _block_variances(
    power: NDArray[np.float32], usable: NDArray[np.bool_], block_of: list[list[slice]], blocks: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every block's noise variance (NaN: too few voxels), SD of its logarithm, and mean power over variance."""
    variance, spread, tail = np.full(blocks, np.nan), np.ones(blocks), np.ones(blocks)
    for index in np.ndindex(*blocks):
        window = tuple(block_of[axis][i] for axis, i in enumerate(index))
        samples = power[window][usable[window]]
        level = _cut_mean(samples) if len(samples) >= _MIN_VOXELS else 0.0
        if level > 0:
            variance[index] = level
            spread[index] = _BLOCK_SD / math.sqrt(len(samples))
            tail[index] = samples.mean(dtype=np.float64) / level
    return variance, spread, tail


def _cut_mean(samples: NDArray[np.float32]) -> float:
    """Mean of an exponential variable of which some samples are far too high."""
    if len(samples) == 0:
        return 0.0
    mean = float(np.median(samples)) / math.log(2)
    for _ in range(12):
        below = samples[samples < _CUT * mean]
        if len(below) == 0:
            break
        mean = float(below.mean(dtype=np.float64)) / _MEAN_BELOW_CUT
    return mean


def _smooth_blocks(
    values: NDArray[np.float64], known: NDArray[np.bool_], spread: NDArray[np.float64], tail: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quadratic trend plus the neighbours' median of the rest; unknown blocks are filled.

    The trend carries a gradient to the edges without flattening it, as smoothing alone would.
    """
    trend = _fit_quadratic(values, known, spread)
    trend = np.clip(trend, values[known].min(), values[known].max())
    trusted = known & ~((values - trend > _HIGH_SD * spread) & (tail > _HEAVY_TAIL))
    rest = ndimage.generic_filter(np.where(trusted, values - trend, np.nan), _median_of_known, size=3, mode="nearest")
    weight = np.isfinite(rest).astype(np.float64)
    total = ndimage.gaussian_filter(np.where(weight > 0, rest, 0.0), _SMOOTH_BLOCKS, mode="nearest")
    share = ndimage.gaussian_filter(weight, _SMOOTH_BLOCKS, mode="nearest")
    return np.asarray(trend + np.where(share > 0.05, total / np.maximum(share, 0.05), 0.0), dtype=np.float64)


def _median_of_known(window: NDArray[np.float64]) -> float:
    known = window[np.isfinite(window)]
    return float(np.median(known)) if len(known) else math.nan


def _fit_quadratic(
    values: NDArray[np.float64], known: NDArray[np.bool_], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quadratic through the known blocks. Structure only ever adds power, so it leans on the lower ones."""
    places = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in values.shape], indexing="ij")
    x = [p.ravel() for p in places]
    columns = [np.ones(values.size), *x, *(x[a] * x[b] for a in range(3) for b in range(a, 3))]
    design, data, sd = np.stack(columns, axis=1), values.ravel(), spread.ravel()
    use = known.ravel()
    if np.count_nonzero(use) < 2 * design.shape[1]:
        design = design[:, :1]
    fit = np.full(data.shape, float(np.median(data[use])))
    for _ in range(20):
        rest = (data - fit) / sd
        weight = np.where(rest > 0, _HIGH_WEIGHT / (1 + np.maximum(rest - 1, 0) ** 2), 1.0)
        root = np.sqrt(np.where(use, weight, 0.0)) / sd
        fit = design @ np.linalg.lstsq(design * root[:, None], data * root, rcond=1e-6)[0]
    return np.asarray(fit.reshape(values.shape) + _EXPECTILE_SD * np.median(spread[known]), dtype=np.float64)


def _interpolate(
    values: NDArray[np.float64], centre: list[NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Blocks to voxels, linearly along each axis."""
    for axis, n in enumerate(shape):
        at = np.clip(np.interp(np.arange(n), centre[axis], np.arange(len(centre[axis]))), 0, len(centre[axis]) - 1)
        low = np.minimum(at.astype(int), max(len(centre[axis]) - 2, 0))
        high = np.minimum(low + 1, len(centre[axis]) - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values.astype(np.float32)
