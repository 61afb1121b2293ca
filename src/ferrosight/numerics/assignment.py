"""The best one-to-one assignment over few possible pairs, rows entering one after another."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NONE = -1
_Edges = list[tuple[int, float]]


@dataclass(frozen=True)
class Assignment:
    """Which column each row got, and from which row on each column is taken; -1 for none.

    ``column_of_row`` (n_rows,) is the best assignment of all rows. ``taken_from`` (n_columns,) is the first row with
    which, of the rows up to it, the best assignment takes the column.
    """

    column_of_row: NDArray[np.int64]
    taken_from: NDArray[np.int64]


def assign_in_turn(
    rows: NDArray[np.int64], columns: NDArray[np.int64], gains: NDArray[np.float64], n_rows: int, n_columns: int
) -> Assignment:
    """The one-to-one assignment of largest total gain, for the first row, the first two, … and all of them.

    Pair k joins ``rows[k]`` and ``columns[k]`` at ``gains[k]``, each (n_pairs,); only positive gains are used, and a
    row or a column may stay alone at gain 0. A column once taken stays taken as rows are added, whoever takes it: an
    added row changes the best assignment along one alternating path, which begins at that row.

    Notes
    -----
    Shortest augmenting paths with dual prices (Kuhn 1955; Jonker & Volgenant, Computing 38:325, 1987), a row at a
    time, over the pairs alone. A row may also end at a place of its own at cost 0, which keeps it alone for good:
    only a row that has a column is ever reached again.
    """
    edges: list[_Edges] = [[] for _ in range(n_rows)]
    for row, column, gain in zip(rows.tolist(), columns.tolist(), gains.tolist(), strict=True):
        if gain > 0:
            edges[row].append((column, -gain))
    state = _State([0.0] * n_rows, [0.0] * n_columns, [_NONE] * n_columns, [_NONE] * n_rows)
    taken_from = np.full(n_columns, _NONE, dtype=np.int64)
    for row in range(n_rows):
        if edges[row]:
            column = _enter(row, edges, state)
            if column != _NONE:
                taken_from[column] = row
    return Assignment(np.array(state.column_of, dtype=np.int64), taken_from)


@dataclass(frozen=True)
class _State:
    """While rows enter: price of row plus price of column is at most the cost, and equal to it between partners."""

    row_price: list[float]
    column_price: list[float]
    row_of: list[int]
    column_of: list[int]


@dataclass(frozen=True)
class _Path:
    """Shortest way from a row to its end: a free column, or (-1) the place of its own of ``end_row``.

    ``rows`` and ``columns`` hold the distance of all that is nearer than the end; ``came_from`` the row before each
    column.
    """

    end_column: int
    end_row: int
    length: float
    rows: dict[int, float]
    columns: dict[int, float]
    came_from: dict[int, int]


def _enter(row: int, edges: list[_Edges], state: _State) -> int:
    """Let a row in; returns the column that is taken now and was not before, -1 where there is none."""
    cheapest = min(cost - state.column_price[column] for column, cost in edges[row])
    state.row_price[row] = min(cheapest, 0.0)
    path = _find_path(row, edges, state)
    for i, distance in path.rows.items():
        state.row_price[i] += path.length - distance
    for j, distance in path.columns.items():
        state.column_price[j] -= path.length - distance
    column = path.end_column
    if column == _NONE:
        column = state.column_of[path.end_row]
        state.column_of[path.end_row] = _NONE
    while column != _NONE:  # each row of the path takes the column after it, and leaves the one before
        taker = path.came_from[column]
        left = state.column_of[taker]
        state.row_of[column], state.column_of[taker] = taker, column
        column = left
    return path.end_column


def _find_path(start: int, edges: list[_Edges], state: _State) -> _Path:
    """Dijkstra's search over prices."""
    rows, columns, came_from = {start: 0.0}, dict[int, float](), dict[int, int]()
    best = dict[int, float]()
    heap: list[tuple[float, int]] = []
    alone, alone_row = math.inf, _NONE
    row, so_far = start, 0.0
    while True:
        if so_far - state.row_price[row] < alone:
            alone, alone_row = so_far - state.row_price[row], row
        for column, cost in edges[row]:
            # prices are exact but for rounding, which must not make a way negative
            distance = so_far + max(cost - state.row_price[row] - state.column_price[column], 0.0)
            if column not in columns and distance < best.get(column, math.inf):
                best[column], came_from[column] = distance, row
                heapq.heappush(heap, (distance, column))
        while heap and heap[0][1] in columns:
            heapq.heappop(heap)
        if not heap or heap[0][0] >= alone:
            return _Path(_NONE, alone_row, alone, rows, columns, came_from)
        so_far, column = heapq.heappop(heap)
        row = state.row_of[column]
        if row == _NONE:
            return _Path(column, _NONE, so_far, rows, columns, came_from)
        columns[column] = rows[row] = so_far
