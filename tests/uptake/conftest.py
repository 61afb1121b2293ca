"""Synthetic micrographs with a burnt-in scale bar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.uptake.glyphs import render_character

Picture = NDArray[np.float32]


def burn_bar(
    image: Picture,
    text: str,
    length: int,
    *,
    typeface: str = "DejaVu Sans",
    at: tuple[int, int] = (-30, 20),
    level: float = 1.0,
    height: int = 22,
) -> Picture:
    """A copy with a bar of ``length`` pixels whose first row and column are ``at``, and its label above it."""
    burnt = image.copy()
    row, column = (place % n for place, n in zip(at, image.shape, strict=True))
    burnt[row : row + max(4, height // 3), column : column + length] = level
    left = column
    for character in text:
        if character == " ":
            left += height // 2
            continue
        # Lower-case letters are lower than digits; µ hangs below the line.
        rows = {"n": 0.74, "m": 0.74, "µ": 0.98, "u": 0.74, ".": 0.16}.get(character, 1.0)
        picture = render_character(character, typeface, "normal", max(2, round(rows * height)))
        assert picture is not None
        bottom = row - 6 + (round(0.24 * height) if character == "µ" else 0)
        area = burnt[bottom - picture.shape[0] : bottom, left : left + picture.shape[1]]
        area[picture] = level
        left += picture.shape[1] + max(3, height // 6)
    return burnt


@pytest.fixture(scope="session")
def ground() -> Callable[[tuple[int, int]], Picture]:
    """Grey, grained, without particles."""

    def make(shape: tuple[int, int]) -> Picture:
        rng = np.random.default_rng(8)
        return (0.6 + 0.03 * ndimage.gaussian_filter(rng.normal(size=shape), 1.0)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def lysosome() -> Picture:
    """A membrane round (300, 340) with half axes 180 and 150, and 300 particles of 12 pixels in it; 640 x 720."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:640, :720].astype(float)
    away = np.hypot((rows - 300) / 180, (columns - 340) / 150)
    density = 0.25 * np.exp(-0.5 * ((away - 1) * 165 / 3) ** 2)
    for _ in range(300):
        turn, reach = rng.uniform(0, 2 * np.pi), 0.75 * np.sqrt(rng.random())
        row, column = 300 + 180 * reach * np.sin(turn), 340 + 150 * reach * np.cos(turn)
        density += 0.8 * np.sqrt(np.maximum(1 - ((rows - row) ** 2 + (columns - column) ** 2) / 36, 0))
    light = 0.7 * np.exp(-ndimage.gaussian_filter(density, 0.7))
    return np.clip(light + rng.normal(scale=0.02, size=light.shape), 0, 0.95).astype(np.float32)
