"""What images say of errors, false alarms and false clusters, beside what the catalogue-level simulation assumes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ferrosight.numerics.intervals import binomial_interval
from ferrosight.types.relapse import StudyDesign

Row = dict[str, Any]
FloatArray = NDArray[np.float64]


def pair_ratio(rows: list[Row]) -> tuple[float, int]:
    """Mean of (difference)² over the sum of both stated variances, of lineages of true clusters, and their number."""
    found = []
    for row in rows:
        for one in row["lineages"]:
            values, sds = _as_array(one["values"]), _as_array(one["sds"])
            if one["bodies"] and np.isfinite(values).all():
                found.append(float(np.diff(values)[0] ** 2 / (sds**2).sum()))
    return (float(np.mean(found)), len(found)) if found else (-1.0, 0)


def count_share(count: int, n: int) -> str:
    """``0 of 20 (0.0 to 16.8 %; one-sided upper 95 % limit 13.9 %)``, exact."""
    low, high = binomial_interval(count, n)
    upper = 1.0 if count == n else float(stats.beta.ppf(0.95, count + 1, n - count))
    return f"{count} of {n} ({100 * low:.1f} to {100 * high:.1f} %; one-sided upper 95 % limit {100 * upper:.1f} %)"


def tell_calm(rows: list[Row]) -> tuple[dict[str, str], dict[str, str]]:
    """False alarms, and what else became of subjects in whom nothing grows."""
    if not rows:
        return {}, {}
    n = len(rows)
    shown = {
        f"nothing grows: alarms ever at α {alpha}": count_share(sum(row["alarms"][alpha] >= 0 for row in rows), n)
        for alpha in rows[0]["alarms"]
    }
    largest = sorted(max(row["e_values"]) for row in rows)
    visits = sum(len(row["days"]) for row in rows)
    true = [one for row in rows for one in row["lineages"] if one["bodies"]]
    bodies = sum(len(row["bodies"]) for row in rows)
    ever = sum(len({body for one in row["lineages"] for body in one["bodies"]}) for row in rows)
    details = {
        "nothing grows: largest e-value of each subject (alarm at 20)": ", ".join(f"{value:.2g}" for value in largest),
        "nothing grows: visits that were registered": f"{sum(row['n_registered'] for row in rows)} of {visits}",
        "nothing grows: clusters ever found; lineages that they made": f"{ever} of {bodies}; {len(true)}",
        "nothing grows: lineages ended and begun anew at an unsure link": f"{sum(row['n_unsure'] for row in rows)}",
    }
    return shown, details | _tell_births(rows)


def _tell_births(rows: list[Row]) -> dict[str, str]:
    """New lineages where nothing labelled lies, and late ones of true clusters, per visit after the first."""
    visits = sum(len(row["days"]) - 1 for row in rows)
    counts = {
        (is_true, surely): sum(
            one["birth"] > 0 and bool(one["bodies"]) == is_true and (one["surely"] or not surely)
            for row in rows
            for one in row["lineages"]
        )
        for is_true in (True, False)
        for surely in (True, False)
    }
    false_visits = sum(
        len({one["birth"] for one in row["lineages"] if not one["bodies"] and one["surely"]}) for row in rows
    )
    low, high = binomial_interval(false_visits, visits)
    declared = StudyDesign.__dataclass_fields__["false_births_per_visit_max"].default
    first = sum(not one["bodies"] and one["birth"] == 0 for row in rows for one in row["lineages"])
    return {
        "nothing grows: visits with a new spurious lineage of expected_false ≤ 0.01": (
            f"{false_visits} of {visits}, {100 * false_visits / visits:.1f} % ({100 * low:.1f} to {100 * high:.1f}); "
            f"declared at most {100 * declared:g} %, relapse.py simulates 12 %"
        ),
        "nothing grows: spurious lineages at the first visit, later, later with expected_false ≤ 0.01": (
            f"{first}, {counts[False, False]}, {counts[False, True]} in {len(rows)} subjects"
        ),
        "nothing grows: true clusters first found after the first visit, with expected_false ≤ 0.01": (
            f"{counts[True, False]}, {counts[True, True]} in {len(rows)} subjects; hidden ones declared at most 3 each"
        ),
    }


def tell_errors(rows: list[Row]) -> dict[str, str]:
    """(Estimate − truth) over its stated error, of lineages after their birth, and of each visit's total."""
    tables = [table for row in rows for table in [_standardise(row)] if table.size]
    z = [line for table in tables for line in table]
    mixed = [line for row in rows for line in _standardise(row, pure=False)]
    if not z:
        return {}
    after = np.concatenate([line[np.isfinite(line)] for line in z])
    births = _standardise_births(rows)
    totals = [_standardise_totals(row) for row in rows]
    total = np.concatenate([line[np.isfinite(line)] for line in totals])
    within, about_mean = _scatter(z)
    n_visits = max(len(line) for line in z)
    expected = -1 / max(n_visits - 1, 1)
    return {
        "errors of followed clusters, after birth": _describe(after) + "; " + _describe_assumed(),
        "errors of followed clusters, at birth (never evidence)": _describe(births),
        "lineages that a vein or a bleed within reach is part of": (
            f"{len(mixed)} beside {len(z)}; SD about their own means in stated errors {_scatter(mixed)[0]:.2f}"
        ),
        "errors of followed clusters: SD about each lineage's own mean": (
            f"{within:.2f} (what is the same at all visits is no growth)"
        ),
        "errors of followed clusters, visit to visit: correlation": f"{_correlate(z):+.2f}; assumed 0",
        "errors of followed clusters, visit to visit, about the lineage's mean": (
            f"{_correlate(about_mean):+.2f}; {expected:+.2f} where independent"
        ),
        "errors of a visit's total": _describe(total) + "; assumed as above",
        "errors of a visit's total, visit to visit: correlation": f"{_correlate(totals):+.2f}; assumed 0",
        "common factor of a visit beyond the dose": _tell_factor(rows, tables),
        "stated error over a plan's noise of the preset": _tell_noise(rows),
    }


