"""Electron micrographs with a known number of particles.

Made as a microscope makes them and not as counting undoes it: balls of a metal, of varied size and lattice
orientation, scatter electrons along every ray that crosses them; the wave's defocus leaves a bright fringe; the lens
and the camera blur the *electrons that are left*, not their logarithm; electrons arrive as a Poisson process; the
section is uneven; grey levels are rounded to the file's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class MicrographSpec:
    """What is in the picture.

    ``layers`` is the particles' summed cross-section over the area of the region that they lie in, a disc of
    ``region_share`` of the image. ``contrast`` is the density through the middle of a mean particle, ``electrons``
    how many arrive per pixel of bare specimen; ``size_cv`` and ``scatter_cv`` are relative standard deviations of
    diameter and of scattering power between particles, ``hard_core`` how near two middles may come, in diameters
    (0: anywhere, as in a projection of a thick section).
    """

    shape: tuple[int, int] = (700, 760)
    nm_per_pixel: float = 0.9
    particle_nm: float = 8.0
    layers: float = 0.3
    region_share: float = 0.25
    contrast: float = 0.6
    electrons: float = 150.0
    size_cv: float = 0.08
    scatter_cv: float = 0.1
    hard_core: float = 0.0
    blur_pixels: float = 1.0
    fringe: float = 0.06
    unevenness: float = 0.1
    black_level: float = 0.0


def simulate_micrograph(spec: MicrographSpec, rng: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    """A bright-field image (row, column; 0 to 1) and the number of particles in it.

    A tenth of the particles lie anywhere, the others in the region; all lie wholly inside the image.
    """
    rows, columns, diameters = _place_particles(spec, rng)
    powers = np.maximum(rng.normal(1.0, spec.scatter_cv, len(rows)), 0.2)
    thickness = _project_balls(spec, rows, columns, diameters, powers)
    left = np.exp(-spec.contrast / spec.particle_nm * thickness)
    sharp = ndimage.gaussian_filter(left, spec.blur_pixels)
    # Defocus: the difference of two widths of blur is dark inside an edge and bright outside it, and sums to nothing.
    wide = ndimage.gaussian_filter(left, spec.blur_pixels + 0.25 * spec.particle_nm / spec.nm_per_pixel)
    arriving = np.maximum(sharp + spec.fringe * (sharp - wide), 0.0) * _make_ground(spec, rng)
    counted = rng.poisson(spec.electrons * arriving) / spec.electrons
    camera = ndimage.gaussian_filter(counted, 0.5)
    grey = 0.75 * (spec.black_level + (1 - spec.black_level) * camera)
    image = np.round(np.clip(grey, 0, 1) * 255) / 255
    return image.astype(np.float32), len(rows)


@dataclass(frozen=True)
class BodySpec:
    """A lysosome in tissue, coarse; lengths in pixels.

    ``inner`` is the darkness of a membrane within, at half of the way to the outer one (0: none), around all particles;
    ``neighbour`` how far outside the outer membrane an aggregate of another body begins (infinite: there is none); it
    holds ``neighbour_share`` as much as the body's own; ``n_vesicles`` is how many other membranes lie around.
    """

    shape: tuple[int, int] = (170, 190)
    membrane: float = 0.12
    inner: float = 0.0
    neighbour: float = math.inf
    neighbour_share: float = 0.05
    n_vesicles: int = 6
    grain: float = 0.02


def simulate_body(
    spec: BodySpec, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A picture (row, column; 0 to 1), where particles cover it, and what lies inside the outer membrane.

    The membrane is an ellipse that waves a little; particles are patches, well inside. Vesicles are rings elsewhere.
    """
    rows, columns = np.mgrid[: spec.shape[0], : spec.shape[1]].astype(np.float64)
    middle = np.array(spec.shape) / 2 + rng.uniform(-6, 6, 2)
    half = rng.uniform(36, 50, 2)
    turn = np.arctan2((rows - middle[0]) / half[0], (columns - middle[1]) / half[1])
    wave = 1 + 0.04 * np.cos(2 * turn + rng.uniform(0, 6)) + 0.03 * np.cos(3 * turn + rng.uniform(0, 6))
    away = np.hypot((rows - middle[0]) / half[0], (columns - middle[1]) / half[1]) / wave
    width = half.mean()
    light = 0.7 - spec.membrane * np.exp(-0.5 * ((away - 1) * width / 1.5) ** 2)
    light -= spec.inner * np.exp(-0.5 * ((away - 0.55) * width / 1.5) ** 2)
    covered = np.zeros(spec.shape, bool)
    reach = 0.3 if spec.inner else 0.6
    for _ in range(5):
        at, out = rng.uniform(0, 2 * math.pi), reach * math.sqrt(rng.random())
        place = middle + out * half * (math.sin(at), math.cos(at))
        covered |= np.hypot(rows - place[0], columns - place[1]) < rng.uniform(4, 7)
    for _ in range(spec.n_vesicles):
        place, radius = rng.uniform((0, 0), spec.shape), rng.uniform(8, 20)
        ring = np.hypot(rows - place[0], columns - place[1])
        seen = np.exp(-0.5 * ((ring - radius) / 1.5) ** 2) * (away > 1.1)
        light -= 0.7 * spec.membrane * seen
    if math.isfinite(spec.neighbour):
        at, radius = rng.uniform(0, 2 * math.pi), math.sqrt(spec.neighbour_share * covered.sum() / math.pi)
        place = middle + (half + spec.neighbour + radius) * (math.sin(at), math.cos(at))
        covered |= np.hypot(rows - place[0], columns - place[1]) < radius
    light = np.where(covered, 0.2, light)
    light += spec.grain * ndimage.gaussian_filter(rng.normal(size=spec.shape), 0.7)
    return np.clip(light, 0, 1).astype(np.float32), covered, away < 1


