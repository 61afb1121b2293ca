"""The regions of grafts, carried to other scans of the same body and measured there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.quantify.grafts import (
    INSIDE_VOXELS,
    beside_regions,
    cut_site,
    find_window,
    fits_window,
    mark_regions,
    measure_sites,
)
from ferrosight.quantify.regions import Box, Region, find_regions, find_voids
from ferrosight.types import Rigid
from ferrosight.types.catalogue import GRAFT_ESTIMATOR, Catalogue
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.field import FieldMap
from ferrosight.types.grid import Grid
from ferrosight.types.scan import Scan

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GraftRegion:
    """The voxels of a graft, in the grid of the scan in which it was found."""

    grid: Grid
    region: Region

    def is_inside(self, places_mm: FloatArray) -> NDArray[np.bool_]:
        """Whether places (n, 3), scanner mm of its scan, lie so near that a point there counts as a part of it."""
        wide = self.region.grow(INSIDE_VOXELS, self.grid.shape)
        return _are_in(wide, np.round(self.grid.to_ijk(places_mm)).astype(np.int64))


def find_graft_regions(
    catalogue: Catalogue, scan: Scan, field_map: FieldMap, config: QuantifyConfig
) -> dict[int, GraftRegion]:
    """By row of the catalogue: the region of each graft that has a moment."""
    is_graft = catalogue.clusters["estimator"] == GRAFT_ESTIMATOR
    rows = np.flatnonzero(is_graft & np.isfinite(catalogue.clusters["moment_am2"]))
    if not len(rows):
        return {}
    regions = find_regions(field_map, find_voids(scan, field_map), config.least_graft_voxels)
    return {int(row): GraftRegion(scan.grid, _find_region(regions, catalogue, int(row))) for row in rows}


def measure_regions(
    grafts: Sequence[GraftRegion],
    motions: Sequence[Rigid],
    scan: Scan,
    field_map: FieldMap,
    catalogue: Catalogue,
    config: QuantifyConfig,
) -> tuple[FloatArray, FloatArray]:
    """Moment and its error (n,), A m², of what ``scan`` has where ``grafts`` were found in other scans.

    ``motions`` lead from each graft's scanner space to that of ``scan``; what a region of the scan's own holds beside
    them is left out of their windows. Where the scan does not state the sign of phase, the ``catalogue`` does. NaN
    where the scan has no tissue, or the window would be too large.
    """
    moment, err = np.full((2, len(grafts)), np.nan)
    carried = {
        n: _carry(graft, motion, field_map) for n, (graft, motion) in enumerate(zip(grafts, motions, strict=True))
    }
    there = {n: region for n, region in carried.items() if region is not None}
    kept = {n: region for n, region in there.items() if fits_window(find_window(region, scan.grid.shape))}
    if not kept:
        return moment, err
    voids = find_voids(scan, field_map)
    own = find_regions(field_map, voids, config.least_graft_voxels)
    others, beside = beside_regions(field_map, mark_regions([*own, *there.values()], voids.shape))
    sites = [cut_site(scan, field_map, region, others, voids) for region in kept.values()]
    signed = dataclasses.replace(catalogue, phase_sign=scan.phase_sign or catalogue.phase_sign)
    for n, graft in zip(kept, measure_sites(scan, field_map, signed, sites, beside, voids), strict=True):
        moment[n], err[n] = graft.moment_am2, graft.moment_am2_err
    return moment, err


def _find_region(regions: list[Region], catalogue: Catalogue, row: int) -> Region:
    """The region that a row was measured in: the one whose voxels come nearest to its place."""
    place = np.array([catalogue.fits[f"{axis}_voxel"][row] for axis in "ijk"])

    def distance(region: Region) -> float:
        ijk = np.argwhere(region.inside) + [part.start for part in region.at]
        return float(((ijk - place) ** 2).sum(axis=1).min())

    return min(regions, key=distance)


def _are_in(region: Region, ijk: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether voxels (n, 3) of its image are in a region."""
    ijk = ijk - [part.start for part in region.at]
    within = ((ijk >= 0) & (ijk < region.inside.shape)).all(axis=1)
    inside = np.zeros(len(ijk), np.bool_)
    inside[within] = region.inside[tuple(ijk[within].T)]
    return inside


def _carry(graft: GraftRegion, motion: Rigid, there: FieldMap) -> Region | None:
    """The voxels of another grid whose nearest one of the graft's is in its region; None where they hold no tissue."""
    at = graft.region.at
    corners = np.stack(np.meshgrid(*((part.start - 1, part.stop) for part in at), indexing="ij"), axis=-1)
    ijk = there.grid.to_ijk(motion.apply(graft.grid.to_mm(corners.reshape(-1, 3).astype(np.float64))))
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, there.grid.shape)
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, there.grid.shape)
    if (high <= low).any():
        return None
    voxels = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    back = motion.inverse().apply(there.grid.to_mm(voxels.reshape(-1, 3).astype(np.float64)))
    inside = _are_in(graft.region, np.round(graft.grid.to_ijk(back)).astype(np.int64))
    box: Box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    shaped = inside.reshape(voxels.shape[:-1])
    # Half of it outside the tissue, and what is measured is another body.
    if 2 * np.count_nonzero(shaped & there.mask[box]) <= np.count_nonzero(shaped):
        return None
    return _trim(Region(box, shaped))


def _trim(region: Region) -> Region:
    """The region in the smallest box that holds it."""
    (x, y, z) = ndimage.find_objects(region.inside.astype(np.int8))[0]
    starts = [part.start for part in region.at]
    box = [slice(part.start + a, part.stop + a) for part, a in zip((x, y, z), starts, strict=True)]
    return Region((box[0], box[1], box[2]), region.inside[x, y, z])
