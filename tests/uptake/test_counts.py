"""Numbers of particles against synthetic micrographs that a microscope could have made."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.simulate.micrographs import MicrographSpec, simulate_micrograph
from ferrosight.uptake.counts import Counts, count_particles
from ferrosight.uptake.density import measure_density
from ferrosight.uptake.particles import find_singles


def count(spec: MicrographSpec, rng: np.random.Generator) -> tuple[int, Counts]:
    image, truth = simulate_micrograph(spec, rng)
    density = measure_density(image, np.zeros(image.shape, bool), spec.nm_per_pixel)
    return truth, count_particles(density, find_singles(density))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0.05, 0.3, 0.6])
def test_the_number_is_right_to_a_twentieth_on_average(layers: float) -> None:
    rng = np.random.default_rng(71)
    ratios = []
    for _ in range(6):
        truth, counts = count(MicrographSpec(shape=(420, 470), layers=layers), rng)
        assert counts.refusal == ""
        ratios.append(counts.sum_over(np.ones(counts.weights.shape, bool))[0] / truth)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "hard_core"), [(0.3, 1.0), (0.6, 1.0), (0.6, 0.7)])
def test_the_number_is_right_where_particles_lie_side_by_side(layers: float, hard_core: float) -> None:
    """Large particles touch sooner than small ones: those that stand apart are too small to speak for all."""
    rng = np.random.default_rng(72)
    ratios, held = [], []
    for _ in range(4):
        truth, counts = count(MicrographSpec(shape=(420, 470), layers=layers, hard_core=hard_core), rng)
        number, low, high = counts.sum_over(np.ones(counts.weights.shape, bool))
        ratios.append(number / truth)
        held.append(low <= truth <= high)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    assert sum(held) >= 3


@pytest.mark.slow
def test_where_sizes_vary_much_counting_is_mostly_refused() -> None:
    rng = np.random.default_rng(73)
    refusals = [count(MicrographSpec(shape=(420, 470), size_cv=0.18), rng)[1].refusal for _ in range(6)]
    assert refusals.count("count_noisy") >= 5


def test_parts_add_up_to_the_whole() -> None:
    _, counts = count(MicrographSpec(shape=(420, 470)), np.random.default_rng(9))
    half = np.zeros(counts.weights.shape, bool)
    half[:, :200] = True
    whole = counts.sum_over(np.ones_like(half))[0]
    assert counts.sum_over(half)[0] + counts.sum_over(~half)[0] == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"contrast": 9.0, "fringe": 0.0}, "count_saturated"),
        ({"nm_per_pixel": 3.2}, "particles_unresolved"),
    ],
)
def test_what_cannot_be_counted_is_refused(change: dict[str, float], refusal: str) -> None:
    spec = dataclasses.replace(MicrographSpec(shape=(420, 470)), **change)
    _, counts = count(spec, np.random.default_rng(5))
    assert counts.refusal == refusal
    assert all(math.isnan(value) for value in counts.sum_over(np.ones(counts.weights.shape, bool)))
