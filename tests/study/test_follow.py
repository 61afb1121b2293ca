"""Which rows a subject's tracks have, with stages that cost nothing; tests of a whole study follow real scans."""

# ruff: noqa: ARG001  (fakes have the arguments of what they stand for)

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.physics.labels import get_label
from ferrosight.quantify import quantify_clusters
from ferrosight.study import follow
from ferrosight.study.follow import FollowedSubject, VisitToFollow, follow_subject
from ferrosight.study.follow_detections import FoundAs
from ferrosight.types import (
    CLUSTERS,
    FITS,
    FORCED,
    Catalogue,
    Config,
    Grid,
    IronPerCell,
    PhaseSign,
    Rigid,
    Scan,
    SubjectSpace,
    Table,
    VisitPose,
)

LABEL, LOAD = get_label("ferumoxides"), IronPerCell(10.0, 1.5, "assay")
GRID = Grid((40, 40, 40), np.diag([0.1, 0.1, 0.1, 1.0]))
EXACT = 1e-6 * np.eye(6)


def catalogue_of(
    like: Catalogue, session: str, places: list[tuple[float, float, float]], moments: list[float]
) -> Catalogue:
    n = len(places)
    ids = np.array([f"{session}_{number}" for number in range(n)], dtype=np.str_)
    xyz = np.array(places).reshape(-1, 3)
    columns: dict[str, Any] = {f"{axis}_mm": xyz[:, a] for a, axis in enumerate("xyz")}
    columns |= {f"{axis}_mm_err": np.full(n, 0.01) for axis in "xyz"}
    columns |= {"moment_am2": np.array(moments), "moment_am2_err": 0.05 * np.array(moments)}
    columns |= {"score": np.full(n, 15.0), "expected_false": np.full(n, 1e-6), "status": np.full(n, "accepted")}
    clusters = Table(CLUSTERS, {"cluster_id": ids, **columns} if n else {})
    fits = Table(FITS, {"cluster_id": ids, "selection_score": np.full(n, 6.0)} if n else {})
    found = dataclasses.replace(like, clusters=clusters, fits=fits)
    return quantify_clusters(found, LABEL, 7.0, LOAD, Config().quantify)


@pytest.fixture
def follow_these(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue, scan: Scan) -> Callable[..., FollowedSubject]:
    """Follow clusters given by session; scans show a tenth of the usual moment wherever one measures."""

    def follow_them(
        days: dict[str, float],
        clusters: dict[str, tuple[list[tuple[float, float, float]], list[float]]],
        lost: tuple[str, ...] = (),
        **changes: Any,
    ) -> FollowedSubject:
        def survey(visit: VisitToFollow, config: Config) -> object:
            found = FoundAs(GRID, np.full(GRID.shape, 2e-13, np.float32), 0.9, 6.5)
            image = dataclasses.make_dataclass("Image", ["session", "b0_direction"])(visit.session, (0.0, 0.0, 1.0))
            return follow._Survey(image, found, {}, 7.0, (0.004,))

        def register(images: list[Any], *_: Any, **__: Any) -> SubjectSpace:
            pose = Rigid.from_twist([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]).with_covariance(EXACT)
            names = [image.session for image in images]
            poses = [VisitPose(one, None if one in lost else pose, None) for one in names]
            n = 6 * (len(names) - len(set(names) & set(lost)))
            return SubjectSpace(tuple(poses), (), np.zeros((n, n)))

        def measure(scan: Any, field_map: Any, places: Any, *_: Any, **__: Any) -> Table:
            n = len(places)
            remarks = np.where(places[:, 0] > 3.0, "outside", "").astype(np.str_)
            moment = np.where(places[:, 0] > 3.0, np.nan, -3e-14)
            columns = {"moment_am2": moment, "moment_am2_err": np.full(n, 3e-14), "remarks": remarks}
            return Table(FORCED, columns | {f"{a}_mm": places[:, i] for i, a in enumerate("xyz")})

        monkeypatch.setattr(follow, "_survey", survey)
        monkeypatch.setattr(follow, "_register", register)
        monkeypatch.setattr(follow, "measure_field", lambda *_: None)
        monkeypatch.setattr(follow, "measure_at", measure)
        visits = [
            VisitToFollow(
                session,
                day,
                session == "pre",
                lambda: scan,
                dataclasses.replace(catalogue_of(catalogue, session, *clusters.get(session, ([], []))), **changes),
                LABEL,
                LOAD,
            )
            for session, day in days.items()
        ]
        return follow_subject(visits, Config())

    return follow_them


