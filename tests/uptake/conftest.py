"""Simulated labelling experiments, drawn with the scatter of batches and assays; synthetic micrographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.cells.load import trace_load, uptake_rate
from ferrosight.types import Table
from ferrosight.types.uptake import ASSAYS
from ferrosight.uptake.glyphs import render_character

Picture = NDArray[np.float32]

#: Dose (µg/mL), exposure (h), chase (h) of a full design.
FULL = (
    (10, 24, 0), (25, 24, 0), (50, 24, 0), (100, 24, 0), (200, 24, 0),
    (50, 6, 0), (50, 24, 24), (50, 24, 72), (50, 24, 144),
)  # fmt: skip
NUMBERS = ("dose_ug_per_ml", "exposure_h", "chase_h", "iron_per_cell_pg", "diameter_um", "doubling_time_h")


@dataclass(frozen=True)
class Cells:
    """True kinetics of a cell type."""

    cell_type: str = "MSC"
    full_uptake: float = 2.0
    half_dose: float = 40.0
    doubling_h: float = 40.0
    exocytosis_per_h: float = 0.004
    diameter_um: float = 18.0
    onset_h: float = 48.0

    def load(self, dose: float, exposure_h: float, chase_h: float = 0.0) -> float:
        """Mean iron per cell, pg."""
        rate = uptake_rate(self.full_uptake, dose, self.half_dose)
        return float(
            trace_load(rate, np.log(2) / self.doubling_h, self.exocytosis_per_h, exposure_h, chase_h, self.onset_h)
        )


def make_assays(rows: Sequence[dict[str, object]]) -> Table:
    """A table of assays from rows that leave out what they do not have."""
    missing = dict.fromkeys(NUMBERS, np.nan)
    return Table.from_rows(ASSAYS, [{**missing, **row} for row in rows])


def draw_assays(
    cells: Cells,
    rng: np.random.Generator,
    *,
    n_batches: int = 5,
    batch_rel_sd: float = 0.17,
    assay_rel_sd: float = 0.1,
    design: Sequence[tuple[float, float, float]] = FULL,
    assays: Sequence[str] = ("icp",),
    gains: Sequence[float] = (1.0,),
    n_others: int = 4,
    particle: str = "particle",
) -> Table:
    """An experiment as a laboratory would tabulate it."""
    between, within = (np.sqrt(np.log1p(sd**2)) for sd in (batch_rel_sd, assay_rel_sd))
    rows: list[dict[str, object]] = []
    for b in range(n_batches):
        batch = rng.normal(0, between)
        for dose, exposure, chase in design:
            for assay, gain in zip(assays, gains, strict=True):
                value = cells.load(dose, exposure, chase) * gain * np.exp(batch + rng.normal(0, within))
                rows.append(
                    {
                        "cell_type": cells.cell_type, "particle": particle, "batch": f"b{b}", "assay": assay,
                        "dose_ug_per_ml": dose, "exposure_h": exposure, "chase_h": chase, "iron_per_cell_pg": value,
                    }
                )  # fmt: skip
    for _ in range(n_others):
        rows.append({"cell_type": cells.cell_type, "diameter_um": cells.diameter_um * np.exp(rng.normal(0, 0.05))})
        rows.append({"cell_type": cells.cell_type, "doubling_time_h": cells.doubling_h * np.exp(rng.normal(0, 0.08))})
    return make_assays(rows)


@pytest.fixture
def cells() -> type[Cells]:
    """A cell type's true kinetics."""
    return Cells


@pytest.fixture
def draw() -> Callable[..., Table]:
    """Draw a table of assays of a cell type."""
    return draw_assays


@pytest.fixture
def assay_table() -> Callable[..., Table]:
    """A table of assays from rows."""
    return make_assays


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
