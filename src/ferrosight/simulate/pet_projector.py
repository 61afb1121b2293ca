"""Slices to projections and back: the matrix of a parallel-beam scanner, and iterative reconstruction with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ferrosight.simulate.pet_spec import PetScanner


@dataclass(frozen=True)
class Subset:
    """Some of the angles: their indices, and the matrix (angle · bin, x · y) of shared area over bin width, mm."""

    angles: NDArray[np.int_]
    forward: csr_array
    backward: csr_array


def list_angles(scanner: PetScanner) -> NDArray[np.float64]:
    """Directions (n,) of the projections, radians: a bin's coordinate is x cos + y sin."""
    return np.asarray(np.pi * (np.arange(scanner.n_angles) + 0.5) / scanner.n_angles)


@lru_cache(maxsize=4)
def build_subsets(scanner: PetScanner) -> tuple[Subset, ...]:
    """The scanner's system matrix, split into interleaved subsets of angles."""
    angles = list_angles(scanner)
    subsets = []
    for first in range(scanner.subsets):
        # In an order that keeps neighbours in time apart in angle.
        chosen = np.arange((first * 7) % scanner.subsets, scanner.n_angles, scanner.subsets)
        forward = _build_matrix(scanner, angles[chosen])
        subsets.append(Subset(chosen, forward, csr_array(forward.T)))
    return tuple(subsets)


def _build_matrix(scanner: PetScanner, angles: NDArray[np.float64]) -> csr_array:
    """Area of each pixel that lies under each bin, over the bin's width, mm: (angle · bin, x · y)."""
    nx, ny, _ = scanner.shape
    dx, dy, _ = scanner.voxel_mm
    x = (np.arange(nx) - (nx - 1) / 2) * dx
    y = (np.arange(ny) - (ny - 1) / 2) * dy
    rows, columns, values = [], [], []
    pixels = np.arange(nx * ny)
    for number, angle in enumerate(angles):
        centre = (x[:, None] * np.cos(angle) + y[None] * np.sin(angle)).ravel()
        wide, narrow = sorted((dx * abs(np.cos(angle)), dy * abs(np.sin(angle))), reverse=True)
        reach = (wide + narrow) / 2
        first = np.floor((centre - reach) / scanner.bin_mm + scanner.n_bins / 2).astype(int)
        for step in range(int(np.ceil(2 * reach / scanner.bin_mm)) + 1):
            edge = (first + step - scanner.n_bins / 2) * scanner.bin_mm - centre
            share = _trapezoid_below(edge + scanner.bin_mm, wide, narrow) - _trapezoid_below(edge, wide, narrow)
            kept = share > 1e-9
            rows.append(number * scanner.n_bins + first[kept] + step)
            columns.append(pixels[kept])
            values.append(share[kept] * dx * dy / scanner.bin_mm)
    shape = (len(angles) * scanner.n_bins, nx * ny)
    indices = np.concatenate(rows), np.concatenate(columns)
    return csr_array((np.concatenate(values).astype(np.float32), indices), shape=shape)


def _trapezoid_below(edge: NDArray[np.float64], wide: float, narrow: float) -> NDArray[np.float64]:
    """Share of a pixel's shadow below ``edge``: two boxes, ``wide`` and ``narrow``, folded with each other."""
    if narrow < 1e-9 * wide:
        return np.clip(edge / wide + 0.5, 0, 1)
    ends = [(sign_w * wide + sign_n * narrow) / 2 for sign_w in (-1, 1) for sign_n in (-1, 1)]
    signs = [1.0, -1.0, -1.0, 1.0]
    ramps = sum(sign * np.maximum(edge - end, 0) ** 2 for sign, end in zip(signs, ends, strict=True))
    return np.asarray(ramps / (2 * wide * narrow))


def reconstruct(
    scanner: PetScanner,
    counts: NDArray[np.float32],
    factors: NDArray[np.float32],
    additive: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Ordered-subset expectation maximisation (Hudson & Larkin, IEEE Trans Med Imaging 13:601, 1994).

    ``counts`` (angle, bin, z) are expected to be ``factors`` · projection of the image + ``additive``. Returns the
    image (x, y, z) in the unit in which the factors take line integrals (mm) to counts, not smoothed.
    """
    nx, ny, nz = scanner.shape
    subsets = build_subsets(scanner)
    image = np.full((nx * ny, nz), 1.0, np.float32)
    image *= max(float((counts - additive).sum()), 1.0) / max(float(_project(scanner, image, factors).sum()), 1e-30)
    norms = [subset.backward @ factors[subset.angles].reshape(-1, nz) for subset in subsets]
    seen = [norm > 1e-6 * norm.max() for norm in norms]
    for _ in range(scanner.iterations):
        for subset, norm, inside in zip(subsets, norms, seen, strict=True):
            weight = factors[subset.angles].reshape(-1, nz)
            expected = weight * (subset.forward @ image) + additive[subset.angles].reshape(-1, nz)
            ratio = weight * counts[subset.angles].reshape(-1, nz) / np.maximum(expected, 1e-12)
            image *= np.where(inside, (subset.backward @ ratio) / np.where(inside, norm, 1), 0)
    return image.reshape(nx, ny, nz)


def _project(scanner: PetScanner, image: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Expected trues (angle, bin, z) of an image (x · y, z)."""
    out = np.empty_like(factors)
    for subset in build_subsets(scanner):
        out[subset.angles] = (subset.forward @ image).reshape(len(subset.angles), scanner.n_bins, -1)
    return out * factors
