"""How many particles there are, from how much light they take together.

Dark bodies are divided where the light between two particles shows; a part then holds one particle, or several that
lie over one another. The density (Beer and Lambert) summed over a part is that of one, two or more: what one takes,
and how often they lie over one another, follows from how these sums are distributed over all parts. Particles that
touch are thereby weighed like those that stand apart, which are the smaller ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.numerics.multiples import fit_multiples
from ferrosight.uptake.density import Density
from ferrosight.uptake.particles import Singles

#: A particle's blurred rim reaches this share of its diameter beyond where it is half as dense.
_RIM = 0.7
#: Around what is dark, this many diameters wide, lies the ground that a body's density is measured from.
_RING = 3.0
#: Parts of less than this share of a single's density are dirt or tissue.
_DIRT = 0.3
#: Summits of density, smoothed over this share of a diameter, divide a body where they lie this far apart.
_SUMMIT_WIDTH, _SUMMIT_APART = 0.15, 0.35
FEWEST_SINGLES = 20
#: Counting is refused where the density of singles varies by more than this, of its mean: as fitted to all parts, or
#: as seen of those that stand apart. Where sizes vary more, one large particle looks like two small ones.
_MOST_SPREAD, _MOST_SEEN_SPREAD = 0.36, 0.38
#: ... where what a single one takes is known so badly that the number is not known to this,
_MOST_DOUBT = 0.07
#: ... where more than this share of the dark pixels is within three levels of 255 of black,
_MOST_SATURATED = 0.03
_BLACK = 3 / 255
#: ... and where summed density exceeds this many layers: particles' area over the area that they lie in.
_MOST_LAYERS = 1.5
#: Densities of bodies that lie over one another add up to within this, of their sum (an assumption: blur is of light
#: and not of density, and scattering is not all absorption).
_ADDITIVITY_ERR = 0.015
#: Dirt and particles are told apart to within this, of the number: in 160 sparse synthetic micrographs, of which hardly
#: a particle touches another, numbers scattered by 2.4 %.
_TELLING_ERR = 0.02


@dataclass(frozen=True)
class Counts:
    """Particles per pixel, to be summed over any region that cuts none, and what the number's error is made of.

    ``weights`` (row, column) sums to numbers of particles, ``doubt`` to the variance from parts that may be one or
    more, ``slope`` to the change of the number per relative change of what a single one takes, which is known to
    ``one_rel_sd``. ``spread`` is the standard deviation of single particles' density over its mean, ``n_singles`` how
    many of the parts are single. ``refusal`` names why nothing is counted; "" where it is.
    """

    weights: NDArray[np.float32]
    doubt: NDArray[np.float32]
    slope: NDArray[np.float32]
    one_rel_sd: float
    spread: float
    n_singles: float
    refusal: str

    def sum_over(self, region: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Number of particles in ``region`` (row, column), and its 95 % interval; NaN where counting is refused."""
        if self.refusal:
            return math.nan, math.nan, math.nan
        number, slope = float(self.weights[region].sum()), float(self.slope[region].sum())
        variance = float(self.doubt[region].sum()) + slope**2 * (self.one_rel_sd**2 + _ADDITIVITY_ERR**2)
        half = 1.96 * math.sqrt(variance + (_TELLING_ERR * number) ** 2)
        return number, max(0.0, number - half), number + half


def count_particles(density: Density, singles: Singles) -> Counts:
    """Particles everywhere in the image; refused as a whole where single ones do not carry the count."""
    nothing = np.zeros(density.density.shape, np.float32)

    def refuse(why: str, spread: float = math.nan, n_singles: float = singles.n) -> Counts:
        return Counts(nothing, nothing, nothing, math.nan, spread, n_singles, why)

    if singles.diameter_nm < 4 * density.nm_per_pixel:
        return refuse("particles_unresolved", n_singles=0)
    if singles.n < FEWEST_SINGLES:
        return refuse("count_no_singles")
    dark = (density.density > singles.threshold) & ~density.hidden
    if float((density.light[dark] <= _BLACK).mean()) > _MOST_SATURATED:
        return refuse("count_saturated")
    labels, sums = _sum_parts(density, singles, dark)
    single = labels[tuple(np.round(singles.rows[:, :2]).astype(int).T)]
    apart = np.log(np.maximum(sums[single[single > 0] - 1], 1e-9))
    start = math.exp(float(np.median(apart)))
    seen_spread = 1.4826 * float(np.median(np.abs(apart - math.log(start))))
    kept = np.flatnonzero(sums > _DIRT * start)
    fit = fit_multiples(sums[kept], start)
    n_singles = len(kept) * fit.single_share
    of_kept = fit.expect(sums[kept])
    number, slope = float(of_kept[0].sum()), float(of_kept[2].sum())
    # A spread that is seen of few is itself unsure.
    most_seen = _MOST_SEEN_SPREAD * (1 + 1 / math.sqrt(len(apart)))
    varies = fit.mean_spread > _MOST_SPREAD or seen_spread > most_seen
    if varies or n_singles < FEWEST_SINGLES or abs(slope) * fit.log_sd > _MOST_DOUBT * number:
        return refuse("count_noisy", fit.mean_spread, n_singles)
    if _count_layers(density, singles, dark, number) > _MOST_LAYERS:
        return refuse("count_overlap", fit.mean_spread, n_singles)
    sizes = np.maximum(np.bincount(labels.ravel(), minlength=len(sums) + 1), 1)

    def spread_out(values: NDArray[np.float64]) -> NDArray[np.float32]:
        of_part = np.zeros(len(sums) + 1)
        of_part[kept + 1] = values
        return np.asarray((of_part / sizes)[labels], dtype=np.float32)

    weights, doubt, slopes = (spread_out(each) for each in of_kept)
    return Counts(weights, doubt, slopes, fit.log_sd, fit.mean_spread, n_singles, "")


def _sum_parts(
    density: Density, singles: Singles, dark: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Parts of dark bodies with their rims as labels (row, column), and each one's density over its surroundings."""
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    diameter = singles.diameter_nm / density.nm_per_pixel
    bodies, _ = ndimage.label(dark)
    away = ndimage.distance_transform_edt(~dark)
    empty = (away > 1.2 * _RIM * diameter) & ~density.hidden
    weight = ndimage.gaussian_filter(empty.astype(np.float64), _RING * diameter)
    level = ndimage.gaussian_filter(np.where(empty, density.density, 0.0), _RING * diameter) / np.maximum(weight, 1e-6)
    # Where no ground is near, the whole image's, which is zero by construction, stands in.
    above = density.density - np.where(weight > 1e-3, level, 0.0)
    smooth = ndimage.gaussian_filter(density.density, max(_SUMMIT_WIDTH * diameter, 0.5))
    apart = max(1, round(_SUMMIT_APART * diameter))
    summits = peak_local_max(smooth, min_distance=apart, labels=bodies, exclude_border=False)
    marks = np.zeros(dark.shape, np.int32)
    marks[tuple(summits.T)] = np.arange(1, len(summits) + 1)
    labels = np.asarray(watershed(-smooth, marks, mask=away <= _RIM * diameter), dtype=np.intp)
    sums = np.bincount(labels.ravel(), weights=above.ravel(), minlength=len(summits) + 1)[1:]
    return labels, np.asarray(sums, dtype=np.float64)


def _count_layers(density: Density, singles: Singles, dark: NDArray[np.bool_], number: float) -> float:
    """Particles' cross-sections over the area that they lie in."""
    diameter = singles.diameter_nm / density.nm_per_pixel
    return number * math.pi / 4 * diameter**2 / max(float(dark.sum()), 1.0)
