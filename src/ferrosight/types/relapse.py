"""What the test for relapse takes, and what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.table import Table

StudyKind = Literal["prelabelled", "targeted", "tracer"]
Quantity = Literal["iron", "activity", "volume"]
STUDY_KINDS: tuple[StudyKind, ...] = ("prelabelled", "targeted", "tracer")
QUANTITIES: tuple[Quantity, ...] = ("iron", "activity", "volume")


@dataclass(frozen=True)
class Measured:
    """One quantity of every cluster of a subject, at every visit from its birth on, whether or not it was found.

    ``values`` and ``sds`` are (n_clusters, n_visits) in any one unit: what was measured (forced measurements where
    nothing was found) and the standard deviation stated for it; NaN where nothing was measured. ``births``
    (n_clusters,) is the visit at which each was first found, and ``positions_mm`` (n_clusters, 3) where, RAS+.

    ``factor_sd_max`` bounds the relative standard deviation of a factor that is common to all clusters of a visit
    (dose, gain) and independent from visit to visit; None where nobody knows. ``reference`` (n_visits,) is the same
    quantity in a tissue that cannot grow, with the relative error ``reference_rel_err``: values are divided by it,
    and its error takes the factor's place. ``before_dose`` (values and sds, as above) is what was there before the
    visit's dose was given. ``carry_over_max`` bounds the share of iron that stays from one visit to the next.

    ``pooled`` says that each row is a lineage already, the total of all that could be mistaken for each other, with NaN
    after its end: rows are then not added up again, however near they lie.
    """

    quantity: Quantity
    values: NDArray[np.float64]
    sds: NDArray[np.float64]
    births: NDArray[np.int64]
    positions_mm: NDArray[np.float64]
    factor_sd_max: float | None = None
    reference: NDArray[np.float64] | None = None
    reference_rel_err: float = 0.0
    before_dose: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    carry_over_max: float | None = None
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise InputError(f"a quantity must be one of {', '.join(QUANTITIES)}, but is {self.quantity!r}.")
        values = frozen_array("values", self.values, np.float64, (None, None))
        shape = values.shape
        sds = frozen_array("sds", self.sds, np.float64, shape)
        births = frozen_array("births", self.births, np.int64, (shape[0],))
        if not (sds[np.isfinite(values)] > 0).all():
            raise InputError("every measured value needs a positive standard deviation; some have none.")
        if ((births < 0) | (births >= shape[1])).any():
            raise InputError(f"births must be visits from 0 to {shape[1] - 1}, but are {births.tolist()}.")
        for name, array in (("values", values), ("sds", sds), ("births", births)):
            set_field(self, name, array)
        places = frozen_array("positions_mm", self.positions_mm, np.float64, (shape[0], 3), finite=True)
        set_field(self, "positions_mm", places)
        if self.reference is not None:
            reference = frozen_array("reference", self.reference, np.float64, (shape[1],), finite=True)
            if not (reference > 0).all():
                raise InputError("the reference tissue must measure more than nothing at every visit, but does not.")
            set_field(self, "reference", reference)
        if self.before_dose is not None:
            before = tuple(frozen_array("before_dose", part, np.float64, shape) for part in self.before_dose)
            set_field(self, "before_dose", before)
        _check_share("carry_over_max", self.carry_over_max, 0.95)
        _check_share("factor_sd_max", self.factor_sd_max, 1.0)
        _check_share("reference_rel_err", self.reference_rel_err, 1.0)


@dataclass(frozen=True)
class SubjectSeries:
    """All visits of a subject, and what was measured at them.

    ``days`` (n_visits,) count from any start; ``protocols`` name the protocol of each visit. ``new_candidates``
    (n_visits,) is the number of candidates of each visit that belong to no earlier cluster and of which at most 0.01
    false ones were expected in the scan.
    """

    session_ids: tuple[str, ...]
    days: NDArray[np.float64]
    protocols: tuple[str, ...]
    measured: tuple[Measured, ...]
    new_candidates: NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.session_ids)
        days = frozen_array("days", self.days, np.float64, (n,))
        missing = [name for name, day in zip(self.session_ids, days, strict=True) if not math.isfinite(day)]
        if missing:
            raise InputError(
                f"every visit needs its date, but {', '.join(missing)} has none; give acq_time or day in the "
                "sessions table."
            )
        late = np.flatnonzero(np.diff(days) <= 0)
        if late.size:
            first, second = self.session_ids[late[0]], self.session_ids[late[0] + 1]
            raise InputError(
                f"visits must be in the order of their dates, but {second} (day {days[late[0] + 1]:g}) follows "
                f"{first} (day {days[late[0]]:g}); mend the dates in the sessions table."
            )
        if len(self.protocols) != n:
            raise InputError(f"every visit needs its protocol: {n} visits have {len(self.protocols)}.")
        set_field(self, "days", days)
        set_field(self, "new_candidates", frozen_array("new_candidates", self.new_candidates, np.int64, (n,)))
        for one in self.measured:
            if one.values.shape[1] != n:
                raise InputError(f"{one.quantity} has {one.values.shape[1]} visits, but the subject has {n}.")


@dataclass(frozen=True)
class StudyDesign:
    """What a study says of itself before it begins, and the false alarms that it tolerates.

    ``alpha`` bounds the chance of ever raising a false alarm. ``test_retest`` is the mean over ``n`` pairs of repeated
    measurements of (difference)² / (sum of the stated variances), with ``n``; without it ``sd_factor_max`` must bound
    the true standard deviation over the stated one. ``outlier_share`` of all measurements may be anything.
    ``false_births_per_visit_max`` bounds the chance of a false candidate with ``expected_false`` ≤ 0.01 at a visit, and
    ``hidden_clusters_max`` the number of clusters that do not grow and were missed at the first visit; None: unknown,
    and then new clusters are no evidence by themselves. Clusters within ``link_reach_mm`` of each other could be
    mistaken for each other, and are followed as one.
    """

    kind: StudyKind
    alpha: float = 0.05
    test_retest: tuple[float, int] | None = None
    sd_factor_max: float | None = None
    outlier_share: float = 0.002
    false_births_per_visit_max: float = 0.2
    hidden_clusters_max: int | None = None
    link_reach_mm: float = 0.5

    def __post_init__(self) -> None:
        if self.kind not in STUDY_KINDS:
            raise InputError(f"a study's kind must be one of {', '.join(STUDY_KINDS)}, but is {self.kind!r}.")
        if not 1e-6 <= self.alpha <= 0.5:
            raise InputError(f"alpha must lie between 1e-6 and 0.5, but is {self.alpha:g}.")
        _check_share("outlier_share", self.outlier_share, 0.2)
        if not 0 < self.false_births_per_visit_max < 1:
            raise InputError(
                f"false_births_per_visit_max must lie between 0 and 1, but is {self.false_births_per_visit_max:g}."
            )
        if self.sd_factor_max is not None and not self.sd_factor_max > 0:
            raise InputError(f"sd_factor_max must be positive, but is {self.sd_factor_max:g}.")
        if self.test_retest is not None and not (self.test_retest[0] > 0 and self.test_retest[1] >= 1):
            raise InputError(f"test_retest needs a positive ratio and at least one pair, but is {self.test_retest}.")


@dataclass(frozen=True)
class RelapseEvidence:
    """What a subject's visits say about growth.

    ``table`` has schema RELAPSE; where growth is ``not identifiable`` its e-values are missing, nothing is an alarm,
    and ``sentences`` say why and which scan would change that. ``first_alarm`` is a visit, -1 for none.

    Per lineage (clusters that cannot be mistaken for others, or several that can): ``members`` are its rows in its
    ``quantities``' ``Measured``, ``births`` (n_lineages,) its visit of birth, ``e_values`` (n_lineages, n_visits) its
    own evidence, and ``growing`` whether it is among those of which no more than a share of ``alpha`` are expected to
    be wrong (e-BH), at each visit. ``birth_e_values`` (n_visits,) is the evidence of new clusters.
    """

    identifiable: bool
    table: Table
    first_alarm: int
    sentences: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    members: tuple[tuple[int, ...], ...]
    births: NDArray[np.int64]
    e_values: NDArray[np.float64]
    growing: NDArray[np.bool_]
    birth_e_values: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = (len(self.members), len(self.table))
        set_field(self, "births", frozen_array("births", self.births, np.int64, shape[:1]))
        set_field(self, "e_values", frozen_array("e_values", self.e_values, np.float64, shape))
        set_field(self, "growing", frozen_array("growing", self.growing, np.bool_, shape))
        births = frozen_array("birth_e_values", self.birth_e_values, np.float64, shape[1:])
        set_field(self, "birth_e_values", births)


def _check_share(name: str, value: float | None, most: float) -> None:
    if value is not None and not 0 <= value <= most:
        raise InputError(f"{name} must lie between 0 and {most:g}, but is {value:g}.")
