"""The load of a cell follows its equation, and is monotonic in what a biologist would turn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from ferrosight.cells.load import draw_batches, draw_loads, surface_um2, trace_load, uptake_rate

positive = st.floats(0.05, 50.0)


@pytest.mark.parametrize("onset_h", [0.0, 10.0, 30.0, 48.0, 500.0])
@pytest.mark.parametrize(("exposure_h", "chase_h"), [(24.0, 0.0), (24.0, 100.0), (60.0, 7.0), (1.0, 300.0)])
def test_the_closed_form_solves_the_differential_equation(onset_h, exposure_h, chase_h):
    rate, divide, leave = 1.3, np.log(2) / 31, 0.006

    def change(t, load):
        return rate * (t < exposure_h) - (divide + leave * (t >= onset_h)) * load

    cuts = sorted({0.0, min(onset_h, exposure_h + chase_h), exposure_h, exposure_h + chase_h})
    load = np.zeros(1)
    for begin, end in pairwise(cuts):
        solved = solve_ivp(change, (begin, end - 1e-9), load, rtol=1e-9, atol=1e-12)
        load = solved.y[:, -1]
    assert trace_load(rate, divide, leave, exposure_h, chase_h, onset_h) == pytest.approx(load[0], rel=1e-6)


def test_without_loss_all_that_was_taken_up_stays():
    assert trace_load(2.0, 0.0, 0.0, 24.0, 1000.0, 48.0) == pytest.approx(48.0, rel=1e-12)


@given(divisions=st.integers(0, 30), doubling_h=st.floats(8, 200))
def test_a_load_halves_with_every_division(divisions, doubling_h):
    divide = np.log(2) / doubling_h
    start = trace_load(1.0, divide, 0.0, 24.0, 0.0, 48.0)
    later = trace_load(1.0, divide, 0.0, 24.0, divisions * doubling_h, 48.0)
    assert later == pytest.approx(start * 2.0**-divisions, rel=1e-12)


def test_uptake_is_half_of_full_at_half_dose_and_saturates():
    assert uptake_rate(4.0, 30.0, 30.0) == pytest.approx(2.0)
    assert uptake_rate(4.0, 3e9, 30.0) == pytest.approx(4.0)
    assert surface_um2(10.0) == pytest.approx(314.159265)


@given(
    per_surface=positive, diameter=st.floats(5, 40), grow=st.floats(1.01, 3), dose=positive, half=positive,
    doubling_h=st.floats(10, 200), slow=st.floats(1.01, 5), exposure_h=st.floats(1, 96), chase_h=st.floats(0, 500),
    leave=st.floats(0, 0.02),
)  # fmt: skip
def test_larger_and_slower_cells_hold_more_of_any_particle(
    per_surface, diameter, grow, dose, half, doubling_h, slow, exposure_h, chase_h, leave
):
    def load(diameter_um, doubling):
        full = per_surface * surface_um2(diameter_um)
        return trace_load(uptake_rate(full, dose, half), np.log(2) / doubling, leave, exposure_h, chase_h, 48.0)

    base = load(diameter, doubling_h)
    assert load(diameter * grow, doubling_h) == pytest.approx(base * grow**2)
    assert load(diameter, doubling_h * slow) > base


def test_loads_are_drawn_with_their_mean_and_spread():
    rng = np.random.default_rng(5)
    for values, spread in ((draw_loads(10.0, 0.8, 200_000, rng), 0.8), (draw_batches(10.0, 0.2, 200_000, rng), 0.2)):
        assert values.mean() == pytest.approx(10.0, rel=0.01)
        assert values.std() / values.mean() == pytest.approx(spread, rel=0.03)
        assert (values > 0).all()
