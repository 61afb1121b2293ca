"""What a registration sees of PET: the body, without the spots that are found in it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.errors import AnalysisError
from ferrosight.pet import build_pet_image
from ferrosight.types import PET_CLUSTERS, PetResponse, PetScan, Table


def test_accepted_spots_are_left_out_and_the_rest_of_the_body_is_not(
    empty_scans: list[PetScan], response: PetResponse
) -> None:
    places = np.array([[-6.0, 0.0, 4.0], [3.0, 5.0, 2.0]])
    columns = {f"{axis}_mm": places[:, a] for a, axis in enumerate("xyz")}
    spots = Table(PET_CLUSTERS, {**columns, "status": np.array(["accepted", "rejected"]), "radius_mm": [1.0, 1.0]})
    image = build_pet_image(empty_scans[0], response, spots)
    ijk = np.round(image.grid.to_ijk(places)).astype(int)
    assert image.mask[tuple(ijk.T)].all()
    assert image.excluded[tuple(ijk.T)].tolist() == [True, False]
    radius = 1.0 + max(response.fwhm_mm)
    volume = image.excluded.sum() * np.prod(image.grid.voxel_mm)
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1)
    inside = np.linalg.norm(image.grid.to_mm(np.argwhere(image.mask))[:, :2] / (14, 11), axis=1)
    assert inside.max() < 1.2


def test_an_image_without_a_body_is_refused(empty_scans: list[PetScan], response: PetResponse) -> None:
    nothing = dataclasses.replace(empty_scans[0], data=np.zeros_like(empty_scans[0].data))
    with pytest.raises(AnalysisError, match="body"):
        build_pet_image(nothing, response, Table(PET_CLUSTERS, {}))
