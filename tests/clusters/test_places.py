"""Moments at given places are right on average, as sure as they say, and zero where there is nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from ferrosight.clusters.fit import Sources, unfitted
from ferrosight.clusters.places import measure_places
from ferrosight.clusters.prepare import PAD
from ferrosight.types import AxisSupport, Noise

FULL = (AxisSupport(), AxisSupport(), AxisSupport())
FILLED = (AxisSupport(-0.35, 0.35), AxisSupport(-0.35, 0.35), AxisSupport())
#: Held, for all that a fit can tell.
EXACT = 1e8 * np.eye(3)


def nothing_known(n_echoes: int) -> Sources:
    return unfitted(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64), n_echoes)


def white(sigma: float, shape: tuple[int, ...]) -> Noise:
    return Noise(np.full(shape, sigma, np.float32), np.ones((1, 1, 1)), FULL)


def limit_noise(noise: NDArray[np.complex128], support: Any) -> NDArray[np.complex128]:
    """Complex noise (echo, x, y, z) without what lies beyond a support, of the same power."""
    for axis, one in enumerate(support, start=1):
        if one.is_full:
            continue
        k = np.fft.fftfreq(noise.shape[axis])
        keep = (k >= one.low - 1e-9) & (k < one.high - 1e-9)
        spectrum = np.fft.fft(noise, axis=axis) * np.expand_dims(keep, [a for a in range(4) if a != axis])
        noise = np.fft.ifft(spectrum, axis=axis) / np.sqrt(keep.mean())
    return noise


def correlated(sigma: float, shape: tuple[int, ...], support: Any) -> Noise:
    lags = np.arange(-2, 3)
    axes = [np.sinc(one.width * lags) for one in support]
    return Noise(np.full(shape, sigma, np.float32), np.einsum("i,j,k->ijk", *axes), support)


# What the fit is given is only the image, the noise and the places: truth comes from the simulator.
# Twelve voxels and more apart, and not in rows: along the array's axes a strong source's ringing reaches far.
LATTICE = np.array(
    [[7 + 12 * a, 7 + 12 * b + 4 * a, 7 + 12 * c + 3 * a + 4 * b] for a in range(3) for b in range(3) for c in range(2)]
)
SHAPE = (39, 47, 40)
CASES = {
    # name: voxel, rotation, echoes, point spread, support, relative noise
    "box, white": ((0.11, 0.1, 0.09), (20, 10, -15), (0.01, 0.017), "box", FULL, 0.03),
    "k-space, white": ((0.036,) * 3, (0, 0, 0), (0.01,), "kspace", FULL, 1 / 38),
    "k-space, zero-filled": ((0.1, 0.12, 0.1), (30, -20, 5), (0.01,), "kspace", FILLED, 0.03),
}
#: p/V of the first echo, 0 twice; at 36 µm and 10 ms 0.53 is 1 pg.
STRENGTHS = np.array([0.0, 0.0, *np.geomspace(0.25, 50, 16)])


def draw_residuals(workshop: Any, case: str, n_draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Relative error and error over its standard deviation (2, draw, cluster)."""
    voxel_mm, rotation, echoes, kind, support, sigma = CASES[case]
    q = rng.permutation(STRENGTHS)
    places = LATTICE + rng.uniform(-0.5, 0.5, LATTICE.shape)
    scan = workshop.simulate_points(
        SHAPE,
        places[q > 0],
        q[q > 0],
        voxel_mm,
        rotation,
        echo_times_s=echoes,
        point_spread=kind,
        support=support,
        sub_sampling=8,
    )
    table = workshop.table(scan, kind, support)
    held = np.broadcast_to(EXACT, (len(q), 3, 3))
    noise = correlated(sigma, scan.signal.shape, support)
    found = []
    for _ in range(n_draws):
        drawn = rng.normal(size=(2, *scan.signal.shape))
        noisy = dataclasses.replace(scan, signal=scan.signal + sigma * limit_noise(drawn[0] + 1j * drawn[1], support))
        data = workshop.window_data(noisy, sigma, table)
        measured = measure_places(data, nothing_known(len(echoes)), places + PAD, held, noise, 1)
        error = measured.sources.q - q
        found.append([error / np.where(q > 0, q, np.inf), error / np.sqrt(measured.covariance[:, 0, 0])])
    order = np.argsort(q, kind="stable")
    return np.array(found).transpose(1, 0, 2)[:, :, order]


