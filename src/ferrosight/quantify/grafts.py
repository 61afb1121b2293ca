"""Extended grafts: clusters that are no points, with rows of their own in the catalogue.

A region is extended where R2* is raised (or signal lost) over more than about three voxels and no point of the
catalogue explains what is seen there. The region comes from the magnitude alone and the evidence from the field alone:
with no susceptibility in it, the estimate of its moment is a sum over the field of tissue, whose error is known.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from ferrosight.physics.constants import CHI_AIR, CHI_WATER, GAMMA_HZ_PER_T, GAMMA_RAD_PER_S_T, MU0
from ferrosight.physics.dipole import harmonic_pattern
from ferrosight.physics.relaxation import STATIC_DEPHASING_FACTOR
from ferrosight.quantify.inversion import Integral, Window, integrate_susceptibility
from ferrosight.quantify.regions import Box, Region, find_regions, find_voids, widen_box
from ferrosight.quantify.texture import Texture, measure_texture
from ferrosight.types.catalogue import GRAFT_ESTIMATOR, Catalogue, name_clusters
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.field import FieldMap
from ferrosight.types.flags import Flag, append_flag, flag_names, rejects
from ferrosight.types.scan import Scan
from ferrosight.types.schema import CLUSTERS, FITS
from ferrosight.types.table import Table

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: A point that explains this share of its window makes a region a point's void.
_POINT_EXPLAINS = 0.9
#: The region is taken this much wider than seen, voxels; points within so many more are parts of the graft.
_GROWN, _NEAR = 1, 2
#: A point so many voxels from a region is a part of it.
INSIDE_VOXELS = _GROWN + _NEAR
#: The window reaches so many of the region's widths beyond it, in voxels between these.
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN = 0.9, 5, 10
#: Windows of more voxels are not inverted, which would take gigabytes and minutes: their regions are no grafts, but
#: sinuses, or vessels through the whole image.
_MOST_VOXELS = 1_000_000
#: Texture is measured this far from regions, voxels.
_BESIDE = 3
#: How often grafts, their neighbours and the texture around them are measured in turn.
_TURNS = 3
#: Regions this many times longer than wide are vessels.
_VESSEL = 5.0
#: A region that is mostly void, and whose moment over that of gas of the void's volume lies between these, is gas.
_GAS = 0.3, 2.0
#: False grafts expected in a scan above which none is accepted: points have spent the scan's false alarms already.
_MOST_FALSE = 0.01
_Z95 = 1.959964


@dataclass(frozen=True)
class Site:
    """A region, and what of its window (at ``at``) does not depend on other grafts; iron's moment by R2*, A m²."""

    region: Region
    at: Box
    window: Window
    moment_r2star_am2: float
    moment_r2star_am2_err: float


@dataclass(frozen=True)
class Graft:
    """What was measured at a site; moments in A m², of iron's polarity; ``flags`` from the registry."""

    site: Site
    integral: Integral
    moment_am2: float
    moment_am2_err: float
    noise_am2_err: float
    position_ijk: FloatArray
    position_ijk_err: FloatArray
    flags: int


def measure_grafts(scan: Scan, field_map: FieldMap, catalogue: Catalogue, config: QuantifyConfig) -> Catalogue:
    """The catalogue with a row for every extended graft; the same catalogue where there is none.

    Its score is the moment over the error that it would have with no graft there, its p-value that of Student's t with
    the texture's degrees of freedom, ``expected_false`` the p-value times the number of regions looked at, and q
    Benjamini and Hochberg's among them. Point candidates inside an accepted graft are rejected (``inside_graft``).
    A region whose window is too large to be inverted has a row without moment (``too_large``).
    """
    voids = find_voids(scan, field_map)
    regions = find_regions(field_map, voids, config.least_graft_voxels)
    extended = [region for region in regions if not _is_point(region.grow(_GROWN, voids.shape), catalogue)]
    if not extended:
        return catalogue
    others, beside = beside_regions(field_map, mark_regions(regions, voids.shape))
    too_large = [not fits_window(find_window(region, voids.shape)) for region in extended]
    large = list(itertools.compress(extended, too_large))
    sites = [
        cut_site(scan, field_map, region, others, voids)
        for region, skipped in zip(extended, too_large, strict=True)
        if not skipped
    ]
    grafts = measure_sites(scan, field_map, catalogue, sites, beside, voids)
    return _add_rows(scan, catalogue, grafts, large, len(regions))


