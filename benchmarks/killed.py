"""A study that is killed again and again ends with the same tables as one that is left alone, and repeats no visit.

    uv run python benchmarks/killed.py [--seed N] [--subjects 20] [--visits 5] [--kills 10]

Subjects of the preset mouse-brain-9t, fields of view of 36 x 34 x 28 voxels, are simulated as BIDS. `ferrosight run` is
left alone on it in one process, and killed (SIGKILL) and started anew in another: each time when one more randomly
drawn number of visits is finished, and a random part of a visit's time later. Both have two threads.

A finished visit is one whose summary is there. None of those may be written again; in the end every table must be the
same, byte for byte. Maps are compared by their values.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from _command import print_table, write_results
from ferrosight.simulate import PRESETS
from ferrosight.study.simulation import simulate_study

PRESET, SHAPE = "mouse-brain-9t", (36, 34, 28)
N_THREADS, POLL_S = 2, 0.2


def main() -> None:
    """Simulate, run both, compare, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    rng, start = np.random.default_rng(options.seed), time.perf_counter()
    print(f"seed {options.seed}: {options.subjects} subjects of {options.visits} visits", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bids, alone, killed = (Path(folder) / name for name in ("bids", "alone", "killed"))
        n = {"n_subjects": options.subjects, "n_visits": options.visits}
        names = simulate_study(PRESETS[PRESET], bids, seed=options.seed, shape=SHAPE, course="mixed", **n)
        print(f"{len(names)} visits simulated, {time.perf_counter() - start:.0f} s", flush=True)
        undisturbed = start_run(bids, alone)
        after = np.sort(rng.choice(len(names), size=options.kills, replace=False)).tolist()
        repeated, killed_at = kill_again_and_again(bids, killed, after, rng)
        if undisturbed.wait():
            sys.exit(f"the undisturbed run ended with exit code {undisturbed.returncode}")
        tables, same = compare_tables(alone, killed)
        maps, same_maps = compare_maps(alone, killed)
    shown = {
        "study": f"{options.subjects} subjects of {options.visits} visits, killed after {killed_at} finished visits",
        "tables that are the same, byte for byte": f"{same} of {tables}",
        "maps that hold the same values": f"{same_maps} of {maps}",
        "finished visits that were analysed again": str(repeated),
        "wall time, s": str(round(time.perf_counter() - start)),
    }
    print_table(shown)
    kills = f"a study killed {len(killed_at)} times"
    write_results(
        "killed",
        f"uv run python benchmarks/killed.py --seed {options.seed} --subjects {options.subjects} "
        f"--visits {options.visits} --kills {options.kills}",
        {
            f"{kills}: tables the same as of one left alone, byte for byte": f"{same} of {tables}",
            f"{kills}: finished visits that were analysed again": f"{repeated} of {len(names)}",
        },
        {"seed": options.seed, **shown},
        [{"what": f"{kills}: {what}", "measured": value} for what, value in shown.items()],
    )


def start_run(bids: Path, out: Path) -> subprocess.Popen[bytes]:
    """`ferrosight run` in a process of its own."""
    command = [str(Path(sys.executable).with_name("ferrosight")), "run", str(bids), str(out)]
    command += ["--label", "ferumoxytol", "--n-cpus", str(N_THREADS)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_again_and_again(bids: Path, out: Path, after: list[int], rng: np.random.Generator) -> tuple[int, list[int]]:
    """How many finished visits were analysed again, and how many were finished at each kill."""
    finished: dict[Path, int] = {}
    repeated, killed_at = 0, []
    for wanted in after:
        process, began, before = start_run(bids, out), time.perf_counter(), len(finished)
        while len(find_finished(out)) < wanted and process.poll() is None:
            time.sleep(POLL_S)
        n_done = max(len(find_finished(out)) - before, 1)
        time.sleep(float(rng.uniform(0, 1)) * (time.perf_counter() - began) / n_done)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        now = find_finished(out)
        repeated += sum(now.get(path) != stamp for path, stamp in finished.items())
        finished, killed_at = now, [*killed_at, len(now)]
        print(f"killed after {len(now)} visits", flush=True)
    process = start_run(bids, out)
    if process.wait():
        sys.exit(f"the last run ended with exit code {process.returncode}")
    now = find_finished(out)
    return repeated + sum(now.get(path) != stamp for path, stamp in finished.items()), killed_at


def find_finished(out: Path) -> dict[Path, int]:
    """The summaries of finished visits, and when each was written, ns."""
    return {path: path.stat().st_mtime_ns for path in out.glob("sub-*/ses-*/*_summary.json")}


def compare_tables(one: Path, other: Path) -> tuple[int, int]:
    """Tables of both, and how many are the same."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*.tsv")}
    same = sum(
        (one / name).exists() and (other / name).exists() and (one / name).read_bytes() == (other / name).read_bytes()
        for name in names
    )
    return len(names), same


def compare_maps(one: Path, other: Path) -> tuple[int, int]:
    """Maps of both, and how many hold the same values."""
    names = {path.relative_to(folder) for folder in (one, other) for path in folder.rglob("*.nii.gz")}
    same = sum(
        (one / name).exists()
        and (other / name).exists()
        and np.array_equal(read_values(one / name), read_values(other / name), equal_nan=True)
        for name in names
    )
    return len(names), same


def read_values(path: Path) -> NDArray[np.float64]:
    """A map's values, NaN outside the tissue."""
    return np.asarray(nibabel.load(path).get_fdata())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
