"""A BIDS folder of two small scans, and stages that cost nothing: what is tested here is the order and the files."""

# ruff: noqa: ARG002  (fakes have the arguments of what they stand for)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import AnalysisError
from ferrosight.io import write_scan
from ferrosight.study import products, subject, visit
from ferrosight.study.follow import FollowedSubject, VisitFacts, VisitToFollow, _link
from ferrosight.types import (
    CLUSTERS,
    FITS,
    NULLS,
    AxisSupport,
    Catalogue,
    Config,
    Detections,
    EvidenceMap,
    FieldMap,
    Noise,
    NullCalibration,
    PhaseSign,
    Rigid,
    Scan,
    SubjectSpace,
    Table,
    TrackPlaces,
    VisitPose,
)
from ferrosight.types.schema import TRACKS

SHAPE = (6, 5, 4)
MOMENTS = np.array([9.36e-14, 4.0e-14, -3.0e-14])


def make_scan(subject: str = "01", session: str = "", n_echoes: int = 2) -> Scan:
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(n_echoes, *SHAPE)) + 1j * rng.normal(size=(n_echoes, *SHAPE))
    affine = np.diag([0.1, 0.2, 0.15, 1.0])
    times = 0.004 * np.arange(1, n_echoes + 1)
    return Scan(signal.astype(np.complex64), times, 7.0, affine, subject=subject, session=session)


def make_field_map(scan: Scan) -> FieldMap:
    image = np.ones(SHAPE, np.float32)
    full = AxisSupport()
    noise = Noise(np.ones(scan.signal.shape, np.float32), np.ones((1, 1, 1)), (full, full, full))
    return FieldMap(scan.grid, image, image, image, image * 30, image, image, np.ones(SHAPE, bool), noise)


def make_catalogue() -> Catalogue:
    ids = np.array(["a", "b", "c"])
    clusters = Table(
        CLUSTERS,
        {
            "cluster_id": ids,
            "moment_am2": MOMENTS,
            "moment_am2_err": np.abs(MOMENTS) / 10,
            "score": np.array([9.0, 6.0, 7.0]),
            "q_value": np.array([0.001, 0.01, 0.01]),
            "expected_false": np.array([0.01, 0.05, 0.02]),
            "status": np.array(["accepted", "accepted", "rejected"]),
            "reasons": np.array(["", "", "opposite_polarity;bubble"]),
        },
    )
    fits = Table(
        FITS,
        {
            "cluster_id": ids,
            "k_voxel": np.array([-0.4, 3.2, 1.0]),
            "chi2_dof": np.array([1.0, 4.0, 1.0]),
            "error_inflation": np.array([1.0, 2.0, 9.0]),
            "moment_inner_am2": np.array([1.0, 1.0, 1.0]),
            "moment_inner_am2_err": np.array([0.1, 0.1, 0.1]),
            "moment_outer_am2": np.array([1.1, 2.0, 1.0]),
            "moment_outer_am2_err": np.array([0.1, 0.1, 0.1]),
            "remarks": np.array(["bubble_not_excluded", "windows_disagree", ""]),
        },
    )
    counts = {"dipole": 2, "opposite": 1, "xz": 0}
    curve = np.array([4.0, 9.0]), np.array([1.0, 1e-6])
    null = NullCalibration(Table(NULLS, {}), *curve, 4.0, 1.0, 1.0, 0.1, 20, 6.0, counts, {"xz": 1.0}, 50)
    return Catalogue(clusters, fits, null, (), PhaseSign.POSITIVE, "data", "box", 0.05)


