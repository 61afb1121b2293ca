"""One pair of visits laid onto each other as closely as their noise allows, and how closely that is.

Both images are read at the same places of a space half way between them, so that neither is favoured, and compared
by least squares: f − m with f = I₁(A e^{ξ/2} y) e^{−q(y)/2} and m = I₂(B e^{−ξ/2} y) e^{q(y)/2}. The pose ξ and the
log ratio q of the two receive profiles, a polynomial, are found together by Gauss–Newton steps with Tukey's weights,
so that what is in one image alone (a void, a vein that turned against B0) counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from ferrosight.register.blocks import CELLS_PER_REACH, restore_sums, sum_into_cells, sum_softly
from ferrosight.register.sampling import SmoothImage, find_usable, read_image, smooth_image, voxel_ellipsoid
from ferrosight.types import Grid, Rigid, VisitImage

FloatArray = NDArray[np.float64]

#: The blur of both images, standard deviations of the finest level; each level starts where the one before ended.
#: The finest comes twice: only after the first is the ratio of receive profiles known well.
_LEVELS = (4.0, 2.0, 1.0, 1.0)

#: Covariance of the finest blur, over the sum of the two voxels' ellipsoids: for equal voxels a standard deviation of
#: 0.7 voxel edges, beyond which k-space tells the two images little, and above which cubic splines are exact enough.
_BLUR = 0.25

#: Order of the polynomial q at each level, and the standard deviation that its coefficients are expected to have: wide,
#: so that it decides only what the images leave open.
_GAIN_ORDERS, _GAIN_SD = (1, 2, 4, 4), 0.5

#: Tukey's constant, standard deviations of the residual: small, for what voids leave is all on one side. Huber's for
#: the coarse levels, where most of the residual is misfit.
_TUKEY, _HUBER = 3.0, 1.345

#: Steps end when places move less than this, voxel edges, and after so many.
_TOLERANCE_VOXELS, _MOST_STEPS = 1e-4, 60

#: Fewest places at which a pair is compared.
_FEWEST = 500

#: Blocks in the box around the tissue, and their least edge in voxel edges (the mean of the coarser voxel's): what goes
#: together in the residual is looked for over soft blocks as large as these.
_BLOCKS, _LEAST_BLOCK_EDGES = 150, 7.5


@dataclass(frozen=True, eq=False)
class PairFit:
    """A pair's pose and what it rests on.

    Parameters
    ----------
    transform : second's RAS+ mm to first's, its covariance that of this pair alone
    has_converged : whether the steps ended
    overlap : share of the smaller tissue that both see
    similarity : correlation of f and m, polynomials taken off
    places_mm : middles (n, 3) of small cells of tissue, RAS+ mm of the first
    influences : (n, 6) what each cell's residual did to the twist (v, ω) of the transform, about the first's origin,
        raised by what the fit took from their sums
    weights : places compared in each cell (n,)
    reach_mm : over how far influences go together: the reach of `sum_softly`
    """

    transform: Rigid
    has_converged: bool
    overlap: float
    similarity: float
    places_mm: FloatArray
    influences: FloatArray
    weights: FloatArray
    reach_mm: float

    @property
    def covariance(self) -> FloatArray:
        """(6, 6), of the transform."""
        assert self.transform.covariance is not None
        return self.transform.covariance


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The images with one blur, read at places y (n, 3) of the middle space, less and plus ``shift`` (n, 3).

    A blur weighs with the receive profile: a blurred image shows at y what belongs to y + C∇(log profile), for a
    Gaussian of covariance C to first order. ``shift``, C∇q/2, is half the difference of the two images in that.
    ``blur`` is C (3, 3), mm².
    """

    first: SmoothImage
    second: SmoothImage
    y: FloatArray
    shift: FloatArray
    basis: FloatArray
    blur: FloatArray


@dataclass(frozen=True, eq=False)
class _Residual:
    """f, m (n,), their derivatives by the pose (n, 6), and the places that count."""

    f: FloatArray
    m: FloatArray
    by_first: FloatArray
    by_second: FloatArray
    inside: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _State:
    """A, B: the middle space to each visit's; gain: coefficients of q."""

    to_first: Rigid
    to_second: Rigid
    gain: FloatArray


