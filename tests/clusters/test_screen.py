"""The screening statistic: of known distribution in noise, ideal for a weak source, alike for all patterns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters import screen
from ferrosight.clusters.prepare import PAD, PreparedScan
from ferrosight.clusters.screen import OFFSETS, Screener, draw_weak_source, flatten_signal
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


def screen_scan(workshop: Any, scan: Scan, mask: Any = None, only: Any = None) -> NDArray[np.float32]:
    """The whole map, or what it holds at ``only`` (an index of the padded volumes) and nothing elsewhere."""
    prepared = workshop.prepare(scan, 1 / SNR, mask)
    if only is not None:
        wanted = np.zeros_like(prepared.search_mask)
        wanted[only] = True
        prepared = dataclasses.replace(prepared, search_mask=prepared.search_mask & wanted)
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
    phase, dark, weight = flatten_signal(prepared.signal, prepared.weights, prepared.ratios, sigma_voxels)
    places = rng.permutation(np.argwhere(prepared.search_mask))[:60]
    partial = 0
    for place in places:
        expected, used = screen_by_hand((phase, dark), weight, place, prepared.voxels, tables)
        partial += used < 0.7 * len(prepared.voxels)
        # Two voxels beyond a face some thirty voxels tell of ten coefficients: float32 keeps two digits fewer.
        inside = ((place >= PAD) & (place < np.array(shape) + PAD)).all()
        np.testing.assert_allclose(found[(slice(None), *place)], expected, atol=2e-3 if inside else 2e-2)
    assert partial > 20


def screen_by_hand(
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    weight: NDArray[np.float32],
    place: NDArray[np.int64],
    voxels: Any,
    tables: Any,
) -> tuple[FloatArray, int]:
    """The statistic (pattern,) of largest size over all templates, phase and darkness each less a quadratic of its
    own and over a residual of its own; and the number of voxels that had a weight."""
    at = place + voxels
    known = ((at >= 0) & (at < weight.shape)).all(axis=1)
    known[known] = weight[tuple(at[known].T)] > 0
    root = np.sqrt(weight[tuple(at[known].T)].astype(float))
    best = np.zeros(len(tables))
    if known.sum() < 3 * N_BACKGROUND:
        return best, int(known.sum())
    smooth = (root * quadratic(voxels[known])).T

    def without_background(values: FloatArray) -> FloatArray:
        # beside a face of the image a quadratic may be known along two axes only
        return np.asarray(values - smooth @ np.linalg.lstsq(smooth, values, rcond=1e-6)[0])

    dof = known.sum() - N_BACKGROUND - 1
    residuals = [without_background(root * image[tuple(at[known].T)]) for image in images]
    units = [residual / np.sqrt(residual @ residual / dof) for residual in residuals]
    scales = [np.sqrt(residual @ residual / dof) for residual in residuals]
    far = np.linalg.norm(voxels * tables[0].edges, axis=1) >= screen._CORE
    for pattern, table in enumerate(tables):
        shapes = [draw_weak_source(table, offset) for offset in OFFSETS]
        hollow = draw_weak_source(table, np.zeros(3))
        hollow[0] *= far
        hollow[1] = 0
        for shape in [*shapes, hollow]:
            lobes, void = (
                without_background(root * part[known]) / scale for part, scale in zip(shape, scales, strict=True)
            )
            # the sign of the lobes is the source's, and free; that of the void is not
            sign = 1 if lobes @ units[0] > 0 else -1
            source, shown = np.concatenate([sign * lobes, void]), np.concatenate(units)
            if source @ shown <= 0:
                continue
            explained = (source @ shown) ** 2 / (source @ source)
            variance = (shown @ shown - explained) / (2 * dof - 1)
            statistic = np.sqrt(explained / variance)
            if statistic > abs(best[pattern]):
                best[pattern] = sign * statistic
    return best, int(known.sum())


def quadratic(voxels: Any) -> FloatArray:
    """Constant, linear and quadratic terms (10, voxel)."""
    x, y, z = np.asarray(voxels).T.astype(float)
    return np.array([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, x * z, y * z])


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


def one_shape(table: SignalTable, template: int) -> FloatArray:
    """Phase and darkness (2, voxel) of one template; the hollow one has no darkness."""
    if template < len(OFFSETS):
        return np.asarray(draw_weak_source(table, OFFSETS[template]), dtype=float)
    far = np.linalg.norm(table.voxels * table.edges, axis=1) >= 2.1
    return np.asarray(draw_weak_source(table, np.zeros(3)) * np.array([far, np.zeros_like(far)]), dtype=float)


def keep_template(monkeypatch: pytest.MonkeyPatch, template: int) -> None:
    """Let a screener know no template but one, whatever it asks for."""
    monkeypatch.setattr(screen, "draw_weak_source", lambda table, _: one_shape(table, template))
    # nothing is far enough for the hollow one: a shape that is zero everywhere never counts
    monkeypatch.setattr(screen, "_CORE", np.inf)


def shares(table: SignalTable, template: int) -> FloatArray:
    """What phase and darkness (2,) give to a template's norm, in a whole window of even weights and noise that is
    the same in both; their squares add up to one."""
    smooth = quadratic(table.voxels).T
    parts = one_shape(table, template).T
    norms = np.linalg.norm(parts - smooth @ np.linalg.lstsq(smooth, parts, rcond=None)[0], axis=0)
    return np.asarray(norms / np.linalg.norm(norms))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("lattice", LATTICES)
def test_noise_has_the_spread_of_one_known_variable_in_every_pattern(
    workshop: Any, lattice: str, template: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of either sign, a template on its own is the positive part of a standard normal; of the better sign, the
    larger of two that share their darkness: a |x| + b y with a² + b² = 1, or nothing."""
    tables = workshop.weak_tables(blank(workshop, **LATTICES[lattice]))
    x, y = rng.normal(size=(2, 400_000))
    expected = []
    for table in tables:
        a, b = shares(table, TEMPLATES[template])
        np.testing.assert_allclose(((a * x + b * y) > 0).mean(), 0.5, atol=0.01)
        expected.append(np.maximum(a * np.abs(x) + b * y, 0))
    keep_template(monkeypatch, TEMPLATES[template])
    scan = blank(workshop, **LATTICES[lattice])
    maps = [screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng), only=DEEP[1:]) for _ in range(3)]
    deep = np.abs([z[DEEP] for z in maps]).swapaxes(0, 1).reshape(len(tables), -1)
    for shown, wanted in zip(deep, expected, strict=True):
        assert (shown == 0).mean() == pytest.approx((wanted == 0).mean(), abs=0.02)
        assert shown.mean() == pytest.approx(wanted.mean(), rel=0.05)
        assert shown.std() == pytest.approx(wanted.std(), rel=0.05)
    # the tail, too
    assert (deep > 3).mean() == pytest.approx((np.array(expected) > 3).mean(), rel=0.35)
    # no sign is preferred
    signs = np.sign([z[DEEP] for z in maps]).mean(axis=(0, 2, 3, 4))
    assert np.abs(signs).max() < 0.05


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
    np.testing.assert_allclose(spread / spread.mean(), 1, atol=0.05)


