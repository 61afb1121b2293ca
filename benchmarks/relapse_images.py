"""Relapse called from images: false alarms, errors beside those assumed, and how early, against the clinical rules.

    uv run python benchmarks/relapse_images.py [--seed N] [--calm 6,3] [--relapse 4,4] [--pairs 6] [--visits 12]
        [--jobs 4] [--resume] [--minutes 0] [--tell] [--full]

Scans of subjects with the tissue and protocol of two presets (``mouse-brain-9t`` weekly, ``human-brain-3t`` monthly; a
cut field of view of 48 x 48 x 32 or 24 voxels, veins and other bodies included) are written as BIDS and go through
`run`: search, registration, linking, forced measurement, evidence. Particles that seek the cells are given before each
scan, 1 pg per cell (an assumption), with 5 % of common spread between doses, which a reference tissue shows to 5 %.

Before the others, subjects are scanned twice on a day (``--pairs``): what `run` is told of its stated errors is
measured on those images, by lineages of 8 to 20 of a plan's noise standard deviations. Then subjects of five clusters
of 4 to 20 that do not grow (``--calm``, by preset): alarms, and the errors of every followed lineage beside what
``relapse.py`` assumes of them; and subjects with three such clusters and one that grows from an eighth of the cells
that a plan takes for found, but one at least, doubling in as many days as lie between the scans, with 20 % spread
(``--relapse``).

The rules see the ball that the cells are packed into, without any error, at the same visits; most would call only after
the last of them, and then at the first visit after the ball would have reached their size. The dark spot is measured in
the last echo of the same scans. Rows are written as they come: with ``--resume`` those of the same seed are kept.
``--minutes`` starts no further subject after that time, ``--tell`` none at all. ``--full`` is 20 and 12 subjects
without and 12 and 12 with relapse, 12 with pairs: about 6 hours of one core, a human subject taking three times a
mouse's time; without it about 2.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import secrets
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from _command import OUT, print_table, write_results
from _relapse_errors import pair_ratio, tell_calm, tell_errors
from _relapse_images import Key, Kind, Row, run_subject
from _relapse_leads import tell_relapses
from _relapse_subjects import CASES

ROWS = OUT / "relapse_images_rows.jsonl"


def main() -> None:
    """Simulate, run, compare, print, write."""
    options = parse_options()
    print(f"seed {options.seed}", flush=True)
    start = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    if not (options.resume or options.tell):
        ROWS.unlink(missing_ok=True)
    lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.exists() else []
    rows = {key_of(row): row for row in map(json.loads, lines)}
    pairs, subjects = list_keys(options)
    until = 0.0 if options.tell else start + 60 * options.minutes if options.minutes else float("inf")
    run_all([(key, -1.0, 0) for key in pairs], rows, options.jobs, until)
    ratios = {name: pair_ratio([rows[key] for key in pairs if key in rows and key[1] == name]) for name in CASES}
    for name, (ratio, n) in ratios.items():
        print(f"{name}: {n} pairs, (difference)² over stated variances {ratio:.3f}", flush=True)
    known = [(key, *ratios[key[1]]) for key in subjects if ratios[key[1]][1] > 0]
    run_all(known, rows, options.jobs, until)
    tell(options, [rows[key] for key in (*pairs, *subjects) if key in rows], ratios, time.perf_counter() - start)


def parse_options() -> argparse.Namespace:
    """The command line; numbers of subjects are by preset."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--calm", default="6,3", help="subjects without relapse: mouse,human")
    parser.add_argument("--relapse", default="4,4", help="subjects with relapse: mouse,human")
    parser.add_argument("--pairs", type=int, default=6, help="subjects that are scanned twice, per preset")
    parser.add_argument("--visits", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=4, help="subjects at a time, a core each")
    parser.add_argument("--minutes", type=float, default=0.0, help="start no subject after that time; 0: no limit")
    parser.add_argument("--tell", action="store_true", help="run nothing more: tell of the rows that are there")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier run with this seed")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    if options.full:
        options.calm, options.relapse, options.pairs = "20,12", "12,12", 12
    return options


