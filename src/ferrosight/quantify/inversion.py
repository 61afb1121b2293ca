"""The moment of a body of any shape: the integral of its susceptibility, inverted from the field around and in it.

The field of a window is A·u + P·c + t + noise: A the fields of uniform boxes that fill the region (a voxel each, or
blocks of voxels), u their susceptibility in Hz (γ B0 χ), P smooth polynomials, t the field of tissue's own random
susceptibility with the spectrum that the scan shows (``texture``). u is a constant, free, and a Gaussian process about
it, whose size is that of the largest likelihood. The moment is a linear functional of u, its estimate a linear
functional a of the field, and its error has two parts that add in squares: what the prior lets u vary by where the
field does not tell, (c − Aᵀa)ᵀ K (c − Aᵀa), the regularisation's bias; and aᵀ C a with the covariance C of t and noise.
1 % is added for what is not modelled.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg

from ferrosight.physics.dipole import voxel_field
from ferrosight.quantify.texture import Texture

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Most boxes that a region is divided into, and most of boxes times voxels: what it takes of memory.
_MOST_BOXES, _MOST_FIELDS = 400, 10_000_000
#: Boxes of more voxels than this have their fields convolved.
_MANY_VOXELS = 64
#: Degree of the background polynomials, and the voxels along an axis that a degree takes. Of fewer degrees a wave as
#: long as the scan leaves enough in a window to break the intervals; these hardly widen them.
_DEGREE, _VOXELS_PER_DEGREE = 6, 3
#: The field of a voxel errs by this share of the steps to its neighbours, and by as much phase (rad) as this share of
#: the signal that it has lost compared with them: the point spread brings theirs. Assumptions; see docs/grafts.md.
_SLOPE_SHARE, _LEAK = 0.2, 0.1
#: Correlation length of the process, mean voxel edges.
_LENGTH = 1.5
#: A residual this many of its errors out loses weight: what else lies in the window is not the graft's.
_OUTLIER = 4.0
#: Relative error that remains at any signal: boxes and a point spread that is not modelled, against simulated truth.
_REL_SD = 0.01
#: How often the alias, the errors and the fit take turns.
_TURNS = 3
#: Median of χ² with one degree of freedom.
_MEDIAN_CHI2 = 0.4549


@dataclass(frozen=True)
class Window:
    """A box of the scan, all (x, y, z), about a region.

    ``field_hz`` and ``err_hz`` with ``use`` where they count; ``brightness`` the signal of the first echo over its
    surroundings' largest; ``alias_hz`` the field that changes nothing in any echo; ``time_s`` turns an error of
    phase into one of field.
    """

    field_hz: FloatArray
    err_hz: FloatArray
    use: Mask
    region: Mask
    brightness: FloatArray
    alias_hz: float
    time_s: float
    voxel_m: FloatArray
    b0_in_array: FloatArray


@dataclass(frozen=True)
class Integral:
    """The integral of γ B0 χ over a region, Hz m³, and what is known of it.

    ``noise_err`` is the part of ``err`` that would remain with no graft; ``dof`` how many independent samples of the
    scan's texture it rests on; ``centroid`` (3,) of the susceptibility in the window's voxels, with its errors;
    ``misfit`` χ²/dof of the fit; ``model_hz`` the region's field (x, y, z).
    """

    value: float
    err: float
    noise_err: float
    dof: float
    centroid: FloatArray
    centroid_err: FloatArray
    misfit: float
    model_hz: FloatArray


def integrate_susceptibility(window: Window, texture: Texture) -> Integral:
    """Invert the field of a window for the integral of its region's susceptibility."""
    boxes, centres, sizes = _divide_region(window.region)
    fields = _box_fields(window, boxes)
    prior = _prior(centres, window.voxel_m)
    smooth = _polynomials(window.use.shape)
    model = explained = np.zeros(window.use.shape)
    trust = np.ones(window.use.shape)
    for _ in range(_TURNS):
        # The measured field is known up to its aliases: the one nearest to the model is meant.
        field = model + np.mod(window.field_hz - model + window.alias_hz / 2, window.alias_hz) - window.alias_hz / 2
        variance = _variance(window, explained)
        solved = _solve(fields, smooth, prior, field, np.where(window.use, trust / variance, 0.0))
        explained = np.tensordot(solved.u, fields, 1)
        model = explained + solved.background
        trust = _trust(field - model, variance, window)
    return _integrate(window, solved, fields, centres, sizes, variance / trust, texture)


