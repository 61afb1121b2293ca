"""The outline of the body that holds a group of particles: a lysosome, or where these are not resolved the cell.

Around a group's middle the image is sampled in polar coordinates; the outline is the closed path, one radius per
angle, that follows the most of membrane (a dark line) and of step in brightness, outside the group's particles. It is
found by dynamic programming. What this takes for granted: the body is seen whole from its middle (star-shaped).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.uptake.density import Density

#: Outlines are sought at this resolution, or the image's own where that is coarser; lengths below are in this unit.
_UNIT_NM = 2.5
#: A membrane's width, what a step's sides are averaged over, and the smoothing before both, in units.
_MEMBRANE, _STEP, _SMOOTHING = 2.0, 5.6, 1.2
_STEP_WEIGHT = 0.5
_N_ANGLES = 240
_MOST_RADIUS = 520
_MOST_CHANGE = 3  # of radius between neighbouring angles
_BEND_COST = 0.3
_OUTSIDE_SCORE, _CROSSING_COST = -1.0, 4.0
_RECENTRINGS = 3
#: Gaps (nm) over which particles are taken for one body's, tried from the widest.
_GAPS_NM = (240.0, 120.0, 60.0, 30.0, 15.0)
#: A wider gap is taken unless its outline is worse than the best by more than this share.
_TOLERANCE = 0.15
_MOST_OUTSIDE = 0.02
#: A membrane around the outline, at least this many units outside of it all the way, is the body's own where it has
#: the same evidence, to within this share of it, and a rival where it has nearly as much.
_APART, _SAME, _NEARLY = 12, 0.97, 0.9
#: A further body holds at least this share of the particles' area of the first.
_LEAST_SHARE = 0.1
_MOST_BODIES = 20


@dataclass(frozen=True)
class Outline:
    """One body. ``inside`` is (row, column) on the density's grid; ``vertices`` (n, 2) row and column there.

    ``area_err_nm2`` is the spread of the areas that other weightings of the same evidence give, ``strength`` the mean
    evidence along the outline in robust standard deviations, ``outside`` the share of it beyond the image's edge.
    ``rival`` is the largest relative difference of area to any closed line that is as good an outline: under another
    weighting, or with or without a few particles near by.
    """

    inside: NDArray[np.bool_]
    vertices: NDArray[np.float64]
    area_nm2: float
    area_err_nm2: float
    strength: float
    outside: float
    rival: float = 0.0


@dataclass(frozen=True)
class _Scene:
    """The image in units, with particles painted over, and the particles; ``unit`` is nm, ``scale`` units a pixel."""

    image: NDArray[np.float64]
    particles: NDArray[np.bool_]
    unit_nm: float
    scale: float


@dataclass(frozen=True)
class _Weights:
    smoothing: float = _SMOOTHING
    step: float = _STEP_WEIGHT
    bend: float = _BEND_COST


#: Other weightings of the same evidence, whose areas say how sure an outline is.
_VARIANTS = (_Weights(smoothing=2.0), _Weights(step=0.0), _Weights(step=1.0), _Weights(bend=0.15), _Weights(bend=0.6))


@dataclass(frozen=True)
class _Path:
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    inside: NDArray[np.bool_]
    strength: float
    outside: float


def find_outlines(density: Density, covered: NDArray[np.bool_], dark: NDArray[np.bool_]) -> tuple[Outline, ...]:
    """Outlines of the bodies that hold the particles of ``covered``, from the one with the most particles down.

    ``dark`` (row, column) is what is painted over before membranes are sought. Particles that touch the image's edge
    belong to a body that is cut, and have no outline. None is returned where there are no others.
    """
    scene = _prepare_scene(density, covered, dark)
    left = scene.particles.copy()
    found: list[Outline] = []
    most = 0.0
    while len(found) < _MOST_BODIES:
        candidates = _find_candidates(scene, left)
        if not candidates:
            break
        path = candidates[0]
        amount = float((path.inside & left).sum())
        if amount < _LEAST_SHARE * most:
            break
        most = max(most, amount)
        found.append(_describe(scene, density, left, candidates))
        left &= ~path.inside
    return tuple(found)


def trace_rim(inside: NDArray[np.bool_], density: Density) -> Outline:
    """The outline of a body that a person drew (row, column); its area has no error."""
    from skimage.measure import find_contours

    rims = find_contours(np.pad(inside.astype(np.float64), 1), 0.5)
    longest = max(rims, key=len) - 1
    edges = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    outside = float(edges.sum()) / len(longest)
    return Outline(inside, longest, float(inside.sum()) * density.nm_per_pixel**2, math.nan, math.nan, outside)


def fill_outline(rows: NDArray[np.float64], columns: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """What lies inside a closed polygon (row, column)."""
    from skimage.draw import polygon

    inside = np.zeros(shape, bool)
    inside[polygon(rows, columns, shape)] = True
    return inside


def _prepare_scene(density: Density, covered: NDArray[np.bool_], dark: NDArray[np.bool_]) -> _Scene:
    from skimage.transform import resize

    nm = density.nm_per_pixel
    painted = ndimage.binary_dilation(dark, iterations=2) | density.hidden
    weight = (~painted).astype(np.float64)
    light = density.light.astype(np.float64) * weight
    near, far = 6.0 / nm, 30.0 / nm
    # Far inside a mass of particles nothing else is seen, and the ground stands in.
    wide = ndimage.gaussian_filter(light, far) + 0.01 * density.ground
    wide /= ndimage.gaussian_filter(weight, far) + 0.01
    filled = ndimage.gaussian_filter(light, near) + 0.02 * wide
    filled /= ndimage.gaussian_filter(weight, near) + 0.02
    clean = np.where(painted, filled, density.light)
    scale = min(1.0, nm / _UNIT_NM)
    shape = tuple(max(2, round(n * scale)) for n in clean.shape)
    image = resize(clean, shape, order=1, anti_aliasing=True)
    particles = resize(covered.astype(np.float64), shape, order=1, anti_aliasing=True) > 0.5
    return _Scene(image, particles, nm / scale, scale)


def _find_candidates(scene: _Scene, left: NDArray[np.bool_]) -> list[_Path]:
    """Outlines of the largest group, the best first; the others hold nearly the same particles and are nearly as good.

    The group is that of the widest gap that does not make the outline worse. Particles at its rim that are too few to
    be a body do not decide: with or without them, whichever outline has more evidence is taken. Where another membrane
    as good lies around that, the outer one is the body's.
    """
    paths: list[_Path] = []
    groups: list[NDArray[np.bool_]] = []
    for gap in _GAPS_NM:
        group = _largest_group(left, max(1.0, gap / 2 / scene.unit_nm))
        if group is None or any(np.array_equal(group, other) for other in groups):
            continue
        groups.append(group)
        paths.append(_trace(scene, group, _Weights()))
    usable = [path for path in paths if path.outside <= _MOST_OUTSIDE] or paths
    if not usable:
        return []
    best = max(path.strength for path in usable)
    good = [path for path in usable if path.strength >= best - _TOLERANCE * abs(best)]
    amounts = [int((path.inside & left).sum()) for path in good]
    alike = [path for path, amount in zip(good, amounts, strict=True) if amount >= (1 - _LEAST_SHARE) * amounts[0]]
    alike.sort(key=lambda path: -path.strength)
    outer = _trace_outer(scene, left & alike[0].inside, alike[0])
    if outer.outside > _MOST_OUTSIDE or outer.strength < _NEARLY * alike[0].strength:
        return alike
    return [outer, *alike] if outer.strength >= _SAME * alike[0].strength else [*alike, outer]


def _largest_group(particles: NDArray[np.bool_], reach: float) -> NDArray[np.bool_] | None:
    """The particles of the largest group that does not touch the edge."""
    if not particles.any():
        return None
    labels, n = ndimage.label(ndimage.distance_transform_edt(~particles) <= reach)
    sizes = ndimage.sum_labels(particles, labels, np.arange(1, n + 1))
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        cut = np.unique((labels * particles)[edge])
        sizes[cut[cut > 0] - 1] = 0
    if not sizes.max() > 0:
        return None
    return np.asarray(particles & (labels == 1 + int(sizes.argmax())), dtype=bool)


def _describe(scene: _Scene, density: Density, left: NDArray[np.bool_], candidates: list[_Path]) -> Outline:
    from skimage.transform import resize

    path, *others = candidates
    held = left & path.inside
    areas = [float(_trace(scene, held, weights).inside.sum()) for weights in _VARIANTS]
    area = float(path.inside.sum())
    error = math.sqrt(float(np.mean((np.array(areas) - area) ** 2)))
    inside = resize(path.inside.astype(np.float64), density.light.shape, order=1) > 0.5
    vertices = np.column_stack([path.rows, path.columns]) / scene.scale
    unit2 = scene.unit_nm**2
    rival = max(abs(other / area - 1) for other in (*areas, *(float(one.inside.sum()) for one in others)))
    return Outline(inside, vertices, area * unit2, error * unit2, path.strength, path.outside, rival)


def _trace(scene: _Scene, group: NDArray[np.bool_], weights: _Weights) -> _Path:
    from skimage.morphology import convex_hull_image

    centre = np.array(ndimage.center_of_mass(convex_hull_image(group)))
    path = _trace_from(scene, group, centre, weights)
    for _ in range(_RECENTRINGS - 1):
        centre = 0.5 * (centre + np.array(ndimage.center_of_mass(path.inside)))
        path = _trace_from(scene, group, centre, weights)
    return path


def _trace_from(
    scene: _Scene,
    group: NDArray[np.bool_],
    centre: NDArray[np.float64],
    weights: _Weights,
    beyond: NDArray[np.float64] | None = None,
) -> _Path:
    """The best path round ``centre``; ``beyond`` a radius at each angle, where that is given."""
    image = scene.image
    angles = np.arange(_N_ANGLES) * 2 * math.pi / _N_ANGLES
    n_radii = min(_MOST_RADIUS, math.ceil(math.hypot(*image.shape)))
    radii = np.arange(n_radii)
    rows = centre[0] + np.sin(angles)[:, None] * radii
    columns = centre[1] + np.cos(angles)[:, None] * radii
    score = _score_edges(ndimage.gaussian_filter(image, weights.smoothing), rows, columns, weights)
    outside = (rows < 0) | (columns < 0) | (rows >= image.shape[0] - 1) | (columns >= image.shape[1] - 1)
    score = np.where(outside, _OUTSIDE_SCORE, score)
    score -= _CROSSING_COST * (_sample(scene.particles.astype(np.float64), rows, columns) > 0.5)
    held = _sample(group.astype(np.float64), rows, columns) > 0.5
    last = np.where(held.any(axis=1), n_radii - 1 - held[:, ::-1].argmax(axis=1), 0)
    score[radii < np.maximum(last, 3)[:, None]] = -1e3
    if beyond is not None:
        score = np.where(radii < beyond[:, None] + _APART, -1e3, score)
    path = _find_closed_path(score, weights.bend)
    at = np.arange(_N_ANGLES)
    path_rows, path_columns = centre[0] + np.sin(angles) * path, centre[1] + np.cos(angles) * path
    lengths = np.hypot(np.roll(path_rows, -1) - path_rows, np.roll(path_columns, -1) - path_columns) + 1e-9
    shape = (image.shape[0], image.shape[1])
    return _Path(
        path_rows,
        path_columns,
        fill_outline(path_rows, path_columns, shape) | group,
        float(np.average(score[at, path], weights=lengths)),
        float(np.average(outside[at, path], weights=lengths)),
    )


def _trace_outer(scene: _Scene, group: NDArray[np.bool_], path: _Path) -> _Path:
    """The best path that lies outside of ``path`` all the way."""
    centre = np.array(ndimage.center_of_mass(path.inside))
    angles = np.arctan2(path.rows - centre[0], path.columns - centre[1])
    order = np.argsort(angles)
    radii = np.hypot(path.rows - centre[0], path.columns - centre[1])[order]
    wanted = np.arange(_N_ANGLES) * 2 * math.pi / _N_ANGLES
    beyond = np.interp(wanted, angles[order], radii, period=2 * math.pi)
    return _trace_from(scene, group, centre, _Weights(), beyond)


def _score_edges(
    image: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64], weights: _Weights
) -> NDArray[np.float64]:
    """Evidence (angle, radius) for a dark line across the radius and for a step of either sign."""
    polar = ndimage.gaussian_filter1d(_sample(image, rows, columns), 1.5, axis=0, mode="wrap")
    line = ndimage.gaussian_filter1d(polar, _MEMBRANE, axis=1, order=2)
    step = ndimage.gaussian_filter1d(polar, _STEP, axis=1, order=1)
    return np.clip(_standardise(line), -1, 4) + weights.step * np.clip(np.abs(_standardise(step)), 0, 4)


def _standardise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / (1.4826 * float(np.median(np.abs(values))) + 1e-12)


def _sample(image: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return ndimage.map_coordinates(image, [rows, columns], order=1, mode="nearest")


def _find_closed_path(score: NDArray[np.float64], bend: float) -> NDArray[np.intp]:
    """The radius at each angle with the greatest sum of ``score`` (angle, radius), less what changes of radius cost.

    Two turns are run through and the middle one kept, so that the ends meet.
    """
    n_angles, n_radii = score.shape
    twice = np.concatenate([score, score])
    changes = np.arange(-_MOST_CHANGE, _MOST_CHANGE + 1)
    best = twice[0].copy()
    back = np.zeros((2 * n_angles, n_radii), np.intp)
    for angle in range(1, 2 * n_angles):
        options = np.full((len(changes), n_radii), -1e12)
        for number, change in enumerate(changes):
            source = slice(max(0, change), n_radii + min(0, change))
            target = slice(max(0, -change), n_radii + min(0, -change))
            options[number, target] = best[source] - bend * abs(change)
        choice = options.argmax(axis=0)
        best = options[choice, np.arange(n_radii)] + twice[angle]
        back[angle] = changes[choice]
    path = np.zeros(2 * n_angles, np.intp)
    path[-1] = best.argmax()
    for angle in range(2 * n_angles - 1, 0, -1):
        path[angle - 1] = path[angle] + back[angle, path[angle]]
    half = n_angles // 2
    return np.concatenate([path[n_angles : n_angles + half], path[half:n_angles]])