def _scatter(z: list[FloatArray]) -> tuple[float, list[FloatArray]]:
    """SD of all lines about their own means, and the lines about them; NaN where no line has three values."""
    about_mean = [line - np.nanmean(line) for line in z if np.isfinite(line).sum() > 2]
    n = sum(int(np.isfinite(line).sum()) - 1 for line in about_mean)
    return (float(np.sqrt(sum(np.nansum(line**2) for line in about_mean) / n)) if n else float("nan")), about_mean


def _as_array(values: list[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values])


def _is_pure(one: Row) -> bool:
    """Whether a lineage is of labelled clusters alone: what a vein or a bleed within reach adds has no known truth."""
    return bool(one["bodies"]) and not one["n_other"]


def _standardise(row: Row, pure: bool = True) -> FloatArray:
    """(n_true_lineages, n_visits), NaN up to the birth and after the end, of pure lineages or of the others."""
    lines = []
    for one in row["lineages"]:
        if one["bodies"] and _is_pure(one) == pure:
            line = (_as_array(one["values"]) - np.array(one["true"])) / _as_array(one["sds"])
            line[: one["birth"] + 1] = np.nan
            lines.append(line)
    return np.array(lines).reshape(len(lines), -1)


def _standardise_births(rows: list[Row]) -> FloatArray:
    found = []
    for row in rows:
        for one in row["lineages"]:
            if _is_pure(one) and one["values"][one["birth"]] is not None:
                birth = one["birth"]
                found.append((one["values"][birth] - one["true"][birth]) / one["sds"][birth])
    return np.array(found)


def _standardise_totals(row: Row) -> FloatArray:
    """(n_visits,) of all true lineages that were born before."""
    errors, variances = np.zeros(len(row["days"])), np.zeros(len(row["days"]))
    for one in row["lineages"]:
        if not _is_pure(one):
            continue
        values, sds = _as_array(one["values"]), _as_array(one["sds"])
        use = np.isfinite(values) & (np.arange(len(values)) > one["birth"])
        errors[use] += values[use] - np.array(one["true"])[use]
        variances[use] += sds[use] ** 2
    with np.errstate(invalid="ignore"):
        return np.where(variances > 0, errors / np.sqrt(np.maximum(variances, 1e-300)), np.nan)


