"""What is written as BIDS is read back as the same scan, and nothing is written over."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.errors import BidsError
from ferrosight.io.bids import find_visits, read_bids
from ferrosight.io.bids_write import write_scan, write_study, write_truth
from ferrosight.io.participants import Participant, Session, read_participants, read_sessions
from ferrosight.io.tables import read_table
from ferrosight.types import TRUTH, PhaseSign, Rigid, Scan, Table, Truth


def make_scan(seed=0, n_echoes=2, affine=None, **fields):
    rng = np.random.default_rng(seed)
    shape = (n_echoes, 4, 5, 3)
    given_fields = {"subject": "01", "b0_t": 7.0, **fields}
    return Scan(
        signal=1e3 * (rng.normal(size=shape) + 1j * rng.normal(size=shape)),
        echo_times_s=np.sort(rng.uniform(0.001, 0.04, n_echoes)),
        affine=np.diag([0.1, 0.2, 0.3, 1]) if affine is None else affine,
        **given_fields,
    )


def assert_same(found: Scan, scan: Scan) -> None:
    np.testing.assert_allclose(found.signal, scan.signal, rtol=2e-6, atol=2e-6 * np.abs(scan.signal).max())
    np.testing.assert_array_equal(found.echo_times_s, scan.echo_times_s)
    np.testing.assert_allclose(found.affine, scan.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found.b0_direction, scan.b0_direction, atol=1e-12)
    for name in ("b0_t", "phase_sign", "subject", "session", "run"):
        assert getattr(found, name) == getattr(scan, name)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_echoes=st.integers(1, 4),
    session=st.sampled_from(["", "d07"]),
    run=st.sampled_from(["", "2"]),
    sign=st.sampled_from(list(PhaseSign)),
    b0_t=st.floats(0.1, 20),
)
def test_a_written_scan_is_read_back(tmp_path_factory, seed, n_echoes, session, run, sign, b0_t):
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.05, 2, 3)
    affine[:3, 3] = rng.normal(size=3) * 20
    scan = make_scan(seed, n_echoes, affine, session=session, run=run, phase_sign=sign, b0_t=b0_t, b0_direction=axes[0])
    folder = tmp_path_factory.mktemp("bids")
    write_scan(scan, folder)
    assert_same(read_bids(folder, "01", session, run), scan)


def test_several_visits_share_a_data_set(tmp_path):
    scans = [
        make_scan(i, session=session, subject=subject)
        for i, (subject, session) in enumerate([("01", "d00"), ("01", "d07"), ("02", "")])
    ]
    for scan in scans:
        write_scan(scan, tmp_path, description="A small study")
    assert [visit.name for visit in find_visits(tmp_path)] == ["sub-01_ses-d00", "sub-01_ses-d07", "sub-02"]
    for scan in scans:
        assert_same(read_bids(tmp_path, scan.subject, scan.session), scan)
    assert [person.subject for person in read_participants(tmp_path)] == ["01", "02"]
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["Name"] == "A small study"
    assert description["DatasetType"] == "raw"
    assert description["BIDSVersion"]


def test_names_and_sidecars_are_bids(tmp_path):
    paths = write_scan(make_scan(n_echoes=2, session="a", run="3", phase_sign=PhaseSign.NEGATIVE), tmp_path)
    stem = "sub-01/ses-a/anat/sub-01_ses-a_run-3_echo"
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        f"{stem}-{echo}_part-{part}_MEGRE.nii.gz" for echo in (1, 2) for part in ("mag", "phase")
    ]
    sidecar = json.loads(paths[1].with_name("sub-01_ses-a_run-3_echo-1_part-phase_MEGRE.json").read_text())
    assert sidecar["Units"] == "rad"
    assert sidecar["PhaseSign"] == "negative"
    single = write_scan(make_scan(n_echoes=1, subject="02"), tmp_path)
    assert [path.name for path in single] == ["sub-02_part-mag_T2starw.nii.gz", "sub-02_part-phase_T2starw.nii.gz"]


def test_participants_keep_their_columns(tmp_path):
    write_scan(make_scan(), tmp_path)
    (tmp_path / "participants.tsv").write_text("participant_id\tspecies\nsub-01\tmus musculus\n")
    write_scan(make_scan(subject="02"), tmp_path)
    assert (tmp_path / "participants.tsv").read_text() == (
        "participant_id\tspecies\nsub-01\tmus musculus\nsub-02\tn/a\n"
    )


def test_nothing_is_written_over(tmp_path):
    paths = write_scan(make_scan(1), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BidsError, match=paths[0].name):
        write_scan(make_scan(2), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_foreign_data_set_is_not_added_to(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"Name": "mine", "BIDSVersion": "1.10.0"}')
    with pytest.raises(BidsError, match="another data set"):
        write_scan(make_scan(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_description.json"]


def test_a_scan_without_subject_is_refused(tmp_path):
    with pytest.raises(BidsError, match="subject"):
        write_scan(make_scan(subject=""), tmp_path)


def test_truth_lies_beside_the_scan(tmp_path):
    table = Table.from_rows(
        TRUTH,
        [
            {"x_mm": 1 / 3, "y_mm": -2.0, "z_mm": 1e-7, "moment_am2": 9.2e-14, "iron_pg": 1.0, "kind": "labelled"},
            {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0, "moment_am2": -1e-12, "kind": "calcification"},
        ],
    )
    pose = Rigid.from_twist([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    path = write_truth(Truth(table, 42, (0.1, 0.2, 0.3), pose), tmp_path, "01", "d07")
    assert path == tmp_path / "truth" / "sub-01_ses-d07_truth.tsv"
    found = read_table(TRUTH, path)
    for name in TRUTH.names:
        np.testing.assert_array_equal(found[name], table[name])
    described = json.loads(path.with_suffix(".json").read_text())
    assert (described["Seed"], described["VoxelMm"]) == (42, [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(described["ToSubject"], pose.affine)
    assert not (tmp_path / ".bidsignore").exists()
    write_scan(make_scan(subject="02"), tmp_path)
    write_truth(Truth(table, seed=42, voxel_mm=(0.1, 0.2, 0.3)), tmp_path, "02")
    assert (tmp_path / ".bidsignore").read_text() == "truth/\n"


def test_a_study_says_who_and_when_and_leaves_out_what_nobody_said(tmp_path):
    people = [Participant("01", "mus musculus", label="ferumoxides"), Participant("sub-02", "mus musculus")]
    sessions = [Session("d00", 0.0, baseline=True), Session("d07", 7.5, label_day=1.0, reference=412.5)]
    write_study(tmp_path, "A study", people, sessions, readme="Simulated.\n")
    assert (tmp_path / "participants.tsv").read_text() == (
        "participant_id\tspecies\tlabel\nsub-01\tmus musculus\tferumoxides\nsub-02\tmus musculus\tn/a\n"
    )
    assert set(json.loads((tmp_path / "participants.json").read_text())) == {"species", "label"}
    assert [one.label for one in read_participants(tmp_path)] == ["ferumoxides", ""]
    found = read_sessions(tmp_path, "02")
    assert [(one.session, one.day, one.baseline) for one in found] == [("d00", 0.0, True), ("d07", 7.5, False)]
    assert np.isnan(found[0].label_day)
    assert found[1].label_day == 1.0
    assert np.isnan(found[0].reference)
    assert found[1].reference == 412.5
    write_scan(make_scan(subject="02", session="d07"), tmp_path, description="A study")
    assert len(read_participants(tmp_path)) == 2
    with pytest.raises(BidsError, match="data set already"):
        write_study(tmp_path, "Another", people)


def test_a_study_without_sessions_has_no_table_of_them(tmp_path):
    write_study(tmp_path, "A study", [Participant("01")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset_description.json",
        "participants.json",
        "participants.tsv",
    ]
