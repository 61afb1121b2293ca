"""Fields of bodies against analytic ones, gradients against differences, bounds against what they bound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.physics.dipole import cylinder_field, harmonic_pattern, sphere_field, sphere_moment_am2
from ferrosight.simulate.bodies import HZ_M3_PER_AM2, Swarm, Tube

B0 = np.array([0.3, -0.2, 0.93]) / np.linalg.norm([0.3, -0.2, 0.93])
CENTRE = np.array([2e-4, -1e-4, 5e-5])


def make_points(rng: np.random.Generator, inner: float, outer: float, n: int = 300) -> NDArray[np.float64]:
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(CENTRE + rng.uniform(inner, outer, (n, 1)) * directions)


def make_point(core_m: float = 0.0, **kind: bool) -> Swarm:
    return Swarm(CENTRE[None], np.array([2e-12]), core_m, B0, **kind)


def make_tube(radius: float = 6e-5) -> Tube:
    axis = np.array([0.5, 0.7, -0.4]) / np.linalg.norm([0.5, 0.7, -0.4])
    return Tube(CENTRE - axis * 1e-2, axis, 2e-2, radius, 4e-7, 4e8, B0)


def test_point_outside_and_inside_its_core() -> None:
    points = make_points(np.random.default_rng(20261123), 1e-5, 2e-4)
    offsets = points - CENTRE
    r = np.linalg.norm(offsets, axis=1)
    expected = 2e-12 * harmonic_pattern("dipole", offsets, B0) * np.minimum(1, r / 6e-5) ** 3
    np.testing.assert_allclose(make_point(6e-5).field_and_gradient(points)[0], expected, rtol=1e-9)
    np.testing.assert_allclose(make_point().far_field(points), 2e-12 * harmonic_pattern("dipole", offsets, B0))


@pytest.mark.parametrize("core_m", [0.0, 6e-5])
def test_gradient_is_the_slope_of_the_field(core_m: float) -> None:
    body = make_point(core_m)
    points = make_points(np.random.default_rng(20261123), 2e-5, 5e-5)
    points = np.concatenate([points, make_points(np.random.default_rng(20261123), 7e-5, 2e-4)])
    _, gradient = body.field_and_gradient(points)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-9
        slope = (body.field_and_gradient(points + step)[0] - body.field_and_gradient(points - step)[0]) / 2e-9
        np.testing.assert_allclose(gradient[:, axis], slope, rtol=1e-4, atol=1e-5 * np.abs(gradient).max())


def test_sphere_is_the_analytic_sphere_and_hides_its_inside() -> None:
    moment = float(sphere_moment_am2(8e-5, -1e-6, 9.4))
    body = Swarm(CENTRE[None], np.array([HZ_M3_PER_AM2 * moment]), 8e-5, B0, is_sphere=True, inside_per_s=np.inf)
    points = make_points(np.random.default_rng(20261123), 1e-5, 3e-4)
    expected = sphere_field(points - CENTRE, 8e-5, -1e-6, B0) * 9.4 * 42.577478518e6
    np.testing.assert_allclose(body.field_and_gradient(points)[0], expected, rtol=1e-6, atol=1e-9)
    inside = np.linalg.norm(points - CENTRE, axis=1) < 8e-5
    decay = np.zeros(len(points))
    body.add_relaxation(points, decay)
    np.testing.assert_array_equal(decay, np.where(inside, np.inf, 0.0))


def test_long_tube_is_the_analytic_cylinder_with_its_gradient() -> None:
    body = make_tube()
    points = make_points(np.random.default_rng(20261123), 0, 4e-4)
    field, gradient = body.field_and_gradient(points)
    expected = cylinder_field(points - CENTRE, body.axis, body.radius_m, 4e-7, B0) * 4e8
    np.testing.assert_allclose(field, expected, atol=1e-3 * np.abs(expected).max())
    across = points - CENTRE - ((points - CENTRE) @ body.axis)[:, None] * body.axis
    clear = np.abs(np.linalg.norm(across, axis=1) - body.radius_m) > 1e-8
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-9
        slope = (body.far_field(points + step) - body.far_field(points - step)) / 2e-9
        np.testing.assert_allclose(gradient[clear, axis], slope[clear], atol=2e-3 * np.abs(gradient).max())


def test_short_tube_is_finite_everywhere_and_a_point_from_afar() -> None:
    axis = np.array([1.0, 0, 0])
    body = Tube(CENTRE, axis, 2e-4, 5e-5, 4e-7, 4e8, B0)
    s = np.linspace(-4e-4, 6e-4, 101)
    assert np.isfinite(body.far_field(CENTRE + s[:, None] * axis)).all()
    # moment/(B0/μ0) = Δχπa²L; field/B0 = that over 4π times the pattern
    far = CENTRE + np.array([1e-4, 0, 0]) + 4e-3 * np.array([[0.3, 0.5, 0.8], [-0.9, 0.1, 0.2]])
    middle = CENTRE + axis * 1e-4
    expected = 4e8 * 4e-7 * 5e-5**2 * 2e-4 / 4 * harmonic_pattern("dipole", far - middle, B0)
    np.testing.assert_allclose(body.far_field(far), expected, rtol=0.02)


@pytest.mark.parametrize("body", [make_point(), make_point(5e-5), make_tube()])
def test_curvature_bounds_the_second_derivative_and_reach_holds(body: Swarm | Tube) -> None:
    rng = np.random.default_rng(20261123)
    points = make_points(rng, 1.2e-4, 6e-4)
    if isinstance(body, Tube):
        rho = body.distance(points)
        points = points[rho > 5e-6]  # at the wall the field jumps
    step = rng.normal(size=points.shape)
    step *= 1e-6 / np.linalg.norm(step, axis=1, keepdims=True)
    second = body.far_field(points + step) - 2 * body.far_field(points) + body.far_field(points - step)
    second = np.abs(second) / 1e-12
    factor = 12.3 if isinstance(body, Tube) else 1.02  # a tube's bound is a twelfth on purpose
    assert (second <= factor * body.curvature(points, 5e-6)).all()
    limit = float(np.quantile(body.curvature(points, 0.0), 0.8))
    beyond = body.distance(points) > body.reach_where_curvature(limit)
    assert beyond.any()
    assert (second[beyond] <= factor * limit).all()
    limit_hz = float(np.median(np.abs(body.far_field(points))))
    beyond = body.distance(points) > body.reach_where_field(limit_hz)
    assert (np.abs(body.far_field(points))[beyond] <= limit_hz * 1.001).all()


def test_scattered_cells_look_like_a_point_from_three_radii_on() -> None:
    rng = np.random.default_rng(20261123)
    deviation = {10: 0.0, 100: 0.0}
    draws = 30
    for n in deviation:
        for _ in range(draws):
            cells = rng.normal(size=(n, 3))
            cells *= 1e-4 * np.cbrt(rng.random((n, 1))) / np.linalg.norm(cells, axis=1, keepdims=True)
            swarm = Swarm(cells + CENTRE, np.full(n, 1 / n), 0.0, B0)
            directions = make_points(rng, 1, 1) - CENTRE
            points = swarm.centroid_m + 3e-4 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
            point = harmonic_pattern("dipole", points - swarm.centroid_m, B0)
            error = swarm.field_and_gradient(points)[0] - point
            deviation[n] += float(np.sqrt((error**2).mean() / (point**2).mean())) / draws
    assert deviation[100] < 0.05
    assert deviation[10] > 2 * deviation[100]  # the arrangement shows where there are few


def test_a_swarm_taken_as_a_point_deviates_by_about_two_percent() -> None:
    rng = np.random.default_rng(20261123)
    deviations = []
    for _ in range(200):
        cells = CENTRE + 2e-5 * rng.uniform(-1, 1, (12, 3))
        swarm = Swarm(cells, np.full(12, 1e-13), 0.0, B0)
        directions = make_points(rng, 1, 1) - CENTRE
        points = swarm.centroid_m + 6.01 * swarm.extent_m * directions / np.linalg.norm(directions, axis=1)[:, None]
        exact = sum(1e-13 * harmonic_pattern("dipole", points - cell, B0) for cell in cells)
        fields = np.stack([swarm.field_and_gradient(points)[0], swarm.far_field(points)])
        deviations += np.sqrt(((fields - exact) ** 2).mean(axis=1) / (exact**2).mean()).tolist()
    # Single swarms spread: of 6000 the median is 1.6 %, one in a thousand above 4.1 %, the largest 4.6 %.
    assert 0.01 < np.mean(deviations) < 0.02
    assert max(deviations) < 0.05
