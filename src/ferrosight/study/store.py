"""The store of a study: what became of every visit and subject, and what it was made from.

Everything in it can be read off the files beside it, but for why something failed. It may be deleted at any time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ferrosight import __version__
from ferrosight.errors import InputError

Kind = Literal["visit", "pet", "subject"]
State = Literal["done", "failed"]

#: Layout of the tables; a store of another layout is refused.
STORE_VERSION: Final = 1
#: Seconds that one process waits for another that writes.
_PATIENCE_S: Final = 60.0
_LAYOUT: Final = """
CREATE TABLE IF NOT EXISTS work (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    settings_sha256 TEXT NOT NULL,
    inputs_sha256 TEXT NOT NULL,
    code_version TEXT NOT NULL,
    PRIMARY KEY (kind, name)
)
"""


@dataclass(frozen=True)
class Work:
    """A visit, PET scan or subject: its ``state``, why it failed, and the ``fingerprint`` of all that it was made from.

    ``inputs_sha256`` maps input files to their hashes; of a subject, its visits to their fingerprints.
    """

    kind: Kind
    name: str
    state: State
    fingerprint: str
    settings_sha256: str
    inputs_sha256: Mapping[str, str]
    error: str = ""


class Store:
    """A SQLite file with a write-ahead log: several processes may work on one study.

    The file appears with the first work that is done: where everything fails nothing is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Work] = []

    def record(self, work: Work) -> None:
        """Set down what became of a visit or subject, in the place of what was there."""
        self._waiting.append(work)
        if work.state == "failed" and not self._path.exists():
            return
        with self._open() as connection, connection:
            connection.executemany(
                "INSERT OR REPLACE INTO work VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_as_row(one) for one in self._waiting]
            )
        self._waiting.clear()

    def read(self, kind: Kind, name: str) -> Work | None:
        """What became of a visit or subject; None where nothing is known."""
        for work in reversed(self._waiting):
            if (work.kind, work.name) == (kind, name):
                return work
        if not self._path.exists():
            return None
        with self._open() as connection:
            row = connection.execute(
                "SELECT kind, name, state, fingerprint, settings_sha256, inputs_sha256, error FROM work "
                "WHERE kind = ? AND name = ?",
                (kind, name),
            ).fetchone()
        if row is None:
            return None
        kind, name, state, fingerprint, settings, inputs, error = row
        return Work(kind, name, state, fingerprint, settings, json.loads(inputs), error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S)) as connection:
                self._lay_out(connection)
                yield connection
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self._path} must be a store of Ferrosight that can be written to, but is not ({error}); move it "
                "away, a new one is made from the files beside it."
            ) from error

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == STORE_VERSION:
            return
        if version:
            raise sqlite3.DatabaseError(f"its layout is {version}, this program's is {STORE_VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute(_LAYOUT)
            connection.execute(f"PRAGMA user_version = {STORE_VERSION}")


def _as_row(work: Work) -> tuple[Any, ...]:
    inputs = json.dumps(dict(work.inputs_sha256), sort_keys=True)
    own = (work.kind, work.name, work.state, work.error, work.fingerprint, work.settings_sha256)
    return (*own, inputs, __version__)
