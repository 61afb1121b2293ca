"""The whole search: nothing in noise, every source at its place, both signs alike, whatever the array's order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ferrosight.clusters.fit import Sources, unfitted
from ferrosight.clusters.prepare import PAD
from ferrosight.clusters.search import (
    _STARTED,
    SAME_PLACE,
    SearchResult,
    _away_from,
    _ended_elsewhere,
    _likely_classes,
    drop_duplicates,
    find_places,
)
from ferrosight.physics.cluster_signal import PATTERNS
from ferrosight.types import Scan

FloatArray = NDArray[np.float64]
SNR = 30.0


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def search(workshop: Any, scan: Scan, rng: np.random.Generator, **options: Any) -> SearchResult:
    return workshop.search(workshop.add_noise(scan, 1 / SNR, rng), 1 / SNR, **options)  # type: ignore[no-any-return]


def nearest(sources: Sources, places: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Row of the source nearest to each place (fractional voxels of the image), and how far it is, voxels."""
    apart = np.linalg.norm(sources.positions[None] - places[:, None] - PAD, axis=2)
    return apart.argmin(axis=1), apart.min(axis=1)


def class_counts(sources: Sources, at_least: float = 0.0) -> NDArray[np.int64]:
    """Sources of each pattern and sign, (5, 2)."""
    keep = sources.score >= at_least
    return np.array(
        [[((sources.patterns == p) & (np.sign(sources.q) == sign) & keep).sum() for sign in (1, -1)] for p in range(5)]
    )


# Noise ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_noise(workshop: Any) -> list[SearchResult]:
    """Four draws of nothing but noise, searched lower than usual for the sake of numbers."""
    rng = np.random.default_rng(17)
    scan = workshop.simulate_points((44, 42, 40), [], [])
    return [search(workshop, scan, rng, screen_z=4.0) for _ in range(4)]


def test_noise_holds_nothing_strong(in_noise: list[SearchResult]) -> None:
    assert all(len(result.sources) == 0 or result.sources.score.max() < 7 for result in in_noise)
    assert all(result.n_places > 20 for result in in_noise)


def test_most_places_tried_keep_a_source(in_noise: list[SearchResult]) -> None:
    """A place that was worth a fit leaves its best class behind, unless a stronger one is beside it."""
    assert sum(len(result.sources) for result in in_noise) > 0.3 * sum(result.n_places for result in in_noise)


def test_noise_has_no_favourite_class(in_noise: list[SearchResult]) -> None:
    """Signs alike, patterns alike, and the same scores."""
    counts = sum(class_counts(result.sources) for result in in_noise)
    assert counts.sum() > 100
    assert stats.chisquare(counts.sum(axis=0)).pvalue > 1e-3
    assert stats.chisquare(counts.sum(axis=1)).pvalue > 1e-3
    dipoles = np.concatenate([r.sources.score[r.sources.patterns == 0] for r in in_noise])
    others = np.concatenate([r.sources.score[r.sources.patterns > 0] for r in in_noise])
    assert stats.ks_2samp(dipoles, others).pvalue > 1e-3


@pytest.mark.slow
def test_noise_has_the_same_number_of_all_ten_classes(workshop: Any, in_noise: list[SearchResult]) -> None:
    """Ten draws, four of which others look at too."""
    rng = np.random.default_rng(19)
    scan = workshop.simulate_points((44, 42, 40), [], [])
    draws = in_noise + [search(workshop, scan, rng, screen_z=4.0) for _ in range(6)]
    counts = sum(class_counts(result.sources) for result in draws)
    assert counts.sum() > 300
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


# Sources --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(workshop: Any) -> tuple[Scan, FloatArray, FloatArray]:
    """27 sources of both signs, |q| from 0.5 to 8, at random offsets; some in the outermost slices."""
    rng = np.random.default_rng(23)
    steps = np.array([0, 19, 38])
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) + 0.0
    places = np.clip(places + rng.uniform(-2, 2, places.shape), -0.3, 38.3)
    q = np.where(np.arange(27) % 2, 1.0, -1.0) * np.exp(rng.uniform(np.log(0.5), np.log(8), 27))
    return workshop.simulate_points((39, 39, 39), places, q, background_hz=4.0), places, q


