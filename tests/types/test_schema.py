"""The columns that outsiders rely on."""

from __future__ import annotations

import pytest

from ferrosight.types import CLUSTERS, SCHEMAS, TRUTH, Column, TableSchema

COLUMNS = [(schema, column) for schema in SCHEMAS.values() for column in schema.columns]


def test_the_clusters_table_is_the_published_one() -> None:
    published = (
        "cluster_id x_mm y_mm z_mm x_mm_err y_mm_err z_mm_err moment_am2 moment_am2_err moment_am2_low "
        "moment_am2_high iron_pg iron_pg_low iron_pg_high n_cells n_cells_low n_cells_high "
        "score p_value q_value expected_false status reasons estimator"
    )
    assert " ".join(CLUSTERS.names) == published


def test_the_truth_table_is_the_published_one() -> None:
    assert " ".join(TRUTH.names) == (
        "x_mm y_mm z_mm moment_am2 iron_pg n_cells kind radius_mm axis_x_mm axis_y_mm axis_z_mm object_id"
    )


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_names_are_unique(schema: TableSchema) -> None:
    assert len(set(schema.names)) == len(schema.names)


@pytest.mark.parametrize(("schema", "column"), COLUMNS, ids=lambda value: value.name)
def test_every_column_is_a_sentence_and_carries_its_unit(schema: TableSchema, column: Column) -> None:
    assert column.description.endswith("."), schema.name
    suffix = {"mm": "_mm", "pg": "_pg", "A m²": "_am2", "µm": "_um", "voxel": "_voxel"}.get(column.unit, "")
    assert suffix in column.name
    assert bool(column.unit) == (column.dtype not in {"string", "boolean"})


@pytest.mark.parametrize(("schema", "column"), COLUMNS, ids=lambda value: value.name)
def test_every_error_has_what_it_is_the_error_of(schema: TableSchema, column: Column) -> None:
    for suffix in ("_err", "_low", "_high"):
        if column.name.endswith(suffix):
            assert schema.column(column.name.removesuffix(suffix)).unit == column.unit
