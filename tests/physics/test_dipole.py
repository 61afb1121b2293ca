"""Dipole, sphere, cylinder and kernel against reference facts and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import fft

from ferrosight.physics.constants import GAMMA_RAD_PER_S_T
from ferrosight.physics.dipole import (
    HARMONICS,
    box_field,
    cylinder_field,
    dipole_field_t,
    dipole_kernel,
    equatorial_radius_m,
    frame_of_b0,
    harmonic_pattern,
    line_pattern,
    phase_amplitude_rad_m3,
    sphere_field,
    sphere_moment_am2,
    voxel_field,
)

OBLIQUE = np.array([0.4, -0.3, 0.87])


def directions(n: int = 5) -> st.SearchStrategy[NDArray[np.float64]]:
    """Any direction that is not nearly zero."""
    return arrays(np.float64, 3, elements=st.floats(-n, n)).filter(lambda v: float(np.linalg.norm(v)) > 0.1)


def sphere_points(n: int = 40) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points on the unit sphere and weights that integrate low harmonics exactly (mean over the sphere)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    phi = 2 * np.pi * np.arange(2 * n) / (2 * n)
    cosine, angle = np.meshgrid(nodes, phi, indexing="ij")
    sine = np.sqrt(1 - cosine**2)
    points = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], axis=-1).reshape(-1, 3)
    return points, np.repeat(weights, 2 * n) / (4 * n)


def test_phase_amplitude_of_ten_picograms() -> None:
    assert phase_amplitude_rad_m3(9.36e-13, 0.010) == pytest.approx(2.504e-13, rel=1e-3)


def test_radius_of_one_radian() -> None:
    assert equatorial_radius_m(9.36e-13, 0.010) == pytest.approx(63.03e-6, rel=1e-3)


@given(st.floats(1e-15, 1e-9), st.floats(1e-4, 0.1), st.floats(1.1, 100))
def test_radius_grows_with_the_cube_root_of_moment_and_time(moment: float, echo_time: float, factor: float) -> None:
    base = float(equatorial_radius_m(moment, echo_time))
    for grown in (equatorial_radius_m(moment * factor, echo_time), equatorial_radius_m(moment, echo_time * factor)):
        assert np.log(float(grown) / base) / np.log(factor) == pytest.approx(1 / 3, rel=0.01)


def test_phase_amplitude_is_the_field_times_gamma_and_time() -> None:
    offset = np.array([3e-5, 4e-5, -2e-5])
    phase = phase_amplitude_rad_m3(2e-13, 0.007) * harmonic_pattern("dipole", offset, OBLIQUE)
    assert phase == pytest.approx(GAMMA_RAD_PER_S_T * 0.007 * dipole_field_t(offset, 2e-13, OBLIQUE))


def test_moment_of_the_reference_sphere() -> None:
    assert sphere_moment_am2(200e-6, 1.03e-4, 11.7) == pytest.approx(3.2133e-8, rel=1e-3)


@pytest.mark.parametrize("b0", [(0, 0, 1), (1, 0, 0), (0, 1, 0), tuple(OBLIQUE)])
def test_harmonics_are_orthogonal_siblings(b0: tuple[float, float, float]) -> None:
    points, weights = sphere_points()
    values = np.stack([harmonic_pattern(name, points, b0) for name in HARMONICS])
    np.testing.assert_allclose((values * weights) @ values.T, 0.8 * np.eye(5), atol=1e-12)
    np.testing.assert_allclose(values @ weights, 0, atol=1e-12)


@given(directions(), directions())
def test_a_turned_dipole_is_a_unit_combination_of_the_five(b0: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    points, weights = sphere_points(12)
    family = np.stack([harmonic_pattern(name, points, b0) for name in HARMONICS])
    turned = harmonic_pattern("dipole", points, other)
    coefficients = family @ (weights * turned) / 0.8
    assert np.linalg.norm(coefficients) == pytest.approx(1, rel=1e-9)
    np.testing.assert_allclose(coefficients @ family, turned, atol=1e-9)


@given(directions())
def test_frame_of_b0_is_a_right_handed_rotation(b0: NDArray[np.float64]) -> None:
    frame = frame_of_b0(b0)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1)
    np.testing.assert_allclose(frame[2], b0 / np.linalg.norm(b0), atol=1e-12)


def test_pattern_on_the_pole_on_the_equator_and_at_the_source() -> None:
    offsets = np.array([[0, 0, 2.0], [2.0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(harmonic_pattern("dipole", offsets, (0, 0, 1)), [2 / 8, -1 / 8, 0])
    np.testing.assert_allclose(harmonic_pattern("x2-y2", offsets, (0, 0, 1)), [0, np.sqrt(3) / 8, 0])


def test_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of dipole"):
        harmonic_pattern("l3", np.ones(3), (0, 0, 1))


def test_a_sphere_seen_from_outside_is_its_moment() -> None:
    offsets = np.array([[3e-4, 1e-4, 2e-4], [0.0, 0, 2.1e-4]])
    moment = float(sphere_moment_am2(2e-4, 1e-6, 7.0))
    expected = dipole_field_t(offsets, moment, OBLIQUE) / 7.0
    np.testing.assert_allclose(sphere_field(offsets, 2e-4, 1e-6, OBLIQUE), expected, rtol=1e-9)
    assert sphere_field(np.array([1e-5, 0, 0]), 2e-4, 1e-6, OBLIQUE) == 0


def test_cylinder_outside_and_inside() -> None:
    # axis along x, B0 along z: on the pole cos2φ = 1, on the equator -1; inside (Δχ/6)(0 - 1)
    offsets = np.array([[5.0, 0, 2], [5.0, 2, 0], [-3.0, 0, 0.5]])
    field = cylinder_field(offsets, (1, 0, 0), 1.0, 1e-6, (0, 0, 1))
    np.testing.assert_allclose(field, [1e-6 / 2 / 4, -1e-6 / 2 / 4, -1e-6 / 6], rtol=1e-12)
    # along B0 nothing outside, Δχ/3 inside
    along = cylinder_field(np.array([[2.0, 0, 1], [0.5, 0, 1]]), (0, 0, 1), 1.0, 1e-6, (0, 0, 1))
    np.testing.assert_allclose(along, [0, 1e-6 / 3], atol=1e-20)


@given(directions(), directions(), st.floats(0.5, 3), st.floats(0, 2 * np.pi))
def test_a_long_line_of_dipoles_is_a_cylinder(
    axis: NDArray[np.float64], b0: NDArray[np.float64], distance: float, angle: float
) -> None:
    frame = frame_of_b0(axis)
    offset = distance * (np.cos(angle) * frame[0] + np.sin(angle) * frame[1])
    # moment per metre over B0/μ0 is Δχπa²; times 1/4π gives Δχa²/4
    line = 0.25 * line_pattern(offset + 2000 * frame[2], axis, 4000.0, b0)
    assert line == pytest.approx(float(cylinder_field(offset, axis, 0.1, 1.0, b0)) / 0.01, abs=2e-6)


def test_a_line_is_the_sum_of_its_points() -> None:
    axis, length = np.array([0.2, 0.9, -0.4]) / np.linalg.norm([0.2, 0.9, -0.4]), 1.3
    offsets = np.array([[0.5, 0.2, 0.3], [-0.4, 2.0, 1.0], [0.1, -0.6, 0.2]])
    s = (np.arange(20000) + 0.5) / 20000 * length
    points = offsets[:, None, :] - s[:, None] * axis
    summed = harmonic_pattern("dipole", points, OBLIQUE).mean(axis=1) * length
    np.testing.assert_allclose(line_pattern(offsets, axis, length, OBLIQUE), summed, rtol=1e-6)


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (0.7, 1.0, 1.4)])
@pytest.mark.parametrize("b0", [(0, 0, 1), tuple(OBLIQUE)])
def test_kernel_gives_the_field_of_a_blurred_point(
    voxel: tuple[float, float, float], b0: tuple[float, float, float]
) -> None:
    # Outside, a Gaussian ball has a point's field: no edges, so that the grid resolves it.
    shape = (61, 54, 47)
    axes = [(np.arange(n) - n // 2) * h for n, h in zip(shape, voxel, strict=True)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    r = np.linalg.norm(offsets, axis=-1)
    chi = np.exp(-(r**2) / (2 * 1.5**2))
    volume = chi.sum() * np.prod(voxel)
    field = fft.ifftn(fft.fftn(chi) * dipole_kernel(shape, voxel, b0)).real
    # B/B0 = (χV/4π)·pattern
    expected = volume / (4 * np.pi) * harmonic_pattern("dipole", offsets, b0)
    shell = (r > 7.5) & (r < 10)
    error = field[shell] - expected[shell]
    error -= error.mean()  # copies in the neighbouring images shift the field a little
    assert np.sqrt((error**2).mean() / (expected[shell] ** 2).mean()) < 0.05


def test_kernel_is_a_third_less_the_squared_cosine_and_has_no_mean() -> None:
    kernel = dipole_kernel((8, 9, 7), (1, 2, 3), (0, 0, 1))
    assert kernel[0, 0, 0] == 0
    assert kernel[1, 0, 0] == pytest.approx(1 / 3)
    assert kernel[0, 0, 1] == pytest.approx(-2 / 3)


@pytest.mark.slow
def test_random_susceptibility_gives_the_dipole_filter_three_times_the_variance() -> None:
    # Fact 14c. The filter of each l = 2 pattern over r³ has that pattern's own angles in k-space.
    rng = np.random.default_rng(20261123)
    n = 96
    axes = np.meshgrid(*[fft.fftfreq(n)] * 3, indexing="ij")
    k = np.stack(axes, axis=-1)
    inside = (np.linalg.norm(k, axis=-1) < 0.45) & (np.linalg.norm(k, axis=-1) > 0)
    directions_k = np.where(inside[..., None], k / np.maximum(np.linalg.norm(k, axis=-1, keepdims=True), 1e-9), 0)
    filters = {name: harmonic_pattern(name, directions_k, OBLIQUE) for name in HARMONICS}
    kernel = dipole_kernel((n, n, n), (1, 1, 1), OBLIQUE)
    variance = dict.fromkeys(HARMONICS, 0.0)
    for _ in range(2):
        field = fft.fftn(rng.normal(size=(n, n, n)), workers=2) * kernel
        for name in HARMONICS:
            variance[name] += float(fft.ifftn(field * filters[name], workers=2).real.var())
    for name in HARMONICS[1:]:
        assert variance["dipole"] / variance[name] == pytest.approx(3, rel=0.05)


def test_a_box_is_the_sum_of_its_dipoles() -> None:
    edges = np.array([1.0, 1.7, 0.6])
    n = 40
    inner = np.stack(np.meshgrid(*[((np.arange(n) + 0.5) / n - 0.5) * e for e in edges], indexing="ij"), axis=-1)
    for neighbour in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 1, 1), (1, 0, -1)):
        at = np.array(neighbour) * edges
        summed = harmonic_pattern("dipole", at - inner, OBLIQUE).mean() * np.prod(edges) / (4 * np.pi)
        assert box_field(at, edges, OBLIQUE) == pytest.approx(summed, rel=1e-3)


def test_a_cube_has_no_field_at_its_centre_and_a_box_none_on_average_over_directions() -> None:
    assert box_field(np.zeros(3), np.ones(3), OBLIQUE) == pytest.approx(0, abs=1e-12)
    for at in ([0.1, -0.2, 0.05], [0.7, 0.2, -0.4], [-3.0, 0.0, 2.0]):
        assert sum(box_field(at, [1.0, 1.7, 0.6], axis) for axis in np.eye(3)) == pytest.approx(0, abs=1e-12)


def test_a_ball_of_small_boxes_has_the_field_of_a_sphere() -> None:
    edges, radius = np.array([0.1, 0.125, 0.2]), 1.0
    grid = np.stack(np.meshgrid(*[np.arange(-round(1 / e), round(1 / e) + 1) * e for e in edges], indexing="ij"), -1)
    boxes = grid[np.linalg.norm(grid, axis=-1) < radius]
    volume = len(boxes) * np.prod(edges)
    for at in ([2.0, 0.3, -0.4], [0.05, 1.5, 1.0], [0.0, 0.0, 2.5]):
        expected = harmonic_pattern("dipole", at, OBLIQUE) * volume / (4 * np.pi)
        assert box_field(np.array(at) - boxes, edges, OBLIQUE).sum() == pytest.approx(expected, rel=0.02)


def test_a_voxels_field_on_the_grid_is_that_of_its_box():
    voxel_m, first, last = np.array([0.8e-4, 1.0e-4, 1.7e-4]), (-7, -2, -30), (3, 5, 1)
    at = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True)), indexing="ij"), -1)
    expected = box_field(at * voxel_m, voxel_m, OBLIQUE)
    np.testing.assert_allclose(voxel_field(first, last, voxel_m, OBLIQUE), expected, rtol=0, atol=3e-15)
    # far from the voxel itself, too
    assert voxel_field((4, 3, 2), (5, 3, 4), voxel_m, OBLIQUE).shape == (2, 1, 3)