def _describe(z: FloatArray) -> str:
    if len(z) < 2:
        return "none"
    far = [100 * float((np.abs(z) > limit).mean()) for limit in (1.96, 3.0, 5.0)]
    return (
        f"mean {z.mean():+.2f}, SD {z.std(ddof=1):.2f}; beyond 1.96, 3, 5: {far[0]:.1f}, {far[1]:.1f}, {far[2]:.1f} %, "
        f"largest {np.abs(z).max():.1f}, of {len(z)}"
    )


def _describe_assumed() -> str:
    """The same shares for what ``relapse.py`` draws: an SD of 1.25, normal or Student's t with 4 degrees of freedom."""
    limits = np.array([1.96, 3.0, 5.0]) / 1.25
    normal, t4 = 200 * stats.norm.sf(limits), 200 * stats.t.sf(limits * np.sqrt(2), 4)
    said = [", ".join(f"{share:.1f}" for share in shares) for shares in (normal, t4)]
    return f"assumed mean 0, SD 1 to 1.25: at 1.25 normal {said[0]} %, t4 {said[1]} %"


def _correlate(lines: list[FloatArray]) -> float:
    """Correlation of neighbouring visits over all lines, about zero."""
    pairs = [(a, b) for line in lines for a, b in itertools.pairwise(line) if np.isfinite(a) and np.isfinite(b)]
    if not pairs:
        return float("nan")
    first, second = np.array(pairs).T
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def _tell_factor(rows: list[Row], tables: list[FloatArray]) -> str:
    """Products of different lineages' errors at the same visit, each about its own mean, relative and standardised."""
    relative = [
        [line[visit] for line in lines if np.isfinite(line[visit])]
        for row, lines in ((row, _relative_errors(row)) for row in rows)
        for visit in range(len(row["days"]))
    ]
    shared = [a * b for line in relative for a, b in itertools.combinations(line, 2)]
    centred = [[line - np.nanmean(line) for line in table if np.isfinite(line).sum() > 2] for table in tables]
    standard = [
        a * b
        for lines in centred
        for visit in zip(*lines, strict=True)
        for a, b in itertools.combinations([one for one in visit if np.isfinite(one)], 2)
    ]
    if len(shared) < 2 or not standard:
        return "none"
    variance, err = float(np.mean(shared)), float(np.std(shared, ddof=1) / np.sqrt(len(shared)))
    size = np.sign(variance) * np.sqrt(abs(variance))
    return (
        f"relative variance {variance:+.4f} ± {err:.4f}, an SD of {100 * size:.1f} %; mean product of standardised "
        f"errors {np.mean(standard):+.2f}; the dose's own SD is 5 %, relapse.py assumes 0, 10 and 20 % with a reference"
    )


def _relative_errors(row: Row) -> list[FloatArray]:
    """Estimate over truth, about the lineage's mean, of true lineages after their birth that are 5 errors strong."""
    found = []
    for one in row["lineages"]:
        if not _is_pure(one):
            continue
        true, values, sds = np.array(one["true"]), _as_array(one["values"]), _as_array(one["sds"])
        line = np.where((np.arange(len(true)) > one["birth"]) & (true > 5 * sds), values / true, np.nan)
        if np.isfinite(line).sum() > 2:
            found.append(line - np.nanmean(line))
    return found


def _tell_noise(rows: list[Row]) -> str:
    """Median and range of stated errors after birth over what a plan takes for the noise."""
    over = [
        float(sd) / row["plan_sd"]
        for row in rows
        for one in row["lineages"]
        if _is_pure(one)
        for sd in one["sds"][one["birth"] + 1 :]
        if sd is not None
    ]
    low, middle, high = np.quantile(over, [0.1, 0.5, 0.9])
    return f"median {middle:.2f} (10 to 90 %: {low:.2f} to {high:.2f}); assumed 1 with 10 % of spread"