@pytest.mark.slow
def test_moments_are_unbiased_and_95_percent_intervals_hold_95_percent(workshop: Any) -> None:
    rng = np.random.default_rng(1)
    pooled = []
    for case in CASES:
        relative, z = draw_residuals(workshop, case, 24, rng)
        assert np.abs(relative.mean(axis=0)[2:]).max() < 0.05, (case, relative.mean(axis=0))
        pooled.append(z[:, 2:].ravel())
        # Nothing is there: zero within its errors, and not of one sign.
        nothing = z[:, :2].ravel()
        assert (np.abs(nothing) < 1.96).mean() > 0.9, case
        assert abs(nothing.mean()) < 4 / np.sqrt(len(nothing)), case
    z = np.concatenate(pooled)
    low, high = binom.ppf([0.001, 0.999], len(z), [0.93, 0.97])
    assert len(z) > 1000
    assert low < np.count_nonzero(np.abs(z) < 1.959964) < high, (len(z), np.mean(np.abs(z) < 1.959964), z.std())


@pytest.mark.slow
@pytest.mark.parametrize("spread_edges", [0.15, 0.4])
def test_a_position_that_is_known_within_an_error_is_fitted_within_it(workshop: Any, spread_edges: float) -> None:
    """Held where it is wrongly said to be, moments are low; with its error in the fit they are not, and cover."""
    rng = np.random.default_rng(2)
    voxel_mm, sigma = (0.1, 0.1, 0.1), 0.03
    q = np.tile(STRENGTHS[2::3], 4)[: len(LATTICE)]
    places = LATTICE[: len(q)] + rng.uniform(-0.5, 0.5, (len(q), 3))
    scan = workshop.simulate_points(SHAPE, places, q, voxel_mm, (20, 10, -15), sub_sampling=8)
    noise, nobody = white(sigma, scan.signal.shape), nothing_known(1)
    prior = np.broadcast_to(np.eye(3) / spread_edges**2, (len(q), 3, 3))
    fixed, fitted = [], []
    for _ in range(12):
        data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
        told = places + PAD + rng.normal(0, spread_edges, places.shape)
        fixed.append(measure_places(data, nobody, told, np.broadcast_to(EXACT, prior.shape), noise, 1).sources.q / q)
        measured = measure_places(data, nobody, told, prior, noise, 1)
        fitted.append((measured.sources.q - q) / np.sqrt(measured.covariance[:, 0, 0]))
    z = np.ravel(fitted)
    low, high = binom.ppf([0.001, 0.999], z.size, [0.93, 0.97])
    assert low < np.count_nonzero(np.abs(z) < 1.959964) < high, (np.mean(np.abs(z) < 1.959964), z.std())
    assert np.mean(fixed) < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("spread_edges", [0.0, 0.2, 0.6])
def test_an_empty_place_is_zero_within_its_error_however_well_it_is_known(workshop: Any, spread_edges: float) -> None:
    """The best of several positions is farther from zero than noise at one of them: the error says so."""
    rng = np.random.default_rng(4)
    sigma, n = 0.03, len(LATTICE)
    scan = workshop.simulate_points(SHAPE, np.zeros((0, 3)), [], (0.1, 0.1, 0.1), (20, 10, -15))
    held = np.broadcast_to(np.eye(3) / max(spread_edges, 1e-4) ** 2, (n, 3, 3))
    z = []
    for _ in range(12):
        data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
        measured = measure_places(data, nothing_known(1), LATTICE + PAD, held, white(sigma, scan.signal.shape), 1)
        z.append(measured.sources.q / np.sqrt(measured.covariance[:, 0, 0]))
    assert (np.abs(z) < 1.959964).mean() > binom.ppf(0.001, np.size(z), 0.93) / np.size(z)
    assert abs(np.mean(z)) < 4 / np.sqrt(np.size(z))
    assert np.std(z) > 0.5