def measure_sites(
    scan: Scan, field_map: FieldMap, catalogue: Catalogue, sites: list[Site], beside: Mask, voids: Mask
) -> list[Graft]:
    """Grafts, their neighbours and the texture ``beside`` them, measured in turn."""
    grafts: list[Graft] = []
    for _ in range(_TURNS):
        # The grafts' own far fields are no texture, and each stands in its neighbours' windows.
        total = np.zeros(scan.grid.shape)
        for graft in grafts:
            total += _graft_field(scan, graft)
        own = [graft.integral.model_hz for graft in grafts] or [np.zeros(1)] * len(sites)
        texture = measure_texture(scan, _take_off(field_map, total), beside)
        grafts = [
            _measure_one(scan, catalogue, _take_off_site(field_map, site, total[site.at] - model), texture, voids)
            for site, model in zip(sites, own, strict=True)
        ]
    return grafts


def beside_regions(field_map: FieldMap, taken: Mask) -> tuple[Mask, Mask]:
    """Voxels (x, y, z) that do not count in other regions' windows, and those at which texture is measured."""
    beside = field_map.mask & ~ndimage.binary_dilation(taken, iterations=_BESIDE)
    return ndimage.binary_dilation(taken, iterations=_GROWN), np.asarray(beside)


def mark_regions(regions: list[Region], shape: tuple[int, ...]) -> Mask:
    """Voxels (x, y, z) of an image that are in any of the regions."""
    taken = np.zeros(shape, np.bool_)
    for region in regions:
        taken[region.at] |= region.inside
    return taken


def _is_point(grown: Region, catalogue: Catalogue) -> bool:
    """Whether a point inside explains what is seen there."""
    explains = catalogue.fits["explained_share"] >= _POINT_EXPLAINS
    return bool((explains & _are_inside(grown.inside, grown.at, catalogue)).any())


def _are_inside(inside: Mask, at: Box, catalogue: Catalogue) -> Mask:
    """Whether each candidate's nearest voxel is ``inside``, a part of the image ``at`` a box."""
    ijk = np.stack([catalogue.fits[f"{axis}_voxel"] for axis in "ijk"], axis=1)
    nearest = np.round(np.nan_to_num(ijk, nan=-1.0)).astype(np.int64) - [part.start for part in at]
    within = ((nearest >= 0) & (nearest < inside.shape)).all(axis=1)
    nearest = np.clip(nearest, 0, np.array(inside.shape) - 1)
    return np.asarray(within & inside[tuple(nearest.T)], dtype=np.bool_)


def _take_off(field_map: FieldMap, field_hz: FloatArray) -> FieldMap:
    return dataclasses.replace(field_map, field_hz=(field_map.field_hz - field_hz).astype(np.float32))


def _take_off_site(field_map: FieldMap, site: Site, field_hz: FloatArray) -> Site:
    """The site as it would be without a field (x, y, z) of other grafts in its window."""
    left = (field_map.field_hz[site.at] - field_hz).astype(np.float32).astype(np.float64)
    window = dataclasses.replace(site.window, field_hz=np.where(site.window.use, left, 0.0))
    return dataclasses.replace(site, window=window)


