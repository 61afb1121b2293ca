"""One micrograph from scale to tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.errors import ImageError, InputError
from ferrosight.io.micrographs import read_micrograph
from ferrosight.types.micrograph import MICROGRAPH_REMARKS, Micrograph, MicrographOptions
from ferrosight.uptake.micrographs import DrawnMasks, measure_micrograph

from .conftest import burn_bar

pytestmark = pytest.mark.slow

NM = 1.5
GIVEN = MicrographOptions(nm_per_pixel=NM)
TRUE_AREA_NM2 = math.pi * 180 * 150 * NM**2


def test_the_lysosome_and_its_particles_are_measured(lysosome: NDArray[np.float32]) -> None:
    measured = measure_micrograph(Micrograph("a.png", lysosome), GIVEN)
    (row,) = measured.bodies.to_pandas().to_dict("records")
    assert row["body_area_nm2"] == pytest.approx(TRUE_AREA_NM2, rel=0.06)
    assert row["particle_nm"] == pytest.approx(0.87 * 12 * NM, rel=0.1)  # a ball's profile at half of its peak
    assert row["n_particles"] == pytest.approx(300, rel=0.1)
    assert row["n_particles_low"] < row["n_particles"] < row["n_particles_high"]
    assert 0 < row["particle_area_nm2"] < row["body_area_nm2"]
    assert math.isnan(row["n_particles_body"])  # without the section's thickness
    assert set(filter(None, row["remarks"].split(";"))) <= set(MICROGRAPH_REMARKS)


def test_the_scale_changes_lengths_and_not_numbers(lysosome: NDArray[np.float32]) -> None:
    one, two = (
        measure_micrograph(Micrograph("a.png", lysosome), MicrographOptions(nm_per_pixel=nm)).particles for nm in (1, 2)
    )
    assert np.allclose(2 * one["diameter_nm"], two["diameter_nm"])


def test_an_inverted_image_gives_the_same(lysosome: NDArray[np.float32]) -> None:
    measured = measure_micrograph(Micrograph("a.png", (1 - lysosome).astype(np.float32)), GIVEN)
    assert "inverted_contrast" in measured.bodies["remarks"][0]
    assert measured.bodies["body_area_nm2"][0] == pytest.approx(TRUE_AREA_NM2, rel=0.06)


def test_a_bar_and_metadata_that_contradict_each_other_are_refused(lysosome: NDArray[np.float32]) -> None:
    image = burn_bar(lysosome, "200 nm", 133)
    with pytest.raises(ImageError, match=r"one scale is needed.*1\.504.*metadata say 9.*--scale-nm-per-pixel"):
        measure_micrograph(Micrograph("a.tif", image, 9.0), MicrographOptions())
    assert measure_micrograph(Micrograph("a.tif", image, 1.5), MicrographOptions()).scale.source == "metadata"


def test_two_bars_are_refused_unless_they_agree(lysosome: NDArray[np.float32]) -> None:
    image = burn_bar(lysosome, "200 nm", 133)
    with pytest.raises(ImageError, match="one scale is needed"):
        measure_micrograph(Micrograph("a.png", burn_bar(image, "100 nm", 90, at=(40, 560))), MicrographOptions())
    agreeing = burn_bar(image, "100 nm", 67, at=(40, 560))
    assert measure_micrograph(Micrograph("a.png", agreeing), MicrographOptions()).scale.nm_per_pixel == pytest.approx(
        1.5, rel=0.01
    )


def test_without_a_scale_there_are_no_areas(lysosome: NDArray[np.float32]) -> None:
    with pytest.raises(ImageError, match=r"neither metadata nor a scale bar.*--scale-nm-per-pixel"):
        measure_micrograph(Micrograph("a.png", lysosome), MicrographOptions())
    with pytest.raises(ImageError, match="whose label cannot be read"):
        measure_micrograph(Micrograph("a.png", burn_bar(lysosome, "", 133)), MicrographOptions())


def test_an_empty_specimen_has_a_row_that_says_so() -> None:
    rng = np.random.default_rng(2)
    image = (0.6 + 0.02 * ndimage.gaussian_filter(rng.normal(size=(300, 331)), 1)).astype(np.float32)
    measured = measure_micrograph(Micrograph("empty.png", image), GIVEN)
    assert list(measured.bodies["remarks"]) == ["no_particles"]
    assert len(measured.clusters) == 0


def test_drawn_masks_replace_what_was_found(lysosome: NDArray[np.float32]) -> None:
    body = np.zeros(lysosome.shape, bool)
    body[100:500, 200:480] = True
    particles = np.zeros(lysosome.shape, bool)
    particles[150:250, 250:300] = True
    measured = measure_micrograph(Micrograph("a.png", lysosome), GIVEN, DrawnMasks(body, particles))
    (row,) = measured.bodies.to_pandas().to_dict("records")
    assert row["body_area_nm2"] == pytest.approx(400 * 280 * NM**2)
    assert row["particle_area_nm2"] == pytest.approx(100 * 50 * NM**2)
    assert math.isnan(row["body_area_nm2_err"])
    assert {"outline_edited", "particles_edited"} <= set(row["remarks"].split(";"))


def test_a_body_cut_by_the_images_edge_has_no_row(lysosome: NDArray[np.float32]) -> None:
    measured = measure_micrograph(Micrograph("a.png", np.ascontiguousarray(lysosome[250:])), GIVEN)
    assert not any(measured.bodies["body_id"])


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="--section-nm must be a positive number"):
        MicrographOptions(section_nm=-70)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "body", "particles"),
    [
        ("HT8020-24h_1_0033.jpg", 501523.95531, 216680.4223),
        ("MEF_80_20_24h_0017.jpg", 378583.2072, 128584.5239),
        ("MEF_80_20_24h_0032.jpg", 378216.82642, 153607.63704),
    ],
)
def test_real_lysosomes_agree_with_the_authors_outlines(
    data_dir: Path, name: str, body: float, particles: float
) -> None:
    measured = measure_micrograph(read_micrograph(data_dir / "tem" / name), MicrographOptions())
    assert measured.bodies["body_area_nm2"][0] == pytest.approx(body, rel=0.15)
    assert measured.bodies["particle_area_nm2"][0] == pytest.approx(particles, rel=0.20)
