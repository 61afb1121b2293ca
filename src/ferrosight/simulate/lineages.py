"""Subjects followed over many visits, at the level of the catalogue: what would be measured, and what goes wrong.

Nothing here follows the model by which relapse is tested: noise may have Student's tails or another width than is
stated, every visit may have a factor of its own, iron may stay from earlier doses, clusters may hide below the
threshold, and registration and links may fail. Amounts are in units of one measurement's typical noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.cells.growth import divide_per_day, grow_exponentially
from ferrosight.types.relapse import Measured, SubjectSeries

#: Clusters lie that far apart, and neighbours whose links are swapped that close, mm.
_APART_MM, _NEIGHBOURS_MM = 5.0, 0.3
_DEGREES_OF_TAILS = 4.0


@dataclass(frozen=True)
class LineageSpec:
    """A kind of subject. Everything that is not said otherwise is in units of the typical noise of a measurement.

    ``sizes`` bound the clusters that are there from the beginning (log-uniform), ``hidden_sizes`` the ``n_hidden``
    ones below the threshold (uniform). A cluster is found where it first measures ``threshold`` times its stated
    standard deviation. ``tails`` are "normal" or "t4" (of the same standard deviation), ``sd_ratio`` is the true over
    the stated standard deviation. ``factor_sd`` is the relative standard deviation of the visit's common factor, which
    the reference tissue shows with a relative error of ``reference_err`` (None: no reference). ``carry_over`` is the
    share of iron that stays from visit to visit, doses starting at the first. ``false_per_visit`` is the rate of
    spurious clusters, which stay as anything between nothing and ``spurious_size``.

    ``registration`` adds a relative error of 3 % to every measurement, and loses 10 to 70 % of all clusters of 2 % of
    the visits. ``swap_near`` is the chance that the first two clusters, then neighbours, are taken for each other at a
    visit; ``swap_far`` that any two of a subject are.

    ``doubling_visits`` makes a cluster grow from the visit after ``onset``: one of the first ones, or one more of the
    size ``grows_from``; None: none grows.
    """

    n_visits: int = 60
    n_clusters: int = 5
    sizes: tuple[float, float] = (8.0, 20.0)
    threshold: float = 5.5
    tails: str = "normal"
    sd_ratio: float = 1.0
    factor_sd: float = 0.0
    reference_err: float | None = 0.05
    carry_over: float = 0.0
    n_hidden: int = 0
    hidden_sizes: tuple[float, float] = (2.0, 5.5)
    false_per_visit: float = 0.0
    spurious_size: float = 4.0
    registration: bool = False
    swap_near: float = 0.0
    swap_far: float = 0.0
    doubling_visits: float | None = None
    grows_from: float | None = None
    onset: int = 0


@dataclass(frozen=True)
class LineageTruth:
    """Of each cluster of the series: its true ``amounts`` (n_clusters, n_visits), and which ``grows`` (-1: none)."""

    amounts: NDArray[np.float64]
    grows: int


def simulate_subject(
    spec: LineageSpec,
    rng: np.random.Generator,
    *,
    factor_sd_max: float | None = None,
    carry_over_max: float | None = 0.0,
) -> tuple[SubjectSeries, LineageTruth]:
    """A subject's visits as ``weigh_evidence`` takes them, iron in units of the noise, and what is true of it.

    ``factor_sd_max`` and ``carry_over_max`` are what the study believes; they change nothing in the data.
    """
    amounts, grows = _draw_amounts(spec, rng)
    n, n_visits = amounts.shape
    factor = _draw_factor(spec.factor_sd, n_visits, rng)
    sds = np.exp(0.1 * rng.standard_normal((n, n_visits)))
    values = factor * _add_carry_over(amounts, spec.carry_over) * _draw_registration(spec, n, n_visits, rng)
    values = values + spec.sd_ratio * sds * draw_errors(spec.tails, (n, n_visits), rng)
    if spec.n_clusters > 1:
        _swap_links(values, sds, spec, rng)
    births = np.argmax(values >= spec.threshold * sds, axis=1)
    found = (values >= spec.threshold * sds).any(axis=1)
    spurious = _draw_spurious(spec, n_visits, rng)
    amounts = np.concatenate([amounts[found], np.zeros_like(spurious[0])])
    values = np.concatenate([values[found], spurious[0]])
    sds = np.concatenate([sds[found], np.ones_like(spurious[0])])
    births = np.concatenate([births[found], spurious[1]])
    elsewhere = _place(len(spurious[1]), spec) + np.array([0.0, 100.0, 0.0])
    places = np.concatenate([_place(n, spec)[found], elsewhere])
    order = np.argsort(births, kind="stable")
    values = np.where(np.arange(n_visits) < births[:, None], np.nan, values)
    kept = np.flatnonzero(found)
    grown = -1 if grows not in kept else int(np.flatnonzero(order == np.flatnonzero(kept == grows)[0])[0])
    reference = None
    if spec.reference_err is not None:
        reference = factor * np.exp(spec.reference_err * rng.standard_normal(n_visits))
    measured = Measured(
        "iron",
        values[order],
        sds[order],
        births[order],
        places[order],
        factor_sd_max=factor_sd_max,
        reference=reference,
        reference_rel_err=spec.reference_err or 0.0,
        carry_over_max=carry_over_max,
    )
    new = np.bincount(births, minlength=n_visits)
    new[0] = 0
    names = tuple(f"{visit:02d}" for visit in range(n_visits))
    series = SubjectSeries(names, np.arange(n_visits, dtype=np.float64), ("",) * n_visits, (measured,), new)
    return series, LineageTruth(amounts[order], grown)


def simulate_test_retest(spec: LineageSpec, n_pairs: int, rng: np.random.Generator) -> tuple[float, int]:
    """Pairs of measurements repeated within a visit: mean of (difference)² / (sum of stated variances), and pairs."""
    sizes = _draw_sizes(spec, n_pairs, rng)[:, None]
    seen = sizes * _draw_registration(spec, n_pairs, 2, rng)
    pairs = seen + spec.sd_ratio * draw_errors(spec.tails, (n_pairs, 2), rng)
    return float(np.mean(np.diff(pairs, axis=1) ** 2) / 2), n_pairs


def _draw_sizes(spec: LineageSpec, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    low, high = np.log(spec.sizes)
    return np.asarray(np.exp(rng.uniform(low, high, n)))


def draw_errors(tails: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Errors of unit standard deviation: normal, or Student's t with 4 degrees of freedom."""
    if tails == "normal":
        return np.asarray(rng.standard_normal(shape))
    return np.asarray(rng.standard_t(_DEGREES_OF_TAILS, shape) / np.sqrt(_DEGREES_OF_TAILS / (_DEGREES_OF_TAILS - 2)))


