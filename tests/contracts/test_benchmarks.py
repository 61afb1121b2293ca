"""Benchmarks take hours, so no test runs them: but what they call must be there, with the arguments they give."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "benchmarks").glob("*.py"))


def imported_callables(tree: ast.Module) -> dict[str, Any]:
    """Whatever a script imports from the package by name and calls by that name."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ferrosight":
            module = importlib.import_module(str(node.module))
            found |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
    return {name: getattr(thing, "py_func", thing) for name, thing in found.items() if callable(thing)}


def misfits(tree: ast.Module) -> Iterator[str]:
    """Calls whose arguments the called does not take; those that unpack a list or mapping cannot be told."""
    known = imported_callables(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in known:
            continue
        names = [one.arg for one in node.keywords]
        if any(isinstance(one, ast.Starred) for one in node.args) or None in names:
            continue
        try:
            inspect.signature(known[node.func.id]).bind(*node.args, **dict.fromkeys(filter(None, names)))
        except TypeError as error:
            yield f"line {node.lineno}: {node.func.id}: {error}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_calls_what_is_there(path: Path) -> None:
    assert list(misfits(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_a_call_with_an_argument_too_many_is_told() -> None:
    tree = ast.parse("from ferrosight.types import name_clusters\nname_clusters(1, 2, 3, 4, 5, 6)")
    assert len(list(misfits(tree))) == 1
