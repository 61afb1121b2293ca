"""What was run, on what, with what: enough to run it again and to notice that an input has changed."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferrosight import __version__
from ferrosight.errors import InputError

if TYPE_CHECKING:
    from ferrosight.types import Config, IronPerCell, Label


def hash_files(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """SHA-256 of each file, by its path relative to ``root``, sorted.

    Raises InputError for one that cannot be read: a link to content that was never fetched, for example.
    """
    found = {}
    for path in sorted(set(paths)):
        try:
            with path.open("rb") as file:
                found[path.relative_to(root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            broken = "; it is a link, and what it leads to is not there: fetch it" if path.is_symlink() else ""
            raise InputError(
                f"{path} must be a file that can be read, but is not ({error.strerror}){broken}."
            ) from error
    return found


def hash_content(content: object) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def library_versions() -> dict[str, str]:
    """Version of each library that Ferrosight asks for, "missing" where it is not installed."""
    asked = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("ferrosight") or ()]
    return {name: _version(name) for name in sorted(asked)}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def describe_run(config: Config, label: Label | None, iron_per_cell: IronPerCell | None, n_cpus: int) -> dict[str, Any]:
    """Software, settings and assumptions of a run, as plain values."""
    load = iron_per_cell or (label.load if label else None)
    return {
        "software": {"ferrosight": __version__, "python": platform.python_version(), **library_versions()},
        "settings": config.as_dict(),
        "label": None if label is None else dict(vars(label)),
        "iron_per_cell": None if load is None else dict(vars(load)),
        "n_cpus": n_cpus,
    }
