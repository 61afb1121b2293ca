"""A scan that contradicts itself is refused when it is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.errors import ImageError, InputError, SidecarError
from ferrosight.types import PhaseSign, Scan


def make_scan(**changes: Any) -> Scan:
    values: dict[str, Any] = {
        "signal": np.ones((2, 3, 5, 7), dtype=np.complex64),
        "echo_times_s": [0.004, 0.008],
        "b0_t": 7.0,
        "affine": np.diag([0.1, 0.2, 0.3, 1.0]),
    }
    return Scan(**{**values, **changes})


def test_a_scan_knows_its_grid() -> None:
    scan = make_scan()
    assert scan.grid.shape == (3, 5, 7)
    assert scan.grid.voxel_mm == pytest.approx((0.1, 0.2, 0.3))
    assert scan.phase_sign is PhaseSign.UNKNOWN
    np.testing.assert_allclose(scan.b0_in_array, [0, 0, 1])


def test_b0_follows_the_arrays_axes() -> None:
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 0.3], [0.1, 0, 0], [0, -0.2, 0]]
    np.testing.assert_allclose(make_scan(affine=affine).b0_in_array, [0, -1, 0], atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 5, 7), (5, 7), (1, 2, 3, 5, 7)])
def test_the_signal_has_an_echo_axis(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="echo, x, y, z"):
        make_scan(signal=np.ones(shape, dtype=np.complex64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan)])
def test_a_signal_that_is_not_finite_is_refused(bad: complex) -> None:
    signal = np.ones((2, 3, 5, 7), dtype=np.complex64)
    signal[1, 2, 3, 4] = bad
    with pytest.raises(InputError, match="1 of its 210 values"):
        make_scan(signal=signal)


@pytest.mark.parametrize("times", [[0.008, 0.004], [0.004, 0.004], [0.0, 0.004], [-0.001, 0.004]])
def test_echo_times_grow_from_above_zero(times: list[float]) -> None:
    with pytest.raises(SidecarError, match="positive and growing"):
        make_scan(echo_times_s=times)


@pytest.mark.parametrize("times", [[0.004], [0.004, 0.008, 0.012], [[0.004, 0.008]]])
def test_there_is_one_echo_time_per_echo(times: Any) -> None:
    with pytest.raises(InputError, match="echo_times_s must have shape"):
        make_scan(echo_times_s=times)


def test_an_echo_time_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="echo_times_s must be finite"):
        make_scan(echo_times_s=[0.004, np.nan])


@pytest.mark.parametrize("b0_t", [0.0, -3.0, 300.0, float("nan")])
def test_an_impossible_field_strength_is_refused(b0_t: float) -> None:
    with pytest.raises(SidecarError, match="B0 must lie"):
        make_scan(b0_t=b0_t)


@pytest.mark.parametrize("direction", [(0, 0, 2), (0, 0, 0), (0, 1), (0, 0, np.nan), (0.7, 0.7, 0.7)])
def test_b0_points_along_a_unit_vector(direction: tuple[float, ...]) -> None:
    with pytest.raises(SidecarError, match="unit vector"):
        make_scan(b0_direction=direction)


def test_the_affine_is_checked_when_the_scan_is_built() -> None:
    with pytest.raises(ImageError, match="positive"):
        make_scan(affine=np.diag([0.0, 1.0, 1.0, 1.0]))


def test_a_phase_sign_is_one_of_three() -> None:
    assert make_scan(phase_sign=-1).phase_sign is PhaseSign.NEGATIVE
    with pytest.raises(ValueError, match="2"):
        make_scan(phase_sign=2)


def test_nobody_can_change_the_signal() -> None:
    scan = make_scan()
    with pytest.raises(ValueError, match="read-only"):
        scan.signal[0, 0, 0, 0] = 0


def test_a_callers_own_array_stays_writable() -> None:
    signal = np.ones((2, 3, 5, 7), dtype=np.complex64)
    make_scan(signal=signal)
    signal[0, 0, 0, 0] = 2
