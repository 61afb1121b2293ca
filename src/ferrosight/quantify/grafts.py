"""Extended grafts: clusters that are no points, with rows of their own in the catalogue.

A region is extended where R2* is raised (or signal lost) over more than about three voxels and no point of the
catalogue explains what is seen there. The region comes from the magnitude alone and the evidence from the field alone:
with no susceptibility in it, the estimate of its moment is a sum over the field of tissue, whose error is known.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from ferrosight.physics.constants import CHI_AIR, CHI_WATER, GAMMA_HZ_PER_T, GAMMA_RAD_PER_S_T, MU0
from ferrosight.physics.dipole import harmonic_pattern
from ferrosight.physics.relaxation import STATIC_DEPHASING_FACTOR
from ferrosight.quantify.inversion import Integral, Window, integrate_susceptibility
from ferrosight.quantify.regions import find_regions, find_voids
from ferrosight.quantify.texture import Texture, measure_texture
from ferrosight.types.catalogue import GRAFT_ESTIMATOR, Catalogue, name_clusters
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.field import FieldMap
from ferrosight.types.flags import Flag, flag_names, rejects
from ferrosight.types.scan import Scan
from ferrosight.types.schema import CLUSTERS, FITS
from ferrosight.types.table import Table

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: A point that explains this share of its window makes a region a point's void.
_POINT_EXPLAINS = 0.9
#: The region is taken this much wider than seen, voxels; points within so many more are parts of the graft.
_GROWN, _NEAR = 1, 2
#: The window reaches so many of the region's widths beyond it, in voxels between these.
_MARGIN, _LEAST_MARGIN, _MOST_MARGIN = 0.9, 5, 10
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
class Graft:
    """One region and what was measured of it; moments in A m², of iron's polarity; ``flags`` from the registry."""

    region: Mask
    window: tuple[slice, slice, slice]
    integral: Integral
    moment_am2: float
    moment_am2_err: float
    noise_am2_err: float
    moment_r2star_am2: float
    moment_r2star_am2_err: float
    position_ijk: FloatArray
    position_ijk_err: FloatArray
    used_share: float
    flags: int


def measure_grafts(scan: Scan, field_map: FieldMap, catalogue: Catalogue, config: QuantifyConfig) -> Catalogue:
    """The catalogue with a row for every extended graft; the same catalogue where there is none.

    Its score is the moment over the error that it would have with no graft there, its p-value that of Student's t with
    the texture's degrees of freedom, ``expected_false`` the p-value times the number of regions looked at, and q
    Benjamini and Hochberg's among them. Point candidates inside an accepted graft are rejected (``inside_graft``).
    """
    regions = find_regions(scan, field_map, config.least_graft_voxels)
    extended = [region for region in regions if not _is_point(region, catalogue)]
    if not extended:
        return catalogue
    beside = field_map.mask.copy()
    for region in regions:
        beside &= ~ndimage.binary_dilation(region, iterations=_BESIDE)
    grafts: list[Graft] = []
    for _ in range(_TURNS):
        # The grafts' own far fields are no texture, and each stands in its neighbours' windows.
        fields = [_graft_field(scan, graft) for graft in grafts]
        total = np.sum(fields, axis=0) if fields else np.zeros(scan.grid.shape)
        texture = measure_texture(scan, _take_off(field_map, total), beside)
        grafts = [
            _measure_one(
                scan,
                _take_off(field_map, total - fields[number] if fields else total),
                catalogue,
                region,
                texture,
                _others(regions, region),
            )
            for number, region in enumerate(extended)
        ]
    return _add_rows(scan, field_map, catalogue, grafts, len(regions))


def _is_point(region: Mask, catalogue: Catalogue) -> bool:
    """Whether a point inside explains what is seen there."""
    explains = catalogue.fits["explained_share"] >= _POINT_EXPLAINS
    return bool((explains & _are_inside(ndimage.binary_dilation(region, iterations=_GROWN), catalogue)).any())


def _are_inside(region: Mask, catalogue: Catalogue) -> Mask:
    """Whether each candidate's nearest voxel is in a region."""
    ijk = np.stack([catalogue.fits[f"{axis}_voxel"] for axis in "ijk"], axis=1)
    nearest = np.round(np.nan_to_num(ijk, nan=-1.0)).astype(np.int64)
    within = ((nearest >= 0) & (nearest < region.shape)).all(axis=1)
    nearest = np.clip(nearest, 0, np.array(region.shape) - 1)
    return np.asarray(within & region[tuple(nearest.T)], dtype=np.bool_)


