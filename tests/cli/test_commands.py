"""What every command shares: help, version, how errors leave, and no time spent on imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ferrosight as package

HEAVY = ("numpy", "scipy", "numba", "matplotlib", "pandas", "nibabel", "skimage", "jinja2", "rich.progress")


@pytest.mark.parametrize("code", ["import ferrosight", "import ferrosight.cli"])
def test_nothing_heavy_is_imported_before_a_command_runs(code):
    asked = f"import sys; {code}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_version_is_the_packages(ferrosight):
    ended = ferrosight("--version")
    assert (ended.code, ended.out) == (0, f"ferrosight {package.__version__}\n")


@pytest.mark.parametrize(
    "command",
    [
        [], ["demo"], ["run"], ["limit"], ["plan"], ["uptake"], ["uptake", "fit"], ["uptake", "predict"], ["calibrate"],
        ["labels"], ["doctor"],
    ],
)  # fmt: skip
def test_every_command_has_help(ferrosight, command):
    ended = ferrosight(*command, "--help")
    assert ended.code == 0
    assert "Usage: ferrosight" in ended.out


@pytest.mark.parametrize("arguments", [["ruin"], ["--verison"], ["run"], ["labels", "--jsno"], ["run", "a", "b", "c"]])
def test_wrong_usage_ends_with_2(ferrosight, arguments):
    ended = ferrosight(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("option", ["--scheduler"])
def test_an_option_that_does_nothing_yet_does_not_exist(ferrosight, tmp_path, option):
    ended = ferrosight("run", tmp_path, tmp_path / "out", option, "1")
    assert ended.code == 2
    assert "No such option" in ended.err


def test_the_public_names_are_found_lazily():
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'read_dicom'"):
        _ = package.read_dicom


def test_a_terminal_that_knows_ascii_only_is_no_reason_to_fail():
    done = subprocess.run(
        [sys.executable, "-c", "from ferrosight.cli import main; main(['labels'])"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=True,
    )
    assert b"A m? per kg" in done.stdout
