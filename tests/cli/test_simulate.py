"""What the command asks for, prints and refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferrosight.simulate import COURSES, PRESETS, Preset
from ferrosight.study import simulation


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, dict[str, object]]]:
    """What was to be simulated; nothing is."""
    calls = []

    def fake(preset: Preset, out_dir: Path, **options: object) -> tuple[str, ...]:
        del options["on_progress"]
        calls.append((preset.name, out_dir, options))
        return ("sub-01",)

    monkeypatch.setattr(simulation, "simulate_study", fake)
    return calls


def test_options_reach_the_study(ferrosight, asked, tmp_path):
    ended = ferrosight("simulate", "human-brain-3t", tmp_path, "--seed", 4, "--subjects", 3, "--visits", 2)
    assert ended.code == 0
    expected = {"seed": 4, "n_subjects": 3, "n_visits": 2, "has_baseline": False, "course": "mixed"}
    assert asked == [("human-brain-3t", tmp_path, expected)]
    assert f"1 scan is in {tmp_path}" in ended.out
    assert ferrosight("simulate", "human-brain-3t", tmp_path, "--baseline", "--course", "growing").code == 0
    assert asked[1][2] == {"seed": 0, "n_subjects": 1, "n_visits": 1, "has_baseline": True, "course": "growing"}


def test_an_unknown_course_is_refused_with_the_list(ferrosight, tmp_path):
    ended = ferrosight("simulate", "gel-11t", tmp_path / "out", "--course", "shrinking")
    assert (ended.code, ended.out) == (2, "")
    assert all(name in ended.err for name in COURSES)


def test_an_unknown_preset_is_refused_with_the_list(ferrosight, tmp_path):
    said = ferrosight("simulate", "no-such", tmp_path / "out").assert_refused()
    assert all(name in said for name in PRESETS)
    assert not (tmp_path / "out").exists()


def test_a_full_folder_is_refused(ferrosight, tmp_path):
    (tmp_path / "mine.txt").touch()
    assert "new or empty folder" in ferrosight("simulate", "gel-11t", tmp_path).assert_refused()


def test_the_help_names_every_preset(ferrosight, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert set(re.findall(r"[a-z]+(?:-[a-z]+)*-\d+t", ferrosight("simulate", "--help").out)) == set(PRESETS)
