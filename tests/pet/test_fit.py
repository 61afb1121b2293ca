"""A ball's fit: unbiased in place, activity and size, with errors that many draws bear out."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.pet.fit import Ball, Fitter, KnownPlace, fit_ball
from ferrosight.pet.noise import PetNoise
from ferrosight.types import PetResponse

SHAPE, VOXEL_MM = (34, 32, 30), (0.5, 0.6, 0.8)
RESPONSE = PetResponse((1.3, 1.5, 1.8), 0.3)
SIGMA = 40.0


def build_fitter(image: np.ndarray, correlation: np.ndarray | None = None) -> Fitter:
    if correlation is None:
        correlation = np.zeros((3, 3, 3))
        correlation[1, 1, 1] = 1
    ones = np.ones(SHAPE)
    noise = PetNoise(ones.astype(bool), 500 * ones, SIGMA * ones, correlation, 0.0)
    return Fitter(image, noise, VOXEL_MM, RESPONSE, 3.5, 10)


def draw_background() -> np.ndarray:
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    return np.asarray(500 + 30 * i - 20 * j + 40 * k + 25 * i * j)


TRUTH = Ball(np.array([16.3, 15.6, 14.8]), 900.0, 1.0)


def test_without_noise_everything_is_found() -> None:
    empty = draw_background()
    image = empty + build_fitter(empty).render([TRUTH])
    fit = fit_ball(build_fitter(image), Ball(np.array([16.0, 16.0, 15.0]), 500.0, 0.0))
    assert fit is not None
    assert fit.converged
    # The prior on the size pulls a little.
    assert fit.ball.activity_bq == pytest.approx(900, rel=0.02)
    assert fit.ball.radius_mm == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(fit.ball.ijk, TRUTH.ijk, atol=0.02)
    assert fit.background_bq_ml == pytest.approx(500, abs=10)


@pytest.mark.slow
@pytest.mark.parametrize("correlated", [False, True])
def test_errors_are_those_of_many_draws(correlated: bool) -> None:
    """Noise smoothed over neighbours, or not: pulls of activity, place and squared radius have unit spread."""
    rng = np.random.default_rng(11)
    weights = np.array([0.3, 1.0, 0.3]) if correlated else np.array([0.0, 1.0, 0.0])
    weights /= np.sqrt((weights**2).sum())
    lag = np.correlate(weights, weights, "full")
    correlation = np.einsum("i,j,k->ijk", lag, np.array([0, 0, 1.0, 0, 0]), np.array([0, 0, 1.0, 0, 0]))
    empty = draw_background()
    clean = empty + build_fitter(empty).render([TRUTH])
    pulls = []
    for _ in range(150):
        white = rng.normal(size=SHAPE)
        noise = sum(weight * np.roll(white, shift, axis=0) for shift, weight in zip((-1, 0, 1), weights, strict=True))
        fit = fit_ball(build_fitter(clean + SIGMA * noise, correlation), Ball(np.array([16.0, 16.0, 15.0]), 500.0, 0.0))
        assert fit is not None
        errors = np.sqrt(np.diag(fit.covariance))
        shift_mm = (fit.ball.ijk - TRUTH.ijk) * VOXEL_MM
        off = np.array([fit.ball.activity_bq - 900, *shift_mm, fit.ball.square_mm2 - 1.0])
        pulls.append(off / errors)
        assert fit.chi2 / fit.dof == pytest.approx(1, abs=0.25)
    spread, mean = np.std(pulls, axis=0), np.mean(pulls, axis=0)
    assert (np.abs(spread - 1) < 0.22).all(), spread
    assert (np.abs(mean) < 0.4).all(), mean


def test_what_is_held_does_not_move() -> None:
    empty = draw_background()
    image = empty + build_fitter(empty).render([TRUTH])
    start = Ball(TRUTH.ijk, 100.0, 1.0)
    fit = fit_ball(build_fitter(image), start, known=KnownPlace(TRUTH.ijk), free_size=False)
    assert fit is not None
    np.testing.assert_array_equal(fit.ball.ijk, TRUTH.ijk)
    assert fit.ball.square_mm2 == 1.0
    assert fit.ball.activity_bq == pytest.approx(900, rel=1e-3)
    assert (fit.covariance[1:] == 0).all()


def test_a_neighbour_is_fitted_along() -> None:
    empty = draw_background()
    other = Ball(np.array([21.0, 15.0, 15.0]), 2500.0, 0.0)
    fitter = build_fitter(empty + build_fitter(empty).render([TRUTH, other]))
    start = Ball(np.array([16.0, 16.0, 15.0]), 500.0, 0.0)
    assert fitter.list_near(start, [other, Ball(np.array([2.0, 2.0, 2.0]), 1.0, 0.0)]) == [other]
    alone, beside = fit_ball(fitter, start), fit_ball(fitter, start, [other])
    assert alone is not None
    assert beside is not None
    assert beside.ball.activity_bq == pytest.approx(900, rel=0.03)
    assert abs(alone.ball.activity_bq - 900) > 5 * abs(beside.ball.activity_bq - 900)


def test_a_window_outside_the_image_gives_no_fit() -> None:
    assert fit_ball(build_fitter(draw_background()), Ball(np.array([-12.0, 5.0, 5.0]), 1.0, 0.0)) is None


def test_rendering_is_cut_at_the_border_and_conserves_inside() -> None:
    fitter = build_fitter(draw_background())
    volume_ml = float(np.prod(VOXEL_MM)) * 1e-3
    assert fitter.render([TRUTH]).sum() * volume_ml == pytest.approx(900, rel=0.01)
    assert fitter.render([Ball(np.array([0.0, 15.0, 15.0]), 900.0, 0.0)]).sum() * volume_ml < 800
