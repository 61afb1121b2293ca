"""Recall against false positives per scan: the free-response operating characteristic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.evaluate.match import LABELLED, match_clusters
from ferrosight.types import FLAG_INFO, Flag, Table
from ferrosight.types.evaluation import FrocCurve, KnownVisit

_Choice = Callable[[Table], NDArray[np.bool_]]


def trace_froc(visits: Sequence[KnownVisit], match_mm: float) -> tuple[FrocCurve, ...]:
    """The curves of all candidates and, where any was rejected for another reason than its score, of the others.

    One score is asked for in all scans, and candidates are matched anew at each. A point per score at which recall
    rises, and one at the lowest score there is. No curve without labelled bodies or without scores.
    """
    n_labelled = sum(int((visit.truth["kind"] == LABELLED).sum()) for visit in visits)
    choices: dict[str, _Choice] = {"all": _has_score}
    if any((_has_score(visit.clusters) & ~_keeps_shape(visit.clusters)).any() for visit in visits):
        choices["shape"] = lambda clusters: _has_score(clusters) & _keeps_shape(clusters)
    if not n_labelled:
        return ()
    curves = (_trace(name, visits, choose, n_labelled, match_mm) for name, choose in choices.items())
    return tuple(curve for curve in curves if len(curve.score))


def _trace(name: str, visits: Sequence[KnownVisit], choose: _Choice, n_labelled: int, match_mm: float) -> FrocCurve:
    scores, found = [], []
    for visit in visits:
        use = choose(visit.clusters)
        found_by = match_clusters(visit.clusters, visit.truth, match_mm, use).found_by
        scores.append(visit.clusters["score"][use])
        found.append(visit.clusters["score"][found_by[found_by >= 0]])
    falling, finding = -np.sort(-np.concatenate(scores)), -np.sort(-np.concatenate(found))
    asked = np.unique(np.append(finding, falling[-1:]))[::-1]
    n_candidates, n_found = (np.searchsorted(-values, -asked, side="right") for values in (falling, finding))
    return FrocCurve(name, asked, (n_candidates - n_found) / len(visits), n_found / n_labelled)


def _has_score(clusters: Table) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(clusters["score"]) & np.isfinite(clusters["x_mm"]))


def _keeps_shape(clusters: Table) -> NDArray[np.bool_]:
    """Rows that are accepted, or would be with a higher score."""
    score_alone = {"", FLAG_INFO[Flag.NOT_SIGNIFICANT].name}
    return np.array([set(reasons.split(";")) <= score_alone for reasons in clusters["reasons"].tolist()], dtype=bool)
