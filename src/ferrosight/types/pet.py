"""One positron emission scan: what the readers and the simulator return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError, InputError, SidecarError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.grid import Grid
from ferrosight.types.table import Table


class PetUnit(StrEnum):
    """What a voxel's number is.

    A standardised uptake value (SUV) is activity per volume over injected activity per body mass, g/mL; the mass is
    the body's (``SUV_BW``) or its lean part by James' or Janmahasatian's formula, or by one that is not stated.
    """

    BQ_ML = "Bq/mL"
    SUV_BW = "SUVbw"
    SUV_LBM = "SUVlbm"
    SUV_LBM_JAMES = "SUVlbm-james"
    SUV_LBM_JANMAHASATIAN = "SUVlbm-janmahasatian"

    @property
    def is_suv(self) -> bool:
        """Whether it is a standardised uptake value of any kind."""
        return self is not PetUnit.BQ_ML


@dataclass(frozen=True)
class Isotope:
    """A positron emitter: half-life (s) and mean range of its positrons in water (mm), each with where it is from."""

    name: str
    half_life_s: float
    half_life_source: str
    positron_range_mm: float
    positron_range_source: str


@dataclass(frozen=True)
class PetResponse:
    """How a point looks in an image: a Gaussian of ``fwhm_mm`` along each array axis, folded with the positrons' range.

    ``positron_range_mm`` is the mean of the exponentially distributed distance between emission and annihilation; 0
    leaves the Gaussian alone.
    """

    fwhm_mm: tuple[float, float, float]
    positron_range_mm: float = 0.0

    def __post_init__(self) -> None:
        if len(self.fwhm_mm) != 3 or not all(0 < width < math.inf for width in self.fwhm_mm):
            raise InputError(f"a point spread needs three positive widths in mm, but has {list(self.fwhm_mm)}.")
        if not 0 <= self.positron_range_mm < math.inf:
            raise InputError(f"the positrons' range must be zero or more, but is {self.positron_range_mm:g} mm.")


@dataclass(frozen=True)
class PetScan:
    """A reconstructed PET scan of one or more frames on its grid.

    Parameters
    ----------
    data : float32 (frame, x, y, z)
        Mean of each frame in ``unit``, corrected for decay.
    unit : PetUnit
    affine : float64 (4, 4)
        Voxel indices to scanner RAS+ mm.
    frame_start_s, frame_duration_s : float64 (frame,)
        Seconds; starts are counted from the scan's start.
    half_life_s : float
        Of the isotope, seconds; NaN where unknown.
    isotope : str
        ``18F`` and so on; "" where unknown.
    decay_corrected_to : "scan" or "injection"
        Whether the activity is that at the scan's start or at the injection. An SUV depends on neither.
    injected_bq, injection_s : float
        Injected activity (at injection), Bq, and when that was, seconds after the scan's start (mostly negative). NaN
        where unknown.
    weight_kg, height_m : float
        Of the body; NaN where unknown.
    sex : str
        "M", "F" or "".
    point_spread_mm : (x, y, z) or None
        Stated widths (FWHM) of a point along the array's axes, without the positrons' range; None where not stated.
    subject, session, run : str
        BIDS labels without their prefix; "" where there is none.
    unknown : mapping
        For each of the numbers above that is missing or contradicts another, a sentence that names the field. Whoever
        needs that number refuses with the sentence.
    notes : tuple of str
        What was found odd and does not change the numbers.
    """

    data: NDArray[np.float32]
    unit: PetUnit
    affine: NDArray[np.float64]
    frame_start_s: NDArray[np.float64]
    frame_duration_s: NDArray[np.float64]
    half_life_s: float = math.nan
    isotope: str = ""
    decay_corrected_to: Literal["scan", "injection"] = "scan"
    injected_bq: float = math.nan
    injection_s: float = math.nan
    weight_kg: float = math.nan
    height_m: float = math.nan
    sex: str = ""
    point_spread_mm: tuple[float, float, float] | None = None
    subject: str = ""
    session: str = ""
    run: str = ""
    unknown: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        data = np.asarray(self.data)
        if data.ndim != 4:
            raise ImageError(f"a PET image must have axes (frame, x, y, z), but has shape {data.shape}.")
        set_field(self, "data", frozen_array("PET image", data, np.float32, finite=True))
        for name in ("frame_start_s", "frame_duration_s"):
            set_field(self, name, frozen_array(name, getattr(self, name), np.float64, (data.shape[0],), finite=True))
        if (np.diff(self.frame_start_s) <= 0).any():
            raise SidecarError(f"frames must follow one another, but start at {self.frame_start_s.tolist()} s.")
        if (self.frame_duration_s <= 0).any():
            raise SidecarError(f"frames must take time, but last {self.frame_duration_s.tolist()} s.")
        for name in ("half_life_s", "injected_bq", "weight_kg", "height_m"):
            if not (math.isnan(getattr(self, name)) or 0 < getattr(self, name) < math.inf):
                raise SidecarError(f"{name} must be positive, but is {getattr(self, name):g}.")
        set_field(self, "unit", PetUnit(self.unit))
        set_field(self, "affine", frozen_array("affine", self.affine, np.float64, (4, 4), finite=True))
        self.grid  # noqa: B018  (validates the affine)

    @cached_property
    def grid(self) -> Grid:
        """The voxel lattice of every frame."""
        x, y, z = self.data.shape[1:]
        return Grid((x, y, z), self.affine)

    def average_frames(self) -> NDArray[np.float64]:
        """The frames' mean (x, y, z), each weighed by how long it lasted, in ``unit``."""
        return np.asarray(np.average(self.data.astype(np.float64), axis=0, weights=self.frame_duration_s))

    def require(self, name: str) -> float:
        """The number called ``name``; SidecarError with the reason where it is not known."""
        value = float(getattr(self, name))
        if name in self.unknown or math.isnan(value):
            raise SidecarError(self.unknown.get(name, f"{name} is needed for this, but is not known; state it."))
        return value


@dataclass(frozen=True)
class PetCatalogue:
    """Every candidate hot spot of a PET scan, judged (schema PET_CLUSTERS, strongest score first).

    ``z`` float32 (x, y, z) is the screening statistic of what the explained sources leave. ``expected_per_z`` are the
    statistics at which the number of false candidates falls to 1 and to 0.05. ``notes`` are sentences that a reader of
    the numbers must know.
    """

    clusters: Table
    grid: Grid
    z: NDArray[np.float32]
    expected_per_z: tuple[float, float]
    n_decoys: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_field(self, "z", frozen_array("screening statistic", self.z, np.float32, self.grid.shape))

    @property
    def accepted(self) -> Table:
        """The accepted rows of ``clusters``."""
        return self.clusters.where(self.clusters["status"] == "accepted")
