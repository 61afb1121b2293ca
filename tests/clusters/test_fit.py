"""Fits of simulated sources: strengths and positions without bias, and with errors that are right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import (
    BLOCK_HALF,
    Neighbours,
    Sources,
    WindowData,
    cut_window,
    discount_neighbours,
    draw_neighbours,
    fit_sources,
    multiply_blocks,
    multiply_neighbours,
    no_neighbours,
    unfitted,
)
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.windows import N_BACKGROUND, N_PARAMETERS
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Scan

FloatArray = NDArray[np.float64]

#: Voxel edges, rotation of the array, direction of B0, echo times.
ACQUISITIONS: dict[str, tuple[Any, Any, Any, Any]] = {
    "one echo": ((0.1, 0.1, 0.1), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.01,)),
    "four echoes": ((0.1, 0.1, 0.1), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.004, 0.008, 0.012, 0.016)),
    "oblique": ((0.1, 0.07, 0.12), (25.0, -15.0, 40.0), (0.6, 0.0, 0.8), (0.01,)),
}
SNR = 20.0
SPACING = 11
PER_AXIS = 4


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@dataclass(frozen=True)
class Scene:
    """A noiseless scan, and its sources' true strengths and places (fractional voxels of the padded arrays)."""

    scan: Scan
    q: FloatArray
    places: FloatArray


@pytest.fixture(scope="session")
def scenes(workshop: Any) -> dict[str, Scene]:
    """64 sources of both signs far apart, at random sub-voxel offsets, over a smooth background."""
    return {name: build_scene(workshop, *how) for name, how in ACQUISITIONS.items()}


def build_scene(workshop: Any, voxel_mm: Any, rotation: Any, b0: Any, echo_times_s: Any) -> Scene:
    rng = np.random.default_rng(7)
    steps = SPACING * (np.arange(PER_AXIS) + 0.5)
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.round(places) + rng.uniform(-0.5, 0.5, places.shape)
    # about 15 to 40 standard deviations each
    q = rng.choice([-1.0, 1.0], len(places)) * rng.uniform(0.35, 1.0, len(places))
    shape = (SPACING * PER_AXIS,) * 3
    affine = build_affine(shape, voxel_mm, rotation)
    blank = ScanSpec(shape, affine, echo_times_s, 7.0, b0_direction=b0, background_hz=4.0, receive_variation=0.1)
    moments = [workshop.moment_am2(one, voxel_mm, echo_times_s[0]) for one in q]
    points = [Point(tuple(mm), moment) for mm, moment in zip(blank.grid.to_mm(places), moments, strict=True)]
    scan, _ = simulate_scan(replace(blank, sources=tuple(points)), 1)
    return Scene(scan, q, places + PAD)


def fit_scene(workshop: Any, scene: Scene, rng: np.random.Generator, table: Any = None) -> Sources:
    """One noise draw, every source fitted from a search at its own voxel."""
    noisy = workshop.add_noise(scene.scan, 1 / SNR, rng)
    data = workshop.window_data(noisy, 1 / SNR, table)
    nothing = np.zeros(len(scene.q), np.int64)
    signs = np.sign(scene.q).astype(np.int64)
    start = unfitted(nothing, signs, np.round(scene.places).astype(np.int64), len(data.ratios))
    return fit_sources(data, start, no_neighbours(data), search=True)


@dataclass(frozen=True)
class Outcome:
    """Many draws: deviations over errors (draw, source, parameter), χ²/dof of all data and of the field that
    echoes share, the misfit, and relative deviations of q."""

    z: FloatArray
    chi2_per_dof: FloatArray
    dof: FloatArray
    field_per_dof: FloatArray
    field_dof: FloatArray
    misfit: FloatArray
    relative: FloatArray
    steps: NDArray[np.int64]


@pytest.fixture(scope="session")
def outcomes(workshop: Any, scenes: dict[str, Scene]) -> dict[str, Outcome]:
    """Thirty draws of every scene: 1920 fits each."""
    return {name: measure_outcome(workshop, scene, np.random.default_rng(11)) for name, scene in scenes.items()}


