"""The demo's own part: folders, what it prints, and a browser that may not exist."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from ferrosight.cli import demo as module
from ferrosight.cli.demo import open_page
from ferrosight.study import demo as study_demo
from ferrosight.study.demo import ComparedSubject, ComparedVisit, Comparison, DemoOutcome, Match
from ferrosight.study.run import StudyOutcome

NAN = float("nan")
FOUND = Match("labelled-01", 10.0, 5.0, 11.0, 9.0, 13.0, 5.5, 4.0, 7.0, 0.02)
WRONG = Match("labelled-01", 10.0, 5.0, 16.0, 14.0, 18.0, 5.5, 4.0, 7.0, 0.02)
MISSED = Match("labelled-02", 1.0, 1.0, *(NAN,) * 7)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that the demo was asked to write to; nothing is simulated."""
    folders: list[Path] = []

    def fake(folder: Path, *, on_progress: object = None) -> DemoOutcome:  # noqa: ARG001
        folders.append(folder)
        visits = (
            ComparedVisit(0.0, Comparison((FOUND, MISSED), n_false=1)),
            ComparedVisit(7.0, Comparison((WRONG, MISSED), n_false=0)),
        )
        return DemoOutcome(StudyOutcome(()), (ComparedSubject("graft", "a graft", visits),), folder / "report.html")

    monkeypatch.setattr(study_demo, "run_demo", fake)
    return folders


def test_what_was_put_in_is_shown_beside_what_was_found(ferrosight, asked, tmp_path):
    ended = ferrosight("demo", "--out", tmp_path / "here", "--no-open")
    assert ended.code == 0
    assert asked == [tmp_path / "here"]
    assert (
        "Of 4 labelled clusters in 2 scans 2 were found; the 95 % interval of iron holds the truth in 1 of them. "
        "1 were accepted where nothing labelled is." in ended.out
    )
    rows = [" ".join(line.split()) for line in ended.out.splitlines() if line[:1].isdigit()]
    assert rows == ["0 11 11 1 of 2 1 of 1 1", "7 11 16 1 of 2 0 of 1 0"]


@pytest.mark.usefixtures("asked")
def test_the_report_is_opened_unless_told_not_to(ferrosight, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(module, "open_page", opened.append)
    ferrosight("demo", "--out", tmp_path / "a", "--no-open")
    assert opened == []
    ferrosight("demo", "--out", tmp_path / "b")
    assert opened == [tmp_path / "b" / "report.html"]


def test_a_second_demo_gets_a_folder_of_its_own(ferrosight, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ferrosight-demo", "ferrosight-demo-2"):
        (tmp_path / name).mkdir()
    ferrosight("demo", "--no-open")
    assert asked == [Path("ferrosight-demo-3")]


def test_a_full_folder_is_refused(ferrosight, tmp_path):
    (tmp_path / "mine.txt").touch()
    assert "new or empty folder" in ferrosight("demo", "--out", tmp_path).assert_refused()


def test_without_a_display_no_browser_is_started(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser was started"))
    open_page(tmp_path / "page.html")
    assert "no display" in capsys.readouterr().out


@pytest.mark.parametrize("failure", [webbrowser.Error("none"), OSError("none"), None])
def test_a_browser_that_does_not_start_is_no_error(monkeypatch, capsys, tmp_path, failure):
    def start(_: str) -> bool:
        if failure is not None:
            raise failure
        return False

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", start)
    open_page(tmp_path / "page.html")
    assert "No browser could be started" in capsys.readouterr().out


def test_a_page_is_opened_by_its_address(monkeypatch, capsys, tmp_path):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    open_page(tmp_path / "page.html")
    assert opened == [(tmp_path / "page.html").as_uri()]
    assert capsys.readouterr().out == ""
