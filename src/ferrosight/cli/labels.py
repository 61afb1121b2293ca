"""``ferrosight labels``: the iron oxides known by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ferrosight.cli.output import print_json, print_table

if TYPE_CHECKING:
    from ferrosight.types import Label

#: Field strengths at which the table gives the magnetisation, tesla.
FIELDS_T = (1.5, 3.0, 7.0, 9.4)


def labels(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the known iron oxides and where their numbers come from."""
    from ferrosight.physics.labels import LABELS, magnetisation_am2_per_kg_fe

    rows = []
    for label in LABELS.values():
        at_fields = {f"{b0:g}": magnetisation_am2_per_kg_fe(label, b0) for b0 in FIELDS_T}
        rows.append((label, at_fields))
    if as_json:
        print_json({"labels": [{**vars(label), "magnetisation_am2_per_kg_fe_at_t": fields} for label, fields in rows]})
        return
    sources: dict[str, int] = {}
    for label, _ in rows:
        sources.setdefault(_source(label), len(sources) + 1)
    print("Magnetisation, A m² per kg of iron, at B0; ± is one standard deviation:\n")
    print_table(
        ["label", *(f"{b0:g} T" for b0 in FIELDS_T), "±", "core", "iron per cell", "source"],
        [
            [
                label.label_id,
                *(f"{value:.1f}" for value in fields.values()),
                f"{label.ms_rel_sd:.0%}",
                "saturated" if label.core_diameter_nm is None else f"{label.core_diameter_nm:g} nm",
                "not fixed" if label.load is None else f"{label.load.mean_pg:g} ± {label.load.sd_pg:g} pg",
                f"[{sources[_source(label)]}]",
            ]
            for label, fields in rows
        ],
    )
    print()
    for source, number in sources.items():
        print(f"[{number}] {source}")


def _source(label: Label) -> str:
    return label.ms_source + (f"; {label.core_source}" if label.core_source else "")
