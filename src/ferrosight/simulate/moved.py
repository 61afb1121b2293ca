"""One subject scanned in several postures: the same anatomy, computed anew at each, never resampled.

The anatomy is a formula of the place in the subject: an ellipsoid (or tube) of tissue, and regions, fat and
susceptibility made of plane waves. It is evaluated wherever the scan's fine voxels lie in the subject, so that no
interpolation stands between two visits, and every wave of susceptibility has its exact field for B0's direction in
the subject, which changes with the posture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.physics.fat import FAT_DELTA_CHI
from ferrosight.simulate.background import Tissue, draw_smooth_map
from ferrosight.simulate.scan import find_visit_seed, scan_tissue, scatter_cells
from ferrosight.simulate.spec import Cells, Ellipsoid, PlacedCells, Position, ScanSpec, Source, Vein, build_rotation
from ferrosight.types import Grid, Rigid, Scan, Truth

FloatArray = NDArray[np.float64]

#: Plane waves per random field: enough that it is close to Gaussian everywhere.
_N_WAVES = 400

#: Fine points per voxel edge at which tissue is evaluated before its voxels see it.
_FINE = 2

#: Width of the tissue's edge (one standard deviation), finest voxel edges. Assumption.
_EDGE_VOXELS = 0.5


#: How differently a subject lies at a visit (one standard deviation per axis): turned by so many degrees, shifted by
#: so many of the finest voxel edges. Assumption.
_TURN_DEG, _SHIFT_VOXELS = 2.0, 2.0


@dataclass(frozen=True, eq=False)
class Waves:
    """A random field of unit spread and Gaussian spectrum: plane waves (n, 3), rad/mm, and their complex weights."""

    vectors: FloatArray
    weights: NDArray[np.complex128]

    @classmethod
    def draw(cls, smooth_mm: float, rng: np.random.Generator) -> Waves:
        """As white noise smoothed by a Gaussian of standard deviation ``smooth_mm`` has it."""
        vectors = rng.normal(scale=1 / (math.sqrt(2) * smooth_mm), size=(_N_WAVES, 3))
        return cls(vectors, np.exp(2j * np.pi * rng.random(_N_WAVES)) * math.sqrt(2 / _N_WAVES))

    def evaluate(self, grid: Grid, to_subject: Rigid) -> FloatArray:
        """The field (x, y, z) at the voxel centres of a scan's grid, wherever they lie in the subject."""
        steps = self.vectors @ to_subject.rotation @ grid.affine[:3, :3]
        start = self.vectors @ to_subject.apply(grid.affine[:3, 3])
        x, y, z = (np.exp(1j * np.outer(step, np.arange(n))) for step, n in zip(steps.T, grid.shape, strict=True))
        first = (self.weights * np.exp(1j * start))[:, None] * x
        # a sum over waves of products along the axes: matrix products, slice after slice
        return np.stack([((row[:, None] * y).T @ z).real for row in first.T])

    def field(self, b0_in_subject: FloatArray) -> Waves:
        """The relative field of this susceptibility: each wave times 1/3 − (k·b)²/k² (Marques & Bowtell 2005)."""
        unit = self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return replace(self, weights=self.weights * (1 / 3 - (unit @ b0_in_subject) ** 2))


def draw_posture(voxel_mm: tuple[float, float, float], seed: int, visit: int) -> Rigid:
    """How a subject lies at a visit: the scanner's RAS+ mm to the subject's, which is the scanner's at visit 0."""
    if visit == 0:
        return Rigid.identity()
    rng = np.random.default_rng(find_visit_seed(np.random.SeedSequence(seed, spawn_key=(4,)), visit))
    shift_mm = rng.normal(scale=_SHIFT_VOXELS * min(voxel_mm), size=3)
    return Rigid.from_twist([*shift_mm, *rng.normal(scale=math.radians(_TURN_DEG), size=3)])


