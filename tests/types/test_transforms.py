"""Rigid motions compose, invert and carry errors as motions drawn at random do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.errors import ImageError, InputError
from ferrosight.types import Grid, Rigid, SubjectSpace, VisitImage, VisitPose

twists = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).filter(lambda t: np.linalg.norm(t[3:]) < 3.1)
POINTS = np.random.default_rng(1).normal(scale=20, size=(7, 3))


def draw_covariance(rng: np.random.Generator, size: float) -> np.ndarray:
    root = rng.normal(size=(6, 6)) * np.repeat([size, size / 20], 3)[:, None]
    return root @ root.T


@given(twists)
def test_the_twist_is_the_logarithm(twist: list[float]) -> None:
    np.testing.assert_allclose(Rigid.from_twist(twist).twist(), twist, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 9e-5, 1.1e-4, np.pi - 1e-9, np.pi])
def test_the_twist_holds_where_closed_forms_divide_by_nothing(angle: float) -> None:
    axis = np.array([0.6, 0.0, -0.8])
    motion = Rigid.from_twist(np.concatenate([[1.0, -2.0, 0.5], angle * axis]))
    np.testing.assert_allclose(Rigid.from_twist(motion.twist()).apply(POINTS), motion.apply(POINTS), atol=1e-7)


@given(twists, twists)
def test_composition_and_inverse_move_points_as_one_after_the_other(first: list[float], second: list[float]) -> None:
    one, two = Rigid.from_twist(first), Rigid.from_twist(second)
    np.testing.assert_allclose(two.after(one).apply(POINTS), two.apply(one.apply(POINTS)), atol=1e-9)
    np.testing.assert_allclose(one.inverse().apply(one.apply(POINTS)), POINTS, atol=1e-9)
    np.testing.assert_allclose(one.affine[:3] @ [*POINTS[0], 1], one.apply(POINTS[0]))


@given(twists, twists)
def test_the_adjoint_takes_a_motion_through_another(first: list[float], second: list[float]) -> None:
    outer, inner = Rigid.from_twist(first), 1e-3 * np.array(second)
    there = Rigid.from_twist(outer.adjoint @ inner).after(outer)
    np.testing.assert_allclose(there.apply(POINTS), outer.after(Rigid.from_twist(inner)).apply(POINTS), atol=1e-8)


def test_covariances_are_those_of_motions_drawn_at_random() -> None:
    """Of a chain of a motion after the inverse of another, at a place far from the origin, itself uncertain."""
    rng = np.random.default_rng(2)
    one = Rigid.from_twist([3, -2, 5, 0.4, 1.0, -0.3]).with_covariance(draw_covariance(rng, 0.01))
    two = Rigid.from_twist([-1, 4, 2, -0.8, 0.2, 0.5]).with_covariance(draw_covariance(rng, 0.01))
    place, spread = np.array([12.0, -30.0, 8.0]), np.diag([1e-4, 4e-4, 9e-4])
    assert one.covariance is not None
    assert two.covariance is not None
    n = 4000
    ones, twos = (rng.multivariate_normal(np.zeros(6), motion.covariance, n) for motion in (one, two))
    places = rng.multivariate_normal(place, spread, n)
    moved = [
        Rigid.from_twist(a).after(one).after(Rigid.from_twist(b).after(two).inverse()).apply(p)
        for a, b, p in zip(ones, twos, places, strict=True)
    ]
    predicted = one.after(two.inverse()).carry_covariance(place, spread)
    np.testing.assert_allclose(np.cov(np.array(moved).T), predicted, rtol=0.1, atol=0.05 * np.trace(predicted) / 3)


def test_the_error_of_a_rotation_grows_with_the_lever_arm() -> None:
    motion = Rigid.identity().with_covariance(np.diag([0, 0, 0, 0, 0, 1e-4]))
    near, far = motion.carry_covariance([[1.0, 0, 7], [10.0, 0, 7]])
    np.testing.assert_allclose(np.diag(near), [0, 1e-4, 0], atol=1e-12)
    np.testing.assert_allclose(np.diag(far), [0, 1e-2, 0], atol=1e-12)


def test_what_is_no_rotation_is_refused() -> None:
    with pytest.raises(InputError, match="rotation matrix"):
        Rigid(np.diag([1.0, 1.0, -1.0]), np.zeros(3))
    with pytest.raises(InputError, match="rotation matrix"):
        Rigid(1.01 * np.eye(3), np.zeros(3))


def test_a_visit_without_tissue_beside_its_clusters_is_refused() -> None:
    grid = Grid((3, 4, 5), np.eye(4))
    full = np.ones(grid.shape, dtype=bool)
    with pytest.raises(ImageError, match="needs tissue"):
        VisitImage("d1", np.ones(grid.shape), grid, full, full)


def test_between_two_visits_errors_in_common_cancel() -> None:
    rng = np.random.default_rng(3)
    common, apart = draw_covariance(rng, 0.1), draw_covariance(rng, 0.01)
    joint = np.kron(np.ones((2, 2)), common) + np.kron(np.eye(2), apart)
    one, two = Rigid.from_twist([1, 2, 3, 0.1, -0.2, 0.3]), Rigid.from_twist([0, -2, 1, 0.5, 0.1, 0.0])
    b0 = np.array([0.0, 0.0, 1.0])
    space = SubjectSpace((VisitPose("a", one, b0), VisitPose("lost", None, None), VisitPose("b", two, b0)), (), joint)
    found = space.between("a", "b")
    np.testing.assert_allclose(one.apply(found.apply(POINTS)), two.apply(POINTS), atol=1e-12)
    in_subject = Rigid.identity().with_covariance(2 * apart).carry_covariance(two.apply(POINTS))
    expected = one.rotation.T @ in_subject @ one.rotation
    np.testing.assert_allclose(found.carry_covariance(POINTS), expected, atol=1e-10)
    with pytest.raises(InputError, match="must both be registered"):
        space.between("a", "lost")
    with pytest.raises(InputError, match="no visit 'c'"):
        space.pose("c")
