"""Phase made continuous in space, where it is not already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import unwrap_phase


def unwrap_in_mask(phase: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Unwrapped phase, rad, inside ``mask``; NaN outside.

    ``phase`` (x, y, z) lies within ±π. Each connected piece of the mask is moved by the multiple of 2π that
    brings its median within ±π. By scikit-image's reliability sorting (Abdul-Rahman et al. 2007), and only
    where two neighbours differ by more than π.
    """
    result = np.where(mask, phase, np.nan).astype(np.float64)
    if not _has_jumps(result):
        return result
    # The library reads beyond the edge of an image whose mask reaches it: what stands in memory there decided the
    # order of unwrapping. A border outside the mask keeps it within. It refuses axes of one voxel.
    width = [(int(n > 1),) * 2 for n in phase.shape]
    padded = np.squeeze(np.pad(np.where(mask, phase, 0), width)), np.squeeze(np.pad(~mask, width, constant_values=True))
    unwrapped = unwrap_phase(np.ma.masked_array(*padded), rng=0)  # type: ignore[no-untyped-call]
    inner = tuple(slice(1, -1) for n in phase.shape if n > 1)
    result = np.where(mask, np.ma.getdata(unwrapped)[inner].reshape(phase.shape), np.nan)
    labels, count = ndimage.label(mask)
    middle = np.atleast_1d(ndimage.median(result, labels, np.arange(1, count + 1)))
    turns = np.concatenate([[0.0], 2 * np.pi * np.round(middle / (2 * np.pi))])
    return np.asarray(result - turns[labels], dtype=np.float64)


def _has_jumps(phase: NDArray[np.float64]) -> bool:
    return any(bool(np.nanmax(np.abs(np.diff(phase, axis=a)), initial=0) > np.pi) for a in range(phase.ndim))
