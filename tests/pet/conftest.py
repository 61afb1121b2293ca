"""One small-animal scanner, its point spread measured in its own scan of a point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ferrosight.pet import measure_point_spread
from ferrosight.simulate import HotSphere, PetCounts, PetSpec, build_pet_spec, expect_counts, simulate_pet_scan
from ferrosight.types import PetResponse, PetScan

BACKGROUND_BQ_ML = 1e5

Simulate = Callable[..., PetScan]


@pytest.fixture(scope="session")
def response() -> PetResponse:
    """The point spread, from a noisy scan of a bright point."""
    place = (-6.1, 1.3, 4.2)
    scan, _ = simulate_pet_scan(build_pet_spec("small-animal", (HotSphere(place, 0.2, 2e4),)), 7)
    return measure_point_spread(scan, np.array(place), 1.3, 0.6)


@pytest.fixture(scope="session")
def empty_spec() -> PetSpec:
    """A mouse with a warm organ and nothing else."""
    return build_pet_spec("small-animal")


@pytest.fixture(scope="session")
def empty_counts(empty_spec: PetSpec) -> PetCounts:
    """What it is expected to count."""
    return expect_counts(empty_spec)


@pytest.fixture(scope="session")
def empty_scans(empty_spec: PetSpec, empty_counts: PetCounts) -> list[PetScan]:
    """Eight scans of it."""
    return [simulate_pet_scan(empty_spec, seed, empty_counts)[0] for seed in range(8)]
