"""Refuse an installed package whose licence is not on the list: no GPL, nothing non-commercial.

    python scripts/check_licences.py

It reads what the packages of the running environment say about themselves, prints a line per offender, and
exits 1 where there is one. A package that states no licence is an offender too.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

#: SPDX names. MPL-2.0 binds changes to the package's own files, and only what tests and documentation use has it.
ALLOWED = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0"),
    *("ISC", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"),
}

#: What packages without an SPDX expression write, in a classifier or in the old free-text field.
OLD_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Public Domain": "0BSD",
    "Python Software Foundation License": "PSF-2.0",
}

#: Read by hand: package -> why its own statement is not the last word.
EXCEPTIONS = {"docutils": "the GPL covers only an Emacs mode, which the wheel leaves out"}


def main() -> int:
    """Print every offender; the exit code."""
    offenders = sorted(f"{name}: {licence}" for name, licence in refused(list(distributions())))
    for line in offenders:
        print(line, file=sys.stderr)
    return 1 if offenders else 0


def refused(packages: list[Distribution]) -> list[tuple[str, str]]:
    """(name, licence) of every package whose licence is not allowed."""
    named = [(package.name, stated_licence(package)) for package in packages if package.name not in EXCEPTIONS]
    return [(name, licence or "states no licence") for name, licence in named if not is_allowed(licence)]


def stated_licence(package: Distribution) -> str:
    """The package's licence as an SPDX-like expression; "" where it states none."""
    meta = package.metadata
    if "License-Expression" in meta:
        return meta["License-Expression"]
    classifiers = [line for line in meta.get_all("Classifier") or [] if line.startswith("License ::")]
    names = [line.rpartition(" :: ")[2] for line in classifiers if line != "License :: OSI Approved"]
    if not names and "License" in meta:
        names = [meta["License"].strip()]
    return " AND ".join(OLD_NAMES.get(name, name) for name in names)


def is_allowed(expression: str) -> bool:
    """Whether one alternative of an expression (OR) has all its parts (AND) on the list.

    Where there are parentheses, every part has to be: stricter than the expression, and simpler than parsing it.
    """
    if "(" in expression:
        return all(part.strip("() ") in ALLOWED for part in re.split(r"\s+(?:AND|OR)\s+", expression))
    return any(all(part in ALLOWED for part in one.split(" AND ")) for one in expression.split(" OR "))


if __name__ == "__main__":
    sys.exit(main())
