"""Relapse of followed subjects: what is refused with which sentence, what alarms, and what does not."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from ferrosight.io import read_table
from ferrosight.link import link_detections, place_tracks
from ferrosight.study.relapse import assess_relapse, write_relapse
from ferrosight.study.relapse_series import FollowedVisit, gather_volumes
from ferrosight.types import CLUSTERS, PET_CLUSTERS, Config, Detections, Table
from ferrosight.types.config import LinkConfig, RelapseConfig
from ferrosight.types.schema import LESIONS, RELAPSE, TRACKS

PG = 1e-13
KNOWN = RelapseConfig(factor_sd_max=0.05, carry_over_max=0.1, sd_factor_max=1.1)
NO_TRACKS = Table(TRACKS, {})


def followed(n=9, days=None, protocols=None, hot_spots=None, expected_false=1e-4):
    days = 7.0 * np.arange(n) if days is None else days
    names = [f"v{visit}" for visit in range(n)]
    return [
        FollowedVisit(
            name,
            days[visit],
            protocols[visit] if protocols else "p",
            Table.from_rows(CLUSTERS, [{"cluster_id": f"c{visit}", "expected_false": expected_false}]),
            hot_spots[visit] if hot_spots else None,
        )
        for visit, name in enumerate(names)
    ]


def track_table(values, birth=0):
    """A track per row of (n, n_visits) values in units of their error, 5 mm apart, seen from ``birth`` on."""
    return Table.from_rows(
        TRACKS,
        [
            {
                "track_id": f"t{row}",
                "session_id": f"v{visit}",
                "day": 7.0 * visit,
                "x_mm": 5.0 * row,
                "y_mm": 0.0,
                "z_mm": 0.0,
                "moment_am2": value * PG,
                "moment_am2_err": PG,
                "measurement": "detected",
                "cluster_id": f"c{visit}",
            }
            for row, track in enumerate(np.atleast_2d(values))
            for visit, value in enumerate(track)
            if visit >= birth
        ],
    )


def grow(n=9, onset=3, start=10.0, seed=1):
    truth = start * 2.0 ** np.maximum(np.arange(n) - onset, 0)
    return truth + np.random.default_rng(seed).standard_normal(n)


def assert_silent(found, n, *words):
    """Not identifiable: nothing is said of growth, nobody is alarmed, and the sentences say why."""
    assert not found.identifiable
    assert found.first_alarm == -1
    assert len(found.table) == n
    assert np.isnan(found.table["e_value"]).all()
    assert np.isnan(found.table["running_e_value"]).all()
    assert not found.table["alarm"].any()
    said = " ".join(found.sentences)
    assert [word for word in words if word not in said] == []


def test_growth_alarms_and_names_the_track_that_grows():
    calm = 12.0 + np.random.default_rng(2).standard_normal(9)
    found = assess_relapse(track_table([calm, grow()]), followed(), KNOWN, study_kind="targeted")
    assert found.identifiable
    assert 3 < found.first_alarm <= 7
    assert found.table["alarm"].tolist() == [visit >= found.first_alarm for visit in range(9)]
    named = [names for names, grows in zip(found.lineages, found.evidence.growing[:, -1], strict=True) if grows]
    assert named == [("t1",)]


def test_nobody_said_what_kind_of_study_it_is():
    found = assess_relapse(track_table(grow()), followed(), KNOWN, study_kind=None)
    assert_silent(found, 9, "--study-kind prelabelled, targeted or tracer", "participants.tsv")
    assert found.table["session_id"].tolist() == [f"v{visit}" for visit in range(9)]


def test_iron_alone_of_cells_labelled_beforehand_shows_no_growth_whatever_else_is_known():
    found = assess_relapse(track_table(grow()), followed(), KNOWN, study_kind="prelabelled")
    assert_silent(found, 9, "not identifiable from iron", "PET of a tracer", "would make it so")
    unknown = assess_relapse(track_table(grow()), followed(), RelapseConfig(), study_kind="prelabelled")
    assert_silent(unknown, 9, "not identifiable from iron", "relapse.test_retest_ratio")
    assert "carry_over_max" not in " ".join(unknown.sentences)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"factor_sd_max": -1.0}, ("reference tissue", "relapse.factor_sd_max (or a column reference")),
        ({"carry_over_max": -1.0}, ("what stays of earlier doses", "relapse.carry_over_max")),
        ({"sd_factor_max": -1.0}, ("test and retest", "relapse.test_retest_ratio and relapse.test_retest_pairs")),
        ({"sd_factor_max": -1.0, "test_retest_ratio": 1.0}, ("test and retest", "relapse.test_retest_pairs")),
    ],
)
def test_a_bound_that_nobody_knows_is_named_with_the_setting_that_gives_it(setting, words):
    config = dataclasses.replace(KNOWN, **setting)
    assert_silent(assess_relapse(track_table(grow()), followed(), config, study_kind="targeted"), 9, *words)


def test_pairs_of_repeated_scans_take_the_place_of_the_declared_bound():
    config = dataclasses.replace(KNOWN, sd_factor_max=-1.0, test_retest_ratio=1.0, test_retest_pairs=60)
    found = assess_relapse(track_table(grow()), followed(), config, study_kind="targeted")
    assert found.first_alarm > 3
    assert found.table["e_value"][0] == pytest.approx(0.8)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_visits_are_too_few(n):
    tracks = track_table(grow(9)[:n]) if n else NO_TRACKS
    found = assess_relapse(tracks, followed(n), KNOWN, study_kind="targeted")
    assert_silent(found, n, f"Not identifiable from {n} visit", "at least 3")


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([0, 7, np.nan, 21, 28, 35], ("every visit needs its date", "v2 has none", "acq_time or day")),
        ([0, 7, 21, 14, 28, 35], ("in the order of their dates", "v3 (day 14) follows v2 (day 21)")),
        ([0, 7, 7, 14, 28, 35], ("in the order of their dates",)),
    ],
)
def test_visits_without_date_or_out_of_order_are_refused_in_a_sentence(days, words):
    found = assess_relapse(track_table(grow(6)), followed(6, days), KNOWN, study_kind="targeted")
    assert_silent(found, 6, *words)
    assert found.table["day"] == pytest.approx(days, nan_ok=True)


def test_a_protocol_that_changes_half_way_is_refused():
    found = assess_relapse(track_table(grow()), followed(protocols=["p"] * 5 + ["q"] * 4), KNOWN, study_kind="targeted")
    assert_silent(found, 9, "the protocol changes at v5")


def test_two_visits_of_one_session_are_refused_in_a_sentence():
    visits = [*followed(4), followed(4)[-1]]
    assert_silent(assess_relapse(track_table(grow(4)), visits, KNOWN, study_kind="targeted"), 5, "v3 comes twice")


def test_without_any_track_nothing_grows():
    found = assess_relapse(NO_TRACKS, followed(), KNOWN, study_kind="targeted")
    assert found.identifiable
    assert found.first_alarm == -1
    assert found.table["e_value"] == pytest.approx(np.ones(9))
    assert_silent(assess_relapse(NO_TRACKS, followed(), KNOWN, study_kind="tracer"), 9, "PET of a tracer")


def test_the_reference_tissue_takes_the_visits_factor_out():
    rng = np.random.default_rng(5)
    factor = np.array([1.0, 1.1, 0.9, 1.4, 1.9, 2.4, 2.9, 3.4, 4.0])
    tracks = track_table(20.0 * factor + rng.standard_normal(9))
    visits = followed()
    blind = dataclasses.replace(KNOWN, reference_rel_err=0.03)
    assert assess_relapse(tracks, visits, blind, study_kind="targeted").first_alarm > 0
    config = dataclasses.replace(KNOWN, factor_sd_max=-1.0, reference_rel_err=0.03)
    seen = assess_relapse(tracks, visits, config, study_kind="targeted", reference=50.0 * factor)
    assert seen.identifiable
    assert seen.first_alarm == -1


@pytest.mark.parametrize(
    ("value", "rel_err", "words"),
    [
        (np.nan, 0.03, "v4 has nothing"),
        (0.0, 0.03, "v4 has nothing"),
        (50.0, -1.0, "give relapse.reference_rel_err"),
    ],
)
def test_a_reference_that_cannot_be_used_is_said_to_be_so(value, rel_err, words):
    reference = np.full(9, 50.0)
    reference[4] = value
    config = dataclasses.replace(KNOWN, factor_sd_max=-1.0, reference_rel_err=rel_err)
    found = assess_relapse(track_table(grow()), followed(), config, study_kind="targeted", reference=reference)
    assert_silent(found, 9, "The reference tissue is not used", words)


def test_new_clusters_count_where_hidden_ones_are_bounded_and_they_were_surely_not_false():
    values = np.full((9, 9), 10.0)
    tracks = Table.from_rows(
        TRACKS,
        [
            {"track_id": f"t{row}", "session_id": f"v{visit}", "x_mm": 5.0 * row, "y_mm": 0.0, "z_mm": 0.0}
            | {"moment_am2": values[row, visit] * PG, "moment_am2_err": PG, "measurement": "detected"}
            | {"cluster_id": f"c{visit}"}
            for row in range(9)
            for visit in range(row, 9)
        ],
    )
    config = dataclasses.replace(KNOWN, hidden_clusters_max=1)
    assert assess_relapse(tracks, followed(), config, study_kind="targeted").first_alarm > 2
    assert assess_relapse(tracks, followed(), KNOWN, study_kind="targeted").first_alarm == -1
    doubtful = followed(expected_false=0.02)
    assert assess_relapse(tracks, doubtful, config, study_kind="targeted").first_alarm == -1


def hot_spots(activity):
    return [
        Table.from_rows(
            PET_CLUSTERS,
            [{"cluster_id": "spot", "x_mm": 1.0, "y_mm": 2.0, "z_mm": 3.0, "status": "accepted"}
             | {"activity_bq": value, "activity_bq_err": 100.0, "expected_false": 1e-4}],
        )
        for value in activity
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["tracer", "prelabelled"])
def test_hot_spots_show_growth_where_iron_cannot(kind):
    visits = followed(hot_spots=hot_spots(100.0 * grow()))
    iron = track_table(12.0 + np.random.default_rng(7).standard_normal(9))
    found = assess_relapse(iron, visits, KNOWN, study_kind=kind)
    assert found.identifiable
    assert found.first_alarm > 3
    assert found.evidence.quantities == ("activity",)
    assert found.lineages == (("spot",),)
    assert any("not identifiable from iron" in sentence for sentence in found.sentences)
    calm = followed(hot_spots=hot_spots(1200.0 + 100.0 * np.random.default_rng(8).standard_normal(9)))
    assert assess_relapse(iron, calm, KNOWN, study_kind=kind).first_alarm == -1


def test_iron_and_activity_are_weighed_side_by_side():
    visits = followed(hot_spots=hot_spots(100.0 * grow(seed=3)))
    found = assess_relapse(track_table(grow(seed=4)), visits, KNOWN, study_kind="targeted")
    assert found.evidence.quantities == ("iron", "activity")
    assert found.lineages == (("t0",), ("spot",))
    assert found.first_alarm > 3


def lesion_table(volumes, err=5.0):
    rows = [
        {"session_id": f"v{visit}", "lesion_id": "left", "volume_mm3": volume, "volume_mm3_err": err}
        for visit, volume in enumerate(volumes)
    ]
    return Table.from_rows(LESIONS, rows)


def test_volumes_with_an_error_show_growth_where_iron_cannot():
    iron = track_table(12.0 + np.random.default_rng(7).standard_normal(9))
    growing = [0.0, *(5.0 * grow(8))]
    found = assess_relapse(iron, followed(), KNOWN, study_kind="prelabelled", lesions=lesion_table(growing))
    assert found.first_alarm > 4
    assert found.lineages == (("left",),)
    assert found.evidence.births.tolist() == [1]
    calm = lesion_table(60.0 + 5.0 * np.random.default_rng(9).standard_normal(9))
    found = assess_relapse(iron, followed(), KNOWN, study_kind="prelabelled", lesions=calm)
    assert found.identifiable
    assert found.first_alarm == -1
    blind = assess_relapse(iron, followed(), KNOWN, study_kind="prelabelled", lesions=lesion_table(growing, np.nan))
    assert_silent(blind, 9, "the column volume_mm3_err")


def test_a_volume_that_was_not_measured_is_left_out():
    lesions = lesion_table([0.0, 60.0, np.nan, 0.0, 55.0])
    found = gather_volumes(lesions, [f"v{visit}" for visit in range(6)])
    np.testing.assert_array_equal(found.values, [[np.nan, 60.0, np.nan, 0.0, 55.0, np.nan]])
    assert found.births.tolist() == [1]
    assert gather_volumes(Table(LESIONS, {}), ["v0"]).values.shape == (0, 1)


def test_unsure_links_are_said_and_what_to_do_about_them():
    tracks = track_table(grow())
    doubtful = np.where(tracks["session_id"] == "v4", 0.6, np.nan)
    found = assess_relapse(tracks.with_columns(link_probability=doubtful), followed(), KNOWN, study_kind="targeted")
    assert any("anew at 1 link less sure than 0.95" in sentence for sentence in found.sentences)
    assert found.evidence.births.tolist() == [0, 4]


@pytest.fixture
def bids_dir(tmp_path):
    folder = tmp_path / "bids"
    (folder / "sub-01").mkdir(parents=True)
    return folder


def write_lines(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write(bids_dir, tmp_path, tracks=None, visits=None, config=KNOWN, **options):
    config = dataclasses.replace(Config(), relapse=config)
    tracks = track_table(grow()) if tracks is None else tracks
    visits = followed() if visits is None else visits
    return write_relapse(
        tracks, visits, bids_dir=bids_dir, out_dir=tmp_path / "out", subject="01", config=config, **options
    )


def test_the_table_is_written_with_what_was_said(bids_dir, tmp_path):
    write_lines(bids_dir / "participants.tsv", "participant_id\tstudy_kind", "sub-01\ttargeted")
    write_lines(
        bids_dir / "sub-01" / "sub-01_lesions.tsv",
        "session_id\tlesion_id\tlongest_mm\tperpendicular_mm\tvolume_mm3",
        "ses-v0\tleft\t20\t15\t2000",
        "ses-v1\tleft\t26\t20\t4000",
    )
    found, path = write(bids_dir, tmp_path)
    assert path == tmp_path / "out" / "sub-01" / "sub-01_relapse.tsv"
    table = read_table(RELAPSE, path)
    np.testing.assert_array_equal(table["e_value"], found.table["e_value"])
    assert table["alarm"].tolist() == found.table["alarm"].tolist()
    assert table["comparator_recist"].tolist() == ["none", *["progression"] * 8]
    assert set(table["comparator_percist"]) == {""}
    said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert said["StudyKind"] == "targeted"
    assert said["Identifiable"] is True
    assert said["Sentences"] == list(found.sentences)
    assert [(one["Members"], one["Quantity"], one["BornAt"], one["Grows"]) for one in said["Lineages"]] == [
        (["t0"], "iron", "v0", True)
    ]


def test_the_option_wins_over_participants_and_without_both_the_table_is_still_written(bids_dir, tmp_path):
    found, path = write(bids_dir, tmp_path, tracks=NO_TRACKS)
    assert found.study_kind is None
    assert len(read_table(RELAPSE, path)) == 9
    write_lines(bids_dir / "participants.tsv", "participant_id\tstudy_kind", "sub-01\tprelabelled")
    assert write(bids_dir, tmp_path)[0].study_kind == "prelabelled"
    assert write(bids_dir, tmp_path, study_kind="targeted")[0].first_alarm > 3


def test_baseline_scans_are_left_out_and_the_reference_is_read(bids_dir, tmp_path):
    write_lines(
        bids_dir / "sub-01" / "sub-01_sessions.tsv",
        "session_id\tday\tbaseline\treference",
        "ses-v0\t0\ttrue\tn/a",
        *(f"ses-v{visit}\t{7 * visit}\tfalse\t{50 * 2.0**visit}" for visit in range(1, 9)),
    )
    tracks = track_table(10.0 * 2.0 ** np.arange(9))
    config = dataclasses.replace(KNOWN, reference_rel_err=0.02, factor_sd_max=-1.0)
    found, _ = write(bids_dir, tmp_path, tracks=tracks, config=config, study_kind="targeted")
    assert found.table["session_id"].tolist() == [f"v{visit}" for visit in range(1, 9)]
    assert found.identifiable
    assert found.first_alarm == -1  # what rises is the factor


def test_lesions_that_cannot_be_read_silence_the_rules_alone(bids_dir, tmp_path):
    write_lines(bids_dir / "sub-01" / "sub-01_lesions.tsv", "session_id\tlesion_id", "ses-v0\tleft")
    found, _ = write(bids_dir, tmp_path, study_kind="targeted")
    assert found.first_alarm > 3
    assert set(found.table["comparator_recist"]) == {""}
    assert any("clinical rules are silent" in sentence and "longest_mm" in sentence for sentence in found.sentences)


def test_lesions_of_no_visit_are_named_and_zeros_do_not_matter(bids_dir, tmp_path):
    header = "session_id\tlesion_id\tlongest_mm\tperpendicular_mm\tvolume_mm3"
    write_lines(bids_dir / "sub-01" / "sub-01_sessions.tsv", "session_id\tday\tbaseline", "ses-before\t-7\ttrue")
    table, visits = bids_dir / "sub-01" / "sub-01_lesions.tsv", followed()
    visits = tuple(dataclasses.replace(visit, session=f"0{index}") for index, visit in enumerate(visits))
    tracks = track_table(grow())
    tracks = tracks.with_columns(session_id=np.array([f"0{name[1:]}" for name in tracks["session_id"]]))
    said = "tells of ses-99, which is not followed"
    write_lines(table, header, "0\tleft\t20\t15\t2000", "1\tleft\t26\t20\t4000", "ses-before\tn/a\tn/a\tn/a\tn/a")
    found, _ = write(bids_dir, tmp_path, tracks, visits, study_kind="targeted")
    assert found.table["comparator_recist"].tolist()[:2] == ["none", "progression"]
    assert not any(said in sentence for sentence in found.sentences)
    write_lines(table, header, "0\tleft\t20\t15\t2000", "99\tleft\t26\t20\t4000")
    found, _ = write(bids_dir, tmp_path, tracks, visits, study_kind="targeted")
    assert "progression" not in found.table["comparator_recist"].tolist()
    assert any(said in sentence for sentence in found.sentences)


SD_MM, APART_MM, SEEN_AS_ONE_MM, THRESHOLD = 0.1, 0.3, 0.2, 5.5


def draw_subject(rng, n_visits=12, n_pairs=3, n_alone=2):
    """Clusters that do not grow, three pairs of them close together, followed by the linker with its own errors.

    What is measured is a list of (visit, place, value): pairs that happen to look closer than ``SEEN_AS_ONE_MM`` are
    one. The rest is what ``run`` would make of it: what reaches the threshold is linked, and every track measured at
    every visit.
    """
    n, days = 2 * n_pairs + n_alone, 7.0 * np.arange(n_visits)
    place = np.zeros((n, 3))
    place[:, 0] = 6.0 * np.concatenate([np.repeat(np.arange(n_pairs), 2), n_pairs + np.arange(n_alone)])
    place[1 : 2 * n_pairs : 2, 1] = APART_MM
    amounts = np.exp(rng.uniform(np.log(6.0), np.log(25.0), n))
    measured = []
    for visit in range(n_visits):
        values, at = amounts + rng.standard_normal(n), place + SD_MM * rng.standard_normal((n, 3))
        alone = set(range(n))
        for one, other in zip(range(0, 2 * n_pairs, 2), range(1, 2 * n_pairs, 2), strict=True):
            if np.linalg.norm(at[one] - at[other]) < SEEN_AS_ONE_MM:
                alone -= {one, other}
                measured.append((visit, (at[one] + at[other]) / 2, values[one] + values[other]))
        measured += [(visit, at[row], values[row]) for row in sorted(alone)]
    return follow(measured, days, rng)


def follow(measured, days, rng):
    found = [one for one in measured if one[2] >= THRESHOLD]
    ids = np.array([f"c{row}" for row in range(len(found))])
    detections = Detections(
        sessions=tuple(f"v{visit}" for visit in range(len(days))),
        days=days,
        cluster_ids=ids,
        visit=np.array([visit for visit, _, _ in found]),
        position_mm=np.array([at for _, at, _ in found]),
        covariance_mm2=np.repeat(SD_MM**2 * np.eye(3)[None], len(found), axis=0),
        moment_am2=PG * np.array([value for _, _, value in found]),
        moment_am2_err=np.full(len(found), PG),
        detection_probability=np.full((len(found), len(days)), 0.95),
        false_per_mm3=np.full(len(found), 1e-6),
        volume_mm3=1000.0,
    )
    config = LinkConfig(use_mass=False)
    tracks = link_detections(detections, config)
    places = place_tracks(detections, tracks, config)
    rows = []
    for row, visit in np.ndindex(places.detection.shape):
        at, seen = places.position_mm[row, visit], places.detection[row, visit]
        unseen = [
            value
            for when, where, value in measured
            if when == visit and value < THRESHOLD and np.linalg.norm(where - at) < APART_MM
        ]
        value = found[seen][2] if seen >= 0 else unseen[0] if unseen else rng.standard_normal()
        rows.append(
            {
                "track_id": tracks.track_ids[row],
                "session_id": f"v{visit}",
                **{f"{axis}_mm": x for axis, x in zip("xyz", at, strict=True)},
                "moment_am2": PG * value,
                "moment_am2_err": PG,
                "measurement": "detected" if seen >= 0 else "forced",
                "cluster_id": ids[seen] if seen >= 0 else "",
                "parent_ids": ";".join(tracks.parents[row]),
            }
        )
    return Table.from_rows(TRACKS, rows)


@pytest.mark.slow
def test_links_that_go_wrong_raise_no_false_alarm_because_lineages_are_joined():
    """120 subjects in whom nothing grows; one by one the same tracks do alarm, which is what joining is there for."""
    rng = np.random.default_rng(31)
    exact = dataclasses.replace(KNOWN, factor_sd_max=0.0, carry_over_max=0.0, sd_factor_max=1.0, link_reach_mm=1.0)
    joined = alone = 0
    for _ in range(120):
        tracks = draw_subject(rng)
        joined += assess_relapse(tracks, followed(12), exact, study_kind="targeted").first_alarm >= 0
        single = tracks.with_columns(parent_ids=np.full(len(tracks), ""))
        apart = dataclasses.replace(exact, link_reach_mm=0.0)
        alone += assess_relapse(single, followed(12), apart, study_kind="targeted").first_alarm >= 0
    assert joined <= 6  # alpha of them
    assert alone > 24
