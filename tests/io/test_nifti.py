"""Images are read whole or refused by name, and written whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.errors import ImageError
from ferrosight.io.nifti import read_nifti, sidecar_path, write_nifti
from ferrosight.types import Grid


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(5, 7, 4)).astype(np.float32)


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_oblique_volume_is_read_where_it_lies(tmp_path, volume, oblique, extension):
    image = read_nifti(save(tmp_path / f"a{extension}", volume, oblique))
    assert image.data.shape == (1, 5, 7, 4)
    assert image.data.dtype == np.float32
    np.testing.assert_array_equal(image.data[0], volume)
    np.testing.assert_allclose(image.grid.affine, oblique, atol=1e-6)


def test_axis_order_and_flips_are_kept_as_stored(tmp_path, volume):
    affine = np.array([[0, 0.036, 0, -4.6], [0, 0, -0.036, 0.1], [0.055, 0, 0, -7], [0, 0, 0, 1.0]])
    image = read_nifti(save(tmp_path / "a.nii.gz", volume, affine))
    np.testing.assert_array_equal(image.data[0], volume)
    np.testing.assert_allclose(image.grid.axes, [[0, 1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-6)


def test_nifti_two_is_read(tmp_path, volume, oblique):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti2Image(volume, oblique), path)
    np.testing.assert_array_equal(read_nifti(path).data[0], volume)


def test_big_endian_is_read(tmp_path, volume, oblique):
    path = tmp_path / "a.nii"
    image = nib.Nifti1Image(volume.astype(">f4"), oblique, nib.Nifti1Header(endianness=">"))
    nib.save(image, path)
    np.testing.assert_array_equal(read_nifti(path).data[0], volume)


def test_fourth_axis_comes_first(tmp_path, oblique):
    data = np.random.default_rng(2).normal(size=(5, 7, 4, 3)).astype(np.float32)
    image = read_nifti(save(tmp_path / "a.nii.gz", data, oblique))
    np.testing.assert_array_equal(image.data, np.moveaxis(data, -1, 0))


def test_trailing_axes_of_one_are_dropped(tmp_path, volume, oblique):
    assert read_nifti(save(tmp_path / "a.nii.gz", volume[..., None, None], oblique)).data.shape == (1, 5, 7, 4)


def test_header_scaling_is_applied_once(tmp_path, oblique):
    stored = np.arange(5 * 7 * 4, dtype=np.int16).reshape(5, 7, 4)
    image = nib.Nifti1Image(stored, oblique)
    image.header.set_slope_inter(2.0, -100.0)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(_with_slope(image, 2.0, -100.0)))
    np.testing.assert_array_equal(read_nifti(path).data[0], stored * 2.0 - 100.0)


def _with_slope(image: nib.Nifti1Image, slope: float, inter: float) -> bytes:
    """nibabel rescales on saving; this patches the header's bytes instead (offsets of NIfTI-1)."""
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([slope, inter], dtype="<f4").tobytes()
    return bytes(raw)


