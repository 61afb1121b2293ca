"""Moment per cell from spots of known numbers of cells."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.numerics.mixed_model import MixedFit, MixedProblem, combined_quantile, fit_mixed, split_variance
from ferrosight.types.calibration import Calibration, PhantomSpots

Array = NDArray[np.float64]

#: Between batches where fewer than three were scanned: that between the assays of Arbab et al. 2004, an assumption.
ASSUMED_BATCH_REL_SD = 0.17
LEAST_BATCHES = 3
LEAST_SPOTS = 4
_Z95 = 1.959963984540054
_ROUNDS = 4
_BIG = 1e6


def calibrate_moment(
    spots: PhantomSpots, b0_t: float, *, cell_cv: float = 0.5, source: str = "a phantom"
) -> Calibration:
    """Regression of moments on numbers of cells through the origin, each weighted by all that scatters it.

    Known are the moments' own errors, the errors of the numbers, and the spread ``cell_cv`` between single cells, which
    averages out over them. Found (restricted maximum likelihood) are what is left between spots and, from three
    batches on, between batches, both in proportion to the number; with fewer, 17 % between batches is an assumption
    and a floor.

    Raises
    ------
    InputError
        There are fewer than four spots, a number is not positive, or batches are named for some spots only.
    """
    _check_spots(spots)
    numbers = spots.n_cells
    batches = np.unique(spots.batch)
    named = bool(spots.batch[0]) and len(batches) >= LEAST_BATCHES
    scale = float(np.sum(spots.moment_am2 * numbers) / np.sum(numbers**2))
    for _ in range(_ROUNDS):
        if not scale > 0:
            break
        fit = _fit(spots, scale, cell_cv, named, with_offset=False)
        scale = scale * float(fit.theta[0])
    mean_rel, next_rel = (
        (_relative_error(fit, named, following) for following in (False, True)) if scale > 0 else (0, 0)
    )
    notes = () if scale <= 0 else _notes(spots, scale, cell_cv, named)
    return Calibration(
        scale, next_rel, mean_rel, cell_cv, b0_t, len(numbers), len(batches) if spots.batch[0] else 0, source, notes
    )


def _check_spots(spots: PhantomSpots) -> None:
    n = len(spots.n_cells)
    if n < LEAST_SPOTS:
        raise InputError(f"a calibration needs at least {LEAST_SPOTS} measured spots, but has {n}.")
    if not (spots.n_cells > 0).all():
        raise InputError(f"every spot must hold a positive number of cells, but one has {spots.n_cells.min():g}.")
    if not ((spots.moment_am2_err > 0).all() and (spots.n_cells_err >= 0).all()):
        raise InputError("errors of moments must be positive, and those of numbers of cells at least zero.")
    if (spots.batch == "").any() and not (spots.batch == "").all():
        raise InputError("every spot must name its batch, or none may, but some do.")


def _fit(spots: PhantomSpots, scale: float, cell_cv: float, named: bool, *, with_offset: bool) -> MixedFit:
    """Moments in units of ``scale`` on numbers of cells; with an offset as a second parameter where it is asked for."""
    numbers, n = spots.n_cells, len(spots.n_cells)
    errors = (spots.moment_am2_err / scale) ** 2 + spots.n_cells_err**2 + cell_cv**2 * numbers
    same = spots.batch[:, None] == spots.batch[None, :]
    block = np.where(same, np.outer(numbers, numbers), 0.0)
    known, patterns = np.diag(errors), [np.diag(numbers**2)]
    counts = np.unique(spots.batch, return_counts=True)[1]
    strata, dofs = np.eye(1), np.array([max(n - 1.0 - with_offset, 1.0)])
    if named and (counts > 1).any():
        patterns.append(block)
        strata = np.array([[1.0, 0.0], [float(np.mean(1 / counts)), 1.0]])
        dofs = np.array([max(n - len(counts) - float(with_offset), 1.0), len(counts) - 1.0])
    elif not named:
        known = known + ASSUMED_BATCH_REL_SD**2 * block

    def model(theta: Array) -> Array:
        return np.asarray(theta[0] * numbers + (theta[1] if with_offset else 0.0))

    p = 2 if with_offset else 1
    problem = MixedProblem(
        model, spots.moment_am2 / scale, np.array(patterns), known, np.full(p, -_BIG), np.full(p, _BIG), strata, dofs
    )
    start = np.zeros(p)
    start[0] = 1.0
    return fit_mixed(problem, start, np.full(len(patterns), 0.01))


def _relative_error(fit: MixedFit, named: bool, following: bool) -> float:
    """Relative error of the slope, or of that of the next batch, as the normal SD with the same 95 % interval."""
    gradient = np.zeros(len(fit.theta))
    gradient[0] = 1.0
    weights = np.einsum("i,kij,j->k", gradient, fit.slopes, gradient)
    known = float(gradient @ fit.covariance @ gradient) - float(weights @ fit.variances)
    if following and named:
        weights[-1] += 1.0  # where every batch has one spot, what differs between spots is between batches
    elif following:
        known += ASSUMED_BATCH_REL_SD**2
    parts, dofs = split_variance(weights, fit.variances, known, fit.problem.strata, fit.problem.dofs)
    return combined_quantile(parts, dofs) * math.sqrt(float(parts.sum())) / _Z95 / float(fit.theta[0])


def _notes(spots: PhantomSpots, scale: float, cell_cv: float, named: bool) -> tuple[str, ...]:
    notes = [f"A spread of {cell_cv:.0%} between single cells is an assumption unless measured; it averages out."]
    if not named:
        notes.append(f"A spread of {ASSUMED_BATCH_REL_SD:.0%} between batches is assumed; scan spots of three or more.")
    fit = _fit(spots, scale, cell_cv, named, with_offset=True)
    offset, err = float(fit.theta[1]) * scale, math.sqrt(float(fit.covariance[1, 1])) * scale
    if abs(offset) > 3 * err:
        notes.append(
            f"The moments do not go to zero with the number of cells: {offset:.3g} ± {err:.2g} A m² are left at none. "
            "Is there free iron, or are numbers wrong?"
        )
    return tuple(notes)