@pytest.fixture(scope="module")
def found(workshop: Any, many: tuple[Scan, FloatArray, FloatArray]) -> SearchResult:
    return search(workshop, many[0], np.random.default_rng(29))


def test_every_source_is_found_with_its_sign(found: SearchResult, many: tuple[Scan, FloatArray, FloatArray]) -> None:
    _, places, q = many
    rows, apart = nearest(found.sources, places)
    np.testing.assert_array_less(apart, 0.5)
    assert (found.sources.patterns[rows] == 0).all()
    np.testing.assert_array_equal(np.sign(found.sources.q[rows]), np.sign(q))
    errors = np.sqrt(found.sources.covariance[rows, 0, 0])
    # 1 % of the table beside the noise
    assert (np.abs(found.sources.q[rows] - q) < 4 * errors + 0.03 * np.abs(q)).mean() > 0.95
    others = np.delete(found.sources.score, rows)
    assert len(others) == 0 or others.max() < 7


def test_results_are_in_order_and_consistent(found: SearchResult) -> None:
    score = found.sources.score
    assert (np.diff(score) <= 0).all()
    explains = score >= 6
    assert len(found.neighbours.centres) == explains.sum()
    np.testing.assert_array_equal(found.own[explains], np.arange(explains.sum()))
    assert (found.own[~explains] == -1).all()
    np.testing.assert_array_equal(found.neighbours.centres, found.sources.centres[explains])
    # once the sources are explained, little is left where they were
    at = np.round(found.sources.positions[explains]).astype(int).T
    assert np.median(np.abs(found.residual_map[(0, *at)])) < 3


def test_progress_ends_at_its_total(workshop: Any, rng: np.random.Generator) -> None:
    steps: list[tuple[int, int]] = []
    scan = workshop.simulate_points((16, 16, 16), [], [])
    search(workshop, scan, rng, patterns=("dipole",), on_progress=lambda _, done, total: steps.append((done, total)))
    assert all(0 <= done <= total for done, total in steps)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_the_other_polarity_is_the_same_search(
    workshop: Any, found: SearchResult, many: tuple[Scan, FloatArray, FloatArray]
) -> None:
    """The complex conjugate of a scan holds the same sources, their signs turned."""
    noisy = workshop.add_noise(many[0], 1 / SNR, np.random.default_rng(29))
    turned = workshop.search(dataclasses.replace(noisy, signal=noisy.signal.conj()), 1 / SNR)
    mirror_counts = class_counts(turned.sources, 8.0)[:, ::-1]
    np.testing.assert_array_equal(mirror_counts, class_counts(found.sources, 8.0))
    rows, apart = nearest(turned.sources, many[1])
    np.testing.assert_array_less(apart, 0.5)
    same, _ = nearest(found.sources, many[1])
    np.testing.assert_allclose(turned.sources.q[rows], -found.sources.q[same], rtol=0.02)


@pytest.mark.parametrize(
    ("q", "snr"),
    [(0.3, 20.0), (0.1, 60.0), (0.02, 300.0)],
)
def test_a_source_counts_by_its_score_not_by_its_strength(
    workshop: Any, q: float, snr: float, rng: np.random.Generator
) -> None:
    """The same strength over noise (scores of 15 to 30) is found the same, in noisy scans and in clean ones."""
    steps = np.array([6, 17])
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = places + rng.uniform(-0.3, 0.3, places.shape)
    scan = workshop.simulate_points((24, 24, 24), places, [q] * 8)
    result = workshop.search(workshop.add_noise(scan, 1 / snr, rng), 1 / snr)
    strong = result.sources.pick(result.sources.score > 8)
    assert len(strong) >= 8
    _, apart = nearest(strong, places)
    np.testing.assert_array_less(apart, 0.5)


def find_between(
    workshop: Any, offset: tuple[float, float, float], n_draws: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether each of eight sources, ``offset`` from a voxel's middle, comes back as a dipole (draw, source)."""
    steps = np.array([6, 17])
    places = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) + np.array(offset)
    scan = workshop.simulate_points((24, 24, 24), places, [0.1] * 8)
    found = []
    for _ in range(n_draws):
        sources = workshop.search(workshop.add_noise(scan, 1 / 60, rng), 1 / 60).sources
        strong = sources.pick((sources.score > 6) & (sources.patterns == 0))
        assert len(strong) <= 8
        found.append(nearest(strong, places)[1] < 0.5)
    return np.array(found)


