"""From a specification to a PET scan and its truth.

What is measured is computed from the bodies themselves: their projections have closed forms in Fourier space, so that
no voxel of the image, which the fit uses, has any part in the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.ndimage import gaussian_filter

from ferrosight.physics.isotopes import ISOTOPES, frame_correction
from ferrosight.simulate.pet_projector import list_angles, reconstruct
from ferrosight.simulate.pet_spec import HotSphere, PetSpec, Warm
from ferrosight.types import PET_TRUTH, PetScan, PetUnit, Table, Truth

Array = NDArray[np.float64]
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_ML_PER_MM3 = 1e-3
#: Width (σ) of what scatters, in fields of view.
_SCATTER_SHARE = 1 / 6


@dataclass(frozen=True)
class PetCounts:
    """What the scanner is expected to count, all float32 (angle, bin, z).

    ``factors`` takes line integrals of the image (Bq/mL · mm, at the scan's start) to true counts; ``additive`` is
    scatter and randoms, known exactly to the reconstruction; ``prompts`` is everything.
    """

    prompts: NDArray[np.float32]
    factors: NDArray[np.float32]
    additive: NDArray[np.float32]


def expect_counts(spec: PetSpec) -> PetCounts:
    """The expected counts of a scan.

    Lines of response lie in slices. Attenuation is the bodies' own along each line; scatter is the trues, smeared
    widely in the projection; randoms are the same everywhere.
    """
    scanner = spec.scanner
    bodies: list[Warm | HotSphere] = [*spec.tissue, *spec.spheres]
    lines = _project_blurred(spec, bodies)
    decays = 1 / float(frame_correction(0.0, spec.duration_s, ISOTOPES[spec.isotope].half_life_s)) * spec.duration_s
    # A line integral times bin and slice is the activity in a strip, and each angle sees its share of the pairs.
    per_line = scanner.sensitivity * decays * scanner.bin_mm * scanner.voxel_mm[2] * _ML_PER_MM3 / scanner.n_angles
    factors = per_line * np.exp(-_attenuate(spec))
    trues = lines * factors
    sigma = [0.0, scanner.n_bins * _SCATTER_SHARE, 4.0]
    scatter = gaussian_filter(trues, sigma, mode="constant") * scanner.scatter
    additive = scatter + scanner.randoms * trues.mean()
    return PetCounts((trues + additive).astype(np.float32), factors.astype(np.float32), additive.astype(np.float32))


def simulate_pet_scan(spec: PetSpec, seed: int, counts: PetCounts | None = None) -> tuple[PetScan, Truth]:
    """Simulate one scan.

    ``counts`` saves computing the expectation again where a specification is drawn many times.

    Returns
    -------
    PetScan
        One frame, Bq/mL at the scan's start.
    Truth
        A row per hot sphere (schema PET_TRUTH).
    """
    expected = expect_counts(spec) if counts is None else counts
    drawn = np.random.default_rng(seed).poisson(expected.prompts).astype(np.float32)
    image = reconstruct(spec.scanner, drawn, expected.factors, expected.additive)
    if spec.scanner.filter_fwhm_mm:
        sigma = [_SIGMA_PER_FWHM * spec.scanner.filter_fwhm_mm / edge for edge in spec.scanner.voxel_mm]
        image = gaussian_filter(image, sigma)
    grid = spec.grid
    scan = PetScan(
        data=image[None],
        unit=PetUnit.BQ_ML,
        affine=grid.affine,
        frame_start_s=np.zeros(1),
        frame_duration_s=np.array([spec.duration_s]),
        half_life_s=ISOTOPES[spec.isotope].half_life_s,
        isotope=spec.isotope,
    )
    rows = [
        {
            **dict(zip(("x_mm", "y_mm", "z_mm"), sphere.centre_mm, strict=True)),
            "activity_bq": sphere.activity_bq,
            "radius_mm": sphere.radius_mm,
            "kind": "labelled",
        }
        for sphere in spec.spheres
    ]
    return scan, Truth(Table.from_rows(PET_TRUTH, rows), seed, grid.voxel_mm)


def expect_source_counts(spec: PetSpec, sphere: HotSphere, counts: PetCounts) -> Array:
    """True counts (angle, bin, z) that a hot sphere adds to those of ``spec``, whose ``counts`` are given."""
    return np.asarray(_project_blurred(spec, [sphere]) * counts.factors)


def contrast_activity_bq(contrast: float, background_bq_ml: float, radius_mm: float) -> float:
    """What a ball holds beyond its surroundings, Bq, where its concentration is ``contrast`` times theirs."""
    return (contrast - 1) * background_bq_ml * 4 / 3 * math.pi * radius_mm**3 * _ML_PER_MM3


def _project_blurred(spec: PetSpec, bodies: list[Warm | HotSphere]) -> Array:
    """Line integrals (angle, bin, z), Bq/mL · mm, blurred by detectors and positron range, averaged over each bin."""
    scanner = spec.scanner
    n_s, n_z = _padded_size(spec, bodies)
    ks: Array = np.asarray(2 * np.pi * np.fft.fftfreq(n_s, scanner.bin_mm)[:, None], np.float64)
    kz: Array = np.asarray(2 * np.pi * np.fft.rfftfreq(n_z, scanner.voxel_mm[2])[None], np.float64)
    sigma_s, sigma_z = _SIGMA_PER_FWHM * scanner.fwhm_mm, _SIGMA_PER_FWHM * scanner.axial_fwhm_mm
    blur = np.exp(-0.5 * ((ks * sigma_s) ** 2 + (kz * sigma_z) ** 2))
    reach = np.sqrt(ks**2 + kz**2) * ISOTOPES[spec.isotope].positron_range_mm
    # The transform of exp(-r/d)/(4π r² d), whose mean distance is d.
    blur = blur * np.where(reach > 0, np.arctan(reach) / np.where(reach > 0, reach, 1), 1)
    blur = blur * np.sinc(ks * scanner.bin_mm / (2 * np.pi)) * np.sinc(kz * scanner.voxel_mm[2] / (2 * np.pi))
    out = np.empty((scanner.n_angles, scanner.n_bins, scanner.shape[2]))
    for index, angle in enumerate(list_angles(scanner)):
        transform = np.zeros((n_s, n_z // 2 + 1), np.complex128)
        for body in bodies:
            transform += _transform(spec, body, ks, kz, angle)
        # Bin centres lie half a bin from the middle, as slices do of an even number.
        origin = ((scanner.n_bins - 1) / 2 * scanner.bin_mm, (scanner.shape[2] - 1) / 2 * scanner.voxel_mm[2])
        shifted = transform * blur * np.exp(-1j * (ks * origin[0] + kz * origin[1]))
        lines = np.fft.irfft2(shifted, s=(n_s, n_z)) / (scanner.bin_mm * scanner.voxel_mm[2])
        out[index] = lines[: scanner.n_bins, : scanner.shape[2]]
    return np.maximum(out, 0.0)


def _padded_size(spec: PetSpec, bodies: list[Warm | HotSphere]) -> tuple[int, int]:
    """Bins and slices with which no body, repeated by the periodic transform, comes back into the image."""
    scanner = spec.scanner
    sizes = []
    for step, n, axes in ((scanner.bin_mm, scanner.n_bins, (0, 1)), (scanner.voxel_mm[2], scanner.shape[2], (2,))):
        reach = 0.0
        for body in bodies:
            half_axes = (body.radius_mm,) * 3 if isinstance(body, HotSphere) else body.half_axes_mm
            centre = spec.to_image_mm(body.centre_mm)
            reach = max(reach, math.hypot(*centre[list(axes)]) + max(half_axes[axis] for axis in axes))
        # The isotope's range and the detectors' response die out within this.
        margin = 5 * ISOTOPES[spec.isotope].positron_range_mm + 3 * max(scanner.fwhm_mm, scanner.axial_fwhm_mm)
        sizes.append(next_fast_len(math.ceil((n * step / 2 + reach + margin) / step), real=True))
    return max(sizes[0], scanner.n_bins), max(sizes[1], scanner.shape[2])


def _transform(spec: PetSpec, body: Warm | HotSphere, ks: Array, kz: Array, angle: float) -> NDArray[np.complex128]:
    """Fourier transform over (bin, z) of a body's line integrals at one angle, Bq/mL · mm³."""
    centre = spec.to_image_mm(body.centre_mm)
    if isinstance(body, HotSphere):
        half_axes, total = (body.radius_mm,) * 3, body.activity_bq / _ML_PER_MM3
    else:
        half_axes, total = body.half_axes_mm, body.bq_ml * 4 / 3 * math.pi * math.prod(body.half_axes_mm)
    along = math.hypot(half_axes[0] * math.cos(angle), half_axes[1] * math.sin(angle))
    size = np.sqrt((ks * along) ** 2 + (kz * half_axes[2]) ** 2)
    phase = ks * (centre[0] * math.cos(angle) + centre[1] * math.sin(angle)) + kz * centre[2]
    return np.asarray(total * _ball(size) * np.exp(-1j * phase))


def _ball(x: Array) -> Array:
    """3 (sin x - x cos x) / x³, which is 1 at 0."""
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, x)
    return np.where(small, 1 - x**2 / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)


def _attenuate(spec: PetSpec) -> Array:
    """Integral of the attenuation along each line, (angle, bin, z)."""
    scanner = spec.scanner
    bins = (np.arange(scanner.n_bins) - (scanner.n_bins - 1) / 2) * scanner.bin_mm
    z = (np.arange(scanner.shape[2]) - (scanner.shape[2] - 1) / 2) * scanner.voxel_mm[2]
    total = np.zeros((scanner.n_angles, scanner.n_bins, scanner.shape[2]))
    for body in spec.tissue:
        if not body.mu_per_mm:
            continue
        centre, (a, b, c) = spec.to_image_mm(body.centre_mm), body.half_axes_mm
        angles = list_angles(scanner)[:, None, None]
        shadow = np.hypot(a * np.cos(angles), b * np.sin(angles))
        offset = bins[None, :, None] - centre[0] * np.cos(angles) - centre[1] * np.sin(angles)
        inside = np.maximum(1 - (offset / shadow) ** 2 - ((z - centre[2]) / c) ** 2, 0)
        total += body.mu_per_mm * 2 * a * b / shadow * np.sqrt(inside)
    return total
