"""What goes together is counted together, and what a fit took from its residual is given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.register.blocks import restore_sums, sum_into_cells, sum_over_blocks, sum_softly

N = 20
BLUR = 0.7


def test_influences_add_up_by_block() -> None:
    places = np.concatenate([[[0.1, 0, 0], [0.9, 0, 0]], np.arange(1, 12)[:, None] + [0.5, 0, 0]])
    influences = np.arange(26.0).reshape(13, 2)
    sums = sum_over_blocks(influences, places, 1.0)
    assert len(sums) == 12
    np.testing.assert_allclose(sums[0], np.sqrt(2) * (influences[0] + influences[1]))
    np.testing.assert_allclose(sums[1:], np.sqrt(2) * influences[2:])


def test_cells_have_the_middle_sum_and_number_of_their_places() -> None:
    middles, sums, count = sum_into_cells(np.array([[0.2, 0, 0], [0.6, 0, 0], [1.5, 0, 0]]), np.eye(3), 1.0)
    np.testing.assert_allclose(middles[:, 0], [0.4, 1.5])
    np.testing.assert_array_equal(sums, [[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(count, [2, 1])


def test_soft_sums_are_those_over_all_pairs() -> None:
    """On the lattice of the cells the sum over all pairs of places can be written down."""
    rng = np.random.default_rng(1)
    places = rng.integers(0, 12, size=(60, 3)) * 1.5 + 0.75
    influences = rng.normal(size=(60, 4))
    squared = ((places[:, None] - places) ** 2).sum(axis=-1)
    expected = influences.T @ np.exp(-squared / (2 * 3.0**2)) @ influences
    found = sum_softly(places, influences, 3.0)
    np.testing.assert_allclose(found.T @ found, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def build_fit() -> tuple[NDArray[Any], NDArray[Any]]:
    """Places (n, 3) and the Jacobian of three shifts, three turns and a receive profile of fourth order."""
    rng = np.random.default_rng(3)
    image = 1 + 0.2 * 8 * ndimage.gaussian_filter(rng.normal(size=(N,) * 3), 1.5, mode="wrap")
    places = np.argwhere(np.ones_like(image)).astype(float)
    y = places - places.mean(axis=0)
    slopes = np.stack([np.gradient(image, axis=axis).ravel() for axis in range(3)], axis=1)
    terms = [power for power in np.ndindex(5, 5, 5) if sum(power) <= 4]
    unit = y / np.abs(y).max()
    gain = np.stack([image.ravel() * np.prod(unit**power, axis=1) for power in terms], axis=1)
    return places, np.concatenate([slopes, np.cross(y, slopes), gain], axis=1)


def test_predicted_errors_of_a_fit_of_many_numbers_are_right_under_blurred_noise() -> None:
    """Residuals as they are, summed over the same reach, make the error look a tenth smaller and more."""
    places, jacobian = build_fit()
    normal = np.linalg.inv(jacobian.T @ jacobian)
    rng = np.random.default_rng(4)
    reach = 3.0
    restore = restore_sums(jacobian, np.ones(len(places)), places, reach, BLUR**2 * np.eye(3))
    errors, restored, as_they_are = [], [], []
    for number in range(400):
        noise = ndimage.gaussian_filter(rng.normal(size=(N,) * 3), BLUR, mode="wrap").ravel()
        found = normal @ (jacobian.T @ noise)
        errors.append(found[:6])
        if number % 4:
            continue
        influences = (jacobian * (noise - jacobian @ found)[:, None]) @ normal[:, :6]
        for sums, covariances in ((influences, as_they_are), (influences @ restore.T, restored)):
            covariances.append(np.square(sum_softly(places, sums, reach)).sum(axis=0))
    actual = np.square(errors).mean(axis=0)
    # 400 draws of six numbers: 1.5 % of a standard deviation from chance alone
    assert np.sqrt(np.mean(actual / np.mean(restored, axis=0))) == pytest.approx(1, abs=0.08)
    assert np.sqrt(np.mean(actual / np.mean(as_they_are, axis=0))) > 1.1


def test_what_little_is_left_is_not_raised_without_end() -> None:
    """One block alone cancels altogether: nothing is known from it."""
    places, jacobian = build_fit()
    restore = restore_sums(jacobian, np.ones(len(places)), places, 1000.0, np.eye(3))
    assert np.abs(np.linalg.eigvals(restore)).max() < 3.2
