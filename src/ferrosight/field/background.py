"""What of the field is too smooth to come from a small source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Width when none is given, voxels (of the geometric mean edge).
_WIDTH_VOXELS = 8.0
#: FWHM of a Gaussian over its standard deviation.
_FWHM = 2 * np.sqrt(2 * np.log(2))
_PASSES = 3
#: A residual this many robust SD out is a source, not background, and no longer pulls at it.
_SOURCE_SD = 3.0


def remove_background(
    field_hz: NDArray[np.float32],
    field_hz_err: NDArray[np.float32],
    mask: NDArray[np.bool_],
    voxel_mm: tuple[float, float, float],
    *,
    width_mm: float,
) -> NDArray[np.float32]:
    """The field, Hz, less its background: a weighted Gaussian mean of FWHM ``width_mm`` (0: 8 voxels).

    Means are taken inside ``mask`` only, weighted by 1/err². What a pass leaves is smoothed again and
    taken off too, three times in all: at the mask's border a mean lags behind a slope, and later passes catch up.
    NaN outside the mask.
    """
    width = width_mm if width_mm > 0 else _WIDTH_VOXELS * float(np.prod(voxel_mm)) ** (1 / 3)
    sd_voxels = [width / _FWHM / edge for edge in voxel_mm]
    good = mask & np.isfinite(field_hz) & np.isfinite(field_hz_err)
    if not good.any():
        return np.full(field_hz.shape, np.nan, dtype=np.float32)
    # A floor keeps a few very bright voxels from being the background all by themselves.
    err = np.where(good, np.maximum(field_hz_err, np.median(field_hz_err[good])), 1.0)
    weight = np.where(good, (err.min() / err) ** 2, 0.0).astype(np.float32)
    left = np.where(good, field_hz - np.median(field_hz[good]), 0.0).astype(np.float32)
    start = left
    left = left - _smooth(left, weight, sd_voxels)
    spread = 1.4826 * np.median(np.abs(left[good]))
    weight = np.where(np.abs(left) > _SOURCE_SD * max(float(spread), 1e-12), weight * 0.05, weight)
    left = start
    for _ in range(_PASSES):
        left = left - _smooth(left, weight, sd_voxels)
    return np.where(good, left, np.nan).astype(np.float32)


def _smooth(values: NDArray[np.float32], weight: NDArray[np.float32], sd_voxels: list[float]) -> NDArray[np.float32]:
    total = ndimage.gaussian_filter(values * weight, sd_voxels, mode="constant")
    share = ndimage.gaussian_filter(weight, sd_voxels, mode="constant")
    return np.asarray(total / np.maximum(share, 1e-6), dtype=np.float32)
