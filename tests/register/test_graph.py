"""Poses from pairs: exact where pairs agree, unbiased, robust, and with the error that shared noise leaves."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.register.graph import Edge, centre_poses, solve_graph, spread_errors
from ferrosight.types import Rigid

PLACES = np.random.default_rng(1).uniform(-8, 8, size=(50, 3)) + np.array([5.0, -3.0, 2.0])
SPREAD = np.diag([1e-4, 2e-4, 3e-4, 2e-6, 1e-6, 3e-6])


def draw_poses(n: int, rng: np.random.Generator) -> list[Rigid]:
    return [Rigid.from_twist(rng.normal(scale=[3, 3, 3, 0.2, 0.2, 0.2])) for _ in range(n)]


def build_edges(poses: list[Rigid], noise: dict[tuple[int, int], np.ndarray] | None = None) -> dict:
    edges = {}
    for j in range(len(poses)):
        for i in range(j):
            motion = poses[i].inverse().after(poses[j])
            if noise is not None:
                motion = Rigid.from_twist(noise[i, j]).after(motion)
            edges[i, j] = Edge(motion.with_covariance(SPREAD), PLACES)
    return edges


def test_pairs_that_agree_are_met_exactly_in_the_middle() -> None:
    poses = draw_poses(5, np.random.default_rng(2))
    graph = solve_graph(5, build_edges(poses))
    assert max(graph.residual_mm.values()) < 1e-9
    np.testing.assert_allclose(sum(pose.twist() for pose in graph.poses), 0, atol=1e-9)


def test_the_middle_does_not_depend_on_the_order_of_visits_or_their_scanners_origin() -> None:
    rng = np.random.default_rng(3)
    poses = draw_poses(4, rng)
    base = solve_graph(4, build_edges(poses)).poses
    order = [2, 0, 3, 1]
    turned = solve_graph(4, build_edges([poses[i] for i in order])).poses
    for place, i in enumerate(order):
        np.testing.assert_allclose(turned[place].apply(PLACES), base[i].apply(PLACES), atol=1e-8)


def test_a_wrong_pair_is_outvoted() -> None:
    poses = draw_poses(4, np.random.default_rng(4))
    edges = build_edges(poses)
    wrong = Rigid.from_twist([4, -3, 2, 0.3, 0, 0.2]).after(edges[0, 2].motion)
    edges[0, 2] = Edge(Rigid(wrong.rotation, wrong.translation_mm, SPREAD), PLACES)
    graph = solve_graph(4, edges)
    assert graph.residual_mm[0, 2] > 2
    assert max(residual for pair, residual in graph.residual_mm.items() if pair != (0, 2)) < 0.05


def test_visits_that_no_pair_reaches_have_no_pose() -> None:
    poses = draw_poses(5, np.random.default_rng(5))
    edges = {pair: edge for pair, edge in build_edges(poses).items() if set(pair) <= {0, 3, 4} or set(pair) == {1, 2}}
    graph = solve_graph(5, edges)
    assert [pose is not None for pose in graph.poses] == [True, False, False, True, True]
    alone = solve_graph(1, {})
    np.testing.assert_array_equal(alone.poses[0].affine, np.eye(4))


def test_the_barycentre_of_two_is_half_way() -> None:
    motion = Rigid.from_twist([4, 2, -1, 0.3, -0.5, 0.2])
    centred = centre_poses({0: Rigid.identity(), 1: motion})
    np.testing.assert_allclose(centred[0].twist(), -motion.twist() / 2, atol=1e-12)


@pytest.mark.parametrize("is_shared", [True, False])
def test_predicted_errors_are_those_of_pairs_drawn_at_random(is_shared: bool) -> None:
    """Noise of a visit that is in all of its pairs gains nothing from more pairs; noise of each pair alone does."""
    rng = np.random.default_rng(6)
    truth = list(centre_poses(dict(enumerate(draw_poses(4, rng)))).values())
    pairs = [(i, j) for j in range(4) for i in range(j)]
    # so far apart that nothing goes together
    blocks = 10.0 * np.argwhere(np.ones((4, 5, 2)))
    n_blocks = len(blocks)
    errors, predicted = [], []
    for _ in range(30):
        own = rng.multivariate_normal(np.zeros(6), SPREAD / n_blocks, size=(4, n_blocks))
        noise, influences = {}, {}
        for i, j in pairs:
            # a visit's error lives in the subject's space: carried to the first's, as a pair's twist is
            back = truth[i].inverse().adjoint
            apart = own[j] - own[i] if is_shared else rng.multivariate_normal(np.zeros(6), SPREAD / n_blocks, n_blocks)
            influence = apart @ back.T
            noise[i, j] = influence.sum(axis=0)
            influences[i, j] = (blocks, influence)
        edges = build_edges(truth, noise)
        graph = solve_graph(4, edges)
        poses = {i: pose for i, pose in enumerate(graph.poses) if pose is not None}
        joint = spread_errors(range(4), poses, edges, influences, 2.0)
        errors.append(np.concatenate([poses[i].after(truth[i].inverse()).twist() for i in range(4)]))
        predicted.append(joint)
    actual = np.mean(np.square(errors), axis=0)
    expected = np.mean([np.diag(joint) for joint in predicted], axis=0)
    assert np.mean(actual / expected) == pytest.approx(1, abs=0.25)
    one_visit = np.mean(expected[:6] / np.diag(SPREAD))
    # of four visits' own noise three quarters are left; of six pairs' one eighth and a half of that
    assert one_visit == pytest.approx(0.75 if is_shared else 3 / 16, rel=0.25)
