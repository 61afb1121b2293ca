"""A study's page: every subject at a glance, for one subject and for hundreds, true to its tables."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.report.course import CELLS, IRON, Course
from ferrosight.report.study import render_study_report, write_study_report
from ferrosight.report.study_lines import common_quantity, follow_group, summarise_subject, time_to_alarm
from ferrosight.types import Table
from ferrosight.types.schema import TRACKS
from ferrosight.types.story import PetVisit, SubjectStory

SECTIONS = {"subjects", "groups", "alarms", "failures", "methods"}


def render(subjects: Any, title: str = "Relapse in mice") -> str:
    return render_study_report(title, subjects, provenance={"software": "ferrosight 0.1.0"})


@pytest.fixture(scope="module")
def study(story_factory: Any) -> list[SubjectStory]:
    """Two groups; one subject alarms, one visit failed, one subject has nothing, one cannot be known."""
    return [
        story_factory("01", group="control", relapse="alarm", growth=1.7, seed=1),
        story_factory("02", group="control", relapse="none", seed=2, failed=(2,)),
        story_factory("03", group="treated", n_tracks=0, relapse="untested", seed=3),
        story_factory("04", group="treated", relapse="unknown", seed=4),
        story_factory("05", group="treated", relapse="none", seed=5),
    ]


CASES: dict[str, Any] = {
    "no subject": [],
    "one": [{}],
    "one without anything": [{"n_tracks": 0, "relapse": "untested"}],
    "no dates": [{"days": (math.nan,) * 3}, {"days": (math.nan,) * 3}],
    "moments": [{"level": "moment", "relapse": "unknown"}] * 2,
    "all failed": [{"n_tracks": 0, "failed": (0, 1), "days": (0.0, 7.0), "relapse": "untested"}],
}


@pytest.mark.parametrize("name", ["study", *CASES])
def test_every_page_is_well_formed_complete_and_self_contained(
    name: str, study: Any, story_factory: Any, read_page: Any
) -> None:
    subjects = study if name == "study" else [story_factory(f"{i:02d}", **case) for i, case in enumerate(CASES[name])]
    text = render(subjects)
    page = read_page(text)
    assert set(page.ids) >= SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert "http" not in text
    assert not re.search(r'src="(?!data:)', text)
    assert "@import" not in text
    own = {story.report for story in subjects}
    assert {link for link in page.links if not link.startswith("#")} == own
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "Research use only" in page.text
    assert not re.search(r"\bnan\b|\binf\b|None\b(?!\.)", page.text)
    for tag in re.findall(r"<svg [^>]*>", text):
        assert 'aria-hidden="true"' in tag or 'role="img" aria-label="' in tag


def test_each_subject_has_its_last_total_state_and_link(study: Any, read_page: Any) -> None:
    page = read_page(render(study))
    for story in study:
        course = Course(story)
        if course.ends is not None:
            total = course.totals[course.ends[1]].total
            assert total is not None
            assert CELLS.show_with_range(total.value, total.low, total.high) in page.text
        assert story.report in page.links
    assert "5 subjects in 2 groups, 24 visits analysed, 1 failed." in page.text
    assert "Alarm in 1 of 3 subjects in which growth can be known." in page.text
    assert "In 1 subject it cannot be known. In 1 subject it was not tested." in page.text
    assert "no magnitude image was found; add part-mag." in page.text


def test_lines_in_the_place_of_stories_give_the_same_page(study: Any) -> None:
    assert render([summarise_subject(story) for story in study]) == render(study)


def test_a_group_is_the_geometric_mean_of_its_subjects(study: Any) -> None:
    lines = [summarise_subject(story) for story in study[:2]]
    course = follow_group(lines, CELLS, in_days=True)
    # The failed visit of the second subject, day 14, leaves only one.
    assert course.time.tolist() == [0.0, 7.0, 21.0, 28.0]
    first = [Course(story).totals[0].total for story in study[:2]]
    values = [total.value for total in first if total is not None]
    assert course.middle[0] == pytest.approx(math.sqrt(values[0] * values[1]))
    # Student's t with one degree of freedom: 12.706.
    half = 12.706 * abs(math.log(values[0] / values[1])) / 2
    assert course.high[0] / course.middle[0] == pytest.approx(math.exp(half), rel=1e-3)
    assert course.geometric.all()


def test_with_a_subject_that_has_nothing_a_group_is_the_median(story_factory: Any) -> None:
    stories = [story_factory(f"{i}", n_tracks=0 if i == 0 else 2, seed=i, relapse="untested") for i in range(7)]
    course = follow_group([summarise_subject(story) for story in stories], CELLS, in_days=True)
    values = sorted(0.0 if total.total is None else total.total.value for story in stories for total in [
        Course(story).totals[0]])  # fmt: skip
    # Of seven values the first and the last bound the median with 1 - 2/128 = 98 %; leaving two out would give 88 %.
    assert (course.low[0], course.middle[0], course.high[0]) == pytest.approx((values[0], values[3], values[6]))
    assert not course.geometric.any()
    few = follow_group([summarise_subject(story) for story in stories[:5]], CELLS, in_days=True)
    assert np.isnan(few.low).all()


def kaplan_meier(times: list[float], called: list[bool]) -> dict[float, float]:
    """The share without event after each time of an event, the slow obvious way."""
    share, out = 1.0, {}
    for at in sorted({t for t, event in zip(times, called, strict=True) if event}):
        at_risk = sum(t >= at for t in times)
        events = sum(t == at and event for t, event in zip(times, called, strict=True))
        share *= 1 - events / at_risk
        out[at] = share
    return out


def test_time_to_alarm_is_kaplan_and_meiers(study: Any) -> None:
    base = summarise_subject(study[0])
    rng = np.random.default_rng(5)
    last = rng.integers(1, 5, 40)
    called = rng.uniform(size=40) < 0.5
    lines = [
        dataclasses.replace(base, last_tested=int(visit), alarm=int(visit) if event else -1)
        for visit, event in zip(last, called, strict=True)
    ]
    curve = time_to_alarm(lines, in_days=True, start=0.0)
    assert curve is not None
    expected = kaplan_meier([7.0 * visit for visit in last], called.tolist())
    for at, share in expected.items():
        row = curve.time.tolist().index(at)
        assert curve.share[row] == pytest.approx(share)
        assert curve.low[row] < share < curve.high[row] or share == 0
    assert curve.n_alarms == called.sum()
    assert curve.median == min((at for at, share in expected.items() if share <= 0.5), default=math.nan)
    assert (curve.time[0], curve.share[0]) == (0.0, 1.0)
    assert curve.left.tolist() == sorted(7.0 * last[~called])
    before = [max(at for at in curve.time if at <= left) for left in curve.left]
    assert curve.share_left.tolist() == [curve.share[curve.time.tolist().index(at)] for at in before]


def test_a_share_without_an_interval_says_so(study: Any) -> None:
    alarmed = [story for story in study if summarise_subject(story).alarm >= 0]
    assert ">0\u00a0% (no interval)<" in render(alarmed[:1])


def test_only_subjects_whose_growth_can_be_known_are_in_a_curve(study: Any) -> None:
    lines = [summarise_subject(story) for story in study]
    curve = time_to_alarm(lines, in_days=True, start=0.0)
    assert curve is not None
    assert (curve.n_subjects, curve.n_alarms) == (3, 1)
    assert time_to_alarm(lines[2:4], in_days=True, start=0.0) is None


def test_the_quantity_is_what_any_subject_has_reached(story_factory: Any) -> None:
    iron, nothing = (summarise_subject(story_factory(**case)) for case in ({"level": "iron"}, {"n_tracks": 0}))
    assert common_quantity([iron, nothing]) is IRON
    assert "n/a" not in render([story_factory("a", level="iron")]).partition("<tbody>")[2].partition("</tbody>")[0]


def test_undated_visits_are_counted(story_factory: Any, read_page: Any) -> None:
    dated, undated = story_factory("a"), story_factory("b", days=(math.nan,) * 5)
    shown = read_page(render([dated, undated])).text
    assert "Some visits have no date" in shown
    assert "visit 5" in shown
    assert "day 28" not in shown


def test_odd_names_are_escaped_everywhere(study: Any, read_page: Any) -> None:
    evil = '<script>alert("x")</script>&'
    visits = (dataclasses.replace(study[1].visits[0], error=evil), *study[1].visits[1:])
    odd = dataclasses.replace(study[1], subject="<i>s</i>", group=evil, visits=visits)
    text = render([study[0], odd], title="<em>t</em>")
    page = read_page(text)
    assert page.tags.count("script") == 1
    assert not {"i", "em"} & set(page.tags)
    assert evil in page.text


def test_two_hundred_subjects_take_seconds(story_factory: Any) -> None:
    stories = [
        story_factory(f"{i:03d}", group=f"group {i % 8}", seed=i, relapse="alarm" if i % 3 else "none", growth=1.3)
        for i in range(200)
    ]
    began = time.perf_counter()
    text = render(stories)
    assert time.perf_counter() - began < 10
    assert text.count('class="spark"') == 200
    assert len(text) < 2e6


def test_writing_leaves_one_whole_file(study: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_study_report(path, "A study", study, provenance={})
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_pet_has_its_columns_where_there_is_any(story_factory: Any, read_page: Any) -> None:
    scans = (
        PetVisit("sub-01_ses-a_pet", "a", 3.0, n_accepted=4, highest_suv_peak=2.5),
        PetVisit("sub-01_ses-b_pet", "b", 9.0, error="no body was found."),
    )
    both = dataclasses.replace(story_factory("01", seed=1), pet=scans)
    page = read_page(render([both, story_factory("02", seed=2)]))
    assert "and 1 PET scan analysed, 1 failed." in page.text
    assert "day 3, highest SUV 2.5" in page.text
    assert "PET: no body was found." in page.text
    assert "hot spots, last" not in read_page(render([story_factory("02", seed=2)])).text
    alone = SubjectStory("03", (), Table(TRACKS, {}), pet=scans)
    page = read_page(render([alone]))
    assert "1 subject, 1 PET scan analysed, 1 failed." in page.text
    assert "tracks" not in page.text.split("Groups over time")[0].split("alarm")[0]