def measure_outcome(workshop: Any, scene: Scene, rng: np.random.Generator, n_draws: int = 30) -> Outcome:
    fits = [fit_scene(workshop, scene, rng) for _ in range(n_draws)]
    off = np.array([np.column_stack([f.q - scene.q, f.positions - scene.places]) for f in fits])
    err = np.array([np.sqrt(np.diagonal(f.covariance, axis1=1, axis2=2)) for f in fits])
    dof = np.array([f.dof for f in fits])
    chi2 = np.array([f.chi2 for f in fits])
    field_dof = np.array([f.n_data - N_BACKGROUND - N_PARAMETERS for f in fits])
    return Outcome(
        off / err,
        chi2 / dof,
        dof,
        np.array([f.chi2_phase for f in fits]) / field_dof,
        field_dof,
        np.array([f.misfit for f in fits]),
        off[..., 0] / scene.q,
        np.array([f.steps for f in fits]),
    )


# Sources alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_strength_and_position_are_unbiased(outcomes: dict[str, Outcome], name: str) -> None:
    """Less than a tenth of a standard deviation off on average, over 1920 fits; q within half a percent."""
    outcome = outcomes[name]
    assert (outcome.steps >= 0).all()
    np.testing.assert_array_less(np.abs(outcome.z.mean(axis=(0, 1))), 0.1)
    assert abs(outcome.relative.mean()) < 0.005


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_errors_are_one_standard_deviation(outcomes: dict[str, Outcome], name: str) -> None:
    spread = outcomes[name].z.reshape(-1, N_PARAMETERS).std(axis=0)
    np.testing.assert_array_less(np.abs(spread - 1), 0.07)
    # as many beyond two standard deviations as a normal distribution has
    beyond = (np.abs(outcomes[name].z) > 2).mean(axis=(0, 1))
    np.testing.assert_array_less(np.abs(beyond - 0.0455), 0.02)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_chi2_per_degree_of_freedom_is_one(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.chi2_per_dof.mean() == pytest.approx(1, abs=0.02)
    assert outcome.chi2_per_dof.std() == pytest.approx(np.sqrt(2 / outcome.dof.mean()), rel=0.15)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_the_field_that_echoes_share_is_noise_too(outcomes: dict[str, Outcome], name: str) -> None:
    """With one echo and with four its χ² is one per voxel, less background and source; so the misfit is about one."""
    outcome = outcomes[name]
    assert outcome.field_per_dof.mean() == pytest.approx(1, abs=0.02)
    assert outcome.field_per_dof.std() == pytest.approx(np.sqrt(2 / outcome.field_dof.mean()), rel=0.15)
    np.testing.assert_array_equal(outcome.misfit, np.maximum(outcome.chi2_per_dof, outcome.field_per_dof))
    # the larger of two such numbers, which have much or little in common, lies up to 0.56 of their spread higher
    assert 1 < outcome.misfit.mean() < 1.02 + 0.56 * outcome.field_per_dof.std()


def test_structure_common_to_all_echoes_is_seen_in_the_field(
    workshop: Any, scenes: dict[str, Scene], rng: np.random.Generator
) -> None:
    """A random field of 0.02 rad at the first echo, 0.4 of its noise: in χ² of four echoes it drowns."""
    scene = scenes["four echoes"]
    ratios = (scene.scan.echo_times_s / scene.scan.echo_times_s[0])[:, None, None, None]
    rough = 0.02 * rng.normal(size=scene.scan.grid.shape)
    signal = scene.scan.signal * np.exp(1j * ratios * rough)
    fits = fit_scene(workshop, replace(scene, scan=replace(scene.scan, signal=signal)), rng)
    clean = fit_scene(workshop, scene, rng)
    # a voxel's phase errs by 0.02 √(Σ ratio²) of its noise over all echoes, and all data hold eight times as many
    expected = (0.02 * SNR) ** 2 * np.sum(ratios**2)
    assert np.median(fits.misfit) == pytest.approx(1 + expected, rel=0.15)
    assert np.median(fits.chi2 / fits.dof) == pytest.approx(1 + expected / 8, rel=0.15)
    assert np.median(clean.misfit) < 1.15
    # what it would be mistaken by, the score knows
    gain = np.maximum(fits.chi2_background - fits.chi2, 0)
    np.testing.assert_allclose(fits.score, np.sqrt(gain / fits.misfit), rtol=1e-6)
    z = (fits.q - scene.q) / np.sqrt(fits.covariance[:, 0, 0])
    assert z.std() > 1.3
    assert (z / np.sqrt(fits.misfit)).std() < 1.1


@pytest.mark.slow
def test_truncated_k_space_is_fitted_by_its_own_table(workshop: Any) -> None:
    """With truth by truncation the k-space table is unbiased where the box's errors no longer hold."""
    rng = np.random.default_rng(5)
    voxel_mm, shape = (0.1, 0.08, 0.12), (33, 33, 33)
    steps = SPACING * (np.arange(3) + 0.5)
    places = np.round(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3))
    places += rng.uniform(-0.5, 0.5, places.shape)
    q = rng.choice([-1.0, 1.0], len(places)) * rng.uniform(0.5, 1.5, len(places))
    spec = ScanSpec(shape, build_affine(shape, voxel_mm, (25, -15, 40)), (0.01,), 7.0, point_spread="kspace")
    points = [
        Point(tuple(mm), workshop.moment_am2(one, voxel_mm, 0.01))
        for mm, one in zip(spec.grid.to_mm(places), q, strict=True)
    ]
    scan, _ = simulate_scan(replace(spec, sources=tuple(points)), 1)
    scene = Scene(scan, q, places + PAD)

    def spread(kind: str) -> FloatArray:
        table = workshop.table(scan, kind)
        fits = [fit_scene(workshop, scene, rng, table) for _ in range(30)]
        z = [(f.q - q) / np.sqrt(f.covariance[:, 0, 0]) for f in fits]
        return np.array([np.mean(z), np.std(z)])

    mean, sd = spread("kspace")
    assert abs(mean) < 0.15
    assert sd == pytest.approx(1, abs=0.1)
    assert spread("box")[1] > 1.5


