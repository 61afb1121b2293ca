"""Templates conserve activity, and their derivatives are those of what they draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ferrosight.pet.template import Templates
from ferrosight.types import PetResponse

VOXEL_MM = (0.5, 0.6, 0.8)
TEMPLATES = Templates(PetResponse((1.3, 1.5, 1.8), 0.4), VOXEL_MM, (9, 8, 7))
OFFSET = np.array([0.13, -0.21, 0.3])
ML = math.prod(VOXEL_MM) * 1e-3


@pytest.mark.parametrize("square", [0.0, 0.005, 0.3, 2.0])
def test_all_of_the_activity_is_in_the_window_and_in_its_place(square: float) -> None:
    image = TEMPLATES.build(OFFSET, square)[0]
    assert image.sum() * ML == pytest.approx(1, abs=5e-3)
    axes = [(np.arange(n) - n // 2) * edge for n, edge in zip(image.shape, VOXEL_MM, strict=True)]
    for axis, (offset, along) in enumerate(zip(OFFSET, axes, strict=True)):
        profile = image.sum(axis=tuple(a for a in range(3) if a != axis))
        assert (profile * along).sum() / profile.sum() == pytest.approx(offset, abs=2e-2)


@pytest.mark.parametrize("square", [-0.3, 0.0, 0.004, 0.3, 2.0])
def test_derivatives(square: float) -> None:
    built = TEMPLATES.build(OFFSET, square)
    step = 1e-4
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        slope = (TEMPLATES.build(OFFSET + shift, square)[0] - TEMPLATES.build(OFFSET - shift, square)[0]) / (2 * step)
        np.testing.assert_allclose(built[1 + axis], slope, atol=1e-6 * np.abs(slope).max())
    slope = (TEMPLATES.build(OFFSET, square + step)[0] - TEMPLATES.build(OFFSET, square - step)[0]) / (2 * step)
    np.testing.assert_allclose(built[4], slope, atol=1e-5 * np.abs(slope).max())


def test_a_ball_is_that_of_many_points() -> None:
    """A ball's image against points scattered evenly in it."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 3))
    points *= (1.2 * np.cbrt(rng.random(400)) / np.linalg.norm(points, axis=1))[:, None]
    # Antithetic points leave no shift of the centre.
    scattered = np.mean([TEMPLATES.build(sign * p, 0.0)[0] for p in points for sign in (1, -1)], axis=0)
    ball = TEMPLATES.build(np.zeros(3), 1.2**2)[0]
    assert np.abs(scattered - ball).max() < 0.03 * ball.max()


def test_a_gaussian_alone_is_a_gaussian() -> None:
    """Wide enough for its voxels, so that sampling loses nothing of it."""
    templates = Templates(PetResponse((2.0, 2.4, 3.0)), VOXEL_MM, (9, 9, 9))
    image = templates.build(np.zeros(3), 0.0)[0]
    sigmas = np.array([2.0, 2.4, 3.0]) / math.sqrt(8 * math.log(2))
    axes = [(np.arange(n) - n // 2) * edge for n, edge in zip(image.shape, VOXEL_MM, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    exact = np.exp(-0.5 * ((x / sigmas[0]) ** 2 + (y / sigmas[1]) ** 2 + (z / sigmas[2]) ** 2))
    exact /= (2 * math.pi) ** 1.5 * sigmas.prod() * 1e-3
    np.testing.assert_allclose(image, exact, atol=1e-3 * exact.max())
