"""Where there is tissue, its signal voids included.

The places that matter most are the darkest: a cluster of iron leaves a void. So what is enclosed by tissue is
tissue, and so is a void at the tissue's border, or at the image's, that a ball of the closing radius bridges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.numerics.reach import find_within_reach

#: Tissue is at least this bright compared with the tissue around it (mean over a Gaussian of so many voxels).
_LEAST_BRIGHTNESS = 0.5
_AROUND_VOXELS = 8.0
#: Closing radius when none is given, voxels (of the geometric mean edge).
_CLOSING_VOXELS = 8.0
#: An image this thin is a slab: voids reach through it, so holes are also filled slice by slice.
_SLAB_SLICES = 16
#: Pieces smaller than this share of the largest are noise.
_MIN_PIECE = 0.01


def find_tissue(
    magnitude: NDArray[np.float32],
    sigma: NDArray[np.float32],
    voxel_mm: tuple[float, float, float],
    *,
    mask_snr: float,
    closing_mm: float,
) -> NDArray[np.bool_]:
    """Tissue, bool (x, y, z), from the first echo's ``magnitude`` and its noise ``sigma`` (same units).

    Tissue is where the magnitude, smoothed by one voxel, exceeds ``mask_snr`` · ``sigma`` and half of its mean
    around: where the signal is strong, noise alone lets the mask spread into the blur of its border. Then voids
    are closed (radius ``closing_mm``; 0 chooses 8 voxels), small pieces dropped and enclosed holes filled. The
    mask may be empty.
    """
    width = [1.0 if n >= 3 else 0.0 for n in magnitude.shape]
    smooth = ndimage.gaussian_filter(magnitude, width, mode="nearest")
    bright = smooth > mask_snr * sigma
    bright = _drop_small_pieces(bright & (smooth > _LEAST_BRIGHTNESS * _mean_around(smooth, bright, voxel_mm)))
    if not bright.any():
        return bright
    radius = closing_mm if closing_mm > 0 else _CLOSING_VOXELS * float(np.prod(voxel_mm)) ** (1 / 3)
    return _fill_holes(_close(bright, radius, voxel_mm))


def _mean_around(
    smooth: NDArray[np.float32], bright: NDArray[np.bool_], voxel_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Mean brightness of what is bright in a neighbourhood that is round in mm."""
    width = [_AROUND_VOXELS * float(np.prod(voxel_mm)) ** (1 / 3) / edge for edge in voxel_mm]
    total = ndimage.gaussian_filter(np.where(bright, smooth, 0).astype(np.float32), width, mode="nearest")
    share = ndimage.gaussian_filter(bright.astype(np.float32), width, mode="nearest")
    return np.asarray(total / np.maximum(share, 1e-6), dtype=np.float32)


def _drop_small_pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _MIN_PIECE * sizes.max())[labels], dtype=np.bool_)


def _close(mask: NDArray[np.bool_], radius_mm: float, voxel_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Closing by a ball. Beyond the image, tissue goes on as it is at the image's face."""
    pad = [int(np.ceil(radius_mm / edge)) + 1 for edge in voxel_mm]
    wide = np.pad(mask, [(p, p) for p in pad], mode="edge")
    if wide.all():
        return mask
    grown = find_within_reach(wide, radius_mm, voxel_mm)
    # What lies farther than the radius from all that is out of reach. Where nothing is, every gap is bridged.
    closed = ~find_within_reach(~grown, radius_mm, voxel_mm) | wide
    inner = tuple(slice(p, p + n) for p, n in zip(pad, mask.shape, strict=True))
    return np.asarray(closed[inner], dtype=np.bool_)


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what tissue encloses; in a slab slice by slice, and always on the image's own faces."""
    filled = mask.copy()
    thin = int(np.argmin(mask.shape))
    for axis in range(3):
        slices = np.moveaxis(filled, axis, 0)
        slab = axis == thin and len(slices) <= _SLAB_SLICES
        for index in range(len(slices)) if slab else (0, -1):
            slices[index] = ndimage.binary_fill_holes(slices[index])
    return np.asarray(ndimage.binary_fill_holes(filled), dtype=np.bool_)