def _others(regions: list[Mask], region: Mask) -> Mask:
    """All regions but one, and a voxel around them, less that one's own surroundings."""
    others = np.zeros(region.shape, np.bool_)
    for other in regions:
        if other is not region:
            others |= ndimage.binary_dilation(other)
    return np.asarray(others & ~ndimage.binary_dilation(region, iterations=_GROWN), dtype=np.bool_)


def _take_off(field_map: FieldMap, field_hz: FloatArray) -> FieldMap:
    return dataclasses.replace(field_map, field_hz=(field_map.field_hz - field_hz).astype(np.float32))


def _measure_one(
    scan: Scan, field_map: FieldMap, catalogue: Catalogue, region: Mask, texture: Texture, others: Mask
) -> Graft:
    """One graft; voxels of ``others`` do not count."""
    voids = find_voids(scan, field_map)
    at, window = _cut_window(scan, field_map, region, others)
    integral = integrate_susceptibility(window, texture)
    sign = 1.0
    if not scan.phase_sign:
        sign = float(catalogue.phase_sign) or float(np.sign(integral.value))
    per_hz_m3 = 1 / (GAMMA_HZ_PER_T * MU0)
    moment = sign * integral.value * per_hz_m3
    r2star, r2star_err = _read_r2star(field_map, region, at, voids, scan.grid.voxel_volume_m3)
    low = np.array([part.start for part in at])
    flags = _flag(scan, moment, region, voids & region)
    if not scan.phase_sign and not catalogue.phase_sign:
        flags |= int(Flag.SIGN_UNKNOWN)
    return Graft(
        region,
        at,
        integral,
        moment,
        integral.err * per_hz_m3,
        integral.noise_err * per_hz_m3,
        r2star,
        r2star_err,
        integral.centroid + low,
        integral.centroid_err,
        float(window.use.mean()),
        flags,
    )


def _cut_window(
    scan: Scan, field_map: FieldMap, region: Mask, others: Mask
) -> tuple[tuple[slice, slice, slice], Window]:
    """Where the window lies, and what of the scan is in it."""
    places = np.argwhere(region)
    width = float(np.cbrt(6 * len(places) / np.pi))
    margin = int(np.clip(np.ceil(_MARGIN * width), _LEAST_MARGIN, _MOST_MARGIN))
    low = np.maximum(places.min(axis=0) - margin, 0)
    high = np.minimum(places.max(axis=0) + margin + 1, region.shape)
    at = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    magnitude = np.abs(scan.signal[(0, *at)]).astype(np.float64)
    around = ndimage.percentile_filter(magnitude, 80, size=5)
    times = scan.echo_times_s
    gap = float(np.diff(times).min()) if len(times) > 1 else float(times[0])
    field, err = (image[at].astype(np.float64) for image in (field_map.field_hz, field_map.field_hz_err))
    use = field_map.mask[at] & ~others[at] & np.isfinite(field) & np.isfinite(err)
    return at, Window(
        field_hz=np.where(use, field, 0.0),
        err_hz=np.where(use, err, 1.0),
        use=use,
        region=ndimage.binary_dilation(region, iterations=_GROWN)[at] & field_map.mask[at],
        brightness=magnitude / np.maximum(around, 1e-12 * magnitude.max()),
        alias_hz=1 / gap,
        time_s=float(times[0]) + (gap if len(times) > 1 else 0.0),
        voxel_m=np.array(scan.grid.voxel_mm) * 1e-3,
        b0_in_array=scan.b0_in_array,
    )


def _read_r2star(
    field_map: FieldMap, region: Mask, at: tuple[slice, slice, slice], voids: Mask, voxel_m3: float
) -> tuple[float, float]:
    """Moment that static dephasing needs for the region's R2*, and its error; NaN where most of it is void.

    R2' = 0.403 γ μ0 M̄ (``physics.relaxation``). Voids count as the rest of the region, which is too little.
    """
    inside, usable = region[at], field_map.mask[at] & ~voids[at]
    rate, err = field_map.r2star_per_s[at].astype(np.float64), field_map.r2star_per_s_err[at].astype(np.float64)
    known = inside & usable & np.isfinite(rate) & np.isfinite(err)
    other = usable & ~ndimage.binary_dilation(inside, iterations=_NEAR) & np.isfinite(rate)
    if 2 * np.count_nonzero(known) < np.count_nonzero(inside) or not other.any():
        return float("nan"), float("nan")
    n = np.count_nonzero(inside)
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
    field[graft.window] = graft.integral.model_hz
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


