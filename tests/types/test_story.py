"""A story hangs together: its tables speak of its visits, and what contradicts itself is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import CLUSTERS, Table
from ferrosight.types.schema import RELAPSE, TRACKS
from ferrosight.types.story import Backdrop, LineageEvidence, StoryVisit, SubjectStory

VISITS = (StoryVisit("a", 0.0), StoryVisit("b", math.nan, error="no echoes"), StoryVisit("c", 9.0))


def story(**changes: Any) -> SubjectStory:
    return SubjectStory(**{"subject": "01", "visits": VISITS, "tracks": Table(TRACKS, {}), **changes})


def relapse(e_values: list[float], alarm: list[bool], sessions: tuple[str, ...] = ("a", "c")) -> Table:
    alpha = np.full(len(sessions), 0.05)
    columns = {"session_id": np.array(sessions), "e_value": np.array(e_values), "alarm": np.array(alarm)}
    return Table(RELAPSE, {**columns, "alpha": alpha})


def test_what_is_known_of_alarm_and_growth() -> None:
    nothing = story()
    assert (nothing.first_alarm, nothing.identifiable) == (-1, False)
    unknowable = story(relapse=relapse([np.nan, np.nan], [False, False]))
    assert (unknowable.first_alarm, unknowable.identifiable) == (-1, False)
    alarmed = story(relapse=relapse([1.0, 30.0], [False, True]))
    assert (alarmed.first_alarm, alarmed.identifiable) == (1, True)
    assert [visit.failed for visit in nothing.visits] == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tracks": Table(TRACKS, {"session_id": np.array(["z"])})}, "but z is none; its visits are a, b, c"),
        ({"relapse": relapse([1.0], [False], ("z",))}, "session of the relapse table"),
        ({"relapse": relapse([1.0, 1.0], [False, False], ("a", "a"))}, "one row per visit"),
        ({"relapse": Table(RELAPSE, {"session_id": np.array(["a"])})}, "alpha must lie between 0 and 1"),
        ({"tracks": Table(CLUSTERS, {})}, "schema tracks was expected, but found clusters"),
        ({"visits": (StoryVisit("a"), StoryVisit("a"))}, "a comes twice"),
        ({"visits": (StoryVisit("a", 3.0), StoryVisit("b", 1.0))}, "in order of time"),
        ({"report": "/tmp/page.html"}, "must be relative"),
        ({"visits": (StoryVisit("a", report="javascript:alert(1)"),)}, "must be relative"),
        ({"study_kind": "other"}, "study_kind must be one of"),
        ({"lineages": (LineageEvidence("iron", ("t",), np.ones(2), np.zeros(2)),)}, "needs a relapse table"),
        (
            {
                "relapse": relapse([1.0, 1.0], [False, False]),
                "lineages": (LineageEvidence("iron", ("t",), np.ones(3), np.zeros(3)),),
            },
            "as many as the 2 rows",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        story(**changes)


def test_a_backdrop_has_pixels_two_axes_and_rising_edges() -> None:
    kept = Backdrop(np.zeros((3, 2)), ("x", "z"), (-1, 2, 0, 2))
    assert kept.extent_mm == (-1.0, 2.0, 0.0, 2.0)
    with pytest.raises(ValueError, match="read-only"):
        kept.image[0, 0] = 1
    for arguments in (
        (np.zeros((0, 2)), ("x", "z"), (0, 1, 0, 1)),
        (np.zeros((3, 2)), ("x", "x"), (0, 1, 0, 1)),
        (np.zeros((3, 2)), ("x", "q"), (0, 1, 0, 1)),
        (np.zeros((3, 2)), ("x", "z"), (0, -1, 0, 1)),
        (np.zeros((3, 2)), ("x", "z"), (0, math.nan, 0, 1)),
    ):
        with pytest.raises(InputError):
            Backdrop(*arguments)  # type: ignore[arg-type]


def test_evidence_rests_on_what_can_be_measured() -> None:
    with pytest.raises(InputError, match="must rest on"):
        LineageEvidence("hope", (), np.ones(2), np.zeros(2))
    with pytest.raises(InputError, match="growing must have shape"):
        LineageEvidence("iron", (), np.ones(2), np.zeros(3))