@pytest.mark.parametrize("offset", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.5, 0.5)])
def test_a_source_is_found_wherever_in_its_voxel_it_lies(
    workshop: Any, offset: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Middle, face, edge, corner of a voxel; fits at the corner score 9 to 13, elsewhere 18 to 33."""
    assert find_between(workshop, offset, 2, rng).all()


@pytest.fixture(scope="module")
def above_a_face(workshop: Any) -> NDArray[np.bool_]:
    return find_between(workshop, (0.0, 0.0, 0.5), 8, np.random.default_rng(3))


def test_a_source_on_the_face_across_b0_is_found_though_decoys_start_better(above_a_face: NDArray[np.bool_]) -> None:
    assert above_a_face.all()


@pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
def test_two_neighbours_three_voxels_apart_are_both_found(
    workshop: Any, signs: tuple[int, int], rng: np.random.Generator
) -> None:
    """A pair along each of eight directions."""
    steps = np.array([8, 26])
    first = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    first = first + rng.uniform(-0.5, 0.5, first.shape)
    u = rng.normal(size=first.shape)
    second = first + 3 * u / np.linalg.norm(u, axis=1, keepdims=True)
    places = np.concatenate([first, second])
    q = np.repeat([2.0 * signs[0], 2.0 * signs[1]], 8)
    result = search(workshop, workshop.simulate_points((35, 35, 35), places, q), rng)
    rows, apart = nearest(result.sources, places)
    assert len(set(rows)) == 16
    np.testing.assert_array_less(apart, 0.5)
    assert (result.sources.patterns[rows] == 0).all()
    np.testing.assert_allclose(result.sources.q[rows], q, rtol=0.3)


@pytest.mark.parametrize("below", [-1.3, -1.0])
def test_a_source_beside_the_slab_is_explained_outside(workshop: Any, below: float, rng: np.random.Generator) -> None:
    place = np.array([[12.2, 11.8, below]])
    result = search(workshop, workshop.simulate_points((24, 24, 14), place, [4.0]), rng)
    strong = result.sources.pick(result.sources.score > 6)
    outside = strong.positions[:, 2] < PAD - 0.5
    assert outside.any()
    assert not (~outside).any()
    assert strong.patterns[0] == 0
    assert strong.q[0] > 0
    assert np.abs(strong.positions[0] - place[0] - PAD).max() < 1


# Order and threads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "flip"), [((2, 0, 1), (False, True, False)), ((1, 0, 2), (True, False, True))])
def test_the_order_of_the_array_does_not_matter(
    workshop: Any, order: tuple[int, int, int], flip: tuple[bool, bool, bool], rng: np.random.Generator
) -> None:
    """The same scan stored along other axes: the same sources at the same places in mm."""
    how: dict[str, Any] = {"voxel_mm": (0.1, 0.08, 0.12), "rotation": (25, -15, 40), "b0_direction": (0.6, 0.0, 0.8)}
    places = np.array([[5.2, 6.1, 5.9], [18.3, 7.2, 12.8], [9.1, 20.4, 14.2], [14.8, 14.1, 0.2]])
    scan = workshop.simulate_points((24, 27, 22), places, [2.0, -3.0, 1.0, 2.5], **how)
    noisy = workshop.add_noise(scan, 1 / SNR, rng)
    one = workshop.search(noisy, 1 / SNR, patterns=("dipole",))
    other_scan = reorder(noisy, order, flip)
    other = workshop.search(other_scan, 1 / SNR, patterns=("dipole",))
    keep, others = one.sources.pick(one.sources.score > 7), other.sources.pick(other.sources.score > 7)
    assert len(keep) == len(others) >= 4
    mm = noisy.grid.to_mm(keep.positions - PAD)
    apart = np.linalg.norm(mm[:, None] - other_scan.grid.to_mm(others.positions - PAD)[None], axis=2)
    match = apart.argmin(axis=1)
    assert len(set(match)) == len(keep)
    error_mm = np.sqrt(np.trace(keep.covariance[:, 1:, 1:], axis1=1, axis2=2)) * 0.1
    np.testing.assert_array_less(apart.min(axis=1), 0.25 * error_mm + 5e-4)
    np.testing.assert_allclose(others.q[match], keep.q, rtol=0.01)
    np.testing.assert_allclose(others.score[match], keep.score, rtol=0.02)


def reorder(scan: Scan, order: tuple[int, int, int], flip: tuple[bool, bool, bool]) -> Scan:
    """The same image with its axes in another order, some of them running backwards."""
    signal, affine = scan.signal, scan.affine.copy()
    for axis, turned in enumerate(flip):
        if turned:
            affine[:3, 3] += affine[:3, axis] * (signal.shape[axis + 1] - 1)
            affine[:3, axis] *= -1
            signal = np.flip(signal, axis + 1)
    affine[:, :3] = affine[:, list(order)]
    moved = np.ascontiguousarray(signal.transpose(0, *(axis + 1 for axis in order)))
    return dataclasses.replace(scan, signal=moved, affine=affine)


def test_threads_change_nothing(workshop: Any, found: SearchResult, many: tuple[Scan, FloatArray, FloatArray]) -> None:
    threads = numba.get_num_threads()
    try:
        # The fixture ran on as many as there are: one, where several processes share the tests.
        numba.set_num_threads(1 if threads > 1 else min(2, numba.config.NUMBA_NUM_THREADS))
        alone = search(workshop, many[0], np.random.default_rng(29))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(alone.sources.patterns, found.sources.patterns)
    np.testing.assert_array_equal(alone.sources.centres, found.sources.centres)
    np.testing.assert_array_equal(alone.sources.q, found.sources.q)
    np.testing.assert_array_equal(alone.sources.chi2, found.sources.chi2)


# Parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_patterns", [len(PATTERNS), 1])
def test_the_likely_classes_are_those_of_the_largest_statistic_beside_a_place(
    n_patterns: int, rng: np.random.Generator
) -> None:
    """Against a loop over the 27 voxels around, at the image's corners too."""
    shape = (7, 6, 5)
    evidence = rng.normal(size=(n_patterns, *shape)).astype(np.float32)
    places = np.concatenate([rng.integers(0, shape, (40, 3)), [[0, 0, 0], [6, 5, 4], [0, 5, 2]]])
    rows, kinds = _likely_classes(evidence, places, _STARTED)
    n_started = min(_STARTED, 2 * n_patterns)
    np.testing.assert_array_equal(rows, np.repeat(np.arange(len(places)), n_started))
    for place, started in zip(places, kinds.reshape(-1, n_started), strict=True):
        near = evidence[(slice(None), *(slice(max(p - 1, 0), p + 2) for p in place))].reshape(n_patterns, -1)
        # twice the pattern, one more for the negative sign
        largest = np.column_stack([near.max(axis=1), -near.min(axis=1)]).ravel()
        np.testing.assert_array_equal(started, np.argsort(-largest)[:n_started])


def test_both_signs_are_as_likely_as_the_map_says(rng: np.random.Generator) -> None:
    """Turning the map's sign turns the sign of every class; what never has a sign is not said to have it."""
    evidence = rng.normal(size=(5, 9, 9, 9)).astype(np.float32)
    places = rng.integers(0, 9, (30, 3))
    rows, kinds = _likely_classes(evidence, places, _STARTED)
    same, turned = _likely_classes(-evidence, places, _STARTED)
    np.testing.assert_array_equal(same, rows)
    np.testing.assert_array_equal(turned, kinds ^ 1)
    evidence = np.abs(evidence)
    _, kinds = _likely_classes(evidence, places, _STARTED)
    assert (kinds % 2 == 0).all()


def test_no_places_have_no_likely_classes() -> None:
    rows, kinds = _likely_classes(np.ones((5, 9, 9, 9), np.float32), np.zeros((0, 3), np.int64), _STARTED)
    assert len(rows) == len(kinds) == 0


def test_places_beside_known_ones_are_left_out(rng: np.random.Generator) -> None:
    """Within one voxel's edge, as the crow flies, whatever the voxel's shape; and all stay where none is known."""
    edges = np.array([0.6, 1.9, 0.88])
    places, known = rng.integers(0, 12, (200, 3)), rng.uniform(0, 12, (60, 3))
    apart = np.linalg.norm((places[:, None] - known[None]) * edges, axis=2).min(axis=1)
    kept = _away_from(known, places, edges)
    np.testing.assert_array_equal(kept, places[apart > 1])
    assert 0 < len(kept) < len(places)
    np.testing.assert_array_equal(_away_from(np.zeros((0, 3)), places, edges), places)
    assert _away_from(known, places[:0], edges).shape == (0, 3)


def test_fits_are_asked_again_where_they_ended_away_from_every_start() -> None:
    starts = np.array([[5, 5, 5], [12, 12, 12], [20, 5, 5]])
    #: beside its own start, beside another's, elsewhere, the same place once more, elsewhere but weak
    ends = np.array([[5.4, 5.2, 5.9], [12.0, 11.3, 12.0], [20.1, 8.2, 5.0], [19.8, 7.9, 5.3], [9.0, 5.0, 20.0]])
    gains = np.array([50.0, 50.0, 30.0, 80.0, 4.0])
    fitted = unfitted(np.zeros(5, np.int64), np.ones(5, np.int64), np.round(ends).astype(np.int64), 1)
    fitted = dataclasses.replace(
        fitted,
        shifts=ends - np.round(ends),
        chi2=np.full(5, 300.0),
        chi2_background=300 + gains,
        n_data=np.full(5, 162),
        steps=np.ones(5, np.int64),
    )
    np.testing.assert_array_equal(_ended_elsewhere(fitted, starts, np.ones(3)), [[20, 8, 5]])
    # a voxel twice as long: one beside is elsewhere, too
    far = _ended_elsewhere(fitted, starts, np.array([1.0, 2.0, 1.0]))
    np.testing.assert_array_equal(far, [[12, 11, 12], [20, 8, 5]])
    assert len(_ended_elsewhere(fitted.pick(np.zeros(0, np.int64)), starts, np.ones(3))) == 0


def test_of_sources_at_one_place_the_strongest_stays() -> None:
    positions = np.array([[5, 5, 5], [5, 5, 6], [5, 5, 9], [9, 9, 9], [5, 6, 5]])
    sources = unfitted(np.array([0, 1, 2, 3, 0]), np.ones(5, np.int64), positions, 1)
    gain = np.array([10.0, 30.0, 20.0, -1.0, 5.0])
    sources = dataclasses.replace(
        sources, chi2=np.full(5, 300.0), chi2_background=300 + gain, n_data=np.full(5, 160), steps=np.ones(5, np.int64)
    )
    kept = drop_duplicates(sources, np.ones(3))
    np.testing.assert_array_equal(kept.patterns, [1, 2, 0])
    # (5, 5, 5) lies one voxel from the strongest; (5, 6, 5) farther than that
    np.testing.assert_array_equal(kept.centres, [[5, 5, 6], [5, 5, 9], [5, 6, 5]])
    assert np.sqrt(2) > SAME_PLACE > 1
    assert len(drop_duplicates(sources.pick(np.zeros(0, np.int64)), np.ones(3))) == 0


def test_places_are_peaks_strongest_first_away_from_known_ones() -> None:
    evidence = np.zeros((len(PATTERNS), 20, 20, 20), np.float32)
    for pattern, place, z in ((0, (4, 4, 4), 6.0), (1, (10, 10, 10), -9.0), (2, (15, 4, 4), 5.0), (3, (4, 15, 4), 4.0)):
        evidence[(pattern, *place)] = z
    evidence[0, 4, 4, 5] = 5.5
    evidence[0, 18, 18, 18] = 20.0
    mask = np.ones((20, 20, 20), bool)
    mask[18] = False
    places = find_places(evidence, mask, 4.5, np.ones(3), [])
    np.testing.assert_array_equal(places, [[10, 10, 10], [4, 4, 4], [15, 4, 4]])
    places = find_places(evidence, mask, 4.5, np.ones(3), [np.array([[10.3, 10.2, 9.9]])])
    np.testing.assert_array_equal(places, [[4, 4, 4], [15, 4, 4]])
    assert find_places(evidence, mask, 30.0, np.ones(3), []).shape == (0, 3)
