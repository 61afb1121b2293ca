"""SimpleITK's space and ours agree, on oblique grids, and its search starts near the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK

from ferrosight.register.coarse import find_starts, from_itk, to_itk, to_itk_image
from ferrosight.types import Rigid

Make = Callable[..., Any]


def test_voxels_lie_in_itk_where_they_lie_here(build_grid: Make) -> None:
    grid = build_grid(rotation_deg=(33.0, -21.0, 57.0))
    array = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    image = to_itk_image(array, grid)
    for ijk in ([0, 0, 0], [3, 17, 5], [20, 1, 19]):
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(ijk), grid.to_mm(ijk) * [-1, -1, 1], atol=1e-9)
        assert image[ijk] == array[tuple(ijk)]


@pytest.mark.parametrize("twist", [[0, 0, 0, 0, 0, 0], [3, -2, 5, 0.4, -0.9, 0.2], [1, 1, 1, 0, 0, 2.0]])
def test_motions_are_the_same_in_itk(twist: list[float]) -> None:
    motion = Rigid.from_twist(twist)
    transform = to_itk(motion, np.array([4.0, -7.0, 11.0]))
    flip = np.array([-1, -1, 1])
    place = np.array([12.0, -30.0, 8.0])
    np.testing.assert_allclose(transform.TransformPoint((place * flip).tolist()) * flip, motion.apply(place), atol=1e-9)
    back = from_itk(transform)
    np.testing.assert_allclose(back.apply(place), motion.apply(place), atol=1e-9)


def test_a_start_lies_within_a_few_voxels(draw_visit: Make, build_grid: Make, draw_places: Make) -> None:
    """Postures 25 degrees apart, off the scanner's middle, in grids of different size, voxels and obliquity."""
    rng = np.random.default_rng(3)
    poses = Rigid.identity(), Rigid.from_twist([2.0, -1.5, 2.5, 0.25, -0.2, 0.3])
    grids = build_grid(), build_grid((21, 25, 26), (1.1, 1.0, 0.9), (-15.0, 5.0, 60.0))
    first, second = (draw_visit(str(i), pose, rng, grid=grids[i]) for i, pose in enumerate(poses))
    true = poses[0].inverse().after(poses[1])
    places = draw_places(second)
    errors = [
        np.linalg.norm(start.apply(places) - true.apply(places), axis=1).mean() for start in find_starts(first, second)
    ]
    assert min(errors) < 2.0


def test_starts_are_the_same_bit_for_bit(draw_visit: Make) -> None:
    """ITK left to itself ends elsewhere by 1e-15 nearly every time where there is more than one core."""
    rng = np.random.default_rng(3)
    first, second = (draw_visit(str(i), Rigid.from_twist([i, 0.5 * i, 0, 0, 0, 0.1 * i]), rng) for i in range(2))
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    try:
        runs = [np.stack([start.affine for start in find_starts(first, second)]) for _ in range(6)]
        assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == 4
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])
