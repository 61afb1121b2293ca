"""One self-contained page per subject: what was followed over all visits, and whether anything grows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ferrosight.report import numbers, story_charts, story_words
from ferrosight.report.course import CELLS, IRON, MOMENT, Course, Quantity, Track
from ferrosight.report.template import RESEARCH_ONLY, Cell, load_template, write_whole
from ferrosight.report.track_map import draw_map, time_colours
from ferrosight.report.uptake_over_time import uptake_context
from ferrosight.types.story import SubjectStory

#: Tracks drawn one by one, the largest first; all are in the table.
MAX_PANELS = 24
#: Longer lists are cut; the TSV beside the page holds all of them.
MAX_MEASUREMENTS, MAX_LINEAGES = 1000, 40

_LINEAGE_WORDS = {"iron": "iron", "activity": "activity", "volume": "volume", "births": "new clusters"}


def write_subject_report(path: Path | str, story: SubjectStory, *, provenance: Mapping[str, object]) -> None:
    """Write a subject's page to ``path``: whole, or not at all. The folder must exist."""
    write_whole(path, render_subject_report(story, provenance=provenance))


def render_subject_report(story: SubjectStory, *, provenance: Mapping[str, object]) -> str:
    """A subject's page as HTML that needs no network and no other file; links to its visits' pages are relative.

    Parameters
    ----------
    story : SubjectStory
        Everything that the page tells; nothing is computed but sums over tracks.
    provenance : mapping
        What made the page; shown as it is.
    """
    course = Course(story)
    context = {
        **_text_context(course, provenance),
        **_picture_context(course),
        **uptake_context(course),
        **_evidence_context(course),
        **_table_context(course),
    }
    return load_template("subject.html").render(**context)


def subject_title(story: SubjectStory) -> str:
    """``sub-01``, or "Subject" where it has no name."""
    return f"sub-{story.subject}" if story.subject else "Subject"


def _text_context(course: Course, provenance: Mapping[str, object]) -> dict[str, Any]:
    story = course.story
    said = [
        f"group {story.group}" if story.group else "",
        f"label {story.label}" if story.label else "no label named",
        story.study_kind,
        numbers.plural(len(story.visits), "visit"),
    ]
    return {
        "title": subject_title(story),
        "subject_line": " · ".join(part for part in said if part),
        "headline": story_words.headline(course),
        "growth": story_words.growth_sentence(course),
        "state": story_words.growth_state(story),
        "comparator_sentence": story_words.comparator_sentence(course),
        "relapse_notes": story.relapse_notes,
        "figures": _figures(course),
        "warnings": story_words.collect_warnings(course),
        "notes": story.notes,
        "methods": story_words.write_methods(course),
        "not_malignancy": story_words.NOT_MALIGNANCY,
        "research_only": RESEARCH_ONLY,
        "provenance": {str(key): str(value) for key, value in provenance.items()},
    }


def _figures(course: Course) -> list[dict[str, str]]:
    """The headline's numbers, large."""
    failed = sum(visit.failed for visit in course.visits)
    done = len(course.visits) - failed
    figures = [
        {"name": "Visits analysed", "value": f"{done:,}", "note": f"{failed:,} failed" if failed else ""},
        {"name": "Clusters followed", "value": f"{len(course.tracks):,}", "note": _seen_note(course)},
    ]
    if course.ends is not None:
        for visit in dict.fromkeys(course.ends):
            total = course.totals[visit].total
            assert total is not None
            interval = course.quantity.show_range(total.low, total.high, total.value)
            figures.append(
                {
                    "name": f"{course.quantity.words.capitalize()}, all together, {course.when(visit)}",
                    "value": course.quantity.show(total.value),
                    "note": "" if interval == numbers.NA else f"95 %: {interval}",
                }
            )
    relapse = course.story.relapse
    if relapse is not None and course.story.identifiable:
        figures.append(
            {
                "name": "Evidence for growth",
                "value": numbers.format_number(float(np.nanmax(relapse["running_e_value"])), 2),
                "note": f"alarm at {1 / float(relapse['alpha'][0]):g}",
            }
        )
    return figures


def _seen_note(course: Course) -> str:
    if course.ends is None:
        return ""
    last = course.totals[course.ends[1]]
    return f"{last.n_seen:,} of {last.n_followed:,} seen on {course.when(course.ends[1])}"


