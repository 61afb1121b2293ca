"""A simulated study is a BIDS data set that is read back, whose subjects stay themselves from visit to visit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

import ferrosight as fs
from ferrosight.errors import InputError
from ferrosight.io import find_visits, read_participants, read_sessions, read_table
from ferrosight.simulate import Preset, get_preset, simulate_moved_scan
from ferrosight.study.simulation import simulate_study
from ferrosight.types import TRUTH, Rigid, Table

SHAPE = (24, 22, 20)


@pytest.fixture
def preset() -> Preset:
    """Quick to simulate: averages over voxels, k-space all at once."""
    whole = get_preset("mouse-brain-9t")
    scan = dataclasses.replace(whole.scan, point_spread="box", bandwidth_hz=math.inf, sub_sampling=4)
    content = dataclasses.replace(whole.content, cells=(5, 20, 40) * 100, grafts=(), cavities_um=(), n_trees=0)
    return dataclasses.replace(whole, scan=scan, content=content)


def read_truth(root: Path, name: str) -> tuple[Table, Rigid]:
    """A scan's truth, and its pose: the scanner's space to the subject's."""
    path = root / "truth" / f"{name}_truth.tsv"
    affine = np.array(json.loads(path.with_suffix(".json").read_text())["ToSubject"])
    return read_table(TRUTH, path), Rigid(affine[:3, :3], affine[:3, 3])


def place_in_subject(table: Table, pose: Rigid) -> dict[str, np.ndarray]:
    """Where each body lies in the subject, by its name."""
    places = pose.apply(np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=-1))
    return dict(zip(table["object_id"].tolist(), places, strict=True))


def test_subjects_and_visits_are_read_back_with_their_truth(tmp_path, preset):
    steps = []
    names = simulate_study(
        preset, tmp_path / "new", seed=3, n_subjects=2, n_visits=2, shape=SHAPE, on_progress=lambda *a: steps.append(a)
    )
    root = tmp_path / "new"
    assert names == ("sub-01_ses-d00", "sub-01_ses-d07", "sub-02_ses-d00", "sub-02_ses-d07")
    assert [visit.name for visit in find_visits(root)] == list(names)
    assert steps[0][1:] == (0, 4)
    assert steps[-1][1:] == (4, 4)
    people = read_participants(root)
    assert [(p.subject, p.species, p.group, p.label, p.study_kind) for p in people] == [
        (subject, "mus musculus", "mixed", "ferumoxides", "prelabelled") for subject in ("01", "02")
    ]
    assert [(s.session, s.day, s.baseline, s.label_day) for s in read_sessions(root, "02")] == [
        ("d00", 0.0, False, 0.0),
        ("d07", 7.0, False, 0.0),
    ]
    assert (root / ".bidsignore").read_text() == "truth/\n"
    described = json.loads((root / "sub-01" / "sub-01_sessions.json").read_text())
    assert set(described) == {"day", "baseline", "label_day"}
    assert "seed 3" in (root / "README").read_text()
    scan = fs.read_bids(root, "02", "d07")
    truth, pose = read_truth(root, "sub-02_ses-d07")
    own = json.loads((root / "truth" / "sub-02_ses-d07_truth.json").read_text())["Seed"]
    again, same = simulate_moved_scan(preset.build_spec(own, 7.0, SHAPE), own, pose, visit=1)
    np.testing.assert_allclose(scan.signal, again.signal, atol=1e-5)
    np.testing.assert_allclose(scan.affine, again.affine, atol=1e-5)
    np.testing.assert_allclose(truth["moment_am2"], same.table["moment_am2"], rtol=1e-12)


def test_iron_decays_or_stays_and_more_subjects_change_nothing(tmp_path, preset):
    simulate_study(preset, tmp_path / "a", seed=1, n_visits=3, shape=SHAPE)
    simulate_study(preset, tmp_path / "b", seed=1, n_subjects=2, shape=SHAPE)
    tables = [
        read_table(TRUTH, tmp_path / "a" / "truth" / f"sub-01_ses-d{day}_truth.tsv") for day in ("00", "07", "14")
    ]
    iron = [float(np.nansum(table["iron_pg"])) for table in tables]
    assert iron[0] > iron[1] > iron[2] > 0.2 * iron[0]
    alone = read_table(TRUTH, tmp_path / "b" / "truth" / "sub-01_truth.tsv")
    for name in TRUTH.names:
        np.testing.assert_array_equal(alone[name], tables[0][name])
    assert read_sessions(tmp_path / "b", "01") == ()