def fit_pair(first: VisitImage, second: VisitImage, start: Rigid, max_samples: int) -> PairFit | None:
    """Lay ``second`` onto ``first`` from ``start`` (second's RAS+ mm to first's); None where they share too little.

    Raises nothing: what cannot be fitted is None, what does not settle says so.
    """
    usable = find_usable(first), find_usable(second)
    state, points = _place_samples(first, second, usable, start, max_samples)
    if len(points) < _FEWEST:
        return None
    has_converged, comparison = False, None
    for level, most in zip(_LEVELS, _GAIN_ORDERS, strict=True):
        gain = np.pad(state.gain, (0, len(_powers(most)) - len(state.gain)))
        state = _State(state.to_first, state.to_second, gain)
        comparison = _compare_at(first, second, usable, state, points, level, most)
        state, has_converged = _descend(comparison, state, level, min(*first.grid.voxel_mm, *second.grid.voxel_mm))
    assert comparison is not None
    return _assess(first, second, comparison, state, has_converged)


def _place_samples(
    first: VisitImage,
    second: VisitImage,
    usable: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    start: Rigid,
    max_samples: int,
) -> tuple[_State, FloatArray]:
    """Places where both are usable, in the middle space about their own middle, and the way from there to each visit.

    They are spread evenly by an additive recurrence (the generalised golden ratio), so that they meet every
    sub-voxel place of either grid alike.
    """
    wanted = min(max_samples, int(usable[0].sum()))
    where = np.argwhere(usable[0])
    low, size = where.min(axis=0) - 0.5, np.ptp(where, axis=0) + 1.0
    n = int(np.ceil(wanted * size.prod() / len(where)))
    golden = 1.2207440846057596  # the root of x⁴ = x + 1
    ijk = low + size * ((0.5 + np.outer(np.arange(1, n + 1), golden ** -np.arange(1.0, 4.0))) % 1)
    places = first.grid.to_mm(ijk)
    x1 = places[_look_up(usable[0], first.grid, places)]
    is_in = _look_up(usable[1], second.grid, start.inverse().apply(x1))
    half = Rigid.from_twist(start.twist() / 2)
    y = half.inverse().apply(x1[is_in])
    middle = Rigid(np.eye(3), y.mean(axis=0) if len(y) else np.zeros(3))
    return _State(half.after(middle), half.inverse().after(middle), np.zeros(0)), middle.inverse().apply(y)


