"""What to simulate: the scan, and the sources in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.physics.constants import CHI_AIR, CHI_WATER, MU0
from ferrosight.physics.relaxation import static_dephasing_r2prime_per_s
from ferrosight.types import AxisSupport, Grid, PhaseSign

PointSpread = Literal["box", "kspace"]
Kind = Literal["labelled", "vein", "haemorrhage", "air", "calcification"]
TissueShape = Literal["ellipsoid", "tube"]
Supports = tuple[AxisSupport, AxisSupport, AxisSupport]
Position = tuple[float, float, float]

FULL_SUPPORT: Supports = (AxisSupport(), AxisSupport(), AxisSupport())


@dataclass(frozen=True)
class Point:
    """A magnetised point at ``position_mm`` (RAS+). Within ``core_radius_um`` its field stops growing inwards.

    A negative moment gives the polarity opposite to iron's. ``iron_pg``, ``n_cells`` and, of every source,
    ``object_id`` (the same at every visit) are only passed on to the truth table.
    """

    position_mm: Position
    moment_am2: float
    core_radius_um: float = 0.0
    kind: Kind = "labelled"
    iron_pg: float = math.nan
    n_cells: float = math.nan
    object_id: str = ""


@dataclass(frozen=True)
class Cells:
    """``n_cells`` equal points, scattered at random inside a sphere, that share ``moment_am2``.

    The truth table gives the centroid of the cells as drawn, which is where the far field points.
    """

    centre_mm: Position
    radius_um: float
    moment_am2: float
    n_cells: int
    cell_core_radius_um: float = 0.0
    kind: Kind = "labelled"
    iron_pg: float = math.nan
    object_id: str = ""

    def __post_init__(self) -> None:
        if self.n_cells < 1 or self.radius_um < 0:
            raise InputError(
                f"a cluster needs at least one cell and a radius of zero or more, "
                f"but has {self.n_cells} cells within {self.radius_um} µm."
            )


@dataclass(frozen=True, eq=False)
class PlacedCells:
    """Cells at places of their own, ``positions_mm`` (n, 3), each with its moment (n,): a cluster of any shape.

    The truth table gives the centroid, weighted by moment, which is where the far field points. ``iron_pg`` and
    ``n_cells`` are only passed on to it: NaN for particles that are no cells.
    """

    positions_mm: NDArray[np.float64]
    moments_am2: NDArray[np.float64]
    cell_core_radius_um: float = 0.0
    kind: Kind = "labelled"
    iron_pg: float = math.nan
    n_cells: float = math.nan
    object_id: str = ""

    def __post_init__(self) -> None:
        n = len(self.moments_am2)
        if n < 1 or np.shape(self.positions_mm) != (n, 3):
            raise InputError(
                f"placed cells need positions of shape (n, 3) for n moments, n at least 1, but have "
                f"{np.shape(self.positions_mm)} for {n}."
            )


@dataclass(frozen=True)
class Sphere:
    """A uniform sphere of susceptibility difference ``delta_chi`` (SI) to the tissue.

    Its moment follows from its volume and B0. Its inside relaxes faster than the tissue by ``inside_per_s``;
    infinite makes a void of it, as in gas or mineral.
    """

    position_mm: Position
    radius_um: float
    delta_chi: float
    kind: Kind
    inside_per_s: float = math.inf
    object_id: str = ""

    def __post_init__(self) -> None:
        if not self.radius_um > 0:
            raise InputError(f"a sphere's radius must be positive, but is {self.radius_um} µm.")


@dataclass(frozen=True)
class Ellipsoid:
    """A uniform ellipsoid: an extended graft, a bleeding, a cavity.

    ``half_axes_um`` lie along the scanner's axes turned by ``rotation_deg`` about x, then y, then z;
    ``delta_chi`` (SI) and ``inside_per_s`` as for ``Sphere``. Several that overlap add up: a body of any shape.
    """

    centre_mm: Position
    half_axes_um: tuple[float, float, float]
    delta_chi: float
    kind: Kind
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    inside_per_s: float = 0.0
    iron_pg: float = math.nan
    n_cells: float = math.nan
    object_id: str = ""

    def __post_init__(self) -> None:
        if not min(self.half_axes_um) > 0:
            raise InputError(f"an ellipsoid's half axes must be positive, but are {self.half_axes_um} µm.")


@dataclass(frozen=True)
class Vein:
    """A straight vessel between two points (RAS+ mm), of susceptibility difference ``delta_chi`` (SI).

    Its blood relaxes faster than the tissue by ``inside_per_s``.
    """

    start_mm: Position
    end_mm: Position
    radius_um: float
    delta_chi: float
    kind: Kind = "vein"
    inside_per_s: float = 0.0
    object_id: str = ""

    def __post_init__(self) -> None:
        if not self.radius_um > 0 or self.start_mm == self.end_mm:
            raise InputError(
                f"a vein needs two different ends and a positive radius, but runs from {self.start_mm} "
                f"to {self.end_mm} with {self.radius_um} µm."
            )


Source = Point | Cells | PlacedCells | Sphere | Ellipsoid | Vein


def build_bubble(position_mm: Position, radius_um: float) -> Sphere:
    """A gas bubble in water: paramagnetic against it, and without signal, so moment and void are bound."""
    return Sphere(position_mm, radius_um, CHI_AIR - CHI_WATER, kind="air")


def build_graft(
    centre_mm: Position,
    half_axes_um: tuple[float, float, float],
    moment_am2: float,
    b0_t: float,
    *,
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    iron_pg: float = math.nan,
    n_cells: float = math.nan,
) -> Ellipsoid:
    """A solid graft of ``moment_am2``, spread evenly over an ellipsoid.

    The mean field is that of its susceptibility μ0·m/(V·B0). Between the cells the field is uneven: signal
    relaxes there at the rate of static dephasing (``physics.relaxation``), an upper bound where water moves.
    """
    volume_m3 = 4 * math.pi / 3 * math.prod(half_axes_um) * 1e-18
    magnetisation = moment_am2 / volume_m3
    return Ellipsoid(
        centre_mm,
        half_axes_um,
        MU0 * magnetisation / b0_t,
        "labelled",
        rotation_deg,
        float(static_dephasing_r2prime_per_s(magnetisation)),
        iron_pg,
        n_cells,
    )


def build_affine(
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> NDArray[np.float64]:
    """An affine (4, 4) with the volume's centre at the scanner's origin.

    ``rotation_deg`` turns the array about scanner x, then y, then z.
    """
    affine = np.eye(4)
    affine[:3, :3] = build_rotation(rotation_deg) @ np.diag(voxel_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def build_rotation(rotation_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """The matrix (3, 3) that turns about x, then y, then z."""
    cosines, sines = np.cos(np.deg2rad(rotation_deg)), np.sin(np.deg2rad(rotation_deg))
    about_x = np.array([[1, 0, 0], [0, cosines[0], -sines[0]], [0, sines[0], cosines[0]]])
    about_y = np.array([[cosines[1], 0, sines[1]], [0, 1, 0], [-sines[1], 0, cosines[1]]])
    about_z = np.array([[cosines[2], -sines[2], 0], [sines[2], cosines[2], 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass(frozen=True)
class ScanSpec:
    """Everything that decides a simulated scan, but its random numbers.

    Parameters
    ----------
    shape, affine : voxels along each axis; voxel indices to RAS+ mm (see ``build_affine``)
    b0_t, b0_direction, phase_sign : as in ``Scan``
    echo_times_s : seconds
    sources : what lies in the tissue
    snr : signal of tissue at TE 0 (which is 1) over the noise of one real channel; infinite for none
    r2star_per_s : relaxation of the tissue
    point_spread : ``box`` averages over the voxel; ``kspace`` truncates k-space
    support : k-space acquired along each axis; signal and noise are zero beyond it
    tissue_fraction : half axes of the tissue over half the field of view; infinite fills it
    tissue_shape : an ellipsoid, or a round tube along the first axis: as wide as the second axis allows, open at
        the low end and closed by half a ball at the high end
    receive_variation : largest relative deviation of the smooth receive profile
    background_hz : largest magnitude of the smooth background field
    phase_offset_rad : phase at TE 0
    coil_phase_rad : largest magnitude of its smooth variation
    texture_ppm : standard deviation of random tissue susceptibility
    texture_mm : its correlation length (standard deviation of a Gaussian); 0 leaves voxels independent
    r2star_variation, density_variation : largest relative deviation of R2* and of the signal at TE 0 between
        regions of tissue
    structure_mm : size of those regions, and twice that of fat's streaks
    fat_share : share of the tissue that is fat, with its spectrum (``physics.fat``) and susceptibility
    is_fat_diffuse : whether fat is droplets, as in a steatotic liver, whose share of a voxel varies between none and
        twice the mean; otherwise streaks and patches of nothing else, as in muscle
    bandwidth_hz : receiver bandwidth per voxel along the readout; infinite acquires all of k-space at once
    readout_axis : array axis of the readout; a stronger field moves signal up that axis
    is_bipolar : whether every other echo, the second first, is read backwards and displaced the other way
    motion_mm : displacement (RAS+) of all that is seen at each echo; empty for none
    noise_variation : largest relative deviation of the noise's standard deviation over the image
    sub_sampling : fine cells per voxel edge at a source; a power of two
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    echo_times_s: tuple[float, ...]
    b0_t: float
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    phase_sign: PhaseSign = PhaseSign.POSITIVE
    sources: tuple[Source, ...] = ()
    snr: float = math.inf
    r2star_per_s: float = 0.0
    point_spread: PointSpread = "box"
    support: Supports = FULL_SUPPORT
    tissue_fraction: float = math.inf
    tissue_shape: TissueShape = "ellipsoid"
    receive_variation: float = 0.0
    background_hz: float = 0.0
    phase_offset_rad: float = 0.0
    coil_phase_rad: float = 0.0
    texture_ppm: float = 0.0
    texture_mm: float = 0.0
    r2star_variation: float = 0.0
    density_variation: float = 0.0
    structure_mm: float = 1.0
    fat_share: float = 0.0
    is_fat_diffuse: bool = False
    bandwidth_hz: float = math.inf
    readout_axis: int = 0
    is_bipolar: bool = False
    motion_mm: tuple[Position, ...] = ()
    noise_variation: float = 0.0
    sub_sampling: int = 16

    def __post_init__(self) -> None:
        self.grid  # noqa: B018  (validates shape and affine)
        check_acquisition(self.point_spread, self.sub_sampling)
        if self.phase_sign not in (PhaseSign.NEGATIVE, PhaseSign.POSITIVE):
            raise InputError("a simulated scan needs a phase sign of +1 or -1; hide it from the scan afterwards.")
        if not self.snr > 0:
            raise InputError(f"snr must be positive (infinite for no noise), but is {self.snr}.")
        if not 1 / (2 * self.bandwidth_hz) < min(self.echo_times_s):
            raise InputError(
                f"the first readout must begin after time zero, but at {self.bandwidth_hz} Hz per voxel it lasts "
                f"{1e3 / self.bandwidth_hz:.2f} ms about {1e3 * min(self.echo_times_s):.2f} ms."
            )
        if len(self.motion_mm) not in (0, len(self.echo_times_s)):
            raise InputError(f"motion needs one displacement per echo, or none, but has {len(self.motion_mm)}.")
        for name in ("receive_variation", "noise_variation", "r2star_variation", "density_variation", "fat_share"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must lie in [0, 1), but is {getattr(self, name)}.")

    @property
    def grid(self) -> Grid:
        """The voxel lattice."""
        return Grid(self.shape, self.affine)


def check_acquisition(point_spread: str, sub_sampling: int) -> None:
    """Raise ``InputError`` unless the point spread is known and the sub-sampling a power of two from 2 on."""
    if point_spread not in ("box", "kspace"):
        raise InputError(f"point_spread must be 'box' or 'kspace', but is {point_spread!r}.")
    if sub_sampling < 2 or sub_sampling & (sub_sampling - 1):
        raise InputError(f"sub_sampling must be a power of two from 2 on, but is {sub_sampling}.")
