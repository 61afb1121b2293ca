"""The scanner's point spread: measured in the scan of a point source, or as stated."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ferrosight.errors import AnalysisError, SidecarError
from ferrosight.pet.template import Templates
from ferrosight.physics.isotopes import find_isotope
from ferrosight.types.config import PetConfig
from ferrosight.types.pet import PetResponse, PetScan

Array = NDArray[np.float64]
#: The window reaches this many first guesses of the width to either side.
_REACH = 2.5
#: Share of the window's signal, squared, that a good model leaves at most.
_MOST_LEFT = 0.1


def state_point_spread(scan: PetScan, config: PetConfig) -> PetResponse:
    """The point spread that the settings state, or else the scan; the positrons' range is that of the isotope.

    The width along the scanner's axis goes to the array axis that lies nearest to it. Of an isotope that is not known
    the range is taken to be in the widths.

    Raises
    ------
    SidecarError
        Where neither states a width.
    """
    isotope = find_isotope(scan.isotope)
    range_mm = 0.0 if isotope is None else isotope.positron_range_mm
    if config.fwhm_mm:
        widths = [config.fwhm_mm] * 3
        widths[int(np.abs(scan.grid.axes[2]).argmax())] = config.axial_fwhm_mm or config.fwhm_mm
        return PetResponse((widths[0], widths[1], widths[2]), range_mm)
    if scan.point_spread_mm is None:
        raise SidecarError(
            "the width of a point in the image is needed to find hot spots, but is not known; measure it in a point "
            "source and state it as PointSpreadFWHM (mm) in the sidecar, or by the setting pet.fwhm_mm."
        )
    return PetResponse(scan.point_spread_mm, range_mm)


def measure_point_spread(
    scan: PetScan, position_mm: Array, guess_mm: float, positron_range_mm: float = 0.0
) -> PetResponse:
    """Widths along the array's axes of a small source in a uniform surrounding, near ``position_mm`` (RAS+).

    Place, activity, level and three widths are fitted by least squares in a box about the brightest voxel within
    ``guess_mm``, the width to be expected. ``positron_range_mm`` is the isotope's, which keeps the widths those of the
    scanner.

    Raises
    ------
    AnalysisError
        Where the box leaves the image, or no width makes a point look like what is there.
    """
    image = scan.average_frames()
    voxel = np.array(scan.grid.voxel_mm)
    half = np.ceil(_REACH * guess_mm / voxel).astype(int)
    middle = _find_brightest(image, scan.grid.to_ijk(position_mm), guess_mm / voxel)
    if (middle < half).any() or (middle + half >= image.shape).any():
        raise AnalysisError(
            f"a point source must lie {_REACH * guess_mm:.3g} mm from the image's borders, but is nearer; move it."
        )
    box = image[tuple(slice(int(m - h), int(m + h + 1)) for m, h in zip(middle, half, strict=True))]
    level = float(np.median(box))
    volume_ml = float(np.prod(voxel)) * 1e-3
    size = (int(half[0]), int(half[1]), int(half[2]))

    def residual(parameters: Array) -> Array:
        widths = np.exp(parameters[:3])
        response = PetResponse((float(widths[0]), float(widths[1]), float(widths[2])), positron_range_mm)
        point = Templates(response, scan.grid.voxel_mm, size).build(parameters[3:6], 0.0)[0]
        return np.asarray((parameters[6] * point * volume_ml + parameters[7] - box / scale).ravel())

    scale = float((box - level).sum())
    if scale <= 0:
        raise AnalysisError("a point source must be brighter than its surroundings, but nothing is there.")
    start = np.array([*[math.log(guess_mm)] * 3, 0.0, 0.0, 0.0, 1 / volume_ml, level / scale])
    found = least_squares(residual, start, x_scale=[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 1 / volume_ml, level / scale + 1e-3])
    signal = box / scale - found.x[7]
    if not found.success or 2 * found.cost > _MOST_LEFT * float((signal**2).sum()):
        raise AnalysisError(
            f"no point spread fits the source near {np.round(position_mm, 2).tolist()} mm; give the place of a source "
            "much smaller than the point spread, and the width to be expected."
        )
    widths = np.exp(found.x[:3])
    return PetResponse((float(widths[0]), float(widths[1]), float(widths[2])), positron_range_mm)


def _find_brightest(image: Array, ijk: Array, reach: Array) -> NDArray[np.int_]:
    low = np.clip(np.floor(ijk - reach).astype(int), 0, np.array(image.shape) - 1)
    high = np.clip(np.ceil(ijk + reach).astype(int) + 1, low + 1, image.shape)
    box = image[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    return np.asarray(low + np.array(np.unravel_index(int(box.argmax()), box.shape)))