def rows_of(table: Table, track: str) -> dict[str, dict[str, Any]]:
    return {row["session_id"]: row for row in table.to_pandas().to_dict("records") if row["track_id"] == track}


HERE, THERE = (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)


def test_every_track_has_a_row_at_every_visit_measured_where_it_was_not_found(follow_these):
    followed = follow_these(
        {"pre": -2.0, "a": 0.0, "b": 5.0, "c": 9.0},
        {"a": ([HERE], [4e-12]), "b": ([THERE], [2e-12]), "c": ([HERE, THERE], [4.1e-12, 2e-12])},
    )
    assert [visit.session for visit in followed.visits] == ["pre", "a", "b", "c"]
    stays, comes = rows_of(followed.tracks, "a_0"), rows_of(followed.tracks, "b_0")
    assert [row["measurement"] for row in stays.values()] == ["forced", "detected", "forced", "detected"]
    assert [row["event"] for row in stays.values()] == ["", "appear", "gap", "continue"]
    assert [row["event"] for row in comes.values()] == ["", "", "appear", "continue"]
    assert stays["c"]["cluster_id"] == "c_0"
    assert stays["c"]["link_probability"] > 0.9
    assert math.isnan(stays["a"]["link_probability"])
    # The subject's space lies a tenth of a millimetre further.
    assert [stays["a"][f"{axis}_mm"] for axis in "xyz"] == pytest.approx([1.1, 1.0, 1.0])
    # A random walk of 0.05 mm in a day along each axis, held at both ends.
    assert stays["b"]["x_mm_err"] == pytest.approx((1 / (5 * 0.05**2) + 1 / (4 * 0.05**2)) ** -0.5, rel=0.02)


def test_detected_rows_are_the_catalogues_and_others_may_be_negative_but_not_their_limits(follow_these):
    followed = follow_these({"a": 0.0, "b": 5.0}, {"a": ([HERE], [4e-12])})
    seen, missed = rows_of(followed.tracks, "a_0").values()
    clusters = followed.visits[0].clusters
    for name in ("moment_am2", "iron_pg", "iron_pg_low", "iron_pg_high", "n_cells", "n_cells_high"):
        assert seen[name] == clusters[name][0]
    assert seen["iron_pg"] < seen["upper_limit_iron_pg"] < seen["iron_pg_high"]
    assert missed["event"] == "disappear"
    assert missed["moment_am2"] < 0
    assert missed["iron_pg"] < 0 == missed["iron_pg_low"] < missed["upper_limit_iron_pg"] < missed["iron_pg_high"]
    assert missed["upper_limit_n_cells"] > 0
    assert missed["upper_limit_moment_am2"] == pytest.approx(-3e-14 + 1.645 * 3e-14, rel=1e-3)
    assert missed["limit_iron_pg"] == pytest.approx(seen["limit_iron_pg"])


def test_a_place_outside_of_what_was_scanned_is_said_to_be(follow_these):
    followed = follow_these({"a": 0.0, "b": 5.0}, {"a": ([(3.5, 1.0, 1.0)], [4e-12])})
    row = rows_of(followed.tracks, "a_0")["b"]
    assert row["measurement"] == "outside"
    assert math.isnan(row["moment_am2"])
    assert math.isnan(row["upper_limit_iron_pg"])


