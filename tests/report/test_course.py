"""Tracks in order, and totals that count every cluster once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ferrosight.report.course import CELLS, IRON, MOMENT, Course
from ferrosight.report.story_words import track_events
from ferrosight.types import Table
from ferrosight.types.schema import TRACKS
from ferrosight.types.story import StoryVisit, SubjectStory


def row(track: str, session: str, cells: float, measurement: str = "detected", **more: Any) -> dict[str, Any]:
    """A row whose interval is 10 cells either side, none of it shared between clusters."""
    half = 10.0
    return {
        "track_id": track,
        "session_id": session,
        "measurement": measurement,
        "n_cells": cells,
        "n_cells_low": cells - half,
        "n_cells_high": cells + half,
        "iron_pg": 10 * cells,
        "iron_pg_low": 10 * cells - 100,
        "iron_pg_high": 10 * cells + 100,
        "moment_am2": cells * 1e-15,
        "moment_am2_err": half / 1.959963984540054 * 1e-15,
        "upper_limit_iron_pg": 300.0,
        "upper_limit_n_cells": 30.0,
        "limit_iron_pg": 500.0,
        **more,
    }


def course(rows: list[dict[str, Any]], *, n_visits: int = 3, **visits: StoryVisit) -> Course:
    plain = [visits.get(name, StoryVisit(name, 7.0 * i)) for i, name in enumerate("abcd"[:n_visits])]
    return Course(SubjectStory("01", tuple(plain), Table.from_rows(TRACKS, rows)))


def test_a_total_is_the_sum_and_its_independent_errors_add_in_quadrature() -> None:
    one = course([row("t", "a", 100), row("u", "a", 50)], n_visits=1)
    total = one.totals[0].total
    assert total is not None
    assert total.value == pytest.approx(150)
    assert (total.low, total.high) == pytest.approx((150 - 10 * math.sqrt(2), 150 + 10 * math.sqrt(2)))
    assert (one.totals[0].n_seen, one.totals[0].n_followed) == (2, 2)


def test_a_cluster_that_split_counts_once() -> None:
    parent = [row("t", "a", 100), row("t", "b", 90, "forced"), row("t", "c", 80, "forced")]
    children = [row(name, session, 45, parent_ids="t") for name in ("u", "v") for session in ("b", "c")]
    back_filled = [row(name, "a", 40, "forced", parent_ids="t") for name in ("u", "v")]
    one = course(parent + children + back_filled)
    assert [total.total.value for total in one.totals if total.total] == pytest.approx([100, 90, 90])
    assert [track.track_id for track in one.tracks] == ["t", "u", "v"]
    first = one.tracks[0]
    assert (first.replaced, first.children) == (1, ("u", "v"))
    assert [one.number_of[name] for name in one.tracks[1].parents] == [1]


def test_what_was_not_seen_counts_with_its_forced_value_but_not_before_it_was_found() -> None:
    rows = [row("t", "a", 5, "forced"), row("t", "b", 60), row("t", "c", -4, "forced")]
    one = course(rows)
    values = [total.total.value for total in one.totals if total.total]
    assert values == pytest.approx([0, 60, -4])
    last = one.totals[2]
    assert last.total is not None
    assert last.total.low < -4 < last.total.high
    assert (last.n_seen, last.n_followed) == (0, 1)


def test_what_was_not_measured_is_counted_as_missing() -> None:
    outside = dict.fromkeys(("n_cells", "n_cells_low", "n_cells_high"), math.nan)
    one = course([row("t", "a", 9), row("t", "b", 9, "outside", **outside), row("u", "a", 20), row("u", "b", 21)])
    totals = [total.total for total in one.totals]
    assert totals[1] is not None
    assert (totals[1].value, totals[1].n_missing) == (21.0, 1)
    # At the third visit neither has a row.
    assert totals[2] is not None
    assert math.isnan(totals[2].value)
    assert totals[2].n_missing == 2
    assert one.ends == (0, 1)


def test_failed_and_baseline_visits_have_no_total() -> None:
    one = course(
        [row("t", "c", 9)],
        a=StoryVisit("a", 0.0, is_baseline=True, n_accepted=0),
        b=StoryVisit("b", 7.0, error="broken"),
    )
    assert [total.total is None for total in one.totals] == [True, True, False]


def test_a_visit_says_zero_only_if_it_was_searched() -> None:
    found_none, unknown = StoryVisit("a", 0.0, n_accepted=0), StoryVisit("b", 7.0, n_accepted=2)
    one = course([row("t", "c", 9)], a=found_none, b=unknown)
    assert one.totals[0].total is not None
    assert one.totals[0].total.value == 0
    assert one.totals[1].total is None


def test_days_are_used_where_all_are_known() -> None:
    assert course([]).x.tolist() == [0.0, 7.0, 14.0]
    undated = course([], b=StoryVisit("b"))
    assert undated.x.tolist() == [1.0, 2.0, 3.0]
    assert [undated.when(i) for i in range(3)] == ["day 0", "visit 2", "day 14"]
    failed = course([], b=StoryVisit("b", error="no date, no scan"))
    assert failed.has_days
    assert np.isnan(failed.x[1])


def test_the_quantity_is_the_last_step_that_was_reached() -> None:
    rows = [row("t", "a", 9)]
    assert course(rows).quantity is CELLS
    no_cells = [{key: value for key, value in rows[0].items() if not key.startswith("n_cells")}]
    assert course(no_cells).quantity is IRON
    assert course([{key: value for key, value in no_cells[0].items() if "iron" not in key}]).quantity is MOMENT


def test_the_limit_of_detection_follows_the_load_of_its_own_row() -> None:
    one = course([row("t", "a", 60), row("t", "b", 0.0, "forced")])
    assert one.limit_per_row(IRON).tolist() == [500.0, 500.0]
    assert one.limit_per_row(CELLS) == pytest.approx([50.0, 50.0])


def test_numbers_and_their_intervals_share_a_unit() -> None:
    assert IRON.show_with_range(988.0, 973.0, 1004.0) == "988 (973–1,004)\u00a0pg"
    assert IRON.show_with_range(math.nan, 1.0, 2.0) == "n/a"
    assert CELLS.show_with_range(1240.0, 810.0, 1690.0) == "1,240 (810–1,690)"
    assert MOMENT.show(7.44e-13) == "744\u00a0fA m²"
    assert MOMENT.axis(2e-12) == (1e-12, "moment (pA m²)")


def test_events_tell_a_merger_from_a_split_gaps_and_ends() -> None:
    rows = [
        row("t", "a", 100), row("u", "a", 50), row("v", "b", 150, parent_ids="t;u"), row("v", "c", 5, "forced"),
        row("v", "d", 140, parent_ids="t;u"), row("w", "a", 40), row("x", "b", 20, parent_ids="w"), row("y", "a", 10),
        row("y", "b", 1, "forced"), row("y", "c", 1, "outside"), row("y", "d", 1, "forced"),
    ]  # fmt: skip
    one = course(rows, n_visits=4)
    told = {track.track_id: track_events(one, track) for track in one.tracks}
    number = one.number_of
    assert told["t"] == ["appeared on day 0", f"merged into {number['v']} on day 7"]
    assert told["v"] == [f"merged from {number['t']} and {number['u']} on day 7", "unseen on day 14"]
    assert told["w"] == ["appeared on day 0", f"split into {number['x']} on day 7"]
    assert told["y"] == ["appeared on day 0", "outside the scan on day 14", "not seen since day 0"]
