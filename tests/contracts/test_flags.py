"""Every flag can be raised by something, and says what it means."""

from __future__ import annotations

import ast

import pytest

from ferrosight.types import FLAG_INFO, Flag


@pytest.mark.parametrize("flag", list(Flag), ids=lambda flag: str(flag.name))
def test_every_flag_is_registered_and_used(flag: Flag, trees: dict[str, ast.Module]) -> None:
    assert flag in FLAG_INFO
    users = [
        path
        for path, tree in trees.items()
        if path != "types/flags.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == flag.name
        and isinstance(node.value, ast.Name)
        and node.value.id == "Flag"
    ]
    assert users, f"nothing raises {flag!r}"


def test_flag_names_are_unique_and_sentences_end() -> None:
    names = [info.name for info in FLAG_INFO.values()]
    assert len(set(names)) == len(names)
    assert all(info.description.endswith(".") and ";" not in info.name for info in FLAG_INFO.values())
