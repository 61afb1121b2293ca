"""Weak sources score by the point spread that suits them best, and are measured under the scan's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import Sources, fit_sources, no_neighbours
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
    gone_on = fit_sources(data, wrong, no_neighbours(data), own, search=False)
    return gone_on, refit_weak(data, wrong, no_neighbours(data), own, [(workshop.table(scan, "box"),)], FLAT)


@pytest.mark.parametrize("q", [0.15, -0.6])
@pytest.mark.parametrize("voxel_mm", [(0.1, 0.1, 0.1), (0.08, 0.1, 0.13)])
def test_the_wrong_point_spread_costs_less_score(workshop: Any, q: float, voxel_mm: Any) -> None:
    """Scores come from the better fit, by which χ² falls; what a source holds stays with the scan's point spread."""
    wrong, refit = fit_wrong_and_refit(workshop, q, 3, voxel_mm=voxel_mm)
    assert (refit.lowered >= 0).all()
    assert (refit.lowered > 0).mean() > 0.8
    assert np.median(refit.score) > np.median(wrong.score)
    np.testing.assert_array_equal(refit.sources.q, wrong.q)


def test_nothing_to_choose_from_changes_nothing(workshop: Any) -> None:
    rng = np.random.default_rng(0)
    places = draw_places(rng)[:8]
    scan = workshop.add_noise(workshop.simulate_points(SHAPE, places, np.full(8, 0.3)), SIGMA, rng)
    data = workshop.window_data(scan, SIGMA)
    fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
    refit = refit_weak(data, fitted, no_neighbours(data), np.full(8, -1), [], FLAT)
    np.testing.assert_array_equal(refit.sources.q, fitted.q)
    assert not refit.lowered.any()


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
    assert refit.score[0] > 0
    assert not refit.lowered[1:].any()


def test_score_and_gain_are_those_of_the_best_fit(workshop: Any) -> None:
    """By hand, for sources of which some fit better as averages over the voxel, and some as a truncation of k-space."""
    rng = np.random.default_rng(5)
    places = draw_places(rng)
    clean = workshop.simulate_points(SHAPE, places, np.full(len(places), 0.02), point_spread="kspace")
    scan = workshop.add_noise(clean, SIGMA, rng)
    tables = [workshop.table(scan, kind) for kind in ("kspace", "box")]
    data = workshop.window_data(scan, SIGMA, tables[0])
    own, alone = np.full(len(places), -1), no_neighbours(data)
    fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
    first = fit_sources(data, fitted, alone, own, search=False)
    other = fit_sources(replace(data, tables=(tables[1],)), first, alone, own, search=False)
    refit = refit_weak(data, fitted, alone, own, [(tables[1],)], FLAT)
    gained = (other.chi2_background - other.chi2) - (first.chi2_background - first.chi2)
    better = (gained > 0) & (np.linalg.norm(other.positions - first.positions, axis=1) < 1)
    assert 0 < better.sum() < len(places)
    np.testing.assert_allclose(refit.score, np.where(better, other.score, first.score), rtol=1e-4)
    np.testing.assert_allclose(refit.lowered, np.where(better, gained, 0.0), rtol=1e-3, atol=1e-3)


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
    assert refit.sources.steps[0] < 0


@pytest.mark.slow
def test_tissue_does_not_triple_what_a_weak_source_holds(workshop: Any) -> None:
    """Weak dipoles seen through k-space; tissue lets some fit better as averages over the voxel, at its corner.

    Those fits are two to four times too strong.
    """
    rng = np.random.default_rng(8)
    q, tissue = 0.0107, {"texture_ppm": 0.003, "texture_mm": 0.15, "density_variation": 0.1, "structure_mm": 0.5}
    moments, covered = [], []
    for _ in range(4):
        places = draw_places(rng)
        clean = workshop.simulate_points(
            SHAPE, places, np.full(len(places), q), point_spread="kspace", b0_t=9.4, echo_times_s=(0.004, 0.008, 0.012),
            **tissue,
        )  # fmt: skip
        scan = workshop.add_noise(clean, SIGMA, rng)
        data = workshop.window_data(scan, SIGMA, workshop.table(scan, "kspace"))
        fitted = workshop.fit_near(data, scan, scan.grid.to_mm(places))
        other = [(workshop.table(scan, "box"),)]
        refit = refit_weak(data, fitted, no_neighbours(data), np.full(len(fitted), -1), other, FLAT)
        kept = refit.score > 5
        moments.append(refit.sources.q[kept] / q)
        err = np.sqrt(refit.sources.covariance[:, 0, 0])
        covered.append(np.abs(refit.sources.q - q)[kept] < 1.96 * err[kept])
    moment = np.concatenate(moments)
    assert len(moment) > 100
    assert (moment > 2).mean() < 0.02
    assert np.concatenate(covered).mean() > 0.9
