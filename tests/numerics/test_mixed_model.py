"""Estimates and intervals of the mixed model hold what they say, over many draws and against exact results."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from ferrosight.numerics.mixed_model import (
    MixedProblem,
    combined_quantile,
    differentiate,
    fit_mixed,
    profile_interval,
    split_variance,
)

BIG = 1e9


def one_way(values: np.ndarray) -> MixedProblem:
    """The mean of groups (g, m): a common variance within them and one between."""
    groups, size = values.shape
    n = values.size
    between = np.kron(np.eye(groups), np.ones((size, size)))
    return MixedProblem(
        lambda theta: np.full(n, theta[0]),
        values.ravel(),
        np.array([np.eye(n), between]),
        np.zeros((n, n)),
        np.array([-BIG]),
        np.array([BIG]),
        np.array([[1.0, 0.0], [1 / size, 1.0]]),
        np.array([groups * (size - 1.0), groups - 1.0]),
    )


@pytest.mark.parametrize("between_sd", [0.0, 0.3, 2.0])
def test_a_balanced_one_way_layout_gives_the_textbooks_variances_and_students_interval(between_sd):
    rng = np.random.default_rng(int(10 * between_sd))
    groups, size = 4, 5
    values = 7.0 + between_sd * rng.normal(size=(groups, 1)) + rng.normal(size=(groups, size))
    fit = fit_mixed(one_way(values), np.array([0.0]), np.array([1.0, 1.0]))
    assert fit.converged
    within = values.var(axis=1, ddof=1).mean()
    of_means = values.mean(axis=1).var(ddof=1)
    assert fit.theta[0] == pytest.approx(values.mean())
    assert fit.variances[0] == pytest.approx(within, rel=1e-4)
    assert fit.variances[1] == pytest.approx(of_means - within / size, abs=1e-4 * of_means)
    half = student.ppf(0.975, groups - 1) * np.sqrt(of_means / groups)
    low, high = profile_interval(fit, lambda theta: float(theta[0]))
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), rel=2e-3 * half / 7, abs=2e-3 * half
    )


def test_a_straight_line_has_the_exact_interval_of_its_slope():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 9)
    y = 1 + 2 * x + 0.1 * rng.normal(size=9)
    problem = MixedProblem(
        lambda theta: theta[0] + theta[1] * x, y, np.eye(9)[None], np.zeros((9, 9)), np.full(2, -BIG), np.full(2, BIG),
        np.eye(1), np.array([7.0]),
    )  # fmt: skip
    fit = fit_mixed(problem, np.zeros(2), np.ones(1))
    slope, covariance = np.polyfit(x, y, 1, cov=True)
    assert fit.theta[1] == pytest.approx(slope[0])
    err = np.sqrt(covariance[0, 0])
    low, high = profile_interval(fit, lambda theta: float(theta[1]))
    assert (high - low) / 2 == pytest.approx(student.ppf(0.975, 7) * err, rel=5e-3)


@pytest.mark.parametrize("dof", [1, 2, 3, 8, 60, 299])
def test_one_part_has_students_quantile(dof):
    assert combined_quantile(np.array([3.0]), np.array([float(dof)])) == pytest.approx(
        student.ppf(0.975, dof), rel=1e-3
    )


def test_several_parts_have_the_quantile_of_the_sum_of_students():
    rng = np.random.default_rng(2)
    parts, dofs = np.array([0.2, 0.5, 0.3]), np.array([2.0, 6.0, np.inf])
    draws = np.sqrt(0.2) * rng.standard_t(2, 2_000_000) + np.sqrt(0.5) * rng.standard_t(6, 2_000_000)
    draws += np.sqrt(0.3) * rng.normal(size=2_000_000)
    assert combined_quantile(parts, dofs) == pytest.approx(np.quantile(np.abs(draws), 0.95), rel=5e-3)
    assert combined_quantile(np.zeros(2), np.ones(2)) == pytest.approx(1.96, abs=1e-3)


def test_parts_of_a_variance_add_up_and_none_is_negative():
    strata, dofs = np.array([[1.0, 0.0], [0.25, 1.0]]), np.array([12.0, 3.0])
    parts, of_each = split_variance(np.array([0.1, 0.3]), np.array([2.0, 1.0]), 0.5, strata, dofs)
    assert parts.sum() == pytest.approx(0.1 * 2.0 + 0.3 * 1.0 + 0.5)
    assert of_each.tolist() == [12.0, 3.0, np.inf]
    parts, _ = split_variance(np.array([0.0, 1.0]), np.array([2.0, -0.4]), 0.0, strata, dofs)
    assert (parts >= 0).all()
    assert parts.sum() == pytest.approx(0.1)


def test_an_end_that_no_value_reaches_is_infinite():
    """exp(−a·x) measured only where it has vanished: the rate is bounded below alone."""
    x = np.array([0.0, 0.0, 0.0, 20.0, 21.0, 22.0])
    y = np.array([1.01, 0.99, 1.0, 0.01, -0.01, 0.003])
    problem = MixedProblem(
        lambda theta: theta[1] * np.exp(-np.exp(theta[0]) * x), y, np.eye(6)[None], np.zeros((6, 6)),
        np.array([-6.0, 0.0]), np.array([6.0, 9.0]), np.eye(1), np.array([4.0]),
    )  # fmt: skip
    fit = fit_mixed(problem, np.array([-0.5, 1.0]), np.array([1e-4]))
    low, high = profile_interval(fit, lambda theta: float(theta[0]))
    assert -6 < low < fit.theta[0]
    assert high == np.inf


def test_derivatives_are_those_of_the_model():
    found = differentiate(lambda theta: np.array([theta[0] * theta[1], np.exp(theta[1])]), np.array([3.0, 0.5]))
    assert found == pytest.approx(np.array([[0.5, 3.0], [0.0, np.exp(0.5)]]), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("between_sd", "groups"), [(0.0, 3), (1.0, 3), (1.0, 6)])
def test_intervals_of_a_mean_over_few_groups_cover_95_percent(between_sd, groups):
    """Exact in a balanced layout, also where nothing differs between groups."""
    draws, hits = 1000, 0
    for seed in range(draws):
        rng = np.random.default_rng([seed, groups])
        values = between_sd * rng.normal(size=(groups, 1)) + rng.normal(size=(groups, 3))
        fit = fit_mixed(one_way(values), np.array([0.0]), np.array([1.0, 0.5]))
        weights = np.einsum("i,kij,j->k", np.ones(1), fit.slopes, np.ones(1))
        parts, dofs = split_variance(weights, fit.variances, 0.0, fit.problem.strata, fit.problem.dofs)
        hits += abs(fit.theta[0]) <= combined_quantile(parts, dofs) * np.sqrt(parts.sum())
    low, high = binom.ppf([1e-4, 1 - 1e-4], draws, 0.95)
    assert low <= hits <= high