def _picture_context(course: Course) -> dict[str, Any]:
    # With one visit there is no course to draw: each track is a row of the table.
    shown = course.tracks[:MAX_PANELS] if len(course.visits) > 1 else ()
    quantities = [course.quantity] + ([IRON] if course.quantity is CELLS else [])
    colours = time_colours(course)
    visits = [i for i, visit in enumerate(course.visits) if not visit.failed and not visit.is_baseline]
    return {
        "has_tracks": bool(course.tracks),
        "n_tracks": len(course.tracks),
        "map_svg": Markup(draw_map(course)) if course.tracks else "",
        "backdrop_words": course.story.backdrop.words if course.story.backdrop else "",
        "time_legend": [(colours[i], course.when(i)) for i in _spread(visits, 8)],
        "totals": [
            {"words": quantity.words, "svg": Markup(story_charts.draw_totals(course, quantity, f"totals-{i}"))}
            for i, quantity in enumerate(quantities)
        ],
        "quantity": course.quantity.words,
        "panels": [_panels(course, shown, quantity) for quantity in quantities] if shown else [],
    }


def _spread(items: list[int], most: int) -> list[int]:
    """At most so many of the items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]


def _panels(course: Course, shown: tuple[Track, ...], quantity: Quantity) -> dict[str, Any]:
    limits = story_charts.track_limits(course, shown, quantity)
    drawn = [
        {"number": track.number, "svg": Markup(story_charts.draw_track(course, track, quantity, limits))}
        for track in shown
    ]
    return {"words": quantity.words, "tracks": drawn}


def _evidence_context(course: Course) -> dict[str, Any]:
    story = course.story
    relapse = story.relapse
    if relapse is None:
        return {"evidence_svg": "", "lineages": [], "n_lineages_hidden": 0, "rules": [], "has_rules": False}
    order = sorted(story.lineages, key=lambda one: -_largest(one.e_values))
    rules: list[dict[str, Any]] = []
    for row in range(len(relapse)):
        answers = [str(relapse[f"comparator_{name}"][row]) or numbers.NA for name in story_words.COMPARATORS]
        rules.append(
            {
                "session": str(relapse["session_id"][row]) or "–",
                "when": course.when(story.sessions.index(str(relapse["session_id"][row]))),
                "e_value": numbers.format_number(float(relapse["e_value"][row])),
                "running": numbers.format_number(float(relapse["running_e_value"][row])),
                "alarm": bool(relapse["alarm"][row]),
                "answers": answers,
            }
        )
    return {
        "evidence_svg": Markup(story_charts.draw_evidence(course)) if story.identifiable else "",
        "lineages": [_lineage_row(course, lineage) for lineage in order[:MAX_LINEAGES]],
        "n_lineages_hidden": max(len(order) - MAX_LINEAGES, 0),
        "rules": rules,
        "has_rules": story.identifiable or any(answer != numbers.NA for one in rules for answer in one["answers"]),
    }


def _largest(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else -math.inf


def _lineage_row(course: Course, lineage: Any) -> dict[str, Any]:
    since = np.flatnonzero(lineage.growing)
    known = lineage.e_values[np.isfinite(lineage.e_values)]
    return {
        "tracks": sorted(course.number_of[name] for name in lineage.track_ids if name in course.number_of),
        "quantity": _LINEAGE_WORDS[lineage.quantity],
        "now": numbers.format_number(float(known[-1])) if known.size else numbers.NA,
        "largest": numbers.format_number(_largest(lineage.e_values)),
        "grows": f"since {story_words.alarm_time(course, int(since[0]))}" if since.size else "not named",
    }


def _table_context(course: Course) -> dict[str, Any]:
    rows = [(track, visit, row) for track in course.tracks for visit, row in track.rows.items()]
    return {
        "track_columns": _track_columns(course),
        "track_rows": [(f"track-{track.number}", _track_cells(course, track)) for track in course.tracks],
        "measured_columns": _measured_columns(course),
        "measured_rows": [_measured_cells(course, *one) for one in rows[:MAX_MEASUREMENTS]],
        "n_measured": len(rows),
        "n_measured_hidden": max(len(rows) - MAX_MEASUREMENTS, 0),
        "visit_rows": _visit_rows(course),
        "shared_notes": " ".join(_shared_notes(course)),
    }


def _track_columns(course: Course) -> list[tuple[str, str]]:
    values = [(f"{course.quantity.words}, {end}", "95 % interval") for end in ("first seen", "last measured")]
    iron = [("iron, last measured", "95 % interval")] if course.quantity is CELLS else []
    return [("track", ""), ("seen", ""), *values, *iron, ("events", ""), ("x, y, z, last", "mm, and name")]


def _track_cells(course: Course, track: Track) -> list[Cell]:
    counted = [visit for visit in track.rows if track.counts_at(visit)]
    measured = [visit for visit in counted if math.isfinite(course.value(track.rows[visit], course.quantity.column))]
    seen = sum(course.is_detected(track.rows[visit]) for visit in counted)
    first = _value_cell(course, track, track.first_seen, course.quantity)
    last = measured[-1] if measured else track.last_seen
    iron = [_value_cell(course, track, last, IRON)] if course.quantity is CELLS else []
    place = track.rows[last]
    return [
        Cell(str(track.number), float(track.number)),
        Cell(f"{seen} of {len(counted)}", float(seen)),
        first,
        _value_cell(course, track, last, course.quantity),
        *iron,
        Cell("; ".join(story_words.track_events(course, track))),
        Cell(_place(course, place), course.value(place, "x_mm"), track.track_id),
    ]


def _value_cell(course: Course, track: Track, visit: int, quantity: Quantity) -> Cell:
    row = track.rows[visit]
    found = "" if course.is_detected(row) else ", forced"
    when = f"{course.when(visit)}{found}"
    return Cell(_shown(course, row, quantity), course.value(row, quantity.column), when)


def _shown(course: Course, row: int, quantity: Quantity) -> str:
    value, low, high = (
        course.value(row, column) for column in (quantity.column, quantity.low_column, quantity.high_column)
    )
    return quantity.show_with_range(value, low, high)


def _place(course: Course, row: int) -> str:
    told = []
    for axis in "xyz":
        value, error = course.value(row, f"{axis}_mm"), course.value(row, f"{axis}_mm_err")
        told.append(numbers.format_pm(value, error) if math.isfinite(value) else numbers.NA)
    return ", ".join(told)


def _measured_columns(course: Course) -> list[tuple[str, str]]:
    steps = [("cells", ""), ("iron", "")] if course.quantity is CELLS else [("iron", "")]
    steps = [] if course.quantity is MOMENT else steps
    return [
        ("track", ""), ("visit", ""), ("measured", ""), *steps, ("moment", numbers.TABLE_MOMENT_UNIT),
        ("upper limit", "95 %, one-sided"), ("limit of detection", "iron"), ("x, y, z", "mm"),
        ("link", "probability"), ("cluster", ""),
    ]  # fmt: skip


def _measured_cells(course: Course, track: Track, visit: int, row: int) -> list[Cell]:
    quantity = course.quantity
    steps = {"n_cells": [CELLS, IRON], "iron_pg": [IRON], "moment_am2": []}[quantity.column]
    moment, error = course.value(row, "moment_am2"), course.value(row, "moment_am2_err")
    upper, limit = course.value(row, quantity.upper_limit_column), course.value(row, "limit_iron_pg")
    chance = course.value(row, "link_probability")
    unit = numbers.TABLE_MOMENT_AM2
    words = str(course.story.tracks["measurement"][row])
    note = "" if track.counts_at(visit) else ", before it was found" if visit < track.first_seen else ", after its end"
    return [
        Cell(str(track.number), float(track.number)),
        Cell(course.when(visit), float(visit)),
        Cell(f"{words}{note}"),
        *(Cell(_shown(course, row, step), course.value(row, step.column)) for step in steps),
        Cell(numbers.format_pm(moment / unit, error / unit), moment),
        Cell(quantity.show(upper) if math.isfinite(upper) else numbers.NA, upper),
        Cell(numbers.format_iron(limit), limit),
        Cell(_place(course, row), course.value(row, "x_mm")),
        Cell(numbers.format_probability(chance), chance),
        Cell(str(course.story.tracks["cluster_id"][row]) or numbers.NA),
    ]


def _shared_notes(course: Course) -> list[str]:
    """What is said of every visit that was analysed; nothing where that is one."""
    analysed = [visit for visit in course.visits if not visit.failed]
    return (
        [note for note in analysed[0].notes if all(note in visit.notes for visit in analysed)] if analysed[1:] else []
    )


def _visit_rows(course: Course) -> list[dict[str, Any]]:
    alarms, shared = _alarm_sessions(course.story), set(_shared_notes(course))
    rows = []
    for i, visit in enumerate(course.visits):
        one = course.totals[i]
        status = "failed" if visit.failed else "baseline, without label" if visit.is_baseline else "analysed"
        rows.append(
            {
                "when": course.when(i),
                "session": visit.session or "–",
                "report": visit.report,
                "status": status,
                "failed": visit.failed,
                "n_accepted": numbers.NA if visit.n_accepted is None else f"{visit.n_accepted:,}",
                "seen": numbers.NA if visit.failed else f"{one.n_seen:,} of {one.n_followed:,}",
                "total": _total_words(course, i),
                "growth": alarms.get(visit.session, numbers.NA),
                "words": " ".join(part for part in (visit.error, *visit.notes) if part and part not in shared),
            }
        )
    return rows


def _total_words(course: Course, visit: int) -> str:
    one = course.totals[visit]
    if one.total is None or not math.isfinite(one.total.value):
        return numbers.NA
    return story_words.total_words(course.quantity, one.total) if one.n_followed else "none"


def _alarm_sessions(story: SubjectStory) -> dict[str, str]:
    if story.relapse is None or not story.identifiable:
        return {}
    return {
        str(name): "alarm" if alarm else "no alarm"
        for name, alarm in zip(story.relapse["session_id"], story.relapse["alarm"], strict=True)
    }
