"""One simulated subject through BIDS and ``run``'s own functions, and what came out beside what is true of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from _relapse_subjects import (
    CASES,
    IRON_PER_CELL_PG,
    N_STABLE,
    SIZES_SD,
    Subject,
    build_visit,
    draw_subject,
    find_cells_per_sd,
    find_dose,
    find_volume_mm3,
    measure_void,
)
from ferrosight.io import Participant, Session, output_path, read_sessions, read_table, write_scan, write_study
from ferrosight.physics.labels import get_label
from ferrosight.relapse import call_first_visible
from ferrosight.simulate import PRESET_LABEL_ID, draw_posture, simulate_moved_scan
from ferrosight.study.products import visit_path
from ferrosight.study.relapse import assess_relapse
from ferrosight.study.relapse_series import Followed, FollowedVisit, gather_tracks, name_protocol, trace_lineages
from ferrosight.study.resources import peak_memory_mb
from ferrosight.study.run import PlannedVisit, StudyOptions, plan_study, run_study
from ferrosight.types import CLUSTERS, Config, IronPerCell, Table
from ferrosight.types.config import RelapseConfig
from ferrosight.types.schema import RELAPSE, TRACKS

Row = dict[str, Any]
FloatArray = NDArray[np.float64]
#: What is done with a subject: scanned twice on a day, or followed, with or without something that grows.
Kind = Literal["pairs", "calm", "relapse"]
Key = tuple[int, str, Kind, int, int]

#: Clusters that a lab would take for repeated scans, in noise standard deviations: those that are surely found.
_PAIR_SIZES_SD = (8.0, 20.0)
#: The relapse has that many neighbours that stay, as in a plan; subjects without have ``N_STABLE``.
_N_BESIDE_RELAPSE = 3
#: An accepted cluster is the true one within that many finest voxel edges.
_SAME = 2.5
_REACH = 5.0
REFERENCE_REL_ERR, CARRY_OVER_MAX, HIDDEN_MAX = 0.05, 0.1, 3
ALPHAS = (0.05, 0.01)
_LOAD = IronPerCell(IRON_PER_CELL_PG, 0.1 * IRON_PER_CELL_PG, "assumption")


def run_subject(key: Key, ratio: float = -1.0, n_pairs: int = 0) -> Row:
    """Simulate, run, compare. ``ratio`` and ``n_pairs`` are what repeated scans said of the stated errors."""
    seed, preset, kind, number, n_visits = key
    case = CASES[preset]
    own_seed = int(np.random.SeedSequence([seed, list(CASES).index(preset), number, len(kind)]).generate_state(1)[0])
    subject = draw_subject(
        case,
        own_seed,
        n_stable=_N_BESIDE_RELAPSE if kind == "relapse" else N_STABLE,
        sizes_sd=_PAIR_SIZES_SD if kind == "pairs" else SIZES_SD,
        relapses=kind == "relapse",
    )
    days = [0.0] * n_visits if kind == "pairs" else [case.interval_days * visit for visit in range(n_visits)]
    config = dataclasses.replace(Config(), relapse=_state_study(subject, ratio, n_pairs))
    options = StudyOptions(
        label=get_label(PRESET_LABEL_ID), iron_per_cell=_LOAD, study_kind="targeted", config=config, n_cpus=1
    )
    with tempfile.TemporaryDirectory() as folder:
        bids, out = Path(folder) / "bids", Path(folder) / "out"
        truths, voids = write_subject(subject, days, bids)
        planned = plan_study(bids, out, options)
        study = run_study(planned, out, options)
        if study.exit_code:
            raise SystemExit(f"{key}: the study failed: {study.failed} {study.not_followed}")
        row = {"key": list(key), "days": days, "bodies": [one.n_cells for one in subject.bodies]}
        row |= measure_subject(subject, planned, out, days, truths)
        if kind != "pairs":
            row |= weigh_subject(planned, bids, out, config.relapse)
        if kind == "relapse":
            row |= judge_relapse(subject, truths, voids)
    return row | {"peak_mb": peak_memory_mb() or 0.0, "wall_s": sum(one.wall_s for one in study.visits)}


def _state_study(subject: Subject, ratio: float, n_pairs: int) -> RelapseConfig:
    """What the study says of itself: a plan's defaults, and what its repeated scans were."""
    return RelapseConfig(
        reference_rel_err=REFERENCE_REL_ERR,
        carry_over_max=CARRY_OVER_MAX,
        test_retest_ratio=ratio,
        test_retest_pairs=n_pairs,
        hidden_clusters_max=HIDDEN_MAX,
        link_reach_mm=_REACH * min(subject.spec.grid.voxel_mm),
    )


