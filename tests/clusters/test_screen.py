"""The screening statistic: standard normal in noise, ideal for a weak source, alike for all patterns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters import screen
from ferrosight.clusters.prepare import PAD, PreparedScan
from ferrosight.clusters.screen import OFFSETS, Screener, flatten_phase, weak_phases
from ferrosight.clusters.windows import N_BACKGROUND
from ferrosight.physics.cluster_signal import (
    PATTERNS,
    SignalTable,
    pattern_matrix,
    q_levels,
    voxel_edges,
    window_voxels,
)
from ferrosight.types import Scan

FloatArray = NDArray[np.float64]
INSIDE = (slice(None),) + (slice(PAD, -PAD),) * 3
#: Away from the faces every window is whole.
DEEP = (slice(None),) + (slice(PAD + 4, -PAD - 4),) * 3
LATTICES: dict[str, dict[str, Any]] = {
    "cubes": {},
    "oblique": {"voxel_mm": (0.1, 0.07, 0.12), "rotation": (25, -15, 40), "b0_direction": (0.6, 0.0, 0.8)},
}
SNR = 40.0


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def blank(workshop: Any, shape: Any = (40, 38, 36), **how: Any) -> Scan:
    return workshop.simulate_points(shape, [], [], **how)  # type: ignore[no-any-return]


def screen_scan(workshop: Any, scan: Scan, mask: Any = None) -> NDArray[np.float32]:
    prepared = workshop.prepare(scan, 1 / SNR, mask)
    return make_screener(workshop, scan, prepared).screen(prepared.signal)


def make_screener(workshop: Any, scan: Scan, prepared: PreparedScan) -> Screener:
    return Screener(prepared, workshop.weak_tables(scan))


# The arithmetic -------------------------------------------------------------------------------------------


def test_the_statistic_is_that_of_weighted_least_squares(workshop: Any, rng: np.random.Generator) -> None:
    """Voxel by voxel with numpy's own solver: uneven weights, partial windows, every template of every pattern."""
    shape = (17, 18, 16)
    scan = blank(workshop, shape, **LATTICES["oblique"])
    size = 40 * np.exp(0.5 * rng.normal(size=shape))
    scan = dataclasses.replace(scan, signal=(size * np.exp(0.2j * rng.normal(size=shape)))[None].astype(np.complex64))
    prepared = workshop.prepare(scan, 1.0, rng.uniform(size=shape) < 0.8)
    tables = workshop.weak_tables(scan)
    found = Screener(prepared, tables).screen(prepared.signal)
    sigma_voxels = [float(4.0 / edge) for edge in prepared.edges]
    phase, weight = flatten_phase(prepared.signal, prepared.weights, prepared.ratios, sigma_voxels)
    places = rng.permutation(np.argwhere(prepared.search_mask))[:60]
    partial = 0
    for place in places:
        expected, used = screen_by_hand(phase, weight, place, prepared.voxels, tables)
        partial += used < 0.7 * len(prepared.voxels)
        # Two voxels beyond a face some thirty voxels tell of ten coefficients: float32 keeps two digits fewer.
        inside = ((place >= PAD) & (place < np.array(shape) + PAD)).all()
        np.testing.assert_allclose(found[(slice(None), *place)], expected, atol=2e-3 if inside else 2e-2)
    assert partial > 20


