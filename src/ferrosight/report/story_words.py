"""What a subject's page says in sentences: the headline, the evidence, the assumptions."""

from __future__ import annotations

import math

import numpy as np

from ferrosight.report.course import CELLS, IRON, Course, Quantity, Track
from ferrosight.report.numbers import format_number, plural
from ferrosight.report.summary import Total
from ferrosight.types.story import SubjectStory

NOT_MALIGNANCY = (
    "An alarm means that something which bears the label grows or appears. It does not say that it is malignant: "
    "inflammation, bleeding and treatment can do the same."
)
COMPARATORS = {
    "recist": "RECIST 1.1",
    "rano": "RANO",
    "percist": "PERCIST 1.0",
    "visible": "First visible lesion",
}
_VISITS = (
    "Each visit was analysed by itself; the pages of the visits say how. Positions are those of the subject’s own "
    "space, in which the visits were laid onto each other; errors of position hold the error of that."
)
_FOLLOWING = (
    "The likeliest of all explanations of all clusters at all visits was chosen: staying, moving, splitting, merging, "
    "being missed, being false. Where a cluster splits its track ends and two begin; where two merge, both end and one "
    "begins. Each measurement has the chance that its link is the true one."
)
_FORCED = (
    "At each visit at which a track was not found its place was measured all the same (forced): such a value may be "
    "zero or negative, and its upper limit is what the scan allows (95 %, one-sided). The limit of detection is that "
    "of the very place at that visit."
)
_TOTALS = (
    "A total adds every track that is followed at a visit: seen then or before, and not yet split or merged into "
    "another. Where it was not seen its forced value counts. Errors of the fits are independent and add in quadrature; "
    "whatever else widens an interval (magnetisation, iron per cell) is shared by all and adds linearly. Clusters "
    "below the limit of detection that were never seen are in no total."
)
_KINDS = {
    "prelabelled": (
        "The cells were labelled before they were given: their iron falls with death and loss however fast they "
        "divide, so that iron shows survival and spread and never growth."
    ),
    "targeted": "Particles that seek the cells were given again before each scan: iron follows the number of cells.",
    "tracer": "Growth is followed by the activity of a tracer.",
}


def headline(course: Course) -> str:
    """What was followed and what there is of it, in one or two sentences."""
    visits = course.visits
    n_done = sum(not visit.failed for visit in visits)
    over = plural(n_done, "visit")
    more = f" ({plural(len(visits) - n_done, 'more visit')} failed)" if len(visits) > n_done else ""
    if not n_done:
        return f"Nothing is known of this subject: {_failed_words(len(visits))}."
    if not course.tracks:
        return f"No labelled cluster was found in {over}{more}, so that there is nothing to follow."
    told = f"{plural(len(course.tracks), 'cluster')} followed over {over}{_branches(course)}{more}"
    return f"{told}{_totals(course)}."


def _failed_words(n: int) -> str:
    if not n:
        return "it has no visit"
    return "its only visit failed" if n == 1 else f"all {n} visits failed"


def _branches(course: Course) -> str:
    merges = sum(len(track.parents) > 1 for track in course.tracks)
    splits = sum(len(track.children) > 1 for track in course.tracks)
    told = [plural(n, noun) for n, noun in ((splits, "split"), (merges, "merger")) if n]
    return f", with {' and '.join(told)}" if told else ""


def _totals(course: Course) -> str:
    if course.ends is None:
        return ""
    first, last = course.ends
    now, then = course.totals[last].total, course.totals[first].total
    assert now is not None
    assert then is not None
    text = f"; together {total_words(course.quantity, now)} on {course.when(last)}"
    if first == last:
        return text
    return f"{text}, {_compare(now, then)} {total_words(course.quantity, then)} on {course.when(first)}"


def _compare(now: Total, then: Total) -> str:
    """ "down from" where the intervals lie apart, "against" where they cannot be told apart by that."""
    if now.high < then.low:
        return "down from"
    return "up from" if now.low > then.high else "against"


def total_words(quantity: Quantity, total: Total) -> str:
    """``1,240 cells (810–1,690)``, ``3.1 (2.2–4.0) ng of iron`` or ``5.2 (4.9–5.5) pA m²``."""
    shown = quantity.show_with_range(total.value, total.low, total.high)
    if quantity is CELLS:
        return shown.replace(" (", " cells (", 1) if "(" in shown else f"{shown} cells"
    return f"{shown} of iron" if quantity is IRON else shown


def growth_state(story: SubjectStory) -> str:
    """``alarm``, ``none`` (no alarm), ``unknown`` (cannot be known) or ``untested``."""
    if story.relapse is None or not len(story.relapse):
        return "untested"
    if story.first_alarm >= 0:
        return "alarm"
    return "none" if story.identifiable else "unknown"


STATE_WORDS = {
    "alarm": "alarm",
    "none": "no alarm",
    "unknown": "cannot be known",
    "untested": "not tested",
}


def growth_sentence(course: Course) -> str:
    """Whether anything grows, as far as it is known, in plain words."""
    story = course.story
    state = growth_state(story)
    if state == "untested":
        return "Whether anything grows was not tested."
    if state == "unknown":
        return "Whether anything grows cannot be known from these scans; no alarm can be raised or ruled out."
    assert story.relapse is not None
    alpha = float(story.relapse["alpha"][0])
    if state == "alarm":
        row = story.first_alarm
        return (
            f"Alarm on {alarm_time(course, row)}: something that bears the label grows or appears. If nothing did, the "
            f"chance of ever raising an alarm would be at most {100 * alpha:g}\u00a0%. "
            "Growth of what bears the label is not malignancy."
        )
    largest = float(np.nanmax(story.relapse["running_e_value"]))
    return (
        f"No alarm: the evidence for growth has reached {format_number(largest, 2)}, and an alarm needs "
        f"{1 / alpha:g}. That is no proof that nothing grows: slow growth, or growth of few cells, may "
        "not have shown yet."
    )


