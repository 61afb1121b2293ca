"""Where each track was at every visit, seen or not: the places at which a forced measurement is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.types.config import LinkConfig
from ferrosight.types.tracks import Detections, TrackPlaces, TrackSet

_Floats = NDArray[np.float64]


def place_tracks(detections: Detections, tracks: TrackSet, config: LinkConfig) -> TrackPlaces:
    """The place of every track at every visit with its covariance, from all sightings before and after.

    Between sightings a track lies between them, before the first and after the last it stays where it was; the
    covariance grows by ``motion_mm`` squared for each day to the nearest sighting.

    Notes
    -----
    A random walk seen with errors: forward and backward information filters, combined at every visit (Fraser &
    Potter, IEEE Trans. Autom. Control 14:387, 1969). Motion is taken as normal with the scale of the Student's that
    links were weighed by, so that now and then a cluster lies farther off than its covariance says.
    """
    n_tracks, n_visits = len(tracks.track_ids), len(detections.days)
    detection = np.full((n_tracks, n_visits), -1)
    rows = np.flatnonzero(tracks.track >= 0)
    detection[tracks.track[rows], detections.visit[rows]] = rows
    information = np.zeros((n_tracks, n_visits, 3, 3))
    weighted = np.zeros((n_tracks, n_visits, 3))
    seen = detection >= 0
    information[seen] = np.linalg.inv(detections.covariance_mm2[detection[seen]])
    weighted[seen] = np.einsum("nij,nj->ni", information[seen], detections.position_mm[detection[seen]])
    motion2 = config.motion_mm**2 * np.diff(detections.days)
    before = _carry(information, weighted, motion2)
    after = _carry(information[:, ::-1], weighted[:, ::-1], motion2[::-1])
    total = information + before[0] + after[0][:, ::-1]
    covariance = np.linalg.inv(total) if n_tracks else total
    position = np.einsum("ntij,ntj->nti", covariance, weighted + before[1] + after[1][:, ::-1])
    return TrackPlaces(position, (covariance + np.swapaxes(covariance, 2, 3)) / 2, detection)


def _carry(information: _Floats, weighted: _Floats, motion2: _Floats) -> tuple[_Floats, _Floats]:
    """What all earlier visits say at each: information (n_tracks, n_visits, 3, 3), and that times the place."""
    held, said = np.zeros_like(information), np.zeros_like(weighted)
    eye = np.eye(3)
    for t, moved2 in enumerate(motion2):
        now = held[:, t] + information[:, t]
        # (Λ⁻¹ + q)⁻¹ = (1 + Λ q)⁻¹ Λ, which holds for Λ = 0 too
        loss = np.linalg.inv(eye + now * moved2)
        held[:, t + 1] = loss @ now
        said[:, t + 1] = np.einsum("nij,nj->ni", loss, said[:, t] + weighted[:, t])
    return held, said
