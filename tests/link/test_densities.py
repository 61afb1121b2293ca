"""Compiled densities against scipy, and the bound that spares them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ferrosight.link.densities import (
    bound_pair_kernel,
    bound_pair_place,
    log_student,
    log_student_1d,
    weigh_pair_mass,
    weigh_pair_place,
)
from ferrosight.link.model import gather_clusters, gather_scales, log_peak
from ferrosight.types.config import LinkConfig

from .draws import AM2, build_detections

CONFIG = LinkConfig(motion_mm=0.2, mass_loss_per_day=0.05)


def draw_covariances(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    turn = np.linalg.qr(rng.normal(size=(n, size, size)))[0]
    return np.einsum("nij,nj,nkj->nik", turn, rng.uniform(0.01, 0.4, (n, size)), turn)


@pytest.mark.parametrize("size", [3, 6])
def test_student_agrees_with_scipy(size):
    rng = np.random.default_rng(size)
    for matrix in draw_covariances(rng, 5, size):
        residual = rng.normal(size=size)
        value, kernel = log_student(matrix, residual, 4.5, log_peak(size, 4.5))
        assert value == pytest.approx(stats.multivariate_t.logpdf(residual, np.zeros(size), matrix, df=4.5))
        peak = stats.multivariate_t.logpdf(np.zeros(size), np.zeros(size), matrix, df=4.5)
        assert kernel == pytest.approx(value - peak)
    assert log_student_1d(0.7, 0.3, 4.5, log_peak(1, 4.5)) == pytest.approx(
        stats.t.logpdf(0.7, 4.5, scale=np.sqrt(0.3))
    )


@pytest.mark.parametrize("use_mass", [True, False])
@pytest.mark.parametrize("merging", [True, False])
def test_no_pair_is_worth_more_than_its_bound(merging, use_mass):
    """Or hypotheses would be lost before they are weighed."""
    rng = np.random.default_rng(1)
    n = 60
    data = build_detections(
        np.sort(rng.integers(0, 4, n)), rng.normal(0, 0.7, (n, 3)), covariance=draw_covariances(rng, n, 3)
    )
    clusters, scales = gather_clusters(data), gather_scales(CONFIG)
    variance, tried = 0.0 if use_mass else 1 / 12, 0
    for _ in range(2000):
        one, a, b = rng.choice(n, 3, replace=False)
        early, late = ((a, b), (one,)) if merging else ((one,), (a, b))
        if max(data.visit[list(early)]) >= min(data.visit[list(late)]):
            continue
        arguments = (one, a, b, rng.uniform(0.05, 0.95), variance, merging, clusters, scales)
        value = weigh_pair_place(*arguments)
        assert value <= bound_pair_place(*arguments) + 1e-9
        # and from lengths alone, whatever the share: the highest peak there can be, times how far off it is at most
        days = min(abs(data.days[data.visit[other]] - data.days[data.visit[one]]) for other in (a, b))
        peak = scales.peak3 if merging else scales.peak6 + np.log(2) - 1.5 * np.log(scales.separation2)
        peak -= 1.5 * np.log(scales.motion2 * days)
        assert value <= peak + bound_pair_kernel(one, a, b, merging, clusters, scales) + 1e-9
        tried += 1
    assert tried > 100


def weigh_masses(one: np.ndarray, a: np.ndarray, b: np.ndarray, merging: bool) -> np.ndarray:
    """Density (n_one, n_a, n_b) of log masses; ``a`` and ``b`` are five and two days from ``one``."""
    groups = [one, a, b]
    n = sum(len(group) for group in groups)
    visits = np.repeat([2, 0, 1] if merging else [0, 2, 1], [len(group) for group in groups])
    data = build_detections(
        visits,
        np.arange(n)[:, None] * np.ones(3),
        days=np.array([0.0, 3, 5] if merging else [0.0, 2, 5]),
        moment=AM2 * np.exp(np.concatenate(groups)),
    )
    clusters, scales = gather_clusters(data), gather_scales(CONFIG)
    rows = np.split(np.arange(n), np.cumsum([len(group) for group in groups])[:-1])
    weighed = [
        [[weigh_pair_mass(i, j, k, merging, clusters, scales) for k in rows[2]] for j in rows[1]] for i in rows[0]
    ]
    values = np.array(weighed)
    assert ((values[..., 1] > 0) & (values[..., 1] < 1)).all()
    return np.exp(values[..., 0])


def test_masses_of_parts_are_a_density():
    """They add up to 1 over all log masses that the two parts may have."""
    logs = np.linspace(-10, 4, 300)
    density = weigh_masses(np.array([0.0]), logs, logs, merging=False)[0]
    assert density.sum() * (logs[1] - logs[0]) ** 2 == pytest.approx(1.0, abs=0.01)


def test_mass_of_a_whole_is_a_density():
    logs = np.linspace(-30, 30, 20_001)
    density = weigh_masses(logs, np.array([0.3]), np.array([-0.4]), merging=True)[:, 0, 0]
    assert density.sum() * (logs[1] - logs[0]) == pytest.approx(1.0, abs=1e-3)
