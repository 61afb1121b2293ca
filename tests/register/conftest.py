"""A small subject that is a formula, imaged wherever it lies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.simulate import build_affine
from ferrosight.simulate.moved import Waves
from ferrosight.types import Grid, Rigid, VisitImage

#: Half axes of the tissue, mm.
HALF = np.array([9.0, 11.0, 7.0])

DrawVisit = Callable[..., VisitImage]
BuildGrid = Callable[..., Grid]
DrawPlaces = Callable[[VisitImage], NDArray[np.float64]]


def _build_grid(
    shape: tuple[int, int, int] = (24, 30, 20),
    voxel_mm: tuple[float, float, float] = (0.9, 0.85, 1.0),
    rotation_deg: tuple[float, float, float] = (12.0, -8.0, 20.0),
) -> Grid:
    return Grid(shape, build_affine(shape, voxel_mm, rotation_deg))


@pytest.fixture(scope="session")
def build_grid() -> BuildGrid:
    """``build_grid(shape, voxel_mm, rotation_deg)``, each with a default."""
    return _build_grid


@pytest.fixture(scope="session")
def draw_places() -> DrawPlaces:
    """``draw_places(image)``: places (200, 3), RAS+ mm, in a visit's tissue."""

    def draw(image: VisitImage) -> NDArray[np.float64]:
        inside = np.argwhere(image.mask)
        return image.grid.to_mm(inside[np.random.default_rng(0).integers(len(inside), size=200)])

    return draw


@pytest.fixture(scope="session")
def draw_visit() -> DrawVisit:
    """``draw_visit(session, to_subject, rng, grid=…, noise=…, subject=…)``: tissue, its profile, a bias and noise."""

    def draw(
        session: str,
        to_subject: Rigid,
        rng: np.random.Generator,
        *,
        grid: Grid | None = None,
        noise: float = 0.03,
        subject: int = 1,
        bias: float = 0.3,
    ) -> VisitImage:
        grid = _build_grid() if grid is None else grid
        points = grid.to_mm(np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1))
        place = to_subject.apply(points)
        radius = np.linalg.norm(place / HALF, axis=-1)
        tissue = 1 / (1 + np.exp((radius - 1) * 9))
        contrast = 1 + 0.25 * Waves.draw(1.7, np.random.default_rng(subject)).evaluate(grid, to_subject)
        # the profile of a small coil somewhere beside the subject: no polynomial
        coil = 40 * (lambda way: way / np.linalg.norm(way))(rng.normal(size=3))
        gain = (40 / np.linalg.norm(points - coil, axis=-1)) ** (3 * bias)
        magnitude = tissue * contrast * gain + rng.normal(scale=noise, size=grid.shape)
        return VisitImage(session, magnitude, grid, radius < 1, np.zeros(grid.shape, dtype=bool))

    return draw
