"""The system matrix conserves activity, and reconstruction returns what was projected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.simulate.pet_projector import build_subsets, list_angles, reconstruct
from ferrosight.simulate.pet_spec import PetScanner

SCANNER = PetScanner("test", (21, 18, 4), (1.0, 1.3, 2.0), 36, 0.9, 2.0, 2.0, 0.1, 0.0, 0.0, 8, 6)


def project(image: np.ndarray) -> np.ndarray:
    out = np.empty((SCANNER.n_angles, SCANNER.n_bins, image.shape[2]), np.float32)
    for subset in build_subsets(SCANNER):
        out[subset.angles] = (subset.forward @ image.reshape(-1, image.shape[2])).reshape(
            len(subset.angles), SCANNER.n_bins, -1
        )
    return out


def test_each_projection_holds_all_of_the_slice() -> None:
    image = np.random.default_rng(0).random((21, 18, 4)).astype(np.float32)
    area = 1.0 * 1.3
    np.testing.assert_allclose(
        project(image).sum(axis=1) * SCANNER.bin_mm, np.broadcast_to(image.sum((0, 1)) * area, (36, 4)), rtol=1e-5
    )


def test_a_point_lands_where_it_lies() -> None:
    image = np.zeros((21, 18, 4), np.float32)
    image[15, 4, 2] = 1
    x, y = (15 - 10) * 1.0, (4 - 8.5) * 1.3
    bins = (np.arange(SCANNER.n_bins) - (SCANNER.n_bins - 1) / 2) * SCANNER.bin_mm
    lines = project(image)[:, :, 2]
    centre = (lines * bins).sum(axis=1) / lines.sum(axis=1)
    angles = list_angles(SCANNER)
    # A shadow hardly wider than a bin shifts within it without moving its centroid of bins by as much.
    np.testing.assert_allclose(centre, x * np.cos(angles) + y * np.sin(angles), atol=SCANNER.bin_mm / 10)


def test_back_is_the_adjoint_of_forth() -> None:
    rng = np.random.default_rng(1)
    image, lines = rng.random((21, 18, 4)), rng.random((36, SCANNER.n_bins, 4))
    back = sum(subset.backward @ lines[subset.angles].reshape(-1, 4) for subset in build_subsets(SCANNER))
    assert (project(image) * lines).sum() == pytest.approx((back * image.reshape(-1, 4)).sum(), rel=1e-5)


def test_reconstruction_returns_a_smooth_image() -> None:
    x, y = np.meshgrid(np.arange(21) - 9.0, np.arange(18) - 8.0, indexing="ij")
    image = (100 * np.exp(-(x**2 + y**2) / 40))[..., None].repeat(4, axis=2).astype(np.float32)
    factors = np.full((36, SCANNER.n_bins, 4), 0.5, np.float32)
    additive = np.full_like(factors, 3.0)
    found = reconstruct(SCANNER, project(image) * factors + additive, factors, additive)
    inside = image > 20
    assert np.abs(found[inside] / image[inside] - 1).max() < 0.05


def test_angles_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(InputError, match="subsets"):
        dataclasses.replace(SCANNER, subsets=5)