def test_a_fit_moves_to_the_voxel_that_holds_the_source(
    workshop: Any, scenes: dict[str, Scene], rng: np.random.Generator
) -> None:
    scene = scenes["oblique"]
    data = workshop.window_data(workshop.add_noise(scene.scan, 0.01, rng), 0.01)
    nothing = np.zeros(len(scene.q), np.int64)
    centres = np.round(scene.places).astype(np.int64)
    beside = centres + np.eye(3, dtype=int)[rng.integers(0, 3, len(centres))]
    fitted = fit_sources(
        data, unfitted(nothing, np.sign(scene.q).astype(np.int64), beside, 1), no_neighbours(data), search=True
    )
    np.testing.assert_allclose(fitted.positions, scene.places, atol=0.1)
    assert (fitted.centres == centres).all(axis=1).mean() > 0.8


def test_the_wrong_sign_explains_less(workshop: Any, scenes: dict[str, Scene], rng: np.random.Generator) -> None:
    scene = scenes["one echo"]
    data = workshop.window_data(workshop.add_noise(scene.scan, 1 / SNR, rng), 1 / SNR)
    nothing = np.zeros(len(scene.q), np.int64)
    centres, signs = np.round(scene.places).astype(np.int64), np.sign(scene.q).astype(np.int64)
    right = fit_sources(data, unfitted(nothing, signs, centres, 1), no_neighbours(data), search=True)
    wrong = fit_sources(data, unfitted(nothing, -signs, centres, 1), no_neighbours(data), search=True)
    np.testing.assert_array_equal(np.sign(right.q), signs)
    np.testing.assert_array_equal(np.sign(wrong.q), -signs)
    assert (right.score > wrong.score).all()


# Cut windows ----------------------------------------------------------------------------------------------

#: The middle of the image, a face, an edge, a corner, and just beyond the first slice.
CUT = np.array([[9.2, 8.7, 9.1], [0.2, 9.3, 8.8], [9.1, 16.9, 17.2], [0.1, -0.2, 0.3], [8.8, 9.1, -0.9]])


@pytest.fixture(scope="session")
def cut_scenes(workshop: Any) -> list[tuple[Scan, float]]:
    shape, q = (18, 18, 18), 1.5
    spec = ScanSpec(shape, build_affine(shape, (0.1, 0.1, 0.1)), (0.01,), 7.0)
    moment = workshop.moment_am2(q, (0.1, 0.1, 0.1), 0.01)
    mm = [tuple(spec.grid.to_mm(place)) for place in CUT]
    return [(simulate_scan(replace(spec, sources=(Point(at, moment),)), 1)[0], q) for at in mm]  # type: ignore[arg-type]


