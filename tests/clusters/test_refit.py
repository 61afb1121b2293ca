"""Weak sources under the point spread that they have, whatever the scan's strongest have chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import Sources, no_neighbours
from ferrosight.clusters.refit import _PRIOR_OTHER, WEAK_Q, Refit, refit_weak, weigh_fits
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


def test_the_spread_between_fits_is_their_evidence(workshop: Any) -> None:
    """By hand, for one source: two fits, weighed by their likelihood, their volume and how common each is."""
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
    volumes = np.array([np.sqrt(np.linalg.det(f.covariance[0])) for f in fits])
    evidence = np.exp((gains - gains.max()) / 2) * volumes * [1.0, _PRIOR_OTHER]
    weights = evidence / evidence.sum()
    best = fits[int(weights.argmax())]
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


def test_scores_are_those_of_the_best_fit(workshop: Any) -> None:
    """Where the field has no structure, each score is that of its own source, or of a fit that does not stand."""
    _, refit = fit_wrong_and_refit(workshop, 0.15, 3)
    same = refit.score == refit.sources.score
    assert same.mean() > 0.8
    assert (refit.score >= refit.sources.score - 0.2).all()


def test_a_point_spread_is_as_likely_as_the_other_sources_make_it() -> None:
    """Nineteen sources that are surely of the second fit's kind, and one of which both fits say the same."""
    gains = np.array([[100.0] * 20, [160.0] * 19 + [100.0]])
    weights = weigh_fits(gains, np.zeros((2, 20)), np.ones(20), 0)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    assert weights[1, 19] == pytest.approx((19 + _PRIOR_OTHER) / (20 + _PRIOR_OTHER), rel=1e-6)
    # As many strong ones of the first kind make it even; a larger volume counts as much as a larger likelihood.
    even = weigh_fits(gains, np.zeros((2, 20)), np.ones(20), 18)
    assert even[1, 19] == pytest.approx(0.5, abs=0.001)
    wide = weigh_fits(gains, np.array([np.full(20, np.log(3.0)), np.zeros(20)]), np.ones(20), 18)
    assert wide[0, 19] == pytest.approx(0.75, abs=0.001)


def test_no_source_speaks_for_itself_and_weak_ones_for_none() -> None:
    alone = weigh_fits(np.array([[100.0], [104.0]]), np.zeros((2, 1)), np.ones(1), 0)
    odds = np.exp(2.0) * _PRIOR_OTHER
    assert alone[1, 0] == pytest.approx(odds / (1 + odds))
    weak = weigh_fits(np.array([[20.0] * 30, [30.0] * 30]), np.zeros((2, 30)), np.ones(30), 0)
    np.testing.assert_allclose(weak[1], np.exp(5.0) * _PRIOR_OTHER / (1 + np.exp(5.0) * _PRIOR_OTHER))


def test_a_fit_that_failed_has_no_weight() -> None:
    gains = np.array([[-np.inf, -np.inf], [50.0, -np.inf]])
    weights = weigh_fits(gains, np.zeros((2, 2)), np.ones(2), 3)
    np.testing.assert_array_equal(weights, [[0, 0], [1, 0]])


def test_where_tissue_is_left_the_scans_own_point_spread_stands() -> None:
    """It neither takes another fit nor votes for one; where its own failed, it takes what there is."""
    gains = np.array([[100.0] * 20 + [-np.inf], [160.0] * 20 + [50.0]])
    rough = np.full(21, 3.0)
    weights = weigh_fits(gains, np.zeros((2, 21)), rough, 0)
    np.testing.assert_array_equal(weights[0], [1.0] * 20 + [0.0])
    one_clear = np.where(np.arange(21) == 0, 1.0, 3.0)
    alone = weigh_fits(np.where(np.arange(21) == 0, [[100.0], [104.0]], gains), np.zeros((2, 21)), one_clear, 0)
    odds = np.exp(2.0) * _PRIOR_OTHER
    assert alone[1, 0] == pytest.approx(odds / (1 + odds))


@pytest.mark.slow
def test_noise_does_not_triple_what_a_weak_source_holds(workshop: Any) -> None:
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
        err = np.sqrt(refit.sources.covariance[:, 0, 0] + refit.between[:, 0, 0])
        covered.append(np.abs(refit.sources.q - q)[kept] < 1.96 * err[kept])
    moment = np.concatenate(moments)
    assert len(moment) > 100
    assert (moment > 2).mean() < 0.02
    assert np.concatenate(covered).mean() > 0.9
