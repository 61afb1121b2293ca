"""Tissue's susceptibility has its spectrum measured in spite of the background field, and it gives the field's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.field import measure_field
from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.quantify.texture import measure_texture
from ferrosight.simulate import simulate_scan
from ferrosight.types.config import FieldConfig


def measure(specify, texture_ppm, seed, **changes):
    spec = dataclasses.replace(specify("point", 0.0, texture_ppm=texture_ppm, **changes), sources=())
    scan, _ = simulate_scan(spec, seed)
    field_map = measure_field(scan, FieldConfig())
    return scan, measure_texture(scan, field_map, field_map.mask)


def test_the_spectrum_is_that_of_the_texture(specify):
    found = [measure(specify, 0.01, seed)[1] for seed in range(6)]
    k = found[0].k_per_mm[1:]
    length_mm = 0.15
    variance = (0.01e-6 * GAMMA_HZ_PER_T * 9.4) ** 2
    true = variance * (2 * np.sqrt(np.pi) * length_mm) ** 3 * np.exp(-((2 * np.pi * k * length_mm) ** 2))
    mean = np.mean([texture.spectrum[1:] for texture in found], axis=0)
    strong = true > 0.03 * true[0]
    assert strong.sum() >= 3
    np.testing.assert_allclose(mean[strong], true[strong], rtol=0.35)


def test_the_smooth_background_is_hardly_taken_for_texture(specify):
    quiet = measure(specify, 0.0, 5)[1].spectrum.max()
    loud = measure(specify, 0.01, 5)[1].spectrum.max()
    assert quiet < 0.1 * loud


def test_the_fields_spectrum_integrates_to_its_variance(specify):
    scan, texture = measure(specify, 0.01, 7)
    spectrum = texture.field_spectrum((64, 60, 50), np.array(scan.grid.voxel_mm), scan.b0_in_array)
    # (1/3 − cos²)² averages to 4/45 over directions
    expected = 4 / 45 * (0.01e-6 * GAMMA_HZ_PER_T * 9.4) ** 2
    assert spectrum.mean() == pytest.approx(expected, rel=0.5)