@pytest.mark.slow
def test_sources_in_cut_windows_have_right_errors(
    workshop: Any, cut_scenes: list[tuple[Scan, float]], rng: np.random.Generator
) -> None:
    """Faces, edges, corners, and outside the image: fewer voxels, larger errors, still right ones."""
    errors, n_data = [], []
    for (scan, q), place in zip(cut_scenes, CUT + PAD, strict=True):
        z, err, used = [], [], []
        for _ in range(200):
            data = workshop.window_data(workshop.add_noise(scan, 1 / SNR, rng), 1 / SNR)
            start = unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), np.round(place[None]).astype(np.int64), 1)
            found = fit_sources(data, start, no_neighbours(data), search=True)
            sd = np.sqrt(np.diagonal(found.covariance[0]))
            z.append(np.append(found.q - q, found.positions[0] - place) / sd)
            err.append(sd[0])
            used.append(found.n_data[0])
        errors.append(np.median(err))
        n_data.append(np.median(used))
        # 200 draws give the quartiles' distance to 8 %; a badly constrained strength is skewed, hence the quartiles
        quartiles = np.subtract(*np.quantile(z, [0.75, 0.25], axis=0)) / 1.349
        np.testing.assert_array_less(np.abs(quartiles - 1), 0.25)
        np.testing.assert_array_less(np.abs(np.median(z, axis=0)), 0.3)
    assert np.argmin(errors) == 0
    assert np.argmax(n_data) == 0


def test_a_window_with_too_little_in_it_fails_and_says_so(workshop: Any, cut_scenes: list[tuple[Scan, float]]) -> None:
    scan, _ = cut_scenes[0]
    data = workshop.window_data(scan, 1 / SNR)
    weights = np.zeros_like(data.weights)
    weights[:, 10:13, 10:13, 10:12] = 1
    start = unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), np.array([[11, 11, 11]]), 1)
    found = fit_sources(replace(data, weights=weights), start, no_neighbours(data), search=True)
    assert found.steps[0] == -1
    assert found.n_data[0] == 18
    assert np.isnan(found.covariance).all()
    assert found.score[0] == 0


def test_cut_window_copies_what_lies_inside(rng: np.random.Generator) -> None:
    signal = (rng.normal(size=(2, 5, 6, 7)) + 1j * rng.normal(size=(2, 5, 6, 7))).astype(np.complex64)
    weights = rng.integers(0, 2, (2, 5, 6, 7)).astype(np.float32)
    weights[1] = weights[0]
    steps = np.arange(-2, 3)
    voxels = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    data, weight = np.empty((2, len(voxels)), np.complex64), np.empty((2, len(voxels)), np.float32)
    for centre in ([2, 3, 3], [0, 5, 6]):
        used = cut_window(signal, weights, np.array(centre), voxels, data, weight)
        at = np.array(centre) + voxels
        inside = ((at >= 0) & (at < [5, 6, 7])).all(axis=1)
        for e in range(2):
            expected = np.where(inside, signal[e][tuple(np.where(inside[:, None], at, 0).T)], 0)
            np.testing.assert_array_equal(data[e], expected)
        assert (weight[:, ~inside] == 0).all()
        assert used == (weight[0] > 0).sum()


# Neighbours -----------------------------------------------------------------------------------------------


