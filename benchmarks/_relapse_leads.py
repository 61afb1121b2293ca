"""How early images called a relapse, against the clinical rules and the eye."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from _relapse_errors import count_share
from _relapse_subjects import CASES, find_volume_mm3

Row = dict[str, Any]
#: Volumes, mm³, that the rules wait for: a visible lesion, and a new one of 10 mm.
RULES = {"visible": 1.0, "recist": math.pi / 6 * 10.0**3, "rano": math.pi / 6 * 10.0**3}
TITLES = {
    "visible": "first visible lesion, 1 mm³",
    "recist": "RECIST 1.1",
    "rano": "RANO",
    "void": "dark spot of 1 mm³ in the last echo",
}


def tell_relapses(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """Alarms, what was there at the alarm, and the lead over each rule."""
    if not rows:
        return {}, {}
    n, called = len(rows), [row for row in rows if row["alarms"]["0.05"] >= 0]
    shown = {"a relapse grows: alarm by the last visit": count_share(len(called), n)}
    details = {"a relapse grows: first cells": _spread([row["cells"][0] for row in rows])}
    born = [birth for row in rows if (birth := _find_birth(row)) is not None]
    details["a relapse grows: first found"] = f"{len(born)} of {n}, with {_spread([cells for _, cells in born])} cells"
    if called:
        alarms = [row["alarms"]["0.05"] for row in called]
        cells = [row["cells"][alarm] for row, alarm in zip(called, alarms, strict=True)]
        shown["a relapse grows: cells at the alarm, median (range)"] = _spread(cells)
        days = [row["days"][alarm] for row, alarm in zip(called, alarms, strict=True)]
        details["a relapse grows: day of the alarm, median (range)"] = _spread(days)
        before = [
            birth
            for row, alarm in zip(called, alarms, strict=True)
            if (birth := _find_birth(row)) is None or birth[0] >= alarm
        ]
        details["a relapse grows: alarms before it was found, or with another lineage's evidence"] = str(len(before))
        named = sum(bool(row["grows"]) for row in called)
        details["a relapse grows: a lineage is named as growing"] = f"{named} of {len(called)}"
    for rule in TITLES:
        if rule != "void" or any("progression" in row["void_calls"] for row in rows):
            what, value = _tell_lead(rows, called, rule)
            (shown if rule == "visible" else details)[what] = value
    if not any("progression" in row["void_calls"] for row in rows):
        details[f"a relapse grows: {TITLES['void']}"] = f"in none of {n} by the last visit"
    details["a relapse grows: PERCIST"] = "cannot say: no PET was scanned"
    return shown, details


def _find_birth(row: Row) -> tuple[int, int] | None:
    """Visit at which the relapse was first found, with its cells then."""
    grows = len(row["bodies"]) - 1
    births = [one["birth"] for one in row["lineages"] if grows in one["bodies"]]
    return (min(births), row["cells"][min(births)]) if births else None


def _tell_lead(rows: list[Row], called: list[Row], rule: str) -> tuple[str, str]:
    """What a rule called on the images, and the lead over it; after the last visit it is computed, not imaged."""
    calls = [row["void_calls"] if rule == "void" else row["comparators"][rule] for row in rows]
    n_imaged = sum("progression" in one for one in calls)
    leads, doublings = [], []
    for row in called:
        day = _find_call(row, rule)
        if day is not None:
            leads.append(day - row["days"][row["alarms"]["0.05"]])
            doublings.append(leads[-1] / row["doubling_days"])
    words = f"called on {n_imaged} of {len(rows)} by the last visit"
    if leads:
        how = "imaged" if rule == "void" or n_imaged == len(rows) else "where not imaged, from the true growth going on"
        words += f"; alarm ahead by {_spread(leads)} d, {_spread(doublings, 1)} doublings ({how})"
    return f"a relapse grows: {TITLES[rule]}", words


def _find_call(row: Row, rule: str) -> float | None:
    """Day at which a rule calls: a visit, or the first that would come after its size is reached; None: unknown."""
    calls = row["void_calls"] if rule == "void" else row["comparators"][rule]
    if "progression" in calls:
        return float(row["days"][calls.index("progression")])
    if rule == "void":
        return None
    interval = CASES[row["key"][1]].interval_days
    ratio = RULES[rule] / (row["cells"][0] * find_volume_mm3(1000) / 1000)
    return float(interval * math.ceil(math.log2(ratio) * row["doubling_days"] / interval))


def _spread(values: list[Any], digits: int = 0) -> str:
    """``29 (12 to 64)``."""
    if not values:
        return "no"
    low, middle, high = (f"{value:,.{digits}f}" for value in np.quantile(np.array(values, dtype=float), [0, 0.5, 1]))
    return f"{middle} ({low} to {high})"