def simulate_moved_scan(
    spec: ScanSpec, seed: int, to_subject: Rigid, *, grid: Grid | None = None, visit: int = 0
) -> tuple[Scan, Truth]:
    """Simulate one scan of a subject in a posture of its own.

    Parameters
    ----------
    spec : the protocol, and the subject where it lies in the scanner as ``spec.affine`` has it; sources in that space
    seed : of the subject; the same seed gives the same anatomy in every posture
    to_subject : the visit's scanner RAS+ mm to the subject's
    grid : the visit's own field of view and voxels; without it those of ``spec``
    visit : each has its own noise, receive profile, coil phase and background field

    Returns
    -------
    Scan, Truth
        Both in the visit's scanner space. Motion between echoes is as in ``spec``.
    """
    anatomy_seed, noise_seed, source_seed, day_seed = np.random.SeedSequence(seed).spawn(4)
    grid = spec.grid if grid is None else grid
    sources = [
        move_source(source, to_subject.inverse(), np.random.default_rng(one))
        for source, one in zip(spec.sources, source_seed.spawn(len(spec.sources)), strict=True)
    ]
    there = replace(spec, shape=grid.shape, affine=grid.affine, sources=tuple(sources))
    tissue = _draw_moved_tissue(spec, there, to_subject, anatomy_seed, find_visit_seed(day_seed, visit))
    scan, truth = scan_tissue(there, tissue, source_seed, find_visit_seed(noise_seed, visit), seed)
    return scan, replace(truth, to_subject=to_subject)


def move_source(source: Source, motion: Rigid, rng: np.random.Generator) -> Source:
    """A source where ``motion`` takes it; ``rng`` scatters ``Cells``, whose places are the subject's."""
    if isinstance(source, Cells):
        source = scatter_cells(source, rng)
    if isinstance(source, PlacedCells):
        return replace(source, positions_mm=motion.apply(source.positions_mm))
    if isinstance(source, Vein):
        return replace(source, start_mm=_move(source.start_mm, motion), end_mm=_move(source.end_mm, motion))
    if isinstance(source, Ellipsoid):
        turned = motion.rotation @ build_rotation(source.rotation_deg)
        return replace(source, centre_mm=_move(source.centre_mm, motion), rotation_deg=_find_angles(turned))
    return replace(source, position_mm=_move(source.position_mm, motion))


def _move(place_mm: Position, motion: Rigid) -> Position:
    x, y, z = motion.apply(place_mm)
    return float(x), float(y), float(z)


def _find_angles(rotation: FloatArray) -> Position:
    """Degrees about x, then y, then z, of which ``build_rotation`` makes this matrix."""
    x = math.atan2(rotation[2, 1], rotation[2, 2])
    y = math.asin(float(np.clip(-rotation[2, 0], -1, 1)))
    z = math.atan2(rotation[1, 0], rotation[0, 0])
    return math.degrees(x), math.degrees(y), math.degrees(z)


def _draw_moved_tissue(
    subject: ScanSpec, there: ScanSpec, to_subject: Rigid, seed: np.random.SeedSequence, day: np.random.SeedSequence
) -> Tissue:
    """The tissue of a visit; ``seed`` draws what is the subject's, ``day`` what is the scanner's of that day."""
    texture, structure, fat = (np.random.default_rng(one) for one in seed.spawn(3))
    receive, field, coil = (np.random.default_rng(one) for one in day.spawn(3))
    fine = _refine(there.grid)
    share = see_in_voxels(_tissue_share(subject, fine, to_subject), there)
    regions = np.tanh(3 * Waves.draw(subject.structure_mm, structure).evaluate(fine, to_subject))
    regions = see_in_voxels(regions, there)
    share *= 1 + there.receive_variation * draw_smooth_map(there.shape, receive)
    share *= 1 - there.density_variation * regions
    r2star = there.r2star_per_s * (1 + there.r2star_variation * regions)
    b0 = to_subject.turn(np.array(there.b0_direction))
    hz = there.b0_t * GAMMA_HZ_PER_T
    chi = Waves.draw(max(subject.texture_mm, min(subject.grid.voxel_mm)), texture)
    field_hz = there.background_hz * draw_smooth_map(there.shape, field)
    field_hz += 1e-6 * there.texture_ppm * hz * chi.field(b0).evaluate(there.grid, to_subject)
    phase = there.phase_offset_rad + there.coil_phase_rad * draw_smooth_map(there.shape, coil)
    if not there.fat_share:
        return Tissue(share, None, r2star, field_hz, phase)
    fatty = Waves.draw(subject.structure_mm / 2, fat)
    in_fat = see_in_voxels(_fat_share(subject, fatty.evaluate(fine, to_subject)), there)
    # its field to first order in the waves, of which its share is a monotonic function
    slope = float(np.cov(in_fat.ravel(), fatty.evaluate(there.grid, to_subject).ravel())[0, 1])
    field_hz += FAT_DELTA_CHI * slope * hz * fatty.field(b0).evaluate(there.grid, to_subject)
    return Tissue(share * (1 - in_fat), share * in_fat, r2star, field_hz, phase)


