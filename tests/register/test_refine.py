"""A pair is laid onto each other without bias, and its error is what it says, wherever one looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.register.refine import find_overlap, fit_pair
from ferrosight.types import Rigid, VisitImage
from ferrosight.types.transforms import place_covariance

Make = Callable[..., Any]
POSES = Rigid.from_twist([0.5, -0.3, 0.2, 0.05, 0.1, -0.08]), Rigid.from_twist([-0.8, 0.6, 0.9, -0.12, 0.04, 0.1])
TRUE = POSES[0].inverse().after(POSES[1])
START = Rigid.from_twist([0.8, -0.6, 0.5, 0.03, -0.03, 0.03]).after(TRUE)


@pytest.fixture(scope="module")
def draw_pair(draw_visit: Make, build_grid: Make) -> Make:
    """Two visits with different fields of view, voxels and obliquity."""

    def draw(seed: int, noise: float = 0.03) -> tuple[VisitImage, VisitImage]:
        rng = np.random.default_rng(seed)
        other = build_grid((27, 23, 25), (0.8, 1.05, 0.9), (-20.0, 15.0, 35.0))
        return draw_visit("a", POSES[0], rng, noise=noise), draw_visit("b", POSES[1], rng, grid=other, noise=noise)

    return draw


def test_without_noise_the_pose_is_exact_in_spite_of_profiles(draw_pair: Make, draw_places: Make) -> None:
    """Receive profiles move a blurred image by the blur times their slope; that is taken back."""
    first, second = draw_pair(1, noise=0.0)
    fit = fit_pair(first, second, START, 20_000)
    places = draw_places(second)
    assert fit.has_converged
    assert np.linalg.norm(fit.transform.apply(places) - TRUE.apply(places), axis=1).max() < 0.01


def test_neither_visit_is_favoured(draw_pair: Make, draw_places: Make) -> None:
    first, second = draw_pair(2)
    there, back = fit_pair(first, second, START, 20_000), fit_pair(second, first, START.inverse(), 20_000)
    places = draw_places(second)
    loop = back.transform.apply(there.transform.apply(places)) - places
    assert np.linalg.norm(loop, axis=1).mean() < 0.02


@pytest.mark.slow
def test_the_predicted_error_is_right_over_many_draws(draw_pair: Make, draw_places: Make) -> None:
    errors, covariances = [], []
    for seed in range(30):
        first, second = draw_pair(100 + seed, noise=0.06)
        fit = fit_pair(first, second, START, 8_000)
        places = draw_places(second)
        errors.append(fit.transform.apply(places) - TRUE.apply(places))
        covariances.append(fit.transform.carry_covariance(places))
    actual, predicted = np.square(errors).sum(axis=-1), np.trace(covariances, axis1=2, axis2=3)
    # 30 draws of six numbers each: 7 % of a standard deviation from chance alone
    assert np.sqrt(actual.mean() / predicted.mean()) == pytest.approx(1, abs=0.15)
    far = predicted.mean(axis=0) > np.median(predicted.mean(axis=0))
    for part in (far, ~far):
        assert np.sqrt(actual[:, part].mean() / predicted[:, part].mean()) == pytest.approx(1, abs=0.2)
    # what is said hardly depends on the draw
    said = np.sqrt(predicted.mean(axis=1))
    assert said.std() < 0.2 * said.mean()


def test_a_void_in_one_visit_alone_moves_nothing_when_masked(draw_pair: Make, draw_places: Make) -> None:
    first, second = draw_pair(3)
    dark = np.linalg.norm(np.indices(second.grid.shape).T - [13, 11, 12], axis=-1).T < 3
    holed = replace(second, magnitude=np.where(dark, 0, second.magnitude), excluded=dark)
    whole, masked = (fit_pair(first, image, START, 20_000) for image in (second, holed))
    places = draw_places(second)
    moved = np.linalg.norm(whole.transform.apply(places) - masked.transform.apply(places), axis=1).mean()
    sigma = np.sqrt(np.trace(whole.transform.carry_covariance(places), axis1=1, axis2=2).mean())
    assert moved < 2 * sigma


def test_a_tenth_of_the_noise_has_a_tenth_of_the_error(draw_pair: Make) -> None:
    sizes = [np.trace(fit_pair(*draw_pair(4, noise), START, 20_000).covariance[:3, :3]) for noise in (0.1, 0.01)]
    assert np.sqrt(sizes[0] / sizes[1]) > 4


def test_visits_that_share_nothing_cannot_be_fitted(draw_pair: Make) -> None:
    first, second = draw_pair(5)
    assert fit_pair(first, second, Rigid(np.eye(3), np.array([100.0, 0, 0])), 20_000) is None


def test_the_overlap_is_that_of_the_smaller_tissue(draw_visit: Make) -> None:
    image = draw_visit("a", Rigid.identity(), np.random.default_rng(1))
    half = image.mask.copy()
    half[: half.shape[0] // 2] = False
    smaller = replace(image, mask=half)
    assert find_overlap(image, smaller, Rigid.identity()) == 1
    assert find_overlap(smaller, replace(image, mask=image.mask & ~half), Rigid.identity()) == 0


def test_the_covariance_is_smallest_in_the_middle_of_the_tissue(draw_pair: Make) -> None:
    fit = fit_pair(*draw_pair(6), START, 20_000)
    middle = fit.places_mm.mean(axis=0)
    near, far = place_covariance(fit.covariance, np.array([middle, middle + np.array([40.0, 0, 0])]))
    assert np.trace(far) > 4 * np.trace(near)
