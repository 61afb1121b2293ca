"""How many particles there are, from how much light they take together.

A particle that stands apart is counted as one. Where several touch or lie over one another, the density (Beer and
Lambert) summed over them is divided by that of a single one: overlap then costs nothing, as long as light is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.uptake.density import Density
from ferrosight.uptake.particles import Singles

#: A particle's blurred rim reaches this share of its diameter beyond where it is half as dense.
_RIM = 0.7
#: Around what is dark, this many diameters wide, lies the ground that a body's density is measured from.
_RING = 3.0
#: Bodies of less than this share of a single's density are dirt or tissue; beyond this multiple nothing is single.
_DIRT, _MOST_SHARE = 0.3, 2.75
#: Two particles nearer than this, in diameters, look like one.
_PAIR_REACH = 0.4
_CALIBRATIONS = 5
FEWEST_SINGLES = 20
#: Counting is refused where the density of singles varies by more than this, of its mean.
_MOST_SPREAD = 0.36
#: ... where more than this share of the dark pixels is within three levels of 255 of black,
_MOST_SATURATED = 0.03
_BLACK = 3 / 255
#: ... and where summed density exceeds this many layers: particles' area over the area that they lie in.
_MOST_LAYERS = 1.5
#: Densities of bodies that lie over one another add up to within this, of their sum (an assumption; scattering is not
#: all absorption, and blur is of light and not of density).
_ADDITIVITY_ERR = 0.03
#: What is dirt, one particle or two is told apart to within this, of the number: in 600 sparse synthetic micrographs
#: numbers were 0.8 to 1.3 % too high on average and scattered by more than the other terms say.
_TELLING_ERR = 0.02


@dataclass(frozen=True)
class Counts:
    """Particles per pixel, to be summed over any region that cuts none, and what the number's error is made of.

    ``weights`` (row, column) sums to numbers of particles; ``clumped`` is the part of it that comes from division by
    the density of a single one, ``doubt`` the variance from bodies that may be one or two. ``spread`` is the standard
    deviation of single particles' density over its mean, ``n_singles`` how many of equal weight that rests on.
    ``refusal`` names why nothing is counted; "" where it is.
    """

    weights: NDArray[np.float32]
    clumped: NDArray[np.float32]
    doubt: NDArray[np.float32]
    spread: float
    n_singles: float
    refusal: str

    def sum_over(self, region: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Number of particles in ``region`` (row, column), and its 95 % interval; NaN where counting is refused."""
        if self.refusal:
            return math.nan, math.nan, math.nan
        number, clumped = float(self.weights[region].sum()), float(self.clumped[region].sum())
        variance = self.spread**2 * (clumped + clumped**2 / max(self.n_singles, 1.0))
        variance += (_ADDITIVITY_ERR * clumped) ** 2 + (_TELLING_ERR * number) ** 2 + float(self.doubt[region].sum())
        half = 1.96 * math.sqrt(variance)
        return number, max(0.0, number - half), number + half


def count_particles(density: Density, singles: Singles) -> Counts:
    """Particles everywhere in the image; refused as a whole where single ones do not carry the count."""
    shape = density.density.shape
    nothing = np.zeros(shape, np.float32)
    if singles.diameter_nm < 4 * density.nm_per_pixel:
        return Counts(nothing, nothing, nothing, math.nan, 0, "particles_unresolved")
    if singles.n < FEWEST_SINGLES:
        return Counts(nothing, nothing, nothing, math.nan, singles.n, "count_no_singles")
    dark = (density.density > singles.threshold) & ~density.hidden
    dark_light = density.light[dark]
    if float((dark_light <= _BLACK).mean()) > _MOST_SATURATED:
        return Counts(nothing, nothing, nothing, math.nan, singles.n, "count_saturated")
    labels, sums = _sum_bodies(density, singles, dark)
    one = _calibrate(density, singles, dark, labels, sums)
    if one.spread > _MOST_SPREAD or len(one.bodies) < FEWEST_SINGLES:
        return Counts(nothing, nothing, nothing, one.spread, len(one.bodies), "count_noisy")
    share = sums / one.density
    clumped = np.where(share > _DIRT, np.maximum(share, 1.0), 0.0)
    clumped[one.bodies] = 0.0
    number = clumped.copy()
    number[one.bodies] = 1.0 + one.pair
    if _count_layers(density, singles, dark, float(number.sum())) > _MOST_LAYERS:
        return Counts(nothing, nothing, nothing, one.spread, len(one.bodies), "count_overlap")
    doubt = np.zeros(len(sums))
    doubt[one.bodies] = one.pair * (1 - one.pair)
    sizes = np.bincount(labels.ravel(), minlength=len(sums) + 1)[1:]
    spread_out = [np.concatenate([[0.0], each / sizes])[labels].astype(np.float32) for each in (number, clumped, doubt)]
    return Counts(spread_out[0], spread_out[1], spread_out[2], one.spread, one.n_effective, "")


