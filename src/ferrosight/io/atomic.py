"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden temporary file beside ``path``; it takes that name when the block ends well.

    However the block ends otherwise, an interruption included, the temporary file is removed and what was
    at ``path`` stays as it was. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
