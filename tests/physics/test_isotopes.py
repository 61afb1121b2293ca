"""Isotopes by any name, and decay against sums over time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.physics.isotopes import ISOTOPES, decay_factor, find_isotope, frame_correction


@pytest.mark.parametrize("name", ["18F", "F18", "F-18", "^18^Fluorine", "Fluorine-18", "[18F]", "fluorine 18"])
def test_an_isotope_has_many_names(name: str) -> None:
    assert find_isotope(name) is ISOTOPES["18F"]


@pytest.mark.parametrize("name", ["", "FDG", "F19", "18O", "[18F]FDG", "C-111A1"])
def test_what_names_no_isotope_is_none(name: str) -> None:
    assert find_isotope(name) is None


def test_every_isotope_says_where_its_numbers_are_from() -> None:
    assert set(ISOTOPES) == {"18F", "64Cu", "68Ga", "89Zr", "124I"}
    for isotope in ISOTOPES.values():
        assert isotope.half_life_source.startswith("assumption")
        assert isotope.positron_range_source.startswith("assumption")
        assert find_isotope(isotope.name) is isotope


def test_half_is_left_after_a_half_life() -> None:
    np.testing.assert_allclose(decay_factor([0, 100, 200, -100], 100.0), [1, 0.5, 0.25, 2])


@given(
    start=st.floats(-1e4, 1e5),
    duration=st.floats(1e-2, 1e5),
    half_life=st.floats(10.0, 1e6).filter(lambda t: t > 1e3),
)
def test_a_frames_mean_times_its_correction_is_the_activity_at_zero(
    start: float, duration: float, half_life: float
) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(60)
    times = start + duration * (1 + nodes) / 2
    mean = float(weights @ decay_factor(times, half_life)) / 2
    assert mean * float(frame_correction(start, duration, half_life)) == pytest.approx(1, rel=1e-6)