@dataclass
class FakeStages:
    """Which calls were made, in order, and which subjects are to fail."""

    calls: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    raising: Exception | None = None
    not_followed: set[str] = field(default_factory=set)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def measure_field(self, scan: Scan, config: object, *, on_progress: Any = None) -> FieldMap:
        self.calls.append("field")
        if self.raising is not None:
            raise self.raising
        if scan.subject in self.failing:
            raise AnalysisError("the scan must hold tissue, but its mask is empty; lower field.mask_snr.")
        if on_progress is not None:
            on_progress("field", 1, 1)
        return make_field_map(scan)

    def find_clusters(
        self, scan: Scan, field_map: FieldMap, config: object, *, on_progress: Any = None
    ) -> tuple[EvidenceMap, Catalogue]:
        self.calls.append("clusters")
        z = np.stack([np.full(SHAPE, 2, np.float32), np.full(SHAPE, 5, np.float32)])
        return EvidenceMap(scan.grid, ("dipole", "xz"), z), make_catalogue()

    def judge_by_baseline(
        self, catalogue: Catalogue, scan: Scan, field_map: FieldMap, baseline: Scan, *args: object, **kwargs: object
    ) -> Catalogue:
        self.calls.append(f"{scan.session} against {baseline.session} {baseline.phase_sign.name}")
        return catalogue

    def follow_subject(self, visits: Sequence[VisitToFollow], config: object, **_: object) -> FollowedSubject:
        self.calls.append("follow " + " ".join(one.session for one in visits))
        if visits[0].read_scan().subject in self.not_followed:
            raise AnalysisError("visits of different kinds cannot be followed.")
        n, three = len(visits), np.zeros((0, 3))
        facts = [
            VisitFacts(
                one.session, one.day, one.is_baseline, True, 7.0, (0.004,), (1.0, 1.0, 1.0), one.catalogue.clusters
            )
            for one in visits
        ]
        poses = tuple(VisitPose(one.session, Rigid.identity(), None) for one in visits)
        space = SubjectSpace(poses, (), np.zeros((6 * n,) * 2))
        none = np.zeros(0)
        named = tuple(one.session for one in visits), np.arange(n), np.zeros(0, str), np.zeros(0, int)
        found = Detections(*named, three, np.zeros((0, 3, 3)), none, none, np.zeros((0, n)), none, 1.0)
        rows = [{"track_id": "t", "session_id": one.session, "day": one.day} for one in visits]
        places = TrackPlaces(np.zeros((0, n, 3)), np.zeros((0, n, 3, 3)), np.zeros((0, n), int))
        tracks = Table.from_rows(TRACKS, rows)
        return FollowedSubject(tracks, tuple(facts), space, found, _link(found, [], Config()), places, ("a note",))

    def write_visit_report(self, path: Path, *args: Any, provenance: Mapping[str, Any], **kwargs: Any) -> None:
        self.calls.append("report")
        self.provenance = provenance
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<html></html>", encoding="utf-8")


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> FakeStages:
    """Stages in the place of the real ones."""
    fakes = FakeStages()
    monkeypatch.setattr(visit, "measure_field", fakes.measure_field)
    monkeypatch.setattr(visit, "find_clusters", fakes.find_clusters)
    monkeypatch.setattr(visit, "judge_by_baseline", fakes.judge_by_baseline)
    monkeypatch.setattr(products, "write_visit_report", fakes.write_visit_report)
    monkeypatch.setattr(subject, "follow_subject", fakes.follow_subject)
    return fakes


@pytest.fixture
def scan() -> Scan:
    """A scan of two echoes."""
    return make_scan()


@pytest.fixture
def catalogue() -> Catalogue:
    """Two accepted clusters and one of opposite polarity; iron and cells are not filled yet."""
    return make_catalogue()


@pytest.fixture
def bids_dir(tmp_path: Path) -> Path:
    """Two subjects: 01 with one scan of two echoes, 02 with a single echo on day d07."""
    folder = tmp_path / "study"
    write_scan(make_scan("01"), folder)
    write_scan(make_scan("02", "d07", n_echoes=1), folder)
    return folder


@pytest.fixture
def followed_dir(tmp_path: Path) -> Path:
    """One subject with a baseline scan, whose name sorts last, and two labelled visits."""
    folder = tmp_path / "followed"
    for session in ("d07", "d14", "pre"):
        write_scan(make_scan("01", session), folder)
    lines = ["session_id\tday\tbaseline", "ses-pre\t-1\ttrue", "ses-d07\t7\tfalse", "ses-d14\t14\tn/a"]
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
