"""Closed forms against their differential equations, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from ferrosight.cells.growth import divide_per_day, grow_exponentially, grow_gompertz, grow_logistically
from ferrosight.errors import InputError

RATES = st.floats(0.01, 1.5)
STARTS = st.floats(1.0, 1e5)


def integrate(slope, start, days):
    """log N by a solver that knows nothing of the closed form."""
    done = solve_ivp(lambda _, x: slope(np.exp(x)) / np.exp(x), (0, days), [np.log(start)], rtol=1e-9, atol=1e-10)
    return np.exp(done.y[0, -1])


@given(STARTS, RATES, st.floats(0, 1.0), st.floats(1e2, 1e7), st.floats(0.1, 30))
def test_logistic_growth_solves_its_equation(start, birth, death, capacity, days):
    def slope(n):
        return birth * n * (1 - n / capacity) - death * n

    found = grow_logistically(start, days, birth, capacity, death)
    assert found == pytest.approx(integrate(slope, start, days), rel=1e-5)


@given(STARTS, st.floats(0.01, 0.8), st.floats(0, 0.5), st.floats(1e2, 1e9), st.floats(0.1, 30))
def test_gompertz_growth_solves_its_equation(start, slowing, death, capacity, days):
    def slope(n):
        return slowing * n * np.log(capacity / n) - death * n

    found = grow_gompertz(start, days, slowing, capacity, death)
    assert found == pytest.approx(integrate(slope, start, days), rel=1e-5)


def test_cells_double_in_the_doubling_time_and_death_is_taken_off():
    assert grow_exponentially(100.0, [0.0, 3.0, 9.0], divide_per_day(3.0)) == pytest.approx([100, 200, 800])
    assert grow_exponentially(100.0, 5.0, 0.4, 0.4) == pytest.approx(100)
    assert grow_exponentially(100.0, 2.0, 0.0, 0.5) == pytest.approx(100 * np.exp(-1))


def test_small_populations_grow_exponentially_and_large_ones_stop():
    days = np.linspace(0, 5, 6)
    assert grow_logistically(1.0, days, 0.7, 1e12, 0.2) == pytest.approx(grow_exponentially(1.0, days, 0.7, 0.2))
    assert grow_logistically(7.0, 1e4, 0.8, 1e6, 0.2) == pytest.approx(0.75e6)
    assert grow_gompertz(7.0, 1e4, 0.1, 1e6, 0.05) == pytest.approx(1e6 * np.exp(-0.5))
    assert grow_logistically(50.0, 10.0, 0.3, 1e3, 0.3) == pytest.approx(50 / (1 + 0.3 / 1e3 * 50 * 10))


def test_no_cells_stay_none():
    for n in (grow_exponentially(0, 9, 1.0), grow_logistically(0, 9, 1.0, 10), grow_gompertz(0, 9, 1.0, 10)):
        assert n == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: grow_exponentially(-1, 1, 1),
        lambda: grow_exponentially(1, -1, 1),
        lambda: grow_exponentially(1, 1, 1, -0.1),
        lambda: grow_logistically(1, 1, 1, 0),
        lambda: grow_gompertz(1, 1, 0, 10),
        lambda: grow_gompertz(1, 1, 0.1, np.nan),
        lambda: divide_per_day(0),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(InputError):
        call()
