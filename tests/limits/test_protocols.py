"""SNR goes with the voxel's volume and the root of time."""

from __future__ import annotations

import pytest

from ferrosight.limits import change_scan_time, change_voxel, find_limit
from ferrosight.types import Protocol, Search

PROTOCOL = Protocol(7.0, (0.004, 0.012), (0.1, 0.1, 0.2), 40.0, 30.0)
SEARCH = Search(positions=1e6)


def test_snr_and_positions_follow_the_voxels_volume():
    protocol, search = change_voxel(PROTOCOL, SEARCH, (0.05, 0.1, 0.1))
    assert protocol.snr == pytest.approx(10)
    assert search.positions == pytest.approx(4e6)
    assert protocol.voxel_mm == (0.05, 0.1, 0.1)
    back, as_before = change_voxel(protocol, search, PROTOCOL.voxel_mm)
    assert back.snr == pytest.approx(PROTOCOL.snr)
    assert as_before.positions == pytest.approx(SEARCH.positions)


def test_four_times_as_long_is_twice_the_snr_and_lowers_the_limit():
    longer = change_scan_time(PROTOCOL, 4.0)
    assert longer.snr == pytest.approx(80)
    # A weak cluster's d' is proportional to SNR times moment, a strong one's grows more slowly.
    ratio = find_limit(PROTOCOL, SEARCH).moment_am2 / find_limit(longer, SEARCH).moment_am2
    assert 2 < ratio < 4
