"""Micrographs from files: grey levels, scales, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from PIL import Image

from ferrosight.errors import ImageError
from ferrosight.io.micrographs import read_mask, read_micrograph, write_mask

RNG = np.random.default_rng(0)
GREY = RNG.integers(20, 240, (81, 97)).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_eight_bits_keep_their_levels(tmp_path: Path) -> None:
    read = read_micrograph(save(tmp_path / "a.png", GREY))
    assert np.allclose(read.image, GREY / 255)
    assert np.isnan(read.nm_per_pixel)
    assert read.name == "a.png"


def test_sixteen_bits_keep_black_at_zero(tmp_path: Path) -> None:
    counts = (GREY.astype(np.uint16) * 12).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", counts)
    read = read_micrograph(tmp_path / "a.tif")
    assert read.n_levels == 65536
    ratio = read.image / counts
    assert np.ptp(ratio[read.image < 1]) < 1e-6
    assert read.image.max() == 1


def test_imagejs_and_omes_scales_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, resolution=(2.5, 2.5), metadata={"unit": "nm"})
    assert read_micrograph(tmp_path / "a.tif").nm_per_pixel == pytest.approx(0.4)
    tifffile.imwrite(
        tmp_path / "b.ome.tif", GREY, metadata={"axes": "YX", "PhysicalSizeX": 0.002, "PhysicalSizeXUnit": "µm"}
    )
    assert read_micrograph(tmp_path / "b.ome.tif").nm_per_pixel == pytest.approx(2.0)


def test_dots_per_inch_of_a_page_are_no_scale(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(72, 72), resolutionunit="INCH")
    assert np.isnan(read_micrograph(tmp_path / "a.tif").nm_per_pixel)


def test_mrc_gives_its_scale_and_its_first_row_below(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(GREY.astype(np.float32) - 100)
        file.voxel_size = 8.5
    read = read_micrograph(tmp_path / "a.mrc")
    assert read.nm_per_pixel == pytest.approx(0.85)
    assert np.argmax(read.image[::-1].mean(axis=1)) == np.argmax(GREY.mean(axis=1))


def test_a_coloured_bar_becomes_white(tmp_path: Path) -> None:
    colour = np.repeat(GREY[..., None], 3, axis=2)
    colour[70:74, 10:40] = (255, 255, 0)
    read = read_micrograph(save(tmp_path / "a.png", colour))
    assert (read.image[70:74, 10:40] == 1).all()
    assert np.allclose(read.image[:60], GREY[:60] / 255, atol=1e-6)


def test_a_photograph_is_refused(tmp_path: Path) -> None:
    colour = RNG.integers(0, 255, (81, 97, 3)).astype(np.uint8)
    with pytest.raises(ImageError, match=r"in grey was expected.*is it a photograph"):
        read_micrograph(save(tmp_path / "a.png", colour))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.ser", b"", "export it as TIFF or MRC"),
        ("a.dm4", b"", "it is cut short"),
        ("a.txt", b"", "must be of type"),
        ("a.png", b"no picture", "cannot be read as an image"),
        ("a.tif", b"no picture", "cannot be read as an image"),
        ("a.mrc", b"no picture", "cannot be read as an image"),
    ],
)
def test_what_is_no_micrograph_is_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=sentence):
        read_micrograph(tmp_path / name)


def test_one_grey_level_and_a_stack_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="one grey level"):
        read_micrograph(save(tmp_path / "a.png", np.full((80, 90), 7, np.uint8)))
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(RNG.normal(size=(5, 80, 90)).astype(np.float32))
    with pytest.raises(ImageError, match="must be one image"):
        read_micrograph(tmp_path / "a.mrc")
    with pytest.raises(ImageError, match="no such file"):
        read_micrograph(tmp_path / "b.png")


def test_masks_come_back_at_any_size_of_the_same_sides(tmp_path: Path) -> None:
    mask = np.zeros((80, 120), bool)
    mask[20:60, 30:90] = True
    write_mask(mask, tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", (80, 120)) == mask).all()
    assert (read_mask(tmp_path / "m.png", (40, 60)) == mask[::2, ::2]).all()
    with pytest.raises(ImageError, match="must have the sides"):
        read_mask(tmp_path / "m.png", (80, 80))


def save_gatan(path: Path, pixels: np.ndarray, edge: float = 1.7, unit: str = "nm") -> Path:
    data = pytest.importorskip("nion.data.DataAndMetadata")
    calibration = pytest.importorskip("nion.data.Calibration")
    writer = pytest.importorskip("nionswift_plugin.DM_IO.dm3_image_utils")
    edges = [calibration.Calibration(0.0, edge, unit)] * 2
    with path.open("wb") as file:
        writer.save_image(
            data.new_data_and_metadata(pixels, dimensional_calibrations=edges),
            file,
            int(path.suffix.removeprefix(".dm")),
        )
    return path


@pytest.mark.parametrize("suffix", [".dm3", ".dm4"])
@pytest.mark.parametrize(("edge", "unit", "nm"), [(1.7, "nm", 1.7), (0.002, "µm", 2.0), (0.5, "1/nm", np.nan)])
def test_digital_micrographs_own_files_keep_levels_and_scale(
    tmp_path: Path, suffix: str, edge: float, unit: str, nm: float
) -> None:
    counts = GREY.astype(np.int32) * 40
    read = read_micrograph(save_gatan(tmp_path / f"a{suffix}", counts, edge, unit))
    inside = read.image < 1
    assert np.allclose(read.image[inside] / counts[inside], 1 / np.percentile(counts, 99.99))
    assert read.nm_per_pixel == pytest.approx(nm, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.9])
def test_a_gatan_file_cut_short_is_refused_in_a_sentence(tmp_path: Path, share: float) -> None:
    whole = save_gatan(tmp_path / "a.dm4", GREY.astype(np.uint16)).read_bytes()
    (tmp_path / "a.dm4").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=r"a\.dm4 cannot be read as an image of type \.dm4"):
        read_micrograph(tmp_path / "a.dm4")


def test_a_diffraction_pattern_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="complex"):
        read_micrograph(save_gatan(tmp_path / "a.dm3", GREY.astype(np.complex64)))


def test_gatan_files_without_their_reader_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dm4").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "nionswift_plugin.DM_IO", None)
    monkeypatch.setitem(sys.modules, "nionswift_plugin.DM_IO.dm3_image_utils", None)
    with pytest.raises(ImageError, match=r"ferrosight\[dm\]"):
        read_micrograph(tmp_path / "a.dm4")
