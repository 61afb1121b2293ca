"""What a scan without label holds where a labelled visit has grafts: the same regions' susceptibility in both."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.quantify.grafts import beside_regions, cut_site, find_window, fits_window, mark_regions, measure_sites
from ferrosight.quantify.regions import Box, Region, find_regions, find_voids
from ferrosight.types.catalogue import GRAFT_ESTIMATOR, Catalogue
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.field import FieldMap
from ferrosight.types.grid import Grid
from ferrosight.types.scan import Scan

FloatArray = NDArray[np.float64]


def measure_grafts_before(
    catalogue: Catalogue,
    scan: Scan,
    field_map: FieldMap,
    baseline: Scan,
    baseline_field_map: FieldMap,
    config: QuantifyConfig,
) -> tuple[FloatArray, FloatArray]:
    """Moment and its error (n,), A m², that the ``baseline`` has in the region of each row that is a graft.

    Regions are those of the labelled ``scan``, carried over by the scanner's frame; what a region of the baseline's own
    holds beside them is left out of their windows. NaN for rows that are no grafts, and where the baseline has no
    tissue or its window would be too large.
    """
    rows = np.flatnonzero(
        (catalogue.clusters["estimator"] == GRAFT_ESTIMATOR) & np.isfinite(catalogue.clusters["moment_am2"])
    )
    moment, err = np.full((2, len(catalogue.clusters)), np.nan)
    if not len(rows):
        return moment, err
    regions = find_regions(field_map, find_voids(scan, field_map), config.least_graft_voxels)
    carried = {
        int(row): _carry_region(_find_region(regions, catalogue, int(row)), scan.grid, baseline_field_map)
        for row in rows
    }
    there = {row: region for row, region in carried.items() if region is not None}
    kept = {row: region for row, region in there.items() if fits_window(find_window(region, baseline.grid.shape))}
    if not kept:
        return moment, err
    voids = find_voids(baseline, baseline_field_map)
    own = find_regions(baseline_field_map, voids, config.least_graft_voxels)
    others, beside = beside_regions(baseline_field_map, mark_regions([*own, *there.values()], voids.shape))
    sites = [cut_site(baseline, baseline_field_map, region, others, voids) for region in kept.values()]
    signed = dataclasses.replace(catalogue, phase_sign=baseline.phase_sign or catalogue.phase_sign)
    for row, graft in zip(kept, measure_sites(baseline, baseline_field_map, signed, sites, beside, voids), strict=True):
        moment[row], err[row] = graft.moment_am2, graft.moment_am2_err
    return moment, err


def _find_region(regions: list[Region], catalogue: Catalogue, row: int) -> Region:
    """The region that a row was measured in: the one whose voxels come nearest to its place."""
    place = np.array([catalogue.fits[f"{axis}_voxel"][row] for axis in "ijk"])

    def distance(region: Region) -> float:
        ijk = np.argwhere(region.inside) + [part.start for part in region.at]
        return float(((ijk - place) ** 2).sum(axis=1).min())

    return min(regions, key=distance)


def _carry_region(region: Region, grid: Grid, there: FieldMap) -> Region | None:
    """The voxels of another grid whose nearest voxel of this one is in the region; None where they hold no tissue."""
    corners = np.stack(np.meshgrid(*((part.start - 1, part.stop) for part in region.at), indexing="ij"), axis=-1)
    ijk = there.grid.to_ijk(grid.to_mm(corners.reshape(-1, 3).astype(np.float64)))
    low = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, there.grid.shape)
    high = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, 0, there.grid.shape)
    if (high <= low).any():
        return None
    voxels = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    nearest = np.round(grid.to_ijk(there.grid.to_mm(voxels.reshape(-1, 3).astype(np.float64)))).astype(int)
    nearest -= [part.start for part in region.at]
    within = ((nearest >= 0) & (nearest < region.inside.shape)).all(axis=1)
    inside = np.zeros(len(nearest), np.bool_)
    inside[within] = region.inside[tuple(nearest[within].T)]
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