@dataclass(frozen=True)
class _Solution:
    """``u`` (box,), a linear function of the field; its prior's covariance, the background (x, y, z), χ²/dof.

    In weighted voxels (n,), which are ``counted`` (x, y, z) and whose weights' roots are ``root``: the boxes' fields
    ``beside`` (box, n) what is free, ``about`` (box, box) times which is the process's gain; the constant's gain
    ``constant`` (n,), and what it sees of every box, ``seen`` (box,).
    """

    u: FloatArray
    counted: Mask
    root: FloatArray
    beside: FloatArray
    about: FloatArray
    constant: FloatArray
    seen: FloatArray
    prior: FloatArray
    background: FloatArray
    misfit: float

    def weigh_field(self, wanted: FloatArray) -> FloatArray:
        """Weights (x, y, z) whose sum over the field is ``wanted`` (box,) · u."""
        total = float(wanted.sum())
        gain = ((wanted - total * self.seen) @ self.about) @ self.beside + total * self.constant
        weights = np.zeros(self.counted.shape)
        weights[self.counted] = gain * self.root
        return weights


def _divide_region(region: Mask) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Number of the box that each voxel belongs to (-1: none), the boxes' centres (n, 3) and voxels (n,)."""
    most = min(_MOST_BOXES, max(_MOST_FIELDS // region.size, 1))
    at = np.argwhere(region)
    # Were all blocks full, there would be few enough of them from this edge on.
    edge = max(int(np.cbrt(len(at) / most)), 1)
    number = _number_blocks(at, edge)
    while number.max() >= most:
        edge += 1
        number = _number_blocks(at, edge)
    boxes = np.full(region.shape, -1)
    boxes[tuple(at.T)] = number
    sizes = np.bincount(number).astype(np.float64)
    centres = np.stack([np.bincount(number, at[:, a]) / sizes for a in range(3)], axis=1)
    return boxes, centres, sizes


def _number_blocks(at: NDArray[np.int64], edge: int) -> NDArray[np.int64]:
    """Number (n,) of the block of an edge that each voxel (n, 3) lies in, among those that hold any."""
    block = (at - at.min(axis=0)) // edge
    _, number = np.unique(np.ravel_multi_index(tuple(block.T), block.max(axis=0) + 1), return_inverse=True)
    return np.asarray(number, dtype=np.int64)


def _box_fields(window: Window, boxes: NDArray[np.int64]) -> FloatArray:
    """Field (box, x, y, z) of every box of unit susceptibility."""
    shape, places = window.use.shape, np.argwhere(boxes >= 0)
    low, high = places.min(axis=0), places.max(axis=0)
    # Field of a voxel at all offsets that there are between the region's voxels and the window's.
    x, y, z = ((-int(b), n - 1 - int(a)) for a, b, n in zip(low, high, shape, strict=True))
    kernel = voxel_field((x[0], y[0], z[0]), (x[1], y[1], z[1]), window.voxel_m, window.b0_in_array)
    n_boxes = int(boxes.max()) + 1
    if len(places) > _MANY_VOXELS * n_boxes:
        return _convolve_boxes(kernel, boxes[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))], n_boxes)
    fields = np.zeros((n_boxes, *shape))
    for number, start in zip(boxes[boxes >= 0], high - places, strict=True):
        fields[number] += kernel[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))]
    return fields


