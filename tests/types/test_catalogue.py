"""Patches of equal shape, and the accepted rows."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import CLUSTERS, FITS, NULLS, Catalogue, FitPatch, NullCalibration, PhaseSign, Table


def test_a_patchs_three_pictures_have_one_shape() -> None:
    data = np.zeros((2, 3, 5, 7), dtype=np.complex64)
    assert FitPatch("a", (0, 0, 0), data, data, data).model.shape == data.shape
    with pytest.raises(InputError, match="model must have shape"):
        FitPatch("a", (0, 0, 0), data, data[:1], data)


def test_a_catalogue_gives_its_accepted_rows_and_a_data_frame() -> None:
    null = NullCalibration(Table(NULLS, {}), np.zeros(0), np.zeros(0), 4.0, 1.0, 1.0, 0.1, 0, 5.0, {}, {}, 0)
    clusters = Table(CLUSTERS, {"cluster_id": ["a", "b"], "status": ["accepted", "rejected"]})
    catalogue = Catalogue(
        clusters=clusters,
        fits=Table(FITS, {"cluster_id": ["a", "b"]}),
        null=null,
        patches=(),
        phase_sign=PhaseSign.POSITIVE,
        phase_sign_source="option",
        point_spread="box",
        q_threshold=0.05,
    )
    assert catalogue.accepted["cluster_id"].tolist() == ["a"]
    assert catalogue.to_pandas()["status"].tolist() == ["accepted", "rejected"]
