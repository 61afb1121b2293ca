"""Activity over time: a hot spot is told with the track it lies at; a place without one is measured all the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.study.pet_course import trace_uptake
from ferrosight.study.relapse_series import FollowedVisit
from ferrosight.types import CLUSTERS, PET_CLUSTERS, Table
from ferrosight.types.schema import TRACKS

Floats = NDArray[np.float64]
#: A track in one place; a hot spot that comes and goes at it; another far from all.
TRACK, AT_TRACK, FAR = (0.0, 0.0, 0.0), (0.6, 0.0, 0.0), (9.0, 0.0, 0.0)


def list_spots(*spots: tuple[tuple[float, float, float], float, float]) -> Table:
    """Accepted hot spots with place, activity and uptake value, and one that is rejected."""
    rows = [
        {
            "cluster_id": f"spot{k}",
            **dict(zip(("x_mm", "y_mm", "z_mm"), place, strict=True)),
            "activity_bq": value,
            "activity_bq_err": 10.0,
            "activity_bq_low": value - 15.0,
            "activity_bq_high": value + 25.0,
            "suv_peak": suv,
            "expected_false": 1e-4,
            "status": "accepted",
        }
        for k, (place, value, suv) in enumerate(spots)
    ]
    rejected = {**dict.fromkeys(("x_mm", "y_mm", "z_mm"), -5.0), "activity_bq": 1.0, "status": "rejected"}
    return Table.from_rows(PET_CLUSTERS, [*rows, rejected])


def measure(places_mm: Floats) -> tuple[Floats, Floats]:
    return 40.0 + places_mm[:, 0], np.full(len(places_mm), 20.0)


def make_visit(session: str, day: float, spots: Table | None) -> FollowedVisit:
    return FollowedVisit(session, day, "", Table(CLUSTERS, {}), spots, None if spots is None else measure)


@pytest.fixture
def tracks() -> Table:
    rows = [
        {
            "track_id": "t",
            "session_id": session,
            **dict(zip(("x_mm", "y_mm", "z_mm"), TRACK, strict=True)),
            "measurement": "detected",
        }
        for session in ("a", "b", "c")
    ]
    return Table.from_rows(TRACKS, rows)


def test_a_track_has_its_hot_spot_or_what_its_place_measures(tracks: Table) -> None:
    visits = [
        make_visit("a", 0.0, list_spots((AT_TRACK, 200.0, 2.5), (FAR, 900.0, 7.0))),
        make_visit("b", 7.0, None),
        make_visit("c", 14.0, list_spots((FAR, 950.0, np.nan))),
    ]
    track, far = trace_uptake(tracks, visits, ["pre", "a", "b", "c"], 2.0)
    assert (track.track_id, far.track_id, far.name) == ("t", "", "spot1")
    np.testing.assert_array_equal(track.activity_bq, [np.nan, 200.0, np.nan, 40.0])
    np.testing.assert_array_equal(track.found, [False, True, False, False])
    np.testing.assert_array_equal(track.suv_peak, [np.nan, 2.5, np.nan, np.nan])
    # A hot spot's own interval allows for its having been selected; that of a place does not.
    np.testing.assert_array_equal(track.activity_bq_low[1:2], [185.0])
    np.testing.assert_allclose(track.activity_bq_high[3], 40.0 + 1.96 * 20.0, rtol=1e-3)
    np.testing.assert_array_equal(far.activity_bq, [np.nan, 900.0, np.nan, 950.0])
    np.testing.assert_array_equal(far.suv_peak[1:2], [7.0])
    assert far.found.tolist() == [False, True, False, True]


def test_a_hot_spot_that_goes_is_still_measured(tracks: Table) -> None:
    visits = [make_visit("a", 0.0, list_spots((FAR, 900.0, 7.0))), make_visit("c", 14.0, list_spots())]
    _, far = trace_uptake(tracks, visits, ["a", "c"], 2.0)
    np.testing.assert_array_equal(far.activity_bq, [900.0, 49.0])
    assert far.found.tolist() == [True, False]


def test_without_pet_there_is_no_course(tracks: Table) -> None:
    assert trace_uptake(tracks, [make_visit("a", 0.0, None)], ["a"], 2.0) == ()
    empty = [make_visit("a", 0.0, list_spots())]
    assert trace_uptake(Table(TRACKS, {}), empty, ["a"], 2.0) == ()
