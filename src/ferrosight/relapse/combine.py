"""Many pieces of evidence as one, and which of them carry it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: What the lineages of the first visit with any share of the whole weight; chosen on simulated growth.
FIRST_SHARE = 0.8


def weigh_by_birth(births: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of lineages (n,) born at these visits, by a rule that is fixed beforehand; they never sum to more than 1.

    All that are born at one visit share equally: at the first with any births FIRST_SHARE, at the k-th after it
    6/(π² k²) of the rest. A lineage's weight is known when it is born, and never changes.
    """
    _, number, counts = np.unique(births, return_inverse=True, return_counts=True)
    later = (1 - FIRST_SHARE) * 6 / (np.pi * np.arange(1, max(len(counts), 1))) ** 2
    return np.asarray((np.array([FIRST_SHARE, *later])[: len(counts)] / counts)[number], dtype=np.float64)


def average_lineages(e_values: NDArray[np.float64], births: NDArray[np.int64]) -> NDArray[np.float64]:
    """Evidence of all lineages together, (n_visits,), from e-values (n_lineages, n_visits) and visits of birth.

    Whoever is not yet born holds an e-value of 1, as does the weight that nobody has. An average of e-processes with
    weights that are known when each begins is one under any dependence between them.
    """
    return np.asarray(1 + weigh_by_birth(births) @ (e_values - 1), dtype=np.float64)


def pick_growing(weighted: NDArray[np.float64], q: float) -> NDArray[np.bool_]:
    """Which lineages grow (n_lineages, n_visits): e-BH at level ``q``, visit by visit.

    ``weighted`` are e-values times weights that were fixed beforehand and sum to 1 at most. The largest set whose
    every member has at least 1/(q × size of the set); its expected share of wrong ones is at most q, at any visit at
    which one chooses to look.
    """
    ordered = -np.sort(-weighted, axis=0)
    sizes = np.arange(1, len(weighted) + 1)[:, None]
    largest = np.max(np.where(ordered * q * sizes >= 1, sizes, 0), axis=0, initial=0)
    return np.asarray((largest > 0) & (weighted * q * np.maximum(largest, 1) >= 1))
