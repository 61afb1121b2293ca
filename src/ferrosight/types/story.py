"""What the pages of a subject and of a study tell: visits, tracks and evidence, gathered for a reader."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.relapse import STUDY_KINDS
from ferrosight.types.schema import RELAPSE, TRACKS, TableSchema
from ferrosight.types.table import Table

#: What the evidence of a lineage may rest on; ``births`` is that of new clusters, which belongs to no track.
EVIDENCE_QUANTITIES = ("iron", "activity", "volume", "births")


@dataclass(frozen=True)
class StoryVisit:
    """One visit of a subject, analysed or failed.

    ``session`` is its name, as in the tables ("" where a subject has a single scan without one), ``day`` NaN where it
    has no date. ``error`` says why the visit failed, "" where it was analysed; ``n_accepted`` counts its accepted
    clusters, None where that is not known. ``report`` is the link to its page, relative to the subject's page, ""
    without one.
    """

    session: str
    day: float = math.nan
    is_baseline: bool = False
    error: str = ""
    n_accepted: int | None = None
    report: str = ""
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the visit could not be analysed."""
        return bool(self.error)


@dataclass(frozen=True)
class PetVisit:
    """One PET scan of a subject, analysed or failed.

    ``name`` is the scan's own, ``session`` its visit's; ``day`` is NaN where it has no date. ``error`` says why it
    failed, "" where it was analysed; ``n_accepted`` counts its accepted hot spots and ``highest_suv_peak`` is the
    largest uptake value among them, NaN where there is none or it is not known.
    """

    name: str
    session: str = ""
    day: float = math.nan
    error: str = ""
    n_accepted: int | None = None
    highest_suv_peak: float = math.nan

    @property
    def failed(self) -> bool:
        """Whether the scan could not be analysed."""
        return bool(self.error)


