"""What to simulate of PET: the scanner, the body, its hot spots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types import Grid

Position = tuple[float, float, float]


@dataclass(frozen=True)
class PetScanner:
    """A cylindrical scanner, its slices reconstructed one by one.

    ``shape`` and ``voxel_mm`` are the image's; ``n_angles`` parallel projections over half a turn have bins of
    ``bin_mm`` that cover the image. ``fwhm_mm`` and ``axial_fwhm_mm`` are the widths of the detectors' Gaussian
    response across and along the axis; ``sensitivity`` the share of annihilations that are counted without
    attenuation. ``scatter`` and ``randoms`` are counts per true count; ``filter_fwhm_mm`` a Gaussian that smooths the
    image at the end.
    """

    name: str
    shape: tuple[int, int, int]
    voxel_mm: Position
    n_angles: int
    bin_mm: float
    fwhm_mm: float
    axial_fwhm_mm: float
    sensitivity: float
    scatter: float
    randoms: float
    iterations: int
    subsets: int
    filter_fwhm_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.n_angles % self.subsets:
            raise InputError(f"{self.n_angles} angles cannot be shared among {self.subsets} subsets; divide evenly.")
        if min(self.shape) < 4 or min(*self.voxel_mm, self.bin_mm, self.fwhm_mm, self.axial_fwhm_mm) <= 0:
            raise InputError(f"the scanner {self.name} needs four voxels along each axis, and positive sizes.")

    @property
    def n_bins(self) -> int:
        """Bins of a projection: enough for the image's diagonal."""
        diagonal = math.hypot(self.shape[0] * self.voxel_mm[0], self.shape[1] * self.voxel_mm[1])
        return 2 * math.ceil(diagonal / self.bin_mm / 2) + 4


@dataclass(frozen=True)
class Warm:
    """An ellipsoid of tissue along the image's axes; ``bq_ml`` is added to what it lies in.

    ``mu_per_mm`` is its attenuation of annihilation photons, added likewise.
    """

    centre_mm: Position
    half_axes_mm: Position
    bq_ml: float
    mu_per_mm: float = 0.0


@dataclass(frozen=True)
class HotSphere:
    """A ball that holds ``activity_bq`` on top of what lies around it; centre in image millimetres (see PetSpec)."""

    centre_mm: Position
    radius_mm: float
    activity_bq: float


@dataclass(frozen=True)
class PetSpec:
    """A scan to simulate.

    Positions are scanner RAS+ mm, with the image's axes along ``affine`` (without it: along RAS+, the image's middle at
    0); ellipsoids lie along the image's own axes. ``half_life_s`` and ``positron_range_mm`` are the isotope's; the
    range is exponential in distance from the source (an assumption).
    """

    scanner: PetScanner
    tissue: tuple[Warm, ...]
    spheres: tuple[HotSphere, ...] = ()
    isotope: str = "18F"
    duration_s: float = 600.0
    affine: NDArray[np.float64] | None = None

    @property
    def grid(self) -> Grid:
        """The image's voxels."""
        if self.affine is not None:
            return Grid(self.scanner.shape, self.affine)
        affine = np.diag([*self.scanner.voxel_mm, 1.0])
        affine[:3, 3] = -(np.array(self.scanner.shape) - 1) / 2 * np.array(self.scanner.voxel_mm)
        return Grid(self.scanner.shape, affine)

    def to_image_mm(self, position_mm: Position) -> NDArray[np.float64]:
        """RAS+ mm (3,) to mm along the image's axes from its middle."""
        middle = (np.array(self.scanner.shape) - 1) / 2
        return np.asarray((self.grid.to_ijk(position_mm) - middle) * np.array(self.scanner.voxel_mm))


#: Attenuation of 511 keV photons in water, per mm. Assumption (commonly 0.096 per cm).
WATER_MU_PER_MM: Final = 0.0096

#: Scanners of a plausible make, no one's in particular: every number is an assumption.
PET_SCANNERS: Final[dict[str, PetScanner]] = {
    scanner.name: scanner
    for scanner in (
        PetScanner("small-animal", (64, 64, 40), (0.6, 0.6, 0.8), 96, 0.6, 1.3, 1.4, 0.03, 0.1, 0.1, 6, 12),
        PetScanner("clinical", (96, 88, 36), (4.0, 4.0, 3.27), 112, 4.0, 5.0, 5.0, 0.01, 0.4, 0.6, 8, 16, 5.0),
    )
}


def build_pet_spec(preset: str, spheres: tuple[HotSphere, ...] = (), *, organ: bool = True) -> PetSpec:
    """A mouse (``small-animal``) or the trunk of a patient (``clinical``), 18F; sizes and uptake are assumptions.

    ``organ`` adds a warm ellipsoid of twice the background's activity. The body reaches beyond the axial field of view.
    """
    if preset not in PET_SCANNERS:
        raise InputError(f"a PET preset is one of {', '.join(PET_SCANNERS)}, but was {preset!r}.")
    scanner = PET_SCANNERS[preset]
    mouse = preset == "small-animal"
    size, bq_ml = (1.0, 1e5) if mouse else (11.0, 5e3)
    body = Warm((0.0, 0.0, 0.0), (14 * size, 11 * size, 40 * size), bq_ml, WATER_MU_PER_MM)
    liver = Warm((5 * size, -2 * size, -6 * size / (1 if mouse else 4)), (5 * size, 4 * size, 4 * size), bq_ml)
    return PetSpec(scanner, (body, liver) if organ else (body,), spheres, duration_s=600.0 if mouse else 180.0)