def _convolve_boxes(kernel: FloatArray, boxes: NDArray[np.int64], n_boxes: int) -> FloatArray:
    """The sum of the kernel over each box's voxels, of which there are many: the same as by adding them, but faster."""
    wide = tuple(fft.next_fast_len(n, real=True) for n in kernel.shape)
    spectrum = fft.rfftn(kernel, wide)
    # Where the sum wraps round it begins before the window.
    valid = tuple(slice(n - 1, m) for n, m in zip(boxes.shape, kernel.shape, strict=True))
    fields = np.empty((n_boxes, *(m - n + 1 for n, m in zip(boxes.shape, kernel.shape, strict=True))))
    for number in range(n_boxes):
        inside = fft.rfftn((boxes == number).astype(np.float64), wide)
        fields[number] = fft.irfftn(spectrum * inside, wide)[valid]
    return fields


def _polynomials(shape: tuple[int, ...]) -> FloatArray:
    """Products of Legendre polynomials (term, x, y, z) up to the degree of the background."""
    along = [
        np.polynomial.legendre.legvander(np.linspace(-1, 1, n), min(_DEGREE, n // _VOXELS_PER_DEGREE)).T for n in shape
    ]
    degrees = itertools.product(*(range(len(axis)) for axis in along))
    x, y, z = along
    return np.stack([np.einsum("i,j,k", x[a], y[b], z[c]) for a, b, c in degrees if a + b + c <= _DEGREE])


def _prior(centres: FloatArray, voxel_m: FloatArray) -> FloatArray:
    """Covariance (box, box) of the process, of unit size."""
    edges = voxel_m / np.cbrt(np.prod(voxel_m))
    apart = ((centres[:, None] - centres[None]) * edges / _LENGTH) ** 2
    return np.asarray(np.exp(-apart.sum(axis=-1) / 2), dtype=np.float64)


def _variance(window: Window, explained: FloatArray) -> FloatArray:
    """Variance of every voxel's field, Hz²: its noise, and what the point spread mixes into it."""
    steps = np.zeros(explained.shape)
    for axis in range(3):
        step = np.diff(explained, axis=axis) ** 2
        ahead = [(0, 0)] * 3
        behind = [(0, 0)] * 3
        ahead[axis], behind[axis] = (0, 1), (1, 0)
        steps += np.pad(step, ahead) + np.pad(step, behind)
    lost = np.maximum(1 / np.maximum(window.brightness, 1e-3) - 1, 0.0)
    leak = _LEAK * lost / (2 * np.pi * window.time_s)
    return np.asarray(window.err_hz**2 + _SLOPE_SHARE**2 * steps + leak**2, dtype=np.float64)


def _solve(
    fields: FloatArray, smooth: FloatArray, prior: FloatArray, field: FloatArray, weight: FloatArray
) -> _Solution:
    """The posterior of u; its constant and the polynomials are free, the prior's size is that of largest likelihood."""
    counted = weight > 0
    root = np.sqrt(weight[counted])
    beside = fields[:, counted] * root
    p, inverse = _orthonormalise(np.concatenate([smooth[:, counted] * root, beside.sum(axis=0)[None]]))
    weighed = field[counted] * root
    y = weighed - (p @ weighed) @ p
    along = beside @ p.T
    beside -= along @ p
    low = linalg.cholesky(prior + 1e-9 * np.eye(len(prior)), lower=True)
    power, turn = linalg.eigh(low.T @ (beside @ beside.T) @ low)
    power = np.maximum(power, 0.0)
    back = low @ turn
    half = back.T @ (beside @ y)
    n = len(root) - len(p)
    size2 = _likely_size(power, half, float(y @ y), n)
    shrunk = size2 / (1 + size2 * power)
    u_about = back @ (shrunk * half)
    left = y - u_about @ beside
    misfit = float(left @ left) / max(n - float((power * shrunk).sum()), 1.0)
    # What the process leaves to the free terms; the last of them is the constant, which belongs to u.
    terms = (p @ weighed - u_about @ along) @ inverse
    return _Solution(
        u_about + terms[-1],
        counted,
        root,
        beside,
        (back * shrunk) @ back.T,
        inverse[:, -1] @ p,
        along @ inverse[:, -1],
        misfit * size2 * prior,
        np.tensordot(terms[:-1], smooth, 1),
        misfit,
    )


def _orthonormalise(free: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Orthonormal rows (term, n) of the same span, and the matrix (term, term) that makes them of ``free``.

    Cholesky's factor of the products, twice, which is as exact as Householder's QR and three times as fast where terms
    are few (Yamamoto et al., ETNA 44:306, 2015).
    """
    scale = 1 / np.sqrt((free**2).sum(axis=1))
    once = np.linalg.inv(np.linalg.cholesky((free @ free.T) * scale[:, None] * scale)) * scale
    rows = once @ free
    again = np.linalg.inv(np.linalg.cholesky(rows @ rows.T))
    return again @ rows, again @ once


def _likely_size(power: FloatArray, half: FloatArray, total: float, n: int) -> float:
    """The prior's variance of the largest marginal likelihood, over the noise's, which is profiled out."""
    sizes = 10.0 ** np.arange(-8, 12, 0.25) / max(float(power.max()), 1e-300)
    grown = 1 + sizes[:, None] * power
    left = total - (sizes[:, None] * half**2 / grown).sum(axis=1)
    likelihood = -n / 2 * np.log(np.maximum(left, 1e-300)) - np.log(grown).sum(axis=1) / 2
    return float(sizes[likelihood.argmax()])


def _trust(residual: FloatArray, variance: FloatArray, window: Window) -> FloatArray:
    """Factors (x, y, z) by which weights fall: of what is not explained beside the region, and of all that is in it.

    Cells that lie singly make a field inside that no box has; where it shows, the field around them counts for more.
    """
    z2 = residual**2 / variance
    inside, beside = window.use & window.region, window.use & ~window.region
    usual = max(float(np.median(z2[beside])) / _MEDIAN_CHI2, 1.0)
    lumps = max(float(np.mean(np.minimum(z2[inside], _OUTLIER**2))), 1.0) if inside.any() else 1.0
    return np.where(window.region, 1 / lumps, 1 / (1 + z2 / (usual * _OUTLIER**2)))


def _integrate(
    window: Window,
    solved: _Solution,
    fields: FloatArray,
    centres: FloatArray,
    sizes: FloatArray,
    variance: FloatArray,
    texture: Texture,
) -> Integral:
    """The integral, its centroid, and their errors."""
    wanted = sizes * float(np.prod(window.voxel_m))
    # As wide again on every side, so that opposite faces do not correlate.
    wide = tuple(fft.next_fast_len(2 * n, real=True) for n in variance.shape)
    spectrum = texture.field_spectrum(wide, window.voxel_m * 1e3, window.b0_in_array)

    def find_errors(c: FloatArray) -> tuple[float, float, float]:
        a = solved.weigh_field(c)
        missed = c - np.tensordot(fields, a, 3)
        prior = float(missed @ solved.prior @ missed)
        power = np.abs(fft.fftn(a, wide)) ** 2 * spectrum
        noise = float(power.mean() + (a**2 * np.where(window.use, variance, 0.0)).sum())
        dof = float(power.sum() ** 2 / max((power**2).sum(), 1e-300))
        return prior, noise, dof

    value = float(wanted @ solved.u)
    prior, noise, dof = find_errors(wanted)
    centroid, centroid_err = (wanted * solved.u) @ centres / value, np.zeros(3)
    for axis in range(3):
        # The centroid's error is that of Σ u (x − x̄) over the integral.
        prior_x, noise_x, _ = find_errors(wanted * (centres[:, axis] - centroid[axis]))
        centroid_err[axis] = np.sqrt(prior_x + noise_x) / abs(value)
    return Integral(
        value,
        float(np.sqrt(prior + noise + (_REL_SD * value) ** 2)),
        float(np.sqrt(noise)),
        dof * max(texture.n_voxels / np.prod(wide), 1.0),
        centroid,
        centroid_err,
        solved.misfit,
        np.tensordot(solved.u, fields, 1),
    )
