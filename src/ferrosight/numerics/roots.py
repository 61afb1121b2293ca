"""Where a function crosses zero."""

from __future__ import annotations

from collections.abc import Callable


def find_root(function: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-10) -> float:
    """A zero of ``function`` between ``low``, where it is negative, and ``high``, where it is not, by halving.

    ``tolerance`` is on the argument. Raises ValueError where the ends do not bracket a zero.
    """
    if not function(low) < 0 <= function(high):
        raise ValueError(f"no zero is bracketed: {function(low)} at {low}, {function(high)} at {high}")
    while high - low > tolerance:
        middle = 0.5 * (low + high)
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
