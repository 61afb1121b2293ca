"""Images are blurred exactly, in any direction, and read with their true slopes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ferrosight.register.sampling import find_usable, read_image, smooth_image, voxel_ellipsoid
from ferrosight.simulate import build_affine
from ferrosight.types import Grid, VisitImage

SHAPE = (33, 28, 21)
GRID = Grid(SHAPE, build_affine(SHAPE, (0.8, 1.0, 1.3), (25.0, -10.0, 40.0)))
PLACES = GRID.to_mm(np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1))


def gauss(places: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """A ball of that covariance, of unit integral, and nothing of it beyond the image."""
    exponent = np.einsum("...i,ij,...j", places, np.linalg.inv(covariance), places) / 2
    return np.exp(-exponent) / np.sqrt(np.linalg.det(2 * np.pi * covariance))


def image_of(magnitude: np.ndarray) -> VisitImage:
    return VisitImage("a", magnitude, GRID, np.ones(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool))


def test_an_oblique_blur_adds_its_covariance() -> None:
    narrow, blur = np.diag([4.0, 4.5, 5.0]), np.array([[3.0, 0.8, -0.5], [0.8, 2.0, 0.3], [-0.5, 0.3, 2.5]])
    image = image_of(gauss(PLACES, narrow))
    smooth = smooth_image(image, image.mask, blur)
    points = np.random.default_rng(1).normal(scale=2.0, size=(50, 3))
    values, slopes, is_inside = read_image(smooth, points)
    total = narrow + blur
    expected = gauss(points, total)
    assert is_inside.all()
    # what cubic splines leave at two voxels' standard deviation
    np.testing.assert_allclose(values, expected, atol=1e-3 * expected.max())
    true_slopes = -expected[:, None] * (points @ np.linalg.inv(total))
    np.testing.assert_allclose(slopes, true_slopes, atol=1e-2 * np.abs(true_slopes).max())


def test_a_blur_does_not_leak_round_the_faces() -> None:
    ramp = np.broadcast_to(np.arange(SHAPE[0], dtype=float)[:, None, None], SHAPE)
    image = image_of(ramp)
    smooth = smooth_image(image, image.mask, 0.5 * voxel_ellipsoid(GRID))
    values, _, _ = read_image(smooth, GRID.to_mm([[0, 10, 10], [1, 10, 10], [SHAPE[0] - 1, 10, 10]]))
    assert values[0] < 0.7
    assert values[2] > SHAPE[0] - 1.7


def test_beyond_the_outermost_centres_and_in_what_is_not_usable_nothing_is_read() -> None:
    image = image_of(np.ones(SHAPE))
    usable = image.mask.copy()
    usable[5, 6, 7] = False
    smooth = smooth_image(image, usable, 0.5 * voxel_ellipsoid(GRID))
    ijk = [[5.4, 6.4, 6.6], [5.6, 6.4, 7], [0, 0, 0], [-0.01, 3, 3], [3, SHAPE[1] - 0.99, 3]]
    _, _, is_inside = read_image(smooth, GRID.to_mm(ijk))
    np.testing.assert_array_equal(is_inside, [False, True, True, False, False])


def test_clusters_are_left_out_with_what_is_next_to_them() -> None:
    image = image_of(np.ones(SHAPE))
    excluded = image.excluded.copy()
    excluded[10, 10, 10] = True
    usable = find_usable(replace(image, excluded=excluded))
    assert not usable[10, 10, 8:13].any()
    assert usable[10, 10, 13]
    assert usable.sum() == usable.size - 25