def screen_by_hand(
    phase: NDArray[np.float32], weight: NDArray[np.float32], place: NDArray[np.int64], voxels: Any, tables: Any
) -> tuple[FloatArray, int]:
    """The statistic (pattern,) of largest size over all templates, each fitted together with a quadratic; and the
    number of voxels that had a weight."""
    at = place + voxels
    known = ((at >= 0) & (at < phase.shape)).all(axis=1)
    known[known] = weight[tuple(at[known].T)] > 0
    root = np.sqrt(weight[tuple(at[known].T)].astype(float))
    wanted = root * phase[tuple(at[known].T)]
    x, y, z = voxels[known].T.astype(float)
    quadratic = np.array([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])
    far = np.linalg.norm(voxels * tables[0].edges, axis=1) >= screen._CORE
    best = np.zeros(len(tables))
    if known.sum() < 3 * N_BACKGROUND:
        return best, int(known.sum())
    smooth = (root * quadratic).T

    def without_background(values: FloatArray) -> FloatArray:
        # beside a face of the image a quadratic may be known along two axes only
        return np.asarray(values - smooth @ np.linalg.lstsq(smooth, values, rcond=1e-6)[0])

    wanted = without_background(wanted)
    for pattern, table in enumerate(tables):
        for shape in [*(weak_phases(table, offset) for offset in OFFSETS), weak_phases(table, np.zeros(3)) * far]:
            one = without_background(root * shape[known])
            amplitude = one @ wanted / (one @ one)
            variance = np.sum((wanted - amplitude * one) ** 2) / (known.sum() - N_BACKGROUND - 1)
            statistic = amplitude / np.sqrt(variance / (one @ one))
            if abs(statistic) > abs(best[pattern]):
                best[pattern] = statistic
    return best, int(known.sum())


def test_windows_that_hold_too_little_are_left_at_nothing(workshop: Any, rng: np.random.Generator) -> None:
    shape = (20, 20, 20)
    scan = workshop.add_noise(blank(workshop, shape), 1 / SNR, rng)
    mask = np.zeros(shape, bool)
    mask[8:11, 8:11, 8:11] = True
    assert mask.sum() < 3 * N_BACKGROUND
    assert (screen_scan(workshop, scan, mask) == 0).all()
    mask[8:12, 8:12, 8:12] = True
    assert (screen_scan(workshop, scan, mask)[:, np.pad(mask, PAD)] != 0).all()


# Noise ----------------------------------------------------------------------------------------------------

#: The whole pattern in the voxel's middle, on a face, on an edge, in a corner; and the hollow one.
TEMPLATES = {"middle": 0, "face": 1, "edge": 3, "corner": 7, "hollow": 8}


def keep_template(monkeypatch: pytest.MonkeyPatch, template: int) -> None:
    """Let a screener know no template but one, whatever it asks for."""
    offset = OFFSETS[template] if template < len(OFFSETS) else np.zeros(3)
    core = screen._CORE if template == len(OFFSETS) else 0.0

    def shape(table: SignalTable, _: FloatArray) -> FloatArray:
        return np.asarray(weak_phases(table, offset) * (np.linalg.norm(table.voxels * table.edges, axis=1) >= core))

    monkeypatch.setattr(screen, "weak_phases", shape)
    monkeypatch.setattr(screen, "_CORE", 0.0)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("lattice", LATTICES)
