"""Recall, false discoveries and confusers are those counted by hand, and their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.evaluate import evaluate_catalogues
from ferrosight.types import KnownVisit

NAN = float("nan")


@pytest.fixture
def visits(make_clusters, make_truth):
    """Two scans: labelled bodies found and missed, a duplicate, two on one vein, one on air, one on nothing."""
    truth = make_truth(
        [(0, 0, 0), (1, 0, 0), (0, 5, 0), (9, 9, 9)],
        kind=["labelled", "labelled", "vein", "air"],
        iron_pg=[1.0, 10.0, NAN, NAN],
        axis_z_mm=[0.0, 0.0, 2.0, 0.0],
    )
    clusters = make_clusters(
        [(0, 0, 0.02), (0, 0.05, 0), (0, 5, 1.9), (0, 5, -1), (9, 9, 9), (3, 3, 3), (1, 0, 0)],
        status=["accepted"] * 6 + ["rejected"],
    )
    second = make_truth([(0, 0, 0), (0, 5, 0)], kind=["labelled", "vein"], iron_pg=[1.1, NAN])
    return [KnownVisit("a", clusters, truth), KnownVisit("b", make_clusters([(0, 0, 0)]), second)]


def test_the_numbers_are_those_counted_by_hand(visits):
    found = evaluate_catalogues(visits, 0.1).detection
    assert (found.recall.count, found.recall.total) == (2, 3)
    assert found.mass_column == "iron_pg"
    assert [(one.recall.count, one.recall.total) for one in found.by_mass] == [(2, 2), (0, 1)]
    assert [one.median for one in found.by_mass] == pytest.approx([1.05, 10.0])
    assert (found.accepted.count, found.accepted.value) == (7, 3.5)
    assert (found.false_positives.count, found.false_positives.value) == (5, 2.5)
    assert (found.false_discoveries.count, found.false_discoveries.total) == (5, 7)
    assert found.false_discovery_rate.value == pytest.approx((5 / 6 + 0) / 2)
    confusers = {one.kind: (one.accepted.count, one.bodies.count, one.bodies.total) for one in found.confusers}
    assert confusers == {"vein": (2, 1, 2), "air": (1, 1, 1), "duplicate": (1, 0, 0), "background": (1, 0, 0)}
    assert [one.accepted.count for one in found.confusers] == [2, 1, 1, 1]


def test_false_positives_are_the_sum_over_what_they_sit_on(visits):
    found = evaluate_catalogues(visits, 0.1).detection
    assert sum(one.accepted.count for one in found.confusers) == found.false_positives.count


def test_empty_tables_are_tables(make_clusters, make_truth):
    nothing = evaluate_catalogues([KnownVisit("a", make_clusters([]), make_truth([]))], 0.1).detection
    assert (nothing.recall.total, nothing.accepted.count, nothing.by_mass, nothing.froc) == (0, 0, (), ())
    assert nothing.false_discovery_rate.value == 0.0
    missed = evaluate_catalogues([KnownVisit("a", make_clusters([]), make_truth([(0, 0, 0)]))], 0.1).detection
    assert (missed.recall.count, missed.recall.total) == (0, 1)


def test_recall_and_false_positives_lie_in_their_intervals_19_times_in_20(make_clusters, make_truth):
    """600 studies are drawn with a known chance to find a cluster and a known rate of false ones."""
    rng = np.random.default_rng(11)
    n_studies, n_scans, n_bodies, chance, rate = 600, 3, 8, 0.7, 1.3
    middles = [(float(x), 0.0, 0.0) for x in range(n_bodies)]
    held_recall = held_rate = 0
    for _ in range(n_studies):
        visits = []
        for scan in range(n_scans):
            found = [middle for middle in middles if rng.random() < chance]
            false = [(x, 50.0, 0.0) for x in range(rng.poisson(rate))]
            visits.append(KnownVisit(str(scan), make_clusters(found + false), make_truth(middles)))
        detection = evaluate_catalogues(visits, 0.1).detection
        held_recall += detection.recall.low <= chance <= detection.recall.high
        held_rate += detection.false_positives.low <= rate <= detection.false_positives.high
    # exact intervals hold in 95 % at least, and these counts are high enough for no more than 99 %
    error = 3 * np.sqrt(0.05 * 0.95 / n_studies)
    assert 0.95 - error <= held_recall / n_studies <= 0.99
    assert 0.95 - error <= held_rate / n_studies <= 0.99
