"""A subject's page: whole, self-contained, readable without seeing, and true to its tables."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.report.course import Course
from ferrosight.report.subject import MAX_PANELS, render_subject_report, write_subject_report
from ferrosight.types.story import SubjectStory

SECTIONS = {"overview", "tracks", "evidence", "table", "visits", "methods", "reading"}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "alarm": {"n_tracks": 3, "growth": 1.7, "branches": True, "relapse": "alarm", "backdrop": True, "failed": (3,)},
    "baseline": {"baseline": True, "relapse": "untested"},
    "moments": {"level": "moment", "relapse": "unknown", "days": (math.nan,) * 3},
    "iron": {"level": "iron", "n_tracks": 1},
    "nothing": {"n_tracks": 0, "relapse": "untested"},
    "lone": {"n_tracks": 1, "days": (0.0,), "relapse": "unknown"},
    "failed": {"n_tracks": 0, "failed": (0, 1), "days": (0.0, 7.0), "relapse": "untested"},
    "no visit": {"n_tracks": 0, "days": (), "relapse": "untested"},
}


def render(story: SubjectStory) -> str:
    return render_subject_report(story, provenance={"software": "ferrosight 0.1.0"})


@pytest.fixture(scope="module")
def pages(story_factory: Any) -> dict[str, tuple[SubjectStory, str]]:
    stories = {name: story_factory(**case) for name, case in CASES.items()}
    return {name: (story, render(story)) for name, story in stories.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_page_is_well_formed_complete_and_self_contained(name: str, pages: Any, read_page: Any) -> None:
    story, text = pages[name]
    page = read_page(text)
    assert set(page.ids) >= SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert "http" not in text
    assert not re.search(r'src="(?!data:)', text)
    assert not re.search(r"url\((?!#|&quot;#|\"#)", text)
    assert "@import" not in text
    own = {visit.report for visit in story.visits}
    assert {link for link in page.links if not link.startswith("#")} <= own
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "Research use only" in page.text
    assert not re.search(r"\bnan\b|\binf\b|None\b(?!\.)", page.text.replace("None.", "").replace("None by", ""))


@pytest.mark.parametrize("name", CASES)
def test_every_picture_has_words_for_those_who_cannot_see_it(name: str, pages: Any) -> None:
    tags = re.findall(r"<svg [^>]*>", pages[name][1])
    assert all('role="img" aria-label="' in tag for tag in tags)


def test_every_number_of_the_tracks_is_on_the_page(pages: Any, read_page: Any) -> None:
    story, text = pages["plain"]
    shown = read_page(text).text
    course = Course(story)
    for row in range(len(story.tracks)):
        cells = course.quantity.show_with_range(*(story.tracks[f"n_cells{end}"][row] for end in ("", "_low", "_high")))
        assert cells in shown
    for total in course.totals:
        assert total.total is not None
        assert course.quantity.show(total.total.value) in shown
    assert text.count('<tr id="track-') == 3


def test_the_headline_tells_how_many_and_what_became_of_them(pages: Any, read_page: Any) -> None:
    story, text = pages["alarm"]
    shown = read_page(text).text
    n_tracks = len(set(story.tracks["track_id"].tolist()))
    assert f"{n_tracks} clusters followed over 4 visits, with 1 split (1 more visit failed); together" in shown
    assert re.search(r"cells \([\d,]+–[\d,]+\) on day 28, up from [\d,]+ cells \([\d,]+–[\d,]+\) on day 0", shown)
    assert "Alarm on day 28 (d04): something that bears the label grows or appears" in shown
    assert "would be at most 5 %" in shown
    assert "Growth of what bears the label is not malignancy" in shown
    assert "Progression by First visible lesion on day 28 (d04). None by RECIST 1.1." in shown


def test_a_failed_visit_is_listed_with_its_reason_and_others_link_to_their_page(pages: Any, read_page: Any) -> None:
    story, text = pages["alarm"]
    page = read_page(text)
    assert "no magnitude image was found; add part-mag." in page.text
    assert "1 visit failed and is missing: d03." in page.text
    assert {visit.report for visit in story.visits if visit.report} <= set(page.links)


def test_what_drove_the_evidence_is_named_by_its_tracks(pages: Any) -> None:
    story, text = pages["alarm"]
    number = Course(story).number_of[story.lineages[0].track_ids[0]]
    row = re.search(r"<tbody><tr>(.*?)</tr>", text[text.index("What drives it") :], re.DOTALL)
    assert row is not None
    assert f'href="#track-{number}"' in row[1]
    assert "since day 28" in row[1]
    assert "new clusters" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain", "That is no proof that nothing grows"),
        ("moments", "cannot be known from these scans"),
        ("moments", "a PET scan would make it so"),
        ("moments", "Some visits have no date"),
        ("baseline", "Whether anything grows was not tested"),
        ("nothing", "No labelled cluster was found in 5 visits, so that there is nothing to follow"),
        ("failed", "Nothing is known of this subject: all 2 visits failed"),
        ("no visit", "Nothing is known of this subject: it has no visit"),
        ("lone", "1 cluster followed over 1 visit; together"),
        ("moments", "A m² on visit 3"),
    ],
)
def test_what_is_known_and_what_is_not_is_said_in_words(name: str, words: str, pages: Any, read_page: Any) -> None:
    assert words in read_page(pages[name][1]).text


def test_events_say_where_a_track_came_from_and_how_it_ended(pages: Any, read_page: Any) -> None:
    shown = read_page(pages["alarm"][1]).text
    numbers = Course(pages["alarm"][0]).number_of
    parent, left, right = (numbers[f"sub-01_{name}"] for name in ("t0", "s-1", "s1"))
    assert f"split from {parent} on day 14" in shown
    assert re.search(rf"split into ({left} and {right}|{right} and {left}) on day 14", shown)


def test_odd_names_are_escaped_everywhere(story_factory: Any, read_page: Any) -> None:
    evil = '<script>alert("x")</script>&'
    story = story_factory(relapse="alarm", growth=1.7)
    names = np.array([evil if name == "sub-01_t0" else name for name in story.tracks["track_id"]])
    visits = (dataclasses.replace(story.visits[0], error="<b>bad</b>", notes=("<u>n</u>",)), *story.visits[1:])
    text = render_subject_report(
        dataclasses.replace(
            story, subject="<i>s</i>", group="<em>g</em>", label="<q>", notes=("<s>",), visits=visits, lineages=(),
            tracks=story.tracks.with_columns(track_id=names), relapse_notes=("<tt>",),
        ),
        provenance={"<k>": "<v>"},
    )  # fmt: skip
    page = read_page(text)
    assert not {"u", "em", "k", "v", "q", "s", "tt"} & set(page.tags)
    assert "<b>bad" not in text
    assert "<i>s" not in text
    assert page.tags.count("script") == 1
    assert evil in page.text


def test_missing_numbers_are_na_and_nothing_breaks(story_factory: Any, read_page: Any) -> None:
    story = story_factory(relapse="alarm")
    blank = {c.name: np.full(len(story.tracks), np.nan) for c in story.tracks.schema.columns if c.dtype == "number"}
    text = render(dataclasses.replace(story, tracks=story.tracks.with_columns(**blank)))
    page = read_page(text)
    assert "n/a" in page.text
    assert not re.search(r"\bnan\b", page.text)
    assert 'data-key="nan"' not in text


@pytest.mark.slow
def test_with_many_tracks_the_largest_are_drawn_and_all_are_listed(story_factory: Any) -> None:
    text = render(story_factory(n_tracks=80))
    assert text.count('<tr id="track-') == 80
    assert f"The {MAX_PANELS} largest of 80 tracks" in text
    assert len(text) < 3e6


def test_the_same_story_gives_the_same_page(pages: Any) -> None:
    story, text = pages["alarm"]
    assert render(story) == text


def test_what_is_said_of_every_visit_is_said_once(story_factory: Any, read_page: Any) -> None:
    story = story_factory()
    shared, own = "Displacement is not corrected.", "Two windows disagree."
    visits = [
        dataclasses.replace(visit, notes=(shared, own) if i == 1 else (shared,)) for i, visit in enumerate(story.visits)
    ]
    text = read_page(render(dataclasses.replace(story, visits=tuple(visits)))).text
    assert text.count(shared) == 1
    assert f"At every visit: {shared}" in text
    assert text.count(own) == 1
    lone = story_factory(n_tracks=1, days=(0.0,), relapse="unknown")
    lone = dataclasses.replace(lone, visits=(dataclasses.replace(lone.visits[0], notes=(shared,)),))
    text = read_page(render(lone)).text
    assert text.count(shared) == 1
    assert "At every visit" not in text


def test_writing_is_all_or_nothing(story_factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub-01_report.html"
    path.write_text("old", encoding="utf-8")
    story = story_factory(n_tracks=0)

    def fail(self: Path, target: Path) -> Path:
        raise OSError(f"{self} cannot become {target}")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(InputError, match=r"cannot be written .*cannot become"):
            write_subject_report(path, story, provenance={})
    assert path.read_text(encoding="utf-8") == "old"
    write_subject_report(path, story, provenance={})
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]