def list_keys(options: argparse.Namespace) -> tuple[list[Key], list[Key]]:
    """Subjects that are scanned twice, and those that are followed, the kinds in even turns."""
    wanted: dict[tuple[str, Kind], int] = {}
    for kind, counts in (("calm", options.calm), ("relapse", options.relapse)):
        wanted |= {(name, kind): int(n) for name, n in zip(CASES, counts.split(","), strict=True)}
    turns = sorted(
        ((number + 0.5) / n, name, kind, number) for (name, kind), n in wanted.items() for number in range(n)
    )
    used = [name for name in CASES if any(n for (preset, _), n in wanted.items() if preset == name)]
    pairs: list[Key] = [(options.seed, name, "pairs", number, 2) for number in range(options.pairs) for name in used]
    return pairs, [(options.seed, name, kind, number, options.visits) for _, name, kind, number in turns]


def key_of(row: Row) -> Key:
    """What a row was made for."""
    seed, name, kind, number, n_visits = row["key"]
    return seed, name, kind, number, n_visits


def run_all(jobs: list[tuple[Key, float, int]], rows: dict[Key, Row], n_jobs: int, until: float) -> None:
    """Run what is not there yet, and keep each row as it comes; nothing is begun after ``until``."""
    left = [job for job in jobs if job[0] not in rows]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_jobs, mp_context=context) as pool, ROWS.open("a", encoding="utf-8") as stream:
        running: set[Future[Row]] = set()
        while left or running:
            while left and len(running) < n_jobs and time.perf_counter() < until:
                running.add(pool.submit(run_subject, *left.pop(0)))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for row in (future.result() for future in done):
                rows[key_of(row)] = row
                print(json.dumps(row), file=stream, flush=True)
                print_row(row)


def print_row(row: Row) -> None:
    """One subject, as it comes."""
    _, name, kind, number, _ = row["key"]
    if kind == "pairs":
        said = f"{row['n_true_lineages']} of {len(row['bodies'])} clusters"
    else:
        values = row["e_values"]
        said = f"alarm at visit {row['alarms']['0.05']}, largest e-value {max(values):.3g}" if values[0] else "silent"
        said += f"; {row['n_true_lineages']} lineages of {len(row['bodies'])} clusters, {len(row['lineages'])} in all"
    print(f"{name} {kind} {number + 1}: {said} ({row['wall_s']:.0f} s)", flush=True)


def tell(options: argparse.Namespace, rows: list[Row], ratios: dict[str, tuple[float, int]], wall_s: float) -> None:
    """Print and write what was found."""
    shown: dict[str, str] = {}
    details: dict[str, str] = {}
    for name in CASES:
        own = [row for row in rows if row["key"][1] == name]
        calm = [row for row in own if row["key"][2] == "calm"]
        relapses = [row for row in own if row["key"][2] == "relapse"]
        if ratios[name][1]:
            details[f"{name} on images, repeated scans"] = (
                f"{ratios[name][1]} pairs: (difference)² over stated {ratios[name][0]:.2f}"
            )
        for told in (tell_calm(calm), tell_relapses(relapses)):
            shown |= {f"{name} on images, {what}": value for what, value in told[0].items()}
            details |= {f"{name} on images, {what}": value for what, value in (told[0] | told[1]).items()}
        details |= {f"{name} on images, {what}": value for what, value in tell_errors(calm).items()}
    seconds = sum(row["wall_s"] for row in rows)
    details["subjects; seconds of analysis, all processes; seconds of this run"] = (
        f"{len(rows)}; {seconds:.0f}; {wall_s:.0f}"
    )
    details["peak memory of one process, MB"] = f"{max((row['peak_mb'] for row in rows), default=0):.0f}"
    print_table(details)
    command = (
        f"uv run python benchmarks/relapse_images.py --seed {options.seed} --calm {options.calm} "
        f"--relapse {options.relapse} --pairs {options.pairs} --visits {options.visits}"
    )
    lines = [{"what": what, "measured": value} for what, value in details.items()]
    everything: dict[str, Any] = {"seed": options.seed, "ratios": ratios, "rows": rows}
    write_results("relapse_images", command, shown, everything, lines)


if __name__ == "__main__":
    main()
