"""All scans are pooled, and nothing to compare is refused."""

from __future__ import annotations

import dataclasses

import pytest

from ferrosight.errors import InputError
from ferrosight.evaluate import evaluate_catalogues
from ferrosight.types import KnownVisit


def test_the_order_of_scans_changes_nothing(make_clusters, make_truth):
    truth = make_truth([(0, 0, 0), (1, 0, 0)], iron_pg=[1.0, 2.0])
    found = [KnownVisit(str(n), make_clusters([(x, 0, 0) for x in range(n)]), truth) for n in range(4)]
    one, other = evaluate_catalogues(found, 0.1), evaluate_catalogues(found[::-1], 0.1)
    assert (one.visits, other.visits) == (("0", "1", "2", "3"), ("3", "2", "1", "0"))
    high = one.detection.false_discovery_rate.high
    assert other.detection.false_discovery_rate.high == pytest.approx(high)  # a sum in another order
    same = dataclasses.replace(other.detection, false_discovery_rate=one.detection.false_discovery_rate)
    assert same == one.detection
    assert one.detection.recall.count == 0 + 1 + 2 + 2


def test_a_candidate_is_never_matched_in_another_scan(make_clusters, make_truth):
    visits = [
        KnownVisit("a", make_clusters([(0, 0, 0)]), make_truth([])),
        KnownVisit("b", make_clusters([]), make_truth([(0, 0, 0)])),
    ]
    assert evaluate_catalogues(visits, 0.1).detection.recall.count == 0


def test_nothing_is_refused():
    with pytest.raises(InputError, match="given none"):
        evaluate_catalogues([], 0.1)