# A source -------------------------------------------------------------------------------------------------


def predict(scan: Scan, place: NDArray[np.int64]) -> float:
    """What the best test of this very source would reach: its noiseless phase and darkness less all quadratics,
    each over its noise, in a whole window."""
    voxels = window_voxels(scan.grid.voxel_mm, 3.6)
    signal = scan.signal[(slice(None), *(voxels + place).T)].astype(complex)
    ratios = (scan.echo_times_s / scan.echo_times_s[0])[:, None]
    precision = np.abs(signal) ** 2 * ratios**2
    weight = precision.sum(axis=0)
    phase = (precision / ratios * np.angle(signal)).sum(axis=0) / weight
    dark = (precision * (1 - np.abs(signal))).sum(axis=0) / weight
    # the darkness's echoes are weighed like the phase's: what that leaves of its precision
    dark_weight = weight**2 / (precision * ratios**2).sum(axis=0)

    def norm(values: FloatArray, weight: FloatArray) -> float:
        smooth, wanted = (quadratic(voxels) * np.sqrt(weight)).T, values * np.sqrt(weight)
        return float(np.linalg.norm(wanted - smooth @ np.linalg.lstsq(smooth, wanted, rcond=None)[0]))

    return SNR * float(np.hypot(norm(phase, weight), norm(dark, dark_weight)))


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
    beside = np.indices((3, 3, 3)).reshape(3, -1).T + PAD - 1
    around = tuple((middles[:, None] + beside).transpose(2, 0, 1))
    near = []
    for _ in range(10):
        near += list(screen_scan(workshop, workshop.add_noise(scan, 1 / SNR, rng), only=around)[(0, *around)])
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
def test_a_weak_source_of_the_other_sign_reaches_the_ideal(
    workshop: Any, lattice: str, rng: np.random.Generator
) -> None:
    assert measure_efficiency(workshop, lattice, MIDDLE, -1, (0.01,), rng) == pytest.approx(0.98, abs=0.1)