def test_a_visit_that_is_not_registered_keeps_its_clusters_and_is_not_called_outside(follow_these):
    clusters = {"a": ([HERE], [4e-12]), "b": ([HERE], [4e-12]), "c": ([HERE], [4e-12])}
    followed = follow_these({"a": 0.0, "b": 5.0, "c": 9.0}, clusters, lost=("b",))
    rows = rows_of(followed.tracks, "a_0")
    assert [row["measurement"] for row in rows.values()] == ["detected", "", "detected"]
    own = rows_of(followed.tracks, "b_0")
    assert list(own) == ["b"]
    assert own["b"]["measurement"] == "detected"
    assert math.isnan(own["b"]["x_mm"])
    assert own["b"]["iron_pg"] > 0
    assert "ses-b" in followed.notes[0]
    assert [visit.is_registered for visit in followed.visits] == [True, False, True]


def test_a_track_that_splits_ends_and_its_parts_begin(follow_these):
    near = [(0.8, 1.0, 1.0), (1.2, 1.0, 1.0)]
    clusters = {
        "a": ([HERE], [4e-12]),
        "b": ([HERE], [4e-12]),
        "c": (near, [2e-12, 2e-12]),
        "d": (near, [2e-12, 2e-12]),
    }
    followed = follow_these({"a": 0.0, "b": 2.0, "c": 4.0, "d": 6.0}, clusters)
    assert list(rows_of(followed.tracks, "a_0")) == ["a", "b"]
    for part in ("c_0", "c_1"):
        rows = rows_of(followed.tracks, part)
        assert list(rows) == ["c", "d"]
        assert [row["event"] for row in rows.values()] == ["split", "continue"]
        assert {row["parent_ids"] for row in rows.values()} == {"a_0"}


def test_a_single_visit_has_a_track_for_each_accepted_cluster(follow_these):
    followed = follow_these({"": math.nan}, {"": ([HERE, THERE], [4e-12, 1e-13])})
    assert followed.tracks["track_id"].tolist() == ["_0", "_1"]
    assert set(followed.tracks["measurement"]) == {"detected"}
    assert np.isnan(followed.tracks["day"]).all()
    assert followed.notes == ()


def test_where_no_day_is_known_the_order_of_sessions_counts_and_is_said_to(follow_these):
    followed = follow_these({"a": math.nan, "b": math.nan}, {"a": ([HERE], [4e-12]), "b": ([HERE], [4e-12])})
    assert [row["event"] for row in rows_of(followed.tracks, "a_0").values()] == ["appear", "continue"]
    assert np.isnan(followed.tracks["day"]).all()
    assert "No day" in followed.notes[0]


def test_scans_of_one_day_are_followed(follow_these):
    followed = follow_these({"a": 3.0, "b": 3.0}, {"a": ([HERE], [4e-12]), "b": ([HERE], [4e-12])})
    assert [row["event"] for row in rows_of(followed.tracks, "a_0").values()] == ["appear", "continue"]
    assert (followed.tracks["day"] == 3.0).all()


def test_days_of_some_visits_only_and_no_labelled_visit_are_refused(follow_these):
    with pytest.raises(InputError, match="b has none"):
        follow_these({"a": 0.0, "b": math.nan}, {})
    with pytest.raises(InputError, match="visit with label"):
        follow_these({"pre": 0.0}, {})


def test_without_the_sign_of_phase_nothing_is_measured_and_that_is_said(follow_these):
    followed = follow_these({"a": 0.0, "b": 1.0}, {"a": ([HERE], [4e-12])}, phase_sign=PhaseSign.UNKNOWN)
    row = rows_of(followed.tracks, "a_0")["b"]
    assert row["measurement"] == "forced"
    assert math.isnan(row["moment_am2"])
    assert "sign of phase" in followed.notes[0]


def test_nothing_found_is_an_empty_table(follow_these):
    assert len(follow_these({"a": 0.0, "b": 5.0}, {}).tracks) == 0