def name_session(visit: int) -> str:
    """Sessions in the order of their names."""
    return f"v{visit:02d}"


def write_subject(subject: Subject, days: list[float], bids: Path) -> tuple[list[Table], list[float]]:
    """Write the scans, what the study knows, and the lesions that others would measure.

    Returns what each scan's labelled clusters truly are, where they lie in its own scanner space, and the volume of
    the dark spot at the last of them.
    """
    rng = np.random.default_rng([subject.seed, 6])
    reference = [find_dose(subject, day) * np.exp(REFERENCE_REL_ERR * rng.standard_normal()) for day in days]
    sessions = [
        Session(name_session(visit), day, label_day=day, reference=float(value))
        for visit, (day, value) in enumerate(zip(days, reference, strict=True))
    ]
    write_study(bids, "Simulated", [Participant("01", label=PRESET_LABEL_ID)], sessions, readme="Simulated.\n")
    truths, voids = [], []
    for visit, day in enumerate(days):
        spec = build_visit(subject, day)
        posture = draw_posture(spec.grid.voxel_mm, subject.seed, visit)
        scan, truth = simulate_moved_scan(spec, subject.seed, posture, visit=visit)
        write_scan(dataclasses.replace(scan, subject="01", session=name_session(visit)), bids)
        labelled = truth.table.where(truth.table["kind"] == "labelled")
        truths.append(labelled.where(np.argsort(labelled["object_id"])))
        voids.append(measure_void(scan, _places(truths[-1])[-1]))
    _write_lesions(bids, truths)
    return truths, voids


def _write_lesions(bids: Path, truths: list[Table]) -> None:
    """The last cluster's ball of cells as others would measure it, without any error."""
    lines = ["session_id\tlesion_id\tlongest_mm\tperpendicular_mm\tvolume_mm3"]
    for visit, truth in enumerate(truths):
        volume = find_volume_mm3(int(truth["n_cells"][-1]))
        wide = 2 * np.cbrt(3 * volume / (4 * np.pi))
        lines.append(f"ses-{name_session(visit)}\tlast\t{wide:.6g}\t{wide:.6g}\t{volume:.6g}")
    (bids / "sub-01" / "sub-01_lesions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _places(table: Table) -> FloatArray:
    return np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1)


def read_visits(planned: tuple[PlannedVisit, ...], out: Path) -> list[FollowedVisit]:
    """The followed visits as relapse takes them, from the poses file and the clusters tables."""
    poses = json.loads(output_path(out, "poses", "01").read_text(encoding="utf-8"))
    files = {visit.files.session: visit.files for visit in planned}
    return [
        FollowedVisit(
            one["session"],
            one["day"],
            name_protocol(one["b0_t"], one["echo_times_s"], one["voxel_mm"]),
            read_table(CLUSTERS, visit_path(out, "clusters", files[one["session"]])),
        )
        for one in poses["visits"]
    ]


def measure_subject(
    subject: Subject, planned: tuple[PlannedVisit, ...], out: Path, days: list[float], truths: list[Table]
) -> Row:
    """Every lineage's values beside what is true, and the lineages that began where nothing labelled lies."""
    visits = read_visits(planned, out)
    tracks = read_table(TRACKS, output_path(out, "tracks", "01"))
    edge = min(subject.spec.grid.voxel_mm)
    followed = gather_tracks(tracks, visits)
    whose = find_owners(tracks, visits, truths, _SAME * edge)
    traced = trace_lineages(followed, _REACH * edge)
    rows = []
    for number, names in enumerate(traced.members):
        bodies = sorted({whose[name] for name in names if whose[name] >= 0})
        true = [float(sum(truth["moment_am2"][body] for body in bodies)) for truth in truths]
        birth = int(traced.births[number])
        rows.append(
            {
                "bodies": bodies,
                "n_other": sum(whose[name] < 0 for name in names),
                "birth": birth,
                "surely": bool(_surely_new(followed, names, birth)),
                "values": _plain(traced.values[number]),
                "sds": _plain(traced.sds[number]),
                "true": true,
            }
        )
    n_true = sum(bool(row["bodies"]) for row in rows)
    registered = sum(pose["is_registered"] for pose in _read_poses(out))
    return {
        "lineages": rows,
        "n_true_lineages": n_true,
        "new_candidates": traced.new_candidates.tolist(),
        "n_unsure": traced.n_unsure,
        "n_registered": registered,
        "plan_sd": find_cells_per_sd(subject.case.preset)[0] * IRON_PER_CELL_PG * 1e-15 * subject.magnetisation,
        "dose": [find_dose(subject, day) for day in days],
    }


