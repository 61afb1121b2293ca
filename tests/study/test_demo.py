"""Matching with the truth counts right, and the demo's scan comes through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.study.demo import compare_with_truth, run_demo
from ferrosight.types import CLUSTERS, TRUTH, Table


def make_truth(x_mm: list[float], kinds: list[str]) -> Table:
    n = len(x_mm)
    zero = np.zeros(n)
    return Table(
        TRUTH,
        {
            "x_mm": np.array(x_mm),
            "y_mm": zero,
            "z_mm": zero,
            "iron_pg": np.full(n, 10.0),
            "n_cells": np.full(n, 5.0),
            "kind": np.array(kinds),
        },
    )


def make_clusters(x_mm: list[float], status: list[str]) -> Table:
    n = len(x_mm)
    zero = np.zeros(n)
    numbers = {"iron_pg": 11.0, "iron_pg_low": 9.0, "iron_pg_high": 13.0}
    cells = {"n_cells": 9.0, "n_cells_low": 6.0, "n_cells_high": 12.0}
    return Table(
        CLUSTERS,
        {
            "x_mm": np.array(x_mm),
            "y_mm": zero,
            "z_mm": zero,
            "status": np.array(status, dtype=np.str_),
            **{name: np.full(n, value) for name, value in (numbers | cells).items()},
        },
    )


def test_found_missed_and_false_are_counted_by_position():
    truth = make_truth([0.0, 5.0, 9.0], ["labelled", "labelled", "vein"])
    clusters = make_clusters([0.1, 9.0, 5.0], ["accepted", "accepted", "rejected"])
    comparison = compare_with_truth(clusters, truth, 0.2)
    assert (comparison.n_found, len(comparison.matches), comparison.n_false) == (1, 2, 1)
    found, missed = comparison.matches
    assert found.distance_mm == pytest.approx(0.1)
    assert found.covers_iron
    assert not found.covers_cells
    assert not missed.is_found
    assert not missed.covers_iron


def test_one_cluster_is_matched_with_one_truth_only():
    comparison = compare_with_truth(make_clusters([0.05], ["accepted"]), make_truth([0.0, 0.15], ["labelled"] * 2), 0.2)
    assert (comparison.n_found, comparison.n_false) == (1, 0)
    assert comparison.matches[0].is_found


def test_as_many_as_possible_are_matched():
    """The nearest pair alone (0.10 to 0.09) would leave one of each without a partner."""
    truth = make_truth([0.0, 0.10], ["labelled"] * 2)
    comparison = compare_with_truth(make_clusters([0.09, 0.25], ["accepted"] * 2), truth, 0.2)
    assert comparison.n_found == 2


@pytest.mark.parametrize(("x_mm", "status"), [([], []), ([0.0], ["rejected"])])
def test_nothing_accepted_misses_everything(x_mm, status):
    comparison = compare_with_truth(make_clusters(x_mm, status), make_truth([0.0], ["labelled"]), 0.2)
    assert (comparison.n_found, comparison.n_false) == (0, 0)


def test_the_demo_writes_over_nothing(tmp_path):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(InputError, match="new or empty folder"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo's folder, and what it ended with."""
    folder = tmp_path_factory.mktemp("shown") / "demo"
    return folder, run_demo(folder)


@pytest.mark.slow
def test_the_demo_finds_most_of_what_was_put_in(demo):
    """Fifteen clusters of 1 to 50 cells, two veins, a bubble and a calcification."""
    folder, outcome = demo
    comparison = outcome.comparison
    assert len(comparison.matches) == 15
    found = [match for match in comparison.matches if match.is_found]
    # Three cells and more stand clear of the tissue's texture here; one or two do not.
    assert {match.true_n_cells for match in comparison.matches if not match.is_found} <= {1.0, 2.0}
    # A bubble of this size cannot be told from iron at these echo times.
    assert comparison.n_false <= 2
    assert sum(match.covers_iron for match in found) >= 0.8 * len(found)
    assert (folder / "truth" / "sub-demo_truth.tsv").exists()
    report = outcome.study.visits[0].report
    assert report is not None
    assert report.stat().st_size > 10_000


@pytest.mark.slow
def test_the_demo_finds_twelve_of_fifteen(demo):
    """What the demo should show."""
    assert demo[1].comparison.n_found >= 12
