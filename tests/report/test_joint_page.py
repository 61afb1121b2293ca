"""The page of MRI and PET together shows both, every accepted row with what each says, and hides nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferrosight.report.joint_page import write_joint_report
from ferrosight.types import JOINT_CLUSTERS, Table

ROWS = [
    {
        "cluster_id": "a",
        "status": "accepted",
        "finding": "iron_without_activity",
        "moment_am2": 3e-13,
        "moment_am2_err": 2e-14,
        "upper_limit_moment_am2": 3.4e-13,
        "p_value_mri": 1e-7,
        "score_mri": 5.2,
        "activity_bq": 5.0,
        "activity_bq_err": 20.0,
        "upper_limit_bq": 37.0,
        "p_value_pet": 0.4,
        "score_pet": 0.3,
        "expected_false": 1e-4,
    },
    {"cluster_id": "far", "status": "accepted", "finding": "activity_without_iron", "x_mm": 999.0},
    {"cluster_id": "v", "status": "rejected", "reasons": "vein", "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0},
]


@pytest.fixture
def page(tmp_path: Path, oblique: Any) -> str:
    scan, field_map = oblique.scan, oblique.field_map
    middle = scan.grid.to_mm((np.array(scan.grid.shape) - 1) / 2)
    rows = [{**dict(zip(("x_mm", "y_mm", "z_mm"), map(float, middle), strict=True)), **row} for row in ROWS]
    pet = np.random.default_rng(0).random(scan.grid.shape).astype(np.float32)
    pet[:2] = np.nan
    path = tmp_path / "joint.html"
    write_joint_report(
        path, "a visit", scan, field_map, pet, "Bq/mL", Table.from_rows(JOINT_CLUSTERS, rows), notes=("A note.",),
        provenance={"version": "1"},
    )  # fmt: skip
    return path.read_text(encoding="utf-8")


def test_every_row_says_what_both_say(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for words in ("iron without activity", "activity without iron", "vein", "A note.", "37", "Bq/mL"):
        assert words in text
    assert 'id="joint-1"' in page
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", page)


def test_marks_lead_to_rows_and_those_beyond_the_mri_are_not_drawn(page: str) -> None:
    assert page.count('href="#joint-1"') == 3  # one per panel
    assert 'href="#joint-2"' not in page
    assert 'id="joint-2"' in page
