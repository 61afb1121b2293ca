"""How many cells there are after a while: three laws of growth, each with death.

Numbers of cells are real numbers (means of a large population); times are in days, rates per day. Arrays broadcast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.errors import InputError


def grow_exponentially(
    n_start: ArrayLike, days: ArrayLike, division_per_day: ArrayLike, death_per_day: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """dN/dt = (division − death) N: N = N₀ exp((division − death) t).

    Parameters
    ----------
    n_start
        Cells at day 0.
    days
        Days since then.
    division_per_day, death_per_day
        Rates, zero or more.
    """
    start, t, birth, death = _read(n_start, days, division_per_day, death_per_day)
    return np.asarray(start * np.exp((birth - death) * t))


def grow_logistically(
    n_start: ArrayLike,
    days: ArrayLike,
    division_per_day: ArrayLike,
    capacity: ArrayLike,
    death_per_day: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """dN/dt = division · N (1 − N/capacity) − death · N (Verhulst's law with death).

    With r = division − death and c = division / capacity the solution is N₀ eʳᵗ / (1 + c N₀ (eʳᵗ − 1)/r), and
    N₀ / (1 + c N₀ t) where r = 0. It tends to capacity · (1 − death/division) where cells divide faster than they die.
    """
    start, t, birth, death = _read(n_start, days, division_per_day, death_per_day)
    crowding = birth / _read_capacity(capacity)
    rate = birth - death
    # (1 − exp(−rt))/r stays finite for any rate and time, unlike (exp(rt) − 1)/r.
    fall = np.exp(-rate * t)
    lasted = np.where(rate == 0, t, -np.expm1(-rate * t) / np.where(rate == 0, 1.0, rate))
    return np.asarray(start / (fall + crowding * start * lasted))


def grow_gompertz(
    n_start: ArrayLike,
    days: ArrayLike,
    slowing_per_day: ArrayLike,
    capacity: ArrayLike,
    death_per_day: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """dN/dt = slowing · N ln(capacity/N) − death · N (Gompertz's law with death).

    N = K (N₀/K)^exp(−slowing · t), with K = capacity · exp(−death/slowing): death lowers what it tends to.
    """
    start, t, slowing, death = _read(n_start, days, slowing_per_day, death_per_day)
    if not (slowing > 0).all():
        raise InputError("Gompertz growth needs a slowing rate above zero; use exponential growth where there is none.")
    log_limit = np.log(_read_capacity(capacity)) - death / slowing
    with np.errstate(divide="ignore"):
        log_start = np.log(start)
    return np.asarray(np.exp(log_limit + (log_start - log_limit) * np.exp(-slowing * t)))


def divide_per_day(doubling_days: ArrayLike) -> NDArray[np.float64]:
    """Division rate, per day, of cells whose number doubles in that many days when none die: ln 2 / doubling time."""
    doubling = np.asarray(doubling_days, dtype=np.float64)
    if not (doubling > 0).all():
        raise InputError(f"a doubling time must be positive, but is {np.min(doubling):g} days.")
    return np.asarray(np.log(2) / doubling)


def _read(*values: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Cells, days and rates as arrays, none of them negative."""
    arrays = tuple(np.asarray(value, dtype=np.float64) for value in values)
    for name, array in zip(("the number of cells", "days", "a rate", "the death rate"), arrays, strict=True):
        if not (array >= 0).all():
            raise InputError(f"{name} must be zero or more, but is {np.min(array):g}.")
    return arrays


def _read_capacity(capacity: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(capacity, dtype=np.float64)
    if not (array > 0).all():
        raise InputError(f"the capacity must be above zero, but is {np.min(array):g}.")
    return array
