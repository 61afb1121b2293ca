"""Simulated PET: counts and activities are those that were asked for, seen through the point spread."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.physics.isotopes import ISOTOPES
from ferrosight.simulate.pet import (
    contrast_activity_bq,
    expect_counts,
    expect_source_counts,
    simulate_pet_scan,
)
from ferrosight.simulate.pet_projector import list_angles, reconstruct
from ferrosight.simulate.pet_spec import HotSphere, PetScanner, PetSpec, Warm

SCANNER = PetScanner("test", (40, 34, 14), (0.6, 0.7, 0.9), 48, 0.6, 1.3, 1.5, 0.02, 0.1, 0.2, 10, 8)
BODY = Warm((0.5, -0.4, 0.3), (8.0, 7.0, 30.0), 1e5, 0.0096)


def build(*spheres: HotSphere, **changes: object) -> PetSpec:
    return dataclasses.replace(PetSpec(SCANNER, (BODY,), spheres), **changes)  # type: ignore[arg-type]


def test_a_body_without_attenuation_sheds_the_counts_of_its_activity() -> None:
    """A ball of known activity in nothing: counts are activity · sensitivity · decays seen."""
    nothing = Warm((0.0, 0.0, 0.0), (8.0, 7.0, 30.0), 1e-9)
    spec = dataclasses.replace(build(HotSphere((0.3, 0.2, 0.1), 1.0, 1e4)), tissue=(nothing,))
    counts = expect_counts(spec)
    rate = math.log(2) / ISOTOPES["18F"].half_life_s
    decays = 1e4 * -math.expm1(-rate * 600.0) / rate
    assert (counts.prompts - counts.additive).sum() == pytest.approx(decays * 0.02, rel=2e-3)
    assert counts.additive.sum() == pytest.approx(decays * 0.02 * 0.3, rel=0.05)


def test_a_sphere_lands_where_it_lies() -> None:
    sphere = HotSphere((2.2, -3.1, 1.3), 0.8, 1e4)
    spec = build(sphere)
    lines = expect_source_counts(build(), sphere, dataclasses.replace(expect_counts(build()), factors=np.ones(1)))
    bins = (np.arange(SCANNER.n_bins) - (SCANNER.n_bins - 1) / 2) * SCANNER.bin_mm
    slices = (np.arange(14) - 6.5) * 0.9
    x, y, z = spec.to_image_mm(sphere.centre_mm)
    angles = list_angles(SCANNER)
    centre = (lines.sum(axis=2) * bins).sum(axis=1) / lines.sum(axis=(1, 2))
    np.testing.assert_allclose(centre, x * np.cos(angles) + y * np.sin(angles), atol=0.02)
    assert (lines.sum(axis=(0, 1)) * slices).sum() / lines.sum() == pytest.approx(z, abs=0.02)


def test_attenuation_is_that_of_the_longest_way() -> None:
    counts, bare = expect_counts(build()), expect_counts(build(tissue=(dataclasses.replace(BODY, mu_per_mm=0.0),)))
    ratio = (counts.factors / bare.factors)[0]
    # The first angle nearly looks along y: the way through the middle is 14 mm.
    assert ratio.min() == pytest.approx(math.exp(-0.0096 * 14), abs=2e-3)
    assert ratio.max() == pytest.approx(1.0)


def test_without_noise_the_image_holds_the_activity() -> None:
    """Body and sphere come back with their activities; the blur conserves what it spreads."""
    sphere = HotSphere((-2.0, 1.0, 0.4), 1.0, contrast_activity_bq(8.0, 1e5, 1.0))
    images = []
    for spec in (build(), build(sphere)):
        counts = expect_counts(spec)
        images.append(reconstruct(SCANNER, counts.prompts, counts.factors, counts.additive))
    middle = images[0][18:22, 15:19, 5:9]
    assert middle.mean() == pytest.approx(1e5, rel=0.01)
    volume_ml = 0.6 * 0.7 * 0.9 * 1e-3
    assert (images[1] - images[0]).sum() * volume_ml == pytest.approx(sphere.activity_bq, rel=0.01)


def test_the_positrons_range_widens_a_point() -> None:
    point = HotSphere((0.0, 0.0, 0.0), 0.1, 1e4)
    bare = dataclasses.replace(expect_counts(build()), factors=np.ones(1))
    widths = []
    bins = (np.arange(SCANNER.n_bins) - (SCANNER.n_bins - 1) / 2) * SCANNER.bin_mm
    for isotope in ("18F", "68Ga"):
        lines = expect_source_counts(build(isotope=isotope), point, bare)[0].sum(axis=1)
        near = np.abs(bins) < 6
        widths.append(math.sqrt((lines * bins**2)[near].sum() / lines[near].sum()))
    assert widths[1] > 1.5 * widths[0]


def test_noise_is_poissons_and_seeded() -> None:
    spec = build(HotSphere((-2.0, 1.0, 0.4), 1.0, 5e3))
    counts = expect_counts(spec)
    one, truth = simulate_pet_scan(spec, 3, counts)
    again, _ = simulate_pet_scan(spec, 3)
    other, _ = simulate_pet_scan(spec, 4, counts)
    np.testing.assert_array_equal(one.data, again.data)
    assert np.abs(one.data - other.data).max() > 1e3
    assert truth.table["activity_bq"].tolist() == [5e3]
    assert (one.isotope, one.unit, one.data.shape) == ("18F", "Bq/mL", (1, 40, 34, 14))


def test_contrast_counts_the_excess() -> None:
    assert contrast_activity_bq(3.0, 1e5, 1.0) == pytest.approx(2e5 * 4 / 3 * math.pi * 1e-3)
