"""PET from DICOM: units, decay, dose and body, and every contradiction that changes the number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ferrosight.errors import ImageError, SidecarError
from ferrosight.io.pet_dicom import read_pet_dicom
from ferrosight.types.pet import PetUnit

PetWriter = Callable[..., Path]
STORED = np.random.default_rng(3).integers(10, 1000, (1, 4, 3, 5))
AFFINE = np.diag([-2.0, -3.0, 4.0, 1.0])
PHILIPS = "Philips PET Private Group"


def test_a_good_series(write_pet_dicom: PetWriter) -> None:
    scan = read_pet_dicom(write_pet_dicom(STORED, AFFINE), subject="01")
    np.testing.assert_array_equal(scan.data, STORED)
    assert (scan.unit, scan.decay_corrected_to, scan.isotope) == (PetUnit.BQ_ML, "scan", "18F")
    assert (scan.injected_bq, scan.injection_s, scan.weight_kg) == (3e8, -3600.0, 80.0)
    assert (scan.height_m, scan.sex, scan.subject) == (1.8, "M", "01")
    assert scan.frame_duration_s.tolist() == [600.0]
    assert (dict(scan.unknown), scan.notes) == ({}, ())


@pytest.mark.parametrize(
    ("fields", "private", "unit", "factor"),
    [
        ({"Units": "GML", "SUVType": "BW"}, {}, PetUnit.SUV_BW, 1.0),
        ({"Units": "GML"}, {}, PetUnit.SUV_BW, 1.0),
        ({"Units": "GML", "SUVType": "LBMJANMA"}, {}, PetUnit.SUV_LBM_JANMAHASATIAN, 1.0),
        ({"Units": "CNTS"}, {(0x7053, PHILIPS, 0x09): 2.5}, PetUnit.BQ_ML, 2.5),
        ({"Units": "CNTS"}, {(0x7053, PHILIPS, 0x00): 0.125}, PetUnit.SUV_BW, 0.125),
        # Activity is preferred: it can be turned into every uptake value.
        ({"Units": "CNTS"}, {(0x7053, PHILIPS, 0x00): 0.125, (0x7053, PHILIPS, 0x09): 2.5}, PetUnit.BQ_ML, 2.5),
        # A factor of zero means that there is none.
        ({"Units": "CNTS"}, {(0x7053, PHILIPS, 0x00): 0.125, (0x7053, PHILIPS, 0x09): 0.0}, PetUnit.SUV_BW, 0.125),
    ],
)
def test_units(
    write_pet_dicom: PetWriter, fields: dict[str, Any], private: dict[Any, float], unit: PetUnit, factor: float
) -> None:
    scan = read_pet_dicom(write_pet_dicom(STORED, AFFINE, private=private, **fields))
    assert scan.unit == unit
    np.testing.assert_allclose(scan.data, STORED * factor, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Units": "CNTS"}, "7053,1009"),
        ({"Units": "PROPCPS"}, "Units"),
        ({"Units": None}, "Units"),
        ({"Units": lambda _volume, z: "BQML" if z else "GML"}, "Units must be the same"),
        ({"Units": "GML", "SUVType": "BSA"}, "SUVType"),
        ({"DecayCorrection": None}, "DecayCorrection"),
        ({"DecayCorrection": "NONE"}, "contains DECY"),
        ({"CorrectedImage": ["ATTN"]}, "does not contain DECY"),
        ({"DecayFactor": 1.46}, "DecayFactor"),
        ({"DecayCorrection": "ADMIN", "DecayFactor": 1.03}, "DecayFactor"),
        ({"PatientWeight": -3.0}, "PatientWeight"),
        ({"Modality": "CT"}, "Modality PT"),
    ],
)
def test_what_makes_the_voxels_numbers_meaningless_is_refused(
    write_pet_dicom: PetWriter, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises((SidecarError, ImageError), match=words):
        read_pet_dicom(write_pet_dicom(STORED, AFFINE, **fields))


@pytest.mark.parametrize("stated", [1.0, 1.0320])
def test_a_decay_factor_that_agrees_is_taken(write_pet_dicom: PetWriter, stated: float) -> None:
    """By the frame's start (1) or by its mean (ten minutes of 18F: λD/2 = 3.2 %)."""
    read_pet_dicom(write_pet_dicom(STORED, AFFINE, DecayFactor=stated))


