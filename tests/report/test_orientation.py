"""Planes, millimetres and letters follow the affine, whatever the array's order."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ferrosight.report.orientation import anatomical_view, direction_letters
from ferrosight.types import Grid

SHAPE = (5, 7, 4)


def grid_of(directions: NDArray[np.float64], voxel_mm: tuple[float, ...] = (0.5, 0.3, 1.0)) -> Grid:
    """A grid with these axis directions (columns) and an odd origin."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(voxel_mm)
    affine[:3, 3] = (3.0, -5.0, 7.0)
    return Grid(SHAPE, affine)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1.0, -1.0), repeat=3)))
def test_a_permuted_or_flipped_array_shows_the_same_voxel_at_the_same_place(
    order: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    directions = np.eye(3)[:, list(order)] * np.asarray(signs)
    grid = grid_of(directions)
    view = anatomical_view(grid)
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    arranged = view.arrange(volume)
    for ijk in [(0, 0, 0), (4, 2, 1), (1, 6, 3)]:
        mm = grid.to_mm(ijk)
        index = [
            round((c - axis.first_mm) / axis.voxel_mm)
            for c, axis in zip(view.coordinates(mm)[0], view.axes, strict=True)
        ]
        assert arranged[tuple(index)] == volume[ijk]
        # Without tilt the coordinate is the scanner's own.
        np.testing.assert_allclose(view.coordinates(mm)[0], mm, atol=1e-12)
    assert [axis.letters for axis in view.axes] == [("L", "R"), ("P", "A"), ("I", "S")]
    assert not any(axis.is_tilted for axis in view.axes)


def test_an_oblique_axis_keeps_true_lengths_and_says_that_it_is_tilted() -> None:
    angle = np.deg2rad(25)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    grid = grid_of(tilt)
    view = anatomical_view(grid)
    first, last = view.coordinates([grid.to_mm((0, 0, 0)), grid.to_mm((0, 6, 3))])
    np.testing.assert_allclose(last - first, [0, 6 * 0.3, 3 * 1.0], atol=1e-12)
    x, y, z = view.axes
    assert (x.label, y.label, z.label) == ("x (mm)", "y′ (mm)", "z′ (mm)")
    assert y.letters == ("PI", "AS")
    assert z.letters == ("IA", "SP")
    assert y.edges_mm[1] - y.edges_mm[0] == pytest.approx(7 * 0.3)


@given(st.lists(st.floats(-180, 180), min_size=3, max_size=3), st.integers(0, 5))
def test_each_array_axis_is_used_once_and_grows_towards_r_a_s(angles: list[float], order: int) -> None:
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, b, a, b], [a, b, b, a]] = [np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)]
        rotation = turn @ rotation
    view = anatomical_view(grid_of(rotation[:, list(list(permutations(range(3)))[order])]))
    assert sorted(axis.array_axis for axis in view.axes) == [0, 1, 2]
    for world, axis in enumerate(view.axes):
        assert axis.direction[world] >= 0
        assert axis.edges_mm[0] < axis.edges_mm[1]


def test_letters_name_the_nearest_axis_first() -> None:
    assert direction_letters([0, 0, 1]) == "S"
    assert direction_letters([0, -1, 0]) == "P"
    assert direction_letters([-0.8, 0.0, 0.6]) == "LS"
    assert direction_letters([np.sin(0.2), 0, -np.cos(0.2)]) == "I"
