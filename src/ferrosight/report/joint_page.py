"""One self-contained page per PET scan with MRI: both pictures in one, and what each says of every candidate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ferrosight.report import numbers
from ferrosight.report.overview import draw_fused_overview
from ferrosight.report.template import RESEARCH_ONLY, Cell, load_template, write_whole
from ferrosight.types import FieldMap, Scan, Table

#: Longer lists are cut; the TSV beside the page holds all of them.
MAX_ROWS = 500
_FINDINGS = {
    "both": "iron and activity",
    "iron_without_activity": "iron without activity",
    "activity_without_iron": "activity without iron",
    "undecided": "undecided",
}
_COLUMNS = (
    ("", ""), ("finding", ""), ("moment", "± SD"), ("moment at most", "95 %"), ("MRI", "score, p"),
    ("activity", "Bq ± SD"), ("activity at most", "Bq, 95 %"), ("PET", "score, p"), ("both", "score"),
    ("false", "expected"), ("q", ""), ("place", "RAS+ mm"), ("id", ""),
)  # fmt: skip


def write_joint_report(
    path: Path | str,
    title: str,
    scan: Scan,
    field_map: FieldMap,
    pet: NDArray[np.float32],
    unit: str,
    clusters: Table,
    *,
    notes: Sequence[str],
    provenance: Mapping[str, object],
) -> None:
    """Write the page of a visit's MRI and PET together: whole, or not at all. The folder must exist.

    ``pet`` (x, y, z) is PET, in ``unit``, on the MRI's grid, NaN where it does not reach; ``clusters`` the joint list
    (schema JOINT_CLUSTERS).
    """
    accepted = clusters.where(clusters["status"] == "accepted")
    words = [f"{row + 1}: {_FINDINGS.get(str(name), '')}" for row, name in enumerate(accepted["finding"])]
    counts = Counter(accepted["finding"].tolist())
    figures = [{"name": "Candidates accepted", "value": f"{len(accepted):,}", "note": f"of {len(clusters):,}"}]
    figures += [
        {"name": words_of.capitalize(), "value": f"{counts.get(name, 0):,}", "note": ""}
        for name, words_of in _FINDINGS.items()
    ]
    rejected = clusters.where(clusters["status"] != "accepted")
    page = load_template("joint.html").render(
        title=title,
        figures=figures,
        warnings=(),
        notes=notes,
        few=True,
        research_only=RESEARCH_ONLY,
        fused_svg=Markup(draw_fused_overview(scan, field_map, pet, unit, accepted, words)),
        columns=_COLUMNS,
        accepted=_list_rows(accepted, "joint-"),
        rejected=_list_rows(rejected.where(np.arange(len(rejected)) < MAX_ROWS), ""),
        n_hidden=max(len(rejected) - MAX_ROWS, 0),
        provenance={str(key): str(value) for key, value in provenance.items()},
    )
    write_whole(path, page)


def _list_rows(table: Table, anchor: str) -> list[tuple[str, list[Cell]]]:
    rows = []
    for row in range(len(table)):
        one: dict[str, Any] = {name: values[row] for name, values in table.columns.items()}
        place = ", ".join(f"{one[f'{axis}_mm']:.2f}" for axis in "xyz")
        said = _FINDINGS.get(str(one["finding"]), str(one["reasons"]).replace("_", " ").replace(";", ", "))
        rows.append(
            (
                f"{anchor}{row + 1}" if anchor else "",
                [
                    Cell(str(row + 1), row + 1),
                    Cell(said),
                    Cell(numbers.format_moment(one["moment_am2"], one["moment_am2_err"]), one["moment_am2"]),
                    Cell(numbers.format_moment(one["upper_limit_moment_am2"]), one["upper_limit_moment_am2"]),
                    _score(one["score_mri"], one["p_value_mri"]),
                    Cell(_value(one["activity_bq"], one["activity_bq_err"]), one["activity_bq"]),
                    Cell(numbers.format_number(one["upper_limit_bq"]), one["upper_limit_bq"]),
                    _score(one["score_pet"], one["p_value_pet"]),
                    Cell(numbers.format_number(one["score"]), one["score"]),
                    Cell(numbers.format_number(one["expected_false"], 2), one["expected_false"]),
                    Cell(numbers.format_number(one["q_value"], 2), one["q_value"]),
                    Cell(place, one["z_mm"]),
                    Cell(str(one["cluster_id"])),
                ],
            )
        )
    return rows


def _score(score: float, p_value: float) -> Cell:
    return Cell(numbers.format_number(score), score, f"p {numbers.format_probability(p_value)}")


def _value(value: float, err: float) -> str:
    return numbers.format_pm(value, err) if math.isfinite(value) and math.isfinite(err) else numbers.NA
