"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ferrosight.errors import InputError


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden temporary file beside ``path``; it takes that name when the block ends well.

    However the block ends otherwise, an interruption included, the temporary file is removed and what was
    at ``path`` stays as it was. Missing folders are made.

    Raises InputError where the file cannot be written: no permission, no space left, a file where a folder should be.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(path, "written", error) from error


def remove_file(path: Path) -> None:
    """Remove a file of Ferrosight's own where it is there; InputError where that is not allowed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(path, "removed", error) from error


def _cannot(path: Path, done: str, error: OSError) -> InputError:
    # A file of the name that a missing folder should have is "File exists", which explains nothing.
    why = "a file stands where its folder should be" if isinstance(error, FileExistsError) else error.strerror
    return InputError(f"{path} cannot be {done} ({why or error}); make room, allow it, or choose another folder.")


def write_text_atomic(path: Path, text: str) -> Path:
    """Write ``text`` as UTF-8 with line feeds as they are; returns ``path``."""
    with open_atomic(path) as file:
        file.write(text.encode("utf-8"))
    return path


def write_json_atomic(path: Path, content: Mapping[str, Any]) -> Path:
    """Write one JSON object, readable by people; returns ``path``.

    Raises ValueError for NaN and infinity, which JSON does not know: say ``None`` instead.
    """
    return write_text_atomic(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
