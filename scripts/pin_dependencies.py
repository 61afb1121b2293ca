"""Pin every dependency, transitive ones and build tools included, inside pyproject.toml.

``uv run`` resolves anew wherever there is no lock file, so the versions that were tested have to travel in
pyproject.toml itself. This writes them, without hashes or addresses, between two marks in ``[tool.uv]``:

    python scripts/pin_dependencies.py              keep today's pins, add what is new, drop what is gone
    python scripts/pin_dependencies.py --upgrade    forget the pins and resolve to the newest versions
    python scripts/pin_dependencies.py --check      change nothing; exit 1 where the block is out of date

It needs ``uv`` and nothing else. Run twice, it writes the same file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BEGIN = "# pins:begin (written by scripts/pin_dependencies.py)"
END = "# pins:end"
ROOT = Path(__file__).resolve().parent.parent
#: What resolving the project reads.
RESOLVED_FROM = ("pyproject.toml", "README.md", "LICENSE", "src/ferrosight/__init__.py")


def main(arguments: list[str] | None = None) -> int:
    """Write or check the block; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--upgrade", action="store_true", help="resolve to the newest versions")
    mode.add_argument("--check", action="store_true", help="change nothing; fail where the block is out of date")
    options = parser.parse_args(arguments)

    path = ROOT / "pyproject.toml"
    before = path.read_text(encoding="utf-8")
    start = replace_block(before, [], []) if options.upgrade else before
    after = pinned(start)
    if after == before:
        return 0
    if options.check:
        print("pyproject.toml: the pins are out of date; run python scripts/pin_dependencies.py", file=sys.stderr)
        return 1
    path.write_text(after, encoding="utf-8")
    return 0


def pinned(pyproject: str) -> str:
    """The text of pyproject.toml with its pins resolved, worked out in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in RESOLVED_FROM:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / name)
        (work / "pyproject.toml").write_text(pyproject, encoding="utf-8")
        uv(["lock", "--quiet"], work)
        export = ["export", "--quiet", "--frozen", "--all-groups", "--no-emit-project", "--no-hashes"]
        pins = uv([*export, "--no-header", "--no-annotate"], work)
        return replace_block(pyproject, pins.splitlines(), resolve_build(pyproject, work))


def resolve_build(pyproject: str, work: Path) -> list[str]:
    """The build backend and what it needs, pinned; today's pins are kept."""
    project = tomllib.loads(pyproject)
    (work / "build.in").write_text("\n".join(project["build-system"]["requires"]), encoding="utf-8")
    kept = project["tool"]["uv"].get("build-constraint-dependencies", [])
    (work / "kept.txt").write_text("\n".join(kept), encoding="utf-8")
    lowest = project["project"]["requires-python"].removeprefix(">=")
    command = ["pip", "compile", "--quiet", "--universal", "--python-version", lowest, "build.in"]
    return uv([*command, "--constraints", "kept.txt", "--no-header", "--no-annotate"], work).splitlines()


def replace_block(pyproject: str, pins: list[str], build_pins: list[str]) -> str:
    """The text of pyproject.toml with the block between the marks replaced."""
    head, found_begin, rest = pyproject.partition(BEGIN)
    _, found_end, tail = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"pyproject.toml must hold the lines {BEGIN!r} and {END!r} inside [tool.uv].")
    lists = {"constraint-dependencies": pins, "build-constraint-dependencies": build_pins}
    block = "".join(f"{name} = [\n{toml_lines(lines)}]\n" for name, lines in lists.items())
    return f"{head}{BEGIN}\n{block}{END}{tail}"


def toml_lines(pins: list[str]) -> str:
    """Requirement lines as the body of a TOML list; markers quote with ', so " is free."""
    return "".join(f'  "{pin.strip()}",\n' for pin in pins if pin.strip() and not pin.startswith("#"))


def uv(arguments: list[str], folder: Path) -> str:
    """What ``uv`` prints. ``uv run`` says in $UV which program it is."""
    command = [os.environ.get("UV", "uv"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
