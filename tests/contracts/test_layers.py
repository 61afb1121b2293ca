"""Rooms import only downwards, and the check that says so can fail."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(config: Path, source: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--config", str(config)]
    env = {**os.environ, "PYTHONPATH": str(source), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, cwd=source, env=env, capture_output=True, encoding="utf-8", check=False)


def test_every_room_imports_only_from_the_layers_below_it(root: Path) -> None:
    done = lint_imports(root / "pyproject.toml", root / "src")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_room_reaches_another_through_the_package(trees: dict[str, ast.Module]) -> None:
    """``from ferrosight import analyse_scan`` would pass by the layers; only the version is taken that way."""
    through = [
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        if not path.startswith(("cli/", "review/"))
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "ferrosight" for alias in node.names))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "ferrosight"
            and any(alias.name != "__version__" for alias in node.names)
        )
    ]
    assert through == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("field", "import ferrosight.clusters"),
        ("io", "import ferrosight.field"),
        ("types", "import ferrosight.physics"),
        ("errors", "import ferrosight.types"),
        ("numerics", "import ferrosight.physics"),
        ("physics", "import ferrosight.io"),
        ("clusters", "import ferrosight.study"),
        ("evaluate", "import ferrosight.clusters"),
        ("study", "import ferrosight.cli"),
        ("no_such_room", "import ferrosight.types"),
    ],
)
def test_an_import_upwards_or_sideways_is_refused(root: Path, tmp_path: Path, room: str, line: str) -> None:
    rooms = ["errors", "types", "physics", "numerics", "field", "clusters", "io", "study", "cli", room]
    for name in rooms:
        (tmp_path / "ferrosight" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "ferrosight" / name / "__init__.py").touch()
    (tmp_path / "ferrosight" / "__init__.py").touch()
    shutil.copy(root / "pyproject.toml", tmp_path)
    assert lint_imports(tmp_path / "pyproject.toml", tmp_path).returncode == (1 if room == "no_such_room" else 0)
    (tmp_path / "ferrosight" / room / "culprit.py").write_text(line + "\n", encoding="utf-8")
    assert lint_imports(tmp_path / "pyproject.toml", tmp_path).returncode == 1
