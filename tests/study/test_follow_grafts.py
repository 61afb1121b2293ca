"""A graft that is no longer found as one is measured in its region, and points in it are none of their own."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pytest

from ferrosight.quantify import GraftRegion
from ferrosight.quantify.regions import Region
from ferrosight.study import follow_grafts
from ferrosight.study.follow_detections import FoundAs, list_linked
from ferrosight.study.follow_grafts import force_regions, pick_region, set_pieces_apart
from ferrosight.study.follow_rows import SeenVisit
from ferrosight.types import CLUSTERS, FORCED, GRAFT_ESTIMATOR, Catalogue, Config, Grid, Rigid, Table

GRID = Grid((40, 40, 40), np.diag([0.1, 0.1, 0.1, 1.0]))
GRAFT = GraftRegion(GRID, Region((slice(18, 23), slice(18, 23), slice(18, 23)), np.ones((5, 5, 5), np.bool_)))
IN, BESIDE = (2.1, 1.9, 2.0), (3.5, 2.0, 2.0)
#: The second posture lies elsewhere in the scanner.
MOVED = Rigid(np.eye(3), np.array([0.5, 0.0, 0.0]))


def visit_of(like: Catalogue, session: str, *rows: tuple[tuple[float, float, float], str], **changes: Any) -> SeenVisit:
    """A visit with accepted clusters at places of its own scanner."""
    n = len(rows)
    xyz = np.array([place for place, _ in rows]).reshape(-1, 3)
    columns: dict[str, Any] = {f"{axis}_mm": xyz[:, a] for a, axis in enumerate("xyz")}
    columns |= {"cluster_id": np.array([f"{session}_{k}" for k in range(n)], dtype=np.str_)}
    columns |= {"moment_am2": np.full(n, 1e-12), "moment_am2_err": np.full(n, 1e-13)}
    columns |= {"estimator": np.array([kind for _, kind in rows]), "status": np.full(n, "accepted")}
    catalogue = dataclasses.replace(like, clusters=Table(CLUSTERS, columns if n else {}))
    known: dict[str, Any] = {"is_baseline": False, "to_subject": Rigid.identity()} | changes
    nothing: Any = {"label": None, "iron_per_cell": None, "calibration": None}
    return SeenVisit(session, 0.0, catalogue=catalogue, found=cast(FoundAs, None), b0_t=9.4, **known, **nothing)


def linked(visits: list[SeenVisit]) -> list[int]:
    return [len(list_linked(visit.catalogue)) for visit in visits]


def test_points_after_a_graft_are_parts_of_it_and_those_before_are_not(catalogue: Catalogue) -> None:
    shifted = tuple(np.array(IN) - [0.5, 0, 0])
    seen = [
        visit_of(catalogue, "a", (IN, "point")),
        visit_of(catalogue, "b", (IN, GRAFT_ESTIMATOR)),
        visit_of(catalogue, "c", (shifted, "point"), (BESIDE, "point"), to_subject=MOVED),
        visit_of(catalogue, "d", (IN, "point"), to_subject=None),
        visit_of(catalogue, "e", (IN, "joint"), (BESIDE, "point")),
    ]
    apart, notes = set_pieces_apart(seen, [{}, {"b_0": GRAFT}, {}, {}, {}])
    assert linked(apart) == [1, 1, 1, 1, 1]
    assert apart[2].catalogue.clusters["reasons"][0] == "inside_graft"
    assert [note.split(":")[0] for note in notes] == ["ses-c", "ses-e"]
    # The files' own catalogue is as it was.
    assert linked(seen) == [1, 1, 2, 1, 2]


def test_where_the_graft_is_found_again_its_old_region_counts_no_more(catalogue: Catalogue) -> None:
    """At the second visit its own stage has decided what is inside; it is smaller then."""
    edge = (2.5, 2.0, 2.0)
    smaller = GraftRegion(GRID, Region((slice(18, 20), slice(18, 20), slice(18, 20)), np.ones((2, 2, 2), np.bool_)))
    seen = [
        visit_of(catalogue, "a", (IN, GRAFT_ESTIMATOR)),
        visit_of(catalogue, "b", ((1.9, 1.9, 1.9), GRAFT_ESTIMATOR), (edge, "point")),
        visit_of(catalogue, "c", (edge, "point")),
    ]
    apart, notes = set_pieces_apart(seen, [{"a_0": GRAFT}, {"b_0": smaller}, {}])
    assert linked(apart) == [1, 2, 1]
    assert notes == []


def test_a_track_is_what_it_was_when_last_seen_before_or_first_after() -> None:
    ids = np.array(["a_0", "b_0", "c_0"])
    grafts = [{}, {"b_0": GRAFT}, {}, {}]
    assert pick_region(np.array([0, 1, -1, -1]), 3, ids, grafts) == (1, GRAFT)
    assert pick_region(np.array([0, -1, 1, -1]), 1, ids, grafts) is None
    assert pick_region(np.array([-1, 1, -1, -1]), 0, ids, grafts) == (1, GRAFT)
    assert pick_region(np.array([-1, 1, 2, -1]), 3, ids, grafts) is None


def test_only_the_rows_of_grafts_are_measured_as_such(
    catalogue: Catalogue, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        follow_grafts, "measure_regions", lambda *_: (np.array([5e-12, np.nan]), np.array([1e-12, np.nan]))
    )
    columns: dict[str, Any] = {name: np.full(3, 1e-13) for name in FORCED.names if name not in ("remarks",)}
    forced = Table(FORCED, columns | {"n_neighbours": np.ones(3, np.int64), "remarks": np.full(3, "poor_fit")})
    carried = {0: (MOVED, GRAFT), 2: (MOVED, GRAFT)}
    table = force_regions(forced, carried, scan, cast(Any, None), catalogue, Config())
    np.testing.assert_array_equal(table["moment_am2"], [5e-12, 1e-13, np.nan])
    np.testing.assert_allclose(table["moment_am2_low"][0], 5e-12 - 1.959964e-12)
    assert table["remarks"].tolist() == ["", "poor_fit", "outside"]
    assert table["n_neighbours"].tolist() == [0, 1, 0]
    assert force_regions(forced, {}, scan, cast(Any, None), catalogue, Config()) is forced
