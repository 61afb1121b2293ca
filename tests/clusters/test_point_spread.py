"""Which point spreads a weak source may have besides the one that the scan's strongest chose."""

from __future__ import annotations

import pytest

from ferrosight.clusters.point_spread import other_point_spreads
from ferrosight.clusters.prepare import PointSpread
from ferrosight.physics.cluster_signal import Readout
from ferrosight.types import AxisSupport

SUPPORTS = (AxisSupport(), AxisSupport(-0.5, 0.25), AxisSupport())


@pytest.mark.parametrize("kind", ["box", "kspace"])
def test_a_plain_choice_leaves_the_other_plain_one(kind: str) -> None:
    (other,) = other_point_spreads(PointSpread(kind, SUPPORTS, Readout(), ""))  # type: ignore[arg-type]
    assert {kind, other.kind} == {"box", "kspace"}
    assert other.supports == SUPPORTS


@pytest.mark.parametrize("kind", ["box", "kspace"])
def test_a_displaced_choice_leaves_both_plain_ones(kind: str) -> None:
    others = other_point_spreads(PointSpread(kind, SUPPORTS, Readout(1, -0.2), ""))  # type: ignore[arg-type]
    assert {other.kind for other in others} == {"box", "kspace"}
    assert all(other.readout == Readout() for other in others)