def _measure_one(scan: Scan, catalogue: Catalogue, site: Site, texture: Texture, voids: Mask) -> Graft:
    """One graft, in a window that holds no field of others."""
    integral = integrate_susceptibility(site.window, texture)
    sign = 1.0
    if not scan.phase_sign:
        sign = float(catalogue.phase_sign) or float(np.sign(integral.value))
    per_hz_m3 = 1 / (GAMMA_HZ_PER_T * MU0)
    moment = sign * integral.value * per_hz_m3
    flags = _flag(scan, moment, site.region.inside, voids[site.region.at] & site.region.inside)
    if not scan.phase_sign and not catalogue.phase_sign:
        flags |= int(Flag.SIGN_UNKNOWN)
    return Graft(
        site,
        integral,
        moment,
        integral.err * per_hz_m3,
        integral.noise_err * per_hz_m3,
        integral.centroid + [part.start for part in site.at],
        integral.centroid_err,
        flags,
    )


def find_window(region: Region, shape: tuple[int, ...]) -> Box:
    """The box about a region in which its field is looked at."""
    width = float(np.cbrt(6 * region.n_voxels / np.pi))
    return widen_box(region.at, int(np.clip(np.ceil(_MARGIN * width), _LEAST_MARGIN, _MOST_MARGIN)), shape)


def fits_window(box: Box) -> bool:
    """Whether a window is small enough to be inverted."""
    return bool(math.prod(part.stop - part.start for part in box) <= _MOST_VOXELS)


def cut_site(scan: Scan, field_map: FieldMap, region: Region, others: Mask, voids: Mask) -> Site:
    """What of the scan is in a region's window; of ``others`` (x, y, z) only the region's own voxels count."""
    at = find_window(region, voids.shape)
    grown = region.grow(_GROWN, voids.shape).spread(at)
    magnitude = np.abs(scan.signal[(0, *at)]).astype(np.float64)
    around = ndimage.percentile_filter(magnitude, 80, size=5)
    times = scan.echo_times_s
    gap = float(np.diff(times).min()) if len(times) > 1 else float(times[0])
    field, err = (image[at].astype(np.float64) for image in (field_map.field_hz, field_map.field_hz_err))
    use = field_map.mask[at] & ~(others[at] & ~grown) & np.isfinite(field) & np.isfinite(err)
    window = Window(
        field_hz=np.where(use, field, 0.0),
        err_hz=np.where(use, err, 1.0),
        use=use,
        region=grown & field_map.mask[at],
        brightness=magnitude / np.maximum(around, 1e-12 * magnitude.max()),
        alias_hz=1 / gap,
        time_s=float(times[0]) + (gap if len(times) > 1 else 0.0),
        voxel_m=np.array(scan.grid.voxel_mm) * 1e-3,
        b0_in_array=scan.b0_in_array,
    )
    return Site(region, at, window, *_read_r2star(field_map, region, at, voids, scan.grid.voxel_volume_m3))


def _read_r2star(field_map: FieldMap, region: Region, at: Box, voids: Mask, voxel_m3: float) -> tuple[float, float]:
    """Moment that static dephasing needs for the region's R2*, and its error; NaN where most of it is void.

    R2' = 0.403 γ μ0 M̄ (``physics.relaxation``). Voids count as the rest of the region, which is too little.
    """
    inside, usable = region.spread(at), field_map.mask[at] & ~voids[at]
    rate, err = field_map.r2star_per_s[at].astype(np.float64), field_map.r2star_per_s_err[at].astype(np.float64)
    known = inside & usable & np.isfinite(rate) & np.isfinite(err)
    other = usable & ~ndimage.binary_dilation(inside, iterations=_NEAR) & np.isfinite(rate)
    n = region.n_voxels
    if 2 * np.count_nonzero(known) < n or not other.any():
        return float("nan"), float("nan")
    per_rate = voxel_m3 / (STATIC_DEPHASING_FACTOR * GAMMA_RAD_PER_S_T * MU0)
    excess = float(rate[known].mean() - np.median(rate[other]))
    return n * per_rate * excess, n * per_rate * float(np.sqrt((err[known] ** 2).sum())) / np.count_nonzero(known)


