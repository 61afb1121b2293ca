"""A protocol and what is asked of it are checked when they are built."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import Grid, LimitMap, PowerCurve, Protocol, Search
from ferrosight.types.limit import DetectionLimit

PROTOCOL = Protocol(7.0, (0.004, 0.008), (0.1, 0.2, 0.3), 30.0, 20.0)


def test_the_volume_is_the_product_of_the_edges():
    assert PROTOCOL.voxel_volume_m3 == pytest.approx(6e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"echo_times_s": ()}, "echo times"),
        ({"echo_times_s": (0.008, 0.004)}, "echo times"),
        ({"echo_times_s": (0.004, 0.004)}, "echo times"),
        ({"echo_times_s": (0.004, math.nan)}, "echo times"),
        ({"voxel_mm": (0.1, 0.1)}, "three positive edges"),
        ({"voxel_mm": (0.1, 0.0, 0.1)}, "three positive edges"),
        ({"b0_t": math.nan}, "B0"),
        ({"snr": 0.0}, "signal-to-noise"),
        ({"snr": math.inf}, "signal-to-noise"),
        ({"r2star_per_s": -1.0}, "R2"),
        ({"b0_in_array": (0.0, 1.0, 1.0)}, "unit vector"),
    ],
)
def test_an_impossible_protocol_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(PROTOCOL, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"power": 0.0}, "power"),
        ({"power": math.nan}, "power"),
        ({"false_per_scan": 0.0}, "false alarms"),
        ({"positions": 0.5}, "positions"),
        ({"positions": math.inf}, "positions"),
    ],
)
def test_an_impossible_demand_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(Search(), **changes)


def test_maps_and_curves_are_checked_and_cannot_be_changed():
    grid = Grid((2, 3, 4), np.eye(4))
    made = LimitMap(grid, np.full((2, 3, 4), np.nan), Search(), 6.5)
    assert made.iron_pg.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        made.iron_pg[0, 0, 0] = 1
    with pytest.raises(InputError, match="limit of detection must have shape"):
        LimitMap(grid, np.zeros((2, 3)), Search(), 6.5)
    limit = DetectionLimit(1e-13, 5.6, 1e8, 6.7, Search())
    with pytest.raises(InputError, match="power must have shape"):
        PowerCurve(np.ones(3), np.ones(2), limit)
