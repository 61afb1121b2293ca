"""What division, exocytosis and death do to label: per cell it is diluted, in total it is only ever lost.

A cell's label sits in vesicles. At a division each goes to one daughter, to the first with the chance ``share``: no
label is made or lost, and a lineage keeps a share of its ancestor's vesicles that is a product of such chances.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from ferrosight.types.uptake import Division

Array = NDArray[np.float64]


def divide_cells(vesicles: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Vesicles of both daughters of each cell, (2 n,): a binomial partition, which conserves their number exactly."""
    first = rng.binomial(vesicles, share)
    return np.concatenate([first, vesicles - first])


def keep_vesicles(vesicles: NDArray[np.int64], lost_share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Vesicles left of each cell after each was given off with the chance ``lost_share``."""
    return np.asarray(rng.binomial(vesicles, 1 - lost_share))


def population_growth(division_per_h: float, death_per_h: float, time_h: ArrayLike) -> Array:
    """Living cells over those at the beginning."""
    return np.asarray(np.exp((division_per_h - death_per_h) * np.asarray(time_h, dtype=np.float64)))


def iron_left(exocytosis_per_h: float, death_per_h: float, time_h: ArrayLike, exocytosis_from_h: float = 0.0) -> Array:
    """Iron still in living cells over that at the beginning; how fast they divide does not matter.

    Exocytosis begins at ``exocytosis_from_h``. What is lost may stay where it was, as free iron or in macrophages.
    """
    time = np.asarray(time_h, dtype=np.float64)
    return np.asarray(np.exp(-death_per_h * time - exocytosis_per_h * np.maximum(time - exocytosis_from_h, 0.0)))


def moments_of_share(doublings: ArrayLike, division: Division) -> tuple[Array, Array]:
    """Mean, and mean square, over living cells of the chance that a vesicle of their ancestor is in them.

    ``doublings`` is time over doubling time. A population in steady growth divides out of step: each cell passes
    k = 1/``cycle_cv``² (rounded) equal random stages between divisions. The sum over living cells of w per division
    passed is that of a linear system of the stages, where the last hands 2w on to the first. The mean is 2^−doublings
    whatever the spread: label is conserved.
    """
    n = np.asarray(doublings, dtype=np.float64)
    mean_square = (division.share**2 + (1 - division.share) ** 2) / 2
    square = [_sum_over_lineages(float(x), mean_square, division.cycle_cv) * 2.0 ** -float(x) for x in n.ravel()]
    return np.exp2(-n), np.asarray(square).reshape(n.shape)


def _sum_over_lineages(doublings: float, weight: float, cycle_cv: float) -> float:
    """Sum of ``weight`` per division passed, over the cells that descend from one, time being in doubling times."""
    stages = max(round(1 / cycle_cv**2), 1)
    rate = math.log(2) / math.expm1(math.log(2) / stages)
    passing = rate * (np.eye(stages, k=-1) - np.eye(stages))
    passing[0, -1] += rate * 2 * weight
    # Younger stages are the commoner, by how much the population grows in a stage.
    begin = 2.0 ** (-np.arange(stages) / stages)
    return float((expm(passing * doublings) @ (begin / begin.sum())).sum())


def spread_between_cells(
    cell_cv: float, doublings: ArrayLike, division: Division, exocytosed_share: ArrayLike = 0.0
) -> Array:
    """Relative standard deviation of iron between living cells after ``doublings``, from ``cell_cv`` before.

    A cell that began with E vesicles has Binomial(E, π) of them, π the chance of ``moments_of_share`` times what was
    not exocytosed; vesicles hold equal iron, and how much does not depend on their number (E is that of every cell).
    """
    kept = 1 - np.asarray(exocytosed_share, dtype=np.float64)
    mean, square = moments_of_share(doublings, division)
    mean, square = mean * kept, square * kept**2
    of_binomial = (mean - square) / division.endosomes
    relative = (1 + cell_cv**2) * (square + of_binomial) / mean**2 - 1
    return np.asarray(np.sqrt(np.maximum(relative, 0.0)))
