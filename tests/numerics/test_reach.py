"""What lies within reach, against a whole distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ferrosight.numerics.reach import find_within_reach


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    edges=st.tuples(*[st.floats(0.11, 2.9)] * 3),
    radius=st.floats(0.1, 6.0),
    share=st.floats(0.0, 0.3),
    seed=st.integers(0, 1000),
)
def test_it_is_the_distance_transform_below_the_radius(
    shape: tuple[int, int, int], edges: tuple[float, float, float], radius: float, share: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).uniform(size=shape) < share
    mask.flat[0] = True
    distance = ndimage.distance_transform_edt(~mask, sampling=edges)
    clear = np.abs(distance - radius) > 1e-9  # a voxel exactly as far is a matter of rounding
    found = find_within_reach(mask, radius, edges)
    np.testing.assert_array_equal(found[clear], (distance <= radius)[clear])


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1), (0, 2, 1)])
def test_memory_may_lie_in_any_order(turn: tuple[int, int, int]) -> None:
    mask = np.random.default_rng(5).uniform(size=(9, 12, 7)) < 0.02
    edges = (0.5, 0.7, 1.1)
    turned = find_within_reach(mask.transpose(turn), 1.6, tuple(edges[axis] for axis in turn))
    np.testing.assert_array_equal(turned, find_within_reach(mask, 1.6, edges).transpose(turn))


def test_nothing_is_within_reach_of_nothing() -> None:
    assert not find_within_reach(np.zeros((4, 5, 6), np.bool_), 3.0, (1.0, 1.0, 1.0)).any()
