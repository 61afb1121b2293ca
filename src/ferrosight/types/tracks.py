"""What following clusters from visit to visit takes in, and the tracks that it gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field


@dataclass(frozen=True)
class Detections:
    """Clusters of all visits of a subject, in its own space (RAS+ mm), one row each.

    Attributes
    ----------
    sessions, days : n_visits
        Names of the visits and their days, in order of time; days (n_visits,) increase.
    cluster_ids, visit : (n,)
        The clusters' names, none twice, and the visit (0 to n_visits − 1) that each was found at.
    position_mm, covariance_mm2 : (n, 3), (n, 3, 3)
        Where each is, and the covariance of that: the fit's and that of the visit's registration.
    moment_am2, moment_am2_err : (n,)
        Magnetic moments, positive, and their standard deviations.
    detection_probability : (n, n_visits)
        Chance that a cluster like this one would have been found at each visit, were it at this place: 0 outside what
        was scanned. Its own visit's is above 0. Where links must not depend on the moments, it is that of one
        reference moment at this place.
    false_per_mm3 : (n,)
        False candidates like this one to be expected per mm³ of its visit at this place: their density, times how much
        commoner this score, or mass, is among the false than among all. From a chance f to be false and the density d
        of all clusters it is d·f/(1 − f).
    volume_mm3 : float
        Volume in which clusters were looked for at a visit.
    """

    sessions: tuple[str, ...]
    days: NDArray[np.float64]
    cluster_ids: NDArray[np.str_]
    visit: NDArray[np.int64]
    position_mm: NDArray[np.float64]
    covariance_mm2: NDArray[np.float64]
    moment_am2: NDArray[np.float64]
    moment_am2_err: NDArray[np.float64]
    detection_probability: NDArray[np.float64]
    false_per_mm3: NDArray[np.float64]
    volume_mm3: float

    def __post_init__(self) -> None:
        n_visits, n = len(self.sessions), len(self.cluster_ids)
        numbers: dict[str, tuple[int | None, ...]] = {
            "days": (n_visits,),
            "position_mm": (n, 3),
            "covariance_mm2": (n, 3, 3),
            "moment_am2": (n,),
            "moment_am2_err": (n,),
            "detection_probability": (n, n_visits),
            "false_per_mm3": (n,),
        }
        for name, shape in numbers.items():
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, shape, finite=True))
        set_field(self, "visit", frozen_array("visit", self.visit, np.int64, (n,)))
        set_field(self, "cluster_ids", frozen_array("cluster_ids", self.cluster_ids, np.str_, (None,)))
        self._check_visits()
        self._check_values()

    def _check_visits(self) -> None:
        if n_wrong := int(np.sum(np.diff(self.days) <= 0)):
            raise InputError(
                f"days of visits must increase, but {n_wrong} of {len(self.days)} do not come after the one before; "
                "put the visits in order of time, each with a day of its own."
            )
        if len(self) and not (self.visit.min() >= 0 and self.visit.max() < len(self.days)):
            raise InputError(f"visit must lie between 0 and {len(self.days) - 1}, the last of the visits.")
        if n_twice := len(self) - len(set(self.cluster_ids.tolist())):
            raise InputError(f"cluster_ids must differ, but {n_twice} of {len(self)} occur before.")

    def _check_values(self) -> None:
        own = self.detection_probability[np.arange(len(self)), self.visit]
        rules = {
            "moment_am2 must be above 0": self.moment_am2 > 0,
            "moment_am2_err must be 0 or more": self.moment_am2_err >= 0,
            "false_per_mm3 must be 0 or more": self.false_per_mm3 >= 0,
            "detection_probability must lie between 0 and 1": np.all(
                (self.detection_probability >= 0) & (self.detection_probability <= 1), axis=1
            ),
            "detection_probability must be above 0 at a cluster's own visit": own > 0,
            "covariance_mm2 must be symmetric, and positive in every direction": _are_covariances(self.covariance_mm2),
        }
        for rule, holds in rules.items():
            if n_wrong := int(np.sum(~holds)):
                raise InputError(f"{rule}, but is not for {n_wrong} of {len(self)} clusters.")
        if not self.volume_mm3 > 0:
            raise InputError(f"volume_mm3 must be above 0, but is {self.volume_mm3!r}.")

    def __len__(self) -> int:
        return len(self.cluster_ids)


def _are_covariances(matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    if not len(matrices):
        return np.zeros(0, dtype=np.bool_)
    scale = np.abs(matrices).max(axis=(1, 2))
    asymmetry = np.abs(matrices - np.swapaxes(matrices, 1, 2)).max(axis=(1, 2))
    positive = np.linalg.eigvalsh(matrices)[:, 0] > 0
    return np.asarray(positive & (asymmetry <= 1e-9 * scale))


class LinkKind(IntEnum):
    """What a link, or the whole explanation that it belongs to, says: one to one, one to two, two to one, or false."""

    CONTINUE = 0
    SPLIT = 1
    MERGE = 2
    FALSE = 3


@dataclass(frozen=True)
class Links:
    """Links from earlier to later clusters, (n_links,) each: row numbers of the detections.

    A split is two links from one source, a merge two links into one target; ``kind`` says so. ``probability`` is that
    of the link as such, whatever its kind; ``event_probability`` that of the continuation, split or merge it is part
    of. ``chosen`` links make the tracks; the others are alternatives.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    kind: NDArray[np.int64]
    probability: NDArray[np.float64]
    event_probability: NDArray[np.float64]
    chosen: NDArray[np.bool_]

    def __post_init__(self) -> None:
        source = frozen_array("source", self.source, np.int64, (None,))
        set_field(self, "source", source)
        for name, dtype in (
            ("target", np.int64),
            ("kind", np.int64),
            ("probability", np.float64),
            ("event_probability", np.float64),
            ("chosen", np.bool_),
        ):
            set_field(self, name, frozen_array(name, getattr(self, name), dtype, source.shape))

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Optimality:
    """How sure it is that no other set of tracks is likelier.

    ``log_odds`` of the chosen tracks against each cluster on its own; no choice has more than ``bound``. ``gap`` is
    their relative difference. Of ``n_groups`` of clusters that can be linked apart, ``n_branched`` needed more than
    one linear programme. In ``n_nearly`` groups so many explanations are likely that their sum is not exact.
    """

    log_odds: float
    bound: float
    n_groups: int
    n_branched: int
    n_nearly: int

    @property
    def gap(self) -> float:
        """Relative gap between bound and what was found; 0 is proven best."""
        return max(self.bound - self.log_odds, 0.0) / max(abs(self.log_odds), 1.0)


