"""The assignment is the best there is at every step, against all assignments tried one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from ferrosight.numerics.assignment import assign_in_turn


def assign(gains: np.ndarray):
    rows, columns = np.nonzero(gains)
    return assign_in_turn(rows, columns, gains[rows, columns], *gains.shape)


def total(gains: np.ndarray, column_of_row: np.ndarray) -> float:
    return float(sum(gains[row, column] for row, column in enumerate(column_of_row) if column >= 0))


def try_all(gains: np.ndarray) -> tuple[float, list[set[int]]]:
    """The largest total, and the columns taken by each assignment that reaches it."""
    n_rows, n_columns = gains.shape
    places = [*range(n_columns), *[-1] * n_rows]
    found: list[tuple[float, set[int]]] = []
    for columns in set(itertools.permutations(places, n_rows)):
        pairs = [(row, column) for row, column in enumerate(columns) if column >= 0]
        if all(gains[pair] > 0 for pair in pairs):
            found.append((sum(gains[pair] for pair in pairs), {column for _, column in pairs}))
    best = max(value for value, _ in found)
    return best, [taken for value, taken in found if value > best - 1e-9]


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    # few values, so that there are ties, and many pairs that are not allowed
    values = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0.01, 1.0)
    return np.array([[draw(values) for _ in range(shape[1])] for _ in range(shape[0])])


@given(tables())
def test_every_step_is_the_best_of_all_assignments(gains):
    found = assign(gains)
    for n in range(1, len(gains) + 1):
        so_far = assign(gains[:n])
        best, takings = try_all(gains[:n])
        assert total(gains[:n], so_far.column_of_row) == pytest.approx(best)
        taken = {column for column in so_far.column_of_row.tolist() if column >= 0}
        assert taken in takings
        assert taken == {column for column, row in enumerate(found.taken_from.tolist()) if 0 <= row < n}


@given(tables())
def test_nothing_is_assigned_twice_or_without_gain(gains):
    columns = assign(gains).column_of_row
    used = columns[columns >= 0]
    assert len(set(used.tolist())) == len(used)
    assert all(gains[row, column] > 0 for row, column in enumerate(columns) if column >= 0)


@pytest.mark.parametrize("shape", [(120, 40), (40, 120), (90, 90)])
def test_a_large_group_agrees_with_a_dense_solver(shape):
    rng = np.random.default_rng(7)
    gains = np.where(rng.random(shape) < 0.2, rng.random(shape), 0.0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    assert total(gains, assign(gains).column_of_row) == pytest.approx(gains[rows, columns].sum())


def test_nothing_to_assign():
    empty = np.zeros(0, dtype=np.int64)
    found = assign_in_turn(empty, empty, np.zeros(0), 2, 3)
    assert found.column_of_row.tolist() == [-1, -1]
    assert found.taken_from.tolist() == [-1, -1, -1]