def _scale_box(y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Middle (3,) and half edges (3,) of the box of all places."""
    low, high = y.min(axis=0), y.max(axis=0)
    return (low + high) / 2, np.maximum((high - low) / 2, 1e-9)


def _powers(most: int) -> list[tuple[int, ...]]:
    """Orders along each axis of the terms of q, in growing total order."""
    return sorted((power for power in np.ndindex(*(most + 1,) * 3) if sum(power) <= most), key=sum)


def _polynomials(y: FloatArray, most: int) -> FloatArray:
    """The terms of q (n, term): products of Legendre's polynomials over the box of all places."""
    middle, half = _scale_box(y)
    along = special.eval_legendre(np.arange(most + 1)[:, None, None], (y - middle) / half)
    return np.stack([along[i, :, 0] * along[j, :, 1] * along[k, :, 2] for i, j, k in _powers(most)], axis=1)


def _gain_slopes(y: FloatArray, gain: FloatArray, most: int) -> FloatArray:
    """∇q (n, 3) per mm."""
    coefficients = np.zeros((most + 1,) * 3)
    for power, value in zip(_powers(most), gain, strict=True):
        coefficients[power] = value
    middle, half = _scale_box(y)
    x, y, z = ((y - middle) / half).T
    slopes = [legendre.legval3d(x, y, z, legendre.legder(coefficients, axis=a)) / half[a] for a in range(3)]
    return np.stack(slopes, axis=1)


def _compare_at(
    first: VisitImage,
    second: VisitImage,
    usable: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    state: _State,
    points: FloatArray,
    level: float,
    most: int,
) -> _Comparison:
    """Both images with one blur, the same in the middle space for either."""
    turns = state.to_first.rotation, state.to_second.rotation
    ellipsoids = [
        turn.T @ voxel_ellipsoid(image.grid) @ turn for turn, image in zip(turns, (first, second), strict=True)
    ]
    blur = level**2 * _BLUR * (ellipsoids[0] + ellipsoids[1])
    smooth = [
        smooth_image(image, mask, turn @ blur @ turn.T)
        for image, mask, turn in zip((first, second), usable, turns, strict=True)
    ]
    # as many places as the blur leaves independent
    y = points[:: max(1, int(level**2))]
    shift = _gain_slopes(y, state.gain, most) @ blur / 2
    return _Comparison(smooth[0], smooth[1], y, shift, _polynomials(y, most), blur)


def _read(comparison: _Comparison, state: _State) -> _Residual:
    y = comparison.y
    half_q = comparison.basis @ state.gain / 2
    values, slopes, inside = [], [], np.ones(len(y), dtype=np.bool_)
    for image, to_image, gain, sign in (
        (comparison.first, state.to_first, np.exp(-half_q), -1.0),
        (comparison.second, state.to_second, np.exp(half_q), 1.0),
    ):
        value, slope, is_in = read_image(image, to_image.apply(y + sign * comparison.shift))
        along = (slope @ to_image.rotation) * gain[:, None]
        values.append(value * gain)
        slopes.append(np.concatenate([along, np.cross(y, along)], axis=1))
        inside &= is_in
    return _Residual(values[0], values[1], slopes[0], slopes[1], inside)


def _descend(comparison: _Comparison, state: _State, level: float, voxel_mm: float) -> tuple[_State, bool]:
    """Gauss–Newton steps until places rest; the state and whether they do."""
    radius = float(np.sqrt((comparison.y**2).sum(axis=1).mean()))
    if not state.gain.any():
        state = _match_levels(comparison, state)
    for _ in range(_MOST_STEPS):
        residual = _read(comparison, state)
        if residual.inside.sum() < _FEWEST // 4:
            return state, False
        matrix, gradient = _normal_equations(comparison, state, residual, is_robust=level == _LEVELS[-1])
        try:
            step = np.linalg.solve(matrix, -gradient)
        except np.linalg.LinAlgError:
            return state, False
        moved = float(np.hypot(np.linalg.norm(step[:3]), radius * np.linalg.norm(step[3:6])))
        # a step as long as the blur leaves the part of the image that the gradient speaks of
        most = 2 * level * voxel_mm
        if moved > most:
            step *= most / moved
        half = Rigid.from_twist(step[:6] / 2)
        state = _State(state.to_first.after(half), state.to_second.after(half.inverse()), state.gain + step[6:])
        if moved < _TOLERANCE_VOXELS * level * voxel_mm:
            return state, True
    return state, False


def _match_levels(comparison: _Comparison, state: _State) -> _State:
    residual = _read(comparison, state)
    if not residual.inside.any():
        return state
    ratio = np.median(residual.f[residual.inside]) / np.median(residual.m[residual.inside])
    gain = state.gain.copy()
    gain[0] = np.log(ratio)
    return _State(state.to_first, state.to_second, gain)


def _weigh(r: FloatArray, *, is_robust: bool) -> tuple[FloatArray, FloatArray]:
    """Weight w and slope ψ' of the loss at residuals (n,), in units of their own spread."""
    u = r / max(1.4826 * float(np.median(np.abs(r))), 1e-30)
    if is_robust:
        s = np.clip(1 - (u / _TUKEY) ** 2, 0, None)
        return s**2, s**2 - 4 * (u / _TUKEY) ** 2 * s
    w = _HUBER / np.maximum(np.abs(u), _HUBER)
    return w, (w == 1).astype(np.float64)


def _normal_equations(
    comparison: _Comparison, state: _State, residual: _Residual, *, is_robust: bool
) -> tuple[FloatArray, FloatArray]:
    """JᵀWJ and gradient of the loss by pose and gain."""
    r, jacobian = _linearise(comparison, residual)
    w, _ = _weigh(r, is_robust=is_robust)
    matrix, gradient = jacobian.T @ (w[:, None] * jacobian), jacobian.T @ (w * r)
    prior = float(np.average(r**2, weights=w)) / _GAIN_SD**2
    matrix[7:, 7:] += prior * np.eye(len(state.gain) - 1)
    gradient[7:] += prior * state.gain[1:]
    return matrix, gradient


def _linearise(comparison: _Comparison, residual: _Residual) -> tuple[FloatArray, FloatArray]:
    """f − m and its Jacobian at the places that count."""
    inside = residual.inside
    f, m = residual.f[inside], residual.m[inside]
    by_pose = (residual.by_first[inside] + residual.by_second[inside]) / 2
    by_gain = -((f + m) / 2)[:, None] * comparison.basis[inside]
    return f - m, np.concatenate([by_pose, by_gain], axis=1)


def _curvature(residual: _Residual, jacobian: FloatArray, weights: FloatArray, slopes: FloatArray) -> FloatArray:
    """The loss's second derivatives: JᵀWJ times what the loss's slope ψ' has in the mean over its weight.

    Place by place ψ' would do too, but it is negative for what lies far off: of few places that hold a receive profile
    at its corner one draw of noise makes far too little, and the error many times too large.

    For the pose the products are of the one image's slopes with the other's. The noise of the two images is
    independent, so that it adds nothing to these, while in JᵀWJ the slopes of the noise would pass for contrast: the
    curvature, and the error with it, would look better than they are.
    """
    matrix = jacobian.T @ (weights[:, None] * jacobian)
    inside = residual.inside
    cross = residual.by_first[inside].T @ (weights[:, None] * residual.by_second[inside])
    matrix[:6, :6] = (cross + cross.T) / 2
    return np.asarray(matrix * (slopes.sum() / weights.sum()))


def _assess(
    first: VisitImage, second: VisitImage, comparison: _Comparison, state: _State, has_converged: bool
) -> PairFit:
    """What each cell of tissue did to the pose: −H⁻¹ Σ J ψ(r), the influence function of the estimate.

    Multiplied with each other where they lie within reach, they add up to the covariance whatever the residual is made
    of: noise, interpolation, other voids (the sandwich of Huber 1967, with what goes together over a distance).
    """
    residual = _read(comparison, state)
    r, jacobian = _linearise(comparison, residual)
    w, slope = _weigh(r, is_robust=True)
    curvature = _curvature(residual, jacobian, w, slope)
    y = comparison.y[residual.inside]
    x1 = state.to_first.apply(y)
    reach = _choose_reach(first, second, x1)
    try:
        influence = -np.linalg.solve(curvature, (jacobian * (w * r)[:, None]).T)[:6].T
        influence = influence @ restore_sums(jacobian, w, y, reach, comparison.blur).T
    except np.linalg.LinAlgError:
        influence, has_converged = np.zeros((len(r), 6)), False
    has_converged &= bool((np.linalg.eigvalsh(curvature[:6, :6]) > 0).all())
    transform = state.to_first.after(state.to_second.inverse())
    places, sums, count = sum_into_cells(x1, influence @ state.to_first.adjoint.T, reach / CELLS_PER_REACH)
    blocks = sum_softly(places, sums, reach)
    return PairFit(
        transform.with_covariance(blocks.T @ blocks),
        has_converged,
        find_overlap(first, second, transform),
        _correlate(residual.f[residual.inside], residual.m[residual.inside], comparison.basis[residual.inside]),
        places,
        sums,
        count,
        reach,
    )


def _choose_reach(first: VisitImage, second: VisitImage, places_mm: FloatArray) -> float:
    """Reach, mm, of soft blocks as large as the hard ones of which there are so many."""
    volume = float(np.prod(np.ptp(places_mm, axis=0)))
    edge = max(float(np.cbrt(np.prod(image.grid.voxel_mm))) for image in (first, second))
    return max(float(np.cbrt(volume / _BLOCKS)), _LEAST_BLOCK_EDGES * edge) / float(np.sqrt(2 * np.pi))


def find_overlap(first: VisitImage, second: VisitImage, transform: Rigid) -> float:
    """Share of the smaller tissue that lies on the other's."""
    shares = []
    for one, other, to_other in ((first, second, transform.inverse()), (second, first, transform)):
        ijk = np.argwhere(one.mask)[:: max(1, int(one.mask.sum()) // 20_000)]
        volume = float(one.mask.sum()) * one.grid.voxel_volume_m3
        is_in = _look_up(other.mask, other.grid, to_other.apply(one.grid.to_mm(ijk)))
        shares.append((volume, float(is_in.mean())))
    return min(shares)[1]


def _look_up(mask: NDArray[np.bool_], grid: Grid, points_mm: FloatArray) -> NDArray[np.bool_]:
    """The mask (x, y, z) at places (n, 3); False beyond the image."""
    index = np.rint(grid.to_ijk(points_mm)).astype(np.int64)
    is_in = np.asarray(((index >= 0) & (index < np.array(grid.shape))).all(axis=1))
    index = np.clip(index, 0, np.array(grid.shape) - 1)
    return np.asarray(is_in & mask[index[:, 0], index[:, 1], index[:, 2]])


def _correlate(f: FloatArray, m: FloatArray, basis: FloatArray) -> float:
    """Correlation of f and m once the best polynomials are taken off each."""
    both = np.stack([f, m], axis=1)
    rest = both - basis @ np.linalg.lstsq(basis, both, rcond=None)[0]
    norms = np.linalg.norm(rest, axis=0)
    return float(rest[:, 0] @ rest[:, 1] / max(norms[0] * norms[1], 1e-30))
