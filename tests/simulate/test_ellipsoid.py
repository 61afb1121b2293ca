"""An ellipsoid's field against the sphere, the long cylinder and the sum of its parts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.physics.dipole import cylinder_field, harmonic_pattern, sphere_field
from ferrosight.simulate.ellipsoid import Spheroid
from ferrosight.simulate.spec import build_rotation

B0 = np.array([0.3, -0.2, 0.93]) / np.linalg.norm([0.3, -0.2, 0.93])
CENTRE = np.array([2e-4, -1e-4, 5e-5])
AXES = build_rotation((20.0, -35.0, 50.0))


def make_body(half_axes_um: tuple[float, float, float], delta_chi: float = 4e-7, inside_per_s: float = 0.0) -> Spheroid:
    return Spheroid(CENTRE, np.array(half_axes_um) * 1e-6, AXES, delta_chi, 4e8, B0, inside_per_s)


def draw_points(inner: float, outer: float, n: int = 300) -> NDArray[np.float64]:
    rng = np.random.default_rng(20261123)
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(CENTRE + rng.uniform(inner, outer, (n, 1)) * directions)


def test_equal_half_axes_make_a_sphere() -> None:
    points = draw_points(1e-5, 8e-4)
    expected = sphere_field(points - CENTRE, 8e-5, 4e-7, B0) * 4e8
    np.testing.assert_allclose(make_body((80, 80, 80)).far_field(points), expected, atol=1e-6 * np.abs(expected).max())


def test_a_long_one_is_a_cylinder_inside_and_beside_it() -> None:
    points = draw_points(1e-6, 3e-4)
    body = make_body((60, 60, 30_000))
    expected = cylinder_field(points - CENTRE, AXES[:, 2], 60e-6, 4e-7, B0) * 4e8
    np.testing.assert_allclose(body.far_field(points), expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("half_axes", [(150, 90, 40), (30, 120, 60)])
def test_outside_it_is_the_sum_of_its_parts(half_axes: tuple[float, float, float]) -> None:
    body = make_body(half_axes)
    steps = (np.arange(40) + 0.5) / 20 - 1
    unit = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    unit = unit[(unit**2).sum(axis=1) < 1]
    parts = CENTRE + (unit * np.array(half_axes) * 1e-6) @ AXES.T
    amplitude = 4e8 * 4e-7 * np.prod(np.array(half_axes) * 1e-6) / 3 / len(parts)
    points = draw_points(2e-4, 1.2e-3, 60)
    expected = np.array([amplitude * harmonic_pattern("dipole", point - parts, B0).sum() for point in points])
    np.testing.assert_allclose(body.far_field(points), expected, atol=0.01 * np.abs(expected).max())


def test_inside_the_field_is_uniform_and_depends_on_the_shape() -> None:
    body = make_body((150, 90, 40))
    inside = draw_points(1e-6, 3.9e-5)
    field, gradient = body.field_and_gradient(inside)
    assert np.ptp(field) < 1e-9 * np.abs(field).max()
    np.testing.assert_array_equal(gradient, 0)
    # the three factors of any ellipsoid sum to one, so that the mean over B0's directions is zero
    total = sum(
        float(Spheroid(CENTRE, body.half_axes_m, AXES, 4e-7, 4e8, b0).far_field(CENTRE[None])[0]) for b0 in np.eye(3)
    )
    assert total == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("half_axes", [(80, 80, 80), (150, 90, 40), (60, 60, 200)])
def test_gradient_is_the_slope_and_curvature_and_reach_are_bounds(half_axes: tuple[float, float, float]) -> None:
    body = make_body(half_axes)
    points = draw_points(3e-5, 6e-4, 400)
    points = points[body._norm(points) > 1.1]
    field, gradient = body.field_and_gradient(points)
    steps = np.eye(3) * 1e-7
    slopes = np.stack([(body.far_field(points + s) - body.far_field(points - s)) / 2e-7 for s in steps], axis=1)
    np.testing.assert_allclose(gradient, slopes, atol=1e-3 * np.abs(gradient).max())
    for step in AXES.T * 1e-6:
        second = np.abs(body.far_field(points + step) - 2 * field + body.far_field(points - step)) / 1e-12
        assert (second <= 1.05 * body.curvature(points, 0.0)).all()
        limit = float(np.quantile(second, 0.8))
        assert (second[body.distance(points) > body.reach_where_curvature(limit)] <= limit).all()
    limit_hz = float(np.median(np.abs(field)))
    assert (np.abs(field)[body.distance(points) > body.reach_where_field(limit_hz)] <= limit_hz).all()


def test_distance_is_never_more_than_the_true_one() -> None:
    body = make_body((150, 90, 40))
    points = draw_points(3e-5, 6e-4, 50)
    directions = draw_points(1, 1, 20_000) - CENTRE
    surface = CENTRE + (directions * body.half_axes_m) @ AXES.T
    true = np.array([np.linalg.norm(surface - point, axis=1).min() for point in points])
    inside = body._norm(points) < 1
    assert (body.distance(points)[~inside] <= true[~inside] + 1e-9).all()
    np.testing.assert_array_equal(body.distance(points)[inside], 0)
    low, high = body.bounds()
    np.testing.assert_allclose(surface.min(axis=0), low, atol=1e-6)
    np.testing.assert_allclose(surface.max(axis=0), high, atol=1e-6)


def test_only_the_inside_relaxes_faster() -> None:
    body = make_body((150, 90, 40), inside_per_s=70.0)
    points = draw_points(1e-5, 3e-4)
    total = np.full(len(points), 5.0)
    body.add_relaxation(points, total)
    np.testing.assert_array_equal(total, np.where(body._norm(points) < 1, 75.0, 5.0))
