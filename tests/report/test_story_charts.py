"""The charts of a subject: their axes hold what they show, and their words say it."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from ferrosight.report.course import CELLS, IRON, Course
from ferrosight.report.story_charts import draw_evidence, draw_totals, draw_track, track_limits
from ferrosight.report.track_map import ELLIPSE_SD, draw_map, time_colours


def is_xml(svg: str) -> None:
    ElementTree.fromstring(svg.replace("xlink:", ""))


@pytest.mark.parametrize("quantity", [CELLS, IRON])
def test_one_axis_holds_what_was_found_and_what_is_allowed_where_nothing_was(quantity: Any, story_factory: Any) -> None:
    story = story_factory(n_tracks=6, days=tuple(7.0 * i for i in range(16)))
    course = Course(story)
    detected = story.tracks["measurement"] == "detected"
    assert 0 < detected.sum() < len(detected)
    low, high = track_limits(course, course.tracks, quantity)
    for name, rows in ((quantity.column, detected), (quantity.upper_limit_column, ~detected)):
        values = story.tracks[name][rows]
        assert low < values.min()
        assert values.max() < high
    is_xml(draw_track(course, course.tracks[-1], quantity, (low, high)))


def test_without_any_number_there_is_an_axis_all_the_same(story_factory: Any) -> None:
    course = Course(story_factory(level="moment"))
    low, high = track_limits(course, course.tracks, CELLS)
    assert 0 < low < high
    is_xml(draw_totals(course, CELLS, "totals"))


def test_totals_are_told_in_words(story_factory: Any) -> None:
    course = Course(story_factory(failed=(1,)))
    svg = draw_totals(course, CELLS, "totals")
    is_xml(svg)
    label = re.search('aria-label="([^"]*)"', svg)
    assert label is not None
    for i, one in enumerate(course.totals):
        if one.total is None:
            assert i == 1
            continue
        assert f"{course.when(i)}: {CELLS.show(one.total.value)}" in label[1]
    assert ">failed<" in svg


def test_the_evidence_is_told_in_words_with_what_an_alarm_needs(story_factory: Any) -> None:
    story = story_factory(relapse="alarm", growth=1.7)
    svg = draw_evidence(Course(story))
    is_xml(svg)
    assert "an alarm needs 20" in svg
    for value in story.relapse["e_value"]:
        assert f"{value:.3g}" in svg


@pytest.mark.parametrize("backdrop", [False, True])
def test_the_map_marks_each_place_that_is_followed_in_each_panel(backdrop: bool, story_factory: Any) -> None:
    course = Course(story_factory(branches=True, backdrop=backdrop, n_tracks=2, relapse="untested"))
    svg = draw_map(course)
    is_xml(svg)
    followed = sum(track.counts_at(visit) for track in course.tracks for visit in track.rows)
    assert svg.count("<circle") == 3 * followed
    assert svg.count("<ellipse") == 3 * followed
    # Both parts of the split are joined to what they came from.
    assert svg.count('stroke-dasharray="3 2.5"') == 3 * 2
    assert len(re.findall('<a href="#track-', svg)) == len(course.tracks)


def test_an_ellipse_holds_the_place_with_95_percent(story_factory: Any) -> None:
    course = Course(story_factory(n_tracks=1, relapse="untested"))
    svg = draw_map(course)
    radii = np.array(re.findall(r'rx="([\d.]+)" ry="([\d.]+)"', svg), dtype=float)
    # Errors along x, y and z are 0.05, 0.08 and 0.11 mm, and every panel has one scale.
    for panel in radii.reshape(3, -1, 2)[:, 0]:
        assert 0.4 < panel.min() / panel.max() < 0.8
    rng = np.random.default_rng(2)
    inside = np.hypot(*(rng.normal(size=(2, 200_000)))) < ELLIPSE_SD
    assert inside.mean() == pytest.approx(0.95, abs=0.003)


def test_colours_run_from_the_first_visit_to_the_last(story_factory: Any) -> None:
    course = Course(story_factory(baseline=True, relapse="untested"))
    colours = time_colours(course)
    assert len(set(colours[1:])) == 4
    assert colours[1] != colours[-1]