def _place_particles(
    spec: MicrographSpec, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    height, width = (n * spec.nm_per_pixel for n in spec.shape)
    region = spec.region_share * height * width
    radius = math.sqrt(region / math.pi)
    inside = round(spec.layers * region / (math.pi / 4 * spec.particle_nm**2))
    margin = spec.particle_nm
    placed: list[tuple[float, float]] = []
    for number in range(inside + max(round(inside / 9), 30)):
        for _ in range(200):
            if number < inside:
                reach, turn = radius * math.sqrt(rng.random()), 2 * math.pi * rng.random()
                row, column = height / 2 + reach * math.sin(turn), width / 2 + reach * math.cos(turn)
            else:
                row, column = rng.uniform(margin, height - margin), rng.uniform(margin, width - margin)
            if not (margin < row < height - margin and margin < column < width - margin):
                continue
            nearest = min((math.hypot(row - r, column - c) for r, c in placed), default=math.inf)
            if nearest >= spec.hard_core * spec.particle_nm:
                placed.append((row, column))
                break
    places = np.array(placed).reshape(-1, 2) / spec.nm_per_pixel
    diameters = spec.particle_nm * np.exp(rng.normal(0.0, spec.size_cv, len(places)))
    return places[:, 0], places[:, 1], diameters


def _project_balls(
    spec: MicrographSpec,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    diameters: NDArray[np.float64],
    powers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Summed path through the balls, nm, each weighted with its power; three by three rays a pixel."""
    fine = 3
    paths = np.zeros((spec.shape[0] * fine, spec.shape[1] * fine))
    step = spec.nm_per_pixel / fine
    for row, column, diameter, power in zip(rows, columns, diameters, powers, strict=True):
        reach = diameter / 2 / step + 1
        middle_row, middle_column = (row + 0.5) * fine - 0.5, (column + 0.5) * fine - 0.5
        first_row, first_column = max(0, math.floor(middle_row - reach)), max(0, math.floor(middle_column - reach))
        last_row = min(paths.shape[0], math.ceil(middle_row + reach) + 1)
        last_column = min(paths.shape[1], math.ceil(middle_column + reach) + 1)
        at_rows = (np.arange(first_row, last_row) - middle_row)[:, None] * step
        at_columns = (np.arange(first_column, last_column) - middle_column)[None] * step
        chord = 2 * np.sqrt(np.maximum((diameter / 2) ** 2 - at_rows**2 - at_columns**2, 0))
        paths[first_row:last_row, first_column:last_column] += power * chord
    blocks = paths.reshape(spec.shape[0], fine, spec.shape[1], fine)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _make_ground(spec: MicrographSpec, rng: np.random.Generator) -> NDArray[np.float64]:
    """Uneven illumination and section: smooth to an eighth of the image."""
    noise = ndimage.gaussian_filter(rng.normal(size=spec.shape), max(spec.shape) / 8, mode="reflect")
    return np.asarray(1 + spec.unevenness * (noise - noise.mean()) / float(np.abs(noise - noise.mean()).max()))
