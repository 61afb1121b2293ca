"""Catalogues against a known truth."""

from __future__ import annotations

from collections.abc import Sequence

from ferrosight.errors import InputError
from ferrosight.evaluate.calibration import evaluate_calibration
from ferrosight.evaluate.detection import evaluate_detection
from ferrosight.evaluate.match import match_clusters
from ferrosight.types.evaluation import Evaluation, KnownVisit


def evaluate_catalogues(visits: Sequence[KnownVisit], match_mm: float) -> Evaluation:
    """How good the catalogues of ``visits`` are, all scans pooled.

    ``match_mm`` is how far from a labelled body a candidate may lie to be it: see ``match_clusters``.

    Raises
    ------
    InputError
        There is no visit, or ``match_mm`` is not a positive number.
    """
    if not visits:
        raise InputError("an evaluation needs a catalogue and its truth at least, but was given none.")
    matchings = [
        match_clusters(visit.clusters, visit.truth, match_mm, visit.clusters["status"] == "accepted")
        for visit in visits
    ]
    return Evaluation(
        visits=tuple(visit.name for visit in visits),
        match_mm=match_mm,
        detection=evaluate_detection(visits, matchings, match_mm),
        calibration=evaluate_calibration(visits, matchings),
    )
