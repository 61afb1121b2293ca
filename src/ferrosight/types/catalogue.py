"""Candidates, the null they were judged against, and the catalogue that a scan ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.calibration import Calibration
from ferrosight.types.label import IronPerCell, Label
from ferrosight.types.scan import PhaseSign, Scan
from ferrosight.types.table import Table

if TYPE_CHECKING:
    import pandas as pd


#: What the clusters table calls the estimator of an extended graft.
GRAFT_ESTIMATOR: Final = "susceptibility_integral"


def name_clusters(scan: Scan, mm: NDArray[np.float64]) -> NDArray[np.str_]:
    """Ids (n,) from the visit and positions (n, 3) to 10 µm: the same in every run.

    They are never shared, as sources that near are one.
    """
    visit = "_".join(
        f"{key}-{value}" for key, value in (("sub", scan.subject), ("ses", scan.session), ("run", scan.run)) if value
    )
    places = [f"x{x:+.2f}y{y:+.2f}z{z:+.2f}" for x, y, z in np.round(mm, 2) + 0.0]
    return np.array([f"{visit}_{place}" if visit else place for place in places], dtype=np.str_)


#: Fewer decoys than this in the tail leave its shape to the prior.
FEW_DECOYS: Final = 5


@dataclass(frozen=True)
class FitPatch:
    """One fitted window, for pictures: all (echo, x, y, z) complex64, background included.

    ``origin_ijk`` is the voxel index of the patch's first voxel; voxels left out of the fit are NaN in
    ``data``; ``background`` is what the model would be with no cluster.
    """

    cluster_id: str
    origin_ijk: tuple[int, int, int]
    data: NDArray[np.complex64]
    model: NDArray[np.complex64]
    background: NDArray[np.complex64]

    def __post_init__(self) -> None:
        shape = np.asarray(self.data).shape
        for name in ("data", "model", "background"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.complex64, shape))


@dataclass(frozen=True)
class NullCalibration:
    """How this scan's own false-positive rate was measured.

    ``candidates`` holds every class's candidates (schema NULLS). ``curve_scores`` and ``curve_expected`` are
    the number of false candidates expected at each score or above, the uncertainty of the tail included;
    above ``tail_threshold`` it comes from a tail fitted to ``n_decoys_in_tail`` decoys, ``tail_rate`` of
    them per class, with scale ``tail_scale`` (in score²/2; 1 in pure noise). ``score_threshold`` is the
    lowest accepted score (NaN where nothing was accepted), and ``counts_at_threshold`` maps each class
    ("dipole", "opposite", "xz" …) to its number of candidates at that score or above. ``class_spread`` is
    each pattern's null spread, by which scores were divided; ``n_places`` how many places were tested.
    """

    candidates: Table
    curve_scores: NDArray[np.float64]
    curve_expected: NDArray[np.float64]
    tail_threshold: float
    tail_rate: float
    tail_scale: float
    tail_scale_err: float
    n_decoys_in_tail: int
    score_threshold: float
    counts_at_threshold: Mapping[str, int]
    class_spread: Mapping[str, float]
    n_places: int

    @property
    def few_decoys(self) -> bool:
        """Whether the false-positive rate rests on an assumption, for lack of decoys in the tail."""
        return self.n_decoys_in_tail < FEW_DECOYS


@dataclass(frozen=True)
class Catalogue:
    """Every candidate of a scan, judged, with its moment, iron and cells.

    ``clusters`` and ``fits`` have the same rows in the same order (strongest score first). ``notes`` are
    sentences that a reader of the numbers must know (assumptions, what was found in the scan). Cells were counted by
    the ``load``, or by the ``calibration``; both are None where they were not.
    """

    clusters: Table
    fits: Table
    null: NullCalibration
    patches: tuple[FitPatch, ...]
    phase_sign: PhaseSign
    phase_sign_source: str
    point_spread: str
    q_threshold: float
    label: Label | None = None
    ms_am2_per_kg_fe: float | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    load: IronPerCell | None = None
    calibration: Calibration | None = None

    @property
    def accepted(self) -> Table:
        """The accepted rows of ``clusters``."""
        return self.clusters.where(self.clusters["status"] == "accepted")

    def to_pandas(self) -> pd.DataFrame:
        """The clusters table as a pandas data frame."""
        return self.clusters.to_pandas()
