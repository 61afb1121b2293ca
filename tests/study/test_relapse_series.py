"""Lineages from tracks: what is added up, what ends a lineage, and what counts as new."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.study.relapse_series import (
    FollowedVisit,
    gather_hot_spots,
    gather_tracks,
    name_protocol,
    trace_lineages,
)
from ferrosight.types import CLUSTERS, PET_CLUSTERS, Table
from ferrosight.types.schema import TRACKS

PG = 1e-13
NAN = np.nan


def visits(n, expected_false=None, hot_spots=None):
    """``n`` visits a week apart; ``expected_false`` by the name of the cluster."""
    clusters = Table.from_rows(
        CLUSTERS, [{"cluster_id": name, "expected_false": value} for name, value in (expected_false or {}).items()]
    )
    spots = hot_spots or [None] * n
    return [FollowedVisit(f"v{visit}", 7.0 * visit, "p", clusters, spots[visit]) for visit in range(n)]


def track(name, values, *, x=0.0, parents=(), err=1.0):
    """Rows of one track: a number is detected, a number in a list forced, None no row."""
    rows = []
    for visit, value in enumerate(values):
        if value is None:
            continue
        forced = isinstance(value, list)
        rows.append(
            {
                "track_id": name,
                "session_id": f"v{visit}",
                "x_mm": x[visit] if isinstance(x, (list, tuple)) else x,
                "y_mm": 0.0,
                "z_mm": 0.0,
                "moment_am2": (value[0] if forced else value) * PG,
                "moment_am2_err": err * PG,
                "measurement": "forced" if forced else "detected",
                "cluster_id": "" if forced else f"{name}{visit}",
                "parent_ids": ";".join(parents),
            }
        )
    return rows


def trace(*tracks, n=4, reach=0.5, expected_false=None):
    table = Table.from_rows(TRACKS, [row for rows in tracks for row in rows])
    return trace_lineages(gather_tracks(table, visits(n, expected_false)), reach)


def totals(lineages):
    return [[None if np.isnan(v) else round(v / PG, 6) for v in row] for row in lineages.values]


def test_a_track_is_a_lineage_from_its_first_sighting_on_whether_it_is_seen_or_not():
    found = trace(track("a", [[0.3], 5.0, [4.0], 6.0]))
    assert totals(found) == [[None, 5.0, 4.0, 6.0]]
    assert found.sds[0, 1:] / PG == pytest.approx([1.0, 1.0, 1.0])
    assert found.births.tolist() == [1]
    assert found.members == (("a",),)


def test_no_tracks_are_no_lineages():
    found = trace_lineages(gather_tracks(Table(TRACKS, {}), visits(3)), 0.5)
    assert found.values.shape == (0, 3)
    assert found.places_mm.shape == (0, 3)
    assert found.new_candidates.tolist() == [0, 0, 0]
    assert trace_lineages(gather_tracks(Table(TRACKS, {}), []), 0.5).values.shape == (0, 0)


def test_neighbours_are_added_up_and_their_errors_with_them():
    found = trace(track("a", [5.0] * 4), track("b", [2.0] * 4, x=0.4, err=2.0), track("c", [9.0] * 4, x=0.8))
    assert totals(found) == [[16.0] * 4]  # c is within reach of b
    assert found.sds[0] / PG == pytest.approx(np.sqrt([6.0] * 4))
    apart = trace(track("a", [5.0] * 4), track("b", [2.0] * 4, x=0.6))
    assert totals(apart) == [[5.0] * 4, [2.0] * 4]


def test_tracks_that_are_taken_for_each_other_have_the_same_total():
    right = trace(track("a", [5.0] * 4), track("b", [9.0] * 4, x=0.3))
    wrong = trace(
        track("a", [5.0, 9.0, 9.0, 5.0], x=[0.0, 0.3, 0.3, 0.0]),
        track("b", [9.0, 5.0, 5.0, 9.0], x=[0.3, 0.0, 0.0, 0.3]),
    )
    assert totals(right) == totals(wrong) == [[14.0] * 4]


def test_a_merge_within_a_lineage_lets_it_go_on():
    found = trace(
        track("a", [5.0, 5.0, [0.1], [0.1]]),
        track("b", [9.0, 9.0, [0.2], [0.2]], x=0.3),
        track("c", [[0.0], [0.0], 14.0, 13.0], x=0.2, parents=("a", "b")),
    )
    assert totals(found) == [[14.0, 14.0, 14.0, 13.0]]
    assert found.members == (("a", "b", "c"),)


def test_a_merge_of_two_lineages_ends_both_before_it_and_begins_one():
    found = trace(
        track("a", [5.0, 5.0, [0.1], [0.1]]),
        track("b", [9.0, 9.0, [0.2], [0.2]], x=2.0),
        track("c", [None, None, 14.0, 13.0], x=1.0, parents=("a", "b")),
    )
    assert totals(found) == [[5.0, 5.0, None, None], [9.0, 9.0, None, None], [None, None, 14.0, 13.0]]
    assert found.births.tolist() == [0, 0, 2]
    assert found.new_candidates.tolist() == [0] * 4


def test_a_split_begins_anew_since_a_part_may_have_been_there_unseen():
    found = trace(
        track("a", [14.0, 14.0, [0.1], [0.1]]),
        track("b", [None, None, 5.0, 5.0], x=0.9, parents=("a",)),
        track("c", [None, None, 11.0, 11.0], x=-0.9, parents=("a",)),
    )
    assert totals(found) == [[14.0, 14.0, None, None], [None, None, 16.0, 16.0]]


def test_what_is_born_within_reach_ends_the_lineage_and_is_not_new():
    found = trace(track("a", [5.0] * 4), track("b", [[0.0], [0.0], 7.0, 3.0], x=0.4), expected_false={"b2": 1e-6})
    assert totals(found) == [[5.0, 5.0, None, None], [None, None, 12.0, 8.0]]
    assert found.new_candidates.tolist() == [0] * 4


def test_lineages_that_come_within_reach_are_one_from_then_on():
    found = trace(track("a", [5.0] * 4), track("b", [9.0] * 4, x=[2.0, 1.0, 0.3, 2.0]))
    assert totals(found) == [[5.0, 5.0, None, None], [9.0, 9.0, None, None], [None, None, 14.0, 14.0]]


def test_a_broken_track_is_not_counted_beside_the_one_that_took_its_place_until_it_is_seen_again():
    broken = trace(track("a", [5.0, 5.0, [4.0], [4.0]]), track("b", [[5.0], [5.0], 5.0, 5.0], x=0.1))
    assert totals(broken) == [[5.0, 5.0, None, None], [None, None, 5.0, 5.0]]
    back = trace(track("a", [5.0, [4.0], 4.0, [4.0]]), track("b", [None, 5.0, 5.0, 5.0], x=0.1))
    assert totals(back) == [[5.0, None, None, None], [None, 5.0, None, None], [None, None, 9.0, 9.0]]


def test_a_link_that_may_be_to_something_out_of_reach_begins_the_evidence_anew():
    rows = track("a", [5.0, 5.0, 9.0, 9.0])
    rows[1]["link_probability"], rows[2]["link_probability"] = 0.96, 0.9
    found = trace(rows)
    assert totals(found) == [[5.0, 5.0, None, None], [None, None, 9.0, 9.0]]
    assert found.n_unsure == 1
    assert found.new_candidates.tolist() == [0] * 4
    # within reach of each other it does not matter which is which
    shared = trace(rows, track("b", [9.0, 9.0, 5.0, 5.0], x=0.3))
    assert totals(shared) == [[14.0] * 4]
    assert shared.n_unsure == 0


def test_where_a_part_was_not_measured_there_is_no_total():
    found = trace(track("a", [5.0, 5.0, None, 5.0]), track("b", [9.0] * 4, x=0.3))
    assert totals(found) == [[14.0, 14.0, None, 14.0]]
    rows = track("a", [5.0] * 4)
    rows[1]["moment_am2_err"] = NAN
    rows[2]["moment_am2_err"] = 0.0
    assert totals(trace(rows)) == [[5.0, None, None, 5.0]]


def test_only_what_is_far_from_all_and_surely_not_false_is_new():
    found = trace(
        track("first", [5.0] * 4),
        track("sure", [None, 5.0, 5.0, 5.0], x=5.0),
        track("doubtful", [None, 5.0, 5.0, 5.0], x=10.0),
        track("unknown", [None, None, 5.0, 5.0], x=15.0),
        track("part", [None, None, 3.0, 3.0], x=7.0, parents=("sure",)),
        expected_false={"first0": 1e-6, "sure1": 0.01, "doubtful1": 0.011, "part2": 1e-6},
    )
    assert found.new_candidates.tolist() == [0, 1, 0, 0]


def test_clusters_of_a_visit_that_could_not_be_laid_beside_the_others_are_neither_followed_nor_new():
    followed = track("a", [5.0, [NAN], 5.0, 5.0])
    alone = track("b", [None, 5.0, None, None], x=NAN)
    found = trace(followed, alone, expected_false={"b1": 1e-6})
    assert totals(found) == [[5.0, None, 5.0, 5.0]]
    assert found.new_candidates.tolist() == [0] * 4


def test_lines_of_other_visits_are_left_out_and_a_session_comes_once():
    table = Table.from_rows(TRACKS, track("a", [5.0, 6.0, 7.0, 8.0]))
    assert gather_tracks(table, visits(2)).values.shape == (1, 2)
    twice = visits(2)
    with pytest.raises(InputError, match="a session of its own, but v0 comes twice"):
        gather_tracks(table, [twice[0], twice[0]])


def spots(*rows):
    """Hot spots of a visit: (x, activity, status)."""
    names = ("x_mm", "activity_bq", "status")
    blank = {"y_mm": 0.0, "z_mm": 0.0, "activity_bq_err": 10.0, "expected_false": 1e-4, "status": "accepted"}
    made = [{**blank, **dict(zip(names, row, strict=False))} for row in rows]
    return Table.from_rows(PET_CLUSTERS, [{**row, "cluster_id": f"x{row['x_mm']:g}"} for row in made])


def test_hot_spots_are_followed_by_place_and_missing_where_none_was_found():
    pet = [spots((0.0, 100.0), (30.0, 50.0)), spots((1.0, 110.0)), None, spots((2.0, 90.0), (31.0, 60.0))]
    followed = gather_hot_spots(visits(4, hot_spots=pet), 5.0)
    found = trace_lineages(followed, 5.0)
    np.testing.assert_array_equal(found.values, [[100.0, 110.0, NAN, 90.0], [50.0, NAN, NAN, 60.0]])
    assert found.members == (("x0",), ("x30",))
    assert found.new_candidates.tolist() == [0] * 4


def test_a_place_without_a_hot_spot_is_measured_where_the_visit_can():
    """Known places only, and not at the visit before the first one was found; births are those of what was found."""
    asked = []

    def measure(places):
        asked.append(places.tolist())
        return np.full(len(places), -0.5), np.full(len(places), 0.7)

    pet = [spots(), spots((1.0, 100.0)), spots(), spots((1.2, 90.0))]
    chain = [dataclasses.replace(one, measure_pet=measure) for one in visits(4, hot_spots=pet)]
    followed = gather_hot_spots(chain, 5.0)
    assert followed.values[0].tolist()[1:] == [100.0, -0.5, 90.0]
    assert np.isnan(followed.values[0, 0])
    assert followed.sds[0, 2] == 0.7
    assert followed.seen[0].tolist() == [False, True, False, True]
    assert len(asked) == 1
    assert trace_lineages(followed, 5.0).births.tolist() == [1]


def test_hot_spots_that_split_or_meet_have_one_total():
    pet = [spots((0.0, 100.0), (8.0, 40.0)), spots((4.0, 140.0)), spots((0.0, 70.0), (3.0, 30.0), (8.0, 40.0))]
    found = trace_lineages(gather_hot_spots(visits(3, hot_spots=pet), 9.0), 9.0)
    assert found.values[-1][-1] == 140.0
    assert np.nanmax(found.values) == 140.0


def test_a_new_hot_spot_counts_and_a_rejected_one_does_not():
    pet = [spots((0.0, 100.0)), spots((0.0, 100.0), (40.0, 60.0), (80.0, 60.0, "rejected"))]
    found = trace_lineages(gather_hot_spots(visits(2, hot_spots=pet), 5.0), 5.0)
    assert len(found.values) == 2
    assert found.new_candidates.tolist() == [0, 1]


def test_a_protocol_has_one_name_whatever_rounding_did_to_its_header():
    name = name_protocol(7.0, [0.004, 0.008], (0.1, 0.1, 0.12))
    assert name == "7 T, TE 4/8 ms, 0.1 × 0.1 × 0.12 mm"
    assert name_protocol(6.98, [0.0040000001, 0.00799999], (0.10001, 0.1, 0.12)) == name
    others = [(9.4, [0.004, 0.008], (0.1, 0.1, 0.12)), (7.0, [0.004], (0.1, 0.1, 0.12))]
    others.append((7.0, [0.004, 0.008], (0.1, 0.1, 0.15)))
    assert name not in [name_protocol(*other) for other in others]
