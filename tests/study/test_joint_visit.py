"""MRI and PET of one visit through the whole command: one list, one pose, nothing done twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.study.test_pet_visit import SIDECAR

from ferrosight.io import find_pet_visits, read_table, write_scan
from ferrosight.simulate import (
    HotSphere,
    Point,
    ScanSpec,
    build_affine,
    build_pet_spec,
    simulate_pet_scan,
    simulate_scan,
)
from ferrosight.study.relapse_pet import gather_pet
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import JOINT_CLUSTERS, Config

CONFIG = Config().with_settings({"register.pet_header_err_mm": 0.2})
OPTIONS = StudyOptions(n_cpus=1, config=CONFIG)
BOTH, IRON, ACTIVE = (-5.2, 0.3, 0.9), (-6.9, 1.6, -0.6), (1.5, -5.0, 0.0)


@pytest.fixture(scope="module")
def bids_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crop of MRI inside a mouse that PET sees whole: labelled and active, labelled only, active only (outside)."""
    folder = tmp_path_factory.mktemp("study")
    shape = (40, 36, 32)
    affine = build_affine(shape, (0.15, 0.15, 0.15))
    affine[:3, 3] += (-6.0, 0.8, 0.0)
    spec = ScanSpec(
        shape,
        affine,
        (0.004, 0.008),
        9.4,
        sources=(Point(BOTH, 2.5e-12), Point(IRON, 2.5e-12)),
        snr=40.0,
        r2star_per_s=30.0,
        background_hz=20.0,
    )
    scan, _ = simulate_scan(spec, 3)
    write_scan(dataclasses.replace(scan, subject="01", session="d07"), folder)
    pet = build_pet_spec("small-animal", (HotSphere(BOTH, 0.2, 3000.0), HotSphere(ACTIVE, 0.2, 3000.0)))
    scanner = dataclasses.replace(pet.scanner, shape=(56, 48, 16))
    image = simulate_pet_scan(dataclasses.replace(pet, scanner=scanner), 4)[0]
    path = folder / "sub-01" / "ses-d07" / "pet" / "sub-01_ses-d07_pet.nii.gz"
    path.parent.mkdir(parents=True)
    saved = nib.Nifti1Image(image.data[0], image.affine)
    saved.set_sform(saved.affine, code=1)
    nib.save(saved, path)
    path.with_name("sub-01_ses-d07_pet.json").write_text(json.dumps(SIDECAR), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_visit_with_both_ends_in_one_list(bids_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS, pet=find_pet_visits(bids_dir))
    assert study.exit_code == 0, [one.error for one in (*study.every, *study.joint, *study.subjects)]
    (joint,) = study.joint
    assert joint.table == out / "sub-01" / "ses-d07" / "sub-01_ses-d07_desc-joint_clusters.tsv"
    table = read_table(JOINT_CLUSTERS, joint.table)
    places = np.stack([table[f"{axis}_mm"] for axis in "xyz"], axis=1)
    accepted = table["status"] == "accepted"
    for place, finding in ((BOTH, "both"), (IRON, "iron_without_activity"), (ACTIVE, "undecided")):
        row = int(np.linalg.norm(places - place, axis=1).argmin())
        assert np.linalg.norm(places[row] - place) < 0.3
        assert accepted[row]
        assert table["finding"][row] == finding
        if finding != "undecided":
            assert abs(table["moment_am2"][row] - 2.5e-12) < 4 * table["moment_am2_err"][row]
            assert 2e-13 < table["limit_moment_am2"][row] < 2.5e-12
        truth = 0.0 if finding == "iron_without_activity" else 3000.0
        assert abs(table["activity_bq"][row] - truth) < 4 * table["activity_bq_err"][row]
        assert table["activity_bq_low"][row] < table["activity_bq"][row] < table["upper_limit_bq"][row]
    assert accepted.sum() <= 5
    page = joint.table.with_name("sub-01_ses-d07_desc-joint_report.html").read_text(encoding="utf-8")
    assert "iron without activity" in page
    poses = json.loads((out / "sub-01" / "sub-01_poses.json").read_text(encoding="utf-8"))
    (pose,) = poses["visits"][0]["pet"]
    assert pose["source"] == "header"
    np.testing.assert_allclose(pose["to_mri"], np.eye(4))
    assert pose["error_mm"] == pytest.approx(0.2 * np.sqrt(3))
    before = joint.table.stat().st_mtime_ns
    (again,) = run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS, pet=find_pet_visits(bids_dir)).joint
    assert again.is_reused
    assert joint.table.stat().st_mtime_ns == before
    assert (again.n_accepted, again.findings, again.notes) == (joint.n_accepted, joint.findings, joint.notes)


@pytest.mark.slow
def test_pet_of_a_followed_visit_can_be_measured_anywhere_in_the_subjects_space(bids_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = find_pet_visits(bids_dir)
    assert gather_pet(files, out, "01", CONFIG.pet) == {}
    run_study(plan_study(bids_dir, out, OPTIONS), out, OPTIONS, pet=files)
    visit = gather_pet(files, out, "01", CONFIG.pet)["d07"]
    accepted = visit.hot_spots.where(visit.hot_spots["status"] == "accepted")
    places = np.stack([accepted[f"{axis}_mm"] for axis in "xyz"], axis=1)
    assert np.linalg.norm(places - ACTIVE, axis=1).min() < 0.3
    values, errors = visit.measure(np.array([ACTIVE, IRON, (99.0, 0.0, 0.0)]))
    assert abs(values[0] - 3000) < 4 * errors[0]
    assert abs(values[1]) < 4 * errors[1]
    assert np.isnan(values[2])
