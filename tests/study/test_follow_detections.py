"""What linking is told of clusters: places, chances to be found, chances to be false."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.study.follow_detections import FoundAs, LabelledVisit, find_false_chances, gather_detections
from ferrosight.types import CLUSTERS, Catalogue, Config, Grid, Rigid, Table

GRID = Grid((20, 20, 20), np.diag([0.1, 0.1, 0.1, 1.0]))
LIMIT = 1e-13


def found_everywhere() -> FoundAs:
    moment = np.full(GRID.shape, LIMIT, np.float32)
    moment[:2] = np.nan
    return FoundAs(GRID, moment, 0.9, 6.5)


def visit(catalogue: Catalogue, session: str, pose: Rigid, *, is_baseline: bool = False) -> LabelledVisit:
    places = {"x_mm": [1.0, 1.2, 0.5], "y_mm": [1.0, 0.4, 0.5], "z_mm": [1.0, 0.9, 0.5]}
    errors = {f"{axis}_mm_err": [0.01, 0.02, 0.02] for axis in "xyz"}
    ids = np.array([f"{session}_{n}" for n in range(3)])
    columns = {name: np.array(values) for name, values in (places | errors).items()}
    clusters = catalogue.clusters.with_columns(cluster_id=ids, **columns)
    own = dataclasses.replace(catalogue, clusters=clusters)
    return LabelledVisit(session, float(len(session)), is_baseline, pose, own, found_everywhere())


def test_the_chance_to_find_is_the_power_at_the_limit_and_nothing_outside_of_what_was_searched():
    found = found_everywhere()
    inside, outside, off = [1.0, 1.0, 1.0], [0.1, 1.0, 1.0], [5.0, 1.0, 1.0]
    places = np.array([inside, outside, off])
    np.testing.assert_allclose(found.chance(np.full(3, LIMIT), places), [0.9, 0, 0], atol=2e-3)
    rising = [found.chance(np.array([ratio * LIMIT]), np.array([inside]))[0] for ratio in (1e-3, 0.5, 1.0, 3.0)]
    assert rising == sorted(rising)
    assert 0 < rising[0] < rising[1] < 0.1
    assert rising[-1] < 1
    np.testing.assert_allclose(found.volume_mm3, 18 * 20 * 20 * 1e-3)


def test_accepted_clusters_of_labelled_visits_go_into_the_subjects_space_with_both_errors(catalogue):
    turn = Rigid.from_twist([0.2, 0.0, 0.0, 0.0, 0.0, np.pi / 2]).with_covariance(np.diag([4e-4] * 3 + [0.0] * 3))
    visits = [
        visit(catalogue, "b", Rigid.identity(), is_baseline=True),
        visit(catalogue, "v1", turn),
        visit(catalogue, "v12", Rigid.identity()),
    ]
    found = gather_detections(visits, Config())
    assert found.cluster_ids.tolist() == ["v1_0", "v1_1", "v12_0", "v12_1"]
    assert found.visit.tolist() == [1, 1, 2, 2]
    np.testing.assert_allclose(found.position_mm[0], turn.apply([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(np.diag(found.covariance_mm2[0]), 1e-4 + 4e-4, rtol=1e-9)
    np.testing.assert_allclose(np.diag(found.covariance_mm2[3]), 4e-4)
    assert (found.detection_probability[:, 0] == 0).all()
    assert (found.detection_probability[:, 1:] > 0).any(axis=1).all()
    assert (found.false_per_mm3 > 0).all()


def test_without_mass_the_chances_do_not_depend_on_the_moments(catalogue):
    config = Config().with_settings({"link.use_mass": False})
    heavier = dataclasses.replace(
        catalogue, clusters=catalogue.clusters.with_columns(moment_am2=7 * catalogue.clusters["moment_am2"])
    )
    chances = [
        gather_detections([visit(one, "v1", Rigid.identity())], config).detection_probability
        for one in (catalogue, heavier)
    ]
    np.testing.assert_array_equal(*chances)


def test_chances_to_be_false_grow_with_the_rank_and_add_up_to_what_is_expected():
    rng = np.random.default_rng(4)
    expected = np.sort(rng.exponential(0.05, 30)).cumsum()
    rng.shuffle(expected)
    chances = find_false_chances(expected)
    np.testing.assert_allclose(chances.sum(), expected.max())
    assert (np.diff(chances[np.argsort(expected)]) >= -1e-12).all()
    assert find_false_chances(np.array([1e-12]))[0] == pytest.approx(1e-12)
    assert find_false_chances(np.array([3.0]))[0] < 1
    assert len(find_false_chances(np.zeros(0))) == 0


def test_nothing_found_is_no_detection(catalogue):
    empty = dataclasses.replace(catalogue, clusters=Table(CLUSTERS, {}), fits=catalogue.fits.where(np.zeros(0, int)))
    one = LabelledVisit("v", 1.0, False, Rigid.identity(), empty, found_everywhere())
    assert len(gather_detections([one], Config())) == 0
