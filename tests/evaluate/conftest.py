"""Small catalogues and truths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ferrosight.types import CLUSTERS, TRUTH, Table


@pytest.fixture(scope="session")
def make_clusters() -> Callable[..., Table]:
    """A catalogue with a row per position (x, y, z); further columns by name, accepted unless said otherwise."""

    def make(positions: Sequence[Sequence[float]], **columns: Any) -> Table:
        return _make(CLUSTERS, positions, {"status": ["accepted"] * len(positions), **columns})

    return make


@pytest.fixture(scope="session")
def make_truth() -> Callable[..., Table]:
    """A truth with a row per position, labelled unless said otherwise."""

    def make(positions: Sequence[Sequence[float]], **columns: Any) -> Table:
        return _make(TRUTH, positions, {"kind": ["labelled"] * len(positions), **columns})

    return make


def _make(schema: Any, positions: Sequence[Sequence[float]], columns: dict[str, Any]) -> Table:
    names = ("x_mm", "y_mm", "z_mm")
    places = {name: [float(one[axis]) for one in positions] for axis, name in enumerate(names)}
    return Table(schema, {**places, **columns} if len(positions) else {})