def test_neighbours_fitted_in_turn_lose_their_bias(workshop: Any, rng: np.random.Generator) -> None:
    """27 pairs three voxels apart: alone each is biased by its neighbour, after sweeps none is."""
    voxel_mm, spacing, sigma = (0.1, 0.08, 0.12), 13, 1 / 30
    shape = (3 * spacing,) * 3
    steps = spacing * (np.arange(3) + 0.5)
    middle = np.round(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3))
    u = rng.normal(size=middle.shape)
    apart_mm = 0.3 * u / np.linalg.norm(u, axis=1, keepdims=True)
    first = middle + rng.uniform(-0.5, 0.5, middle.shape)
    places = np.concatenate([first, first + apart_mm / np.array(voxel_mm)])
    q = np.concatenate([np.full(27, 2.0), rng.choice([-1.5, 1.5], 27)])
    spec = ScanSpec(shape, build_affine(shape, voxel_mm, (25, -15, 40)), (0.01,), 7.0)
    points = [
        Point(tuple(mm), workshop.moment_am2(one, voxel_mm, 0.01))
        for mm, one in zip(spec.grid.to_mm(places), q, strict=True)
    ]
    scan, _ = simulate_scan(replace(spec, sources=tuple(points)), 1)
    nothing, signs = np.zeros(54, np.int64), np.sign(q).astype(np.int64)
    alone, together = [], []
    for _ in range(6):
        data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma)
        start = unfitted(nothing, signs, np.round(places + PAD).astype(np.int64), 1)
        found = fit_sources(data, start, no_neighbours(data), search=True)
        alone.append(np.column_stack([found.q - q, found.positions - places - PAD]))
        for _ in range(6):
            found = fit_sources(data, found, draw_neighbours(data, found), np.arange(54), search=False)
        off = np.column_stack([found.q - q, found.positions - places - PAD])
        together.append(off)
    before = np.sqrt(np.mean(np.mean(alone, axis=0) ** 2, axis=0))
    after = np.sqrt(np.mean(np.mean(together, axis=0) ** 2, axis=0))
    # after sweeps what is left of the mean of six draws is noise
    noise = np.std(together, axis=0, ddof=1).mean(axis=0) / np.sqrt(6)
    np.testing.assert_array_less(after, 0.35 * before)
    np.testing.assert_array_less(after, 2.0 * noise)


def draw_some(workshop: Any, scan: Scan) -> tuple[WindowData, Sources, Neighbours]:
    data = workshop.window_data(scan, 1 / SNR)
    centres = np.array([[9, 9, 9], [12, 8, 10], [1, 2, 19]])
    sources = replace(
        unfitted(np.zeros(3, np.int64), np.ones(3, np.int64), centres, 1),
        q=np.array([3.0, -1.0, 2.0]),
        shifts=np.array([[0.2, -0.3, 0.1], [0.0, 0.4, -0.4], [0.1, 0.1, -0.2]]),
    )
    return data, sources, draw_neighbours(data, sources)


def test_factors_are_the_sources_own_signal(workshop: Any, cut_scenes: list[tuple[Scan, float]]) -> None:
    """The factor drawn for a source is what the simulator shows of it, near and far."""
    scan, q = cut_scenes[0]
    data = workshop.window_data(scan, 1.0)
    place = CUT[0] + PAD
    centre = np.round(place).astype(np.int64)
    source = replace(
        unfitted(np.zeros(1, np.int64), np.ones(1, np.int64), centre[None], 1),
        q=np.array([q]),
        shifts=(place - centre)[None],
    )
    drawn = multiply_blocks(data.signal.shape, draw_neighbours(data, source))
    inside = (slice(None),) + (slice(PAD, -PAD),) * 3
    reach = np.abs(np.indices(drawn.shape[1:]) - centre[:, None, None, None]).max(axis=0)[inside[1:]] <= BLOCK_HALF
    truth, found = data.signal[inside][:, reach], drawn[inside][:, reach]
    assert np.abs(found - truth).max() < 0.02
    assert np.sqrt(np.mean(np.abs(found - truth) ** 2)) < 0.01 * np.sqrt(np.mean(np.abs(truth - 1) ** 2)) + 1e-3
    assert (drawn[:, ~(np.abs(np.indices(drawn.shape[1:]) - centre[:, None, None, None]).max(axis=0) <= 8)] == 1).all()


def test_blocks_multiply_to_the_product(workshop: Any, cut_scenes: list[tuple[Scan, float]]) -> None:
    data, _, neighbours = draw_some(workshop, cut_scenes[0][0])
    product = multiply_blocks(data.signal.shape, neighbours)
    expected = np.ones(data.signal.shape, complex)
    for centre, block in zip(neighbours.centres, neighbours.blocks, strict=True):
        for ijk in np.ndindex(*block.shape[1:]):
            at = centre + np.array(ijk) - BLOCK_HALF
            if (at >= 0).all() and (at < data.signal.shape[1:]).all():
                expected[(0, *at)] *= block[(0, *ijk)]
    np.testing.assert_allclose(product, expected, atol=1e-5)
    assert (multiply_blocks(data.signal.shape, no_neighbours(data)) == 1).all()


