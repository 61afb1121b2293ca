"""PET from a BIDS folder: units, decay, dose and body, and every contradiction that changes the number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ferrosight.errors import BidsError, SidecarError
from ferrosight.io.pet import find_pet_files, find_pet_visits, read_bids_pet
from ferrosight.types.pet import PetScan, PetUnit

SIDECAR: dict[str, Any] = {
    "Units": "kBq/mL",
    "TracerRadionuclide": "F18",
    "FrameTimesStart": [3600.0, 4200.0],
    "FrameDuration": [600.0, 900.0],
    "InjectionStart": 0,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 3600.0,
    "InjectedRadioactivity": 8.0,
    "InjectedRadioactivityUnits": "MBq",
    "AttenuationCorrection": "measured",
    "PatientWeight": 0.025,
}
DATA = np.random.default_rng(2).uniform(1, 9, (4, 5, 3, 2)).astype(np.float32)
HALF_LIFE = 109.77 * 60


def save(root: Path, name: str = "sub-01", data: np.ndarray = DATA, **changes: Any) -> None:
    folder = root / name.split("_")[0] / "pet"
    folder.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.diag([0.5, 0.6, 0.8, 1.0]))
    image.set_sform(image.affine, code=1)
    nib.save(image, folder / f"{name}_pet.nii.gz")
    content = {key: value for key, value in {**SIDECAR, **changes}.items() if value is not None}
    (folder / f"{name}_pet.json").write_text(json.dumps(content))


def read(root: Path, **changes: Any) -> PetScan:
    save(root, **changes)
    return read_bids_pet(root, "01")


def test_a_good_scan(tmp_path: Path) -> None:
    scan = read(tmp_path)
    np.testing.assert_allclose(scan.data, np.moveaxis(DATA, -1, 0) * 1e3, rtol=1e-6)
    assert (scan.unit, scan.decay_corrected_to, scan.isotope) == (PetUnit.BQ_ML, "scan", "18F")
    assert (scan.injected_bq, scan.injection_s, scan.weight_kg) == (8e6, -3600.0, 0.025)
    assert scan.frame_start_s.tolist() == [0.0, 600.0]
    assert scan.frame_duration_s.tolist() == [600.0, 900.0]
    assert list(scan.unknown) == ["height_m"]
    assert scan.notes == ()


@pytest.mark.parametrize(
    ("changes", "unit", "factor"),
    [
        ({"Units": "Bq/mL"}, PetUnit.BQ_ML, 1.0),
        ({"Units": "MBq/mL"}, PetUnit.BQ_ML, 1e6),
        ({"Units": "SUV"}, PetUnit.SUV_BW, 1.0),
        # Corrected to 600 s before the scan: what is left at its start is less.
        ({"Units": "Bq/mL", "ImageDecayCorrectionTime": 3000.0}, PetUnit.BQ_ML, 2 ** (-600 / HALF_LIFE)),
        # Corrected to the injection: stays there.
        ({"Units": "Bq/mL", "ImageDecayCorrectionTime": 0.0}, PetUnit.BQ_ML, 1.0),
    ],
)
def test_units_and_moments(tmp_path: Path, changes: dict[str, Any], unit: PetUnit, factor: float) -> None:
    scan = read(tmp_path, **changes)
    assert scan.unit == unit
    np.testing.assert_allclose(scan.data, np.moveaxis(DATA, -1, 0) * factor, rtol=1e-6)
    at_injection = unit.is_suv or changes.get("ImageDecayCorrectionTime") == 0.0
    assert scan.decay_corrected_to == ("injection" if at_injection else "scan")


def test_uncorrected_frames_are_corrected_each_by_its_own_time(tmp_path: Path) -> None:
    scan = read(tmp_path, Units="Bq/mL", ImageDecayCorrected=False, ImageDecayCorrectionTime=None)
    rate = np.log(2) / HALF_LIFE
    mean = [np.exp(-rate * t) * -np.expm1(-rate * d) / (rate * d) for t, d in ((0.0, 600.0), (600.0, 900.0))]
    want = np.moveaxis(DATA, -1, 0) / np.reshape(mean, (2, 1, 1, 1))
    np.testing.assert_allclose(scan.data, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Units": None}, "Units is missing"),
        ({"Units": "counts"}, "Units must be"),
        ({"FrameTimesStart": None}, "FrameTimesStart is missing"),
        ({"FrameTimesStart": [0.0]}, "2 frames"),
        ({"FrameDuration": [600.0, "x"]}, "FrameDuration"),
        ({"ImageDecayCorrected": None}, "ImageDecayCorrected is missing"),
        ({"ImageDecayCorrectionTime": None}, "ImageDecayCorrectionTime is missing"),
        ({"ImageDecayCorrectionTime": 60.0, "RadionuclideHalfLife": 4000.0}, "RadionuclideHalfLife"),
        ({"InjectedRadioactivity": -3.0}, "InjectedRadioactivity"),
    ],
)
def test_what_makes_the_voxels_numbers_meaningless_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SidecarError, match=words):
        read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"InjectedRadioactivity": None}, "injected_bq", "InjectedRadioactivity is missing"),
        ({"InjectedRadioactivityUnits": None}, "injected_bq", "InjectedRadioactivityUnits"),
        ({"InjectionStart": None}, "injection_s", "InjectionStart is missing"),
        ({"InjectionStart": 7200.0}, "injection_s", "after the first"),
        ({"TracerRadionuclide": None}, "half_life_s", "TracerRadionuclide"),
        ({"PatientWeight": None}, "weight_kg", "PatientWeight"),
        ({"AttenuationCorrection": "none"}, "attenuation", "AttenuationCorrection"),
    ],
)
def test_what_only_uptake_needs_is_kept_as_a_reason(
    tmp_path: Path, changes: dict[str, Any], name: str, words: str
) -> None:
    scan = read(tmp_path, **changes)
    assert set(scan.unknown) == {name, "height_m"}
    assert words in scan.unknown[name]


def test_contradictions_do_not_matter_to_what_is_uptake_already(tmp_path: Path) -> None:
    scan = read(tmp_path, Units="SUV", ImageDecayCorrected=None, InjectionStart=7200.0)
    np.testing.assert_allclose(scan.data, np.moveaxis(DATA, -1, 0))
    assert "does not change" in scan.notes[0]


def test_weight_comes_from_the_participants_only_with_its_unit(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\tweight\theight\tsex\nsub-01\t25\t180\tfemale\n")
    scan = read(tmp_path, PatientWeight=None)
    assert "Units" in scan.unknown["weight_kg"]
    units = {"weight": {"Units": "g"}, "height": {"Units": "cm"}}
    (tmp_path / "participants.json").write_text(json.dumps(units))
    scan = read(tmp_path, PatientWeight=None)
    assert (scan.weight_kg, scan.height_m, scan.sex, dict(scan.unknown)) == (0.025, 1.8, "F", {})


def test_the_documented_template_reads(tmp_path: Path) -> None:
    """The sidecar that docs/pet.md offers for preclinical exports is complete."""
    page = (Path(__file__).parents[2] / "docs" / "pet.md").read_text(encoding="utf-8")
    template = json.loads(page.split("```json", 1)[1].split("```", 1)[0])
    save(tmp_path, data=DATA[..., :1], **{**dict.fromkeys(SIDECAR), **template})
    scan = read_bids_pet(tmp_path, "01")
    assert set(scan.unknown) <= {"height_m"}


def test_one_image_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path, "sub-01_run-1")
    save(tmp_path, "sub-01_run-2")
    assert [file.run for file in find_pet_files(tmp_path, "sub-01")] == ["1", "2"]
    assert find_pet_files(tmp_path, "02") == ()
    with pytest.raises(BidsError, match="run-1_pet"):
        read_bids_pet(tmp_path, "01")
    assert read_bids_pet(tmp_path, "01", run="2").run == "2"
    with pytest.raises(BidsError, match="none"):
        read_bids_pet(tmp_path, "01", session="d07")


def test_visits_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    for name in ("sub-01", "sub-01_trc-FDG_run-1", "sub-01_trc-FES_rec-osem"):
        save(tmp_path, name)
    save(tmp_path, "sub-02")
    (tmp_path / "sub-02" / "pet" / "sub-02_pet.nii.gz").rename(tmp_path / "sub-02" / "pet" / "sub-03_pet.nii.gz")
    assert [file.name for file in find_pet_visits(tmp_path)] == [
        "sub-01_pet",
        "sub-01_trc-FDG_run-1_pet",
        "sub-01_trc-FES_rec-osem_pet",
    ]
    assert all(file.bids_dir == tmp_path and not file.rivals for file in find_pet_visits(tmp_path))


@pytest.mark.parametrize(
    ("stated", "expected"), [(1.5, (1.5, 1.5, 1.5)), ([1.2, 1.3, 2], (1.2, 1.3, 2.0)), (None, None)]
)
def test_the_point_spread_is_as_stated(tmp_path: Path, stated: Any, expected: Any) -> None:
    assert read(tmp_path, PointSpreadFWHM=stated).point_spread_mm == expected


@pytest.mark.parametrize("stated", [0, [1.2, 1.3], "1.5", [1, 1, True], [1, 1, -1]])
def test_a_point_spread_that_cannot_be_is_refused(tmp_path: Path, stated: Any) -> None:
    with pytest.raises(SidecarError, match="PointSpreadFWHM"):
        read(tmp_path, PointSpreadFWHM=stated)
