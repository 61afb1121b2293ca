"""Shares, rates and averages carry their numbers and intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ferrosight.evaluate.counts import average_mean, average_median, average_share, count_per_scan, count_share


def test_a_share_of_nothing_is_unknown():
    share = count_share(0, 0)
    assert math.isnan(share.value)
    assert (share.low, share.high, share.total) == (0.0, 1.0, 0)


def test_shares_and_rates():
    share = count_share(3, 4)
    assert (share.value, share.count, share.total) == (0.75, 3, 4)
    assert share.low < 0.75 < share.high
    rate = count_per_scan(6, 4)
    assert (rate.value, rate.count) == (1.5, 6)
    assert (rate.low, rate.high) == pytest.approx((2.202 / 4, 13.06 / 4), rel=1e-3)  # Garwood's table for 6


def test_averages():
    values = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert (average_mean(values).value, average_median(values).value) == (pytest.approx(1 / 6), 0.0)
    assert average_mean(values).low < 0
    assert average_share(values).low == 0.0
    assert (average_median(values).low, average_median(values).high) == (0.0, 1.0)
    empty = average_mean(np.zeros(0))
    assert empty.n == 0
    assert math.isnan(empty.value)
    assert math.isnan(average_share(values[:1]).high)