def test_a_windows_neighbours_are_the_product_without_its_own(
    workshop: Any, cut_scenes: list[tuple[Scan, float]]
) -> None:
    data, sources, neighbours = draw_some(workshop, cut_scenes[0][0])
    other = np.empty((1, len(data.voxels)), np.complex64)
    for own in (-1, 0, 1):
        multiply_neighbours(sources.centres[0], data.voxels, own, neighbours.centres, neighbours.blocks, other)
        rows = np.array([row for row in range(3) if row != own])
        rest = Neighbours(neighbours.centres[rows], neighbours.blocks[rows], neighbours.positions[rows])
        product = multiply_blocks(data.signal.shape, rest)
        np.testing.assert_allclose(other[0], product[0][tuple((sources.centres[0] + data.voxels).T)], atol=1e-5)


def test_weights_fall_beside_neighbours_only(rng: np.random.Generator) -> None:
    """Weight over 1 + (model error · change · signal)², so that what a neighbour does not change keeps its own."""
    data = np.full((2, 50), 30.0 + 0j, np.complex64)
    other = np.ones((2, 50), np.complex64)
    other[0, :10] = np.exp(1j * np.linspace(0.1, 2, 10))
    weight = rng.uniform(0.5, 1.0, (2, 50)).astype(np.float32)
    weight[:, 20] = 0
    before = weight.copy()
    discount_neighbours(data, other, 0.1, weight)
    np.testing.assert_array_equal(weight[0, 10:], before[0, 10:])
    np.testing.assert_array_equal(weight[1], before[1])
    change = np.abs(other[0, :10] - 1)
    np.testing.assert_allclose(weight[0, :10], before[0, :10] / (1 + (0.1 * 30 * change) ** 2), rtol=1e-4)
    assert (np.diff(weight[0, :10] / before[0, :10]) < 0).all()
    again = before.copy()
    discount_neighbours(data, other, 0.0, again)
    np.testing.assert_array_equal(again, before)


# Rows -----------------------------------------------------------------------------------------------------


def test_sources_are_picked_and_joined_row_by_row(workshop: Any, scenes: dict[str, Scene]) -> None:
    found = fit_scene(workshop, scenes["one echo"], np.random.default_rng(3))
    mask = found.q > 0
    kept, rest = found.pick(mask), found.pick(np.flatnonzero(~mask))
    assert len(kept) + len(rest) == len(found) == 64
    assert (kept.q > 0).all()
    assert (rest.q < 0).all()
    joined = kept.join(rest)
    np.testing.assert_array_equal(joined.q, np.concatenate([found.q[mask], found.q[~mask]]))
    np.testing.assert_array_equal(joined.covariance[: len(kept)], found.covariance[mask])
    np.testing.assert_array_equal(joined.score, np.concatenate([found.score[mask], found.score[~mask]]))
    assert joined.n_echoes == found.n_echoes
    assert len(found.pick(np.zeros(0, np.int64)).join(kept)) == len(kept)


def test_score_is_the_studentised_gain() -> None:
    sources = replace(
        unfitted(np.zeros(5, np.int64), np.ones(5, np.int64), np.zeros((5, 3), np.int64), 2),
        chi2=np.array([400.0, 400.0, 800.0, 400.0, 400.0]),
        chi2_background=np.array([500.0, 390.0, 1000.0, 500.0, 500.0]),
        chi2_phase=np.array([np.nan, 90.0, 90.0, 90.0, 384.0]),
        n_data=np.full(5, 110),
        steps=np.array([3, 3, -1, 3, 3]),
    )
    np.testing.assert_array_equal(sources.dof, 2 * 2 * (110 - N_BACKGROUND) - N_PARAMETERS)
    # the field's misfit counts where it is the larger one, here 384 over 96 degrees of freedom
    over_all = 400 / 396
    np.testing.assert_allclose(sources.misfit, [over_all, over_all, 800 / 396, over_all, 4.0])
    np.testing.assert_allclose(sources.score, [np.sqrt(100 / over_all), 0, 0, np.sqrt(100 / over_all), 5.0])
