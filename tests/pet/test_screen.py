"""The screening statistic is standard normal where there is nothing, and its amplitude is the activity."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion

from ferrosight.pet.noise import measure_noise
from ferrosight.pet.screen import find_peaks, screen_image
from ferrosight.pet.template import Templates
from ferrosight.types import PetResponse, PetScan


def test_the_statistic_of_nothing_is_nearly_standard_normal(empty_scans: list[PetScan], response: PetResponse) -> None:
    values = []
    for scan in empty_scans[:4]:
        image = scan.data[0].astype(np.float64)
        noise = measure_noise(image, scan.grid.voxel_mm, response)
        screen = screen_image(image, noise, scan.grid.voxel_mm, response)
        values.append(screen.z[binary_erosion(noise.body, iterations=2)])
        assert (screen.z[~noise.body] == 0).all()
    z = np.concatenate(values)
    assert abs(z.mean()) < 0.15
    assert 0.8 < z.std() < 1.15
    # The noise of the image is skewed by 0.3; the statistic's is straight.
    assert abs(((z - z.mean()) ** 3).mean() / z.std() ** 3) < 0.15
    assert np.abs(z).max() < 5


def test_a_weak_points_amplitude_is_its_activity(empty_scans: list[PetScan], response: PetResponse) -> None:
    """The filter is linear: what a point adds to the amplitude is its activity, wherever in its voxel it lies."""
    scan = empty_scans[0]
    image = scan.data[0].astype(np.float64)
    noise = measure_noise(image, scan.grid.voxel_mm, response)
    before = screen_image(image, noise, scan.grid.voxel_mm, response)
    places = [(20, 30, 12), (34, 40, 22), (16, 25, 28)]
    half = (10, 10, 8)
    for place, offset in zip(places, ((0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.3, -0.3, 0.4)), strict=True):
        point = Templates(response, scan.grid.voxel_mm, half).build(np.array(offset), 0.0)[0]
        added = image.copy()
        added[tuple(slice(c - h, c + h + 1) for c, h in zip(place, half, strict=True))] += 200 * point
        after = screen_image(added, noise, scan.grid.voxel_mm, response)
        chosen = after.filter_at(np.array(place)).amplitude_bq[place]
        same = before.filters[int(after.choice[place])].amplitude_bq[place]
        low = 1.0 if not any(offset) else 0.72
        assert low - 0.02 < (chosen - same) / 200 < 1.02


def test_peaks_are_the_highest_of_their_neighbourhood() -> None:
    z = np.zeros((20, 18, 16))
    z[5, 5, 5], z[6, 5, 5], z[12, 12, 8], z[2, 2, 2] = 6.0, 5.0, 4.0, 9.0
    inside = np.ones(z.shape, bool)
    inside[2, 2, 2] = False
    peaks = find_peaks(z, inside, np.array([3.0, 3.0, 3.0]), 3.0)
    assert peaks.tolist() == [[5, 5, 5], [12, 12, 8]]
