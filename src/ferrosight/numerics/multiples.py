"""How much one of many like things weighs, from weights of which each is that of one, two or more of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: At most so many together are told apart; what is heavier is divided.
_MOST_TOGETHER = 12
#: Weights are binned by their logarithms; that of one is sought within this of where the search begins.
_BIN, _REACH = 0.02, 0.3
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 0.6
_STEPS, _TOLERANCE = 400, 1e-7
_LEAST_SHARE = 1e-6
#: Light ones, which no law of the others foresees: a share of them lies anywhere between this and one.
_LIGHTEST = 0.2


@dataclass(frozen=True)
class MultiplesFit:
    """What one weighs, over a grid of how much that may be.

    ``log_one`` (g,) is the grid of logarithms, ``odds`` (g,) how probable each is (they sum to 1), ``spread`` (g,) the
    relative standard deviation between single ones there, ``shares`` (g, 1 + k) how common are single ones that are
    lighter than their law foresees, and one, two, ... k together.
    """

    log_one: Array
    odds: Array
    spread: Array
    shares: Array

    @property
    def one(self) -> float:
        """The weight of one: the exponential of the mean logarithm."""
        return math.exp(float(self.odds @ self.log_one))

    @property
    def log_sd(self) -> float:
        """Standard deviation of its logarithm."""
        return math.sqrt(float(self.odds @ (self.log_one - self.odds @ self.log_one) ** 2))

    @property
    def mean_spread(self) -> float:
        """Relative standard deviation between single ones."""
        return float(self.odds @ self.spread)

    @property
    def single_share(self) -> float:
        """The share of values that are of one."""
        return float(self.odds @ self.shares[:, :2].sum(axis=1))

    def expect(self, values: Array) -> tuple[Array, Array, Array]:
        """How many are in each value (n,), the variance of that with the weight of one known, and its slope.

        The slope is the change of the number per change of the logarithm of the weight of one: errors of that are
        common to all values.
        """
        logs = np.log(values)
        n_together = np.maximum(np.arange(self.shares.shape[1]), 1)
        numbers = np.empty((len(self.odds), len(values)))
        variances = np.empty_like(numbers)
        for i, (log_one, spread, shares) in enumerate(zip(self.log_one, self.spread, self.shares, strict=True)):
            chances = _chances(logs - log_one, spread, shares)[0]
            mean = chances @ n_together
            variance = chances @ n_together**2 - mean**2
            divided = np.exp(logs - log_one)
            many = divided > _MOST_TOGETHER - 2
            numbers[i] = np.where(many, divided, mean)
            variances[i] = np.where(many, spread**2 * divided, variance)
        away = self.log_one - self.odds @ self.log_one
        slopes = (self.odds * away) @ numbers / max(float(self.odds @ away**2), 1e-12)
        return np.asarray(self.odds @ numbers), np.asarray(self.odds @ variances), np.asarray(slopes)


def fit_multiples(values: Array, start: float, start_log_sd: float = 0.1, spread: float = 0.25) -> MultiplesFit:
    """Fit positive ``values`` (n,), each the sum of one, two or more of weights that are alike.

    Weights of single ones are log-normal; k of them have k times the mean and 1/sqrt(k) of its relative spread (the
    log-normal of the same mean and variance: Fenton, IRE Trans Commun Syst 8:57, 1960). How common each k is, is free,
    as is a share of single ones that are lighter than that. For each weight of one on a grid around ``start`` the
    likelihood is maximised by EM over the rest; the grid's probabilities are that profile times a normal prior of the
    logarithm, of mean ``start`` and standard deviation ``start_log_sd``: pairs of halves fit a law nearly as well as
    ones do, and a guess within a third tells them apart. Values above what is told apart are left out.
    """
    logs = np.log(values[values < (_MOST_TOGETHER - 2) * start])
    numbers, repeats = np.unique(np.round(logs / _BIN).astype(np.int64), return_counts=True)
    bins: Array = np.asarray(numbers * _BIN, dtype=np.float64)
    counts = repeats.astype(np.float64)
    heaviest = math.exp(float(bins.max(initial=math.log(start)))) / start
    most = min(_MOST_TOGETHER, max(3, math.ceil(heaviest) + 2))
    shares = np.concatenate([[0.02], np.exp(-0.7 * np.arange(most))])
    shares /= shares.sum()
    n = round(_REACH / _BIN)
    grid: Array = math.log(start) + _BIN * np.arange(-n, n + 1, dtype=np.float64)
    fits: dict[int, tuple[float, float, Array]] = {}
    for order in (range(n, 2 * n + 1), range(n - 1, -1, -1)):
        at, of_one = (spread, shares) if n not in fits else fits[n][1:]
        for i in order:
            fits[i] = _maximise(bins - grid[i], counts, at, of_one)
            _, at, of_one = fits[i]
    likelihoods = np.array([fits[i][0] for i in range(len(grid))])
    likelihoods -= 0.5 * ((grid - math.log(start)) / start_log_sd) ** 2
    odds = np.exp(likelihoods - likelihoods.max())
    return MultiplesFit(
        grid,
        odds / odds.sum(),
        np.array([fits[i][1] for i in range(len(grid))]),
        np.stack([fits[i][2] for i in range(len(grid))]),
    )


def _chances(logs: Array, spread: float, shares: Array) -> tuple[Array, Array]:
    """Chance of each kind (n, 1 + k), and the logarithm of each value's density (n,)."""
    n_together = np.arange(1, len(shares))
    variance = np.log1p(spread**2 / n_together)
    away = logs[:, None] - np.log(n_together) + variance / 2
    log_parts = np.log(shares[1:]) - 0.5 * away**2 / variance - 0.5 * np.log(2 * math.pi * variance)
    is_light = (logs < 0) & (logs > math.log(_LIGHTEST))
    light = np.where(is_light, math.log(shares[0] / -math.log(_LIGHTEST)), -1e3)
    log_parts = np.column_stack([light, log_parts])
    top = log_parts.max(axis=1, keepdims=True)
    parts = np.exp(log_parts - top)
    total = parts.sum(axis=1, keepdims=True)
    return parts / total, (np.log(total) + top)[:, 0]


