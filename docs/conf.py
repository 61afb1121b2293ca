"""How Sphinx builds the documentation: ``uv run --group docs sphinx-build -W -b html docs docs/_build``."""

from __future__ import annotations

import sys
from pathlib import Path

import ferrosight

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Ferrosight"
author = copyright = "The Ferrosight developers"
version = release = ferrosight.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]
smartquotes = False  # "" in a docstring is an empty string

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings give types with shapes and units
napoleon_google_docstring = False

html_theme = "furo"
html_title = f"Ferrosight {release}"
html_copy_source = False
