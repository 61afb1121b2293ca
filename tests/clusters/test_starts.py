"""Where fits start, and that they end where the best of all starts would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import Sources, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.starts import START_SHIFTS
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan

VOXEL_MM = (0.1, 0.08, 0.12)
SHAPE = (55, 55, 55)


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.06, -0.1])
def test_weak_sources_end_in_the_best_of_their_optima(workshop: Any, q: float) -> None:
    """Beside fits from every place of the grid, each to its end: 343 sources of d' about 8 and 12.

    Of single starts 9 to 25 % end in a worse one; of the few that are followed, measured, 3 and 2 %."""
    rng = np.random.default_rng(6)
    lattice = np.stack(np.meshgrid(*[np.arange(8, 78, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    places = lattice + rng.uniform(-0.5, 0.5, lattice.shape)
    n, sigma = len(places), 1 / 30
    scan = workshop.add_noise(workshop.simulate_points((86, 83, 81), places, np.full(n, q)), sigma, rng)
    data = workshop.window_data(scan, sigma)
    nothing = np.zeros(n, np.int64)
    sources = unfitted(nothing, nothing + int(np.sign(q)), np.round(places).astype(np.int64) + PAD, 1)

    def gain(fitted: Sources) -> Any:
        return np.where(fitted.steps >= 0, fitted.chi2_background - fitted.chi2, 0.0)

    found = gain(fit_sources(data, sources, no_neighbours(data), search=True))
    from_all = np.array(
        [
            gain(
                fit_sources(
                    data,
                    replace(sources, q=np.full(n, q), shifts=np.tile(shift, (n, 1))),
                    no_neighbours(data),
                    search=False,
                )
            )
            for shift in START_SHIFTS
        ]
    )
    best = from_all.max(axis=0)
    # The test sees what a single start misses.
    assert (best - from_all > 0.5).mean(axis=1).min() > 0.06
    lost = best - found
    assert np.mean(lost > 0.5) < 0.06


def test_searches_end_at_the_source(workshop: Any) -> None:
    """250 sources of both signs and |q| from 0.3 to 20, at random sub-voxel offsets: found from the grid of starts
    as often as from the truth itself. Measured: all."""
    rng = np.random.default_rng(3)
    steps = 11 * (np.arange(5) + 0.5)
    places = np.round(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3))
    places += rng.uniform(-0.5, 0.5, places.shape)
    n = len(places)
    q = rng.choice([-1.0, 1.0], n) * np.exp(rng.uniform(np.log(0.3), np.log(20), n))
    spec = ScanSpec(SHAPE, build_affine(SHAPE, VOXEL_MM, (25, -15, 40)), (0.01,), 7.0, background_hz=4.0)
    points = [
        Point(tuple(mm), workshop.moment_am2(one, VOXEL_MM, 0.01))
        for mm, one in zip(spec.grid.to_mm(places), q, strict=True)
    ]
    scan, _ = simulate_scan(replace(spec, sources=tuple(points)), 1)
    centres, nothing = np.round(places + PAD).astype(np.int64), np.zeros(n, np.int64)
    scores, found = [], []
    for _ in range(2):
        data = workshop.window_data(workshop.add_noise(scan, 1 / 25, rng), 1 / 25)
        start = unfitted(nothing, np.sign(q).astype(np.int64), centres, 1)
        fitted = fit_sources(data, start, no_neighbours(data), search=True)
        truth = replace(start, q=q, shifts=places + PAD - centres)
        from_truth = fit_sources(data, truth, no_neighbours(data), search=False)
        found.append((fitted.steps >= 0) & (fitted.chi2 < from_truth.chi2 + 0.5))
        scores.append(from_truth.score)
    strong = np.array(scores) > 15
    assert strong.sum() >= 200
    assert np.array(found)[strong].mean() >= 0.98
