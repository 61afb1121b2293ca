"""Melanomas of mice, measured by caliper through treatment: those that came back are called, the others never."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from ferrosight.relapse import weigh_evidence
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

pytestmark = pytest.mark.data

NOISE_MM3, CALIPER_REL_SD = 2.0, 0.2


@pytest.fixture(scope="module")
def curves(data_dir):
    path = data_dir / "growth" / "mouse-melanoma-tumr-gpl3.csv"
    points: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        if row["Volume"] not in ("", "NA"):
            points.setdefault(row["ID"], []).append((float(row["Day"]), float(row["Volume"])))
    return [np.array(one).T for one in points.values()]


def is_called(curve, rng):
    days, volumes = curve
    sds = np.full((1, len(days)), NOISE_MM3)
    volume = Measured(
        "volume",
        volumes[None] + NOISE_MM3 * rng.standard_normal((1, len(days))),
        sds,
        np.zeros(1, dtype=np.int64),
        np.zeros((1, 3)),
        factor_sd_max=CALIPER_REL_SD,
    )
    new = np.zeros(len(days), dtype=np.int64)
    series = SubjectSeries(tuple(f"{day:g}" for day in days), days, ("",) * len(days), (volume,), new)
    return weigh_evidence(series, StudyDesign("prelabelled", sd_factor_max=1.3)).first_alarm >= 0


def test_those_that_came_back_are_called_and_the_others_are_not(curves):
    rng = np.random.default_rng(1)
    nadirs = [np.minimum.accumulate(volumes) for _, volumes in curves]
    risen = np.array([(v > 2 * low).any() and (v - low).max() > 50 for (_, v), low in zip(curves, nadirs, strict=True)])
    assert risen.sum() > 20
    assert (~risen).sum() >= 6
    for _ in range(5):
        called = np.array([is_called(curve, rng) for curve in curves])
        assert not called[~risen].any()
        assert called[risen].mean() > 0.9