@pytest.mark.parametrize(
    ("drug", "fields", "name", "words"),
    [
        ({"RadionuclideTotalDose": None}, {}, "injected_bq", "RadionuclideTotalDose"),
        ({"RadionuclideTotalDose": 300.0}, {}, "injected_bq", "MBq"),
        ({"RadionuclideHalfLife": 4062.0}, {}, "half_life_s", "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartDateTime": "20240306091500"}, {}, "injection_s", "after the scan"),
        ({"RadiopharmaceuticalStartTime": "081500"}, {}, "injection_s", "contradict"),
        (
            {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": None},
            {},
            "injection_s",
            "missing",
        ),
        (
            {"RadiopharmaceuticalStartDateTime": None, "RadionuclideHalfLife": 282276.0, "isotope": "89Zr"},
            {},
            "injection_s",
            "does not tell the day",
        ),
        ({}, {"PatientWeight": None}, "weight_kg", "PatientWeight"),
        ({}, {"PatientWeight": 25000.0}, "weight_kg", "looks like g"),
        ({}, {"PatientSize": 180.0}, "height_m", "looks like cm"),
        ({}, {"CorrectedImage": ["DECY"]}, "attenuation", "ATTN"),
    ],
)
def test_what_only_uptake_needs_is_kept_as_a_reason(
    write_pet_dicom: PetWriter, drug: dict[str, Any], fields: dict[str, Any], name: str, words: str
) -> None:
    scan = read_pet_dicom(write_pet_dicom(STORED, AFFINE, drug=drug, **fields))
    assert list(scan.unknown) == [name]
    assert words in scan.unknown[name]


def test_midnight_between_injection_and_scan(write_pet_dicom: PetWriter) -> None:
    late = {"SeriesTime": "003000", "AcquisitionTime": "003000"}
    drug = {"RadiopharmaceuticalStartDateTime": None, "RadiopharmaceuticalStartTime": "233000"}
    assert read_pet_dicom(write_pet_dicom(STORED, AFFINE, drug=drug, **late)).injection_s == -3600


def test_a_series_made_later_takes_the_scans_own_time(write_pet_dicom: PetWriter) -> None:
    later = read_pet_dicom(write_pet_dicom(STORED, AFFINE, name="later", SeriesTime="180000"))
    assert later.injection_s == -3600
    assert "SeriesTime" in later.notes[0]
    private = {(0x0009, "GEMS_PETD_01", 0x0D): 20240305101000}
    vendor = read_pet_dicom(write_pet_dicom(STORED, AFFINE, name="ge", private=private, SeriesTime="180000"))
    assert vendor.injection_s == -3300


def test_uncorrected_data_are_corrected_to_the_scans_start(write_pet_dicom: PetWriter) -> None:
    stored = np.random.default_rng(5).integers(1, 9, (2, 4, 3, 5))
    scan = read_pet_dicom(
        write_pet_dicom(
            stored,
            AFFINE,
            DecayCorrection="NONE",
            CorrectedImage=["ATTN"],
            AcquisitionTime=lambda volume, _z: "101500" if volume == 0 else "112500",
            FrameReferenceTime=lambda volume, _z: 6e5 * volume,
        )
    )
    rate = np.log(2) / 6586.2
    mean = [np.exp(-rate * t) * -np.expm1(-rate * 600) / (rate * 600) for t in (0.0, 4200.0)]
    np.testing.assert_allclose(scan.data, stored / np.reshape(mean, (2, 1, 1, 1)), rtol=1e-6)
    assert scan.frame_start_s.tolist() == [0.0, 4200.0]
    assert scan.decay_corrected_to == "scan"


def test_contradictions_do_not_matter_to_what_is_uptake_already(write_pet_dicom: PetWriter) -> None:
    scan = read_pet_dicom(
        write_pet_dicom(
            STORED,
            AFFINE,
            drug={"RadiopharmaceuticalStartDateTime": "20240306091500"},
            Units="GML",
            DecayCorrection="ADMIN",
            DecayFactor=1.01,
        )
    )
    np.testing.assert_array_equal(scan.data, STORED)
    assert sum("do not depend" in note or "does not change" in note for note in scan.notes) == 2


@pytest.mark.data
@pytest.mark.parametrize("patient", ["STS_002", "STS_025"])
def test_patients_already_in_uptake_values_equal_their_nifti_twins(data_dir: Path, patient: str) -> None:
    folder = data_dir / "pet" / "ibsi"
    scan = read_pet_dicom(folder / "dicom" / patient / "PET" / "image")
    twin: Any = nib.load(folder / "nifti" / patient / "PET_image.nii.gz")
    assert scan.unit == PetUnit.SUV_BW
    np.testing.assert_allclose(scan.data[0], twin.get_fdata(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(scan.affine, twin.affine, atol=1e-3)
