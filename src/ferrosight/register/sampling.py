"""Images as smooth functions of place: blurred alike, then read anywhere by cubic splines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft, ndimage

from ferrosight.types import Grid, VisitImage

FloatArray = NDArray[np.float64]

#: How far around clusters nothing is looked at, voxel edges: the blur carries a void that far.
EXCLUDED_MARGIN_VOXELS = 2

#: Voxels inside the tissue's outline that are left out: where there is little signal, noise bends the magnitude.
_RIM_VOXELS = 2

#: Standard deviations of the blur that an image is mirrored by at its faces.
_PAD_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class SmoothImage:
    """A blurred image as spline coefficients (x, y, z), and where it may be looked at (bool, the same)."""

    coefficients: FloatArray
    usable: NDArray[np.bool_]
    grid: Grid


def voxel_ellipsoid(grid: Grid) -> FloatArray:
    """(3, 3), mm², in the scanner's axes: the squared voxel edges along the array's."""
    matrix = grid.affine[:3, :3]
    return np.asarray(matrix @ matrix.T)


def find_usable(image: VisitImage) -> NDArray[np.bool_]:
    """Voxels (x, y, z) to look at: tissue less its outline, without clusters and what is next to them."""
    tissue = ndimage.binary_erosion(image.mask, iterations=_RIM_VOXELS, border_value=1)
    if not image.excluded.any():
        return np.asarray(tissue)
    return np.asarray(tissue & ~ndimage.binary_dilation(image.excluded, iterations=EXCLUDED_MARGIN_VOXELS))


def smooth_image(image: VisitImage, usable: NDArray[np.bool_], covariance_mm2: FloatArray) -> SmoothImage:
    """The image blurred by a Gaussian of ``covariance_mm2`` (3, 3), scanner axes, as a spline.

    Blurred in k-space with the exact transfer exp(−kᵀCk/2); mirrored at its faces, lest they leak into each other.
    """
    grid = image.grid
    sigma_voxels = np.sqrt(np.diag(grid.axes.T @ covariance_mm2 @ grid.axes)) / grid.voxel_mm
    pad = [min(int(np.ceil(_PAD_SIGMAS * s)), n - 1) for s, n in zip(sigma_voxels, grid.shape, strict=True)]
    full = [fft.next_fast_len(n + 2 * p, real=True) for n, p in zip(grid.shape, pad, strict=True)]
    widths = [(p, total - n - p) for n, p, total in zip(grid.shape, pad, full, strict=True)]
    padded = np.pad(image.magnitude.astype(np.float64), widths, mode="reflect")
    inverse = np.linalg.inv(grid.affine[:3, :3])
    axes = [fft.fftfreq(full[0]), fft.fftfreq(full[1]), fft.rfftfreq(full[2])]
    in_array = inverse @ covariance_mm2 @ inverse.T
    exponent = np.zeros((len(axes[0]), len(axes[1]), len(axes[2])))
    along = [2 * np.pi * axis.reshape([-1 if a == b else 1 for b in range(3)]) for a, axis in enumerate(axes)]
    for a in range(3):
        for b in range(3):
            exponent += in_array[a, b] * along[a] * along[b]
    blurred = fft.irfftn(fft.rfftn(padded) * np.exp(-exponent / 2), s=full)
    inside = tuple(slice(p, p + n) for p, n in zip(pad, grid.shape, strict=True))
    coefficients = ndimage.spline_filter(blurred, order=3, mode="mirror")[inside]
    return SmoothImage(np.ascontiguousarray(coefficients), usable, grid)


def read_image(image: SmoothImage, points_mm: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Values (n,), gradients (n, 3) per mm in scanner axes, and whether each point (n, 3), RAS+ mm, may be looked at.

    Outside of the image's outermost voxel centres nothing may.
    """
    ijk = image.grid.to_ijk(points_mm)
    values, slopes, is_inside = np.empty(len(ijk)), np.empty((len(ijk), 3)), np.empty(len(ijk), dtype=np.bool_)
    _read_cubic(image.coefficients, image.usable, ijk, values, slopes, is_inside)
    return values, slopes @ np.linalg.inv(image.grid.affine[:3, :3]), is_inside


@njit(cache=True, error_model="numpy")
def _read_cubic(
    coefficients: FloatArray,
    usable: NDArray[np.bool_],
    ijk: FloatArray,
    values: FloatArray,
    slopes: FloatArray,
    is_inside: NDArray[np.bool_],
) -> None:
    """A cubic B-spline with its gradient per voxel at fractional voxels (n, 3); ``mirror`` at the faces."""
    shape = coefficients.shape
    weight, slope = np.empty((3, 4)), np.empty((3, 4))
    index = np.empty((3, 4), dtype=np.int64)
    for p in range(len(ijk)):
        inside = True
        for a in range(3):
            if not 0.0 <= ijk[p, a] <= shape[a] - 1:
                inside = False
        is_inside[p] = False
        values[p] = 0.0
        for a in range(3):
            slopes[p, a] = 0.0
        if not inside or not usable[round(ijk[p, 0]), round(ijk[p, 1]), round(ijk[p, 2])]:
            continue
        is_inside[p] = True
        for a in range(3):
            base = int(np.floor(ijk[p, a]))
            t = ijk[p, a] - base
            weight[a, 0], slope[a, 0] = (1 - t) ** 3 / 6, -((1 - t) ** 2) / 2
            weight[a, 1], slope[a, 1] = (4 - 6 * t**2 + 3 * t**3) / 6, (3 * t**2 - 4 * t) / 2
            weight[a, 2], slope[a, 2] = (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, (1 + 2 * t - 3 * t**2) / 2
            weight[a, 3], slope[a, 3] = t**3 / 6, t**2 / 2
            last = shape[a] - 1
            for m in range(4):
                n = abs(base - 1 + m)
                index[a, m] = max(min(n, 2 * last - n), 0)
        for i in range(4):
            for j in range(4):
                both, by_x, by_y = weight[0, i] * weight[1, j], slope[0, i] * weight[1, j], weight[0, i] * slope[1, j]
                for k in range(4):
                    c = coefficients[index[0, i], index[1, j], index[2, k]]
                    values[p] += both * weight[2, k] * c
                    slopes[p, 0] += by_x * weight[2, k] * c
                    slopes[p, 1] += by_y * weight[2, k] * c
                    slopes[p, 2] += both * slope[2, k] * c
