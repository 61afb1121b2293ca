"""The weight of one from weights of one, two or more together, drawn as sums and not from the fitted law."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.numerics.multiples import fit_multiples


def draw(
    rng: np.random.Generator, n: int, shares: tuple[float, ...], spread: float, law: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums of weights of mean 1, one by one, and how many are in each."""
    together = rng.choice(np.arange(1, len(shares) + 1), n, p=shares)
    if law == "normal":
        values = [np.maximum(rng.normal(1, spread, k), 0.1).sum() for k in together]
    else:
        values = [rng.gamma(spread**-2, spread**2, k).sum() for k in together]
    return np.array(values), together


@pytest.mark.parametrize(("law", "limit"), [("gamma", 0.03), ("normal", 0.07)])
@pytest.mark.parametrize("shares", [(1.0,), (0.7, 0.2, 0.1), (0.4, 0.25, 0.2, 0.15)])
def test_the_weight_of_one_and_the_number_are_found(law: str, limit: float, shares: tuple[float, ...]) -> None:
    """Normal weights have a tail of light ones that no log-normal has: as far off as an unforeseen law is."""
    rng = np.random.default_rng(3)
    found, numbers = [], []
    for _ in range(12):
        values, together = draw(rng, 500, shares, 0.25, law)
        fit = fit_multiples(values, start=0.9)
        found.append(fit.one)
        numbers.append(fit.expect(values)[0].sum() / together.sum())
    assert np.mean(found) == pytest.approx(1.0, abs=limit)
    assert np.mean(numbers) == pytest.approx(1.0, abs=limit)


def test_the_weights_error_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(4)
    fits = [fit_multiples(draw(rng, 300, (0.6, 0.25, 0.15), 0.25, "gamma")[0], 1.0) for _ in range(60)]
    scatter = np.std([np.log(fit.one) for fit in fits])
    said = np.mean([fit.log_sd for fit in fits])
    assert 0.6 < scatter / said < 1.4  # 60 draws know their scatter to a tenth; the law is another than the fitted


def test_numbers_follow_the_weight_as_the_slope_says() -> None:
    values, _ = draw(np.random.default_rng(5), 400, (0.5, 0.3, 0.2), 0.25, "gamma")
    fit = fit_multiples(values, 1.0)
    low, high = (fit_multiples(values * factor, 1.0).expect(values * factor)[0].sum() for factor in (0.9, 1.1))
    number, _, slope = fit.expect(values)
    assert low == pytest.approx(high, rel=0.02)  # scaling all weights changes no number
    assert -len(values) * 3 < slope.sum() < 0
    assert (number >= 1 - 1e-9).all()


def test_what_is_far_heavier_is_divided() -> None:
    values = np.append(np.full(200, 1.0) * np.exp(np.random.default_rng(6).normal(0, 0.2, 200)), 40.0)
    fit = fit_multiples(values, 1.0)
    assert fit.expect(np.array([40.0]))[0][0] == pytest.approx(40 / fit.one, rel=0.05)
