"""Whitening by the tissue's own field: against dense algebra, and over many draws of texture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.clusters.fit import Sources, WindowData, fit_sources, no_neighbours, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.structure import LEVELS, Structure, learn_structure, whiten_sources
from ferrosight.physics.table_reading import interpolate_signal
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.simulate.background import draw_texture_hz
from ferrosight.types import Scan

FloatArray = NDArray[np.float64]

SNR = 40.0
SPACING, PER_AXIS = 11, 4
SHAPE = (SPACING * PER_AXIS,) * 3
VOXEL_MM, B0 = (0.1, 0.07, 0.12), (0.6, 0.0, 0.8)
TIMES_S = (0.004, 0.008, 0.012)
TEXTURE_PPM, TEXTURE_MM = 0.012, 0.12


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@dataclass(frozen=True)
class Scene:
    """A noiseless scan without texture, its sources' strengths and places (padded voxels), and its texture's recipe."""

    scan: Scan
    q: FloatArray
    places: FloatArray
    texture: ScanSpec


@pytest.fixture(scope="module")
def scene(workshop: Any) -> Scene:
    """64 sources of both signs far apart, at random sub-voxel offsets: oblique, unequal voxels, three echoes."""
    rng = np.random.default_rng(3)
    steps = SPACING * (np.arange(PER_AXIS) + 0.5)
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = np.round(places) + rng.uniform(-0.5, 0.5, places.shape)
    q = rng.choice([-1.0, 1.0], len(places)) * rng.uniform(0.1, 0.3, len(places))
    affine = build_affine(SHAPE, VOXEL_MM, (25.0, -15.0, 40.0))
    blank = ScanSpec(SHAPE, affine, TIMES_S, 7.0, b0_direction=B0, background_hz=2.0, receive_variation=0.1)
    moments = [workshop.moment_am2(one, VOXEL_MM, TIMES_S[0]) for one in q]
    points = [Point(tuple(mm), moment) for mm, moment in zip(blank.grid.to_mm(places), moments, strict=True)]
    scan, _ = simulate_scan(replace(blank, sources=tuple(points)), 1)
    texture = replace(blank, texture_ppm=TEXTURE_PPM, texture_mm=TEXTURE_MM)
    return Scene(scan, q, places + PAD, texture)


@pytest.fixture(scope="module")
def known(scene: Scene, workshop: Any) -> Structure:
    """The texture's own modes, from its spectrum over forty draws: what ``learn_structure`` should find."""
    rng = np.random.default_rng(5)
    per_hz = 2 * np.pi * TIMES_S[0]
    power = np.mean([np.abs(np.fft.fftn(per_hz * draw_texture_hz(scene.texture, rng))) ** 2 for _ in range(40)], axis=0)
    covariance = np.fft.ifftn(power).real / np.prod(SHAPE)
    voxels = workshop.table(scene.scan).voxels
    lags = voxels[:, None] - voxels[None]
    values, vectors = np.linalg.eigh(covariance[lags[..., 0], lags[..., 1], lags[..., 2]])
    leading = np.argsort(-values)[:90]
    return Structure(vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0)))


def draw_data(workshop: Any, scene: Scene, rng: np.random.Generator, scale: float = 1.0) -> WindowData:
    """The scene with a texture and noise of its own."""
    turn = 2 * np.pi * scale * draw_texture_hz(scene.texture, rng)
    times = scene.scan.echo_times_s[:, None, None, None]
    signal = scene.scan.signal * np.exp(1j * times * turn[None])
    return workshop.window_data(workshop.add_noise(replace(scene.scan, signal=signal), 1 / SNR, rng), 1 / SNR)


def fit(scene: Scene, data: WindowData) -> Sources:
    nothing = np.zeros(len(scene.q), np.int64)
    signs = np.sign(scene.q).astype(np.int64)
    start = unfitted(nothing, signs, np.round(scene.places).astype(np.int64), len(data.ratios))
    return fit_sources(data, start, no_neighbours(data), search=True)


