"""Importing the package, its types or its command line loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"SimpleITK", "jinja2", "matplotlib", "nibabel", "numba", "pandas", "pydicom", "scipy", "skimage"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``code``."""
    ask = "import sys\n" + code + "\nsys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, encoding="utf-8", check=True)
    return set(done.stderr.split())


HELP = """
from ferrosight.cli import main
sys.argv = ["ferrosight", "--help"]
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize("code", ["import ferrosight", "import ferrosight.types", "import ferrosight.cli", HELP])
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_a_heavy_module_would_be_seen() -> None:
    assert "pandas" in loaded_after("import pandas")
