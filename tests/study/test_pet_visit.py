"""PET scans of a study: found, analysed beside MRI or without it, and a bad one does not stop the others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ferrosight.errors import BidsError
from ferrosight.io import find_pet_visits, read_nifti, read_table
from ferrosight.simulate import HotSphere, build_pet_spec, contrast_activity_bq, simulate_pet_scan
from ferrosight.study.pet_visit import run_pet_visits
from ferrosight.study.run import StudyOptions, plan_study, run_study
from ferrosight.types import Config, PetScan
from ferrosight.types.schema import PET_CLUSTERS

OPTIONS = StudyOptions(n_cpus=1)
SPHERE = HotSphere((-5.8, 0.2, 2.1), 1.0, contrast_activity_bq(20, 1e5, 1.0))
SIDECAR = {
    "Units": "Bq/mL",
    "TracerRadionuclide": "F18",
    "FrameTimesStart": [3600],
    "FrameDuration": [600],
    "InjectionStart": 0,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 3600,
    "InjectedRadioactivity": 8.0,
    "InjectedRadioactivityUnits": "MBq",
    "AttenuationCorrection": "measured",
    "PatientWeight": 0.025,
    "PointSpreadFWHM": [1.26, 1.24, 1.49],
}


@pytest.fixture(scope="module")
def pet_scan() -> PetScan:
    """A mouse with one hot spot, twelve slices."""
    spec = build_pet_spec("small-animal", (SPHERE,))
    scanner = dataclasses.replace(spec.scanner, shape=(56, 48, 16))
    return simulate_pet_scan(dataclasses.replace(spec, scanner=scanner), 4)[0]


def save(folder: Path, name: str, scan: PetScan, **changes: object) -> Path:
    parts = [part for part in name.split("_") if part[:3] in ("sub", "ses")]
    path = folder.joinpath(*parts, "pet", f"{name}_pet.nii.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(scan.data[0], scan.affine)
    image.set_sform(image.affine, code=1)
    nib.save(image, path)
    content = {key: value for key, value in {**SIDECAR, **changes}.items() if value is not None}
    path.with_name(f"{name}_pet.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_subject_with_pet_alone_is_analysed(pet_scan: PetScan, tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    image = save(folder, "sub-01_ses-d07_trc-FDG", pet_scan)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    planned = plan_study(folder, out, OPTIONS)
    assert planned == ()
    study = run_study(planned, out, OPTIONS, pet=find_pet_visits(folder))
    assert (study.exit_code, study.visits) == (0, ())
    stem = out / "sub-01" / "ses-d07" / "pet" / "sub-01_ses-d07_trc-FDG"
    table = read_table(PET_CLUSTERS, Path(f"{stem}_clusters.tsv"))
    row = 0  # the strongest
    place = np.array([table[name][row] for name in ("x_mm", "y_mm", "z_mm")])
    assert np.linalg.norm(place - SPHERE.centre_mm) < 0.3
    assert table["status"][row] == "accepted"
    assert abs(table["activity_bq"][row] - SPHERE.activity_bq) < 4 * table["activity_bq_err"][row]
    assert table["suv_peak"][row] > 0
    assert np.isnan(table["iron_pg"]).all()
    summary = json.loads(Path(f"{stem}_summary.json").read_text(encoding="utf-8"))
    assert summary["catalogue"]["n_accepted"] == np.count_nonzero(table["status"] == "accepted")
    assert summary["catalogue"]["point_spread_mm"] == [1.26, 1.24, 1.49]
    assert set(summary["inputs_sha256"]) == {path.relative_to(folder).as_posix() for path in before}
    assert read_nifti(Path(f"{stem}_evidence.nii.gz")).data.shape[-3:] == pet_scan.data.shape[1:]
    (listed,) = json.loads((out / "summary.json").read_text(encoding="utf-8"))["visits"]
    assert (listed["visit"], listed["modality"], listed["status"]) == ("sub-01_ses-d07_trc-FDG_pet", "pet", "done")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert image in before


@pytest.mark.usefixtures("stages")
def test_a_bad_pet_scan_is_recorded_and_everything_else_goes_on(
    bids_dir: Path, tmp_path: Path, pet_scan: PetScan
) -> None:
    save(bids_dir, "sub-02_ses-d07", pet_scan, Units="furlongs")
    save(bids_dir, "sub-03", pet_scan, PointSpreadFWHM=None)
    seen: list[str] = []
    study = run_study(
        plan_study(bids_dir, tmp_path / "out", OPTIONS),
        tmp_path / "out",
        OPTIONS,
        pet=find_pet_visits(bids_dir),
        on_visit=lambda outcome: seen.append(outcome.name),
    )
    assert study.exit_code == 1
    assert seen == ["sub-01", "sub-02_ses-d07", "sub-02_ses-d07_pet", "sub-03_pet"]
    assert [scan.name for scan in study.failed] == seen[2:]
    assert "Units" in study.pet[0].error
    assert "PointSpreadFWHM" in study.pet[1].error
    assert not (tmp_path / "out" / "sub-03").exists()


def test_a_width_in_the_settings_goes_before_the_sidecar(pet_scan: PetScan, tmp_path: Path) -> None:
    save(tmp_path / "study", "sub-01", pet_scan, PointSpreadFWHM=None)
    config = Config().with_settings({"pet.fwhm_mm": 1.25, "pet.axial_fwhm_mm": 1.5})
    (outcome,) = run_pet_visits(find_pet_visits(tmp_path / "study"), tmp_path / "out", config, 1)
    assert outcome.summary is not None
    assert outcome.summary.point_spread_mm == (1.25, 1.25, 1.5)
    assert outcome.summary.positron_range_mm == 0.6


def test_images_whose_products_would_share_a_name_are_refused(pet_scan: PetScan, tmp_path: Path) -> None:
    for task in ("rest", "work"):
        save(tmp_path / "study", f"sub-01_task-{task}", pet_scan)
    (outcome,) = run_pet_visits(find_pet_visits(tmp_path / "study"), tmp_path / "out", Config(), 1)
    assert "could be any of" in outcome.error
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("stages")
def test_a_session_may_hold_pet_only_but_must_exist(bids_dir: Path, tmp_path: Path, pet_scan: PetScan) -> None:
    save(bids_dir, "sub-02_ses-d14", pet_scan)
    assert plan_study(bids_dir, tmp_path / "out", OPTIONS, sessions=["d14"]) == ()
    assert [file.session for file in find_pet_visits(bids_dir, sessions=["ses-d14"])] == ["d14"]
    with pytest.raises(BidsError, match="d15"):
        plan_study(bids_dir, tmp_path / "out", OPTIONS, sessions=["d14", "d15"])
    assert find_pet_visits(bids_dir, subjects=["01"]) == ()


def read_words(page: Path) -> str:
    return page.read_text(encoding="utf-8").replace("\u00a0", " ")


def test_the_group_level_knows_pet(pet_scan: PetScan, tmp_path: Path) -> None:
    """The same page and summary as those of a whole run; what failed and what is missing is said."""
    folder, whole, parts = tmp_path / "study", tmp_path / "whole", tmp_path / "parts"
    save(folder, "sub-01_ses-d07", pet_scan)
    (folder / "participants.tsv").write_text("participant_id\tgroup\nsub-01\ttreated\n", encoding="utf-8")
    days = "session_id\tday\nses-d07\t7\n"
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text(days, encoding="utf-8")
    files = find_pet_visits(folder)
    assert run_study((), parts, OPTIONS, pet=files, level="group").exit_code == 2
    assert not parts.exists()
    assert run_study((), parts, OPTIONS, pet=files, level="participant").exit_code == 0
    assert not (parts / "summary.json").exists()
    seen: list[str] = []
    study = run_study((), parts, OPTIONS, pet=files, level="group", on_visit=lambda one: seen.append(one.name))
    assert (study.exit_code, seen) == (0, ["sub-01_ses-d07_pet"])
    first = run_study((), whole, OPTIONS, pet=files)
    assert study.pet[0].summary == first.pet[0].summary
    pages = [read_words(out / "report.html") for out in (whole, parts)]
    assert pages[0] == pages[1]
    assert "1 subject, 1 PET scan analysed, none failed." in pages[0]
    assert "day 7, highest SUV" in pages[0]
    assert "tracks" not in pages[0].split("<tbody>")[0].split("<thead>")[1]
    save(folder, "sub-02", pet_scan, Units="furlongs")
    save(folder, "sub-03", pet_scan)
    files = find_pet_visits(folder)
    run_study((), parts, OPTIONS, pet=files[:2], level="participant")
    again = run_study((), parts, OPTIONS, pet=files, level="group")
    assert again.exit_code == 1
    assert "Units" in again.pet[1].error
    assert "not been analysed yet" in again.pet[2].error
    assert "PET: " in (parts / "report.html").read_text(encoding="utf-8").split('id="failures"')[1]


@pytest.mark.usefixtures("stages")
def test_the_group_level_has_pet_beside_mri(bids_dir: Path, tmp_path: Path, pet_scan: PetScan) -> None:
    save(bids_dir, "sub-02_ses-d07", pet_scan)
    save(bids_dir, "sub-03", pet_scan)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    files = find_pet_visits(bids_dir)
    run_study(plan_study(bids_dir, whole, OPTIONS), whole, OPTIONS, pet=files)
    planned = plan_study(bids_dir, parts, OPTIONS)
    run_study(planned, parts, OPTIONS, pet=files, level="participant")
    study = run_study(planned, parts, OPTIONS, pet=files, level="group")
    assert [one.name for one in study.every] == ["sub-01", "sub-02_ses-d07", "sub-02_ses-d07_pet", "sub-03_pet"]
    page = read_words(parts / "report.html")
    assert page == read_words(whole / "report.html")
    assert "3 subjects, 2 visits and 2 PET scans analysed, none failed." in page
