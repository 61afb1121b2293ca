"""Which candidate is which body of the truth: by position alone."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ferrosight.errors import InputError
from ferrosight.numerics.assignment import assign_in_turn
from ferrosight.types import Matching, Table

LABELLED: Final = "labelled"
_NONE: Final = -1
#: More than so many mean a distance at which everything is near everything, and memory that no machine has.
_MOST_PAIRS: Final = 10_000_000


def match_clusters(clusters: Table, truth: Table, match_mm: float, use: NDArray[np.bool_] | None = None) -> Matching:
    """Match candidates (schema CLUSTERS) with the labelled bodies of the truth (schema TRUTH), one to one.

    A candidate may be a body where it lies within ``match_mm`` of what the body fills: its radius about its middle,
    or about its axis. Near a body is meant in shares of that reach,

        u = distance to middle or axis / (radius + match_mm),

    and the matching is the one with the largest sum of 1 - u over its pairs. A candidate that is nearer to a confuser
    than to a labelled body is never that body; any number of candidates may sit on one confuser. Only positions
    decide, neither masses nor scores: these order the candidates, for ``Matching.found_by``.

    Parameters
    ----------
    match_mm : mm, positive
    use : bool (n_candidates,)
        Which candidates take part; by default all that have a position.

    Raises
    ------
    InputError
        ``match_mm`` is not a positive number, or so large that nearly everything is within reach of everything.
    """
    if not 0 < match_mm < np.inf:
        raise InputError(f"the matching distance must be a positive number of mm, but is {match_mm:g}.")
    places, middles = _positions(clusters), _positions(truth)
    taking_part = np.asarray(np.isfinite(places).all(axis=1))
    if use is not None:
        taking_part = np.logical_and(taking_part, use)
    # rows in an order of their own: that of a file decides nothing, not even between equals
    candidates = _order(clusters, places, taking_part)
    bodies = np.lexsort((truth["kind"], middles[:, 2], middles[:, 1], middles[:, 0]))
    i, j, distance, nearness = _find_pairs(places[candidates], truth.where(bodies), match_mm)
    is_labelled = truth["kind"][bodies][j] == LABELLED
    to_confuser = np.zeros(len(candidates))
    np.maximum.at(to_confuser, i[~is_labelled], nearness[~is_labelled])
    gain = np.where(is_labelled & (nearness > to_confuser[i]), nearness, 0.0)
    assignment = assign_in_turn(i, j, gain, len(candidates), len(bodies))

    body, place = np.full(len(clusters), _NONE), np.full(len(clusters), _NONE)
    distance_mm, found_by = np.full(len(clusters), np.nan), np.full(len(truth), _NONE)
    column, first = assignment.column_of_row, assignment.taken_from
    body[candidates] = np.where(column == _NONE, _NONE, bodies[column] if len(bodies) else _NONE)
    sits = np.lexsort((j, -nearness, body[candidates][i] != bodies[j]))  # its own body first, else the nearest
    rows, nearest = np.unique(i[sits], return_index=True)
    place[candidates[rows]] = bodies[j[sits][nearest]]
    distance_mm[candidates[rows]] = distance[sits][nearest]
    found_by[bodies] = np.where(first == _NONE, _NONE, candidates[first] if len(candidates) else _NONE)
    return Matching(body, place, distance_mm, found_by)


def _positions(table: Table) -> NDArray[np.float64]:
    return np.column_stack([table["x_mm"], table["y_mm"], table["z_mm"]])


def _order(clusters: Table, places: NDArray[np.float64], use: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Row numbers of the candidates that take part: highest score first, those without one last."""
    score = np.nan_to_num(clusters["score"], nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    order = np.lexsort((places[:, 2], places[:, 1], places[:, 0], -score))
    return np.asarray(order[use[order]], dtype=np.int64)


def _find_pairs(
    places: NDArray[np.float64], bodies: Table, match_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Candidate, body, distance (mm) and nearness 1 - u of every pair within reach, (n_pairs,) each."""
    middles = _positions(bodies)
    half_axes = np.nan_to_num(np.column_stack([bodies[f"axis_{name}_mm"] for name in "xyz"]))
    reach = np.nan_to_num(bodies["radius_mm"]) + match_mm
    half_lengths = np.linalg.norm(half_axes, axis=1)
    if not len(places) or not len(bodies):
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0), np.zeros(0)
    tree, radii = KDTree(places), (reach + half_lengths) * (1 + 1e-9)
    n_pairs = int(tree.query_ball_point(middles, radii, return_length=True).sum())
    if n_pairs > _MOST_PAIRS:
        raise InputError(
            f"at most {_MOST_PAIRS:,} pairs of a candidate and a body within reach can be matched, but within "
            f"{match_mm:g} mm there are {n_pairs:,}; choose a smaller distance."
        )
    near = tree.query_ball_point(middles, radii)
    j = np.repeat(np.arange(len(bodies)), [len(found) for found in near])
    i = np.array([one for found in near for one in found], dtype=np.int64)
    offset = places[i] - middles[j]
    squared = np.where(half_lengths > 0, half_lengths**2, 1.0)[j]
    along = np.clip((offset * half_axes[j]).sum(axis=1) / squared, -1.0, 1.0)
    distance = np.linalg.norm(offset - along[:, None] * half_axes[j], axis=1)
    nearness = 1.0 - distance / reach[j]
    keep = nearness > 0
    return i[keep], j[keep], distance[keep], nearness[keep]
