"""What is not growth is taken off: factors of a visit, iron of earlier doses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.relapse.normalise import predict_carry_over, take_off_reference
from ferrosight.types.relapse import Measured

MEASURED = Measured(
    "iron",
    np.array([[4.0, 6.0, 5.0], [1.0, 2.0, 3.0]]),
    np.full((2, 3), 0.5),
    np.zeros(2, dtype=np.int64),
    np.zeros((2, 3)),
    factor_sd_max=0.15,
)


def test_a_reference_takes_the_factors_place():
    reference = np.array([2.0, 3.0, 2.5])
    values, sds, left = take_off_reference(dataclasses.replace(MEASURED, reference=reference, reference_rel_err=0.03))
    assert values[0] == pytest.approx([2.0, 2.0, 2.0])
    assert sds[1] == pytest.approx(0.5 / reference)
    assert left == 0.03
    assert take_off_reference(MEASURED)[2] == 0.15


def test_a_scan_before_the_dose_is_subtracted_with_its_error():
    before = (np.full((2, 3), 0.75), np.full((2, 3), 1.2))
    values, sds, _ = take_off_reference(dataclasses.replace(MEASURED, before_dose=before))
    assert values[1] == pytest.approx([0.25, 1.25, 2.25])
    assert sds == pytest.approx(np.full((2, 3), 1.3))


@given(
    st.floats(0, 0.6),
    st.floats(0, 1),
    st.integers(0, 6),
    st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
def test_what_is_kept_of_earlier_doses_never_looks_like_growth(bound, share, earlier, falls):
    """Any constant retention up to the bound, any first dose before the birth, any course that never rises."""
    births = np.array([earlier])
    target = 10 * np.cumprod(np.array(falls) ** 0.3)
    iron = target.copy()
    for visit in range(1, len(iron)):
        iron[visit] += bound * share * iron[visit - 1]
    after = iron / predict_carry_over(births, len(iron), bound)[0]
    assert (np.diff(after[earlier + 1 :]) <= 1e-9).all()


def test_retention_beyond_the_bound_does():
    iron = np.cumsum(0.6 ** np.arange(10))
    after = iron / predict_carry_over(np.array([0]), 10, 0.3)[0]
    assert (np.diff(after[1:]) > 0).any()
