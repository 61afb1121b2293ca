"""Phase is made continuous inside the mask, and left alone where it is already."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ferrosight.field.unwrap import unwrap_in_mask


def wrapped(phase: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * phase)).astype(np.float32)


@pytest.mark.parametrize("shape", [(40, 33, 12), (40, 33, 1), (1, 33, 12)])
def test_a_smooth_phase_of_several_turns_comes_back(shape: tuple[int, ...]) -> None:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij")
    phase = 9 * x + 6 * y**2 - 3 * y + 4 * z * x
    result = unwrap_in_mask(wrapped(phase), np.ones(shape, dtype=bool))
    turns = (result - phase) / (2 * np.pi)
    assert np.ptp(turns) < 1e-5
    assert turns.flat[0] == pytest.approx(round(turns.flat[0]), abs=1e-5)
    assert abs(np.median(result)) <= np.pi


def test_each_piece_of_the_mask_is_centred_by_itself() -> None:
    shape = (40, 30, 8)
    x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")[0]
    mask = (x < 15) | (x > 25)
    result = unwrap_in_mask(wrapped(0.5 * x), mask)
    assert np.isnan(result[20]).all()
    for piece in (slice(0, 15), slice(26, 40)):
        assert np.allclose(np.diff(result[piece], axis=0), 0.5, atol=1e-5)
        assert abs(np.median(result[piece])) <= np.pi


def test_a_phase_without_jumps_is_returned_as_it_is() -> None:
    x, _, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in (20, 15, 9)], indexing="ij")
    phase = (3 * x).astype(np.float32)
    assert np.array_equal(unwrap_in_mask(phase, np.ones(x.shape, dtype=bool)), phase.astype(np.float64))


@pytest.mark.parametrize("shape", [(12, 11, 9), (20, 18, 1), (1, 16, 15)])
def test_the_result_does_not_depend_on_what_memory_held_before(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    phase = wrapped(40 * ndimage.gaussian_filter(rng.normal(size=shape), 1.0))
    mask = rng.random(shape) > 0.1
    found = set()
    for rubbish in (np.nan, 0.0, 1e300, -7.0):
        # Freed at once, so that the next arrays lie where it was.
        used = [np.full(n, rubbish) for n in (64, 512, 3000, *(k * phase.size for k in range(1, 6))) for _ in range(30)]
        del used
        found.add(unwrap_in_mask(phase, mask).tobytes())
    assert len(found) == 1
