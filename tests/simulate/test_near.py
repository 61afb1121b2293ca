"""Interpolation, filters and windows that carry what is finely sampled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.simulate.bodies import Body, Swarm
from ferrosight.simulate.near import (
    _filter_matrix,
    _interpolation_matrix,
    _lagrange_weights,
    _spline_weights,
    _wrap,
    measure_gaps,
    sample_near,
    split_into_tiles,
)

VOXEL = np.array([1.0e-4, 0.8e-4, 1.25e-4])
B0 = np.array([0.3, -0.2, 0.93]) / np.linalg.norm([0.3, -0.2, 0.93])
TURNS = np.array([0.006, 0.012])
SHAPE = (19, 22, 15)


def make_bodies() -> list[Body]:
    amplitude = 0.5 * float(np.prod(VOXEL)) / (2 * np.pi * TURNS[-1])
    places = np.array([[4.2, 7.4, 4.7], [13.1, 16.3, 9.9]]) * VOXEL
    return [Swarm(place[None], np.array([amplitude]), 0.0, B0) for place in places]


@pytest.mark.parametrize("per_voxel", [2, 4, 8])
def test_cubics_are_interpolated_exactly(per_voxel: int) -> None:
    n = 5
    at_voxels, fine = np.arange(-2, n + 2), (np.arange(n * per_voxel) + 0.5) / per_voxel - 0.5
    cubic = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.2])
    lagrange = _interpolation_matrix(n, per_voxel, _lagrange_weights)
    np.testing.assert_allclose(lagrange @ cubic(at_voxels), cubic(fine), atol=1e-12)
    spline = _interpolation_matrix(n, per_voxel, _spline_weights)
    assert (spline >= 0).all()
    np.testing.assert_allclose(spline.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(spline @ at_voxels, fine, atol=1e-12)


@pytest.mark.parametrize("per_voxel", [2, 4, 8])
def test_the_low_pass_keeps_what_half_voxels_can_hold(per_voxel: int) -> None:
    first, weights = _filter_matrix(40, per_voxel)
    fine = (np.arange(40 * per_voxel) + 0.5) / per_voxel - 0.5
    half = (first + np.arange(len(weights))) / 2
    inner = (half > 8) & (half < 31)
    for cycles, tolerance in ((0.0, 0.01), (0.2, 0.01), (0.5, 0.02), (0.7, 0.05)):
        # what a cell holds is an average over it
        cells = np.exp(2j * np.pi * cycles * fine) * np.sinc(cycles / per_voxel)
        np.testing.assert_allclose((weights @ cells)[inner], np.exp(2j * np.pi * cycles * half)[inner], atol=tolerance)


@given(st.integers(-40, 60), st.integers(1, 70), st.integers(1, 30))
def test_wrapping_puts_every_place_where_it_belongs(first: int, n: int, size: int) -> None:
    seen = []
    for to, of in _wrap(first, n, size):
        assert to.stop - to.start == of.stop - of.start > 0
        seen += list(zip(range(to.start, to.stop), range(of.start, of.stop), strict=True))
    assert seen == [((first + place) % size, place) for place in range(n)]


def test_tiles_cover_the_image_once_and_gaps_are_no_more_than_distances() -> None:
    count = np.zeros(SHAPE, dtype=int)
    tiles = split_into_tiles(SHAPE)
    for first, last in tiles:
        count[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] += 1
    assert (count == 1).all()
    bodies = make_bodies()
    for (first, last), gaps in zip(tiles, measure_gaps(bodies, tiles, VOXEL), strict=True):
        corners = np.stack(np.meshgrid(*zip(first - 0.5, last - 0.5, strict=True), indexing="ij"), -1).reshape(-1, 3)
        for body, gap in zip(bodies, gaps.tolist(), strict=True):
            assert gap <= body.distance(corners * VOXEL).min() + 1e-9


def test_what_is_near_is_the_share_of_the_signal_that_its_weight_says() -> None:
    bodies = make_bodies()
    near = sample_near(bodies, SHAPE, VOXEL, TURNS, 8)
    assert near.weight.min() == pytest.approx(0, abs=1e-6)
    assert near.weight.max() == pytest.approx(1, abs=1e-4)
    half = near.deviate(TURNS[1], 0, 2 * SHAPE[0])[:, ::2, ::2, ::2]
    # away from the points, where the signal is smooth, half voxels and voxels agree
    expected = near.weight * (np.exp(2j * np.pi * TURNS[1] * near.field_hz) - 1)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1).reshape(-1, 3)
    away = np.min([body.distance(ijk * VOXEL) for body in bodies], axis=0).reshape(SHAPE) > 3e-4
    assert np.abs(expected[away]).max() > 0.02
    assert np.abs(half[0] + 1j * half[1] - expected)[away].max() < 0.01


def test_nothing_is_near_nothing() -> None:
    near = sample_near([], SHAPE, VOXEL, TURNS, 8)
    assert not near.weight.any()
    assert not near.field_hz.any()
    assert not near.deviate(0.01, 0, 6).any()
