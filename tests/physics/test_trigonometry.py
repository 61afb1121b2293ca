"""Sine, cosine and sinc as they are promised: right to 2e-9, far out and near zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from ferrosight.physics.trigonometry import sin_cos, sinc

PROMISED = 2e-9
SINC_PROMISED = 3e-9


@njit(cache=False)
def sin_cos_of_all(x, sine, cosine):  # type: ignore[no-untyped-def]
    """As they are used: in a loop that the compiler may work out several at a time."""
    for k in range(len(x)):
        sine[k], cosine[k] = sin_cos(x[k])


@njit(cache=False)
def sinc_of_all(x, out):  # type: ignore[no-untyped-def]
    for k in range(len(x)):
        out[k] = sinc(x[k])


def in_loop(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sine, cosine and sinc of every number."""
    sine, cosine, size = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    sin_cos_of_all(x, sine, cosine)
    sinc_of_all(x, size)
    return sine, cosine, size


@given(st.floats(-1e6, 1e6))
def test_sine_and_cosine_are_right_up_to_a_million(x: float) -> None:
    assert sin_cos(x) == pytest.approx((np.sin(x), np.cos(x)), rel=0, abs=PROMISED)


@given(st.integers(-600_000, 600_000), st.floats(-1e-6, 1e-6))
def test_every_quadrant_begins_where_it_should(quarter: int, beside: float) -> None:
    """At multiples of a quarter of π, where the series changes over or a value changes its sign."""
    x = quarter * np.pi / 4 + beside
    assert sin_cos(x) == pytest.approx((np.sin(x), np.cos(x)), rel=0, abs=PROMISED)


@given(st.one_of(st.floats(-10, 10), st.floats(-1e6, 1e6)))
def test_sinc_is_a_sine_over_its_argument(x: float) -> None:
    assert x * sinc(x) == pytest.approx(np.sin(x), rel=0, abs=PROMISED)


def test_sinc_is_right_to_what_it_promises() -> None:
    x = np.linspace(-10, 10, 200_001)
    assert np.abs(in_loop(x)[2] - np.sinc(x / np.pi)).max() < SINC_PROMISED


@given(st.floats(-0.02, 0.02))
def test_sinc_is_smooth_where_its_small_argument_form_takes_over(x: float) -> None:
    """That is at 0.01; sin(x)/x of numpy is exact on both sides."""
    assert sinc(x) == pytest.approx(np.sinc(x / np.pi), rel=0, abs=PROMISED)


def test_nothing_turns_by_nothing() -> None:
    assert sin_cos(0.0) == (0.0, 1.0)
    assert sinc(0.0) == 1.0
    for tiny in (1e-300, -1e-12, 1e-9):
        assert sin_cos(tiny)[0] == pytest.approx(tiny, rel=1e-12)
        assert sinc(tiny) == 1.0


def test_loops_give_what_single_calls_give() -> None:
    """Over six decades of either sign, in one loop."""
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], 200_000) * 10 ** rng.uniform(-3, 6, 200_000)
    sine, cosine, size = in_loop(x)
    assert np.abs(sine - np.sin(x)).max() < PROMISED
    assert np.abs(cosine - np.cos(x)).max() < PROMISED
    assert np.abs(x * size - np.sin(x)).max() < PROMISED
    assert np.abs(sine**2 + cosine**2 - 1).max() < 2 * PROMISED


@given(st.floats(0, 1e5))
def test_sine_is_odd_and_cosine_even(x: float) -> None:
    (one, other), (mirrored, same) = sin_cos(x), sin_cos(-x)
    assert mirrored == pytest.approx(-one, rel=0, abs=1e-12)
    assert same == pytest.approx(other, rel=0, abs=1e-12)
