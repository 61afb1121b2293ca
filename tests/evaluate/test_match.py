"""The matching is one to one, by position alone, and the best of all that there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ferrosight.errors import InputError
from ferrosight.evaluate import match_clusters

MATCH_MM = 0.3
KINDS = ("labelled", "labelled", "vein", "air")


@st.composite
def scenes(draw: st.DrawFn, n_candidates: int = 5, n_bodies: int = 4):
    """Candidates (n, 3) with scores, and bodies with kinds, radii and axes, crowded enough to compete."""
    coordinate = st.floats(-0.6, 0.6).map(lambda x: round(x, 3))
    places = draw(st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=n_candidates))
    scores = draw(st.lists(st.sampled_from([3.0, 4.0, 5.0, 9.0]), min_size=len(places), max_size=len(places)))
    middles = draw(st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=n_bodies))
    n = len(middles)
    columns = {
        "kind": draw(st.lists(st.sampled_from(KINDS), min_size=n, max_size=n)),
        "radius_mm": draw(st.lists(st.sampled_from([0.0, float("nan"), 0.1, 0.4]), min_size=n, max_size=n)),
    }
    for name in "xyz":
        columns[f"axis_{name}_mm"] = draw(st.lists(st.sampled_from([0.0, 0.0, 0.2, -0.5]), min_size=n, max_size=n))
    return places, scores, middles, columns


def nearness(places, middles, columns) -> np.ndarray:
    """1 - u (n, m) as documented, the axis walked along in small steps; 0 out of reach."""
    table = np.zeros((len(places), len(middles)))
    for i, j in np.ndindex(table.shape):
        axis = np.array([columns[f"axis_{name}_mm"][j] for name in "xyz"])
        line = np.array(middles[j]) + np.linspace(-1, 1, 4001)[:, None] * axis
        reach = np.nan_to_num(columns["radius_mm"][j]) + MATCH_MM
        table[i, j] = max(0.0, 1 - np.linalg.norm(line - np.array(places[i]), axis=1).min() / reach)
    return table


@given(scenes())
def test_no_other_matching_is_better(make_clusters, make_truth, scene):
    places, scores, middles, columns = scene
    found = match_clusters(make_clusters(places, score=scores), make_truth(middles, **columns), MATCH_MM)
    near = nearness(places, middles, columns)
    labelled = np.array([kind == "labelled" for kind in columns["kind"]], dtype=bool)
    rival = near[:, ~labelled].max(axis=1, initial=0.0)
    difference = (near - rival[:, None])[:, labelled]
    assume(not ((np.abs(difference) < 1e-3) & (near[:, labelled] > 0)).any())  # who is nearer must not hang on rounding
    gain = np.where(labelled & (near > rival[:, None]), near, 0.0)

    def value(bodies) -> float:
        return sum(gain[i, j] for i, j in enumerate(bodies) if j >= 0)

    free = [*np.flatnonzero(labelled), *[-1] * len(places)]
    best = max(value(bodies) for bodies in itertools.permutations(free, len(places)))
    assert value(found.body.tolist()) == pytest.approx(best, abs=1e-3)
    used = found.body[found.body >= 0]
    assert len(set(used.tolist())) == len(used)
    assert set(used.tolist()) == set(np.flatnonzero(found.found_by >= 0).tolist())
    for i, j in enumerate(found.body.tolist()):
        assert j < 0 or (labelled[j] and near[i, j] > rival[i] - 1e-3)
        if j < 0 and near[i].max(initial=0.0) > 1e-3:  # a false one sits on what is nearest
            assert near[i, found.place[i]] == pytest.approx(near[i].max(), abs=1e-3)


@given(scenes(n_candidates=8, n_bodies=8), st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(make_clusters, make_truth, scene, random):
    places, scores, middles, columns = scene
    places, middles = list(dict.fromkeys(places)), list(dict.fromkeys(middles))
    scores, columns = scores[: len(places)], {name: values[: len(middles)] for name, values in columns.items()}
    clusters, truth = make_clusters(places, score=scores), make_truth(middles, **columns)
    i, j = list(range(len(places))), list(range(len(middles)))
    random.shuffle(i)
    random.shuffle(j)
    i, j = np.array(i, dtype=int), np.array(j, dtype=int)
    found = match_clusters(clusters, truth, MATCH_MM)
    again = match_clusters(clusters.where(i), truth.where(j), MATCH_MM)
    back = np.append(j, -1)  # -1 stays -1
    np.testing.assert_array_equal(back[again.body], found.body[i])
    np.testing.assert_array_equal(back[again.place], found.place[i])
    np.testing.assert_array_equal(np.append(i, -1)[again.found_by], found.found_by[j])
    np.testing.assert_allclose(again.distance_mm, found.distance_mm[i])


@given(scenes(), st.sampled_from([0.25, 8.0, 1024.0]))
def test_other_units_change_nothing(make_clusters, make_truth, scene, factor):
    places, scores, middles, columns = scene
    found = match_clusters(make_clusters(places, score=scores), make_truth(middles, **columns), MATCH_MM)
    scaled = {name: values if name == "kind" else factor * np.array(values) for name, values in columns.items()}
    clusters = make_clusters([factor * np.array(place) for place in places], score=scores)
    truth = make_truth([factor * np.array(middle) for middle in middles], **scaled)
    again = match_clusters(clusters, truth, factor * MATCH_MM)
    np.testing.assert_array_equal(again.body, found.body)
    np.testing.assert_array_equal(again.place, found.place)
    np.testing.assert_allclose(again.distance_mm, factor * found.distance_mm)


def test_masses_and_scores_do_not_decide_who_is_who(make_clusters, make_truth):
    places, middles = [(0, 0, 0), (0.1, 0, 0), (0.2, 0, 0)], [(0.02, 0, 0), (0.15, 0, 0)]
    truth = make_truth(middles, iron_pg=[1.0, 900.0])
    for scores in itertools.permutations([4.0, 5.0, 6.0]):
        clusters = make_clusters(places, score=scores, iron_pg=[900.0, 3.0, 1.0])
        assert match_clusters(clusters, truth, 0.1).body.tolist() == [0, 1, -1]


def test_it_is_the_sum_that_counts_and_nearer_ones_are_not_taken_first(make_clusters, make_truth):
    clusters, truth = make_clusters([(0.0, 0, 0), (0.3, 0, 0)]), make_truth([(0.1, 0, 0), (-0.35, 0, 0)])
    # the first candidate is nearest to the first body, which the second candidate needs
    assert match_clusters(clusters, truth, 0.5).body.tolist() == [1, 0]
    assert match_clusters(clusters.where(np.array([0])), truth, 0.5).body.tolist() == [0]


def test_a_vein_is_hit_anywhere_along_it_and_by_many(make_clusters, make_truth):
    truth = make_truth([(0, 0, 0), (0, 1.0, 0)], kind=["vein", "labelled"], radius_mm=[0.05, 0.0], axis_x_mm=[3.0, 0.0])
    clusters = make_clusters([(-2.9, 0.1, 0), (0, 0, 0), (2.9, 0, -0.1), (3.2, 0, 0)])
    found = match_clusters(clusters, truth, 0.1)
    assert found.place.tolist() == [0, 0, 0, -1]
    assert (found.body == -1).all()
    np.testing.assert_allclose(found.distance_mm, [0.1, 0.0, 0.1, np.nan])


def test_what_is_nearer_to_a_confuser_is_the_confusers(make_clusters, make_truth):
    truth = make_truth([(0, 0, 0), (0.06, 0, 0)], kind=["labelled", "haemorrhage"])
    found = match_clusters(make_clusters([(0.05, 0, 0), (0.01, 0, 0), (-0.05, 0, 0)]), truth, 0.1)
    assert found.body.tolist() == [-1, 0, -1]
    assert found.place.tolist() == [1, 0, 0]


def test_a_graft_is_found_anywhere_inside_it(make_clusters, make_truth):
    truth = make_truth([(0, 0, 0), (0.5, 0, 0)], radius_mm=[1.0, 0.0])
    found = match_clusters(make_clusters([(0.52, 0, 0), (0, -0.9, 0), (0, 1.2, 0)]), truth, 0.1)
    assert found.body.tolist() == [1, 0, -1]


def test_a_body_is_found_by_the_first_score_that_can(make_clusters, make_truth):
    clusters = make_clusters([(0.0, 0, 0), (0.05, 0, 0), (9, 9, 9)], score=[3.0, 7.0, 8.0])
    found = match_clusters(clusters, make_truth([(0.0, 0, 0)]), 0.1)
    assert found.body.tolist() == [0, -1, -1]  # the best match of all
    assert found.found_by.tolist() == [1]  # but from 7 on it is found


def test_rows_without_position_and_those_left_out_take_no_part(make_clusters, make_truth):
    clusters = make_clusters([(np.nan, 0, 0), (0, 0, 0), (0.01, 0, 0)])
    found = match_clusters(clusters, make_truth([(0, 0, 0)]), 0.1, np.array([True, False, True]))
    assert found.body.tolist() == [-1, -1, 0]
    assert found.place.tolist() == [-1, -1, 0]


def test_a_distance_at_which_everything_is_near_is_refused(make_clusters, make_truth):
    places = np.random.default_rng(0).random((4000, 3))
    with pytest.raises(InputError, match="choose a smaller distance"):
        match_clusters(make_clusters(places), make_truth(places), 10.0)


@pytest.mark.parametrize("distance", [0.0, -1.0, np.nan, np.inf])
def test_a_distance_that_is_none_is_refused(make_clusters, make_truth, distance):
    with pytest.raises(InputError, match="positive number of mm"):
        match_clusters(make_clusters([]), make_truth([]), distance)
