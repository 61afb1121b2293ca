"""Write what was measured, from the files that benchmarks left, into the README and the documentation.

    python scripts/write_readme_table.py [--check]

Reads each ``benchmarks/results/*.json``, as written by the benchmark itself: ``{"command": "...", "measured":
{"what": "value with its unit"}, "details": [{"column": "value"}]}``. ``docs/measured.md`` gets a table of all that was
measured, and each benchmark's details in a place of their own; the README the same table without the rows that say
again, in another case, what another row says. With ``--check`` it changes nothing and exits 1 where either is behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

BEGIN = "<!-- {}:begin -->\n"
END = "<!-- {}:end -->\n"
#: Parts of the names of rows that the README leaves to the documentation: cases beside the one that it has.
VARIANTS = (
    "real brain as it is, sign stated",
    "sign unknown, several",
    "sign stated, several",
    "grafts, accepted",
    "finished visits that were analysed again",
    "exact null",
    "all together, of 10,000",
    "alarms ever at α 0.01",
    "on images, a relapse grows: alarm by the last visit",
    "by MRI and PET, doubling in 1 ",
    "by MRI and PET, doubling in 2 ",
    "975 pieces of vein, box",
    "with the load of day 0",
)
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write or check both pages; the exit code."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in read_paths()}
    behind = False
    for page, parts in (
        ("README.md", {"measured": measured_table(results, VARIANTS)}),
        (
            "docs/measured.md",
            {"measured": measured_table(results)} | {name: details_table(result) for name, result in results.items()},
        ),
    ):
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = before
        for name, part in parts.items():
            after = replace_part(after, name, part)
        if after == before:
            continue
        behind = True
        if "--check" in sys.argv[1:]:
            print(f"{page}: a table is out of date; run python scripts/write_readme_table.py", file=sys.stderr)
        else:
            path.write_text(after, encoding="utf-8")
    return int(behind and "--check" in sys.argv[1:])


def read_paths() -> list[Path]:
    """The results, in the order of their names."""
    return sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def replace_part(text: str, name: str, part: str) -> str:
    """A page with what stands between the marks of ``name`` replaced; as it is where it has no such marks."""
    begin, end = BEGIN.format(name), END.format(name)
    if begin not in text:
        return text
    head, _, rest = text.partition(begin)
    return head + begin + part + end + rest.partition(end)[2]


def measured_table(results: dict[str, Any], without: tuple[str, ...] = ()) -> str:
    """A Markdown table, a row per measured quantity but those whose name has any of these parts."""
    rows = [
        f"| {what} | {value} | `{result['command']}` |"
        for result in results.values()
        for what, value in result["measured"].items()
        if not any(part in what for part in without)
    ]
    if not rows:
        return "Nothing has been recorded yet.\n"
    return "\n".join(["| what | measured | by |", "| --- | --- | --- |", *rows]) + "\n"


def details_table(result: dict[str, Any]) -> str:
    """The command, and a Markdown table of its details; columns are those of the first row."""
    details = result.get("details", [])
    if not details:
        return "Nothing has been recorded yet.\n"
    names = list(details[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(row.get(name, "") for name in names) + " |" for row in details]
    return f"\n`{result['command']}`\n\n" + "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    sys.exit(main())
