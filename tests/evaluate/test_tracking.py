"""Links, splits and merges are counted as a reader would count them."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.evaluate import check_probabilities, score_links

TRUE = np.array([[0, 2], [0, 3], [1, 4], [2, 5], [3, 5], [4, 6], [4, 7]])


def test_the_truth_scores_full_marks():
    found = score_links(TRUE[::-1], TRUE)
    assert (found.links.f1, found.splits.f1, found.merges.f1) == (1.0, 1.0, 1.0)
    assert (found.links.true, found.splits.true, found.merges.true) == (7, 2, 1)


def test_a_split_with_a_wrong_or_missing_part_is_no_split():
    wrong = TRUE.copy()
    wrong[1] = [0, 4]
    found = score_links(wrong, TRUE)
    assert (found.links.right, found.splits.found, found.splits.right) == (6, 2, 1)
    # the wrong part has two parents now
    assert (found.merges.found, found.merges.right) == (2, 1)
    missing = score_links(np.delete(TRUE, 1, axis=0), TRUE)
    assert (missing.splits.found, missing.splits.right, missing.splits.recall) == (1, 1, 0.5)
    assert missing.links.precision == 1.0


def test_an_extra_link_makes_a_merge_that_is_not_there():
    found = score_links(np.vstack([TRUE, [[1, 2]]]), TRUE)
    assert (found.merges.found, found.merges.right) == (2, 1)
    assert found.links.f1 == pytest.approx(14 / 15)


def test_nothing_found_and_nothing_there():
    none = np.zeros((0, 2), dtype=np.int64)
    assert score_links(none, TRUE).links.recall == 0.0
    assert np.isnan(score_links(none, TRUE).links.precision)
    assert np.isnan(score_links(none, none).splits.f1)


def test_probabilities_are_held_against_how_often_they_are_right():
    rng = np.random.default_rng(1)
    said = rng.random(20_000)
    rows = check_probabilities(said, rng.random(20_000) < said)
    assert sum(row.right.total for row in rows) == 20_000
    assert all(row.right.low - 0.01 <= row.said <= row.right.high + 0.01 for row in rows)
    boastful = check_probabilities(said, rng.random(20_000) < said**3)
    assert any(row.said > row.right.high for row in boastful)


def test_bins_without_links_are_left_out():
    rows = check_probabilities(np.array([0.97, 1.0]), np.array([True, True]))
    assert len(rows) == 1
    assert rows[0].right.count == 2
    assert check_probabilities(np.zeros(0), np.zeros(0, dtype=np.bool_)) == ()