@dataclass(frozen=True)
class TrackSet:
    """The likeliest tracks of a subject, and what else might be.

    A track is a cluster followed without a branch: where it splits it ends and two begin, where two merge both end
    and one begins. Its name is that of its first cluster.

    Attributes
    ----------
    track_ids : (n_tracks,)
        Names, in order of first visit, then of row.
    parents : n_tracks
        Names of the tracks that each comes from: none, one (a split) or two (a merge).
    track : (n,)
        The track of each detection; −1 where it is more likely false.
    links : Links
        The chosen links and the alternatives that are likely enough to be kept.
    false_probability, new_probability, end_probability : (n,)
        Chance of each detection to be false; to be real and linked to nothing earlier; to nothing later.
    optimality : Optimality
        Proof of being the best.
    """

    track_ids: NDArray[np.str_]
    parents: tuple[tuple[str, ...], ...]
    track: NDArray[np.int64]
    links: Links
    false_probability: NDArray[np.float64]
    new_probability: NDArray[np.float64]
    end_probability: NDArray[np.float64]
    optimality: Optimality

    def __post_init__(self) -> None:
        set_field(self, "track_ids", frozen_array("track_ids", self.track_ids, np.str_, (len(self.parents),)))
        track = frozen_array("track", self.track, np.int64, (None,))
        set_field(self, "track", track)
        for name in ("false_probability", "new_probability", "end_probability"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, track.shape))


@dataclass(frozen=True)
class TrackPlaces:
    """Where each track was at every visit, in the subject's own space (RAS+ mm).

    ``position_mm`` (n_tracks, n_visits, 3) and ``covariance_mm2`` (n_tracks, n_visits, 3, 3); ``detection``
    (n_tracks, n_visits) is the row of the detection that the track has there, −1 where it was not seen.
    """

    position_mm: NDArray[np.float64]
    covariance_mm2: NDArray[np.float64]
    detection: NDArray[np.int64]

    def __post_init__(self) -> None:
        detection = frozen_array("detection", self.detection, np.int64, (None, None))
        set_field(self, "detection", detection)
        place = frozen_array("position_mm", self.position_mm, np.float64, (*detection.shape, 3))
        set_field(self, "position_mm", place)
        shape = (*detection.shape, 3, 3)
        set_field(self, "covariance_mm2", frozen_array("covariance_mm2", self.covariance_mm2, np.float64, shape))
