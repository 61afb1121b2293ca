"""What a map of evidence says of a place that is known with an error, against what the same map says elsewhere.

The source may be anywhere about the place, so that the likelihood ratio of each voxel, exp(z²/2) of its statistic z, is
averaged over where it may be:

    s = log Σ_v w_v exp(max(z_v, 0)²/2),    w_v ∝ exp(−d²/2), d² the squared distance in the place's own covariance.

That is z itself where the place is exactly known, and the largest z less what the search costs where it is not. What
s is without any source is asked of the map turned over (−z), at places spread evenly over it: no source makes those.
What s is to be expected of a source is asked of the same map with one added at such places: the statistic of a source
falls off about it as the statistic's own noise is correlated, for both went through the same filter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn
from scipy.special import logsumexp
from scipy.stats import norm

from ferrosight.types import Grid

Array = NDArray[np.float64]

#: How far about a place is looked, its standard deviations; and the least of these, voxel edges: a peak between voxels.
_REACH_SD, _LEAST_SD_VOXELS = 3.0, 0.35
#: Places at which the turned map is asked, and the share of them that is taken for the tail.
_N_NULL, _TAIL_SHARE = 2500, 0.05
#: Voxels that are read for one error of place, about.
_MOST_READ = 3_000_000
#: The tail's scale beforehand, that of Gaussian noise, weighs as much as this many places.
_PRIOR = 10.0
#: Errors from this many voxel edges on hide how a place lies between voxels.
_WIDE_VOXELS = 0.8
#: Strengths (standard deviations) of sources that are added, and at how many places each; how far a source shows about
#: its own voxel, voxels.
STRENGTHS = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
_N_ADDED, _SHOWS_VOXELS = 150, 4
#: Statistics beyond this are as good as certain, and their exponential still finite.
_MOST_Z = 35.0


@dataclass(frozen=True)
class PlaceEvidence:
    """What a map says of n places.

    Parameters
    ----------
    p_value : (n,)
        Chance of as much or more at a place where nothing is; NaN where no voxel counts.
    score : (n,)
        The standard normal's quantile of that, positive where there is something.
    likeliest_mm : (n, 3)
        Where within reach the source most likely is; the place itself where nothing speaks for another.
    heard : (n, k)
        The mean score that a source of each of the k ``STRENGTHS`` would have there; NaN where no voxel counts.
    """

    p_value: Array
    score: Array
    likeliest_mm: Array
    heard: Array


def weigh_places(
    z: Array, grid: Grid, inside: NDArray[np.bool_], places_mm: Array, covariances_mm2: Array
) -> PlaceEvidence:
    """What a map says of places.

    Parameters
    ----------
    z : float (x, y, z)
        The statistic, positive where there is something; about a standard normal where there is nothing. Where its
        negative side is wider than that it is divided by that width.
    grid, inside : Grid, bool (x, y, z)
        Where its voxels lie, and which of them count.
    places_mm, covariances_mm2 : float (n, 3), (n, 3, 3)
        RAS+ mm in the grid's space.
    """
    turned = z[inside & (z < 0)]
    width = max(math.sqrt(float((turned**2).mean())), 1.0) if turned.size else 1.0
    scaled = np.clip(z / width, -_MOST_Z, _MOST_Z)
    searched = np.argwhere(inside)
    n = len(places_mm)
    nulls: dict[bytes, tuple[Array, Array]] = {}
    p_value, likeliest = np.full(n, np.nan), np.array(places_mm, dtype=np.float64).reshape(n, 3)
    heard, shape = np.full((n, len(STRENGTHS)), np.nan), _correlate(-scaled, inside) if n else np.zeros((1, 1, 1))
    for row in range(n):
        place = grid.to_ijk(places_mm[row])
        middle = np.round(place).astype(np.int64)
        in_voxels = _turn(grid, covariances_mm2[row])
        offsets, logs = _spread(in_voxels, place - middle)
        observed, best = _weigh(scaled, inside, middle[None], offsets, logs)
        if not np.isfinite(observed[0]):
            continue
        # Places of nearly the same error share what was asked of the turned map, if they are too wide to lie between
        # voxels in ways of their own.
        widths = np.sqrt(np.linalg.eigvalsh(in_voxels))
        shift = place - middle if widths[0] < _WIDE_VOXELS else np.zeros(3)
        key = np.round([*np.log(widths) * 10, *shift * 8]).tobytes()
        if key not in nulls:
            asked = _spread(in_voxels, shift)
            null, _ = _weigh(-scaled, inside, _choose(searched, len(asked[1])), *asked)
            null = null[np.isfinite(null)]
            nulls[key] = null, _hear(-scaled, inside, searched, shape, *asked, null)
        p_value[row] = _rank(observed, nulls[key][0])[0]
        heard[row] = nulls[key][1]
        if best[0] > 0:
            likeliest[row] = grid.to_mm(middle + offsets[best[0] - 1])
    return PlaceEvidence(p_value, np.asarray(norm.isf(p_value)), likeliest, heard)


def _correlate(z: Array, inside: NDArray[np.bool_]) -> Array:
    """A map's correlation at offsets of up to ``_SHOWS_VOXELS`` voxels along each axis, (2 m + 1, ...)."""
    calm = np.where(inside, np.clip(z, -3.5, 3.5), 0.0)
    around = [min(_SHOWS_VOXELS, n - 1) for n in z.shape]
    size = [n + m for n, m in zip(z.shape, around, strict=True)]
    sums, counts = (irfftn(np.abs(rfftn(one, size)) ** 2, size) for one in (calm, inside.astype(np.float64)))
    steps = np.ix_(*(np.arange(-m, m + 1) for m in around))
    out = sums[steps] / np.maximum(counts[steps], 1.0)
    middle = out[tuple(around)]
    return np.asarray(np.maximum(out / middle, 0.0) if middle > 0 else np.zeros(out.shape))


