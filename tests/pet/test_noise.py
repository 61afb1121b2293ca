"""The noise that is measured in one image is that of many scans."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from ferrosight.errors import AnalysisError
from ferrosight.pet.noise import correlation_matrix, find_body, measure_noise
from ferrosight.types import PetResponse, PetScan


def test_level_correlation_and_skewness_are_those_of_many_scans(
    empty_scans: list[PetScan], response: PetResponse
) -> None:
    images = np.array([scan.data[0] for scan in empty_scans], dtype=np.float64)
    deviation = images - images.mean(axis=0)
    noise = measure_noise(images[0], empty_scans[0].grid.voxel_mm, response)
    inner = binary_erosion(noise.body, iterations=4)
    n = len(images)
    variance = (deviation**2).sum(axis=0) / (n - 1)
    assert (noise.sigma[inner] ** 2).mean() == pytest.approx(variance[inner].mean(), rel=0.08)
    # Where noise is stronger, it is measured so.
    strong = inner & (noise.background > 1.7e5)
    weak = inner & (noise.background < 1.2e5)
    assert noise.sigma[strong].mean() > 1.2 * noise.sigma[weak].mean()
    middle = np.array(noise.correlation.shape) // 2
    for axis in range(3):
        both = inner & np.roll(inner, -1, axis)
        true = (deviation * np.roll(deviation, -1, axis + 1))[:, both].mean() / (deviation**2)[:, both].mean()
        measured = noise.correlation[tuple(middle + np.eye(3, dtype=int)[axis])]
        assert measured == pytest.approx(true, abs=0.06)
    # Unbiased central moments of eight draws per voxel, pooled over voxels of different strengths.
    scaled = deviation[:, inner] / noise.sigma[inner]
    second, third = (scaled**2).mean() * n / (n - 1), (scaled**3).mean() * n**2 / ((n - 1) * (n - 2))
    assert noise.skewness == pytest.approx(third / second**1.5, abs=0.1)


def test_white_noise_is_measured_as_white(response: PetResponse) -> None:
    """Taking a background off must not make neighbours seem anticorrelated, nor the noise weaker."""
    rng = np.random.default_rng(3)
    image = np.zeros((50, 44, 40))
    image[6:-6, 6:-6, 6:-6] = 100 + 5 * rng.normal(size=(38, 32, 28))
    noise = measure_noise(image, (0.6, 0.6, 0.8), response)
    inner = binary_erosion(noise.body, iterations=6)
    assert noise.sigma[inner].mean() == pytest.approx(5.0, rel=0.03)
    correlation = noise.correlation.copy()
    correlation[tuple(n // 2 for n in correlation.shape)] = 0
    assert np.abs(correlation).max() < 0.05
    assert abs(noise.skewness) < 0.1


def test_the_body_is_the_large_bright_part() -> None:
    image = np.zeros((30, 28, 26))
    image[5:25, 6:22, 4:20] = 1.0
    image[10:14, 10:14, 10:12] = 0.0
    image[27:29, 1:3, 1:3] = 1.0
    body = find_body(image, np.array([1.5, 1.5, 1.5]))
    assert body[12, 12, 11]
    assert not body[28, 2, 2]
    assert abs(int(body.sum()) - 20 * 16 * 16) < 0.35 * 20 * 16 * 16


def test_an_image_without_a_body_is_refused(response: PetResponse) -> None:
    image = np.zeros((20, 20, 20))
    image[10, 10, 10] = 1
    with pytest.raises(AnalysisError, match="body"):
        measure_noise(image, (0.6, 0.6, 0.8), response)


def test_the_correlation_matrix_is_positive_definite() -> None:
    correlation = np.zeros((5, 5, 3))
    correlation[2, 2, 1] = 1
    correlation[1, 2, 1] = correlation[3, 2, 1] = 0.6
    ijk = np.stack(np.meshgrid(range(4), range(3), range(2), indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = correlation_matrix(correlation, ijk)
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.xfail(reason="an organ so small has edges all around: its noise comes out 15 % high")
def test_noise_of_a_small_organ_is_that_of_many_scans(empty_scans: list[PetScan], response: PetResponse) -> None:
    images = np.array([scan.data[0] for scan in empty_scans], dtype=np.float64)
    noise = measure_noise(images[0], empty_scans[0].grid.voxel_mm, response)
    strong = binary_erosion(noise.body, iterations=4) & (noise.background > 1.7e5)
    variance = images.var(axis=0, ddof=1)
    assert noise.sigma[strong].mean() == pytest.approx(np.sqrt(variance[strong].mean()), rel=0.1)
