"""A bracketed zero is found to the tolerance asked for, and nothing else is called one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.numerics.roots import find_root


@given(st.floats(-5, 5), st.floats(0.1, 8), st.floats(0.1, 8))
def test_a_zero_is_found_wherever_it_lies_in_its_bracket(zero: float, below: float, above: float) -> None:
    found = find_root(lambda x: math.expm1(x - zero), zero - below, zero + above, tolerance=1e-9)
    assert abs(found - zero) <= 1e-9


def test_a_zero_at_the_upper_end_is_found() -> None:
    assert find_root(lambda x: x - 1, 0, 1, tolerance=1e-6) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (-2.0, -1.0), (1.0, -1.0)])
def test_ends_that_bracket_nothing_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no zero is bracketed"):
        find_root(lambda x: x, low, high)
