"""Evidence from new clusters, against an upper bound of the scans' own false ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: What a visit with a new cluster is worth, before the price of every visit; equally weighted, fixed beforehand.
STAKES = (1.0, 4.0, 15.0)


def trace_births(new_candidates: NDArray[np.int64], chance_max: float, hidden_max: int) -> NDArray[np.float64]:
    """e-value of all visits with a new cluster so far, (n_visits,).

    Parameters
    ----------
    new_candidates
        (n_visits,) candidates that belong to no earlier cluster and of which at most 0.01 false ones were expected.
        The first visit has no earlier one: it is no evidence.
    chance_max
        Upper bound of the chance that a visit has any false one.
    hidden_max
        Clusters that do not grow but were missed so far; each can be new once.

    Notes
    -----
    A visit counts once however many are new, so that false ones that come in company cost nothing. With N visits with
    new clusters after t, e = mean over the stakes s of (1 + s)^max(N − hidden_max, 0) / (1 + s · chance_max)^t: at
    most ``hidden_max`` of the N are of hidden clusters, and the rest are of false ones.
    """
    any_new = np.asarray(new_candidates) > 0
    any_new[:1] = False
    counted = np.maximum(np.cumsum(any_new) - hidden_max, 0)
    visits = np.arange(len(any_new))
    stakes = np.array(STAKES)[:, None]
    logs = counted * np.log1p(stakes) - visits * np.log1p(stakes * chance_max)
    return np.asarray(np.exp(logs).mean(axis=0), dtype=np.float64)
