"""Version, citation, pins and licences agree with what is installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ferrosight


def test_one_version_everywhere(root: Path) -> None:
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert version("ferrosight") == ferrosight.__version__
    assert f"\nversion: {ferrosight.__version__}\n" in citation


def test_every_resolved_package_is_pinned_without_addresses(root: Path) -> None:
    lock = root / "uv.lock"
    if not lock.exists():
        pytest.skip("no uv.lock here: nothing was resolved in this folder")
    pyproject = (root / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(pyproject)["tool"]["uv"]
    pins = [Requirement(line) for line in settings["constraint-dependencies"]]
    pinned = {(pin.name, str(pin.specifier)) for pin in pins}
    resolved = {
        (package["name"], f"=={package['version']}")
        for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
        if package["name"] != "ferrosight"
    }
    assert resolved == pinned
    assert all(pin.url is None for pin in pins)
    assert "://" not in pyproject


def test_build_tools_are_pinned(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {Requirement(line).name for line in project["tool"]["uv"]["build-constraint-dependencies"]}
    assert {Requirement(line).name for line in project["build-system"]["requires"]} <= pinned


def test_installed_licences_are_allowed(root: Path) -> None:
    script = root / "scripts" / "check_licences.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND BSD-3-Clause", False),
        ("CC-BY-NC-4.0", False),
        ("", False),
    ],
)
def test_a_licence_that_binds_is_refused(root: Path, expression: str, allowed: bool) -> None:
    script = root / "scripts"
    ask = f"import check_licences; raise SystemExit(not check_licences.is_allowed({expression!r}))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=script, check=False)
    assert (done.returncode == 0) is allowed
