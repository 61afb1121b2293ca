"""What a registration sees of a PET scan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import AnalysisError
from ferrosight.pet.noise import find_body
from ferrosight.types import Table, VisitImage
from ferrosight.types.pet import PetResponse, PetScan

#: Hot spots are left out this many point spreads beyond their radius.
_SPOT_FWHM = 1.0


def build_pet_image(scan: PetScan, response: PetResponse, hot_spots: Table) -> VisitImage:
    """The image of a PET scan for registration: the frames' mean, the body, and hot spots to be left out.

    ``hot_spots`` (schema PET_CLUSTERS): the accepted ones count, which MRI need not show at all.

    Raises
    ------
    AnalysisError
        Where the image holds no body.
    """
    image = scan.average_frames()
    widths = np.array([fwhm / edge for fwhm, edge in zip(response.fwhm_mm, scan.grid.voxel_mm, strict=True)])
    body = find_body(image, widths)
    spots = _mark_spots(scan, response, hot_spots)
    if not (body & ~spots).any():
        raise AnalysisError("a PET image needs a body outside of its hot spots to be registered, but holds none.")
    return VisitImage(scan.session, image.astype(np.float32), scan.grid, body, spots)


def _mark_spots(scan: PetScan, response: PetResponse, hot_spots: Table) -> NDArray[np.bool_]:
    """Voxels (x, y, z) that hot spots brighten."""
    accepted = hot_spots.where(hot_spots["status"] == "accepted")
    marked = np.zeros(scan.grid.shape, dtype=np.bool_)
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in scan.grid.shape), indexing="ij"), axis=-1)
    for row in range(len(accepted)):
        place = np.array([accepted[f"{axis}_mm"][row] for axis in "xyz"])
        reach = _SPOT_FWHM * max(response.fwhm_mm) + float(np.nan_to_num(accepted["radius_mm"][row]))
        away = np.linalg.norm((ijk - scan.grid.to_ijk(place)) * np.array(scan.grid.voxel_mm), axis=-1)
        marked |= away <= reach
    return marked
