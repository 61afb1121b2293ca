"""Sections of spheres, drawn at random, give back their volume and their particles on average."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ferrosight.uptake.stereology import estimate_whole_body


def test_the_mean_over_random_cuts_is_the_spheres_volume_and_its_error_their_spread() -> None:
    rng = np.random.default_rng(6)
    diameter_nm, density_per_nm3, section_nm = 600.0, 2e-5, 50.0
    cuts = diameter_nm**2 * (1 - rng.random(20_000) ** 2) * math.pi / 4
    bodies = [estimate_whole_body(area, 0.0, density_per_nm3 * area * section_nm, 0.0, section_nm) for area in cuts]
    volumes = np.array([body.volume_um3 for body in bodies])
    truth = math.pi / 6 * diameter_nm**3 * 1e-9
    assert volumes.mean() == pytest.approx(truth, rel=0.02)
    assert volumes.std() / truth == pytest.approx(0.563, rel=0.03)
    assert np.mean([b.n_particles for b in bodies]) == pytest.approx(density_per_nm3 * truth * 1e9, rel=0.02)
    assert bodies[0].volume_um3_err / bodies[0].volume_um3 == pytest.approx(0.563, rel=0.01)


def test_without_a_thickness_there_are_no_numbers() -> None:
    body = estimate_whole_body(1e5, 1e4, 500.0, 20.0, None)
    assert math.isnan(body.n_particles)
    assert body.volume_um3 > 0