def whiten(data: WindowData, fitted: Sources, structure: Structure) -> Sources:
    return whiten_sources(data, fitted, no_neighbours(data), np.full(len(fitted), -1), structure)


def solve_dense(data: WindowData, fitted: Sources, row: int, structure: Structure) -> tuple[float, float]:
    """χ² with and without the source by dense matrices of all real data, at the likeliest level of structure."""
    centre, table, voxels = fitted.centres[row], data.tables[0], data.voxels
    n, n_echoes = len(voxels), len(data.ratios)
    at = tuple((centre + voxels).T)
    values = data.signal[(slice(None), *at)].astype(np.complex128)
    basis = data.basis.astype(float)

    def stack(a: NDArray[np.complex128]) -> FloatArray:
        return np.concatenate([a.real.ravel(), a.imag.ravel()])

    def polynomials(factor: NDArray[np.complex128]) -> FloatArray:
        columns = []
        for e in range(n_echoes):
            for term in basis:
                for unit in (1.0, 1j):
                    column = np.zeros((n_echoes, n), complex)
                    column[e] = unit * term * factor[e]
                    columns.append(stack(column))
        return np.array(columns).T

    factor = np.empty((n_echoes, n), complex)
    slopes = np.empty((n_echoes, 4, n), complex)
    for e, ratio in enumerate(data.ratios):
        one, by = np.empty(n, np.complex64), np.empty((4, n), np.complex64)
        own = (table.values, table.matrix, table.edges, voxels, fitted.q[row] * ratio, fitted.shifts[row])
        interpolate_signal(*own, one, by)
        factor[e], slopes[e] = one, by
        slopes[e, 0] *= ratio

    def chi2(design: FloatArray, target: FloatArray, inverse: FloatArray) -> float:
        gram = design.T @ inverse @ design
        size = np.sqrt(np.diagonal(gram))
        best = np.linalg.solve(gram / np.outer(size, size), design.T @ inverse @ target / size) / size
        left = target - design @ best
        return float(left @ inverse @ left)

    found: list[tuple[float, float, float]] = []
    smooth = polynomials(factor)
    target = stack(values)
    coefficients = np.linalg.lstsq(smooth, target, rcond=None)[0]
    flat = (smooth @ coefficients).reshape(2, n_echoes, n)
    model = flat[0] + 1j * flat[1]
    empty = polynomials(np.ones_like(factor))
    flat = (empty @ np.linalg.lstsq(empty, target, rcond=None)[0]).reshape(2, n_echoes, n)
    without = flat[0] + 1j * flat[1]
    columns = np.array([stack(slopes[:, p] * model / factor) for p in range(4)]).T
    for level in LEVELS:
        inverses = []
        for field in (model, without):
            changes = np.array([stack(1j * data.ratios[:, None] * field * mode[None]) for mode in structure.modes.T]).T
            inverses.append(np.linalg.inv(np.eye(len(target)) + level * changes @ changes.T))
        with_source = chi2(np.column_stack([smooth, columns]), target - stack(model), inverses[0])
        likelihood = -0.5 * with_source + 0.5 * np.linalg.slogdet(inverses[0])[1]
        found.append((likelihood, with_source, chi2(empty, target, inverses[1])))
    return max(found)[1:]


def test_it_agrees_with_dense_generalised_least_squares(workshop: Any, scene: Scene, known: Structure) -> None:
    data = draw_data(workshop, scene, np.random.default_rng(1))
    fitted = fit(scene, data)
    few = Structure(known.modes[:, :12])
    whitened = whiten(data, fitted, few)
    for row in (0, 21, 42):
        with_source, without = solve_dense(data, fitted, row, few)
        gain = without - with_source
        assert whitened.chi2[row] == pytest.approx(with_source, rel=0.01)
        assert whitened.chi2_background[row] - whitened.chi2[row] == pytest.approx(gain, rel=0.05)


