"""A subject of whom everything is known, from BIDS to tracks; and the same, killed in the middle."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.io import read_table, write_scan
from ferrosight.physics.labels import get_label
from ferrosight.study.run import StudyOptions, StudyOutcome, plan_study, run_study
from ferrosight.types import CLUSTERS, IronPerCell, Rigid, Table
from ferrosight.types.schema import TRACKS

from .followed import COMES, GOES, MOMENT_AM2, POSES, SESSIONS, STAYS, simulate_followed

pytestmark = pytest.mark.slow

LOAD_PG = 10.0
OPTIONS = StudyOptions(label=get_label("ferumoxides"), iron_per_cell=IronPerCell(LOAD_PG, 1.0, "assay"), n_cpus=1)


@pytest.fixture(scope="module")
def bids_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for session in SESSIONS:
        write_scan(simulate_followed(session), folder)
    lines = [f"ses-{name}\t{day:g}\t{'true' if name == 'pre' else 'false'}" for name, day in SESSIONS.items()]
    table = "\n".join(["session_id\tday\tbaseline", *lines]) + "\n"
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text(table, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(bids_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyOutcome]:
    """The study done in one go."""
    out = tmp_path_factory.mktemp("out") / "derivatives"
    return out, run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS)


def tracks_of(out: Path) -> Table:
    return read_table(TRACKS, out / "sub-01" / "sub-01_tracks.tsv")


def find_track(tracks: Table, session: str, place_mm: tuple[float, float, float]) -> dict[str, dict[str, Any]]:
    """The rows, by session, of the track nearest to where something of the subject lies."""
    # The subject's space is the barycentre of its visits; postures are small, so that their mean is close to it.
    there = np.mean([_as_seen(place_mm, name) for name in SESSIONS], axis=0)
    rows = tracks.where((tracks["session_id"] == session) & (tracks["measurement"] == "detected"))
    distance = np.linalg.norm(np.stack([rows[f"{axis}_mm"] for axis in "xyz"], axis=1) - there, axis=1)
    assert distance.min() < 0.03
    name = rows["track_id"][distance.argmin()]
    records = tracks.where(tracks["track_id"] == name).to_pandas().to_dict("records")
    return {row["session_id"]: row for row in records}


def _as_seen(place_mm: tuple[float, float, float], session: str) -> np.ndarray:
    return Rigid.from_twist(POSES[session]).inverse().apply(place_mm)


def test_every_cluster_is_followed_through_all_visits(finished):
    out, study = finished
    assert study.exit_code == 0
    tracks = tracks_of(out)
    assert study.subjects[0].n_tracks == len(set(tracks["track_id"]))
    stays, goes = find_track(tracks, "d00", STAYS), find_track(tracks, "d00", GOES)
    comes = find_track(tracks, "d07", COMES)
    seen = {"stays": stays, "goes": goes, "comes": comes}
    assert {name: [row["measurement"] for row in rows.values()] for name, rows in seen.items()} == {
        "stays": ["forced", "detected", "detected"],
        "goes": ["forced", "detected", "forced"],
        "comes": ["forced", "forced", "detected"],
    }
    assert [row["event"] for row in stays.values()] == ["", "appear", "continue"]
    assert stays["d07"]["link_probability"] > 0.99
    assert goes["d07"]["event"] == "disappear"
    assert [row["day"] for row in comes.values()] == list(SESSIONS.values())


def test_what_is_there_lies_in_the_intervals_and_what_is_not_below_the_limits(finished):
    tracks = tracks_of(finished[0])
    iron_pg = MOMENT_AM2 / OPTIONS.label.ms_am2_per_kg_fe * 1e15
    there = [find_track(tracks, "d00", STAYS)["d07"], find_track(tracks, "d00", GOES)["d00"]]
    there.append(find_track(tracks, "d07", COMES)["d07"])
    for row in there:
        assert row["moment_am2_low"] < MOMENT_AM2 < row["moment_am2_high"]
        assert row["iron_pg_low"] < iron_pg < row["iron_pg_high"]
        assert row["n_cells_low"] < iron_pg / LOAD_PG < row["n_cells_high"]
        assert row["limit_iron_pg"] < iron_pg
    absent = [find_track(tracks, "d00", GOES)["d07"], find_track(tracks, "d07", COMES)["d00"]]
    absent += [find_track(tracks, "d00", place)["pre"] for place in (STAYS, GOES)]
    for row in absent:
        # 4 standard deviations: four rows are looked at, and none is to be off.
        assert abs(row["moment_am2"]) < 4 * row["moment_am2_err"]
        assert 0 < row["upper_limit_iron_pg"] < 0.2 * iron_pg
        assert row["iron_pg_low"] == pytest.approx(0, abs=0.05 * iron_pg)


def test_detected_rows_are_those_of_the_clusters_tables(finished):
    out = finished[0]
    tracks = tracks_of(out)
    for session in ("d00", "d07"):
        clusters = read_table(CLUSTERS, out / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_clusters.tsv")
        accepted = clusters.where(clusters["status"] == "accepted")
        own = tracks.where(tracks["session_id"] == session)
        found = dict(zip(own["cluster_id"].tolist(), own["iron_pg_high"].tolist(), strict=True))
        for name, high in zip(accepted["cluster_id"].tolist(), accepted["iron_pg_high"].tolist(), strict=True):
            assert found.get(name, high) == high
        assert set(found) - {""} <= set(accepted["cluster_id"].tolist())
        assert not any(math.isnan(day) for day in own["day"])


_CHILD = """
import sys
from pathlib import Path
from ferrosight.physics.labels import get_label
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import IronPerCell
options = StudyOptions(label=get_label("ferumoxides"), iron_per_cell=IronPerCell({load}, 1.0, "assay"), n_cpus=1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
run_study(plan_study(folder, out, options), out, options)
"""


def test_a_study_that_was_killed_goes_on_and_ends_in_the_same_tables(bids_dir, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "derivatives"
    # In processes of their own, the first of which leaves everything compiled: what a process compiles itself may
    # differ in the last digit from what another left.
    _start(bids_dir, alone).wait()
    child = _start(bids_dir, out)
    first, second = (out / f"sub-01/ses-{name}/sub-01_ses-{name}_summary.json" for name in ("pre", "d00"))
    try:
        # In the middle of what comes after the first visit.
        _wait(first, child)
        time.sleep(1.0)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    done = [path for path in (first, second) if path.exists()]
    assert not (out / "sub-01" / "sub-01_tracks.tsv").exists()
    before = {path: path.stat().st_mtime_ns for path in done}
    assert _start(bids_dir, out).wait() == 0
    study = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert study["exit_code"] == 0
    assert {path: path.stat().st_mtime_ns for path in done} == before
    reused = [visit["reused"] for visit in study["visits"]]
    assert reused[: len(done)] == [True] * len(done)
    assert not all(reused)
    tables = {path.relative_to(alone) for path in alone.rglob("*.tsv")}
    assert tables
    assert {path.relative_to(out) for path in out.rglob("*.tsv")} == tables
    for path in sorted(tables):
        assert (out / path).read_bytes() == (alone / path).read_bytes(), path.name


def _start(bids_dir: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _CHILD.format(load=LOAD_PG), str(bids_dir), str(out)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def _wait(path: Path, child: subprocess.Popen[bytes]) -> None:
    for _ in range(6000):
        if path.exists():
            return
        assert child.poll() is None, "the study ended before it could be killed"
        time.sleep(0.05)
    pytest.fail("no visit was finished within five minutes")
