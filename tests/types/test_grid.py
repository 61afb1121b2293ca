"""Voxel indices and scanner millimetres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ferrosight.errors import ImageError, InputError
from ferrosight.types import Grid

Matrix = NDArray[np.float64]


def rotation(x: float, y: float, z: float) -> Matrix:
    """Rotations about the three axes, one after another."""
    turned = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        step = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turned = step @ turned
    return turned


angles = st.floats(-np.pi, np.pi)
sizes = st.floats(0.01, 5.0)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique grids of unequal voxels and odd shapes, left- and right-handed."""
    turned = rotation(draw(angles), draw(angles), draw(angles))
    flips = [draw(st.sampled_from([-1.0, 1.0])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag([flip * draw(sizes) for flip in flips])
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return Grid((draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 9))), affine)


@given(grids(), st.lists(st.tuples(*[st.floats(-300, 300)] * 3), min_size=1, max_size=5))
def test_indices_survive_the_way_to_millimetres_and_back(grid: Grid, points: list[tuple[float, float, float]]) -> None:
    ijk = np.array(points)
    np.testing.assert_allclose(grid.to_ijk(grid.to_mm(ijk)), ijk, atol=1e-6)


@given(grids())
def test_one_voxel_along_an_axis_is_that_axis_voxel_size(grid: Grid) -> None:
    steps = grid.to_mm(np.eye(3)) - grid.to_mm([0, 0, 0])
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), grid.voxel_mm, rtol=1e-9)
    np.testing.assert_allclose(steps, (grid.axes * grid.voxel_mm).T, atol=1e-9)
    assert grid.voxel_volume_m3 == pytest.approx(abs(np.linalg.det(grid.affine[:3, :3])) * 1e-9, rel=1e-6)


@given(grids(), angles, angles)
def test_a_direction_keeps_its_angles_when_seen_from_the_array(grid: Grid, azimuth: float, height: float) -> None:
    direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    seen = grid.direction_in_array(direction)
    assert np.linalg.norm(seen) == pytest.approx(1.0)
    np.testing.assert_allclose(grid.axes @ seen, direction, atol=1e-9)


def test_integer_indices_are_voxel_centres() -> None:
    affine = np.diag([0.5, 0.25, 2.0, 1.0])
    affine[:3, 3] = [10, -20, 30]
    grid = Grid((3, 5, 7), affine)
    np.testing.assert_array_equal(grid.to_mm([0, 0, 0]), [10, -20, 30])
    np.testing.assert_array_equal(grid.to_mm([[2, 4, 6]]), [[11, -19, 42]])


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 0), (1, 2, 3, 4)])
def test_a_grid_has_three_axes_with_voxels(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="three axes"):
        Grid(shape, np.eye(4))  # type: ignore[arg-type]


def test_a_sheared_affine_is_refused() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.01
    with pytest.raises(ImageError, match=r"right angles.*resample"):
        Grid((3, 4, 5), affine)


def test_a_collapsed_axis_is_refused() -> None:
    with pytest.raises(ImageError, match="positive"):
        Grid((3, 4, 5), np.diag([1.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_affine_that_is_not_finite_is_refused(bad: float) -> None:
    affine = np.eye(4)
    affine[1, 3] = bad
    with pytest.raises(InputError, match="affine must be finite"):
        Grid((3, 4, 5), affine)


def test_nobody_can_change_the_affine() -> None:
    grid = Grid((3, 4, 5), np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2.0
