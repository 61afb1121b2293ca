"""A ball of activity seen through the point spread, on a smooth background, fitted in the noise that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from ferrosight.pet.noise import PetNoise, correlation_matrix
from ferrosight.pet.screen import build_basis, list_window
from ferrosight.pet.template import Templates
from ferrosight.types.pet import PetResponse

Array = NDArray[np.float64]
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_MAX_ITERATIONS = 25
#: A fit has arrived when no parameter moves by more than this share of its error.
_ARRIVED = 1e-2
#: Squared radii may go this far below zero (in the point spread's variance), where noise makes a source too sharp.
_LEAST_SQUARE, _MOST_FWHM = -1.5, 3.0
#: What is known of a squared radius beforehand: 0 with this deviation, in squared point spreads. A source too weak to
#: show its size would otherwise have any activity.
_SQUARE_PRIOR = 2.0
#: A source whose place is known with an error lies within so many standard deviations of it.
KNOWN_SD = 3.5
#: How far a position may move from where it was seen, in point spreads.
_REACH_FWHM = 0.75
#: Fewer of a window's voxels than this make no fit.
_LEAST_VOXELS = 40


@dataclass(frozen=True)
class Ball:
    """A source: place in fractional voxels (3,), activity (Bq), squared radius (mm², negative where noise says so)."""

    ijk: Array
    activity_bq: float
    square_mm2: float

    @property
    def radius_mm(self) -> float:
        """The radius, 0 for a point."""
        return math.sqrt(max(self.square_mm2, 0.0))


@dataclass(frozen=True)
class KnownPlace:
    """What is known of a source's place beforehand: a mean, fractional voxels (3,), and the inverse covariance (3, 3),
    1/mm² along the array's axes; None where the place is exactly known."""

    ijk: Array
    precision: Array | None = None

    def deviate(self, ijk: Array, voxel_mm: tuple[float, float, float]) -> float:
        """Squared distance of a place (3,) in the known one's standard deviations; infinite where that is exact."""
        away = (ijk - self.ijk) * np.array(voxel_mm)
        return math.inf if self.precision is None else float(away @ self.precision @ away)

    def hold(self, ijk: Array, voxel_mm: tuple[float, float, float]) -> Array:
        """The place (3,), brought back to where a source may lie: a bright neighbour must not draw it away."""
        beyond = math.sqrt(self.deviate(ijk, voxel_mm)) / KNOWN_SD if self.precision is not None else 0.0
        return np.asarray(ijk if beyond <= 1 else self.ijk + (ijk - self.ijk) / beyond)


@dataclass(frozen=True)
class Fit:
    """What a window's fit says.

    ``covariance`` (5, 5) belongs to activity (Bq), position along the array's axes (mm) and squared radius (mm²); rows
    of what was held fixed are zero. ``chi2`` and ``dof`` are of the whitened residual.
    """

    ball: Ball
    covariance: Array
    chi2: float
    dof: int
    n_voxels: int
    converged: bool
    background_bq_ml: float

    @property
    def activity_err_bq(self) -> float:
        """One standard deviation of the activity."""
        return math.sqrt(self.covariance[0, 0])


@dataclass(frozen=True)
class Fitter:
    """Everything that fits of one image share: its noise, its point spread, a window and its background's terms."""

    image: Array
    noise: PetNoise
    voxel_mm: tuple[float, float, float]
    response: PetResponse
    radius_fwhm: float
    n_background: int

    @cached_property
    def offsets(self) -> NDArray[np.int_]:
        """The window's voxels (n, 3) about its middle."""
        return list_window(self.voxel_mm, self.response, self.radius_fwhm)

    @cached_property
    def half(self) -> tuple[int, int, int]:
        """The window's reach along each axis, voxels."""
        x, y, z = np.abs(self.offsets).max(axis=0)
        return int(x), int(y), int(z)

    @cached_property
    def templates(self) -> Templates:
        """Images of balls in the window's box."""
        return Templates(self.response, self.voxel_mm, self.half)

    @cached_property
    def root(self) -> Array:
        """Lower Cholesky factor of the whole window's correlation."""
        return np.asfortranarray(cholesky(correlation_matrix(self.noise.correlation, self.offsets), lower=True))

    def render(self, balls: Sequence[Ball]) -> Array:
        """The image (x, y, z) of some balls, Bq/mL."""
        out = np.zeros(self.image.shape)
        for ball in balls:
            centre = np.round(ball.ijk).astype(int)
            offset = (ball.ijk - centre) * np.array(self.voxel_mm)
            box = ball.activity_bq * self.templates.build(offset, ball.square_mm2)[0]
            low = np.maximum(centre - self.half, 0)
            high = np.minimum(centre + self.half + 1, self.image.shape)
            there = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            first = low - centre + self.half
            out[there] += box[tuple(slice(int(a), int(a + b)) for a, b in zip(first, high - low, strict=True))]
        return out

    def list_near(self, ball: Ball, balls: Sequence[Ball]) -> list[Ball]:
        """Those of ``balls``, ``ball`` itself left out, that reach into its window."""
        reach = np.array(self.half) + np.array(self.response.fwhm_mm) / self.voxel_mm
        return [
            other for other in balls if other is not ball and (np.abs(other.ijk - np.round(ball.ijk)) <= reach).all()
        ]


