"""Gradient-echo signal and the published single-cell limit."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.physics.signal import bssfp_single_cell_limit_pg, gradient_echo_signal


@pytest.mark.parametrize(("voxel_um", "limit_pg"), [(100, 1.344), (200, 10.75)])
def test_bssfp_single_cell_limit(voxel_um: float, limit_pg: float) -> None:
    assert bssfp_single_cell_limit_pg((voxel_um * 1e-3) ** 3, 60) == pytest.approx(limit_pg, rel=1e-3)


def test_signal_decays_and_turns() -> None:
    signal = gradient_echo_signal(2.0, 50.0, 10.0, (0.005, 0.010), phase_offset_rad=0.3)
    assert signal.shape == (2,)
    np.testing.assert_allclose(np.abs(signal), 2 * np.exp([-0.25, -0.5]))
    np.testing.assert_allclose(np.angle(signal), 0.3 + 2 * np.pi * 10 * np.array([0.005, 0.010]))


def test_phase_sign_turns_the_field_and_not_the_offset() -> None:
    falling = gradient_echo_signal(1.0, 0.0, 10.0, (0.005,), phase_offset_rad=0.3, phase_sign=-1)
    np.testing.assert_allclose(np.angle(falling), 0.3 - 2 * np.pi * 10 * 0.005)


def test_maps_broadcast_with_numbers_behind_the_echo_axis() -> None:
    field = np.arange(24.0).reshape(2, 3, 4)
    signal = gradient_echo_signal(1.0, 30.0, field, (0.004, 0.008, 0.012))
    assert signal.shape == (3, 2, 3, 4)
    one = gradient_echo_signal(1.0, 30.0, field[1, 2, 3], (0.004, 0.008, 0.012))
    np.testing.assert_allclose(signal[:, 1, 2, 3], one)
