"""Many pieces of evidence as one, and which of them carry it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weigh_by_birth(n: int) -> NDArray[np.float64]:
    """Weights 6/(π² j²) of the j-th lineage to be born, (n,): fixed beforehand, for any number of lineages."""
    return np.asarray(6 / (np.pi * np.arange(1, n + 1)) ** 2, dtype=np.float64)


def average_lineages(e_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evidence of all lineages together, (n_visits,), from e-values (n_lineages, n_visits) in the order of birth.

    Whoever is not yet born holds an e-value of 1, as do the infinitely many that never will be: the weights sum to 1.
    A fixed-weight average of e-processes is one under any dependence between them.
    """
    weights = weigh_by_birth(len(e_values))
    return np.asarray(1 + weights @ (e_values - 1), dtype=np.float64)


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
