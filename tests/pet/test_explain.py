"""Strong sources are taken off, and what they leave is background and noise."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.pet.explain import explain_image, is_apart
from ferrosight.pet.fit import Ball, Fitter, KnownPlace
from ferrosight.pet.noise import measure_noise
from ferrosight.pet.screen import screen_image
from ferrosight.simulate import HotSphere, build_pet_spec, contrast_activity_bq, simulate_pet_scan
from ferrosight.types import PetResponse, PetScan


def test_a_wide_and_a_small_source_are_explained_and_leave_nothing(response: PetResponse) -> None:
    spheres = (
        HotSphere((-6.0, 0.2, -8.1), 2.0, contrast_activity_bq(10, 1e5, 2.0)),
        HotSphere((-6.1, 0.1, 4.2), 0.5, contrast_activity_bq(30, 1e5, 0.5)),
    )
    scan, _ = simulate_pet_scan(build_pet_spec("small-animal", spheres), 5)
    explained = explain_image(scan.data[0].astype(np.float64), scan.grid.voxel_mm, response)
    mm = scan.grid.to_mm(np.array([ball.ijk for ball in explained.balls]))
    for sphere in spheres:
        nearest = int(np.linalg.norm(mm - sphere.centre_mm, axis=1).argmin())
        np.testing.assert_allclose(mm[nearest], sphere.centre_mm, atol=0.15)
        assert explained.balls[nearest].activity_bq == pytest.approx(sphere.activity_bq, rel=0.15)
        assert explained.score(explained.balls[nearest]) > 8
    # Before, the wide one stands far out of its surroundings; what is left of both is as much as noise does.
    raw = scan.data[0].astype(np.float64)
    noise = measure_noise(raw, scan.grid.voxel_mm, response)
    wide = screen_image(raw, noise, scan.grid.voxel_mm, response).filters[0]
    assert (wide.amplitude_bq / wide.unit_err_bq)[noise.body].max() > 12
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in scan.grid.shape], indexing="ij"), axis=-1)
    for sphere in spheres:
        near = np.linalg.norm(scan.grid.to_mm(ijk) - sphere.centre_mm, axis=-1) < 4
        assert np.abs(explained.screen.z[near]).max() < 5


def test_an_empty_scan_needs_no_explaining(empty_scans: list[PetScan], response: PetResponse) -> None:
    for scan in empty_scans[:3]:
        explained = explain_image(scan.data[0].astype(np.float64), scan.grid.voxel_mm, response)
        assert explained.balls == ()


def test_places_that_are_held_stay(empty_scans: list[PetScan], response: PetResponse) -> None:
    scan = empty_scans[0]
    places = np.array([[20.3, 30.1, 12.2], [-3.0, 5.0, 5.0]])
    explained = explain_image(
        scan.data[0].astype(np.float64), scan.grid.voxel_mm, response, [KnownPlace(place) for place in places]
    )
    np.testing.assert_array_equal(explained.balls[0].ijk, places[0])
    assert explained.fits[0] is not None
    assert explained.scatter(0) >= 1


def test_apart_means_beyond_the_radius_too(empty_scans: list[PetScan], response: PetResponse) -> None:
    scan = empty_scans[0]
    noise = measure_noise(scan.data[0].astype(np.float64), scan.grid.voxel_mm, response)
    fitter = Fitter(scan.data[0].astype(np.float64), noise, scan.grid.voxel_mm, response, 2.5, 10)
    place = np.array([20, 20, 20])
    for square, apart in ((0.0, True), (9.0, False)):
        assert is_apart(place, [Ball(np.array([24.0, 20.0, 20.0]), 1.0, square)], fitter, 1.0) is apart
