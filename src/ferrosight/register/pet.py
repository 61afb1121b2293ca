"""A PET image laid onto the MRI of its visit.

The two show different things, so that nothing but their mutual information can be asked for: how much one brightness
says about the other. SimpleITK finds the way roughly (``coarse``); here it is followed to its end, with the error.

With the joint density p(f, m) of the MRI's and the PET's brightness at places y of the tissue and around it, mutual
information is the mean of log p(f, m)/(p(f) p(m)). The densities' own change with the pose cancels to first order, so
that its gradient is the mean of ψ = ∂/∂m log(p(f, m)/p(m)) · ∂m/∂pose (Wells et al. 1996, Med Image Anal 1:35): an
estimating function like any other, whose root has the sandwich for its covariance (Huber 1967).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.optimize import minimize
from scipy.stats import f as f_distribution

from ferrosight.register.blocks import sum_over_blocks
from ferrosight.register.coarse import find_starts
from ferrosight.register.refine import find_overlap
from ferrosight.register.sampling import SmoothImage, find_usable, read_image, smooth_image
from ferrosight.types import PetPose, PetResponse, Rigid, VisitImage
from ferrosight.types.config import RegisterConfig
from ferrosight.types.transforms import PetPoseSource, place_covariance

FloatArray = NDArray[np.float64]

#: Bins of each brightness, and the Gaussian that smooths the joint histogram, bins.
_BINS, _SMOOTH_BINS = 40, 1.5
#: Brightness beyond these shares of the places counts as that of the last bin: one hot spot must not set the scale.
_LOW, _HIGH = 0.001, 0.995
#: What the PET image is blurred by, in point spreads: enough for its noise not to make ridges of its own.
_BLUR_FWHM = 0.5
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
#: Fewest places, and the most that more of tell nothing new of an image as coarse as PET.
_FEWEST, _MOST = 500, 8_000
#: Least informational correlation that is no accident of two smooth images (an assumption).
_LEAST_SIMILARITY = 0.3
#: An error above this many edges of the coarser voxel is none that helps.
_MOST_ERROR_VOXELS = 1.0
#: The header is believed unless the images contradict it at this level.
_LEVEL = 0.01
#: Error of a header of which nobody knows anything, edges of PET's voxel along each axis (an assumption).
_ASSUMED_VOXELS = 1.0
#: Step with which the curvature is measured, mm that places move.
_STEP_MM = 0.15
#: Starts that are followed to their end, the likeliest first.
_STARTS = 2
#: What the sandwich cannot see, in point spreads along each axis: a contrast that fades smoothly over more than a block
#: moves the outline in one of the images alone. Assumption, of the size that simulations showed.
_MODEL_FWHM = 0.05
#: Brightness beyond this many standard deviations of the rest has no say in the receive profile.
_OUTLIER = 2.5
#: Newton's steps at the end, and the information (nats) that the histogram's own grain may take back in them.
_NEWTON_STEPS, _TOLERANCE = 4, 1e-3
#: Blocks are at least this many point spreads wide: noise and misfit of PET go together over about one.
_BLOCK_FWHM, _BLOCKS = 2.0, 150


@dataclass(frozen=True, eq=False)
class _Pair:
    """The MRI's brightness f (n,), as a bin, at places y (n, 3) about their middle; the PET image; their scale."""

    bins: FloatArray
    y: FloatArray
    middle_mm: FloatArray
    pet: SmoothImage
    low: float
    step: float


