"""Evidence that one lineage grows, visit by visit: a mixture of bets on growth against the best non-growing course.

The null is every course that never rises (after the known effect of iron kept from earlier doses is taken off):
a constant, any decay, any dilution, any response to treatment. The alternatives stay level and then, from an unknown
visit on, grow at one of several rates. Why the result is an e-process is proven in ``docs/relapse.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferrosight.relapse.increments import HIGH_AT_0, HIGH_SLOPE, LOW, MAX_TILT, tabulate_log_normaliser

#: Growth is predicted from the visit before its onset for that many visits, then from the latest measurements.
N_AGES = 2
#: Courses lie on levels this many standard deviations apart (more where they would be
#: too many), from nothing up to REACH above the first measurements.
LEVEL_STEP, REACH, MAX_LEVELS = 0.25, 8.0, 20_000
#: How fast the level before growth is forgotten, and how much of a surprise moves it during growth.
FORGET, GAIN = 0.8, 0.8
SILENT_START, TURN_CHANCE = 0.2, 0.1
#: A birth's own measurement was selected for being large: its share of a later one in the first prediction.
BIRTH_WEIGHT = 0.5


@dataclass(frozen=True)
class Bets:
    """What is bet on: fixed before any measurement is seen.

    ``doubling_visits`` are doubling times in typical intervals between visits, with their ``shares`` of the stake;
    slow growth, which is harder to see, has more. ``onset_chance`` is the prior chance that growth begins at the first
    visit; it falls with every visit after it, so that late growth is still bet on. What was born after the first scan
    has ``late_shares`` and ``late_onset_chance``: most of it was found because it grows already. Chosen on simulated
    growth.
    """

    doubling_visits: tuple[float, ...] = (1.0, 2.0, 4.0)
    shares: tuple[float, ...] = (0.2, 0.2, 0.6)
    onset_chance: float = 0.1
    late_shares: tuple[float, ...] = (0.34, 0.33, 0.33)
    late_onset_chance: float = 0.6


def trace_growth(
    values: NDArray[np.float64],
    sds: NDArray[np.float64],
    days: NDArray[np.float64],
    births: NDArray[np.int64],
    factor_sd: float,
    outlier_share: float,
    bets: Bets,
) -> NDArray[np.float64]:
    """log e-value of every lineage at every visit.

    Parameters
    ----------
    values, sds
        (n_lineages, n_visits): what was measured, and an upper bound of its standard deviation, in one unit. What is
        measured has, under the null, a conditional mean given the past that never rises. NaN: not measured.
    days
        (n_visits,) day of each visit, increasing.
    births
        (n_lineages,) visit at which each was found; evidence starts one later.
    factor_sd
        Upper bound of the relative standard deviation of a factor common to a visit, independent between visits.
    outlier_share
        Share of measurements that may be anything.
    bets
        The alternatives.

    Returns
    -------
    (n_lineages, n_visits): 0 up to and including the birth.
    """
    gaps = np.diff(days, prepend=days[0])
    typical = float(np.median(gaps[1:])) if len(gaps) > 1 else 1.0
    steps = np.exp2(gaps[None, :] / (typical * np.asarray(bets.doubling_visits)[:, None]))
    table = tabulate_log_normaliser(outlier_share)
    early, late = bets.onset_chance * np.asarray(bets.shares), bets.late_onset_chance * np.asarray(bets.late_shares)
    onset = np.where(np.asarray(births)[:, None] > 0, late, early)
    return _trace_all(values, sds, births, steps, factor_sd, onset, table, LEVEL_STEP)


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _trace_all(
    values: NDArray[np.float64],
    sds: NDArray[np.float64],
    births: NDArray[np.int64],
    steps: NDArray[np.float64],
    factor_sd: float,
    onset: NDArray[np.float64],
    table: NDArray[np.float64],
    level_step: float,
) -> NDArray[np.float64]:
    logs = np.zeros(values.shape)
    levels = np.empty(MAX_LEVELS)
    paths = np.empty((MAX_LEVELS, 2 + steps.shape[0] * (N_AGES + 1)))
    for lineage in range(values.shape[0]):
        _trace_one(
            values[lineage], sds[lineage], births[lineage], steps, factor_sd, onset[lineage], table, level_step,
            levels, paths, logs[lineage],
        )  # fmt: skip
    return logs


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _trace_one(
    values: NDArray[np.float64],
    sds: NDArray[np.float64],
    birth: int,
    steps: NDArray[np.float64],
    factor_sd: float,
    onset: NDArray[np.float64],
    table: NDArray[np.float64],
    step: float,
    levels: NDArray[np.float64],
    paths: NDArray[np.float64],
    logs: NDArray[np.float64],
) -> None:
    """Fill ``logs`` (n_visits,) of one lineage. ``paths[level, state]`` bounds from below what a state's bets have won.

    States: 0 level; then for each rate its ages 1 … N_AGES, and older. A course that never rises may reach a level
    only from itself or a higher one: the running minimum from above.
    """
    n_rates, n_states = steps.shape[0], paths.shape[1]
    while birth < len(values) and np.isnan(values[birth]):
        birth += 1
    first = birth + 1
    while first < len(values) and np.isnan(values[first]):
        first += 1
    if first >= len(values):
        return
    reference = sds[birth]
    top = max(values[first], values[birth], 0.0)
    top += REACH * np.sqrt(max(reference, sds[first]) ** 2 + (factor_sd * top) ** 2)
    n_levels = _fill_levels(levels, top, step, reference, factor_sd)
    while levels[n_levels - 1] < top:
        step *= 2
        n_levels = _fill_levels(levels, top, step, reference, factor_sd)
    base, weight = values[birth], BIRTH_WEIGHT
    # Numbers from the start: an age that nobody has reached yet has no stake, but 0 times NaN would be evidence.
    predicted = np.zeros(n_states)
    latest = np.full(n_rates, base)
    paths[:n_levels] = 0.0
    paths[:n_levels, 0], paths[:n_levels, 1] = 1 - SILENT_START, SILENT_START
    rounding = 0.0
    for visit in range(birth + 1, len(values)):
        floor = max(base, reference)
        _predict(predicted, base, floor, latest, steps[:, visit])
        _move_on(paths, n_levels, onset / (1 + onset.sum() * (visit - birth - 1)))
        logs[visit] = logs[visit - 1]
        if np.isnan(values[visit]):
            latest *= steps[:, visit]
            continue
        least = _place_bets(paths, levels, n_levels, predicted, values[visit], sds[visit], factor_sd, table)
        half_step = step / 2 * max(1.0, reference / sds[visit])
        rounding += half_step**2
        logs[visit] = np.log(max(least, 1e-300)) - rounding
        base = (FORGET * weight * base + values[visit]) / (FORGET * weight + 1)
        weight = FORGET * weight + 1
        for rate in range(n_rates):
            expected = max(latest[rate], reference) * steps[rate, visit]
            latest[rate] = expected + GAIN * (values[visit] - expected)


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _fill_levels(levels: NDArray[np.float64], top: float, step: float, sd: float, factor_sd: float) -> int:
    """Levels from 0 to beyond ``top``, a fixed share of their own standard deviation apart; their number."""
    levels[0] = 0.0
    n = 1
    while n < len(levels) and levels[n - 1] < top:
        levels[n] = levels[n - 1] + step * np.sqrt(sd**2 + (factor_sd * levels[n - 1]) ** 2)
        n += 1
    return n


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _predict(
    predicted: NDArray[np.float64],
    base: float,
    floor: float,
    latest: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """What each state expects of this visit, from earlier ones alone; ``predicted`` holds the visit before."""
    predicted[0] = base
    for rate in range(len(step)):
        at = 2 + rate * (N_AGES + 1)
        for age in range(N_AGES - 1, 0, -1):
            predicted[at + age] = predicted[at + age - 1] * step[rate]
        predicted[at] = floor * step[rate]
        predicted[at + N_AGES] = max(latest[rate], floor) * step[rate]


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _move_on(paths: NDArray[np.float64], n_levels: int, onset: NDArray[np.float64]) -> None:
    """The states a visit later (growth may begin, and ages), at the lowest value any course could bring to a level."""
    onset_any = onset.sum()
    for i in range(n_levels - 1, -1, -1):
        for rate in range(len(onset)):
            at = 2 + rate * (N_AGES + 1)
            paths[i, at + N_AGES] += paths[i, at + N_AGES - 1]
            for age in range(N_AGES - 1, 0, -1):
                paths[i, at + age] = paths[i, at + age - 1]
            paths[i, at] = (paths[i, 0] + paths[i, 1]) * onset[rate]
        level, silent = paths[i, 0] * (1 - onset_any), paths[i, 1] * (1 - onset_any)
        paths[i, 0] = (1 - TURN_CHANCE) * level + TURN_CHANCE * silent
        paths[i, 1] = (1 - TURN_CHANCE) * silent + TURN_CHANCE * level
        if i < n_levels - 1:
            for state in range(paths.shape[1]):
                paths[i, state] = min(paths[i, state], paths[i + 1, state])


@njit(cache=True)
def _place_bets(
    paths: NDArray[np.float64],
    levels: NDArray[np.float64],
    n_levels: int,
    predicted: NDArray[np.float64],
    value: float,
    sd: float,
    factor_sd: float,
    table: NDArray[np.float64],
) -> float:
    """Multiply every path by its bet on this value; the smallest total over the levels."""
    least = np.inf
    scale = (len(table) - 1) / MAX_TILT
    for i in range(n_levels):
        per_sd = 1.0 / np.sqrt(sd**2 + (factor_sd * levels[i]) ** 2)
        z = (value - levels[i]) * per_sd
        total = paths[i, 1]
        for state in range(len(predicted)):
            if state == 1:
                continue
            wanted = (predicted[state] - levels[i]) * per_sd
            tilt = min(abs(wanted), MAX_TILT)
            clipped = min(max(z if wanted > 0 else -z, -LOW), HIGH_AT_0 + HIGH_SLOPE * tilt)
            place = tilt * scale
            left = min(int(place), len(table) - 2)
            log_normaliser = table[left] + (place - left) * (table[left + 1] - table[left])
            paths[i, state] *= np.exp(tilt * clipped - log_normaliser)
            total += paths[i, state]
        least = min(least, total)
    return least
