"""Hot spots of a scan: found, judged, measured; and what any place holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import SidecarError
from ferrosight.numerics.selection import selected_quantiles
from ferrosight.pet.explain import Explained, clip_place, explain_image, is_apart
from ferrosight.pet.fit import Ball, Fit, KnownPlace, fit_ball
from ferrosight.pet.judge import FLOOR, Tail, acceptance_score, fit_tail, q_values
from ferrosight.pet.screen import find_between, interpolate
from ferrosight.pet.suv import compute_suv, correct_decay
from ferrosight.types import PET_CLUSTERS, PET_FORCED, Flag, Table, flag_names, rejects
from ferrosight.types.config import PetConfig
from ferrosight.types.pet import PetCatalogue, PetResponse, PetScan

Array = NDArray[np.float64]
_Z95, _Z95_ONE_SIDED = 1.959963984540054, 1.6448536269514722
#: Candidates within this many point spreads of an explained source are its own residue.
_RESIDUE_FWHM, _DECOY_FWHM = 1.0, 1.5
#: Candidates with fewer false ones expected than this are fitted, not only screened.
_FITTED = 3.0
#: A size is resolved where the squared radius exceeds zero by this many standard deviations.
_RESOLVED = 3.0
#: No place is known better than this, voxel edges.
_EXACT = 1e-3
#: A window less full than this is called partial.
_PARTIAL = 0.95
#: The ball of 1 mL in which a peak is averaged.
_PEAK_RADIUS_MM = (3 * 1000 / (4 * math.pi)) ** (1 / 3)


def find_hot_spots(scan: PetScan, response: PetResponse, config: PetConfig) -> PetCatalogue:
    """Find every hot spot of a scan.

    Frames are averaged over their durations. Positions are RAS+ mm; activities Bq at the scan's start, where the scan
    says what is needed for it (a scan in Bq/mL does), and n/a otherwise, as ``notes`` then say.

    Raises
    ------
    AnalysisError
        Where the image holds no body to measure noise in.
    """
    image, scale, notes = _prepare_image(scan)
    explained = explain_image(image, scan.grid.voxel_mm, response)
    balls, fits, windows = list(explained.balls), list(explained.fits), list(explained.windows)
    widths = np.array(response.fwhm_mm) / scan.grid.voxel_mm
    tail = fit_tail(_list_decoys(explained, widths))
    scores = [explained.score(ball) for ball in balls]
    for peak, score in zip(*find_between(explained.screen.z, explained.noise.body, widths, FLOOR), strict=True):
        if not is_apart(peak, explained.balls, explained.fitters[0], _RESIDUE_FWHM):
            continue
        scores.append(float(score))
        balls.append(Ball(peak, float(interpolate(explained.screen.amplitude_bq, peak[None])[0]), 0.0))
        windows.append(int(explained.screen.choice[tuple(clip_place(peak, explained.screen))]))
        fits.append(None)
    expected = tail.expected_false(np.array(scores))
    for index in range(len(explained.balls), len(balls)):
        if expected[index] <= _FITTED:
            fitter = explained.fitters[windows[index]]
            fits[index] = fit_ball(fitter, balls[index], fitter.list_near(balls[index], explained.balls))
    whole = replace(explained, balls=tuple(balls), fits=tuple(fits), windows=tuple(windows))
    rows = _judge(scan, whole, np.array(scores), expected, tail, config, scale, len(explained.balls))
    notes += _add_peaks(scan, whole, rows)
    order = np.argsort(-np.array(scores), kind="stable")
    return PetCatalogue(
        Table.from_rows(PET_CLUSTERS, [rows[index] for index in order]),
        scan.grid,
        explained.screen.z.astype(np.float32),
        (tail.score_at(1.0), tail.score_at(0.05)),
        tail.n_decoys,
        tuple(notes),
    )


def measure_hot_spots_at(
    scan: PetScan,
    response: PetResponse,
    places_mm: Array,
    config: PetConfig,
    *,
    covariance_mm2: Array | None = None,
) -> Table:
    """What each of ``places_mm`` (n, 3), RAS+ mm, holds, found or not (schema PET_FORCED).

    Activity and size are fitted, beside whatever else is found: a value, or an upper limit. The places are held, or
    known with ``covariance_mm2`` (n, 3, 3), scanner axes: then they are fitted beside what is known of them (the
    largest posterior), and the activity's error has their uncertainty in it.
    """
    image, scale, _ = _prepare_image(scan)
    places = scan.grid.to_ijk(np.reshape(places_mm, (-1, 3)))
    inside = np.atleast_1d(((places > -0.5) & (places < np.array(image.shape) - 0.5)).all(axis=1))
    known = _know_places(scan, places, covariance_mm2)
    explained = explain_image(image, scan.grid.voxel_mm, response, [known[row] for row in np.flatnonzero(inside)])
    numbers = iter(range(int(inside.sum())))
    rows = []
    for place_mm, within in zip(np.reshape(places_mm, (-1, 3)), inside, strict=True):
        row: dict[str, Any] = dict(zip(("x_mm", "y_mm", "z_mm"), map(float, place_mm), strict=True))
        index = next(numbers) if within else -1
        fit = explained.fits[index] if within else None
        if fit is None:
            rows.append({**row, "remarks": flag_names(int(Flag.FIT_FAILED if within else Flag.OUTSIDE))})
            continue
        value, error = fit.ball.activity_bq, _activity_err(explained, index, fit, config)
        rows.append(
            {
                **row,
                "activity_bq": scale * value,
                "activity_bq_err": scale * error,
                "activity_bq_low": scale * (value - _Z95 * error),
                "activity_bq_high": scale * (value + _Z95 * error),
                "upper_limit_bq": scale * max(value + _Z95_ONE_SIDED * error, _Z95_ONE_SIDED * error),
                **_describe_size(fit),
                "background_bq_ml": scale * fit.background_bq_ml,
                "remarks": flag_names(_remarks(explained, index, fit)),
            }
        )
    return Table.from_rows(PET_FORCED, rows)


def _know_places(scan: PetScan, places: Array, covariance_mm2: Array | None) -> list[KnownPlace]:
    """Places (n, 3), voxels, with what is known of each along the array's axes."""
    if covariance_mm2 is None:
        return [KnownPlace(place) for place in places]
    axes = scan.grid.axes
    least = (_EXACT * min(scan.grid.voxel_mm)) ** 2 * np.eye(3)
    turned = axes.T @ np.reshape(covariance_mm2, (-1, 3, 3)) @ axes + least
    return [KnownPlace(place, np.linalg.inv(matrix)) for place, matrix in zip(places, turned, strict=True)]


