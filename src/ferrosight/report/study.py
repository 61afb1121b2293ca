"""One self-contained page per study: every subject and every group at a glance, from one subject to hundreds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ferrosight.report import numbers, study_charts
from ferrosight.report.course import Quantity
from ferrosight.report.story_words import NOT_MALIGNANCY, STATE_WORDS
from ferrosight.report.study_lines import (
    SubjectLine,
    common_quantity,
    follow_group,
    summarise_subject,
    time_to_alarm,
)
from ferrosight.report.template import RESEARCH_ONLY, load_template, write_whole
from ferrosight.types.story import SubjectStory

#: Longer lists of failures are cut; the study's summary.json holds all of them.
MAX_FAILURES = 400


def write_study_report(
    path: Path | str,
    title: str,
    subjects: Sequence[SubjectStory | SubjectLine],
    *,
    provenance: Mapping[str, object],
) -> None:
    """Write a study's page to ``path``: whole, or not at all. The folder must exist."""
    write_whole(path, render_study_report(title, subjects, provenance=provenance))


def render_study_report(
    title: str, subjects: Sequence[SubjectStory | SubjectLine], *, provenance: Mapping[str, object]
) -> str:
    """A study's page as HTML that needs no network and no other file; links to subjects' pages are relative.

    Parameters
    ----------
    title : str
        The study's name.
    subjects
        Stories, or the lines that ``summarise_subject`` makes of them where stories would take too much memory.
    provenance : mapping
        What made the page; shown as it is.
    """
    lines = [summarise_subject(one) if isinstance(one, SubjectStory) else one for one in subjects]
    quantity = common_quantity(lines)
    in_days = all(line.has_days for line in lines)
    groups: dict[str, list[SubjectLine]] = {}
    for line in lines:
        groups.setdefault(line.group, []).append(line)
    ends = _time_ends(lines, quantity, in_days=in_days)
    curves = {
        group: curve
        for group, members in groups.items()
        if (curve := time_to_alarm(members, in_days=in_days, start=ends[0])) is not None
    }
    failures = [(line, *failure) for line in lines for failure in line.failures]
    context = {
        "title": title or "Study",
        "headline": headline(lines, groups),
        "has_mri": any(line.has_mri for line in lines) or not any(line.pet for line in lines),
        "has_pet": any(line.pet for line in lines),
        "growth": growth_headline(lines),
        "has_alarm": any(line.state == "alarm" for line in lines),
        "quantity": quantity.words,
        "time_name": "day" if in_days else "visit",
        "in_days": in_days,
        "rows": [_row(line, quantity, ends, in_days=in_days) for line in lines],
        "groups_svg": Markup(study_charts.draw_groups(groups, quantity, in_days=in_days))
        if any(line.has_mri for line in lines)
        else "",
        "group_legend": study_charts.list_groups(groups),
        "group_rows": _group_rows(groups, quantity, in_days=in_days),
        "alarms_svg": Markup(study_charts.draw_alarms(curves, list(groups), in_days=in_days)) if curves else "",
        "alarm_legend": [one for one in study_charts.list_groups(groups) if one["group"] in curves],
        "alarm_rows": [_alarm_row(group, curve, in_days=in_days) for group, curve in curves.items()],
        "failures": [_failure(*one) for one in failures[:MAX_FAILURES]],
        "n_failures": len(failures),
        "n_failures_hidden": max(len(failures) - MAX_FAILURES, 0),
        "not_malignancy": NOT_MALIGNANCY,
        "research_only": RESEARCH_ONLY,
        "provenance": {str(key): str(value) for key, value in provenance.items()},
    }
    return load_template("study.html").render(**context)


def headline(lines: Sequence[SubjectLine], groups: Mapping[str, Sequence[SubjectLine]]) -> str:
    """How many subjects, groups and visits, and how many of them failed."""
    if not lines:
        return "This study has no subject."
    done, failed = sum(line.n_done for line in lines), sum(len(line.failures) for line in lines)
    named = [group for group in groups if group]
    of = f" in {numbers.plural(len(named), 'group')}" if len(named) > 1 else ""
    n_pet = sum(line.n_pet_done for line in lines)
    mri = numbers.plural(done, "visit") if any(line.has_mri for line in lines) else ""
    pet = numbers.plural(n_pet, "PET scan") if any(line.pet for line in lines) else ""
    text = f"{numbers.plural(len(lines), 'subject')}{of}, {' and '.join(part for part in (mri, pet) if part)} analysed"
    return f"{text}, {failed:,} failed." if failed else f"{text}, none failed."


def growth_headline(lines: Sequence[SubjectLine]) -> str:
    """In how many subjects something grows, as far as it can be known."""
    known = [line for line in lines if line.state in ("alarm", "none")]
    called = sum(line.state == "alarm" for line in known)
    rest = {state: sum(line.state == state for line in lines) for state in ("unknown", "untested")}
    told = []
    if known:
        told.append(f"Alarm in {called:,} of {numbers.plural(len(known), 'subject')} in which growth can be known.")
    if rest["unknown"]:
        it = "it" if told else "growth"
        told.append(f"In {numbers.plural(rest['unknown'], 'subject')} {it} cannot be known.")
    if rest["untested"]:
        it = "it" if told else "growth"
        told.append(f"In {numbers.plural(rest['untested'], 'subject')} {it} was not tested.")
    return " ".join(told)


