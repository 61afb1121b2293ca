"""Visits of one subject meet in one space; what does not belong is said so; the result never changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.register import register_visits
from ferrosight.types import Grid, Rigid, SubjectSpace, VisitImage
from ferrosight.types.config import RegisterConfig

Make = Callable[..., Any]
CONFIG = RegisterConfig(max_samples=8_000)
TWISTS = ([0.5, -0.3, 0.2, 0.05, 0.1, -0.08], [-1.5, 1.0, 0.9, -0.12, 0.04, 0.2], [1.0, 1.2, -0.8, 0.15, -0.1, 0.0])
POSES = [Rigid.from_twist(twist) for twist in TWISTS]


@pytest.fixture(scope="module")
def images(draw_visit: Make, build_grid: Make) -> list[VisitImage]:
    rng = np.random.default_rng(7)
    grids = build_grid(), build_grid((27, 23, 25), (0.8, 1.05, 0.9), (-20.0, 15.0, 35.0)), build_grid((24, 30, 17))
    tilted = np.array([0.0, 0.6, 0.8])
    drawn = [draw_visit(f"d{i}", pose, rng, grid=grids[i]) for i, pose in enumerate(POSES)]
    return [drawn[0], replace(drawn[1], b0_direction=tilted), drawn[2]]


@pytest.fixture(scope="module")
def space(images: list[VisitImage]) -> SubjectSpace:
    return register_visits(images, CONFIG)


def test_visits_lie_on_each_other_within_what_is_predicted(
    space: SubjectSpace, images: list[VisitImage], draw_places: Make
) -> None:
    assert [pair.status for pair in space.pairs] == ["used"] * 3
    for i, j in ((0, 1), (0, 2), (1, 2)):
        places = draw_places(images[j])
        found, true = space.between(f"d{i}", f"d{j}"), POSES[i].inverse().after(POSES[j])
        error = np.linalg.norm(found.apply(places) - true.apply(places), axis=1)
        predicted = np.sqrt(np.trace(found.carry_covariance(places), axis1=1, axis2=2).mean())
        assert error.mean() < 0.1
        assert np.sqrt((error**2).mean()) < 3 * predicted


def test_the_space_lies_in_the_middle_and_loops_close(space: SubjectSpace) -> None:
    twists = [pose.to_subject.twist() for pose in space.poses if pose.to_subject is not None]
    np.testing.assert_allclose(np.sum(twists, axis=0), 0, atol=1e-9)
    loop = space.between("d0", "d1").after(space.between("d1", "d2")).after(space.between("d2", "d0"))
    np.testing.assert_allclose(loop.affine, np.eye(4), atol=1e-9)
    assert max(pair.loop_mm for pair in space.pairs) < 0.05


def test_b0_turns_with_the_scanner(space: SubjectSpace, images: list[VisitImage]) -> None:
    for pose, image in zip(space.poses, images, strict=True):
        assert pose.to_subject is not None
        np.testing.assert_allclose(pose.b0_direction, pose.to_subject.rotation @ image.b0_direction)
    between = [pose.b0_direction for pose in space.poses]
    true = POSES[0].rotation @ [0, 0, 1] @ (POSES[2].rotation @ [0, 0, 1])
    assert between[0] @ between[2] == pytest.approx(true, abs=1e-3)


def test_errors_of_two_visits_add_up_to_that_between_them(space: SubjectSpace) -> None:
    place = np.array([5.0, -4.0, 3.0])
    one, two = space.pose("d0").to_subject, space.pose("d1").to_subject
    assert one is not None
    assert two is not None
    there = one.inverse().apply(two.apply(place))
    added = np.trace(one.carry_covariance(there) + two.carry_covariance(place))
    assert added == pytest.approx(np.trace(space.between("d0", "d1").carry_covariance(place)), rel=0.5)


def test_the_same_bit_for_bit(space: SubjectSpace, images: list[VisitImage]) -> None:
    again = register_visits(images, CONFIG)
    np.testing.assert_array_equal(again.joint_covariance, space.joint_covariance)
    for pose, other in zip(again.poses, space.poses, strict=True):
        np.testing.assert_array_equal(pose.to_subject.affine, other.to_subject.affine)


def cut(image: VisitImage, low: int, high: int | None) -> VisitImage:
    affine = image.grid.affine.copy()
    affine[:3, 3] = image.grid.to_mm([0, low, 0])
    part = (slice(None), slice(low, high))
    magnitude = image.magnitude[part]
    x, y, z = magnitude.shape
    return VisitImage(image.session, magnitude, Grid((x, y, z), affine), image.mask[part], image.excluded[part])


def test_visits_that_share_nothing_are_not_used(images: list[VisitImage]) -> None:
    apart = register_visits([cut(images[0], 0, 13), cut(images[2], 17, None)], CONFIG)
    assert apart.pairs[0].status in ("no_overlap", "failed")
    assert apart.registered == ("d0",)
    assert apart.poses[1].to_subject is None
    assert apart.poses[1].b0_direction is None


@pytest.mark.slow
def test_another_subject_is_recognised_and_leaves_the_rest_alone(images: list[VisitImage], draw_visit: Make) -> None:
    stranger = draw_visit("stranger", Rigid.identity(), np.random.default_rng(1), subject=2)
    mixed = register_visits([*images[:2], stranger], CONFIG)
    assert mixed.registered == ("d0", "d1")
    statuses = {(pair.first, pair.second): pair.status for pair in mixed.pairs}
    assert statuses["d0", "d1"] == "used"
    assert "used" not in (statuses["d0", "stranger"], statuses["d1", "stranger"])


def test_one_visit_is_its_own_space(images: list[VisitImage]) -> None:
    alone = register_visits(images[:1], CONFIG)
    np.testing.assert_array_equal(alone.pose("d0").to_subject.affine, np.eye(4))
    np.testing.assert_array_equal(alone.joint_covariance, np.zeros((6, 6)))


def test_sessions_must_differ(images: list[VisitImage]) -> None:
    with pytest.raises(InputError, match="different sessions"):
        register_visits([images[0], images[0]], CONFIG)
    with pytest.raises(InputError, match="different sessions"):
        register_visits([], CONFIG)