def _prepare_image(scan: PetScan) -> tuple[Array, float, list[str]]:
    """The frames' mean (x, y, z), what takes its unit to Bq/mL at the scan's start, and notes."""
    weights = scan.frame_duration_s / scan.frame_duration_s.sum()
    image = np.einsum("f,fxyz->xyz", weights, scan.data.astype(np.float64))
    try:
        probe = replace(scan, data=np.ones((len(scan.data), 2, 2, 2), np.float32))
        return image, float(correct_decay(probe, "scan").data.flat[0]), list(scan.notes)
    except SidecarError as error:
        return image, math.nan, [*scan.notes, f"Activities are not known: {error}"]


def _list_decoys(explained: Explained, widths: Array) -> Array:
    """The statistic's minima, turned over, away from what was explained."""
    screen = explained.screen
    places, depths = find_between(-screen.z, explained.noise.body, widths, FLOOR)
    kept = [is_apart(place, explained.balls, explained.fitters[0], _DECOY_FWHM) for place in places]
    return np.asarray(depths[np.array(kept, dtype=np.bool_)])


def _judge(
    scan: PetScan,
    explained: Explained,
    scores: Array,
    expected: Array,
    tail: Tail,
    config: PetConfig,
    scale: float,
    n_strong: int,
) -> list[dict[str, Any]]:
    """A row per candidate, in their order."""
    q = q_values(expected)
    significant = (q <= config.q) & (expected <= config.max_expected_false)
    threshold = acceptance_score(tail, int(significant.sum()), config.q, config.max_expected_false)
    n_places = max(int(explained.noise.body.sum()), 1)
    rows = []
    for index, (ball, fit) in enumerate(zip(explained.balls, explained.fits, strict=True)):
        flags = 0 if significant[index] else int(Flag.NOT_SIGNIFICANT)
        failed = fit is None or not fit.converged
        if failed and (index < n_strong or significant[index]):
            flags |= int(Flag.FIT_FAILED)
        if fit is not None:
            flags |= _remarks(explained, index, fit)
        ijk = ball.ijk if fit is None else fit.ball.ijk
        status = "rejected" if rejects(flags) else "accepted"
        row: dict[str, Any] = dict(zip(("x_mm", "y_mm", "z_mm"), map(float, scan.grid.to_mm(ijk)), strict=True))
        row |= {
            "cluster_id": _name(scan, scan.grid.to_mm(ijk)),
            "score": float(scores[index]),
            "p_value": min(float(expected[index]) / n_places, 1.0),
            "q_value": float(q[index]),
            "expected_false": float(expected[index]),
            "status": status,
            "reasons": flag_names(flags, rejecting=True),
            "remarks": flag_names(flags, rejecting=False),
            "estimator": "point" if fit is None else "ball",
        }
        # A fit that failed has no numbers; what is too weak to be one keeps what the screening saw.
        if not flags & Flag.FIT_FAILED:
            row |= _measure(scan, explained, index, scores[index], threshold, status, config, scale)
        rows.append(row)
    return rows