def alarm_time(course: Course, row: int) -> str:
    """When a row of the relapse table was, with its session."""
    assert course.story.relapse is not None
    session = str(course.story.relapse["session_id"][row])
    when = course.when(course.story.sessions.index(session))
    return f"{when} ({session})" if session else when


def comparator_sentence(course: Course) -> str:
    """When each clinical rule called progression on the same data, or that none could."""
    relapse = course.story.relapse
    if relapse is None or not len(relapse):
        return ""
    said, silent = [], []
    for name, words in COMPARATORS.items():
        answers = relapse[f"comparator_{name}"]
        called = np.flatnonzero(answers == "progression")
        if called.size:
            said.append(f"{words} on {alarm_time(course, int(called[0]))}")
        elif (answers == "none").any():
            silent.append(words)
    if not said and not silent:
        return "No clinical rule can be applied: no lesion was measured for them."
    parts = [f"Progression by {'; '.join(said)}." if said else "", f"None by {', '.join(silent)}." if silent else ""]
    return " ".join(part for part in parts if part)


def track_events(course: Course, track: Track) -> list[str]:
    """What became of a track, in the order of time: where it came from, gaps, and how it ended."""
    numbers = course.number_of
    events = [_origin(track, numbers, course)]
    unseen = [visit for visit, row in track.rows.items() if track.counts_at(visit) and not course.is_detected(row)]
    outside = {visit for visit in unseen if course.value(track.rows[visit], "measurement") == "outside"}
    gaps = [visit for visit in unseen if visit < track.last_seen and visit not in outside]
    if gaps:
        events.append(f"unseen on {_list_visits(course, gaps)}")
    if outside:
        events.append(f"outside the scan on {_list_visits(course, sorted(outside))}")
    if track.children:
        into = " and ".join(str(numbers[child]) for child in track.children)
        # A part of a split that was never followed leaves a single child, whose only parent this is.
        joined = any(len(one.parents) > 1 for one in course.tracks if one.track_id in track.children)
        verb = "merged into" if joined else "split into"
        events.append(f"{verb} {into} on {course.when(track.replaced)}")
    elif any(visit > track.last_seen and visit not in outside for visit in unseen):
        events.append(f"not seen since {course.when(track.last_seen)}")
    return events


def _origin(track: Track, numbers: dict[str, int], course: Course) -> str:
    when = course.when(track.first_seen)
    if not track.parents:
        return f"appeared on {when}"
    of = " and ".join(str(numbers[parent]) for parent in track.parents)
    return f"{'merged from' if len(track.parents) > 1 else 'split from'} {of} on {when}"


def _list_visits(course: Course, visits: list[int]) -> str:
    first, *rest = (course.when(visit) for visit in visits)
    return ", ".join([first, *(words.removeprefix("day ").removeprefix("visit ") for words in rest)])


def collect_warnings(course: Course) -> list[str]:
    """Sentences that a reader must know before the numbers."""
    found = []
    if not course.has_days:
        found.append(
            "Some visits have no date: they are shown in their order, and no rate can be read from the charts."
        )
    failed = [visit for visit in course.visits if visit.failed]
    if failed:
        names = ", ".join(visit.session or "its scan" for visit in failed)
        found.append(
            f"{plural(len(failed), 'visit')} failed and {'is' if len(failed) == 1 else 'are'} missing: {names}."
        )
    missing = _missing_in_last(course)
    if missing:
        found.append(missing)
    if course.story.study_kind == "prelabelled" and course.tracks:
        found.append(_KINDS["prelabelled"])
    return found


def _missing_in_last(course: Course) -> str:
    if course.ends is None:
        return ""
    total = course.totals[course.ends[1]].total
    if total is None or not total.n_missing:
        return ""
    return (
        f"The total on {course.when(course.ends[1])} is without {plural(total.n_missing, 'cluster')} not measured then."
    )


def write_methods(course: Course) -> list[tuple[str, str]]:
    """Paragraphs (heading, text), each a step or an assumption that the numbers hang on."""
    story = course.story
    label = f"The label is {story.label}. " if story.label else "No label was named: moments stay moments. "
    cells = "" if course.quantity is CELLS else " Numbers of cells are n/a: no iron per cell was given."
    return [
        ("Visits", _VISITS),
        ("Following", _FOLLOWING),
        ("Measuring what was not found", _FORCED),
        (
            "Iron and cells",
            f"{label}Iron is the moment over the label’s magnetisation, cells are iron over the iron per cell of that "
            f"day.{cells} ± is one standard deviation; brackets hold a 95 % interval.",
        ),
        ("Totals", _TOTALS),
        ("Evidence", _evidence_text(story)),
        (
            "What this page cannot say",
            f"{NOT_MALIGNANCY} Living cells, dead ones and macrophages that ate them look the same. The chance that a "
            "cluster is false stands on the page of its visit.",
        ),
    ]


def _evidence_text(story: SubjectStory) -> str:
    kind = _KINDS.get(story.study_kind, "")
    if story.relapse is None:
        return f"Growth was not tested. {kind}".strip()
    alpha = float(story.relapse["alpha"][0]) if len(story.relapse) else math.nan
    return (
        "An e-value is what a fair bet against “nothing grows and nothing appears” has made of one unit of money. "
        f"The alarm is raised once it has reached 1/α, here with α = {alpha:g}: if nothing grows, the "
        "chance of ever raising one is at most α, however often one looks. What was measured when a cluster was "
        f"first found is never evidence. {kind}"
    ).strip()