def _maximise(logs: Array, counts: Array, spread: float, shares: Array) -> tuple[float, float, Array]:
    """The greatest likelihood at a known weight of one, with the spread and the shares that reach it (EM)."""
    away = logs[:, None] - np.log(np.arange(1, len(shares)))
    last = -math.inf
    for _ in range(_STEPS):
        chances, log_density = _chances(logs, spread, shares)
        likelihood = float(counts @ log_density)
        if likelihood - last < _TOLERANCE * counts.sum():
            break
        last = likelihood
        held = chances * counts[:, None]
        amounts = held.sum(axis=0)
        shares = (amounts + _LEAST_SHARE) / (amounts.sum() + _LEAST_SHARE * len(shares))
        of_law = held[:, 1:]
        spread = _improve_spread(spread, amounts[1:], (of_law * away).sum(axis=0), (of_law * away**2).sum(axis=0))
    return last, spread, shares


def _improve_spread(spread: float, amounts: Array, sums: Array, squares: Array) -> float:
    """One safeguarded Newton step on the spread's logarithm, given moments of the distances per number together."""
    n_together = np.arange(1, len(amounts) + 1)

    def cost(log_spread: float) -> float:
        variance = np.log1p(math.exp(2 * log_spread) / n_together)
        misfit = (squares + sums * variance + amounts * variance**2 / 4) / variance
        return 0.5 * float((misfit + amounts * np.log(variance)).sum())

    step, here = 0.04, math.log(spread)
    below, at, above = cost(here - step), cost(here), cost(here + step)
    curvature = below - 2 * at + above
    change = 0.5 * (below - above) / curvature * step if curvature > 0 else math.copysign(step, below - above)
    return float(np.clip(math.exp(here + np.clip(change, -0.2, 0.2)), _LEAST_SPREAD, _MOST_SPREAD))
