"""Run the real command in a process of its own, on two cores, and time it whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent / "out"
RESULTS = Path(__file__).resolve().parent / "results"
N_CPUS = 2


def data_folder() -> Path:
    """The folder of real scans, or the end of the benchmark with a sentence."""
    folder = Path(os.environ.get("FERROSIGHT_DATA", ""))
    if not os.environ.get("FERROSIGHT_DATA") or not folder.is_dir():
        sys.exit("Real scans are needed: set FERROSIGHT_DATA to their folder.")
    return folder


def run_command(bids_dir: Path, subject: str, *options: str) -> dict[str, Any]:
    """Analyse a scan twice, the first time to compile; the second run's tables, wall time and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        for turn in ("compile", "measure"):
            out = Path(folder) / turn
            ferrosight = str(Path(sys.executable).with_name("ferrosight"))
            command = [ferrosight, "run", str(bids_dir), str(out), "participant"]
            command += ["--n-cpus", str(N_CPUS), *options]
            start = time.perf_counter()
            peak_mb = _run_alone(command)
            wall_s = time.perf_counter() - start
        anat = out / f"sub-{subject}" / "anat"
        return {
            "command": f"ferrosight run {bids_dir.name} OUT participant {' '.join(options)}".strip(),
            "wall_s": round(wall_s, 1),
            "peak_rss_mb": peak_mb,
            "load_before": os.getloadavg()[0],
            "summary": json.loads((anat.parent / f"sub-{subject}_summary.json").read_text(encoding="utf-8")),
            "clusters": read_rows(anat / f"sub-{subject}_clusters.tsv"),
            "fits": read_rows(anat / f"sub-{subject}_fits.tsv"),
        }


def _run_alone(command: list[str]) -> int:
    """Run a command; its own peak memory, MB (compiling takes more, so the runs are told apart)."""
    # What the first run compiles, modules included, is there for the second, as it is for a user.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(command, preexec_fn=_take_two_cores, stdout=subprocess.DEVNULL, env=env) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return round(usage.ru_maxrss / 1024)


def _take_two_cores() -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CPUS])


def read_rows(path: Path) -> list[dict[str, str]]:
    """A table's rows as they are written."""
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    return [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]


def print_table(rows: dict[str, Any]) -> None:
    """What, and how much."""
    width = max(len(name) for name in rows)
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")


def write_results(
    name: str,
    command: str,
    measured: dict[str, str],
    everything: dict[str, Any],
    details: list[dict[str, str]] | None = None,
) -> None:
    """What the README shows and the rows of a table for the documentation under results, all of it under out."""
    RESULTS.mkdir(exist_ok=True)
    OUT.mkdir(exist_ok=True)
    shown = {"command": command, "measured": measured, "details": details or []}
    (RESULTS / f"{name}.json").write_text(json.dumps(shown, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / f"{name}.json").write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")
