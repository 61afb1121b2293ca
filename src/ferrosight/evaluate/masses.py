"""The true mass along which recall and bias are shown, and the classes it is cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.evaluate.match import LABELLED
from ferrosight.types import Table
from ferrosight.types.evaluation import KnownVisit

#: Classes per decade. Their middles are 1, 2.15, 4.6, 10, …: round masses lie inside, not on an edge.
_PER_DECADE: Final = 3


def choose_mass(visits: Sequence[KnownVisit]) -> str:
    """``iron_pg``, or ``moment_am2`` where more of the labelled bodies have one."""
    known = {
        name: sum(int(np.isfinite(true_mass(visit.truth, name)).sum()) for visit in visits)
        for name in ("iron_pg", "moment_am2")
    }
    return "moment_am2" if known["moment_am2"] > known["iron_pg"] else "iron_pg"


def true_mass(truth: Table, name: str) -> NDArray[np.float64]:
    """Mass (n,) of every labelled body; NaN for what is not labelled, and where it is not a positive number."""
    values = truth[name]
    usable = (truth["kind"] == LABELLED) & np.isfinite(values) & (values > 0)
    return np.where(usable, values, np.nan)


def split_by_mass(mass: NDArray[np.float64]) -> Iterator[tuple[float, float, NDArray[np.bool_]]]:
    """Lower and upper end of every class that holds anything, and which of ``mass`` (n,) lie in it."""
    with np.errstate(invalid="ignore"):
        number = np.round(_PER_DECADE * np.log10(mass))
    for one in np.unique(number[np.isfinite(number)]):
        low, high = 10.0 ** ((one + np.array([-0.5, 0.5])) / _PER_DECADE)
        yield float(low), float(high), number == one