def test_a_baseline_has_the_same_anatomy_no_label_and_noise_of_its_own(tmp_path, preset):
    content = dataclasses.replace(preset.content, n_trees=1, n_haemorrhages=40)
    preset = dataclasses.replace(preset, content=content, scan=dataclasses.replace(preset.scan, tissue_fraction=0.9))
    names = simulate_study(preset, tmp_path / "a", seed=1, n_visits=2, has_baseline=True, shape=SHAPE)
    assert names == ("sub-01_ses-baseline", "sub-01_ses-d00", "sub-01_ses-d07")
    assert [visit.name for visit in find_visits(tmp_path / "a")] == list(names)
    assert [(s.session, s.day, s.baseline) for s in read_sessions(tmp_path / "a", "01")] == [
        ("baseline", -7.0, True),
        ("d00", 0.0, False),
        ("d07", 7.0, False),
    ]
    before, after = (
        read_table(TRUTH, tmp_path / "a" / "truth" / f"sub-01_ses-{name}_truth.tsv") for name in ("baseline", "d00")
    )
    assert {"vein", "haemorrhage"} <= set(before["kind"].tolist())
    others = after.where(after["kind"] != "labelled")
    assert len(others) == len(before) < len(after)
    for name in ("object_id", "kind", "radius_mm"):
        np.testing.assert_array_equal(before[name], others[name])
    there = [place_in_subject(*read_truth(tmp_path / "a", f"sub-01_ses-{name}")) for name in ("baseline", "d00")]
    for name, place in there[0].items():
        np.testing.assert_allclose(there[1][name], place, atol=1e-9)
    baseline, labelled = (fs.read_bids(tmp_path / "a", "01", session).signal for session in ("baseline", "d00"))
    # what is left in the corners, where there is no tissue, is noise
    corners = tuple(signal[:, :2, :2].ravel() for signal in (baseline, labelled))
    assert abs(np.vdot(*corners)) < 0.2 * np.vdot(corners[0], corners[0]).real
    simulate_study(preset, tmp_path / "b", seed=1, n_visits=2, shape=SHAPE)
    np.testing.assert_array_equal(labelled, fs.read_bids(tmp_path / "b", "01", "d00").signal)
    simulate_study(preset, tmp_path / "c", seed=1, has_baseline=True, shape=SHAPE)
    np.testing.assert_array_equal(baseline, fs.read_bids(tmp_path / "c", "01", "baseline").signal)


def test_bodies_keep_their_names_and_their_places_in_a_subject_that_lies_differently(tmp_path, preset):
    content = dataclasses.replace(preset.content, cells=(5, 20, 40) * 400, n_haemorrhages=40)
    preset = dataclasses.replace(preset, content=content)
    simulate_study(preset, tmp_path / "a", seed=2, n_visits=3, course="fading", shape=SHAPE)
    visits = [read_truth(tmp_path / "a", f"sub-01_ses-d{day}") for day in ("00", "07", "14")]
    np.testing.assert_array_equal(visits[0][1].affine, np.eye(4))
    assert all(visits[0][1].after(pose).angle_rad > 0.005 for _, pose in visits[1:])
    first, *later = (place_in_subject(*visit) for visit in visits)
    assert len(first) == len(visits[0][0])
    for places, day in zip(later, (7, 14), strict=True):
        moved = {name: float(np.linalg.norm(place - first[name])) for name, place in places.items()}
        assert max(step for name, step in moved.items() if not name.startswith("labelled")) < 1e-9
        # what is labelled walks 5 µm a day along each axis, and the centroid of its living cells with it
        labelled = [step for name, step in moved.items() if name.startswith("labelled")]
        assert 0 < min(labelled) < max(labelled) < 4 * 0.005 * math.sqrt(3 * day) + 0.03
    iron = [dict(zip(table["object_id"].tolist(), table["iron_pg"], strict=True)) for table, _ in visits]
    lost = [name for name in iron[0] if name.startswith("labelled") and iron[2].get(name, 0) > 0.999 * iron[0][name]]
    assert not lost


def test_where_clusters_grow_label_is_given_before_every_visit(tmp_path, preset):
    preset = dataclasses.replace(preset, content=dataclasses.replace(preset.content, cells=(5, 20, 40) * 400))
    simulate_study(preset, tmp_path / "a", seed=4, n_visits=3, course="growing", has_baseline=True, shape=SHAPE)
    root = tmp_path / "a"
    assert [(s.day, s.label_day) for s in read_sessions(root, "01")] == [(-7, 0), (0, 0), (7, 7), (14, 14)]
    assert [(p.group, p.study_kind) for p in read_participants(root)] == [("growing", "targeted")]
    first, last = (read_truth(root, f"sub-01_ses-d{day}")[0] for day in ("00", "14"))
    cells = [dict(zip(table["object_id"].tolist(), table["n_cells"], strict=True)) for table in (first, last)]
    labelled = [name for name in cells[1] if name.startswith("labelled")]
    assert any(name not in cells[0] for name in labelled)
    assert any(cells[1][name] > 1.5 * cells[0].get(name, math.inf) for name in labelled)
    assert any(cells[1][name] == cells[0].get(name) for name in labelled)


def test_a_course_needs_cells(tmp_path):
    with pytest.raises(InputError, match="leave --course fading out"):
        simulate_study(get_preset("gel-11t"), tmp_path / "a", course="fading")


def test_nothing_is_written_into_a_folder_that_holds_something(tmp_path, preset):
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(InputError, match="new or empty folder"):
        simulate_study(preset, tmp_path, shape=SHAPE)
    with pytest.raises(InputError, match="new or empty folder"):
        simulate_study(preset, tmp_path / "mine.txt", shape=SHAPE)
    with pytest.raises(InputError, match="a visit at least"):
        simulate_study(preset, tmp_path / "new", n_visits=0, shape=SHAPE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