def _add_rows(scan: Scan, field_map: FieldMap, catalogue: Catalogue, grafts: list[Graft], n_regions: int) -> Catalogue:
    """The catalogue with the grafts' rows, strongest first, and what lies inside them rejected."""
    judged = _judge(scan, catalogue, grafts, n_regions)
    flags = np.array([graft.flags for graft in grafts])
    doubtful = (judged["q_value"] > catalogue.q_threshold) | (judged["expected_false"] > _MOST_FALSE)
    flags[doubtful] |= int(Flag.NOT_SIGNIFICANT)
    flags[np.array([graft.moment_am2 < 0 for graft in grafts])] |= int(Flag.OPPOSITE_POLARITY)
    accepted = np.array([not rejects(int(bits)) for bits in flags])
    position = np.array([graft.position_ijk for graft in grafts])
    mm = scan.grid.to_mm(position)
    mm_err = np.sqrt(np.array([graft.position_ijk_err for graft in grafts]) ** 2 @ scan.grid.affine[:3, :3].T ** 2)
    moment, err = (np.array([getattr(graft, name) for graft in grafts]) for name in ("moment_am2", "moment_am2_err"))
    ids = name_clusters(scan, mm)
    clusters: dict[str, Any] = {
        "cluster_id": ids,
        "moment_am2": moment,
        "moment_am2_err": err,
        "moment_am2_low": moment - _Z95 * err,
        "moment_am2_high": moment + _Z95 * err,
        **judged,
        "status": np.where(accepted, "accepted", "rejected"),
        "reasons": np.array([flag_names(int(bits), rejecting=True) for bits in flags], dtype=np.str_),
        "estimator": np.full(len(grafts), GRAFT_ESTIMATOR),
    }
    fits: dict[str, Any] = {
        "cluster_id": ids,
        "chi2_dof": np.array([graft.integral.misfit for graft in grafts]),
        "moment_r2star_am2": np.array([graft.moment_r2star_am2 for graft in grafts]),
        "moment_r2star_am2_err": np.array([graft.moment_r2star_am2_err for graft in grafts]),
        "window_fraction": np.array([graft.used_share for graft in grafts]),
        "remarks": np.array([flag_names(int(bits), rejecting=False) for bits in flags], dtype=np.str_),
    }
    for axis, (x, i) in enumerate(zip("xyz", "ijk", strict=True)):
        clusters |= {f"{x}_mm": mm[:, axis], f"{x}_mm_err": mm_err[:, axis]}
        fits[f"{i}_voxel"] = position[:, axis]
    held = [graft for graft, taken in zip(grafts, accepted, strict=True) if taken]
    points = _reject_inside(catalogue, held, field_map)
    joined = _join(points, Table(CLUSTERS, clusters))
    order = np.argsort(-joined["score"], kind="stable")
    note = (
        f"{len(held)} extended graft(s) were measured by the integral of susceptibility; their expected number of "
        f"false ones counts the {n_regions} regions of raised R2* that were looked at."
    )
    return dataclasses.replace(
        catalogue,
        clusters=joined.where(order),
        fits=_join(catalogue.fits, Table(FITS, fits)).where(order),
        notes=(*catalogue.notes, note),
    )


def _reject_inside(catalogue: Catalogue, grafts: list[Graft], field_map: FieldMap) -> Table:
    """The clusters table with every candidate inside one of the ``grafts`` rejected for it."""
    held = np.zeros(field_map.mask.shape, np.bool_)
    for graft in grafts:
        held |= ndimage.binary_dilation(graft.region, iterations=_GROWN + _NEAR)
    inside = _are_inside(held, catalogue)
    name = flag_names(int(Flag.INSIDE_GRAFT))
    before = catalogue.clusters["reasons"]
    named = np.array([f"{reasons};{name}" if reasons else name for reasons in before.tolist()], dtype=np.str_)
    status = np.where(inside, "rejected", catalogue.clusters["status"])
    return catalogue.clusters.with_columns(reasons=np.where(inside, named, before), status=status)


def _join(one: Table, other: Table) -> Table:
    return Table(one.schema, {name: np.concatenate([one[name], other[name]]) for name in one.schema.names})