def fit_ball(
    fitter: Fitter, start: Ball, others: Sequence[Ball] = (), *, known: KnownPlace | None = None, free_size: bool = True
) -> Fit | None:
    """Fit one ball; None where too little of its window lies in the image.

    Its place is free unless it is ``known``: then held, or fitted beside what is known of it (the largest posterior).

    ``others`` are neighbours whose places and sizes are held and whose activities are fitted along. The noise is that
    of the surroundings, although a hot voxel's is stronger: what a source adds is noise of short range, which its
    integral does not feel (lines of response see the whole body, of which a small source is little).
    """
    centre = np.round(start.ijk).astype(int)
    places = fitter.offsets + centre
    inside = ((places >= 0) & (places < fitter.image.shape)).all(axis=1)
    if np.count_nonzero(inside) < _LEAST_VOXELS:
        return None
    window = _Window(fitter, centre, inside, others)
    prior = None if known is None else known.precision
    free = np.array([True, *[known is None or prior is not None] * 3, free_size])
    sigma2 = [(_SIGMA_PER_FWHM * fwhm) ** 2 for fwhm in fitter.response.fwhm_mm]
    limits = _LEAST_SQUARE * min(sigma2), (_MOST_FWHM * max(fitter.response.fwhm_mm)) ** 2
    ball, converged = start, False
    for iteration in range(_MAX_ITERATIONS):
        model = window.model(ball)
        step, covariance, chi2, background = window.solve(ball, model, free, known)
        moved = _move(ball, step, fitter, start, limits)
        if known is not None:
            moved = replace(moved, ijk=known.hold(moved.ijk, fitter.voxel_mm))
        change = np.array(
            [
                moved.activity_bq - ball.activity_bq,
                *(moved.ijk - ball.ijk) * fitter.voxel_mm,
                moved.square_mm2 - ball.square_mm2,
            ]
        )
        errors = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
        ball = moved
        if iteration >= 2 and (np.abs(change[free]) <= _ARRIVED * errors[free]).all():
            converged = True
            break
    dof = window.n - int(free.sum()) - fitter.n_background - len(window.others)
    return Fit(ball, covariance, chi2, dof, window.n, converged, background)


def _move(ball: Ball, step: Array, fitter: Fitter, start: Ball, limits: tuple[float, float]) -> Ball:
    """The next ball: steps of place and size are kept within reach."""
    widths = np.array(fitter.response.fwhm_mm)
    shift = np.clip(step[1:4], -0.3 * widths, 0.3 * widths)
    reach = _REACH_FWHM * widths / fitter.voxel_mm
    ijk = np.clip(ball.ijk + shift / fitter.voxel_mm, start.ijk - reach, start.ijk + reach)
    most = 0.5 * float(widths.max()) ** 2
    square = float(np.clip(ball.square_mm2 + np.clip(step[4], -most, most), *limits))
    return Ball(ijk, float(ball.activity_bq + step[0]), square)


class _Window:
    """One window's voxels, data and background."""

    def __init__(
        self, fitter: Fitter, centre: NDArray[np.int_], inside: NDArray[np.bool_], others: Sequence[Ball]
    ) -> None:
        self.fitter, self.centre = fitter, centre
        self.index = tuple((fitter.offsets[inside] + fitter.half).T)
        voxels = tuple((fitter.offsets[inside] + centre).T)
        self.n = int(inside.sum())
        self.data = fitter.image[voxels]
        self.sigma = fitter.noise.sigma[voxels]
        self.basis = build_basis(fitter.offsets[inside], np.array(fitter.half, dtype=np.float64))[
            :, : fitter.n_background
        ]
        self.square_prior = 1 / (_SQUARE_PRIOR * float(np.prod(fitter.response.fwhm_mm)) ** (2 / 3)) ** 2
        self.others = [self.model(ball)[0] for ball in others]
        if inside.all():
            self.root = fitter.root
        else:
            matrix = correlation_matrix(fitter.noise.correlation, fitter.offsets[inside])
            self.root = np.asarray(cholesky(matrix, lower=True))

    def model(self, ball: Ball) -> Array:
        """The ball's image per activity and its derivatives, (5, n)."""
        offset = (ball.ijk - self.centre) * np.array(self.fitter.voxel_mm)
        return np.asarray(self.fitter.templates.build(offset, ball.square_mm2)[(slice(None), *self.index)])

    def solve(
        self, ball: Ball, model: Array, free: NDArray[np.bool_], known: KnownPlace | None
    ) -> tuple[Array, Array, float, float]:
        """A Gauss-Newton step of activity, place and squared radius; their covariance; χ²; the background (Bq/mL)."""
        columns = [model[0], *(ball.activity_bq * model[1:])]
        held = [column for column, use in zip(columns, free, strict=True) if use]
        design = np.column_stack([*held, *self.others, self.basis])
        current = ball.activity_bq * model[0]
        white = solve_triangular(
            self.root, np.column_stack([design, self.data - current]) / self.sigma[:, None], lower=True
        )
        a, y = white[:, :-1], white[:, -1]
        normal, right = a.T @ a, a.T @ y
        if free[4]:
            size = int(free.sum()) - 1
            normal[size, size] += self.square_prior
            right[size] -= self.square_prior * ball.square_mm2
        if known is not None and known.precision is not None:
            normal[1:4, 1:4] += known.precision
            right[1:4] -= known.precision @ ((ball.ijk - known.ijk) * self.fitter.voxel_mm)
        # Places that a weak source does not tell have no scale of their own: a part of the smallest kept finite.
        normal[np.diag_indices_from(normal)] *= 1 + 1e-9
        inverse = np.linalg.pinv(normal, hermitian=True)
        solution = inverse @ right
        chi2 = float(((y - a @ solution) ** 2).sum())
        n_free = int(free.sum())
        step, covariance = np.zeros(5), np.zeros((5, 5))
        step[free] = solution[:n_free]
        covariance[np.ix_(free, free)] = inverse[:n_free, :n_free]
        smooth = self.basis @ solution[-self.basis.shape[1] :]
        return step, covariance, chi2, float(smooth[np.argmax(model[0])])
