"""Draw docs/images/micrograph_overlay.png: what ``uptake micrographs`` shows of a synthetic micrograph.

    uv run python scripts/draw_micrograph_picture.py

A dark ring stands for the lysosome's membrane, and a bar with its label is burnt in, as a microscope does.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferrosight.report.micrograph_overlay import draw_overlay
from ferrosight.simulate.micrographs import MicrographSpec, simulate_micrograph
from ferrosight.types.micrograph import Micrograph, MicrographOptions
from ferrosight.uptake.glyphs import render_character
from ferrosight.uptake.micrographs import measure_micrograph

PATH = Path(__file__).resolve().parent.parent / "docs" / "images" / "micrograph_overlay.png"
SPEC = MicrographSpec(shape=(720, 900), layers=0.35, region_share=0.1, nm_per_pixel=0.5)
SEED = 20261123
BAR_NM = 100


def main() -> None:
    """Simulate, add a membrane and a scale bar, measure, draw, write."""
    image, _ = simulate_micrograph(SPEC, np.random.default_rng(SEED))
    burn_bar(draw_membrane(image))
    micrograph = Micrograph("synthetic.png", image)
    overlay = Image.open(io.BytesIO(draw_overlay(measure_micrograph(micrograph, MicrographOptions()))))
    # A few dozen greys and the lines' colours: a page is no place for a megabyte.
    overlay.convert("RGB").resize((900, 804), Image.Resampling.LANCZOS).quantize(64).save(PATH, optimize=True)


def draw_membrane(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """A dark line, 7 nm wide, round the region of the particles; in place."""
    rows, columns = np.indices(image.shape) - (np.array(image.shape).reshape(2, 1, 1) - 1) / 2
    radius = np.sqrt(SPEC.region_share * image.size / np.pi) * 1.35
    away = (np.hypot(rows, columns) - radius) * SPEC.nm_per_pixel
    image *= np.exp(-0.15 * np.exp(-0.5 * (away / 3) ** 2)).astype(np.float32)
    return image


def burn_bar(image: NDArray[np.float32]) -> None:
    """A white bar of 100 nm at the lower left, and its label above; in place."""
    row, left, height = image.shape[0] - 40, 30, 24
    image[row : row + 8, left : left + round(BAR_NM / SPEC.nm_per_pixel)] = 1.0
    for character in f"{BAR_NM} nm":
        if character == " ":
            left += height // 2
            continue
        picture = render_character(character, "DejaVu Sans", "normal", height if character.isdigit() else 18)
        if picture is None:
            raise SystemExit(f"no picture of {character!r}: the typeface DejaVu Sans is missing.")
        image[row - 8 - picture.shape[0] : row - 8, left : left + picture.shape[1]][picture] = 1.0
        left += picture.shape[1] + 4


if __name__ == "__main__":
    main()
