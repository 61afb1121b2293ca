"""What was found and what is false: recall against mass, false discoveries, confusers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.evaluate.counts import average_share, count_per_scan, count_share
from ferrosight.evaluate.froc import trace_froc
from ferrosight.evaluate.masses import choose_mass, split_by_mass, true_mass
from ferrosight.evaluate.match import LABELLED
from ferrosight.types import Matching
from ferrosight.types.evaluation import Confuser, Detection, KnownVisit, MassBin

#: What an accepted cluster sits on that is no confuser of the truth.
_DUPLICATE: Final = "duplicate"
_BACKGROUND: Final = "background"


def evaluate_detection(visits: Sequence[KnownVisit], matchings: Sequence[Matching], match_mm: float) -> Detection:
    """Recall, false discoveries and confusers over all ``visits``, one at least.

    ``matchings`` are those of each visit's accepted candidates; ``match_mm`` is for the FROC curves, which match the
    others too.
    """
    mass_column = choose_mass(visits)
    mass = np.concatenate([true_mass(visit.truth, mass_column) for visit in visits])
    labelled = np.concatenate([visit.truth["kind"] == LABELLED for visit in visits])
    found = np.concatenate([matching.found_by >= 0 for matching in matchings])
    n_accepted = np.array([int((visit.clusters["status"] == "accepted").sum()) for visit in visits])
    n_true = np.array([int((matching.body >= 0).sum()) for matching in matchings])
    n_false = n_accepted - n_true
    return Detection(
        recall=count_share(int(found[labelled].sum()), int(labelled.sum())),
        mass_column=mass_column,
        by_mass=tuple(
            MassBin(low, high, float(np.median(mass[of])), count_share(int(found[of].sum()), int(of.sum())))
            for low, high, of in split_by_mass(mass)
        ),
        accepted=count_per_scan(int(n_accepted.sum()), len(visits)),
        false_positives=count_per_scan(int(n_false.sum()), len(visits)),
        false_discoveries=count_share(int(n_false.sum()), int(n_accepted.sum())),
        false_discovery_rate=average_share(n_false / np.maximum(n_accepted, 1)),
        confusers=_count_confusers(visits, matchings),
        froc=trace_froc(visits, match_mm),
    )


def _count_confusers(visits: Sequence[KnownVisit], matchings: Sequence[Matching]) -> tuple[Confuser, ...]:
    """False accepted clusters by what they sit on: every kind of the truth, most frequent first."""
    places = np.concatenate([_name_places(*pair) for pair in zip(visits, matchings, strict=True)])
    kinds = np.concatenate([visit.truth["kind"] for visit in visits])
    hit = np.concatenate(
        [
            np.isin(np.arange(len(visit.truth)), matching.place[matching.place >= 0])
            for visit, matching in zip(visits, matchings, strict=True)
        ]
    )
    names = [*sorted({*kinds.tolist()} - {LABELLED}), _DUPLICATE, _BACKGROUND]
    confusers = [
        Confuser(
            name,
            count_per_scan(int((places == name).sum()), len(visits)),
            count_share(int(hit[kinds == name].sum()), int((kinds == name).sum())),
        )
        for name in names
    ]
    return tuple(sorted(confusers, key=lambda one: -one.accepted.count))


def _name_places(visit: KnownVisit, matching: Matching) -> NDArray[np.str_]:
    """What every false accepted cluster sits on."""
    false = (visit.clusters["status"] == "accepted") & (matching.body < 0)
    place = matching.place[false]
    kinds = np.append(visit.truth["kind"], _BACKGROUND)  # -1, nothing, is the last
    names = kinds[place]
    return np.asarray(np.where(names == LABELLED, _DUPLICATE, names), dtype=np.str_)
