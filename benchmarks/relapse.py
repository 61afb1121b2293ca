"""Does the test for relapse keep its false-alarm rate whatever goes wrong, and how late does it call?

    uv run python benchmarks/relapse.py [--seed N] [--subjects 10000] [--full]

Subjects of ``ferrosight.simulate.lineages``: five clusters of 8 to 20 noise standard deviations over 60 visits, whose
errors are measured by 60 pairs of repeated measurements and whose visits have a reference tissue known to 5 %. The
study's own statements are the same in every row: iron kept from earlier doses at most 30 % per visit, at most three
hidden clusters, 0.2 % of measurements wrong altogether, a false new cluster at most at every fifth visit (12 % of
visits in the simulation, as on images of mice). Beside it a self-starting CUSUM, tuned by simulation to a
false alarm in 5 % of the subjects over 18 visits under the exact null; it gets the raw values and the stated standard
deviations. Then the delay from the onset of growth; with ``FERROSIGHT_DATA`` set, tumours that were really measured.
``--full`` adds rows without a reference, with fewer pairs, and a CUSUM that knows every cluster's true level.

``--pet`` does something else: subjects measured by MRI and PET at every visit. Both see the same growth from the same
visit on, with noise, sizes, factors of the visit and reference of their own; PET has no carry-over. False alarms by
iron and activity together, and the delay by both beside that by either alone.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import secrets
import time
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import stats

from _command import OUT, print_table, write_results
from ferrosight.relapse import call_first_visible, call_rano, call_recist, weigh_evidence
from ferrosight.simulate.lineages import LineageSpec, simulate_subject, simulate_test_retest
from ferrosight.study.resources import peak_memory_mb
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

N_VISITS, CUSUM_VISITS, CUSUM_SLACK = 60, 18, 0.5
ALPHAS = (0.05, 0.01)
PAIRS = 60
CARRY_OVER_MAX, HIDDEN_MAX = 0.3, 3
EXACT = LineageSpec(n_visits=N_VISITS)
TOGETHER: dict[str, Any] = {
    "sd_ratio": 1.25,
    "tails": "t4",
    "factor_sd": 0.20,
    "carry_over": 0.3,
    "n_hidden": 3,
    "false_per_visit": 0.12,
    "registration": True,
    "swap_near": 0.10,
    "swap_far": 0.005,
}
NULLS: dict[str, dict[str, Any]] = {
    "exact null": {},
    "true SD 25 % larger": {"sd_ratio": 1.25},
    "t4 noise": {"tails": "t4"},
    "visit factor 10 %": {"factor_sd": 0.10},
    "visit factor 20 %": {"factor_sd": 0.20},
    "carry-over 30 %": {"carry_over": 0.3},
    "threshold-born": {"n_hidden": 3},
    "spurious clusters": {"false_per_visit": 0.12},
    "registration errors": {"registration": True},
    "linking errors": {"swap_near": 0.10, "swap_far": 0.005},
    "all together": TOGETHER,
}
DOUBLINGS = (1.0, 2.0, 4.0)
MAX_DELAY_GAP = 1.6


def main() -> None:
    """Simulate, test, print, plot, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--subjects", type=int, default=10_000)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--pet", action="store_true", help="MRI and PET together, in place of everything else")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    if options.pet:
        run_pet(options, rng)
        print_table(
            {"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)}
        )
        return
    threshold = tune_cusum(rng)
    print(f"CUSUM: slack {CUSUM_SLACK:g}, alarm at {threshold:.2f}")
    nulls = []
    for name, changes in NULLS.items():
        nulls.append(run_null(name, changes, options.subjects, threshold, rng))
        print_null(nulls[-1], time.perf_counter() - start)
    if options.full:
        for name, changes, statement in (
            ("visit factor 10 %, bounded", {"factor_sd": 0.10, "reference_err": None}, {"factor_sd_max": 0.10}),
            ("visit factor 20 %, bounded", {"factor_sd": 0.20, "reference_err": None}, {"factor_sd_max": 0.20}),
            ("all together, 26 pairs", TOGETHER, {"pairs": 26}),
        ):
            nulls.append(run_null(name, changes, options.subjects, threshold, rng, **statement))
            print_null(nulls[-1], time.perf_counter() - start)
    delays = [run_delay(doubling, threshold, options, rng) for doubling in DOUBLINGS]
    if options.full:
        delays += [run_delay(doubling, threshold, options, rng, pairs=26) for doubling in DOUBLINGS]
    for row in delays:
        print_delay(row)
    growth = run_growth(rng) if os.environ.get("FERROSIGHT_DATA") else None
    plot(nulls, delays)
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    write(options, nulls, delays, growth)


def tune_cusum(rng: np.random.Generator) -> float:
    """The level that a CUSUM of five clusters over 18 visits exceeds in 5 % of subjects, under the exact null."""
    highest = [
        trace_cusum(rng.standard_normal((5, CUSUM_VISITS)), np.ones((5, CUSUM_VISITS)), np.zeros(5), False).max()
        for _ in range(100_000)
    ]
    return float(np.quantile(highest, 0.95))


@njit
def trace_cusum(
    values: NDArray[np.float64], sds: NDArray[np.float64], level: NDArray[np.float64], known: bool
) -> NDArray[np.float64]:
    """One-sided CUSUM of each cluster, against its true level or the mean of its own earlier measurements."""
    sums = np.zeros(values.shape)
    for row in range(len(values)):
        total, mean, n = 0.0, 0.0, 0
        for visit in range(values.shape[1]):
            value = values[row, visit]
            if not np.isnan(value):
                if known:
                    total = max(0.0, total + (value - level[row]) / sds[row, visit] - CUSUM_SLACK)
                elif n > 0:
                    z = (value - mean) / (sds[row, visit] * np.sqrt(1 + 1 / n))
                    total = max(0.0, total + z - CUSUM_SLACK)
                n += 1
                mean += (value - mean) / n
            sums[row, visit] = total
    return sums


def state_design(spec: LineageSpec, alpha: float, pairs: int, rng: np.random.Generator) -> StudyDesign:
    """What the study says of itself, its repeated measurements drawn anew."""
    return StudyDesign(
        "targeted",
        alpha=alpha,
        test_retest=simulate_test_retest(spec, pairs, rng),
        hidden_clusters_max=HIDDEN_MAX,
    )


def run_null(
    name: str,
    changes: dict[str, Any],
    n_subjects: int,
    threshold: float,
    rng: np.random.Generator,
    pairs: int = PAIRS,
    factor_sd_max: float | None = None,
) -> dict[str, Any]:
    """Subjects in whom nothing grows: false alarms ever, at both alphas, and the CUSUM's."""
    spec = dataclasses.replace(EXACT, **changes)
    alarms = np.zeros((n_subjects, len(ALPHAS)), dtype=bool)
    cusum, e_final = np.zeros(n_subjects, dtype=bool), np.zeros((n_subjects, 3))
    for subject in range(n_subjects):
        series, _ = simulate_subject(spec, rng, factor_sd_max=factor_sd_max, carry_over_max=CARRY_OVER_MAX)
        for number, alpha in enumerate(ALPHAS):
            evidence = weigh_evidence(series, state_design(spec, alpha, pairs, rng))
            alarms[subject, number] = evidence.first_alarm >= 0
            if number == 0:
                e_final[subject] = evidence.table["e_value"][[2, N_VISITS // 2, -1]]
        iron = series.measured[0]
        cusum[subject] = trace_cusum(iron.values, iron.sds, np.zeros(len(iron.values)), False).max() > threshold
    rows = {f"{alpha:g}": count_alarms(alarms[:, number]) for number, alpha in enumerate(ALPHAS)}
    held = all(rows[f"{alpha:g}"]["upper_95"] <= alpha for alpha in ALPHAS)
    mean_e = [float(value) for value in e_final.mean(axis=0)]
    return {
        "name": name,
        "subjects": n_subjects,
        "alarms": rows,
        "held": held,
        "mean_e_visits_3_31_60": mean_e,
        "cusum": count_alarms(cusum),
    }


def count_alarms(alarms: NDArray[np.bool_]) -> dict[str, Any]:
    """Share with an alarm, and its one-sided exact upper 95 % limit."""
    count, n = int(alarms.sum()), len(alarms)
    upper = 1.0 if count == n else float(stats.beta.ppf(0.95, count + 1, n - count))
    return {"count": count, "share": count / n, "upper_95": upper}


def run_delay(
    doubling: float, threshold: float, options: argparse.Namespace, rng: np.random.Generator, pairs: int = PAIRS
) -> dict[str, Any]:
    """Visits from the last one without growth to the alarm, of subjects without an alarm before it."""
    n = max(options.subjects // 5, 1)
    ours, cusum, knowing = ([] for _ in range(3))
    for _ in range(n):
        onset = int(rng.integers(3, 13))
        spec = dataclasses.replace(EXACT, n_visits=onset + 24, doubling_visits=doubling, onset=onset)
        series, truth = simulate_subject(spec, rng, carry_over_max=CARRY_OVER_MAX)
        evidence = weigh_evidence(series, state_design(spec, ALPHAS[0], pairs, rng))
        iron = series.measured[0]
        add_delay(ours, evidence.table["alarm"], onset)
        sums = trace_cusum(iron.values, iron.sds, np.zeros(len(iron.values)), False)
        add_delay(cusum, (sums > threshold).any(axis=0), onset)
        sums = trace_cusum(iron.values, iron.sds, truth.amounts[:, 0].copy(), True)
        add_delay(knowing, (sums > threshold).any(axis=0), onset)
    row = {"doubling_visits": doubling, "pairs": pairs, "subjects": n}
    for name, delays in (("ours", ours), ("cusum", cusum), ("cusum_knowing_levels", knowing)):
        values = np.array(delays, dtype=float)
        row[name] = {"mean": values.mean(), "err": values.std(ddof=1) / np.sqrt(len(values)), "n": len(values)}
    row["gap"] = row["ours"]["mean"] - row["cusum"]["mean"]
    row["gap_knowing"] = row["ours"]["mean"] - row["cusum_knowing_levels"]["mean"]
    row["held"] = bool(row["gap"] <= MAX_DELAY_GAP)
    return row


def add_delay(delays: list[int], alarms: NDArray[np.bool_], onset: int) -> None:
    """Visits from the onset to the first alarm, or to the end without one; nothing where it came before."""
    first = int(alarms.argmax()) if alarms.any() else len(alarms)
    if first > onset:
        delays.append(first - onset)


def run_pet(options: argparse.Namespace, rng: np.random.Generator) -> None:
    """Iron and activity together: false alarms, and delays beside either alone."""
    rows: dict[str, str] = {}
    everything: list[dict[str, Any]] = []
    for name in ("exact null", "all together"):
        spec = dataclasses.replace(EXACT, **NULLS[name])
        alarms = np.zeros((options.subjects, 1), dtype=bool)
        for subject in range(options.subjects):
            both, _ = simulate_both(spec, rng)
            alarms[subject] = weigh_evidence(both, state_design(spec, ALPHAS[0], PAIRS, rng)).first_alarm >= 0
        counted = count_alarms(alarms[:, 0])
        everything.append({"name": name, **counted})
        rows[f"false alarms ever in 60 visits by MRI and PET, {name}, of {options.subjects:,}"] = (
            f"{counted['count']} (upper 95 % limit {counted['upper_95']:.4f}; α 0.05)"
            + ("" if counted["upper_95"] <= ALPHAS[0] else "; MISSED")
        )
    for doubling in DOUBLINGS:
        delays = measure_pet_delays(doubling, max(options.subjects // 5, 2), rng)
        said = {name: f"{np.mean(of):.2f} ± {np.std(of, ddof=1) / np.sqrt(len(of)):.2f}" for name, of in delays.items()}
        everything.append({"doubling_visits": doubling, **{name: float(np.mean(of)) for name, of in delays.items()}})
        rows[f"visits to alarm by MRI and PET, doubling in {doubling:g} visits"] = (
            f"{said['both']}; iron alone {said['iron']}, activity alone {said['activity']}"
        )
    print_table(rows)
    details = [{"what": what, "measured": value} for what, value in rows.items()]
    command = f"uv run python benchmarks/relapse.py --pet --subjects {options.subjects} --seed {options.seed}"
    write_results("relapse_pet", command, rows, {"seed": options.seed, "rows": everything}, details)


def simulate_both(spec: LineageSpec, rng: np.random.Generator) -> tuple[SubjectSeries, dict[str, SubjectSeries]]:
    """A subject with both quantities, and with each alone."""
    iron, _ = simulate_subject(spec, rng, carry_over_max=CARRY_OVER_MAX)
    pet, _ = simulate_subject(dataclasses.replace(spec, carry_over=0.0), rng)
    activity = dataclasses.replace(pet.measured[0], quantity="activity", carry_over_max=None)
    both = dataclasses.replace(iron, measured=(iron.measured[0], activity))
    nothing_new = np.zeros(len(iron.days), dtype=np.int64)
    alone = dataclasses.replace(iron, measured=(activity,), new_candidates=nothing_new)
    return both, {"iron": iron, "activity": alone, "both": both}


def measure_pet_delays(doubling: float, n: int, rng: np.random.Generator) -> dict[str, list[int]]:
    """Visits from the onset to the alarm by iron, by activity and by both, in the same subjects."""
    delays: dict[str, list[int]] = {"iron": [], "activity": [], "both": []}
    for _ in range(n):
        onset = int(rng.integers(3, 13))
        spec = dataclasses.replace(EXACT, n_visits=onset + 24, doubling_visits=doubling, onset=onset)
        _, each = simulate_both(spec, rng)
        design = state_design(spec, ALPHAS[0], PAIRS, rng)
        for name, series in each.items():
            add_delay(delays[name], weigh_evidence(series, design).table["alarm"], onset)
    return delays


#: Assumptions that turn a volume into a scan's iron: noise of one measurement as a volume, and how much of a caliper's
#: reading is chance (relative standard deviation), which here passes for a factor of the visit.
NOISE_MM3, CALIPER_REL_SD = 2.0, 0.20
CELLS_PER_MM3 = 5e5


def run_growth(rng: np.random.Generator) -> dict[str, Any]:
    """Melanomas measured by caliper through treatment, remission and relapse, as a scan with a targeted label.

    The measured volume is taken as the truth, cells as 5·10⁵ per mm³ (an assumption) that each bind the same moment;
    a measurement's noise is that of the cells of 2 mm³ (an assumption), a scan before each dose takes off what is
    left of earlier ones. Followed from the first day of treatment: under the null nothing ever rises again.
    """
    path = Path(os.environ["FERROSIGHT_DATA"]) / "growth" / "mouse-melanoma-tumr-gpl3.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    animals: dict[str, list[tuple[float, float]]] = {}
    groups: dict[str, str] = {}
    for row in rows:
        if row["Volume"] not in ("", "NA"):
            animals.setdefault(row["ID"], []).append((float(row["Day"]), float(row["Volume"])))
            groups[row["ID"]] = row["Treatment"]
    found = [follow_animal(name, groups[name], np.array(points), rng) for name, points in animals.items()]
    for one in found:
        print(
            f"  {one['animal']:>3} {one['group']} {one['course']:<10} risen {show_day(one['risen_day'])} "
            f"alarm {show_day(one['alarm_day'])} visible {show_day(one['visible_day'])} "
            f"RECIST {show_day(one['recist_day'])} RANO {show_day(one['rano_day'])} "
            f"without floors {show_day(one['recist_no_floor_day'])} {show_day(one['rano_no_floor_day'])}"
        )
    return {"cells_per_mm3": CELLS_PER_MM3, "noise_cells": NOISE_MM3 * CELLS_PER_MM3, "animals": found}


def follow_animal(name: str, group: str, points: NDArray[np.float64], rng: np.random.Generator) -> dict[str, Any]:
    """Alarm and comparators of one animal; its course is judged from the caliper's curve alone."""
    days, volumes = points.T
    cells, noise = volumes * CELLS_PER_MM3, NOISE_MM3 * CELLS_PER_MM3
    sds = np.full((1, len(days)), noise)
    scan = cells + noise * rng.standard_normal(len(days))
    before = noise * rng.standard_normal(len(days))  # nothing is left of earlier doses
    measured = Measured(
        "iron",
        scan[None],
        sds,
        np.zeros(1, dtype=np.int64),
        np.zeros((1, 3)),
        factor_sd_max=CALIPER_REL_SD,
        before_dose=(before[None], sds),
    )
    names = tuple(f"{day:g}" for day in days)
    series = SubjectSeries(names, days, ("",) * len(days), (measured,), np.zeros(len(days), dtype=np.int64))
    evidence = weigh_evidence(series, StudyDesign("targeted", sd_factor_max=1.3))
    nadir = np.minimum.accumulate(volumes)
    risen = np.flatnonzero((volumes > 2 * nadir) & (volumes - nadir > 50.0))
    remission = bool((volumes < 0.5 * volumes[0]).any())
    course = "relapse" if risen.size and remission else "growth" if risen.size else "no growth"
    long_mm = np.cbrt(6 * volumes / np.pi)[None]
    volume = volumes[None]

    def day_of(calls: NDArray[np.str_]) -> float | None:
        hits = np.flatnonzero(calls == "progression")
        return float(days[hits[0]]) if hits.size else None

    return {
        "animal": name,
        "group": group,
        "course": course,
        "last_day": float(days[-1]),
        "risen_day": float(days[risen[0]]) if risen.size else None,
        "alarm_day": float(days[evidence.first_alarm]) if evidence.first_alarm >= 0 else None,
        "visible_day": day_of(call_first_visible(volume)),
        "recist_day": day_of(call_recist(long_mm)),
        "rano_day": day_of(call_rano(long_mm, long_mm, volume)),
        "recist_no_floor_day": day_of(call_recist(long_mm, floor_mm=1e-9, rise_mm=0.0)),
        "rano_no_floor_day": day_of(call_rano(long_mm, long_mm, volume, floor_mm=1e-9)),
    }


def show_day(day: float | None) -> str:
    """A day, or a dash."""
    return f"{'–' if day is None else f'{day:g}':>4}"


def print_null(row: dict[str, Any], seconds: float) -> None:
    """One kind of subject."""
    parts = [
        f"α {alpha}: {one['count']} alarms, upper limit {one['upper_95']:.4f}" for alpha, one in row["alarms"].items()
    ]
    held = "held" if row["held"] else "MISSED"
    print(
        f"{row['name']:<28} {' | '.join(parts)} | {held} | CUSUM {row['cusum']['share']:.3f} ({seconds:.0f} s)",
        flush=True,
    )


def print_delay(row: dict[str, Any]) -> None:
    """One doubling time."""
    words = ", ".join(
        f"{name.replace('_', ' ')} {row[name]['mean']:.2f} ± {row[name]['err']:.2f}"
        for name in ("ours", "cusum", "cusum_knowing_levels")
    )
    held = "held" if row["held"] else "MISSED"
    print(
        f"doubling in {row['doubling_visits']:g} visits, {row['pairs']} pairs: visits to alarm: {words}; "
        f"later by {row['gap']:.2f} ({row['gap_knowing']:.2f} than one that knows the levels) | {held}"
    )


def plot(nulls: list[dict[str, Any]], delays: list[dict[str, Any]]) -> None:
    """False alarms of both kinds, and the delays."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    places = np.arange(len(nulls))[::-1]
    least = 0.3 / max(row["subjects"] for row in nulls)
    series = [(f"evidence, α {alpha:g}", [row["alarms"][f"{alpha:g}"] for row in nulls]) for alpha in ALPHAS]
    series.append(("CUSUM tuned for 18 visits", [row["cusum"] for row in nulls]))
    for number, ((name, values), marker) in enumerate(zip(series, "osx", strict=True)):
        shares = [max(one["share"], least) for one in values]
        left.plot(shares, places + 0.15 * (1 - number), marker, ms=6, label=name)
    for alpha in ALPHAS:
        left.axvline(alpha, color="0.6", lw=0.8, ls=":")
    left.set(xscale="log", xlim=(least / 1.5, 1.3), xlabel="subjects with a false alarm in 60 visits (left edge: none)")
    left.set_yticks(places, [row["name"] for row in nulls])
    left.legend(fontsize=8, loc="center", bbox_to_anchor=(0.5, 0.45))
    usual = [row for row in delays if row["pairs"] == PAIRS]
    names = (("ours", "evidence"), ("cusum", "CUSUM"), ("cusum_knowing_levels", "CUSUM that knows the level"))
    for key, name in names:
        x, y = [row["doubling_visits"] for row in usual], [row[key]["mean"] for row in usual]
        right.errorbar(x, y, [2 * row[key]["err"] for row in usual], fmt="o-", ms=5, capsize=2, label=name)
    right.set(xlabel="doubling time (visits)", ylabel="mean visits from onset to alarm", ylim=(0, None))
    right.set_xticks(DOUBLINGS)
    right.legend(fontsize=8)
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "relapse.png")
    print(f"plot: {OUT / 'relapse.png'}")


def write(
    options: argparse.Namespace,
    nulls: list[dict[str, Any]],
    delays: list[dict[str, Any]],
    growth: dict[str, Any] | None,
) -> None:
    """The results' JSON."""
    rows: dict[str, str] = {}
    for row in nulls:
        parts = [
            f"α {alpha}: {one['count']} (upper 95 % limit {one['upper_95']:.4f})"
            for alpha, one in row["alarms"].items()
        ]
        cusum = f"CUSUM {100 * row['cusum']['share']:.1f} %" + ("" if row["held"] else "; MISSED")
        rows[f"false alarms ever in 60 visits, {row['name']}, of {row['subjects']:,}"] = "; ".join([*parts, cusum])
    for row in delays:
        rows[f"visits to alarm, doubling in {row['doubling_visits']:g} visits, {row['pairs']} test-retest pairs"] = (
            f"{row['ours']['mean']:.2f} ± {row['ours']['err']:.2f}; CUSUM {row['cusum']['mean']:.2f} (later by "
            f"{row['gap']:.2f}), one that knows the level {row['cusum_knowing_levels']['mean']:.2f}"
            + ("" if row["held"] else "; MISSED")
        )
    if growth is not None:
        rows |= {f"real melanomas, {course}": value for course, value in summarise_growth(growth["animals"]).items()}
    details = [{"what": what, "measured": value} for what, value in rows.items()]
    shown = ("exact null", "all together", "doubling in 4 visits, 60")
    measured = {what: value for what, value in rows.items() if any(f", {name}" in what for name in shown)}
    everything = {"seed": options.seed, "nulls": nulls, "delays": delays, "growth": growth}
    command = "uv run python benchmarks/relapse.py" + (" --full" if options.full else "") + f" --seed {options.seed}"
    write_results("relapse", command, measured, everything, details)


def summarise_growth(animals: list[dict[str, Any]]) -> dict[str, str]:
    """By course: how many were called, and how much earlier or later than by what the caliper and the rules say."""
    rows = {}
    for course in ("relapse", "growth", "no growth"):
        those = [one for one in animals if one["course"] == course]
        called = sum(one["alarm_day"] is not None for one in those)
        parts = [f"alarm in {called} of {len(those)}"]
        for key, name in (
            ("risen_day", "caliper doubled and 50 mm³ above its nadir"),
            ("visible_day", "back above 1 mm³"),
            ("recist_day", "RECIST 1.1"),
            ("rano_day", "RANO"),
            ("recist_no_floor_day", "RECIST without floors"),
            ("rano_no_floor_day", "RANO without floors"),
        ):
            rule = [one for one in those if one[key] is not None]
            leads = [one[key] - one["alarm_day"] for one in rule if one["alarm_day"] is not None]
            middle = float(np.median(leads)) if leads else 0.0
            words = "at the same time" if middle == 0 else f"{abs(middle):.0f} d {'after' if middle > 0 else 'before'}"
            parts.append(f"{name} in {len(rule)}" + (f", {words} the alarm (median of {len(leads)})" if leads else ""))
        rows[course] = "; ".join(parts)
    return rows


if __name__ == "__main__":
    main()