def register_pet(mri: VisitImage, pet: VisitImage, response: PetResponse, config: RegisterConfig) -> PetPose:
    """Lay a PET image onto the MRI of its visit, or say why it stays where the headers put it.

    Parameters
    ----------
    mri, pet
        Outlines count: around their masks as far as the point spread reaches.
    response
        PET's point spread, with which the MRI is blurred.
    config
        With ``pet_header_err_mm`` of 0 or more headers are kept and their error is that; the images are asked all the
        same, and what they contradict is said.

    The same bit for bit every time.
    """
    near, far = _widen(_flatten(mri), response), _widen(pet, response)
    overlap = find_overlap(mri, pet, Rigid.identity())
    best: tuple[float, _Pair, Rigid] | None = None
    for start in islice(find_starts(near, far), _STARTS):
        pair = _compare(near, far, response, start, config.max_samples)
        if pair is None:
            continue
        motion, information = _climb(pair, start)
        if best is None or information > best[0]:
            best = information, pair, motion
    if best is None:
        return _keep(pet, mri, config, overlap, "the images share too little tissue to be laid onto each other")
    information, pair, motion = best
    covariance = _spread(pair, motion, response)
    if covariance is None:
        return _keep(pet, mri, config, overlap, "the images are too unlike each other to be laid onto each other")
    overlap = find_overlap(mri, pet, motion)
    return _decide(mri, pet, config, motion.with_covariance(covariance), information, overlap)


def _widen(image: VisitImage, response: PetResponse) -> VisitImage:
    """The same image, its mask grown by what the blurred outline needs; voxels of clusters are left out as before."""
    reach = 1.5 * max(response.fwhm_mm)
    away = np.asarray(distance_transform_edt(~image.mask, sampling=image.grid.voxel_mm))
    # The two outermost voxels of a mask are not looked at.
    grown = away <= reach + 2 * max(image.grid.voxel_mm)
    return VisitImage(image.session, image.magnitude, image.grid, grown, image.excluded, image.b0_direction)