@pytest.mark.xfail(reason="the template's void is that of the first echo; later ones' is larger: 0.85 of the ideal")
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
    prepared = workshop.prepare(workshop.add_noise(scan, 1 / SNR, rng), 1 / SNR)
    table = workshop.weak_tables(scan)[pattern]
    phase, dark = draw_weak_source(table, np.zeros(3))
    signal = prepared.signal.copy()
    signal[(0, *(table.voxels + 11 + PAD).T)] *= (1 - dark) * np.exp(1j * phase)
    z = make_screener(workshop, scan, prepared).screen(signal)[:, 11 + PAD, 11 + PAD, 11 + PAD]
    assert z.argmax() == pattern
    assert z[pattern] > 6
    # the void is the same for all, so that the others are not nothing
    assert np.abs(np.delete(z, pattern)).max() < 0.8 * z[pattern]


MIDST = (slice(None), 11 + PAD, 11 + PAD, 11 + PAD)


def show_parts(workshop: Any, rng: np.random.Generator, lobes: float, void: float, grain: Any = 1.0) -> Any:
    """A scan in noise with the phase and the darkness of a dipole in its middle, each as large as told; its
    magnitude times ``grain``."""
    scan = workshop.simulate_points((23, 23, 23), [(11, 11, 11)], [0.12])
    phase, dark = np.angle(scan.signal), 1 - np.abs(scan.signal)
    shown = grain * (1 - void * dark) * np.exp(1j * lobes * phase)
    return workshop.add_noise(dataclasses.replace(scan, signal=shown.astype(np.complex64)), 1 / SNR, rng)


def look_up(workshop: Any, scan: Scan) -> NDArray[np.float32]:
    """The statistic (pattern,) in the scan's middle."""
    return screen_scan(workshop, scan, only=MIDST[1:])[MIDST]


def mean_statistic(workshop: Any, rng: np.random.Generator, lobes: float, void: float) -> float:
    draws = [look_up(workshop, show_parts(workshop, rng, lobes, void))[0] for _ in range(20)]
    return float(np.mean(np.abs(draws)))


def test_void_and_lobes_tell_more_than_either(workshop: Any, rng: np.random.Generator) -> None:
    both = mean_statistic(workshop, rng, 1, 1)
    void = mean_statistic(workshop, rng, 0, 1)
    lobes = mean_statistic(workshop, rng, 1, 0)
    assert both > void + 1
    assert both > lobes + 0.5


