"""The store keeps what it is told, and never takes another file for its own."""

from __future__ import annotations

import sqlite3

import pytest

from ferrosight.errors import InputError
from ferrosight.study.store import Store, Work


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "ferrosight.sqlite"
    work = Work("visit", "sub-01", "done", "f", "s", {"a": "b"})
    path.write_text("this is not a store, but somebody's only copy of something long enough to be read", "utf-8")
    before = path.read_bytes()
    with pytest.raises(InputError, match="move it away"):
        Store(path).record(work)
    assert path.read_bytes() == before
    path.unlink()
    Store(path).record(work)
    assert Store(path).read("visit", "sub-01") == work
    assert Store(path).read("visit", "sub-02") is None
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="its layout is 99"):
        Store(path).read("visit", "sub-01")


def test_failures_alone_make_no_store_and_are_kept_until_there_is_one(tmp_path):
    path = tmp_path / "out" / "ferrosight.sqlite"
    failed = Work("visit", "sub-01", "failed", "", "s", {}, "no phase")
    store = Store(path)
    store.record(failed)
    assert not path.parent.exists()
    assert store.read("visit", "sub-01") == failed
    store.record(Work("visit", "sub-02", "done", "f", "s", {}))
    assert Store(path).read("visit", "sub-01") == failed
    store.record(Work("visit", "sub-01", "done", "f", "s", {}))
    assert Store(path).read("visit", "sub-01").state == "done"
