"""Uptake over time on a subject's page: every place with its activity, beside what MRI has there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.report.subject import render_subject_report
from ferrosight.types.story import PetCourse, PetVisit, SubjectStory


def make_course(track_id: str, values: list[float], found: list[bool], suv: float = 3.0) -> PetCourse:
    value = np.array(values)
    return PetCourse(track_id, "spot", value, value - 100, value + 100, np.where(found, suv, np.nan), np.array(found))


@pytest.fixture(scope="module")
def story(story_factory: Any) -> SubjectStory:
    """Five visits, a track that PET follows from the second on, and a hot spot of its own."""
    plain = story_factory("01", relapse="none", seed=3)
    track = str(plain.tracks["track_id"][0])
    courses = (
        make_course(track, [np.nan, 500.0, 400.0, -20.0, 300.0], [False, True, True, False, True]),
        make_course("", [np.nan, 2500.0, 2600.0, np.nan, 2700.0], [False, True, True, False, True]),
    )
    scans = tuple(PetVisit(f"sub-01_ses-{visit.session}_pet", visit.session, visit.day) for visit in plain.visits)
    return dataclasses.replace(plain, uptake=courses, pet=scans)


def render(story: SubjectStory) -> str:
    return render_subject_report(story, provenance={})


def test_every_place_has_its_values_intervals_and_units(story: SubjectStory, read_page: Any) -> None:
    text = render(story)
    page = read_page(text)
    assert len(page.ids) == len(set(page.ids))
    assert "uptake" in page.ids
    assert "500 (400–600) Bq" in page.text
    assert "2.50 (2.40–2.60) kBq" in page.text
    assert "-20.0 (-120 to 80) Bq" in page.text.replace("−", "-")
    assert "Hot spot 1" in page.text
    section = text.split('id="uptake"')[1].split("</section>")[0]
    assert section.count("<svg ") == 2
    assert section.count("<td>") + section.count("<td ") == 7 * 7
    assert "no cluster of MRI" in section
    # The first visit's scan has no place among the others.
    assert f"Not followed here: {story.pet[0].name}." in page.text
    assert not any(part in page.text for part in ("nan ", " inf "))


def test_without_pet_there_is_no_such_section(story: SubjectStory, read_page: Any) -> None:
    page = read_page(render(dataclasses.replace(story, uptake=(), pet=())))
    assert "uptake" not in page.ids
    assert "Uptake over time" not in page.text


def test_a_course_needs_a_value_per_visit(story: SubjectStory) -> None:
    with pytest.raises(InputError, match="5 visits"):
        dataclasses.replace(story, uptake=(make_course("", [1.0], [True]),))
