"""No setting is silently ignored, and each is documented."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ferrosight.types import Config
from ferrosight.types.config import SettingInfo

SETTINGS = sorted(Config().as_dict())


def reads(tree: ast.Module) -> set[tuple[str, str]]:
    """(owner, attribute) of each ``owner.attribute`` and ``x.owner.attribute`` that the module reads."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            found.add((name, node.attr))
    return found


@pytest.mark.parametrize("dotted", SETTINGS)
def test_every_setting_is_consumed(dotted: str, trees: dict[str, ast.Module]) -> None:
    """Either ``….<stage>.<setting>`` is read anywhere, or ``…config.<setting>`` inside the stage's own room."""
    stage, _, name = dotted.partition(".")
    consumed = any(
        attribute == name and (owner == stage or (owner.endswith("config") and path.startswith(f"{stage}/")))
        for path, tree in trees.items()
        if not path.startswith("types/")
        for owner, attribute in reads(tree)
    )
    assert consumed, f"no module reads the setting {dotted}"


@pytest.mark.parametrize("dotted", SETTINGS)
def test_every_setting_is_documented(dotted: str, docs_extension: ModuleType) -> None:
    stage, _, name = dotted.partition(".")
    field = getattr(Config(), stage).__dataclass_fields__[name]
    info = field.metadata["setting"]
    assert isinstance(info, SettingInfo)
    assert info.doc.endswith(".")
    assert f"`{dotted}`" in docs_extension.settings()
    assert info.doc in docs_extension.settings()


@pytest.fixture(scope="module")
def docs_extension(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated_pages", root / "docs" / "_ext" / "generated_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