def test_micrometres_become_millimetres(tmp_path, volume):
    image = nib.Nifti1Image(volume, np.diag([50.0, 60.0, 70.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii.gz").grid.voxel_mm, (0.05, 0.06, 0.07), rtol=1e-6)


def test_scanner_qform_is_preferred_to_an_aligned_sform(tmp_path, volume, oblique):
    image = nib.Nifti1Image(volume, None)
    image.set_sform(np.diag([1.0, 1, 1, 1]), code=2)
    image.set_qform(oblique, code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii.gz").grid.affine, oblique, atol=1e-5)


def refuses(path: Path, *words: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_nifti(path)
    for word in (str(path), *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1), (1, 8, 9), (8, 9, 1, 3)])
def test_two_dimensional_image_is_refused(tmp_path, oblique, shape):
    refuses(save(tmp_path / "flat.nii.gz", np.ones(shape, np.float32), oblique), "three-dimensional", "2-D")


def test_five_axes_are_refused(tmp_path, oblique):
    refuses(save(tmp_path / "a.nii.gz", np.ones((3, 3, 3, 2, 2), np.float32), oblique), "three axes")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(tmp_path, volume, oblique, bad):
    volume[2, 3, 1] = bad
    refuses(save(tmp_path / "a.nii.gz", volume, oblique), "1 of its 140 values", "(2, 3, 1)")


def test_volume_of_zeros_is_refused(tmp_path, oblique):
    refuses(save(tmp_path / "a.nii.gz", np.zeros((5, 7, 4), np.float32), oblique), "nothing but zeros")


def test_one_echo_of_zeros_is_refused_with_its_number(tmp_path, oblique):
    data = np.ones((5, 7, 4, 3), np.float32)
    data[..., 1] = 0
    refuses(save(tmp_path / "a.nii.gz", data, oblique), "volume 1", "nothing but zeros")


def test_sheared_affine_is_refused(tmp_path, volume, oblique):
    oblique[:3, 1] += 0.2 * oblique[:3, 0]
    refuses(save(tmp_path / "a.nii.gz", volume, oblique), "right angles")


def test_image_without_orientation_is_refused(tmp_path, volume):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(volume, None), path)
    refuses(path, "B0")


def test_template_space_is_refused(tmp_path, volume, oblique):
    image = nib.Nifti1Image(volume, None)
    image.set_sform(oblique, code=4)
    nib.save(image, tmp_path / "a.nii.gz")
    refuses(tmp_path / "a.nii.gz", "template")


def test_complex_image_is_refused(tmp_path, volume, oblique):
    refuses(save(tmp_path / "a.nii.gz", volume.astype(np.complex64), oblique), "real numbers")


def test_missing_file_is_refused(tmp_path):
    refuses(tmp_path / "absent.nii.gz", "no such file")


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@settings(max_examples=25, deadline=None)
@given(kept=st.floats(0.0, 0.999))
def test_truncation_anywhere_is_refused(tmp_path_factory, extension, kept):
    folder = tmp_path_factory.mktemp("truncated")
    volume = np.random.default_rng(3).normal(size=(9, 8, 7)).astype(np.float32)
    path = save(folder / f"a{extension}", volume, np.diag([0.1, 0.2, 0.3, 1]))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refuses(path)


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0.1, 0.9999), flip=st.integers(1, 255))
def test_a_damaged_byte_in_a_gzip_file_is_refused(tmp_path_factory, place, flip):
    folder = tmp_path_factory.mktemp("damaged")
    volume = np.random.default_rng(3).normal(size=(9, 8, 7)).astype(np.float32)
    path = save(folder / "a.nii.gz", volume, np.diag([0.1, 0.2, 0.3, 1]))
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] ^= flip
    path.write_bytes(bytes(raw))
    refuses(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b" + bytes(50), bytes(400)])
def test_what_is_no_nifti_is_refused(tmp_path, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    refuses(path, "truncated or corrupt")


def test_header_that_promises_too_much_is_refused(tmp_path, volume, oblique):
    raw = bytearray(nib.Nifti1Image(volume, oblique).to_bytes())
    raw[40:56] = np.array([3, 32000, 32000, 32000, 1, 1, 1, 1], "<i2").tobytes()
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(raw))
    refuses(path)


@pytest.mark.parametrize("lead", [(), (1,), (3,)])
def test_what_is_written_is_read_back(tmp_path, oblique, lead):
    data = np.random.default_rng(4).normal(size=(*lead, 5, 7, 4)).astype(np.float32)
    grid = Grid((5, 7, 4), oblique)
    path = tmp_path / "deep" / "a.nii.gz"
    written = write_nifti(data, grid, path, {"Units": "Hz"})
    assert written == (path.with_name("a.json"), path)
    image = read_nifti(path)
    np.testing.assert_array_equal(image.data, data.reshape(-1, 5, 7, 4))
    np.testing.assert_allclose(image.grid.affine, oblique, rtol=1e-6, atol=1e-6)
    assert json.loads(sidecar_path(path).read_text()) == {"Units": "Hz"}
    header = nib.load(path).header
    assert int(header["sform_code"]) == int(header["qform_code"]) == 1
    np.testing.assert_allclose(header.get_qform(), oblique, atol=1e-5)


def test_masks_are_bytes_and_missing_values_stay(tmp_path, oblique):
    grid = Grid((5, 7, 4), oblique)
    mask = np.zeros(grid.shape, bool)
    mask[1:3] = True
    write_nifti(mask, grid, tmp_path / "m.nii.gz")
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint8
    write_nifti(np.where(mask, 1.5, np.nan), grid, tmp_path / "f.nii.gz")
    np.testing.assert_array_equal(np.isnan(nib.load(tmp_path / "f.nii.gz").get_fdata()), ~mask)
    assert not (tmp_path / "m.json").exists()


def test_the_same_data_give_the_same_bytes(tmp_path, volume, oblique):
    grid = Grid((5, 7, 4), oblique)
    for name in "ab":
        write_nifti(volume, grid, tmp_path / f"{name}.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_interrupted_write_leaves_the_old_image(tmp_path, volume, oblique, monkeypatch):
    grid = Grid((5, 7, 4), oblique)
    path = tmp_path / "a.nii.gz"
    write_nifti(volume, grid, path)
    before = path.read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gzip.GzipFile, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_nifti(volume * 2, grid, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_data_off_their_grid_are_a_programming_error(tmp_path, volume, oblique):
    with pytest.raises(ValueError, match="grid"):
        write_nifti(volume, Grid((5, 7, 5), oblique), tmp_path / "a.nii.gz")
    with pytest.raises(ValueError, match=r"nii\.gz"):
        write_nifti(volume, Grid((5, 7, 4), oblique), tmp_path / "a.nii")
