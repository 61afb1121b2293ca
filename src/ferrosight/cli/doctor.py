"""``ferrosight doctor``: what is installed and what is missing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ferrosight.cli.output import print_json, print_table


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed and what is missing.

    Exit code 1 where something is missing.
    """
    import platform
    import sys

    from ferrosight import __version__
    from ferrosight.study.provenance import library_versions
    from ferrosight.study.resources import count_cpus

    libraries = library_versions()
    missing = [name for name, version in libraries.items() if version == "missing"]
    found: dict[str, Any] = {
        "ferrosight": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": count_cpus(),
        "memory_gb": _memory_gb(),
        "libraries": libraries,
        "missing": missing,
    }
    if as_json:
        print_json(found)
    else:
        rows = [[key, str(value)] for key, value in found.items() if key not in ("libraries", "missing")]
        print_table(["what", "found"], [*rows, *([name, version] for name, version in libraries.items())])
        print("\nNothing is missing." if not missing else f"\nMissing: {', '.join(missing)}; install them.")
    raise typer.Exit(1 if missing else 0)


def _memory_gb() -> float | None:
    """Physical memory, GB; None where the system does not tell."""
    import os

    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None