def test_a_bright_spot_gives_nothing(workshop: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hollow template, phase alone, is left with what it says of noise."""
    near = (slice(9 + PAD, 14 + PAD),) * 3
    noise, spots, voids = (
        np.abs([screen_scan(workshop, show_parts(workshop, rng, 0, void), only=near) for _ in range(15)])
        for void in (0, -4, 4)
    )
    at = (slice(None), *MIDST)
    assert spots[at].mean() < noise[at].mean()
    assert voids[at].mean() > 4
    around = (slice(None), slice(None), *near)
    assert spots[around].mean() < 1.2 * noise[around].mean()
    assert spots[around].max() < 5
    keep_template(monkeypatch, 0)
    left = np.abs([look_up(workshop, show_parts(workshop, rng, 0, -4)) for _ in range(15)])
    # phase noise alone may just outweigh it
    assert (left > 0).mean() < 0.05
    assert left.max() < 0.5


def test_structure_of_the_magnitude_hardly_lowers_a_source(
    workshop: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compared with phase alone, where the magnitude changes by a fifth from voxel to voxel; where it is smooth,
    darkness adds to it."""
    grains = [1 + 0.2 * rng.normal(size=(23, 23, 23)).clip(-2.5, 2.5) for _ in range(20)]
    seeds = rng.integers(2**31, size=len(grains))

    def draw(grain: Any, seed: int) -> float:
        scan = show_parts(workshop, np.random.default_rng(seed), 1, 1, grain)
        return float(look_up(workshop, scan)[0])

    both = np.mean([draw(grain, seed) for grain, seed in zip(grains, seeds, strict=True)])
    plain = np.mean([draw(1.0, seed) for seed in seeds])
    drawn = draw_weak_source
    monkeypatch.setattr(screen, "draw_weak_source", lambda table, offset: drawn(table, offset) * [[1], [0]])
    alone = np.mean([draw(grain, seed) for grain, seed in zip(grains, seeds, strict=True)])
    plain_alone = np.mean([draw(1.0, seed) for seed in seeds])
    assert both > 0.9 * alone
    assert plain > 1.05 * plain_alone


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
    # the sign is a toss where both, or two templates, say the same size
    np.testing.assert_allclose(np.abs(screener.screen(3j * prepared.signal)), np.abs(z), atol=0.01)


@pytest.mark.parametrize(
    "depth",
    [
        8,
        pytest.param(
            4,
            marks=pytest.mark.xfail(
                reason="|z| changes by up to 0.51 within 8 voxels of a face, where a mean is lopsided"
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
    phase, _, weight = flatten_signal(signal.astype(np.complex64), np.ones(signal.shape, np.float32), ratios, [4.0] * 3)
    np.testing.assert_allclose(weight, (size**2 * ratios[:, None, None, None] ** 2).sum(axis=0), rtol=1e-5)
    middle = (slice(5, 15),) * 3
    assert np.corrcoef(phase[middle].ravel(), bump[middle].ravel())[0, 1] > 0.99
    assert phase[10, 10, 10] - phase[10, 4, 10] == pytest.approx(0.4, abs=0.03)


def test_darkness_is_the_share_that_is_missing() -> None:
    """Nothing in a smooth signal; in a void the mean of what each echo misses, by its precision; beyond the mask
    nothing."""
    shape = (46, 46, 46)
    ratios = np.array([1.0, 2.5])
    x, y, _ = np.indices(shape)
    size = 30 * (1 + 0.01 * x - 0.005 * y) * np.array([1.0, 0.8])[:, None, None, None]
    signal = size * np.exp(0.5j)
    inside = np.ones(signal.shape, np.float32)
    inside[:, :2] = 0
    middle = (slice(18, 28),) * 3
    _, smooth, _ = flatten_signal(signal.astype(np.complex64), inside, ratios, [4.0] * 3)
    np.testing.assert_allclose(smooth[middle], 0, atol=1e-3)
    missing = np.array([0.2, 0.5])
    signal[:, 23, 23, 23] *= 1 - missing
    _, dark, _ = flatten_signal(signal.astype(np.complex64), inside, ratios, [4.0] * 3)
    precision = np.abs(signal[:, 23, 23, 23]) ** 2 * ratios**2
    assert dark[23, 23, 23] == pytest.approx((precision * missing).sum() / precision.sum(), abs=3e-3)
    beside = dark[middle].copy()
    beside[5, 5, 5] = 0
    np.testing.assert_allclose(beside, 0, atol=2e-3)
    assert (dark[:2] == 0).all()
    # neither a face nor a steep phase is dark or bright
    steep = 30 * np.exp(1j * np.array([0.4, 1.0])[:, None, None, None] * x)
    _, none, _ = flatten_signal(steep.astype(np.complex64), inside, ratios, [4.0] * 3)
    np.testing.assert_allclose(none, 0, atol=1e-4)


def test_templates_are_phase_and_darkness_of_a_weak_source(workshop: Any) -> None:
    """At any offset; far away the phase is the pattern at the voxel's centre and nothing is missing."""
    scan = blank(workshop, (21, 21, 21), **LATTICES["oblique"])
    edges, voxels = voxel_edges(scan.grid.voxel_mm), window_voxels(scan.grid.voxel_mm, 3.6)
    q = float(q_levels()[6])
    for pattern, table in zip(PATTERNS, workshop.weak_tables(scan), strict=True):
        matrix = pattern_matrix(pattern, scan.b0_in_array)
        for offset in OFFSETS:
            phase, dark = draw_weak_source(table, offset)
            points = (voxels - offset) * edges
            r = np.linalg.norm(points, axis=1)
            centre = np.einsum("va,ab,vb->v", points, matrix, points)[r > 2.5] / r[r > 2.5] ** 5
            np.testing.assert_allclose(phase[r > 2.5] / q, centre, atol=0.02)
            np.testing.assert_allclose(dark[r > 2.5], 0, atol=2e-4)
            assert r[dark.argmax()] == pytest.approx(r.min(), abs=1e-6)
        # the dipole, as the simulator shows it
        if pattern == "dipole":
            drawn = workshop.simulate_points((21, 21, 21), [[10.5, 10.0, 10.5]], [q], **LATTICES["oblique"])
            signal = drawn.signal[0][tuple((voxels + 10).T)]
            shape = draw_weak_source(table, np.array([0.5, 0.0, 0.5]))
            for template, shown in zip(shape, (np.angle(signal), 1 - np.abs(signal)), strict=True):
                assert np.linalg.norm(shown - template) < 0.02 * np.linalg.norm(shown)