def _time_ends(lines: Sequence[SubjectLine], quantity: Quantity, *, in_days: bool) -> tuple[float, float]:
    """First and last time of anything that the page draws."""
    times = [np.zeros(0)]
    for line in lines:
        series = line.totals.get(quantity.column)
        visits = [visit for visit in (line.alarm, line.last_tested) if visit >= 0]
        drawn = np.array([*visits, *(series.visit if series is not None else ())], dtype=np.int64)
        times.append(line.time(drawn, in_days=in_days))
    every = np.concatenate(times)
    return (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)


def _row(line: SubjectLine, quantity: Quantity, ends: tuple[float, float], *, in_days: bool) -> dict[str, Any]:
    series = line.totals.get(quantity.column)
    alarm = float(line.time(line.alarm, in_days=in_days)) if line.alarm >= 0 else math.nan
    last, key = numbers.NA, math.nan
    when = ""
    if series is not None and len(series.visit):
        key = float(series.value[-1])
        last = quantity.show_with_range(key, float(series.low[-1]), float(series.high[-1])) if line.n_tracks else "none"
        when = _when(float(line.time(int(series.visit[-1]), in_days=in_days)), in_days=in_days)
    return {
        "name": f"sub-{line.subject}" if line.subject else "subject",
        "report": line.report,
        "group": line.group or "–",
        "spark": Markup(study_charts.draw_spark(line, quantity, ends, in_days=in_days)),
        "last": last,
        "last_when": when,
        "last_key": _key(key),
        "n_tracks": line.n_tracks,
        "visits": _visits_cell(line),
        "n_done": line.n_done,
        **_pet_cells(line),
        "failed": len(line.days) > line.n_done,
        "state": line.state,
        "state_words": STATE_WORDS[line.state],
        "alarm": _when(alarm, in_days=in_days) if math.isfinite(alarm) else "–",
        "alarm_key": _key(alarm),
    }


def _visits_cell(line: SubjectLine) -> str:
    failed = len(line.days) - line.n_done
    return f"{line.n_done:,}" + (f", {failed:,} failed" if failed else "")


def _pet_cells(line: SubjectLine) -> dict[str, Any]:
    """PET scans and what the last of those that were analysed found."""
    failed = len(line.pet) - line.n_pet_done
    scans = f"{line.n_pet_done:,}" + (f", {failed:,} failed" if failed else "") if line.pet else "–"
    done = [scan for scan in line.pet if not scan.failed]
    if not done:
        return {
            "pet": scans,
            "n_pet": line.n_pet_done,
            "pet_failed": bool(failed),
            "spots": numbers.NA,
            "spots_note": "",
        }
    last = done[-1]
    peak = f"highest SUV {numbers.format_number(last.highest_suv_peak)}" if math.isfinite(last.highest_suv_peak) else ""
    day = _when(last.day, in_days=True) if math.isfinite(last.day) else last.session
    return {
        "pet": scans,
        "n_pet": line.n_pet_done,
        "pet_failed": bool(failed),
        "spots": numbers.NA if last.n_accepted is None else f"{last.n_accepted:,}",
        "spots_note": ", ".join(part for part in (day, peak) if part),
    }


def _key(value: float) -> str:
    """What a table sorts by; "" where there is no number."""
    return f"{value:.12g}" if math.isfinite(value) else ""


def _when(time: float, *, in_days: bool) -> str:
    return f"{'day' if in_days else 'visit'} {time:g}".replace("-", "−")


def _group_rows(
    groups: Mapping[str, Sequence[SubjectLine]], quantity: Quantity, *, in_days: bool
) -> list[dict[str, str]]:
    rows = []
    for group, lines in groups.items():
        course = follow_group(lines, quantity, in_days=in_days)
        columns = (course.time, course.middle, course.low, course.high, course.n, course.geometric)
        for time, middle, low, high, n, geometric in zip(*columns, strict=True):
            rows.append(
                {
                    "group": group or "all",
                    "when": _when(float(time), in_days=in_days),
                    "n": f"{n:,}",
                    "middle": quantity.show_with_range(float(middle), float(low), float(high)),
                    "kind": "geometric mean" if geometric else "median",
                }
            )
    return rows


def _alarm_row(group: str, curve: Any, *, in_days: bool) -> dict[str, str]:
    last, low, high = curve.share[-1], curve.low[-1], curve.high[-1]
    bounded = math.isfinite(low) and math.isfinite(high)
    interval = f"({100 * low:.0f}–{100 * high:.0f})" if bounded else "(no interval)"
    return {
        "group": group or "all",
        "n": f"{curve.n_subjects:,}",
        "alarms": f"{curve.n_alarms:,}",
        "median": _when(curve.median, in_days=in_days) if math.isfinite(curve.median) else "not reached",
        "last": f"{100 * last:.0f}\u00a0% {interval}",
    }


def _failure(line: SubjectLine, session: str, reason: str) -> dict[str, str]:
    return {"subject": f"sub-{line.subject}", "report": line.report, "session": session or "–", "reason": reason}