def _measure(
    scan: PetScan,
    explained: Explained,
    index: int,
    score: float,
    threshold: float,
    status: str,
    config: PetConfig,
    scale: float,
) -> dict[str, Any]:
    """Activity, size and their errors of one candidate."""
    fit = explained.fits[index]
    if fit is None:
        ball = explained.balls[index]
        place = tuple(int(n) for n in np.round(ball.ijk))
        error = float(explained.screen.amplitude_err_bq[place])
        return {"activity_bq": scale * ball.activity_bq, "activity_bq_err": scale * error}
    value, error = fit.ball.activity_bq, _activity_err(explained, index, fit, config)
    low, high = selected_quantiles(
        np.array([value]),
        np.array([error]),
        np.array([score]),
        np.array([threshold if status == "accepted" else math.nan]),
        np.array([-_Z95, _Z95]),
    )[0]
    place_err = np.sqrt(np.diag(scan.grid.axes @ fit.covariance[1:4, 1:4] @ scan.grid.axes.T))
    volume_ml = 4 / 3 * math.pi * fit.ball.radius_mm**3 * 1e-3
    measured: dict[str, Any] = {
        "activity_bq": scale * value,
        "activity_bq_err": scale * error,
        "activity_bq_low": scale * low,
        "activity_bq_high": scale * high,
        **dict(zip(("x_mm_err", "y_mm_err", "z_mm_err"), map(float, place_err), strict=True)),
        **_describe_size(fit),
        "background_bq_ml": scale * fit.background_bq_ml,
    }
    square_err = math.sqrt(fit.covariance[4, 4])
    if fit.ball.square_mm2 > _RESOLVED * square_err:
        # d ln(A s^-3/2) = dA/A - 3/2 ds/s, with what A and s share.
        gradient = np.array([1 / value, -1.5 / fit.ball.square_mm2])
        shared = fit.covariance[np.ix_([0, 4], [0, 4])]
        relative = math.sqrt(max(float(gradient @ shared @ gradient), 0.0) + config.model_rel_err**2)
        measured["concentration_bq_ml"] = scale * value / volume_ml
        measured["concentration_bq_ml_err"] = scale * abs(value) / volume_ml * relative
    return measured


def _activity_err(explained: Explained, index: int, fit: Fit, config: PetConfig) -> float:
    """One standard deviation of an activity: noise, what the surroundings scatter beyond it, and the model's error."""
    return math.hypot(fit.activity_err_bq * explained.scatter(index), config.model_rel_err * fit.ball.activity_bq)


def _describe_size(fit: Fit) -> dict[str, float]:
    square_err = math.sqrt(fit.covariance[4, 4])
    high = max(fit.ball.square_mm2, 0.0) + _Z95_ONE_SIDED * square_err
    return {"radius_mm": fit.ball.radius_mm, "radius_mm_high": math.sqrt(high)}


def _remarks(explained: Explained, index: int, fit: Fit) -> int:
    fitter = explained.fitters[explained.windows[index]]
    flags = 0
    if fit.n_voxels < _PARTIAL * len(fitter.offsets):
        flags |= int(Flag.PARTIAL_WINDOW)
    if fitter.list_near(explained.balls[index], explained.balls):
        flags |= int(Flag.JOINT_FIT)
    return flags


def _add_peaks(scan: PetScan, explained: Explained, rows: list[dict[str, Any]]) -> list[str]:
    """Peak uptake of every row, where the scan allows it; notes where not."""
    try:
        suv = compute_suv(scan)
    except SidecarError as error:
        return [f"Uptake values are not known: {error}"]
    weights = scan.frame_duration_s / scan.frame_duration_s.sum()
    image = np.einsum("f,fxyz->xyz", weights, suv.data.astype(np.float64))
    radius_mm = min(_PEAK_RADIUS_MM, max(explained.fitters[0].response.fwhm_mm))
    for ball, row in zip(explained.balls, rows, strict=True):
        row["suv_peak"] = measure_peak(image, ball.ijk, scan.grid.voxel_mm, radius_mm)
    return []


def measure_peak(image: Array, ijk: Array, voxel_mm: tuple[float, float, float], radius_mm: float) -> float:
    """Largest mean over a ball of ``radius_mm`` whose centre is a voxel within one radius of ``ijk``."""
    reach = [math.ceil(2 * radius_mm / edge) + 1 for edge in voxel_mm]
    middle = np.clip(np.round(ijk).astype(int), 0, np.array(image.shape) - 1)
    low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, image.shape)
    box = image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    centres = np.stack(np.meshgrid(*[np.arange(n) for n in box.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    near = centres[np.linalg.norm((centres + low - ijk) * voxel_mm, axis=1) <= radius_mm]
    if not len(near):
        near = (middle - low)[None]
    values = box.reshape(-1)
    return max(
        float(values[np.linalg.norm((centres - centre) * voxel_mm, axis=1) <= radius_mm].mean()) for centre in near
    )


def _name(scan: PetScan, mm: Array) -> str:
    visit = "_".join(
        f"{key}-{value}" for key, value in (("sub", scan.subject), ("ses", scan.session), ("run", scan.run)) if value
    )
    x, y, z = np.round(mm, 2) + 0.0
    place = f"x{x:+.2f}y{y:+.2f}z{z:+.2f}"
    return f"{visit}_{place}" if visit else place
