"""Tables line up, and JSON is strict."""

from __future__ import annotations

import json
import math

import pytest

from ferrosight.cli.output import print_json, print_table


def test_columns_start_below_their_heading(capsys):
    print_table(["name", "n"], [["a long name", "1"], ["µ", "23"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.index(cell) for line, cell in zip(lines, ["n", "-", "1", "23"], strict=True)][2:] == [13, 13]
    assert lines[0] == "name         n"


def test_a_table_without_rows_is_its_heading(capsys):
    print_table(["name"], [])
    assert capsys.readouterr().out == "name\n----\n"


def test_json_is_strict_and_keeps_greek(capsys):
    print_json({"χ²": 1.5})
    text = capsys.readouterr().out
    assert json.loads(text) == {"χ²": 1.5}
    assert "χ²" in text
    with pytest.raises(ValueError):
        print_json({"a": math.nan})