def test_noise_has_unit_spread_in_every_pattern(
    workshop: Any, lattice: str, template: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each template on its own is a standard normal."""
    keep_template(monkeypatch, TEMPLATES[template])
    scan = blank(workshop, **LATTICES[lattice])
    maps = [screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng)) for _ in range(3)]
    spread = np.std([z[INSIDE] for z in maps], axis=(0, 2, 3, 4))
    np.testing.assert_array_less(np.abs(spread - 1), 0.05)
    np.testing.assert_allclose(spread / spread.mean(), 1, atol=0.05)
    deep = np.array([z[DEEP] for z in maps])
    assert np.abs(deep.mean(axis=(0, 2, 3, 4))).max() < 0.05
    # the tail is that of a normal distribution, too: 0.27 % beyond three
    assert (np.abs(deep) > 3).mean() == pytest.approx(0.0027, rel=0.35)


@pytest.mark.parametrize("lattice", LATTICES)
def test_the_largest_of_all_templates_spreads_alike_in_every_pattern(
    workshop: Any, lattice: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map keeps the template of largest size, with its sign: its spread exceeds 1, and is alike for all."""
    scan = workshop.add_noise(blank(workshop, **LATTICES[lattice]), 1 / SNR, rng)
    z = screen_scan(workshop, scan)
    apart = []
    for template in range(len(OFFSETS) + 1):
        with monkeypatch.context() as patched:
            keep_template(patched, template)
            apart.append(screen_scan(workshop, scan))
    largest = np.take_along_axis(np.array(apart), np.abs(apart).argmax(axis=0)[None], axis=0)[0]
    np.testing.assert_allclose(np.abs(z), np.abs(largest), rtol=1e-3, atol=1e-3)
    assert (np.sign(z) == np.sign(largest)).mean() > 0.999
    spread = np.std(z[INSIDE], axis=(1, 2, 3))
    # measured: 1.72 to 1.76
    np.testing.assert_allclose(spread / spread.mean(), 1, atol=0.05)


# A source -------------------------------------------------------------------------------------------------


def predict(scan: Scan, place: NDArray[np.int64]) -> float:
    """What the best test of this very source would reach: its noiseless phase less all quadratics, over the
    noise, in a whole window."""
    voxels = window_voxels(scan.grid.voxel_mm, 3.6)
    signal = scan.signal[(slice(None), *(voxels + place).T)].astype(complex)
    ratios = (scan.echo_times_s / scan.echo_times_s[0])[:, None]
    weight = (np.abs(signal) ** 2 * ratios**2).sum(axis=0)
    phase = (np.abs(signal) ** 2 * ratios * np.angle(signal)).sum(axis=0) / weight
    x, y, z = voxels.T.astype(float)
    smooth = np.array([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z]) * np.sqrt(weight)
    wanted = phase * np.sqrt(weight)
    return SNR * float(np.linalg.norm(wanted - np.linalg.lstsq(smooth.T, wanted, rcond=None)[0] @ smooth))


def measure_efficiency(
    workshop: Any, lattice: str, offset: Any, sign: int, echoes: Any, rng: np.random.Generator
) -> float:
    """Mean statistic of weak sources ``offset`` (3,) voxels from a voxel's middle, over the ideal.

    Eight sources too far apart to matter to each other. Looked up in the voxel beside the source where, over all
    draws, it is largest: a source between voxels belongs to either.
    """
    shape, steps = (26, 25, 24), np.array([6, 17])
    middles = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)

    def simulate(q: float) -> Scan:
        how = LATTICES[lattice] | {"echo_times_s": echoes}
        return workshop.simulate_points(shape, middles + offset, [q] * len(middles), **how)  # type: ignore[no-any-return]

    scan = simulate(sign * 0.02)
    scan = simulate(sign * 0.02 * 7 / predict(scan, middles[0]))
    near = []
    for _ in range(10):
        z = screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng))[0]
        near += [z[tuple(slice(m + PAD - 1, m + PAD + 2) for m in middle)] for middle in middles]
    return float((sign * np.mean(near, axis=0)).max()) / float(np.mean([predict(scan, m) for m in middles]))


MIDDLE = (0.0, 0.0, 0.0)
#: Middle, faces, an edge, two corners.
PLACES = [MIDDLE, (0.5, 0.0, 0.0), (0.0, 0.0, -0.5), (0.0, 0.5, 0.5), (0.5, 0.5, 0.5), (-0.5, 0.5, -0.5)]


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("offset", PLACES, ids=str)
def test_a_weak_source_reaches_the_ideal_wherever_in_its_voxel_it_lies(
    workshop: Any, lattice: str, offset: Any, rng: np.random.Generator
) -> None:
    """80 draws of about 7 give the mean to 2 %; measured: 0.96 to 1.03."""
    assert measure_efficiency(workshop, lattice, offset, 1, (0.01,), rng) == pytest.approx(0.98, abs=0.1)


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_weak_source_farthest_from_all_templates_keeps_most(
    workshop: Any, lattice: str, rng: np.random.Generator
) -> None:
    """Half way between the middle and a corner; measured: 0.86 to 0.92."""
    assert measure_efficiency(workshop, lattice, (0.25,) * 3, 1, (0.01,), rng) > 0.8


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_weak_source_of_either_sign_reaches_the_ideal_over_all_echoes(
    workshop: Any, lattice: str, rng: np.random.Generator
) -> None:
    efficiency = measure_efficiency(workshop, lattice, MIDDLE, -1, (0.005, 0.01, 0.015), rng)
    assert efficiency == pytest.approx(0.98, abs=0.1)