def test_places_that_overlap_are_measured_together(workshop: Any) -> None:
    """Two clusters and an empty place, all in one window: each as if it were alone, and less sure than alone."""
    rng = np.random.default_rng(3)
    q, sigma = np.array([2.0, 1.0, 0.0]), 0.02
    places = np.array([[8.2, 9.7, 11.1], [12.9, 9.9, 12.3], [10.2, 13.6, 9.0]])
    scan = workshop.simulate_points((22, 21, 23), places[:2], q[:2], sub_sampling=8)
    noise, held = white(sigma, scan.signal.shape), np.broadcast_to(EXACT, (3, 3, 3))
    values, errors = [], []
    for _ in range(30):
        data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
        measured = measure_places(data, nothing_known(1), places + PAD, held, noise, 1)
        assert measured.n_neighbours.tolist() == [2, 2, 2]
        values.append(measured.sources.q)
        errors.append(np.sqrt(measured.covariance[:, 0, 0]))
    np.testing.assert_allclose(np.mean(values, axis=0), q, atol=0.03)
    # Voxels that a neighbour changes weigh less, so errors are safe rather than sharp; never too small.
    assert (np.std(values, axis=0, ddof=1) < 1.25 * np.mean(errors, axis=0)).all()
    for row in range(2):
        alone = measure_places(data, nothing_known(1), places[row : row + 1] + PAD, held[:1], noise, 1)
        assert alone.sources.chi2[0] > measured.sources.chi2[row] + 20


def test_places_told_in_whole_voxels_are_fitted_like_any(workshop: Any) -> None:
    """A source beside the voxel that it is said to be in: the fit moves to it, whatever type the numbers have."""
    rng, sigma = np.random.default_rng(5), 0.02
    scan = workshop.simulate_points((22, 21, 23), np.array([[10.3, 9.8, 11.2]]), [2.0], sub_sampling=8)
    data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
    told = np.array([[10, 10, 11]]) + PAD
    held, noise = np.eye(3)[None] / 0.4**2, white(sigma, scan.signal.shape)
    whole, same = (measure_places(data, nothing_known(1), one, held, noise, 1) for one in (told, told.astype(float)))
    np.testing.assert_array_equal(whole.sources.positions, same.sources.positions)
    np.testing.assert_allclose(whole.sources.positions[0] - PAD, [10.3, 9.8, 11.2], atol=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_void_that_hardly_knows_its_sign_is_irons(workshop: Any, sign: int) -> None:
    """Half of either polarity's signal is a void without lobes: iron's stands, unless the other fits clearly better."""
    place = np.array([[20.3, 19.6, 21.4]])
    either = [workshop.simulate_points((40, 40, 42), place, [q]) for q in (0.3 * sign, -0.3 * sign)]
    held = np.broadcast_to(EXACT, (1, 3, 3))
    found = {}
    for share in (0.498, 0.0):
        signal = share * either[0].signal + (1 - share) * either[1].signal
        scan = dataclasses.replace(either[0], signal=signal.astype(np.complex64))
        data = workshop.window_data(scan, 0.03)
        noise = white(0.03, scan.signal.shape)
        found[share] = sign * measure_places(data, nothing_known(1), place + PAD, held, noise, sign).sources.q[0]
    assert found[0.498] > 0.05
    assert found[0.0] == pytest.approx(-0.3, rel=0.05)
