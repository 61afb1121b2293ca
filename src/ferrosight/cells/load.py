"""Iron in a cell: what it takes up, dilutes by division and gives off again, and how it differs between cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def surface_um2(diameter_um: ArrayLike) -> Array:
    """Surface of a ball, µm²; folds of the membrane are not counted."""
    return np.asarray(np.pi * np.square(np.asarray(diameter_um, dtype=np.float64)))


def uptake_rate(full_rate: ArrayLike, dose: ArrayLike, half_dose: ArrayLike) -> Array:
    """Uptake per cell at a dose, in ``full_rate``'s unit: it saturates (Michaelis, Menten), half at ``half_dose``."""
    dose = np.asarray(dose, dtype=np.float64)
    return np.asarray(np.asarray(full_rate) * dose / (np.asarray(half_dose) + dose))


def trace_load(
    uptake_pg_per_h: ArrayLike,
    division_per_h: ArrayLike,
    exocytosis_per_h: ArrayLike,
    exposure_h: ArrayLike,
    chase_h: ArrayLike,
    exocytosis_onset_h: float,
) -> Array:
    """Mean iron per living cell, pg, after an exposure and a time without label; everything broadcasts.

    The exact solution of dM/dt = uptake − (division + exocytosis)·M from M = 0, where uptake lasts for the exposure and
    exocytosis begins ``exocytosis_onset_h`` after its beginning. ``division_per_h`` is ln 2 over the doubling time;
    cells that die take their own iron with them, so that death does not change the mean of those that live.
    """
    exposure, chase = np.broadcast_arrays(np.asarray(exposure_h, float), np.asarray(chase_h, float))
    rate, divide = np.asarray(uptake_pg_per_h, float), np.asarray(division_per_h, float)
    both = divide + np.asarray(exocytosis_per_h, float)
    early = np.minimum(exposure, exocytosis_onset_h)
    waiting = np.clip(exocytosis_onset_h - exposure, 0.0, chase)
    load = rate * _grown(divide, early)
    load = load * np.exp(-both * (exposure - early)) + rate * _grown(both, exposure - early)
    return np.asarray(load * np.exp(-divide * waiting - both * (chase - waiting)))


def _grown(loss: Array, time: Array) -> Array:
    """∫ exp(−loss·s) ds over ``time``: the time itself where nothing is lost."""
    x = loss * time
    small = np.abs(x) < 1e-8
    safe = np.where(small, 1.0, x)
    return np.asarray(time * np.where(small, 1 - x / 2, -np.expm1(-safe) / safe))


def draw_loads(mean_pg: float, cell_cv: float, n_cells: int, rng: np.random.Generator) -> Array:
    """Iron of single cells, pg, (n_cells,): log-normal about ``mean_pg`` with a relative spread of ``cell_cv``."""
    return mean_pg * _draw_factor(cell_cv, n_cells, rng)


def draw_batches(mean_pg: float, batch_rel_sd: float, n_batches: int, rng: np.random.Generator) -> Array:
    """Mean iron per cell of whole batches, pg, (n_batches,): how far one labelling lies from another."""
    return mean_pg * _draw_factor(batch_rel_sd, n_batches, rng)


def _draw_factor(rel_sd: float, n: int, rng: np.random.Generator) -> Array:
    spread = np.sqrt(np.log1p(rel_sd**2))
    return np.asarray(np.exp(rng.normal(-(spread**2) / 2, spread, n)))
