"""A file appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ferrosight.errors import InputError
from ferrosight.io.atomic import open_atomic, remove_file, write_json_atomic, write_text_atomic


def test_text_is_written_as_given_into_new_folders(tmp_path):
    path = write_text_atomic(tmp_path / "a" / "b" / "c.txt", "µ\nline\n")
    assert path.read_bytes() == "µ\nline\n".encode()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_what_was_there(tmp_path, error):
    path = write_text_atomic(tmp_path / "c.txt", "old")

    def write_half() -> None:
        with open_atomic(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_or_removed_is_said_in_one_sentence(tmp_path):
    file = write_text_atomic(tmp_path / "file", "")
    with pytest.raises(InputError, match=r"file/c\.txt cannot be written \(.+\); make room, allow it"):
        write_text_atomic(file / "c.txt", "")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match=r"folder cannot be written"):
        write_text_atomic(folder, "")
    with pytest.raises(InputError, match=r"folder cannot be removed"):
        remove_file(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    remove_file(file)
    remove_file(file)
    assert not file.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_in_one_sentence(tmp_path):
    def write_nowhere() -> None:
        with open_atomic(tmp_path / "c.txt"), Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(InputError, match=r"c\.txt cannot be written \(No space left on device\)"):
        write_nowhere()
    assert not list(tmp_path.iterdir())


def test_nothing_stands_under_the_name_before_the_end(tmp_path):
    path = tmp_path / "c.txt"
    with open_atomic(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "half"


def test_written_files_have_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    assert write_text_atomic(tmp_path / "c", "").stat().st_mode == ordinary.stat().st_mode


def test_json_keeps_unicode_and_refuses_nan(tmp_path):
    path = write_json_atomic(tmp_path / "c.json", {"unit": "A m²"})
    assert "A m²" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"unit": "A m²"}
    with pytest.raises(ValueError):
        write_json_atomic(tmp_path / "d.json", {"x": float("nan")})
    assert not (tmp_path / "d.json").exists()