def test_a_source_peaks_in_its_own_voxel(workshop: Any, rng: np.random.Generator) -> None:
    for q in (0.3, -0.3):
        scan = workshop.simulate_points((21, 22, 19), [(10, 11, 9)], [q])
        z = screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng))
        peak = np.unravel_index(np.abs(z).argmax(), z.shape)
        assert peak == (0, 10 + PAD, 11 + PAD, 9 + PAD)
        assert np.sign(z[peak]) == np.sign(q)


@pytest.mark.parametrize("pattern", range(5))
def test_the_map_of_a_pattern_answers_to_that_pattern(workshop: Any, pattern: int, rng: np.random.Generator) -> None:
    scan = blank(workshop, (23, 23, 23))
    points = (np.indices((23, 23, 23)).reshape(3, -1).T - 11) * voxel_edges(scan.grid.voxel_mm)
    matrix = pattern_matrix(PATTERNS[pattern], scan.b0_in_array)
    form = np.einsum("na,ab,nb->n", points, matrix, points)
    phase = np.divide(form, np.linalg.norm(points, axis=1) ** 5, out=np.zeros(len(points)), where=form != 0)
    noisy = workshop.add_noise(scan, 1 / SNR, rng)
    prepared = workshop.prepare(noisy, 1 / SNR)
    signal = prepared.signal.copy()
    signal[INSIDE] *= np.exp(0.15j * phase.reshape(1, 23, 23, 23))
    z = make_screener(workshop, scan, prepared).screen(signal)[:, 11 + PAD, 11 + PAD, 11 + PAD]
    assert z.argmax() == pattern
    assert z[pattern] > 6
    assert np.abs(np.delete(z, pattern)).max() < 4.5


@pytest.mark.parametrize("place", [(10.0, 11.0, 0.0), (10.0, 11.0, 18.0), (0.0, 11.0, 9.0), (10.2, 21.0, 18.1)])
def test_sources_in_the_outermost_slices_stand_out(workshop: Any, place: Any, rng: np.random.Generator) -> None:
    scan = workshop.simulate_points((21, 22, 19), [place], [1.0])
    z = screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng))
    found = np.unravel_index(np.abs(z[0]).argmax(), z[0].shape)
    assert z[0][found] > 8
    assert np.abs(np.subtract(found, np.add(place, PAD))).max() <= 1.3


def test_nothing_is_screened_outside_the_mask(workshop: Any, rng: np.random.Generator) -> None:
    scan = workshop.add_noise(blank(workshop, (24, 24, 24)), 1 / SNR, rng)
    mask = np.zeros((24, 24, 24), bool)
    mask[6:18, 5:19, 7:20] = True
    prepared = workshop.prepare(scan, 1 / SNR, mask)
    z = make_screener(workshop, scan, prepared).screen(prepared.signal)
    assert (z[:, ~prepared.search_mask] == 0).all()
    assert (z[:, prepared.inside] != 0).mean() > 0.99
    # what the signal is out there does not matter
    wild = np.where(prepared.inside, prepared.signal, 1e3 * np.exp(1j * rng.normal(size=prepared.signal.shape)))
    again = make_screener(workshop, scan, prepared).screen(wild.astype(np.complex64))
    np.testing.assert_allclose(again, z, atol=1e-3)


def test_the_signals_unit_and_phase_leave_the_map_as_it_is(workshop: Any, rng: np.random.Generator) -> None:
    scan = workshop.add_noise(workshop.simulate_points((24, 24, 24), [(11, 12, 13)], [0.3]), 1 / SNR, rng)
    prepared = workshop.prepare(scan, 1 / SNR)
    screener = make_screener(workshop, scan, prepared)
    z = screener.screen(prepared.signal)
    np.testing.assert_allclose(screener.screen(3j * prepared.signal), z, atol=0.01)


