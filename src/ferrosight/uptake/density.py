"""From grey levels to optical density: how much darker than the empty specimen around it each pixel is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Larger images are averaged down to at most this many pixels along an edge.
MOST_PIXELS = 2048
#: The ground is found on an image of about this many pixels along an edge, smooth over this share of it.
_GROUND_PIXELS = 256
_GROUND_WIDTH = 0.06
#: Darker than the ground by this many noise standard deviations is not ground.
_GROUND_CUT = 2.5
_GROUND_PASSES = 4
#: Light that is left where a pixel is as dark as the file can say; the logarithm needs more than zero.
_LEAST_LIGHT = 1 / 255


@dataclass(frozen=True)
class Density:
    """A micrograph as measured; all arrays are (row, column).

    ``seen`` is the image from 0 to 1, averaged down by ``reduction``; ``light`` the same without annotation;
    ``ground`` what it would be without particles;
    ``density`` the natural logarithm of ground over light smoothed over one pixel, ``noise`` its robust standard
    deviation. ``hidden`` is where annotation covers the specimen; there ``light`` is the ground.
    """

    seen: NDArray[np.float32]
    light: NDArray[np.float32]
    ground: NDArray[np.float32]
    density: NDArray[np.float32]
    noise: float
    hidden: NDArray[np.bool_]
    nm_per_pixel: float
    reduction: int
    inverted: bool


def measure_density(image: NDArray[np.float32], hidden: NDArray[np.bool_], nm_per_pixel: float) -> Density:
    """Optical density of ``image`` (row, column; 0 to 1), ignoring what is ``hidden``.

    Beer and Lambert's law: the density of bodies that lie over one another is the sum of theirs. An image whose
    strongest small bodies are brighter than the ground is inverted first.
    """
    reduction = max(1, math.ceil(max(image.shape) / MOST_PIXELS))
    light, covered = _average_blocks(image, reduction), _average_blocks(hidden.astype(np.float32), reduction) > 0
    ground = _find_ground(light, covered)
    inverted = _is_inverted(light, ground, covered)
    if inverted:
        light = 1 - light
        ground = _find_ground(light, covered)
    seen, light = light, np.where(covered, ground, light).astype(np.float32)
    smooth = ndimage.gaussian_filter(light, 1.0)
    density = np.log(ground) - np.log(np.maximum(smooth, _LEAST_LIGHT))
    noise = _robust_deviation(density[~covered])
    return Density(seen, light, ground, density, noise, covered, nm_per_pixel * reduction, reduction, inverted)


def _average_blocks(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if size == 1:
        return image
    rows, columns = (n // size * size for n in image.shape)
    blocks = image[:rows, :columns].reshape(rows // size, size, columns // size, size)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _find_ground(light: NDArray[np.float32], hidden: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A smooth surface through what is not much darker than its surroundings."""
    size = max(1, math.ceil(max(light.shape) / _GROUND_PIXELS))
    coarse = _average_blocks(light, size).astype(np.float64)
    empty = _average_blocks(hidden.astype(np.float32), size) == 0
    if not empty.any():
        empty = np.ones(coarse.shape, bool)
    width = _GROUND_WIDTH * max(coarse.shape)
    keep = empty
    surface = coarse
    for _ in range(_GROUND_PASSES):
        weight = ndimage.gaussian_filter(keep.astype(np.float64), width)
        level = float(np.median(coarse[keep]))
        # A little of the level everywhere carries the surface over what is all particles.
        surface = (ndimage.gaussian_filter(np.where(keep, coarse, 0.0), width) + 1e-3 * level) / (weight + 1e-3)
        rest = coarse - surface
        deviation = _robust_deviation(rest[keep])
        dark = (rest < -_GROUND_CUT * deviation) & empty
        keep = empty & ~ndimage.binary_dilation(dark, iterations=2)
        if keep.mean() < 0.05:
            break
    fine = np.repeat(np.repeat(surface, size, axis=0), size, axis=1)
    pad = [(0, max(0, n - m)) for n, m in zip(light.shape, fine.shape, strict=True)]
    fine = np.pad(fine, pad, mode="edge")[: light.shape[0], : light.shape[1]]
    smooth = ndimage.gaussian_filter(fine.astype(np.float32), size)
    return np.maximum(smooth, _LEAST_LIGHT).astype(np.float32)


def _is_inverted(light: NDArray[np.float32], ground: NDArray[np.float32], hidden: NDArray[np.bool_]) -> bool:
    """Whether what stands out most is brighter than the ground, in strength and in area.

    Halves are compared: the mass beyond six noise standard deviations above against that below. A ground found under
    the assumption of dark particles lies too high where they are bright, which only makes the answer clearer.
    """
    level = float(np.median(light[~hidden])) if (~hidden).any() else 0.5
    rest = ndimage.gaussian_filter(light, 1.0)[~hidden] - level
    deviation = _robust_deviation(rest)
    above = float(np.clip(rest - 6 * deviation, 0, None).sum())
    below = float(np.clip(-rest - 6 * deviation, 0, None).sum())
    return above > 5 * below and above > 1e-4 * rest.size * float(ground.mean())


def _robust_deviation(values: NDArray[np.floating]) -> float:
    if not values.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
