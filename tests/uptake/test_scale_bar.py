"""The scale bar is found and read, and what is none is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.io.micrographs import read_micrograph
from ferrosight.uptake.scale_bar import find_scale_bars, mask_annotation

from .conftest import burn_bar

Ground = Callable[[tuple[int, int]], NDArray[np.float32]]


@pytest.mark.parametrize("level", [1.0, 0.0])
@pytest.mark.parametrize(
    ("text", "length", "nm"), [("200 nm", 133, 200.0), ("0.5 µm", 87, 500.0), ("50 nm", 211, 50.0)]
)
def test_a_burnt_in_bar_gives_the_scale(ground: Ground, level: float, text: str, length: int, nm: float) -> None:
    image = burn_bar(ground((401, 533)), text, length, level=level)
    (bar,) = find_scale_bars(image)
    assert bar.text == text
    assert bar.length_pixels == length
    assert bar.nm_per_pixel == pytest.approx(nm / length)


def test_noise_that_clings_to_the_letters_is_cut_off(ground: Ground) -> None:
    image = burn_bar(ground((401, 533)), "200 nm", 133, height=30)
    rng = np.random.default_rng(4)
    image[rng.random(image.shape) < 0.02] = 1.0
    (bar,) = find_scale_bars(image)
    assert bar.text == "200 nm"
    assert abs(bar.length_pixels - 133) <= 1


def test_two_bars_are_both_found(ground: Ground) -> None:
    image = burn_bar(ground((401, 533)), "200 nm", 133)
    image = burn_bar(image, "100 nm", 90, at=(60, 300))
    assert {bar.text for bar in find_scale_bars(image)} == {"200 nm", "100 nm"}


def test_a_bar_without_a_label_has_no_length(ground: Ground) -> None:
    (bar,) = find_scale_bars(burn_bar(ground((401, 533)), "", 133))
    assert bar.text == ""
    assert np.isnan(bar.nm_per_pixel)


def test_nothing_is_found_in_a_picture_without_a_bar(ground: Ground, lysosome: NDArray[np.float32]) -> None:
    assert find_scale_bars(ground((401, 533))) == ()
    assert find_scale_bars(lysosome) == ()


def test_what_the_annotation_hides_covers_bar_and_label(ground: Ground) -> None:
    plain = ground((401, 533))
    image = burn_bar(plain, "200 nm", 133)
    hidden = mask_annotation(image, find_scale_bars(image))
    assert hidden[image != plain].all()
    assert hidden.mean() < 0.1


@pytest.mark.data
@pytest.mark.slow
def test_all_real_bars_are_read(data_dir: Path) -> None:
    """Lengths in pixels were measured by hand on enlarged crops."""
    expected = {
        "HT8020-24h_1_0015": ("200 nm", 891),
        "HT8020-24h_1_0033": ("200 nm", 713),
        "HT8020-24h_1_0104": ("500 nm", 1114),
        "MEF_80_20_24h_0013": ("200 nm", 534),
        "MEF_80_20_24h_0014": ("200 nm", 534),
        "MEF_80_20_24h_0017": ("200 nm", 891),
        "MEF_80_20_24h_0032": ("200 nm", 534),
    }
    for name, (text, length) in expected.items():
        (bar,) = find_scale_bars(read_micrograph(data_dir / "tem" / f"{name}.jpg").image)
        assert bar.text == text
        assert abs(bar.length_pixels - length) <= 2
