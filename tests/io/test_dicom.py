"""DICOM series come back where their voxels lie, whatever their files are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from ferrosight.errors import ImageError
from ferrosight.io.dicom import find_dicom_series, read_dicom_series, read_header

PetWriter = Callable[..., Path]
RNG = np.random.default_rng(7)
STORED = RNG.integers(-200, 1000, (1, 6, 5, 4))


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    series = read_dicom_series(sorted(folder.iterdir()))
    return series.data, series.grid.affine


@pytest.mark.parametrize("turned", [False, True])
def test_values_and_places_survive_unequal_oblique_axes(
    write_pet_dicom: PetWriter, oblique: np.ndarray, turned: bool
) -> None:
    """Slices are sorted along their normal, so that a series stored against it comes back reversed, at its places."""
    oblique = oblique @ np.diag([1, 1, -1 if turned else 1, 1])
    data, affine = read(write_pet_dicom(STORED, oblique))
    want = np.stack(np.meshgrid(*map(np.arange, STORED.shape[1:]), indexing="ij"), axis=-1) @ oblique[:3, :3].T
    want = want + oblique[:3, 3]
    order = slice(None) if turned else slice(None, None, -1)
    got = np.stack(np.meshgrid(*map(np.arange, data.shape[1:]), indexing="ij"), axis=-1) @ affine[:3, :3].T
    np.testing.assert_allclose(got + affine[:3, 3], want[:, :, order], atol=1e-5)
    np.testing.assert_array_equal(data, STORED[:, :, :, order])


def test_each_slice_has_a_scale_of_its_own(write_pet_dicom: PetWriter) -> None:
    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    data, _ = read(write_pet_dicom(STORED, affine, slopes=[0.5, 1.0, 2.0, 0.25]))
    np.testing.assert_allclose(data, STORED * np.array([0.5, 1.0, 2.0, 0.25]))


def test_volumes_at_the_same_place_follow_in_time(write_pet_dicom: PetWriter) -> None:
    stored = RNG.integers(0, 1000, (3, 4, 5, 6))
    folder = write_pet_dicom(
        stored,
        np.diag([-2.0, -3.0, 4.0, 1.0]),
        FrameReferenceTime=lambda volume, _z: 1e3 * (3 - volume),
    )
    data, _ = read(folder)
    np.testing.assert_array_equal(data, stored[::-1])


def test_a_missing_slice_is_noticed(write_pet_dicom: PetWriter) -> None:
    folder = write_pet_dicom(STORED)
    positions = {path: float(dcmread(path).ImagePositionPatient[2]) for path in folder.iterdir()}
    inner = sorted(positions, key=positions.__getitem__)[1]
    inner.unlink()
    with pytest.raises(ImageError, match="evenly spaced"):
        read(folder)


def test_a_missing_slice_of_one_volume_is_noticed(write_pet_dicom: PetWriter) -> None:
    folder = write_pet_dicom(RNG.integers(0, 9, (2, 4, 5, 6)))
    next(folder.iterdir()).unlink()
    with pytest.raises(ImageError, match="as many slices"):
        read(folder)


def test_the_same_slice_twice_is_noticed(write_pet_dicom: PetWriter) -> None:
    folder = write_pet_dicom(STORED)
    for path in list(folder.iterdir()):
        path.with_suffix(".copy").write_bytes(path.read_bytes())
    with pytest.raises(ImageError, match="same slice"):
        read(folder)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("ImagePositionPatient", None, "ImagePositionPatient is missing"),
        ("ImageOrientationPatient", [1, 0, 0, 0.1, 1, 0], "right angles"),
        ("PhotometricInterpretation", "MONOCHROME1", "MONOCHROME2"),
        ("NumberOfFrames", 3, "enhanced"),
        ("PixelSpacing", [9.0, 9.0], "PixelSpacing"),
    ],
)
def test_what_forms_no_volume_is_refused(write_pet_dicom: PetWriter, field: str, value: object, words: str) -> None:
    folder = write_pet_dicom(STORED)
    path = sorted(folder.iterdir())[-1]
    dataset = dcmread(path)
    if value is None:
        delattr(dataset, field)
    else:
        setattr(dataset, field, value)
    dataset.save_as(path)
    with pytest.raises(ImageError, match=words):
        read(folder)


def test_a_truncated_file_is_refused(write_pet_dicom: PetWriter) -> None:
    folder = write_pet_dicom(STORED)
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="cannot be read"):
        read(folder)


def test_series_are_told_apart_and_other_files_passed_over(write_pet_dicom: PetWriter, tmp_path: Path) -> None:
    one, two = write_pet_dicom(STORED, name="one"), write_pet_dicom(STORED, name="two")
    (one / "notes.txt").write_text("not DICOM")
    found = find_dicom_series(tmp_path)
    assert sorted(len(paths) for paths in found.values()) == [4, 4]
    with pytest.raises(ImageError, match="one DICOM series"):
        read_dicom_series([next(one.glob("*.dcm")), next(two.iterdir())])
    assert str(read_header(next(two.iterdir())).Modality) == "PT"


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none was found"):
        find_dicom_series(tmp_path)