def _flatten(mri: VisitImage) -> VisitImage:
    """The MRI over its receive profile, a polynomial of second order of the brightness's logarithm in the tissue.

    Otherwise one side's tissue would be another tissue than the other's, and the outline move towards one of them.
    """
    tissue = mri.mask & ~mri.excluded & (mri.magnitude > 0)
    where = np.argwhere(tissue)
    where = where[:: max(1, len(where) // _MOST)]
    shape = np.array(mri.grid.shape)

    def build(ijk: FloatArray) -> FloatArray:
        x, y, z = np.moveaxis(2 * ijk / np.maximum(shape - 1, 1) - 1, -1, 0)
        return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=-1)

    values = np.log(mri.magnitude[tuple(where.T)].astype(np.float64))
    design = build(where.astype(np.float64))
    kept = np.ones(len(values), dtype=np.bool_)
    for _ in range(3):
        terms = np.linalg.lstsq(design[kept], values[kept], rcond=None)[0]
        rest = values - design @ terms
        spread = 1.4826 * float(np.median(np.abs(rest[kept])))
        kept = np.abs(rest) <= _OUTLIER * max(spread, 1e-6)
    # Beyond the tissue a polynomial is a guess: it goes no farther than it did there.
    inside = design @ terms
    profile = np.empty(mri.grid.shape)
    for plane in range(mri.grid.shape[2]):
        ijk = np.stack(np.meshgrid(*(np.arange(n) for n in shape[:2]), [plane], indexing="ij"), axis=-1)
        profile[:, :, plane] = (build(ijk.astype(np.float64)) @ terms)[:, :, 0]
    flat = mri.magnitude / np.exp(np.clip(profile, inside.min(), inside.max()))
    return VisitImage(mri.session, flat.astype(np.float32), mri.grid, mri.mask, mri.excluded, mri.b0_direction)


def _compare(mri: VisitImage, pet: VisitImage, response: PetResponse, start: Rigid, most: int) -> _Pair | None:
    """Both images as PET sees them, at places that both show from ``start`` (PET's mm to the MRI's)."""
    usable = find_usable(mri)
    where = np.argwhere(usable)
    if len(where) < _FEWEST:
        return None
    places = mri.grid.to_mm(where[:: max(1, len(where) // min(most, _MOST))])
    widths = np.array(response.fwhm_mm) * _SIGMA_PER_FWHM
    # PET's axes as they lie in the MRI.
    axes = start.rotation @ pet.grid.axes
    seen = axes @ np.diag(widths**2 * (1 + _BLUR_FWHM**2)) @ axes.T
    blurred = smooth_image(mri, usable, seen)
    extra = pet.grid.axes @ np.diag((_BLUR_FWHM * widths) ** 2) @ pet.grid.axes.T
    image = smooth_image(pet, find_usable(pet), extra)
    f, _, is_in = read_image(blurred, places)
    m, _, is_seen = read_image(image, start.inverse().apply(places))
    kept = is_in & is_seen
    if kept.sum() < _FEWEST:
        return None
    f, m, places = f[kept], m[kept], places[kept]
    low, high = np.quantile(m, (_LOW, _HIGH))
    ends = np.quantile(f, (_LOW, _HIGH))
    if not high > low or not ends[1] > ends[0]:
        return None
    bins = np.clip((f - ends[0]) / (ends[1] - ends[0]), 0, 1) * (_BINS - 1)
    middle = places.mean(axis=0)
    return _Pair(bins, places - middle, middle, image, float(low), float(high - low) / (_BINS - 1))


def _read(pair: _Pair, motion: Rigid) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """PET's brightness in bins (n,), its derivative by a small motion (v, ω) of the PET after ``motion``, about the
    places' middle (n, 6), and which places PET shows."""
    back = motion.inverse()
    m, slope, inside = read_image(pair.pet, back.apply(pair.y + pair.middle_mm))
    position = (m - pair.low) / pair.step
    clipped = (position <= 0) | (position >= _BINS - 1)
    # The PET moves on by v + ω × y: the place looks back along that.
    along = -(slope @ back.rotation.T) / pair.step
    derivative = np.concatenate([along, np.cross(pair.y, along)], axis=1)
    derivative[clipped] = 0.0
    return np.clip(position, 0, _BINS - 1), derivative, inside


def _inform(pair: _Pair, motion: Rigid) -> tuple[float, FloatArray, NDArray[np.bool_]]:
    """Mutual information (nats), each place's ψ (n, 6), and which places count."""
    position, derivative, inside = _read(pair, motion)
    if inside.sum() < _FEWEST // 2:
        return 0.0, np.zeros((len(inside), 6)), inside
    f, m = pair.bins[inside], position[inside]
    joint = _count(f, m)
    both = np.maximum(joint, 1e-9)
    by_m, by_f = both.sum(axis=0), both.sum(axis=1)
    information = float((both * np.log(both / (by_f[:, None] * by_m))).sum() / both.sum())
    centres = np.arange(_BINS, dtype=np.float64)
    ratio = RectBivariateSpline(centres, centres, np.log(both / by_m), kx=3, ky=3)
    psi = np.zeros((len(inside), 6))
    psi[inside] = ratio.ev(f, m, dy=1)[:, None] * derivative[inside]
    return information, psi, inside


def _count(f: FloatArray, m: FloatArray) -> FloatArray:
    """The joint density (bin of f, bin of m): linear shares of the two nearest bins of each, smoothed."""
    low_f, low_m = np.minimum(f.astype(np.int64), _BINS - 2), np.minimum(m.astype(np.int64), _BINS - 2)
    share_f, share_m = f - low_f, m - low_m
    table = np.zeros(_BINS * _BINS)
    for df in (0, 1):
        for dm in (0, 1):
            weight = (share_f if df else 1 - share_f) * (share_m if dm else 1 - share_m)
            table += np.bincount((low_f + df) * _BINS + low_m + dm, weight, _BINS * _BINS)
    smooth = gaussian_filter(table.reshape(_BINS, _BINS), _SMOOTH_BINS, mode="nearest")
    return np.asarray(smooth / smooth.sum())


def _move(pair: _Pair, motion: Rigid, twist: FloatArray) -> Rigid:
    """``motion`` and then a small motion (v, ω) about the places' middle."""
    there = Rigid(np.eye(3), pair.middle_mm)
    return there.after(Rigid.from_twist(twist)).after(there.inverse()).after(motion)


def _climb(pair: _Pair, start: Rigid) -> tuple[Rigid, float]:
    """The motion of most information near ``start``, and how much that is."""
    scale = _scale(pair)

    def lose(x: FloatArray) -> tuple[float, FloatArray]:
        motion = _move(pair, start, x * scale)
        information, psi, inside = _inform(pair, motion)
        # ψ is by a motion after this one; near enough by x itself, as small as the whole way is.
        return -information, -psi.sum(axis=0) / max(int(inside.sum()), 1) * scale

    found = minimize(lose, np.zeros(6), jac=True, method="L-BFGS-B", options={"maxiter": 60, "ftol": 1e-9})
    return _settle(pair, _move(pair, start, found.x * scale))


def _settle(pair: _Pair, start: Rigid) -> tuple[Rigid, float]:
    """The root of ψ's mean near ``start``, by Newton's steps, where that holds more information; and how much."""
    scale, motion = _scale(pair), start
    curvature = _curve(pair, motion)
    if _is_top(curvature, scale):
        for _ in range(_NEWTON_STEPS):
            step = np.asarray(-np.linalg.solve(curvature, _gradient(pair, motion)), dtype=np.float64)
            step /= max(1.0, float(np.abs(step / scale).max()))
            motion = _move(pair, motion, step)
    begun, ended = _inform(pair, start)[0], _inform(pair, motion)[0]
    return (motion, ended) if ended >= begun - _TOLERANCE else (start, begun)


def _scale(pair: _Pair) -> FloatArray:
    """What moves places by about 1 mm: mm for shifts, rad for turns."""
    radius = float(np.sqrt((pair.y**2).sum(axis=1).mean()))
    return np.array([1.0, 1.0, 1.0, 1 / radius, 1 / radius, 1 / radius])


def _spread(pair: _Pair, motion: Rigid, response: PetResponse) -> FloatArray | None:
    """Covariance (6, 6) of a small motion after ``motion``, about the MRI's origin: the sandwich over blocks.

    None where ``motion`` is no summit.
    """
    curvature = _curve(pair, motion)
    _, psi, inside = _inform(pair, motion)
    if not _is_top(curvature, _scale(pair)):
        return None
    influence = -np.linalg.solve(curvature, psi[inside].T).T / int(inside.sum())
    volume = float(np.prod(np.ptp(pair.y, axis=0)))
    block = max(_BLOCK_FWHM * max(response.fwhm_mm), float(np.cbrt(volume / _BLOCKS)))
    blocks = sum_over_blocks(influence, pair.y[inside], block)
    own = blocks.T @ blocks
    own[:3, :3] += (_MODEL_FWHM * max(response.fwhm_mm)) ** 2 * np.eye(3)
    shift = Rigid(np.eye(3), pair.middle_mm).adjoint
    return np.asarray(shift @ own @ shift.T)


def _curve(pair: _Pair, motion: Rigid) -> FloatArray:
    """Derivative (6, 6) of ψ's mean by the motion, by central differences."""
    scale = _scale(pair)
    curvature = np.zeros((6, 6))
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = _STEP_MM * scale[axis]
        ahead, behind = (_gradient(pair, _move(pair, motion, sign * step)) for sign in (1, -1))
        curvature[:, axis] = (ahead - behind) / (2 * step[axis])
    return (curvature + curvature.T) / 2


def _is_top(curvature: FloatArray, scale: FloatArray) -> bool:
    """Whether information falls to all sides."""
    return bool((np.linalg.eigvalsh(-curvature * np.outer(scale, scale)) > 0).all())


def _gradient(pair: _Pair, motion: Rigid) -> FloatArray:
    _, psi, inside = _inform(pair, motion)
    return np.asarray(psi.sum(axis=0) / max(int(inside.sum()), 1))


def _decide(
    mri: VisitImage, pet: VisitImage, config: RegisterConfig, found: Rigid, information: float, overlap: float
) -> PetPose:
    """Whose word counts: the images' where they contradict the headers, and know better."""
    similarity = math.sqrt(1 - math.exp(-2 * max(information, 0.0)))
    edge = max(*mri.grid.voxel_mm, *pet.grid.voxel_mm)
    assert found.covariance is not None
    places = found.apply(_list_places(pet))
    error = _measure_error(found.covariance, places)
    shift = float(np.sqrt(((places - _list_places(pet)) ** 2).sum(axis=1).mean()))
    if overlap < config.least_overlap:
        return _keep(pet, mri, config, overlap, "the images share too little tissue to be laid onto each other")
    if not error <= _MOST_ERROR_VOXELS * edge or similarity < _LEAST_SIMILARITY:
        return _keep(pet, mri, config, overlap, "the images are too unlike each other to be laid onto each other")
    if config.pet_header_err_mm >= 0:
        return _state(config, pet, overlap, similarity, shift, error)
    twist = found.twist()
    distance = float(twist @ np.linalg.solve(found.covariance, twist)) / 6
    # The covariance is known from so many blocks only.
    if f_distribution.sf(distance, 6, _BLOCKS / 2) > _LEVEL:
        header = Rigid.identity().with_covariance(found.covariance)
        said = (
            f"The images of PET and MRI agree with their headers (within {shift:.2f} mm, known to {error:.2f} mm), "
            "which are kept."
        )
        return PetPose(header, "header", overlap, similarity, shift, error, said)
    said = f"PET was registered to MRI by mutual information: moved by {shift:.2f} mm, known to {error:.2f} mm."
    return PetPose(found, "images", overlap, similarity, shift, error, said)


def _state(
    config: RegisterConfig, pet: VisitImage, overlap: float, similarity: float, shift: float, error: float
) -> PetPose:
    """The headers as they are stated to agree; what the images say against it is said."""
    own = _header_covariance(config.pet_header_err_mm)
    stated = _measure_error(own, _list_places(pet))
    said = f"PET and MRI lie as their headers say, to {config.pet_header_err_mm:g} mm along each axis as stated."
    if shift > 3 * math.hypot(stated, error):
        said += f" The images contradict that: they lie {shift:.2f} mm apart, known to {error:.2f} mm."
    header = Rigid.identity().with_covariance(own)
    return PetPose(header, "header", overlap, similarity, shift, stated, said)


def _keep(pet: VisitImage, mri: VisitImage, config: RegisterConfig, overlap: float, why: str) -> PetPose:
    """The headers, as nothing better is known."""
    source: PetPoseSource
    if config.pet_header_err_mm >= 0:
        source, own = "header", config.pet_header_err_mm
        said = f"PET and MRI lie as their headers say, to {own:g} mm along each axis as stated; {why}."
    else:
        source, own = "assumed", _ASSUMED_VOXELS * max(*pet.grid.voxel_mm, *mri.grid.voxel_mm)
        said = (
            f"PET and MRI are taken to lie as their headers say, to {own:.2f} mm along each axis, which is an "
            f"assumption: {why}; where it is known, state register.pet_header_err_mm."
        )
    header = Rigid.identity().with_covariance(_header_covariance(own))
    error = _measure_error(_header_covariance(own), _list_places(pet))
    return PetPose(header, source, overlap, math.nan, math.nan, error, said)


def _header_covariance(err_mm: float) -> FloatArray:
    """Covariance (6, 6) of shifts alone, the same everywhere."""
    return np.diag([err_mm**2] * 3 + [0.0] * 3)


def _measure_error(covariance: FloatArray, places_mm: FloatArray) -> float:
    """RMS error of places (n, 3)."""
    return float(np.sqrt(np.trace(place_covariance(covariance, places_mm), axis1=1, axis2=2).mean()))


def _list_places(pet: VisitImage) -> FloatArray:
    """Places (n, 3), RAS+ mm, of PET's tissue."""
    ijk = np.argwhere(pet.mask)
    return pet.grid.to_mm(ijk[:: max(1, len(ijk) // 2000)])