@dataclass(frozen=True, eq=False)
class PetCourse:
    """Activity over a subject's visits at the place of a followed cluster, or of a hot spot that is near none.

    ``track_id`` is the track's, "" for a hot spot, whose ``name`` is that of the first sighting. ``activity_bq`` with
    its 95 % interval, ``suv_peak`` and ``found``, whether a hot spot was accepted there, have a value per visit: NaN
    where PET did not see the place, and where no uptake value is known.
    """

    track_id: str
    name: str
    activity_bq: NDArray[np.float64]
    activity_bq_low: NDArray[np.float64]
    activity_bq_high: NDArray[np.float64]
    suv_peak: NDArray[np.float64]
    found: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("activity_bq", "activity_bq_low", "activity_bq_high", "suv_peak"):
            shape = np.shape(self.activity_bq) if name != "activity_bq" else (None,)
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, shape))
        set_field(self, "found", frozen_array("found", self.found, np.bool_, self.activity_bq.shape))


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A projection of the body in the subject's own space, behind the map of tracks.

    ``image`` (n_across, n_up), any unit, NaN where nothing was scanned; ``axes`` names the subject's axes (``x``,
    ``y``, ``z``) along its first and second index, and ``extent_mm`` holds the outer edges of its pixels along them:
    (low, high) across, then (low, high) up. ``words`` say what is seen.
    """

    image: NDArray[np.float32]
    axes: tuple[str, str]
    extent_mm: tuple[float, float, float, float]
    words: str = ""

    def __post_init__(self) -> None:
        set_field(self, "image", frozen_array("image", self.image, np.float32, (None, None)))
        if self.image.size == 0:
            raise InputError(f"a backdrop needs at least one pixel, but its shape is {self.image.shape}.")
        across, up = self.axes
        if across == up or not {across, up} <= set("xyz"):
            raise InputError(f"a backdrop's axes must be two of x, y and z, but are {across!r} and {up!r}.")
        edges = tuple(float(edge) for edge in self.extent_mm)
        low_across, high_across, low_up, high_up = edges
        if not (all(math.isfinite(edge) for edge in edges) and low_across < high_across and low_up < high_up):
            raise InputError(f"a backdrop's edges must rise along both axes, but are {edges} mm.")
        set_field(self, "extent_mm", edges)


@dataclass(frozen=True, eq=False)
class LineageEvidence:
    """How strongly one lineage, by one quantity, speaks for growth at each visit of the relapse table.

    ``quantity`` is one of ``EVIDENCE_QUANTITIES``; ``track_ids`` are the tracks that are followed as one;
    ``e_values`` (n_visits,) and ``growing`` (n_visits,) follow the rows of the relapse table.
    """

    quantity: str
    track_ids: tuple[str, ...]
    e_values: NDArray[np.float64]
    growing: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.quantity not in EVIDENCE_QUANTITIES:
            raise InputError(f"evidence must rest on {', '.join(EVIDENCE_QUANTITIES)}, but is on {self.quantity!r}.")
        set_field(self, "e_values", frozen_array("e_values", self.e_values, np.float64, (None,)))
        set_field(self, "growing", frozen_array("growing", self.growing, np.bool_, self.e_values.shape))


@dataclass(frozen=True, eq=False)
class SubjectStory:
    """All that is told of one subject, made from tables alone.

    Attributes
    ----------
    subject, group, study_kind, label
        Names, without prefixes; "" where there is none. ``study_kind`` says what can show growth at all.
    visits
        In order of time, failed ones included.
    tracks
        Schema TRACKS; every session in it is one of the visits'.
    relapse
        Schema RELAPSE, a row per visit tested; None where growth was not tested.
    relapse_notes
        Sentences: what the evidence says, or why it cannot.
    lineages
        What drove the evidence; empty where it is not known.
    backdrop
        Behind the map of tracks.
    notes
        Further sentences that a reader must know.
    report
        Link to the subject's page, relative to the study's page; "" without one.
    pet
        PET scans in order of time, failed ones included.
    uptake
        Activities over the visits, a value per visit; () where no PET scan was laid beside MRI.
    """

    subject: str
    visits: tuple[StoryVisit, ...]
    tracks: Table
    relapse: Table | None = None
    relapse_notes: tuple[str, ...] = ()
    lineages: tuple[LineageEvidence, ...] = ()
    group: str = ""
    study_kind: str = ""
    label: str = ""
    backdrop: Backdrop | None = None
    notes: tuple[str, ...] = ()
    report: str = ""
    pet: tuple[PetVisit, ...] = ()
    uptake: tuple[PetCourse, ...] = ()

    def __post_init__(self) -> None:
        if self.study_kind and self.study_kind not in STUDY_KINDS:
            raise InputError(f"study_kind must be one of {', '.join(STUDY_KINDS)}, but is {self.study_kind!r}.")
        self._check_visits()
        for link in (self.report, *(visit.report for visit in self.visits)):
            if ":" in link or link.startswith("/"):
                raise InputError(f"a link to a page must be relative, so that both can be moved, but is {link!r}.")
        self._check_table(self.tracks, TRACKS)
        if any(len(course.activity_bq) != len(self.visits) for course in self.uptake):
            raise InputError(f"activities over time must have a value for each of the {len(self.visits)} visits.")
        if self.relapse is not None:
            self._check_table(self.relapse, RELAPSE)
            self._check_relapse(self.relapse)
        elif self.lineages:
            raise InputError("evidence of lineages needs a relapse table, but there is none.")

    @property
    def sessions(self) -> tuple[str, ...]:
        """Names of the visits."""
        return tuple(visit.session for visit in self.visits)

    @property
    def first_alarm(self) -> int:
        """The row of the relapse table with the first alarm; −1 for none."""
        if self.relapse is None or not self.relapse["alarm"].any():
            return -1
        return int(np.argmax(self.relapse["alarm"]))

    @property
    def identifiable(self) -> bool:
        """Whether growth was tested and could be known: at least one visit has an e-value."""
        return self.relapse is not None and bool(np.isfinite(self.relapse["e_value"]).any())

    def _check_visits(self) -> None:
        twice = sorted({name for name in self.sessions if self.sessions.count(name) > 1})
        if twice:
            raise InputError(f"every visit needs a name of its own, but {', '.join(twice)} comes twice.")
        days = [visit.day for visit in self.visits if math.isfinite(visit.day)]
        if any(later < earlier for earlier, later in pairwise(days)):
            raise InputError(f"visits must be in order of time, but their days are {days}.")

    def _check_table(self, table: Table, schema: TableSchema) -> None:
        if table.schema.name != schema.name:
            raise InputError(f"a table of schema {schema.name} was expected, but found {table.schema.name}.")
        unknown = sorted({str(name) for name in table["session_id"]} - set(self.sessions))
        if unknown:
            raise InputError(
                f"every session of the {schema.name} table must be a visit of subject {self.subject}, but "
                f"{', '.join(unknown)} is none; its visits are {', '.join(self.sessions)}."
            )

    def _check_relapse(self, relapse: Table) -> None:
        if len(set(relapse["session_id"].tolist())) < len(relapse):
            raise InputError("the relapse table must have one row per visit, but has several for some.")
        alpha = relapse["alpha"]
        if not ((alpha > 0) & (alpha < 1)).all():
            raise InputError(f"alpha must lie between 0 and 1 at every visit, but is {alpha.tolist()}.")
        for lineage in self.lineages:
            if len(lineage.e_values) != len(relapse):
                raise InputError(
                    f"a lineage's e-values must be as many as the {len(relapse)} rows of the relapse table, but are "
                    f"{len(lineage.e_values)}."
                )
