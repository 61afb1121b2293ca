"""A table always has all its columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.types import CLUSTERS, SCHEMAS, Column, Table, TableSchema

SCHEMA = TableSchema(
    "sample",
    "One column of each type.",
    (
        Column("name", "", "string", "A name."),
        Column("mass_pg", "pg", "number", "A mass."),
        Column("n", "1", "integer", "A count."),
        Column("seen", "", "boolean", "A fact."),
    ),
)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_an_empty_table_has_all_its_columns(schema: TableSchema) -> None:
    table = Table(schema, {})
    assert len(table) == 0
    assert tuple(table.columns) == schema.names
    assert list(table.to_pandas().columns) == list(schema.names)


def test_what_is_missing_is_filled() -> None:
    table = Table(SCHEMA, {"name": ["a", "b"]})
    assert table["name"].tolist() == ["a", "b"]
    assert np.isnan(table["mass_pg"]).all()
    assert table["n"].tolist() == [0, 0]
    assert table["seen"].tolist() == [False, False]


def test_columns_come_in_the_schemas_order_and_types() -> None:
    table = Table(SCHEMA, {"seen": [True], "n": [3], "mass_pg": [1], "name": ["a"]})
    assert tuple(table.columns) == SCHEMA.names
    assert [table[name].dtype.kind for name in SCHEMA.names] == ["U", "f", "i", "b"]


def test_an_unknown_column_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no column.*colour"):
        Table(SCHEMA, {"colour": ["red"]})


def test_columns_of_unequal_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Table(SCHEMA, {"name": ["a"], "n": [1, 2]})


def test_rows_may_lack_keys() -> None:
    table = Table.from_rows(SCHEMA, [{"name": "a", "mass_pg": 1.5}, {"mass_pg": 2.5, "n": 4}])
    assert table["name"].tolist() == ["a", ""]
    assert table["mass_pg"].tolist() == [1.5, 2.5]
    assert table["n"].tolist() == [0, 4]


def test_no_rows_are_a_table_too() -> None:
    assert len(Table.from_rows(SCHEMA, [])) == 0


def test_a_row_with_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no column.*colour"):
        Table.from_rows(SCHEMA, [{"name": "a", "colour": "red"}])


@given(st.lists(st.booleans(), max_size=12))
def test_a_mask_and_its_indices_pick_the_same_rows(keep: list[bool]) -> None:
    table = Table(SCHEMA, {"n": np.arange(len(keep))})
    by_mask = table.where(np.array(keep, dtype=bool))
    by_index = table.where(np.flatnonzero(keep))
    assert by_mask["n"].tolist() == by_index["n"].tolist() == np.flatnonzero(keep).tolist()


def test_replaced_columns_leave_the_first_table_alone() -> None:
    first = Table(SCHEMA, {"n": [1, 2]})
    second = first.with_columns(n=[3, 4])
    assert (first["n"].tolist(), second["n"].tolist()) == ([1, 2], [3, 4])


def test_nobody_can_change_a_column() -> None:
    values = np.array([1.0, 2.0])
    table = Table(SCHEMA, {"mass_pg": values})
    with pytest.raises(ValueError, match="read-only"):
        table["mass_pg"][0] = 9
    values[0] = 9
    assert table["mass_pg"][0] == 1


def test_accepted_rows_of_the_clusters_table() -> None:
    table = Table(CLUSTERS, {"status": ["accepted", "rejected", "accepted"], "score": [9, 3, 7]})
    assert table.where(table["status"] == "accepted")["score"].tolist() == [9, 7]
