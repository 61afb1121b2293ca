"""Where a scan may hold an extended graft: from the magnitude alone, so that the field can be asked without prejudice.

Iron spread over many voxels makes the signal decay faster, and empties voxels altogether where there is much of it.
A vein, a bleeding or a cavity does so too; what tells them apart is the field, which is looked at later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.types.field import FieldMap
from ferrosight.types.scan import Scan

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

#: R2* this many standard deviations above its surroundings begins a region, and this many goes on with it.
_BEGINS, _GOES_ON = 5.0, 2.5
#: A voxel is a void where the first echo has less than this share of the signal around it, and more noise than that.
_VOID = 0.5
#: "Around" is a Gaussian mean of so many voxels (standard deviation), twice: the second time without what stands out.
_AROUND_VOXELS = 6.0
#: A region of which more than this share of the surface borders on what is no tissue belongs to the tissue's edge.
_MOST_EDGE = 0.25
#: R2* is averaged over neighbours (standard deviation of a Gaussian, voxels).
_SMOOTH_VOXELS = 0.8
_BLOCK = np.ones((2, 2, 2), np.bool_)


@dataclass(frozen=True)
class Region:
    """Connected voxels: those ``inside`` (x, y, z) of the box ``at`` of the image."""

    at: Box
    inside: Mask

    @property
    def n_voxels(self) -> int:
        """How many voxels it has."""
        return int(np.count_nonzero(self.inside))

    def spread(self, at: Box) -> Mask:
        """The region in another box of the image that holds all of it."""
        spread = np.zeros([part.stop - part.start for part in at], np.bool_)
        x, y, z = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(self.at, at, strict=True))
        spread[x, y, z] = self.inside
        return spread

    def grow(self, steps: int, shape: tuple[int, ...]) -> Region:
        """The region with so many layers of voxels around it, within an image of ``shape``."""
        at = widen_box(self.at, steps, shape)
        return Region(at, np.asarray(ndimage.binary_dilation(self.spread(at), iterations=steps), dtype=np.bool_))


def widen_box(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """A box of an image of ``shape`` with so many more voxels on every side, as far as there are any."""
    x, y, z = (
        slice(max(part.start - margin, 0), min(part.stop + margin, n)) for part, n in zip(box, shape, strict=True)
    )
    return x, y, z


def find_regions(field_map: FieldMap, voids: Mask, least_voxels: float) -> list[Region]:
    """Connected regions of raised R2* or of no signal, wider than ``least_voxels``; the largest first.

    A region's width is the diameter of the ball of its volume, in cube roots of the voxel's volume. It is at least two
    voxels thick everywhere, and does not lie along the tissue's edge. With a single echo R2* is unknown and the
    magnitude alone speaks: ``voids`` (x, y, z), of ``find_voids``.
    """
    begins, goes_on = _find_decay(field_map, voids)
    raised = ndimage.binary_opening(goes_on, _BLOCK) & field_map.mask
    labels, n = ndimage.label(raised)
    begun = np.zeros(n + 1, np.bool_)
    begun[np.unique(labels[begins & raised])] = True
    least = np.pi / 6 * least_voxels**3
    tissue = np.pad(field_map.mask, 1)
    regions = []
    for label, (x, y, z) in enumerate(ndimage.find_objects(labels), 1):
        if not begun[label]:
            continue
        # What a region encloses lies in its box: nothing beyond has to be looked at.
        inside = ndimage.binary_fill_holes(labels[x, y, z] == label)
        region = Region((x, y, z), np.asarray(inside, dtype=np.bool_))
        if region.n_voxels > least and _edge_share(region, tissue) <= _MOST_EDGE:
            regions.append(region)
    return sorted(regions, key=lambda region: region.n_voxels, reverse=True)


def find_voids(scan: Scan, field_map: FieldMap) -> Mask:
    """Voxels (x, y, z) of the mask that have lost most of their signal before the first echo."""
    magnitude = np.abs(scan.signal[0])
    bright = field_map.mask.copy()
    for _ in range(2):
        around = _mean_around(magnitude, bright)
        dark = field_map.mask & (magnitude < _VOID * around)
        bright = field_map.mask & ~dark
    return np.asarray(dark & (around > 3 * field_map.noise.sigma[0]), dtype=np.bool_)


def _find_decay(field_map: FieldMap, void: Mask) -> tuple[Mask, Mask]:
    """Where a region may begin, and where it may go on."""
    rate, err = field_map.r2star_per_s, field_map.r2star_per_s_err
    known = field_map.mask & ~void & np.isfinite(rate) & np.isfinite(err)
    if not known.any():
        return void, void
    # What no single voxel shows a mean over neighbours does, weighted by what each is worth; where iron is dense, the
    # voxel itself shows it.
    err = np.where(known, np.maximum(err, np.median(err[known])), 1.0)
    weight = np.where(known, 1.0 / err**2, 0.0)
    share = ndimage.gaussian_filter(weight, _SMOOTH_VOXELS)
    smooth = ndimage.gaussian_filter(weight * np.where(known, rate, 0.0), _SMOOTH_VOXELS) / np.maximum(share, 1e-30)
    z = np.maximum(_stand_out(smooth, 1 / np.sqrt(np.maximum(share, 1e-30)), known), _stand_out(rate, err, known))
    return np.asarray(void | (z > _BEGINS)), np.asarray(void | (z > _GOES_ON))


def _stand_out(rate: NDArray[np.floating], err: NDArray[np.floating], known: Mask) -> NDArray[np.float64]:
    """Excess over the surroundings in its own standard deviations: noise, and what varies in tissue beyond it."""
    usual = known
    for _ in range(3):
        excess = np.where(known, rate - _mean_around(np.where(known, rate, 0.0), usual), 0.0)
        typical = float(np.median(err[usual]))
        spread = 1.4826 * float(np.median(np.abs(excess[usual])))
        # The spread of the usual holds the usual noise: only what a voxel has more of is added.
        sd = np.sqrt(np.maximum(err**2 * (spread / typical) ** 2, spread**2) + 1e-24)
        z = np.where(known, excess / sd, 0.0)
        usual = known & (z < _GOES_ON)
    return np.asarray(z, dtype=np.float64)


def _mean_around(values: NDArray[np.floating], use: Mask) -> NDArray[np.float64]:
    total = ndimage.gaussian_filter(np.where(use, values, 0.0).astype(np.float64), _AROUND_VOXELS)
    share = ndimage.gaussian_filter(use.astype(np.float64), _AROUND_VOXELS)
    return np.asarray(total / np.maximum(share, 1e-6), dtype=np.float64)


def _edge_share(region: Region, padded_mask: Mask) -> float:
    """Share of the voxels that border on a region which are no tissue; the mask is padded by a voxel on every side."""
    padded = np.pad(region.inside, 1)
    shell = ndimage.binary_dilation(padded) & ~padded
    x, y, z = (slice(part.start, part.stop + 2) for part in region.at)
    return float(np.count_nonzero(shell & ~padded_mask[x, y, z]) / np.count_nonzero(shell))
