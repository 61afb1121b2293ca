"""New clusters are evidence against their upper bound, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.relapse.births import STAKES, trace_births


def test_the_expectation_is_at_most_one_at_every_visit():
    """False ones at the bound, which come in company."""
    rng = np.random.default_rng(2)
    chance, n_visits, n = 0.05, 8, 60_000
    new = np.where(rng.random((n, n_visits)) < chance, rng.integers(1, 6, (n, n_visits)), 0)
    values = np.array([trace_births(row, chance, 0) for row in new])
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(n)
    assert (mean <= 1 + 4 * error + 1e-12).all()
    assert mean.min() > 0.9  # it is exact where company does not matter


def test_hidden_clusters_are_forgiven_up_to_their_bound():
    """Two clusters that were there, unseen, show up whatever the chance of false ones."""
    new = np.array([0, 0, 1, 0, 1, 0, 0])
    assert (trace_births(new, 0.02, 2) <= 1).all()
    assert trace_births(new, 0.02, 0)[4] > 20


def test_many_at_once_count_once_and_the_first_visit_not_at_all():
    assert trace_births(np.array([9, 4, 0]), 0.02, 0) == pytest.approx(trace_births(np.array([0, 1, 0]), 0.02, 0))


def test_it_grows_as_its_formula_says():
    stakes = np.array(STAKES)
    expected = np.mean((1 + stakes) ** 2 / (1 + 0.02 * stakes) ** 3)
    assert trace_births(np.array([0, 1, 0, 3]), 0.02, 0)[-1] == pytest.approx(expected)
