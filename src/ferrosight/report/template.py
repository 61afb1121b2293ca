"""What every page shares: its templates, and how it reaches the disk."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ferrosight.errors import InputError

RESEARCH_ONLY = "Research use only. Not a diagnostic device."


@dataclass(frozen=True)
class Cell:
    """A table cell: what is shown, the number it is sorted by (None: by its text), and a small line below."""

    text: str
    key: float | None = None
    note: str = ""


@lru_cache(maxsize=4)
def load_template(name: str) -> Template:
    """A template of this package; what it prints is escaped, and a name that it lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a page (as UTF-8) or a figure: whole, or not at all. The folder must exist.

    Raises InputError where it cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        try:
            partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); make room, allow it, or choose another folder."
        ) from error
