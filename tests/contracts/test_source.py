"""The house's rules on size, names and documentation."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ferrosight
from ferrosight import types

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 100
#: Test folders named after what they prove, not after a room.
NOT_ROOMS = {"contracts", "examples", "properties", "regression", "truth"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public functions, classes, and the public methods of public classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body, f"{prefix}{node.name}.")


def test_no_module_is_over_500_lines(root: Path) -> None:
    sizes = {
        str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines())
        for path in root.glob("src/**/*.py")
    }
    assert {path: n for path, n in sizes.items() if n > MAX_MODULE_LINES} == {}


def test_no_function_is_over_100_lines(trees: dict[str, ast.Module]) -> None:
    sizes = {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in sizes.items() if n > MAX_FUNCTION_LINES} == {}


def test_no_module_is_a_drawer_of_odds_and_ends(trees: dict[str, ast.Module]) -> None:
    drawers = {"utils", "util", "helpers", "misc", "common"}
    assert [path for path in trees if Path(path).stem.strip("_") in drawers] == []


def test_every_module_says_what_it_is_for(trees: dict[str, ast.Module]) -> None:
    assert [path for path, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_every_public_name_has_a_docstring(trees: dict[str, ast.Module]) -> None:
    """A method that a documented base class already describes needs no second sentence."""
    found = [(path, *named) for path, tree in trees.items() for named in public_definitions(tree.body)]
    documented = {name for _, name, node in found if ast.get_docstring(node)}
    bases = {
        name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for _, name, node in found
        if isinstance(node, ast.ClassDef)
    }

    def is_inherited(name: str) -> bool:
        owner, _, method = name.rpartition(".")
        return any(f"{base}.{method}" in documented for base in bases.get(owner, []))

    assert [f"{path}:{name}" for path, name, _ in found if name not in documented and not is_inherited(name)] == []


def test_every_exported_name_is_in_the_api_pages(root: Path) -> None:
    api = (root / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in [*ferrosight.__all__, *types.__all__] if name not in api] == []


def test_stages_print_nothing_and_open_no_files(trees: dict[str, ast.Module]) -> None:
    touching = {"study", "io", "report", "cli", "review"}
    calls = [
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        if path.partition("/")[0] not in touching
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "open"}
    ]
    assert calls == []


def test_every_test_file_mirrors_a_module(root: Path, trees: dict[str, ast.Module]) -> None:
    homeless = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        relative = path.relative_to(root / "tests")
        if relative.parts[0] in NOT_ROOMS:
            continue
        folder, name = relative.parent.as_posix().replace(".", ""), relative.stem.removeprefix("test_")
        places = [f"{name}.py", f"_{name}.py", f"{name}/__init__.py"]
        if not any("/".join(filter(None, [folder, place])) in trees for place in places):
            homeless.append(relative.as_posix())
    assert homeless == []
