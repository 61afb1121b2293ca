"""Detections for the tests of linking, and draws from the very model that linking expects."""

from __future__ import annotations

import numpy as np

from ferrosight.types import Detections
from ferrosight.types.config import LinkConfig

AM2 = 1e-13


def build_detections(
    visit: np.ndarray,
    position: np.ndarray,
    *,
    days: np.ndarray | None = None,
    moment: np.ndarray | None = None,
    relative_err: np.ndarray | float = 0.1,
    error_mm: tuple[float, float, float] = (0.05, 0.07, 0.1),
    covariance: np.ndarray | None = None,
    chance: np.ndarray | float = 0.9,
    false_per_mm3: float = 1e-5,
    volume: float = 1000.0,
) -> Detections:
    """Detections with sensible values where nothing is said; visits two days apart, then three."""
    visit, position = np.asarray(visit), np.asarray(position, dtype=float).reshape(-1, 3)
    n, n_visits = len(visit), int(np.max(visit, initial=0)) + 1
    if days is None:
        days = np.cumsum([0, *([2.0, 3.0] * n_visits)])[:n_visits]
    n_visits = len(days)
    if covariance is None:
        covariance = np.repeat(np.diag(np.square(error_mm))[None], n, axis=0)
    moment = np.full(n, 5 * AM2) if moment is None else np.asarray(moment)
    return Detections(
        sessions=tuple(f"v{t}" for t in range(n_visits)),
        days=np.asarray(days, dtype=float),
        cluster_ids=np.array([f"v{t}_x{x:.5f}y{y:.5f}z{z:.5f}" for t, (x, y, z) in zip(visit, position, strict=True)]),
        visit=visit,
        position_mm=position,
        covariance_mm2=covariance,
        moment_am2=moment,
        moment_am2_err=moment * relative_err,
        detection_probability=np.broadcast_to(np.asarray(chance, dtype=float), (n, n_visits)).copy(),
        false_per_mm3=np.full(n, false_per_mm3),
        volume_mm3=volume,
    )


def draw_from_model(
    config: LinkConfig, n_bodies: int, side: float, days: np.ndarray, false_share: float, rng: np.random.Generator
) -> tuple[Detections, set[tuple[int, int]], np.ndarray]:
    """Detections as the model has them (no merges), the true links, and which are false.

    Every body: (place, log mass, lasts until). What is new comes from the same volume. Errors are Student's, as motion
    is, since it is their sum that the model takes to be.
    """
    density = n_bodies / side**3
    chance, err, relative = 0.85, 0.05, 0.1
    bodies = [[rng.uniform(0, side, 3), rng.normal(0, 1.0), None] for _ in range(rng.poisson(n_bodies))]
    places, masses, visits, links, false = [], [], [], set(), []
    for t, day in enumerate(days):
        if t:
            step = day - days[t - 1]
            grown = []
            for place, mass, last in bodies:
                if rng.random() > np.exp(-config.gone_per_day * step):
                    continue
                if rng.random() < -np.expm1(-config.split_per_day * step):
                    share = rng.random()
                    moved = place + student(rng, config, 3) * config.motion_mm * np.sqrt(step)
                    apart = student(rng, config, 3) * config.separation_mm
                    total = mass + student(rng, config, 1)[0] * config.mass_change * np.sqrt(step)
                    grown.append([moved + (1 - share) * apart, total + np.log(share), last])
                    grown.append([moved - share * apart, total + np.log1p(-share), last])
                    continue
                place = place + student(rng, config, 3) * config.motion_mm * np.sqrt(step)
                mass = mass + student(rng, config, 1)[0] * config.mass_change * np.sqrt(step)
                grown.append([place, mass, last])
            n_new = rng.poisson(config.new_per_day * n_bodies * step)
            bodies = grown + [[rng.uniform(0, side, 3), rng.normal(0, 1.0), None] for _ in range(n_new)]
        for body in bodies:
            if rng.random() < chance:
                if body[2] is not None:
                    links.add((body[2], len(places)))
                body[2] = len(places)
                places.append(body[0] + rng.normal(0, err, 3))
                masses.append(body[1] + rng.normal(0, relative))
                visits.append(t)
                false.append(False)
        for _ in range(rng.poisson(false_share * n_bodies)):
            places.append(rng.uniform(0, side, 3))
            masses.append(rng.normal(0, 1.0))
            visits.append(t)
            false.append(True)
    detections = build_detections(
        np.array(visits),
        np.array(places),
        days=days,
        moment=AM2 * np.exp(masses),
        relative_err=relative,
        error_mm=(err, err, err),
        chance=chance,
        false_per_mm3=false_share * density,
        volume=side**3,
    )
    return detections, links, np.array(false)


def student(rng: np.random.Generator, config: LinkConfig, n: int) -> np.ndarray:
    """A multivariate Student's variable of unit scale."""
    return rng.normal(size=n) / np.sqrt(rng.chisquare(config.tail_dof) / config.tail_dof)
