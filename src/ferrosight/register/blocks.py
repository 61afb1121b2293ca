"""Errors that go together over a distance: what places did to a pose, summed over blocks, with hard or soft edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import KDTree

FloatArray = NDArray[np.float64]

#: Cells per reach: places are put together in cells before these are smoothed.
CELLS_PER_REACH = 2

#: Standard deviations after which the smoothing ends.
_TRUNCATE = 4.0

#: Places at which the correlation of the noise is read, and how far, standard deviations of the blur.
_SOME, _TRUNCATE_NOISE = 4_000, 5.0

#: Least share of the squares that is taken to be left beside a fit of many numbers: below, nothing is known.
_LEAST_LEFT = 0.1


def sum_into_cells(
    places_mm: FloatArray, values: FloatArray, edge_mm: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Middles (m, 3), sums of ``values`` (m, k) and numbers (m,) of the places (n, 3) in each cell that has any."""
    cells = np.floor(places_mm / edge_mm).astype(np.int64)
    which = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    count = np.asarray(np.bincount(which), dtype=np.float64)
    middles = np.stack([np.bincount(which, column) for column in places_mm.T], axis=1) / count[:, None]
    return middles, np.stack([np.bincount(which, column) for column in values.T], axis=1), count


def sum_softly(places_mm: FloatArray, influences: FloatArray, reach_mm: float) -> FloatArray:
    """T (m, k) with TᵀT = Σ_ij K_ij s_i s_jᵀ for influences s (n, k) at places (n, 3), K = exp(−d²/(2 reach²)).

    A sandwich that is robust against correlation over a distance (Conley, J. Econometrics 92:1, 1999). Blocks with hard
    edges lose what goes together across an edge, in first order of its distance over theirs; a kernel that is flat at
    0 only in second. It is a Gaussian applied twice, so that the result is never negative.
    """
    edge = reach_mm / CELLS_PER_REACH
    sigma = CELLS_PER_REACH / np.sqrt(2.0)
    pad = int(np.ceil(_TRUNCATE * sigma))
    cells = np.floor((places_mm - places_mm.min(axis=0)) / edge).astype(np.int64) + pad
    shape = tuple((cells.max(axis=0) + 1 + pad).tolist())
    flat = np.ravel_multi_index(tuple(cells.T), shape)
    # of two Gaussians after each other, 1 where nothing lies between
    peak = (4 * np.pi * sigma**2) ** 0.75
    sums = np.empty((int(np.prod(shape)), influences.shape[1]))
    for number, column in enumerate(influences.T):
        image = np.bincount(flat, column, minlength=len(sums)).reshape(shape)
        sums[:, number] = peak * ndimage.gaussian_filter(image, sigma, mode="constant", truncate=_TRUNCATE).ravel()
    return sums


def restore_sums(
    jacobian: FloatArray, weights: FloatArray, places_mm: FloatArray, reach_mm: float, blur_mm2: FloatArray
) -> FloatArray:
    """The map (6, 6) that gives influences on a pose back what is missing from their soft sums where all is noise.

    Parameters
    ----------
    jacobian, weights : (n, k) and (n,) of the least squares, the pose's six first
    places_mm : (n, 3)
    blur_mm2 : covariance C (3, 3) of the Gaussian that both images were blurred with: their noise goes together as
        ρ = exp(−dᵀC⁻¹d/4)

    Notes
    -----
    Two things are missing. All k numbers of the fit, those of the receive profiles too, were chosen so that residuals
    cancel, within reach as well; and a little of what goes together lies beyond reach. Residuals are (1 − P) n with
    P = J A⁻¹ JᵀW, A = JᵀWJ, so that sums keep Σ_ij K_ij x_i x_jᵀ [Σ − PΣ − ΣPᵀ + PΣPᵀ]_ij of the covariance
    Σ_ij x_i x_jᵀ Σ_ij, x what a residual does to the pose (Bell & McCaffrey, Survey Methodology 28:169, 2002). Σ = ρ is
    read at every so many places; in the terms with P, smooth over the reach, K is 1 within a block of K's volume.
    """
    own, distance_mm, rho, some, other = _pair_up(places_mm, blur_mm2)
    inverse = np.linalg.inv(jacobian.T @ (weights[:, None] * jacobian))
    scores = weights[:, None] * jacobian
    pose = scores @ inverse[:, :6]
    matrix = sparse.coo_array((rho, (some, other)), shape=(len(own), len(places_mm))).tocsr()
    share = len(places_mm) / len(own)
    spread: FloatArray = np.asarray(matrix @ scores)
    meat = share * scores[own].T @ spread
    within = np.exp(-(distance_mm**2) / (2 * reach_mm**2)) * rho
    near = sparse.coo_array((within, (some, other)), shape=matrix.shape).tocsr()
    kept: FloatArray = share * pose[own].T @ np.asarray(near @ pose)
    which = np.unique(np.floor(places_mm / (np.sqrt(2 * np.pi) * reach_mm)), axis=0, return_inverse=True)[1].reshape(-1)
    taken = inverse @ meat @ inverse
    for block in range(int(which.max()) + 1):
        inside, seen = which == block, which[own] == block
        part = pose[inside].T @ jacobian[inside]
        cross = part @ inverse @ (share * spread[seen].T @ pose[own[seen]])
        kept += part @ taken @ part.T - cross - cross.T
    whole = inverse[:6] @ meat @ inverse[:, :6]
    lower = np.linalg.cholesky((whole + whole.T) / 2)
    to_unit = np.linalg.inv(lower)
    left, axes = np.linalg.eigh(to_unit @ (kept + kept.T) @ to_unit.T / 2)
    root = (axes / np.sqrt(np.maximum(left, _LEAST_LEFT))) @ axes.T
    return np.asarray(lower @ root @ to_unit)


def _pair_up(
    places_mm: FloatArray, blur_mm2: FloatArray
) -> tuple[NDArray[np.int64], FloatArray, FloatArray, NDArray[np.int64], NDArray[np.int64]]:
    """Some of the places by number, and all places near enough for their noise to go together.

    Of each such pair: distance, mm; correlation of the noise; number among some; number among all.
    """
    unit = places_mm @ np.linalg.inv(np.linalg.cholesky(blur_mm2)).T
    own = np.arange(0, len(unit), max(1, len(unit) // _SOME))
    found = KDTree(unit[own]).sparse_distance_matrix(KDTree(unit), _TRUNCATE_NOISE, output_type="ndarray")
    some, other = found["i"].astype(np.int64), found["j"].astype(np.int64)
    distance = np.linalg.norm(places_mm[own[some]] - places_mm[other], axis=1)
    return own, distance, np.exp(-(found["v"] ** 2) / 4), some, other


def sum_over_blocks(influences: FloatArray, places_mm: FloatArray, block_mm: float) -> FloatArray:
    """What each block (m, 6) did to the pose: the ``influences`` (n, 6) of the places (n, 3) in it, summed.

    Raised by √(m/(m − 6)): six numbers were chosen so that all of them cancel.
    """
    _, sums, _ = sum_into_cells(places_mm, influences, block_mm)
    return np.asarray(sums * np.sqrt(len(sums) / max(len(sums) - 6, 1)))