def test_in_texture_sources_score_higher_and_empty_places_no_higher(
    workshop: Any, scene: Scene, known: Structure, rng: np.random.Generator
) -> None:
    """Eight textures of unknown amplitude, 64 sources and as many empty places between them each."""
    empty = replace(scene, places=scene.places - SPACING / 2)
    scores: dict[str, list[FloatArray]] = {"source": [], "source, whitened": [], "empty": [], "empty, whitened": []}
    for _ in range(8):
        data = draw_data(workshop, scene, rng, scale=float(rng.uniform(0.5, 1.5)))
        for name, where in (("source", scene), ("empty", empty)):
            fitted = fit(where, data)
            scores[name].append(fitted.score)
            scores[f"{name}, whitened"].append(whiten(data, fitted, known).score)
    found = {name: np.concatenate(values) for name, values in scores.items()}
    assert np.median(found["source, whitened"]) > 1.25 * np.median(found["source"])
    for share in (50, 90, 99):
        assert np.percentile(found["empty, whitened"], share) < 1.05 * np.percentile(found["empty"], share)


def test_what_is_left_of_texture_is_white(
    workshop: Any, scene: Scene, known: Structure, rng: np.random.Generator
) -> None:
    data = draw_data(workshop, scene, rng)
    fitted = fit(scene, data)
    assert np.median(fitted.misfit) > 1.5
    assert np.median(whiten(data, fitted, known).misfit) < 1.15


def test_without_texture_nothing_changes_much(
    workshop: Any, scene: Scene, known: Structure, rng: np.random.Generator
) -> None:
    """The level of structure is the window's own: where there is none it is low."""
    data = draw_data(workshop, scene, rng, scale=0.0)
    fitted = fit(scene, data)
    whitened = whiten(data, fitted, known)
    assert np.median(whitened.score / fitted.score) > 0.93


def test_structure_is_learnt_from_the_scan(
    workshop: Any, scene: Scene, known: Structure, rng: np.random.Generator
) -> None:
    """Variances of patterns over a window: what is learnt from one field against the truth over many."""
    per_hz = 2 * np.pi * TIMES_S[0]
    field = np.pad(per_hz * draw_texture_hz(scene.texture, rng), PAD)
    inside = np.pad(np.ones(SHAPE, bool), PAD)
    deviation = 0.3 * field.std()
    phase = (field + deviation * rng.normal(size=field.shape)).astype(np.float32)
    weight = np.where(inside, deviation**-2, 0).astype(np.float32)
    voxels = workshop.table(scene.scan).voxels
    learnt = learn_structure(phase, weight, inside, voxels)
    assert learnt.modes.shape[1] > 10
    for mode in known.modes.T[:8]:
        unit = mode / np.linalg.norm(mode)
        truth, found = (float(((unit @ one.modes) ** 2).sum()) for one in (known, learnt))
        assert found == pytest.approx(truth, rel=0.3)


def test_noise_alone_has_no_structure(workshop: Any, scene: Scene, rng: np.random.Generator) -> None:
    phase = rng.normal(size=SHAPE).astype(np.float32)
    voxels = workshop.table(scene.scan).voxels
    learnt = learn_structure(phase, np.ones(SHAPE, np.float32), np.ones(SHAPE, bool), voxels)
    assert float((learnt.modes**2).sum(axis=1).mean()) < 0.1


def test_with_nothing_learnt_sources_stay_as_they_are(workshop: Any, scene: Scene, rng: np.random.Generator) -> None:
    data = draw_data(workshop, scene, rng)
    fitted = fit(scene, data)
    learnt = learn_structure(
        np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool), data.voxels
    )
    assert learnt.modes.shape == (len(data.voxels), 0)
    assert whiten(data, fitted, learnt) is fitted
