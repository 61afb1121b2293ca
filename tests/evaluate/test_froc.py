"""The FROC curve is recall and false positives counted anew at each score, and never falls."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.evaluate import match_clusters
from ferrosight.evaluate.froc import trace_froc
from ferrosight.types import KnownVisit

MATCH_MM = 0.4


@st.composite
def scenes(draw: st.DrawFn):
    coordinate = st.floats(-0.8, 0.8).map(lambda x: round(x, 2))
    positions = st.tuples(coordinate, coordinate, st.just(0.0))
    places = draw(st.lists(positions, min_size=1, max_size=9))
    n = len(places)
    scores = draw(st.lists(st.sampled_from([float("nan"), 3.0, 4.0, 5.5, 7.0]), min_size=n, max_size=n))
    reasons = draw(st.lists(st.sampled_from(["", "not_significant", "vein"]), min_size=n, max_size=n))
    middles = draw(st.lists(positions, min_size=1, max_size=6))
    return places, scores, reasons, middles


@given(st.lists(scenes(), min_size=1, max_size=3))
def test_every_point_is_a_matching_of_its_own(make_clusters, make_truth, drawn):
    visits = [
        KnownVisit(str(i), make_clusters(places, score=scores, reasons=reasons), make_truth(middles))
        for i, (places, scores, reasons, middles) in enumerate(drawn)
    ]
    n_bodies = sum(len(visit.truth) for visit in visits)
    for curve in trace_froc(visits, MATCH_MM):
        assert (np.diff(curve.score) < 0).all()
        assert (np.diff(curve.recall) >= 0).all()
        assert (np.diff(curve.false_per_scan) >= 0).all()
        asked_of_all = np.unique([s for v in visits for s in v.clusters["score"] if np.isfinite(s)])
        for score in asked_of_all:
            n_found = n_false = 0
            for visit in visits:
                use = np.nan_to_num(visit.clusters["score"], nan=-1.0) >= score
                if curve.candidates == "shape":
                    use &= visit.clusters["reasons"] != "vein"
                body = match_clusters(visit.clusters, visit.truth, MATCH_MM, use).body
                n_found += int((body >= 0).sum())
                n_false += int(use.sum() - (body >= 0).sum())
            at = np.flatnonzero(curve.score == score)
            if len(at):
                np.testing.assert_allclose(curve.recall[at], n_found / n_bodies)
                np.testing.assert_allclose(curve.false_per_scan[at], n_false / len(visits))
            else:  # recall is that of the point before
                before = np.flatnonzero(curve.score > score)
                assert n_found == (round(curve.recall[before[-1]] * n_bodies) if len(before) else 0)


def test_what_was_rejected_for_its_shape_has_a_curve_less(make_clusters, make_truth):
    clusters = make_clusters(
        [(0, 0, 0), (5, 0, 0), (6, 0, 0)],
        score=[5.0, 9.0, 4.0],
        status=["accepted", "rejected", "rejected"],
        reasons=["", "vein;not_significant", "not_significant"],
    )
    visit = KnownVisit("a", clusters, make_truth([(0, 0, 0)]))
    everything, shape = trace_froc([visit], 0.1)
    assert (everything.candidates, shape.candidates) == ("all", "shape")
    assert (everything.score.tolist(), everything.false_per_scan.tolist()) == ([5.0, 4.0], [1.0, 2.0])
    assert (shape.score.tolist(), shape.false_per_scan.tolist()) == ([5.0, 4.0], [0.0, 1.0])
    assert [curve.recall.tolist() for curve in (everything, shape)] == [[1.0, 1.0]] * 2


def test_without_scores_or_without_labelled_bodies_there_is_none(make_clusters, make_truth):
    scored = make_clusters([(0, 0, 0)], score=[5.0])
    assert trace_froc([KnownVisit("a", make_clusters([(0, 0, 0)]), make_truth([(0, 0, 0)]))], 0.1) == ()
    assert trace_froc([KnownVisit("a", scored, make_truth([(0, 0, 0)], kind=["air"]))], 0.1) == ()
