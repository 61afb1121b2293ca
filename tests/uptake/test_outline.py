"""Outlines follow a membrane, at any size and place, and closed paths are closed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.simulate.micrographs import BodySpec, simulate_body
from ferrosight.uptake.density import Density, measure_density
from ferrosight.uptake.outline import _find_closed_path, find_outlines, trace_rim

NM = 2.0


def draw(centre: tuple[float, float], half: tuple[float, float], membrane: float) -> tuple[Density, NDArray[np.bool_]]:
    """A ring in grain, and a few patches of particles well inside it."""
    rng = np.random.default_rng(12)
    rows, columns = np.mgrid[:360, :410].astype(float)
    away = np.hypot((rows - centre[0]) / half[0], (columns - centre[1]) / half[1])
    light = 0.7 - membrane * np.exp(-0.5 * ((away - 1) * min(half) / 2) ** 2)
    particles = np.zeros(light.shape, bool)
    for turn in (0.3, 2.0, 4.4):
        row, column = centre[0] + 0.5 * half[0] * math.sin(turn), centre[1] + 0.5 * half[1] * math.cos(turn)
        particles |= np.hypot(rows - row, columns - column) < 14
    light = np.where(particles, 0.2, light) + 0.02 * ndimage.gaussian_filter(rng.normal(size=light.shape), 0.7)
    image = np.clip(light, 0, 1).astype(np.float32)
    return measure_density(image, np.zeros(image.shape, bool), NM), particles


@pytest.mark.parametrize(
    ("centre", "half"),
    [((180.0, 200.0), (100.0, 100.0)), ((150.0, 230.0), (120.0, 85.0)), ((200.0, 150.0), (70.0, 110.0))],
)
def test_the_area_inside_a_membrane_is_found(centre: tuple[float, float], half: tuple[float, float]) -> None:
    density, particles = draw(centre, half, 0.12)
    (outline,) = find_outlines(density, particles, particles)
    truth = math.pi * half[0] * half[1] * NM**2
    assert outline.area_nm2 == pytest.approx(truth, rel=0.04)
    assert outline.inside[particles].all()
    assert outline.outside == 0


def test_without_a_membrane_the_outline_is_weaker() -> None:
    strong, weak = (
        find_outlines(*draw((180.0, 200.0), (100.0, 100.0), depth), draw((180.0, 200.0), (100.0, 100.0), depth)[1])[0]
        for depth in (0.12, 0.0)
    )
    assert weak.strength < 0.7 * strong.strength


def test_particles_at_the_edge_belong_to_no_body() -> None:
    density, _ = draw((180.0, 200.0), (100.0, 100.0), 0.1)
    at_edge = np.zeros(density.light.shape, bool)
    at_edge[:30, 100:140] = True
    assert find_outlines(density, at_edge, at_edge) == ()
    assert find_outlines(density, np.zeros_like(at_edge), at_edge) == ()


def test_a_path_around_is_the_best_and_its_ends_meet() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(scale=0.3, size=(90, 60))
    truth = np.round(30 + 8 * np.sin(np.arange(90) * 2 * np.pi / 90)).astype(int)
    score[np.arange(90), truth] += 5
    path = _find_closed_path(score, 0.1)
    assert np.abs(path - truth).max() <= 1
    assert abs(path[0] - path[-1]) <= 3


def test_a_drawn_bodys_rim_encloses_it() -> None:
    density, _ = draw((180.0, 200.0), (100.0, 100.0), 0.1)
    drawn = np.zeros(density.light.shape, bool)
    drawn[100:150, 120:200] = True
    rim = trace_rim(drawn, density)
    assert rim.area_nm2 == 50 * 80 * NM**2
    assert rim.vertices[:, 0].min() == pytest.approx(99.5)
    assert rim.outside == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "has_rival"),
    [
        (BodySpec(), False),
        (BodySpec(neighbour=4.0), False),
        (BodySpec(inner=0.12), True),
        (BodySpec(inner=0.06), True),
    ],
    ids=["alone", "a neighbour's aggregate", "an inner membrane", "a faint inner membrane"],
)
def test_the_outer_membrane_is_the_bodys_and_another_boundary_is_said(spec: BodySpec, has_rival: bool) -> None:
    rng = np.random.default_rng(17)
    ratios, rivals = [], []
    for _ in range(5):
        image, covered, inside = simulate_body(spec, rng)
        density = measure_density(image, np.zeros(image.shape, bool), 5.0)
        outline = find_outlines(density, covered, covered)[0]
        ratios.append(outline.area_nm2 / (inside.sum() * 25.0))
        rivals.append(outline.rival > 0.3)
    assert ratios == pytest.approx([1.0] * 5, abs=0.15)
    assert sum(rivals) >= 4 if has_rival else sum(rivals) <= 1