def _flag(scan: Scan, moment_am2: float, region: Mask, voids: Mask) -> int:
    """What the region's shape and emptiness say against it."""
    flags = 0
    spread = np.cov(np.argwhere(region).T * np.array(scan.grid.voxel_mm)[:, None])
    lengths = np.sqrt(np.linalg.eigvalsh(spread))
    if lengths[2] > _VESSEL * lengths[1]:
        flags |= int(Flag.VEIN)
    n_voids = np.count_nonzero(voids)
    if 2 * n_voids > np.count_nonzero(region):
        gas_am2 = (CHI_AIR - CHI_WATER) * scan.b0_t / MU0 * n_voids * scan.grid.voxel_volume_m3
        if _GAS[0] * gas_am2 < moment_am2 < _GAS[1] * gas_am2:
            flags |= int(Flag.BUBBLE)
        elif moment_am2 < gas_am2:
            # A smaller bubble, which dephases what surrounds it, would fit as well.
            flags |= int(Flag.BUBBLE_NOT_EXCLUDED)
    return flags


def _graft_field(scan: Scan, graft: Graft) -> FloatArray:
    """Field (x, y, z), Hz, of a graft: what was fitted in its window, beyond it that of a point."""
    voxel_m = np.array(scan.grid.voxel_mm) * 1e-3
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in scan.grid.shape), indexing="ij"), axis=-1)
    offsets = (indices - graft.position_ijk) * voxel_m
    field = graft.integral.value / (4 * np.pi) * harmonic_pattern("dipole", offsets, scan.b0_in_array)
    field[graft.site.at] = graft.integral.model_hz
    return np.asarray(field, dtype=np.float64)


def _judge(scan: Scan, catalogue: Catalogue, grafts: list[Graft], n_regions: int) -> dict[str, FloatArray]:
    """Score, p-value, expected false and q of every graft (n,)."""
    score = np.array([abs(graft.moment_am2) / graft.noise_am2_err for graft in grafts])
    dof = np.array([max(graft.integral.dof, 2.0) for graft in grafts])
    sides = 1.0 if scan.phase_sign or catalogue.phase_sign else 2.0
    p = np.minimum(sides * stats.t.sf(score, dof), 1.0)
    expected = n_regions * p
    order = np.argsort(p)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate((expected[order] / np.arange(1, len(p) + 1))[::-1])[::-1]
    return {"score": score, "p_value": p, "q_value": np.minimum(q, 1.0), "expected_false": expected}


