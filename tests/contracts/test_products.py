"""Every registered product is written by somebody: the documentation lists them all."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = json.loads((ROOT / "src" / "ferrosight" / "io" / "outputs.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("product", REGISTRY)
def test_every_product_is_written(product: str, trees: dict[str, ast.Module]) -> None:
    writers = [
        path
        for path, tree in trees.items()
        if path.startswith("study/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == product
    ]
    assert writers, f"nothing in study writes the product {product}"