@pytest.mark.parametrize(
    "depth",
    [
        8,
        pytest.param(
            4,
            marks=pytest.mark.xfail(
                reason="|z| changes by up to 0.9 within 8 voxels of a face, where a mean is lopsided"
            ),
        ),
    ],
)
def test_smooth_backgrounds_leave_the_map_as_it_is(workshop: Any, depth: int, rng: np.random.Generator) -> None:
    """Demodulated by its own mean, wrapping included; so many voxels from the image's faces."""
    scan = workshop.add_noise(workshop.simulate_points((30, 30, 30), [(14, 15, 16)], [0.3]), 1 / SNR, rng)
    prepared = workshop.prepare(scan, 1 / SNR)
    screener = make_screener(workshop, scan, prepared)
    z = screener.screen(prepared.signal)
    x, y, w = np.indices(prepared.signal.shape[1:]) / 12 - 1
    phase = 2.0 * x + 3.0 * y * w - 1.5 * x * x
    turned = screener.screen((prepared.signal * np.exp(1j * phase)).astype(np.complex64))
    assert np.ptp(phase) > 2 * np.pi
    # the sign is a toss where two templates say the same size, so sizes are compared
    change = np.abs(np.abs(turned) - np.abs(z))[(slice(None),) + (slice(PAD + depth, -PAD - depth),) * 3]
    assert change.max() < 0.5
    assert change.std() < 0.1


# Parts ----------------------------------------------------------------------------------------------------


def test_phase_is_flattened_and_weighed_by_its_precision(rng: np.random.Generator) -> None:
    shape = (20, 20, 20)
    bump = 0.4 * np.exp(-((np.indices(shape) - 10) ** 2).sum(axis=0) / 2)
    ratios = np.array([1.0, 2.5])
    x = np.indices(shape)[0]
    size = rng.uniform(20, 40, (2, *shape))
    signal = size * np.exp(1j * ratios[:, None, None, None] * (bump + 0.01 * x))
    phase, weight = flatten_phase(signal.astype(np.complex64), np.ones(signal.shape, np.float32), ratios, [4.0] * 3)
    np.testing.assert_allclose(weight, (size**2 * ratios[:, None, None, None] ** 2).sum(axis=0), rtol=1e-5)
    middle = (slice(5, 15),) * 3
    assert np.corrcoef(phase[middle].ravel(), bump[middle].ravel())[0, 1] > 0.99
    assert phase[10, 10, 10] - phase[10, 4, 10] == pytest.approx(0.4, abs=0.03)


def test_templates_are_the_phase_of_a_weak_source(workshop: Any) -> None:
    """Per strength, at any offset; far away it is the pattern at the voxel's centre."""
    scan = blank(workshop, (21, 21, 21), **LATTICES["oblique"])
    edges, voxels = voxel_edges(scan.grid.voxel_mm), window_voxels(scan.grid.voxel_mm, 3.6)
    for pattern, table in zip(PATTERNS, workshop.weak_tables(scan), strict=True):
        matrix = pattern_matrix(pattern, scan.b0_in_array)
        for offset in OFFSETS:
            template = weak_phases(table, offset)
            points = (voxels - offset) * edges
            r = np.linalg.norm(points, axis=1)
            centre = np.einsum("va,ab,vb->v", points, matrix, points)[r > 2.5] / r[r > 2.5] ** 5
            np.testing.assert_allclose(template[r > 2.5], centre, atol=0.02)
        # the dipole, as the simulator shows it
        if pattern == "dipole":
            q = float(q_levels()[6])
            drawn = workshop.simulate_points((21, 21, 21), [[10.5, 10.0, 10.5]], [q], **LATTICES["oblique"])
            shown = np.angle(drawn.signal[0])[tuple((voxels + 10).T)] / q
            template = weak_phases(table, np.array([0.5, 0.0, 0.5]))
            assert np.linalg.norm(shown - template) < 0.02 * np.linalg.norm(shown)
