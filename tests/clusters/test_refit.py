"""Weak sources under the point spread that they have, whatever the scan's strongest have chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import Sources, no_neighbours
from ferrosight.clusters.refit import WEAK_Q, Refit, refit_weak
from ferrosight.clusters.structure import Structure

SHAPE = (60, 57, 55)
SIGMA = 1 / 40
N = 64


#: A field without structure: scores are not whitened.
FLAT = Structure(np.zeros((0, 0)))


def draw_places(rng: np.random.Generator) -> np.ndarray:
    """A lattice of windows that do not overlap, each source somewhere in its voxel."""
    lattice = np.stack(np.meshgrid(*[np.arange(8, 50, 13)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return lattice + rng.uniform(-0.5, 0.5, lattice.shape)


def fit_wrong_and_refit(workshop: Any, q: float, seed: int, **changes: Any) -> tuple[Sources, Refit]:
    """Sources that are averages over the voxel, fitted as a truncation of k-space, then refitted as either."""
    rng = np.random.default_rng(seed)
    places = draw_places(rng)
    clean = workshop.simulate_points(SHAPE, places, np.full(len(places), q), **changes)
    scan = workshop.add_noise(clean, SIGMA, rng)
    data = workshop.window_data(scan, SIGMA, workshop.table(scan, "kspace"))
    wrong = workshop.fit_near(data, scan, scan.grid.to_mm(places), sign=int(np.sign(q)))
    own = np.full(len(wrong), -1, np.int64)
    return wrong, refit_weak(data, wrong, no_neighbours(data), own, [(workshop.table(scan, "box"),)], FLAT)


@pytest.mark.parametrize("q", [0.15, -0.6])
@pytest.mark.parametrize("voxel_mm", [(0.1, 0.1, 0.1), (0.08, 0.1, 0.13)])
def test_the_wrong_point_spread_is_mended(workshop: Any, q: float, voxel_mm: Any) -> None:
    """Moments lose most of their bias, and their errors cover what is left."""
    wrong, refit = fit_wrong_and_refit(workshop, q, 3, voxel_mm=voxel_mm)
    before, after = (np.median(s.q / q) - 1 for s in (wrong, refit.sources))
    assert abs(before) > 0.08, before
    assert abs(after) < abs(before) / 2, (before, after)
    assert np.median(refit.sources.score) > np.median(wrong.score)
    err = np.sqrt(refit.sources.covariance[:, 0, 0] + refit.between[:, 0, 0])
    covered = (np.abs(refit.sources.q - q) < 1.96 * err).mean()
    # 64 draws: 0.85 lies 3.7 standard errors below 0.95.
    assert covered > 0.85, covered


def test_nothing_to_choose_from_changes_nothing(workshop: Any) -> None:
    rng = np.random.default_rng(0)
    places = draw_places(rng)[:8]
    scan = workshop.add_noise(workshop.simulate_points(SHAPE, places, np.full(8, 0.3)), SIGMA, rng)
    data = workshop.window_data(scan, SIGMA)
    fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
    refit = refit_weak(data, fitted, no_neighbours(data), np.full(8, -1), [], FLAT)
    np.testing.assert_array_equal(refit.sources.q, fitted.q)
    assert not refit.between.any()


def test_strong_sources_and_failed_ones_are_not_asked(workshop: Any) -> None:
    rng = np.random.default_rng(0)
    places = draw_places(rng)[:3]
    strengths = np.array([0.3, 2 * WEAK_Q, 0.3])
    scan = workshop.add_noise(workshop.simulate_points(SHAPE, places, strengths), SIGMA, rng)
    data = workshop.window_data(scan, SIGMA, workshop.table(scan, "kspace"))
    fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
    fitted = replace(fitted, steps=np.array([1, 1, -1]))
    refit = refit_weak(data, fitted, no_neighbours(data), np.full(3, -1), [(workshop.table(scan, "box"),)], FLAT)
    np.testing.assert_array_equal(refit.sources.q[1:], fitted.q[1:])
    assert refit.sources.q[0] != fitted.q[0]
    assert not refit.between[1:].any()


def test_the_spread_between_fits_is_their_likelihoods(workshop: Any) -> None:
    """By hand, for one source: two fits, weighed by the exponential of half of what each takes off χ²."""
    rng = np.random.default_rng(5)
    places = draw_places(rng)[:1]
    scan = workshop.add_noise(workshop.simulate_points(SHAPE, places, [0.15]), SIGMA, rng)
    tables = [workshop.table(scan, kind) for kind in ("kspace", "box")]
    fits = []
    data = workshop.window_data(scan, SIGMA, tables[0])
    fits.append(workshop.fit_near(data, scan, scan.grid.to_mm(places)))
    other = workshop.window_data(scan, SIGMA, tables[1])
    fits.append(workshop.fit_near(other, scan, scan.grid.to_mm(places)))
    refit = refit_weak(data, fits[0], no_neighbours(data), np.array([-1]), [(tables[1],)], FLAT)
    gains = np.array([float((f.chi2_background - f.chi2)[0] / max(fits[0].misfit[0], 1.0)) for f in fits])
    weights = np.exp((gains - gains.max()) / 2) / np.exp((gains - gains.max()) / 2).sum()
    best = fits[int(gains.argmax())]
    expected = sum(w * (f.q[0] - best.q[0]) ** 2 for w, f in zip(weights, fits, strict=True))
    assert refit.sources.q[0] == pytest.approx(best.q[0], rel=1e-3)
    assert refit.between[0, 0, 0] == pytest.approx(expected, rel=0.02)


def test_a_source_that_no_fit_describes_is_left_alone(workshop: Any) -> None:
    """It fails under every point spread (its window lies outside): nothing is chosen, nothing is warned of."""
    rng = np.random.default_rng(0)
    places = draw_places(rng)[:1]
    scan = workshop.add_noise(workshop.simulate_points(SHAPE, places, [0.3]), SIGMA, rng)
    data = workshop.window_data(scan, SIGMA, workshop.table(scan, "kspace"))
    fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
    dark = replace(data, weights=np.zeros_like(data.weights))
    refit = refit_weak(dark, fitted, no_neighbours(data), np.array([-1]), [(workshop.table(scan, "box"),)], FLAT)
    assert refit.lowered[0] == 0
    assert not refit.between.any()
    assert refit.sources.steps[0] < 0


def test_scores_are_those_of_the_fit_that_stands(workshop: Any) -> None:
    """Where the field has no structure, each score is that of its own source."""
    _, refit = fit_wrong_and_refit(workshop, 0.15, 3)
    assert (refit.score == refit.sources.score).all()
