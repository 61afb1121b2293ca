"""Places at unseen visits, and their errors, against walks that were drawn and against the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.link import link_detections, place_tracks
from ferrosight.types import Detections, TrackSet
from ferrosight.types.config import LinkConfig

from .draws import build_detections

DAYS = np.array([0.0, 2.0, 5.0, 6.0, 10.0])
CONFIG = LinkConfig(motion_mm=0.2, use_mass=False, max_gap_visits=3)
COVARIANCE = np.array([[0.010, 0.004, 0.0], [0.004, 0.020, -0.003], [0.0, -0.003, 0.006]])


def see(walks: np.ndarray, visits: list[int], rng: np.random.Generator) -> tuple[Detections, TrackSet]:
    """Walks (n, n_visits, 3) far apart, seen at some visits with errors; and the tracks they make."""
    n = len(walks)
    place = walks[:, visits] + rng.multivariate_normal(np.zeros(3), COVARIANCE, (n, len(visits)))
    data = build_detections(
        np.tile(visits, n),
        place.reshape(-1, 3),
        days=DAYS,
        covariance=np.repeat(COVARIANCE[None], n * len(visits), axis=0),
        volume=1e9,
        false_per_mm3=1e-15,
    )
    return data, link_detections(data, CONFIG)


def draw_walks(n: int, rng: np.random.Generator) -> np.ndarray:
    steps = rng.normal(size=(n, len(DAYS), 3)) * CONFIG.motion_mm * np.sqrt(np.diff(DAYS, prepend=0.0))[:, None]
    return np.cumsum(steps, axis=1) + np.arange(n)[:, None, None] * 50.0


def test_errors_are_as_large_as_said_seen_or_not():
    rng = np.random.default_rng(3)
    walks = draw_walks(1500, rng)
    data, tracks = see(walks, [1, 3], rng)
    places = place_tracks(data, tracks, CONFIG)
    assert len(tracks.track_ids) == 1500
    missed = places.position_mm - walks
    squared = np.einsum("nti,ntij,ntj->nt", missed, np.linalg.inv(places.covariance_mm2), missed)
    # the mean of χ² with 3 degrees of freedom over 1500 draws has a standard error of 0.063
    assert squared.mean(axis=0) == pytest.approx(np.full(5, 3.0), abs=5 * 0.063)


def test_two_filters_agree_with_the_whole_matrix():
    rng = np.random.default_rng(4)
    data, tracks = see(draw_walks(3, rng), [0, 1, 3], rng)
    places = place_tracks(data, tracks, CONFIG)
    seen = [0, 1, 3]
    # every step, and every sighting, adds its own precision
    steps = np.diff(np.eye(5), axis=0) / (CONFIG.motion_mm * np.sqrt(np.diff(DAYS)))[:, None]
    walk = np.kron(steps.T @ steps, np.eye(3))
    sightings = np.kron(np.diag(np.isin(range(5), seen).astype(float)), np.linalg.inv(COVARIANCE))
    covariance = np.linalg.inv(walk + sightings)
    gain = covariance @ np.kron(np.eye(5)[:, seen], np.linalg.inv(COVARIANCE))
    for number in range(3):
        own = data.position_mm[tracks.track == number].ravel()
        assert places.position_mm[number].ravel() == pytest.approx(gain @ own, abs=1e-9)
        for t in range(5):
            block = covariance[3 * t : 3 * t + 3, 3 * t : 3 * t + 3]
            assert places.covariance_mm2[number, t] == pytest.approx(block, abs=1e-12)


def test_each_track_knows_its_detections():
    rng = np.random.default_rng(5)
    data, tracks = see(draw_walks(4, rng), [1, 4], rng)
    places = place_tracks(data, tracks, CONFIG)
    assert (places.detection >= 0).sum(axis=0).tolist() == [0, 4, 0, 0, 4]
    rows = places.detection[places.detection >= 0]
    assert sorted(rows.tolist()) == list(range(len(data)))
    assert (tracks.track[places.detection[:, 1]] == np.arange(4)).all()


def test_no_tracks_have_no_places():
    data = build_detections(np.zeros(0, dtype=int), np.zeros((0, 3)), days=DAYS)
    places = place_tracks(data, link_detections(data, CONFIG), CONFIG)
    assert places.position_mm.shape == (0, 5, 3)
