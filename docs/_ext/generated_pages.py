"""Write the parts of the documentation that the code already knows, so that they cannot fall behind.

Before each build this fills ``docs/_generated`` with MyST fragments that the pages include: every setting,
every flag, every file that is written, the columns of every table, and the command line's own help.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ferrosight.types import FLAG_INFO, SCHEMAS, Config
from ferrosight.uptake.published import PUBLISHED_LOADS


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_fragments(Path(app.srcdir) / "_generated"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_fragments(folder: Path) -> None:
    """Write every fragment; a file that would not change is left alone, so that nothing is rebuilt."""
    folder.mkdir(exist_ok=True)
    fragments = (settings, flags, products, schemas, published_loads, uptake_example, command_line)
    for text, name in ((make(), make.__name__) for make in fragments):
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def settings() -> str:
    """A table of settings per stage."""
    parts = []
    for stage in dataclasses.fields(Config()):
        config = getattr(Config(), stage.name)
        rows = []
        for field in dataclasses.fields(config):
            info = field.metadata["setting"]
            allowed = ", ".join(f"`{choice}`" for choice in info.choices) or _bounds(info.low, info.high)
            rows.append((f"`{stage.name}.{field.name}`", f"`{field.default}`", allowed, info.doc))
        parts.append(f"## {stage.name}\n\n{type(config).__doc__}\n")
        parts.append(_table(("setting", "default", "allowed", "meaning"), rows))
    return "\n".join(parts)


def flags() -> str:
    """Reasons and remarks, from the flag registry."""
    parts = []
    for rejects, title in ((True, "Reasons"), (False, "Remarks")):
        rows = [(f"`{info.name}`", info.description) for info in FLAG_INFO.values() if info.rejects is rejects]
        parts.append(f"### {title}\n\n{_table(('name', 'meaning'), rows)}")
    return "\n".join(parts)


def products() -> str:
    """Every file below the output folder, from the registry of products."""
    registry = json.loads(files("ferrosight.io").joinpath("outputs.json").read_text(encoding="utf-8"))
    return _table(("file", "what"), [(f"`{entry['path']}`", entry["description"]) for entry in registry.values()])


def schemas() -> str:
    """The columns of every table, from the schemas."""
    parts = []
    for schema in SCHEMAS.values():
        rows = [
            (f"`{c.name}`", c.unit.replace(" ", "\N{NO-BREAK SPACE}"), c.dtype, c.description) for c in schema.columns
        ]
        parts.append(f"## {schema.name}\n\n{schema.description} (Layout version {schema.version}.)\n")
        parts.append(_table(("column", "unit", "type", "meaning"), rows))
    return "\n".join(parts)


def published_loads() -> str:
    """Iron per cell as published."""
    rows = []
    for load in PUBLISHED_LOADS:
        spread = "" if math.isnan(load.sd_pg) else f" ± {load.sd_pg:g}"
        rows.append((load.cells, load.label, f"{load.bound} {load.mean_pg:g}{spread}".strip(), load.source))
    return _table(("cells", "label", "pg of iron per cell", "source"), rows)


def uptake_example() -> str:
    """What the worked example of uptake prints, as it is now."""
    script = Path(__file__).resolve().parents[1] / "examples" / "uptake.py"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script)]
        # Matrices of a few rows: threads would only wait for each other.
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=True)
    return f"```text\n{done.stdout.strip()}\n```\n"


def command_line() -> str:
    """``--help`` of the program and of each of its commands."""
    import typer

    from ferrosight.cli import app

    return "\n".join(
        f"## {' '.join(['ferrosight', *words])}\n\n```text\n{_help(words)}\n```\n"
        for words in ([], *_walk(typer.main.get_command(app), []))
    )


def _walk(command: Any, words: list[str]) -> list[list[str]]:
    """The words of every command below this one, groups before what is in them."""
    found = []
    for name, below in getattr(command, "commands", {}).items():
        found += [[*words, name], *_walk(below, [*words, name])]
    return found


def _help(words: list[str]) -> str:
    program = str(Path(sys.executable).with_name("ferrosight"))
    plain = {"COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([program, *words, "--help"], env=plain, capture_output=True, encoding="utf-8", check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"{'−∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heading, tuple("---" for _ in heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