def _tissue_share(subject: ScanSpec, grid: Grid, to_subject: Rigid) -> FloatArray:
    """Share of tissue (x, y, z) at the points of a grid, from the depth below the subject's own surface."""
    if math.isinf(subject.tissue_fraction):
        return np.ones(grid.shape)
    points = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    reference, voxel = subject.grid, np.array(subject.grid.voxel_mm)
    offset = reference.to_ijk(to_subject.apply(grid.to_mm(points))) - (np.array(reference.shape) - 1) / 2
    place = offset * voxel
    half = np.array(reference.shape) / 2 * subject.tissue_fraction * voxel
    if subject.tissue_shape == "tube":
        beyond = np.maximum(place[..., 0] - (half[0] - half[1]), 0)
        depth = half[1] - np.sqrt(beyond**2 + place[..., 1] ** 2 + place[..., 2] ** 2)
    else:
        radius = np.linalg.norm(place / half, axis=-1)
        depth = (1 - radius) * radius / np.maximum(np.linalg.norm(place / half**2, axis=-1), 1e-9)
    return np.asarray(special.ndtr(depth / (_EDGE_VOXELS * voxel.min())))


def _fat_share(subject: ScanSpec, smooth: FloatArray) -> FloatArray:
    """Share of fat: droplets everywhere, or patches where the waves are highest."""
    if subject.is_fat_diffuse:
        return np.asarray(np.clip(subject.fat_share * (1 + np.tanh(smooth)), 0, 1))
    threshold = NormalDist().inv_cdf(1 - subject.fat_share)
    return np.asarray(special.ndtr((smooth - threshold) / 0.1))


def _refine(grid: Grid) -> Grid:
    """``_FINE`` points along each edge of every voxel."""
    affine = grid.affine.copy()
    affine[:3, :3] /= _FINE
    affine[:3, 3] = grid.to_mm(np.full(3, (1 - _FINE) / (2 * _FINE)))
    x, y, z = grid.shape
    return Grid((x * _FINE, y * _FINE, z * _FINE), affine)


def see_in_voxels(fine: FloatArray, spec: ScanSpec) -> FloatArray:
    """A map at fine points (x, y, z) as the scan sees it in its voxels: averaged, or cut off in k-space."""
    if spec.point_spread == "box":
        x, y, z = spec.shape
        return np.asarray(fine.reshape(x, _FINE, y, _FINE, z, _FINE).mean(axis=(1, 3, 5)))
    for axis, n in enumerate(spec.shape):
        lines = np.moveaxis(fft.fft(fine, axis=axis), axis, -1)
        waves = fft.fftfreq(n, 1 / n)
        # the first voxel's centre lies between its fine points, and n/2 waves are their own mirror image
        shift = np.where(2 * np.abs(waves) == n, 0, np.exp(1j * np.pi * (_FINE - 1) * waves / (_FINE * n)) / _FINE)
        kept = lines[..., waves.astype(np.int64)] * shift
        fine = np.moveaxis(fft.ifft(kept), -1, axis).real
    return np.asarray(fine)
