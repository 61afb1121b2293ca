"""Write the README's table of what was measured from the files that benchmarks left.

    python scripts/write_readme_table.py [--check]

Reads each ``benchmarks/results/*.json``: ``{"command": "...", "measured": {"what": "value with its unit"}}``,
as written by the benchmark itself. With ``--check`` it changes nothing and exits 1 where the table is behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

BEGIN = "<!-- measured:begin -->\n"
END = "<!-- measured:end -->\n"
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write or check the table; the exit code."""
    path = ROOT / "README.md"
    before = path.read_text(encoding="utf-8")
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    after = head + BEGIN + measured_table(ROOT / "benchmarks" / "results") + END + tail
    if after == before:
        return 0
    if "--check" in sys.argv[1:]:
        print("README.md: its table is out of date; run python scripts/write_readme_table.py", file=sys.stderr)
        return 1
    path.write_text(after, encoding="utf-8")
    return 0


def measured_table(results: Path) -> str:
    """A Markdown table, a row per measured quantity."""
    rows = []
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        rows += [f"| {what} | {value} | `{result['command']}` |" for what, value in result["measured"].items()]
    if not rows:
        return "Nothing has been recorded yet.\n"
    return "\n".join(["| what | measured | by |", "| --- | --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
