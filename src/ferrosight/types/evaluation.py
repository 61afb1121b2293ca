"""How good catalogues are against a known truth: what was found, what was not, what is false, what is biased."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.table import Table


@dataclass(frozen=True)
class KnownVisit:
    """A scan's catalogue (schema CLUSTERS) beside what the scan really holds (schema TRUTH).

    Every accepted row, and every row of the truth, has a position. Other columns may be missing throughout.
    """

    name: str
    clusters: Table
    truth: Table


@dataclass(frozen=True)
class Matching:
    """Which candidates of a scan are which bodies of its truth; all integers are row numbers, -1 for none.

    Per candidate (n_candidates,): ``body`` is the labelled body that it found; ``place`` the body on which it sits,
    whether or not it found it; ``distance_mm`` to that body's middle or axis, NaN where it sits on none. Candidates
    that took no part have neither. Per body (n_bodies,): ``found_by`` is the candidate with which, in order of
    falling score, the body is found first.
    """

    body: NDArray[np.int64]
    place: NDArray[np.int64]
    distance_mm: NDArray[np.float64]
    found_by: NDArray[np.int64]

    def __post_init__(self) -> None:
        body = frozen_array("body", self.body, np.int64, (None,))
        set_field(self, "body", body)
        set_field(self, "place", frozen_array("place", self.place, np.int64, body.shape))
        set_field(self, "distance_mm", frozen_array("distance_mm", self.distance_mm, np.float64, body.shape))
        set_field(self, "found_by", frozen_array("found_by", self.found_by, np.int64, (None,)))


@dataclass(frozen=True)
class Share:
    """``count`` of ``total``, as a share with its exact 95 % interval; NaN (0 to 1) of nothing."""

    value: float
    low: float
    high: float
    count: int
    total: int


@dataclass(frozen=True)
class PerScan:
    """``count`` in all scans, as a number per scan with its exact 95 % (Poisson) interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Average:
    """A mean or a median of ``n`` values with its 95 % interval; NaN where there are too few."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class MassBin:
    """Labelled bodies with a true mass from ``low`` up to ``high``, their median, and how many were found."""

    low: float
    high: float
    median: float
    recall: Share


@dataclass(frozen=True)
class Confuser:
    """Accepted clusters that are false, by what they sit on.

    ``kind`` is a kind of the truth; ``duplicate`` for a second cluster on a labelled body that another one found;
    ``background`` for nothing at all, and for these two ``bodies`` counts nothing. ``bodies`` are those of the kind,
    with the share on which anything was accepted.
    """

    kind: str
    accepted: PerScan
    bodies: Share


@dataclass(frozen=True)
class FrocCurve:
    """Recall against false positives per scan as the score that is asked for falls, (n,) each.

    ``candidates`` says which took part: ``all``, or ``shape``: those not rejected but for their score. Between two
    points recall stays at that of the left one.
    """

    candidates: str
    score: NDArray[np.float64]
    false_per_scan: NDArray[np.float64]
    recall: NDArray[np.float64]

    def __post_init__(self) -> None:
        score = frozen_array("score", self.score, np.float64, (None,))
        set_field(self, "score", score)
        for name in ("false_per_scan", "recall"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, score.shape))


@dataclass(frozen=True)
class Detection:
    """What was found, and what is false among the accepted.

    ``mass_column`` (iron_pg or moment_am2) is the mass of ``by_mass``; labelled bodies without one are in ``recall``
    alone. ``false_discoveries`` pools all scans; ``false_discovery_rate`` is the mean over scans of the false share
    of what was accepted in each, zero where nothing was.
    """

    recall: Share
    mass_column: str
    by_mass: tuple[MassBin, ...]
    accepted: PerScan
    false_positives: PerScan
    false_discoveries: Share
    false_discovery_rate: Average
    confusers: tuple[Confuser, ...]
    froc: tuple[FrocCurve, ...]


@dataclass(frozen=True)
class MassBias:
    """Median relative error of the found bodies with a true mass from ``low`` up to ``high``, and its interval."""

    low: float
    high: float
    mass_median: float
    median: Average


@dataclass(frozen=True)
class Bias:
    """Relative errors, measured over true less one, of what was accepted and is real."""

    column: str
    mean: Average
    median: Average
    by_mass: tuple[MassBias, ...]


@dataclass(frozen=True)
class Coverage:
    """How often a 95 % interval of what was accepted and is real holds the truth.

    ``interval`` names its columns. The truth lies below the interval of ``n_below``, above that of ``n_above``;
    ``n_without`` have a truth but no interval.
    """

    interval: str
    covered: Share
    n_below: int
    n_above: int
    n_without: int


@dataclass(frozen=True)
class Calibration:
    """Whether what is said of the accepted clusters is right: values and intervals."""

    bias: tuple[Bias, ...]
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class EventScore:
    """How many of the ``true`` events there are were found, and how many ``found`` ones are ``right``."""

    true: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        """Share of the true ones that were found; NaN of none."""
        return self.right / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Share of the found ones that are right; NaN of none."""
        return self.right / self.found if self.found else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision; NaN where there is nothing to find and nothing was found."""
        return 2 * self.right / (self.true + self.found) if self.true + self.found else float("nan")


@dataclass(frozen=True)
class Tracking:
    """Links against the true ones: single links, splits (with all their parts) and merges (likewise)."""

    links: EventScore
    splits: EventScore
    merges: EventScore


@dataclass(frozen=True)
class Reliability:
    """Of links that were said to be right with probability ``said`` (their mean), the share that is."""

    said: float
    right: Share


@dataclass(frozen=True)
class Evaluation:
    """Catalogues of ``visits`` against their truth, matched within ``match_mm``, all pooled."""

    visits: tuple[str, ...]
    match_mm: float
    detection: Detection
    calibration: Calibration
