"""Constants against the reference facts."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.physics.constants import (
    CHI_WATER,
    GAMMA_HZ_PER_T,
    GAMMA_RAD_PER_S_T,
    IRON_FRACTION_MAGHEMITE,
    IRON_FRACTION_MAGNETITE,
)


def test_iron_fractions_of_the_oxides() -> None:
    assert pytest.approx(0.7236, abs=1e-4) == IRON_FRACTION_MAGNETITE
    assert pytest.approx(0.6994, abs=1e-4) == IRON_FRACTION_MAGHEMITE


def test_water_is_as_diamagnetic_as_the_source_says() -> None:
    assert CHI_WATER == -9.035e-6


def test_both_gyromagnetic_ratios_are_one() -> None:
    assert pytest.approx(2 * np.pi * GAMMA_HZ_PER_T, rel=1e-9) == GAMMA_RAD_PER_S_T