def _surely_new(followed: Followed, names: tuple[str, ...], birth: int) -> bool:
    """Whether a lineage began with something of which at most 0.01 false ones were expected."""
    rows = [followed.names.index(name) for name in names]
    return birth > 0 and any(followed.expected_false[row] <= 0.01 and followed.seen[row, birth] for row in rows)


def _read_poses(out: Path) -> list[Row]:
    content: Row = json.loads(output_path(out, "poses", "01").read_text(encoding="utf-8"))
    return list(content["visits"])


def _plain(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def find_owners(tracks: Table, visits: list[FollowedVisit], truths: list[Table], within_mm: float) -> dict[str, int]:
    """By track: the labelled cluster that most of its sightings lie at, -1 for none."""
    votes: dict[str, Counter[int]] = {str(name): Counter() for name in tracks["track_id"]}
    for visit, (one, truth) in enumerate(zip(visits, truths, strict=True)):
        assert one.session == name_session(visit)
        place = dict(zip(one.clusters["cluster_id"].tolist(), _places(one.clusters), strict=True))
        here = tracks.where((tracks["session_id"] == one.session) & (tracks["measurement"] == "detected"))
        for name, cluster in zip(here["track_id"], here["cluster_id"], strict=True):
            far = np.linalg.norm(_places(truth) - place[str(cluster)], axis=1)
            votes[str(name)][int(far.argmin()) if far.min() <= within_mm else -1] += 1
    return {name: count.most_common(1)[0][0] if count else -1 for name, count in votes.items()}


def weigh_subject(planned: tuple[PlannedVisit, ...], bids: Path, out: Path, known: RelapseConfig) -> Row:
    """What ``run`` wrote of relapse, and the same test at the other alphas."""
    table = read_table(RELAPSE, output_path(out, "relapse", "01"))
    said = json.loads(output_path(out, "relapse", "01").with_suffix(".json").read_text(encoding="utf-8"))
    visits = read_visits(planned, out)
    tracks = read_table(TRACKS, output_path(out, "tracks", "01"))
    reference = np.array([line.reference for line in read_sessions(bids, "01")], dtype=float)
    alarms = {}
    for alpha in ALPHAS:
        config = dataclasses.replace(known, alpha=alpha)
        found = assess_relapse(tracks, visits, config, study_kind="targeted", reference=reference)
        alarms[f"{alpha:g}"] = found.first_alarm
    first = np.flatnonzero(table["alarm"])
    assert alarms["0.05"] == (int(first[0]) if first.size else -1), "the table and the test disagree"
    return {
        "identifiable": said["Identifiable"],
        "alarms": alarms,
        "e_values": _plain(table["e_value"]),
        "grows": [one["Members"] for one in said["Lineages"] if one["Grows"]],
        "comparators": {
            name: table[f"comparator_{name}"].tolist() for name in ("recist", "rano", "percist", "visible")
        },
        "sentences": said["Sentences"],
    }


def judge_relapse(subject: Subject, truths: list[Table], voids: list[float]) -> Row:
    """The relapse's cells at each visit, how fast they double, and its dark spot, which was not there before."""
    return {
        "cells": [int(truth["n_cells"][-1]) for truth in truths],
        "doubling_days": subject.bodies[-1].doubling_days,
        "voids_mm3": voids,
        "void_calls": call_first_visible(np.array([[0.0, *voids]]))[1:].tolist(),
    }
