"""Tables survive the way to disk and back; a bad one is refused by file, column and line."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.errors import BidsError
from ferrosight.io.tables import describe_schema, read_table, write_table
from ferrosight.types import SCHEMAS, Column, Table, TableSchema

SCHEMA = TableSchema(
    "test",
    "A table with a column of every kind.",
    (
        Column("name", "", "string", "A name."),
        Column("mass_pg", "pg", "number", "A mass."),
        Column("n", "1", "integer", "A count."),
        Column("good", "", "boolean", "A verdict."),
    ),
)
TEXTS = (
    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=8)
    .map(str.strip)
    .filter(lambda t: t != "n/a")
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"name": TEXTS, "mass_pg": st.floats(), "n": st.integers(-(2**62), 2**62), "good": st.booleans()}
    ),
    max_size=6,
)


def assert_same(a: Table, b: Table) -> None:
    assert a.schema == b.schema
    assert len(a) == len(b)
    for name in a.schema.names:
        np.testing.assert_array_equal(a[name], b[name])


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_every_value_survives_exactly(tmp_path_factory, rows):
    table = Table.from_rows(SCHEMA, rows)
    path, _ = write_table(table, tmp_path_factory.mktemp("t") / "t.tsv")
    assert_same(read_table(SCHEMA, path), table)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_empty_table_is_a_file_with_all_columns(tmp_path, schema):
    path, described = write_table(Table(schema, {}), tmp_path / "t.tsv")
    assert path.read_text(encoding="utf-8") == "\t".join(schema.names) + "\n"
    assert_same(read_table(schema, path), Table(schema, {}))
    content = json.loads(described.read_text(encoding="utf-8"))
    assert content["SchemaVersion"] == schema.version
    for column in schema.columns:
        assert content[column.name]["Description"] == column.description
        assert content[column.name].get("Units", "") == column.unit


def test_what_stands_in_the_file(tmp_path):
    table = Table.from_rows(
        SCHEMA, [{"name": "", "mass_pg": float("nan"), "good": True}, {"name": "a", "mass_pg": 9.2e-14, "n": 3}]
    )
    path, described = write_table(table, tmp_path / "new" / "t.tsv", {"Label": "ferumoxytol"})
    assert path.read_text() == "name\tmass_pg\tn\tgood\nn/a\tn/a\t0\ttrue\na\t9.2e-14\t3\tfalse\n"
    assert described == path.with_name("t.json")
    assert json.loads(described.read_text())["Label"] == "ferumoxytol"


def test_extra_entries_cannot_hide_the_schema(tmp_path):
    with pytest.raises(ValueError, match="mass_pg"):
        write_table(Table(SCHEMA, {}), tmp_path / "t.tsv", {"mass_pg": 1})
    assert set(describe_schema(SCHEMA)) == {"Description", "SchemaVersion", *SCHEMA.names}


def test_a_value_that_would_break_the_file_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="name"):
        write_table(Table.from_rows(SCHEMA, [{"name": "a\tb"}]), tmp_path / "t.tsv")
    assert not list(tmp_path.iterdir())


def write(tmp_path, text):
    path = tmp_path / "t.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_may_come_in_any_order_among_others(tmp_path):
    path = write(tmp_path, "good\textra\tn\tmass_pg\tname\r\nTRUE\t?\tn/a\t 1e3 \tn/a\r\n\r\n")
    table = read_table(SCHEMA, path)
    assert len(table) == 1
    assert (table["name"][0], table["mass_pg"][0], table["n"][0], table["good"][0]) == ("", 1000.0, 0, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("\n", ["empty"]),
        ("name\tn\tgood\n", [r"column\(s\) mass_pg", "name, n, good"]),
        ("name\tmass_pg\tn\tgood\tn\n", ["n comes twice"]),
        ("name\tmass_pg\tn\tgood\na\tabc\t1\ttrue\n", ["line 2", "mass_pg", "a number", "'abc'"]),
        ("name\tmass_pg\tn\tgood\na\t1\t1\ttrue\nb\t1\t1.5\ttrue\n", ["line 3", "column n", "whole number", "'1.5'"]),
        ("name\tmass_pg\tn\tgood\na\t1\t1\tyes\n", ["line 2", "good", "true or false"]),
        ("name\tmass_pg\tn\tgood\na\t1\t1\n", ["line 2", "expected 4", "found 3"]),
        (b"name\xff\xfe\n", ["tab-separated"]),
    ],
)
def test_a_bad_table_is_refused_by_name(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(BidsError) as caught:
        read_table(SCHEMA, path)
    for word in (re.escape(str(path)), *words):
        assert re.search(word, str(caught.value)), str(caught.value)


def test_a_missing_table_is_refused_by_name(tmp_path):
    with pytest.raises(BidsError, match="absent"):
        read_table(SCHEMA, tmp_path / "absent.tsv")