def _hear(
    z: Array,
    inside: NDArray[np.bool_],
    searched: NDArray[np.int64],
    shape: Array,
    offsets: NDArray[np.int64],
    logs: Array,
    null: Array,
) -> Array:
    """The mean score (k,) of sources of ``STRENGTHS`` that lie about such a place as its weights (logs) say."""
    middles = searched[:: max(1, (len(searched) // _N_ADDED) | 1)]
    shares = np.cumsum(np.exp(logs)) / np.exp(logs).sum()
    # Spread evenly, in an order that has nothing to do with that of the places.
    turns = (np.arange(len(middles)) * 0.6180339887) % 1.0
    truly = offsets[np.minimum(np.searchsorted(shares, turns), len(offsets) - 1)]
    half = np.array(shape.shape) // 2
    away = offsets - truly[:, None]
    near = (np.abs(away) <= half).all(axis=-1)
    at = np.clip(away + half, 0, 2 * half)
    added = np.where(near, shape[at[..., 0], at[..., 1], at[..., 2]], 0.0)
    scores = np.empty(len(STRENGTHS))
    for k, strength in enumerate(STRENGTHS):
        weighed, _ = _weigh(z, inside, middles, offsets, logs, strength * added)
        known = weighed[np.isfinite(weighed)]
        scores[k] = float(norm.isf(_rank(known, null)).mean()) if known.size else 0.0
    return scores


def _choose(searched: NDArray[np.int64], n_offsets: int) -> NDArray[np.int64]:
    """Places (k, 3) at which the turned map is asked, spread evenly over it: fewer where each costs more."""
    wanted = int(np.clip(_MOST_READ // n_offsets, _N_NULL // 5, _N_NULL))
    # An odd stride, so that the places do not fall into step with the array's axes.
    return searched[:: max(1, (len(searched) // wanted) | 1)]


def _turn(grid: Grid, covariance_mm2: Array) -> Array:
    """A covariance (3, 3) in voxels, with what lies between them."""
    inverse = np.linalg.inv(grid.affine[:3, :3])
    return np.asarray(inverse @ covariance_mm2 @ inverse.T + _LEAST_SD_VOXELS**2 * np.eye(3))


def _spread(in_voxels: Array, shift: Array) -> tuple[NDArray[np.int64], Array]:
    """Voxels (m, 3) about the middle one that may hold the source, and the logarithms of their weights (m,).

    ``shift`` (3,) is the place's own offset from the middle voxel's centre.
    """
    half = np.ceil(_REACH_SD * np.sqrt(np.diag(in_voxels))).astype(np.int64)
    box = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1).reshape(-1, 3)
    away = box - shift
    squares = np.einsum("na,ab,nb->n", away, np.linalg.inv(in_voxels), away)
    kept = squares <= _REACH_SD**2
    return box[kept], -squares[kept] / 2


def _weigh(
    z: Array,
    inside: NDArray[np.bool_],
    middles: NDArray[np.int64],
    offsets: NDArray[np.int64],
    logs: Array,
    added: Array | None = None,
) -> tuple[Array, NDArray[np.int64]]:
    """s (k,) at middle voxels (k, 3), NaN where none about them counts; 1 + the row of the likeliest offset, or 0.

    ``added`` (k, m) is added to the statistic at each middle's offsets.
    """
    shape = np.array(z.shape)
    out, best = np.full(len(middles), np.nan), np.zeros(len(middles), dtype=np.int64)
    for first in range(0, len(middles), 256):
        ijk = middles[first : first + 256, None] + offsets
        valid = ((ijk >= 0) & (ijk < shape)).all(axis=-1)
        at = np.clip(ijk, 0, shape - 1)
        index = (at[..., 0], at[..., 1], at[..., 2])
        valid &= inside[index]
        weight = np.where(valid, logs, -np.inf)
        here = z[index] if added is None else z[index] + added[first : first + 256]
        terms = weight + np.maximum(here, 0.0) ** 2 / 2
        known = valid.any(axis=1)
        slot = slice(first, first + len(ijk))
        with np.errstate(invalid="ignore"):
            total = logsumexp(terms, axis=1) - logsumexp(weight, axis=1)
        out[slot] = np.where(known, total, np.nan)
        top = terms.argmax(axis=1)
        gains = np.take_along_axis(here, top[:, None], axis=1)[:, 0] > 0
        best[slot] = np.where(known & gains, top + 1, 0)
    return out, best


def _rank(observed: Array, null: Array) -> Array:
    """Chance of ``observed`` (k,) or more: the share of ``null`` (n,), and beyond most of it an exponential tail.

    The tail's rate is averaged over what its places leave uncertain, as that of the scans' own false candidates is.
    """
    n = len(null)
    start = float(np.quantile(null, 1 - _TAIL_SHARE)) if n else 0.0
    n_above = n - np.searchsorted(np.sort(null), observed, side="left")
    excess = null[null > start] - start
    share = (1 + len(excess)) / (n + 1)
    tail = share * (1 + np.maximum(observed - start, 0.0) / (_PRIOR + excess.sum())) ** -(_PRIOR + len(excess))
    # Never certain that there is less than nothing: the score stays finite.
    return np.asarray(np.where(observed <= start, (1.0 + np.minimum(n_above, n - 1)) / (n + 1), tail))
