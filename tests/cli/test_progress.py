"""Progress goes to standard error: lines where nobody watches, bars on a terminal."""

from __future__ import annotations

import sys

from ferrosight.cli.progress import show_progress


def test_without_a_terminal_each_step_is_one_line(capsys):
    with show_progress() as report:
        for step in ("field", "clusters"):
            for done in range(100):
                report(step, done, 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "field\nclusters\n"


def test_on_a_terminal_bars_leave_standard_output_alone(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with show_progress() as report:
        report("field", 1, 10)
        report("clusters", 0, 3)
        report("clusters", 3, 3)
    assert capsys.readouterr().out == ""