@dataclass(frozen=True)
class _Single:
    """A single particle's summed density, its relative spread, and what that rests on.

    ``bodies`` are the bodies that look single, ``pair`` the probability of each to be two all the same.
    """

    density: float
    spread: float
    n_effective: float
    bodies: NDArray[np.intp]
    pair: NDArray[np.float64]


def _calibrate(
    density: Density, singles: Singles, dark: NDArray[np.bool_], labels: NDArray[np.intp], sums: NDArray[np.float64]
) -> _Single:
    """What one particle takes of the light, from bodies that look single.

    Two particles nearer than ``_PAIR_REACH`` look like one of twice the density: each body is a pair with a
    probability that follows from how many particles lie around it and from its own density. Larger particles more
    seldom stand apart, which weights undo (Horvitz & Thompson, JASA 47:663, 1952): among λ particles per area, placed
    at random, one of diameter D touches none of mean diameter d with probability exp(-λπ((D + d)/2)²).
    """
    bodies = np.unique(labels[tuple(np.round(singles.rows[:, :2]).astype(int).T)]) - 1
    bodies = bodies[bodies >= 0]
    one, spread = float(np.median(sums[bodies])), 0.25
    # A weak particle looks small, and is one all the same: whatever takes less light than one is one.
    bodies = np.union1d(bodies, np.flatnonzero(sums < one))
    bodies = bodies[(sums[bodies] > _DIRT * one) & (sums[bodies] < _MOST_SHARE * one)]
    if len(bodies) < FEWEST_SINGLES:
        return _Single(one, math.inf, 0.0, bodies, np.zeros(len(bodies)))
    diameter = singles.diameter_nm / density.nm_per_pixel
    around = _count_around(labels, sums / one, bodies, 4 * diameter)
    own = 2 * np.sqrt(np.bincount(labels[dark], minlength=len(sums) + 1)[1:][bodies] / math.pi)
    exponent = around * math.pi * (((own + diameter) / 2) ** 2 - diameter**2)
    apart = np.exp(np.clip(exponent, -1.5, 1.5))
    prior = around * math.pi * (_PAIR_REACH * diameter) ** 2
    weights = apart
    pair = np.zeros(len(bodies))
    for _ in range(_CALIBRATIONS):
        share = sums[bodies] / one
        as_one = np.exp(-0.5 * ((share - 1) / spread) ** 2)
        as_two = np.exp(-0.25 * ((share - 2) / spread) ** 2) / math.sqrt(2) * prior
        pair = as_two / (as_one + as_two + 1e-300)
        weights = apart * (1 - pair)
        one = float(np.average(sums[bodies], weights=weights))
        spread = math.sqrt(float(np.average((sums[bodies] / one - 1) ** 2, weights=weights)))
        spread = max(spread, 0.05)
    return _Single(one, spread, float(weights.sum() ** 2 / (weights**2).sum()), bodies, pair)


def _count_around(
    labels: NDArray[np.intp], share: NDArray[np.float64], bodies: NDArray[np.intp], width: float
) -> NDArray[np.float64]:
    """Particles per pixel around each of ``bodies``, itself left out."""
    sizes = np.bincount(labels.ravel(), minlength=len(share) + 1)[1:]
    number = np.concatenate([[0.0], np.where(share > _DIRT, share, 0.0) / sizes])[labels]
    near = ndimage.gaussian_filter(number, width)
    return np.maximum(np.asarray(ndimage.mean(near, labels, bodies + 1)) - 1 / (2 * math.pi * width**2), 0.0)


def _sum_bodies(
    density: Density, singles: Singles, dark: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Dark bodies with their rims as labels (row, column), and each one's density over its surroundings, summed."""
    diameter = singles.diameter_nm / density.nm_per_pixel
    bodies, n = ndimage.label(dark)
    away, nearest = ndimage.distance_transform_edt(bodies == 0, return_indices=True)
    labels = np.where(away <= _RIM * diameter, bodies[tuple(nearest)], 0).astype(np.intp)
    empty = (away > 1.2 * _RIM * diameter) & ~density.hidden
    weight = ndimage.gaussian_filter(empty.astype(np.float64), _RING * diameter)
    level = ndimage.gaussian_filter(np.where(empty, density.density, 0.0), _RING * diameter) / np.maximum(weight, 1e-6)
    # Where no ground is near, the whole image's, which is zero by construction, stands in.
    above = density.density - np.where(weight > 1e-3, level, 0.0)
    sums = np.bincount(labels.ravel(), weights=above.ravel(), minlength=n + 1)[1:]
    return labels, np.asarray(sums, dtype=np.float64)


def _count_layers(density: Density, singles: Singles, dark: NDArray[np.bool_], number: float) -> float:
    """Particles' cross-sections over the area that they lie in."""
    diameter = singles.diameter_nm / density.nm_per_pixel
    return number * math.pi / 4 * diameter**2 / max(float(dark.sum()), 1.0)