def _draw_amounts(spec: LineageSpec, rng: np.random.Generator) -> tuple[NDArray[np.float64], int]:
    """True amounts by one dose (n_clusters + n_hidden, n_visits), and which grows."""
    sizes = np.concatenate([_draw_sizes(spec, spec.n_clusters, rng), rng.uniform(*spec.hidden_sizes, spec.n_hidden)])
    grows = -1
    if spec.doubling_visits is not None and spec.grows_from is None:
        grows = int(rng.integers(spec.n_clusters))
    elif spec.doubling_visits is not None and spec.grows_from is not None:
        grows, sizes = len(sizes), np.append(sizes, spec.grows_from)
    amounts = np.tile(sizes[:, None], spec.n_visits)
    if spec.doubling_visits is None:
        return amounts, -1
    since = np.maximum(np.arange(spec.n_visits) - spec.onset, 0)
    amounts[grows] = np.minimum(
        grow_exponentially(sizes[grows], since, divide_per_day(spec.doubling_visits)), 1e4 * sizes[grows]
    )
    return amounts, grows


def _draw_factor(sd: float, n_visits: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Log-normal factors of mean 1 and that relative standard deviation."""
    log_sd = np.sqrt(np.log1p(sd**2))
    return np.asarray(np.exp(log_sd * rng.standard_normal(n_visits) - log_sd**2 / 2))


def _add_carry_over(amounts: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    total = amounts.copy()
    for visit in range(1, amounts.shape[1]):
        total[:, visit] += share * total[:, visit - 1]
    return total


def _draw_registration(spec: LineageSpec, n: int, n_visits: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Share of each cluster that is measured."""
    if not spec.registration:
        return np.ones((n, n_visits))
    lost = np.where(rng.random(n_visits) < 0.02, rng.uniform(0.1, 0.7, n_visits), 0.0)
    return np.asarray((1 - lost) * (1 + 0.03 * rng.standard_normal((n, n_visits))))


def _swap_links(
    values: NDArray[np.float64], sds: NDArray[np.float64], spec: LineageSpec, rng: np.random.Generator
) -> None:
    """Exchange measurements of clusters that are taken for each other, in place."""
    for visit in np.flatnonzero(rng.random(values.shape[1]) < spec.swap_near):
        for array in (values, sds):
            array[[0, 1], visit] = array[[1, 0], visit]
    for visit in np.flatnonzero(rng.random(values.shape[1]) < spec.swap_far):
        pair = rng.choice(spec.n_clusters, 2, replace=False)
        for array in (values, sds):
            array[pair, visit] = array[pair[::-1], visit]


def _draw_spurious(
    spec: LineageSpec, n_visits: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values (n, n_visits) and births (n,) of false clusters; the first visit's are among its clusters already."""
    count = rng.poisson(spec.false_per_visit, n_visits)
    count[0] = 0
    births = np.repeat(np.arange(n_visits), count)
    stays = rng.uniform(0.0, spec.spurious_size, len(births))[:, None]
    values = stays + spec.sd_ratio * draw_errors(spec.tails, (len(births), n_visits), rng)
    values[np.arange(len(births)), births] = spec.threshold + rng.exponential(0.2, len(births))
    return values, births


def _place(n: int, spec: LineageSpec) -> NDArray[np.float64]:
    """Places on a line, the first two close to each other where their links are swapped."""
    places = np.zeros((n, 3))
    places[:, 0] = _APART_MM * np.arange(n)
    if spec.swap_near > 0 and n > 1:
        places[1, 0] = places[0, 0] + _NEIGHBOURS_MM
    return places