def _add_rows(scan: Scan, catalogue: Catalogue, grafts: list[Graft], large: list[Region], n_regions: int) -> Catalogue:
    """The catalogue with the grafts' rows, strongest first, and what lies inside them rejected."""
    judged = _judge(scan, catalogue, grafts, n_regions)
    flags = np.array([graft.flags for graft in grafts], dtype=np.int64)
    doubtful = (judged["q_value"] > catalogue.q_threshold) | (judged["expected_false"] > _MOST_FALSE)
    flags[doubtful] |= int(Flag.NOT_SIGNIFICANT)
    flags[np.array([graft.moment_am2 < 0 for graft in grafts], dtype=np.bool_)] |= int(Flag.OPPOSITE_POLARITY)
    accepted = np.array([not rejects(int(bits)) for bits in flags], dtype=np.bool_)
    moment, err = (np.array([getattr(graft, name) for graft in grafts]) for name in ("moment_am2", "moment_am2_err"))
    clusters: dict[str, Any] = {
        "moment_am2": moment,
        "moment_am2_err": err,
        "moment_am2_low": moment - _Z95 * err,
        "moment_am2_high": moment + _Z95 * err,
        **judged,
        "status": np.where(accepted, "accepted", "rejected"),
        "reasons": np.array([flag_names(int(bits), rejecting=True) for bits in flags], dtype=np.str_),
    }
    fits: dict[str, Any] = {
        "chi2_dof": np.array([graft.integral.misfit for graft in grafts]),
        "moment_r2star_am2": np.array([graft.site.moment_r2star_am2 for graft in grafts]),
        "moment_r2star_am2_err": np.array([graft.site.moment_r2star_am2_err for graft in grafts]),
        "window_fraction": np.array([graft.site.window.use.mean() for graft in grafts]),
        "remarks": np.array([flag_names(int(bits), rejecting=False) for bits in flags], dtype=np.str_),
    }
    position, position_err = (
        np.array([getattr(graft, name) for graft in grafts]).reshape(-1, 3)
        for name in ("position_ijk", "position_ijk_err")
    )
    held = [graft.site.region for graft, taken in zip(grafts, accepted, strict=True) if taken]
    middles = np.array([_find_middle(region) for region in large]).reshape(-1, 3)
    rejected = {"status": ["rejected"] * len(large), "reasons": [flag_names(int(Flag.TOO_LARGE))] * len(large)}
    rows = (
        (_reject_inside(catalogue, held, scan.grid.shape), catalogue.fits),
        _place_rows(scan, position, position_err, clusters, fits),
        _place_rows(scan, middles, np.full(middles.shape, np.nan), rejected, {}),
    )
    joined, joined_fits = (_join(tables) for tables in zip(*rows, strict=True))
    order = np.argsort(-joined["score"], kind="stable")
    notes = [
        f"{len(held)} extended graft(s) were measured by the integral of susceptibility; their expected number of "
        f"false ones counts the {n_regions} regions of raised R2* that were looked at."
    ]
    if large:
        notes.append(
            f"{len(large)} region(s) of raised R2* were too large to be measured: their windows have more than "
            f"{_MOST_VOXELS} voxels."
        )
    return dataclasses.replace(
        catalogue,
        clusters=joined.where(order),
        fits=joined_fits.where(order),
        notes=(*catalogue.notes, *notes),
    )


def _place_rows(
    scan: Scan, position_ijk: FloatArray, position_ijk_err: FloatArray, clusters: dict[str, Any], fits: dict[str, Any]
) -> tuple[Table, Table]:
    """The two tables' rows of regions at positions (n, 3), voxels."""
    mm = scan.grid.to_mm(position_ijk)
    mm_err = np.sqrt(position_ijk_err**2 @ scan.grid.affine[:3, :3].T ** 2)
    ids = name_clusters(scan, mm)
    clusters = {"cluster_id": ids, "estimator": np.full(len(mm), GRAFT_ESTIMATOR), **clusters}
    fits = {"cluster_id": ids, **fits}
    for axis, (x, i) in enumerate(zip("xyz", "ijk", strict=True)):
        clusters |= {f"{x}_mm": mm[:, axis], f"{x}_mm_err": mm_err[:, axis]}
        fits[f"{i}_voxel"] = position_ijk[:, axis]
    return Table(CLUSTERS, clusters), Table(FITS, fits)


def _find_middle(region: Region) -> FloatArray:
    """Mean voxel (3,) of a region."""
    return np.asarray(np.argwhere(region.inside).mean(axis=0) + [part.start for part in region.at])


def _reject_inside(catalogue: Catalogue, held: list[Region], shape: tuple[int, ...]) -> Table:
    """The clusters table with every candidate inside one of the accepted regions rejected for it."""
    wide = ndimage.binary_dilation(mark_regions(held, shape), iterations=INSIDE_VOXELS)
    x, y, z = (slice(0, n) for n in shape)
    inside = _are_inside(wide, (x, y, z), catalogue)
    clusters = catalogue.clusters
    return clusters.with_columns(
        reasons=append_flag(clusters["reasons"], inside, Flag.INSIDE_GRAFT),
        status=np.where(inside, "rejected", clusters["status"]),
    )


def _join(tables: tuple[Table, ...]) -> Table:
    names = tables[0].schema.names
    return Table(tables[0].schema, {name: np.concatenate([one[name] for one in tables]) for name in names})
