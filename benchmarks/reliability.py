"""The fault matrix of docs/reliability.md, from the tests that injected the faults.

    HALFWAY_FAULTS=faults.jsonl pytest -m fault
    python benchmarks/reliability.py faults.jsonl

Each line of the file is a fault that a test injected and whose outcome it asserted; the table counts them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.document import insert

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"


def table(lines: list[str]) -> str:
    """Markdown: what was injected, how often, and what came of it; in the order of the file."""
    times: dict[tuple[str, str], int] = {}
    for line in lines:
        row = json.loads(line)
        key = (row["what"], row["outcome"])
        times[key] = times.get(key, 0) + int(row["times"])
    rows = [f"| {what} | {count} | {outcome} |" for (what, outcome), count in times.items()]
    total = f"| **all** | **{sum(times.values())}** | **no record lost or changed** |"
    return "\n".join(["| injected | times | outcome, as the test asserts it |", "|---|---|---|", *rows, total])


def main() -> None:
    """Replace the table of the page."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    insert(PAGE, "faults", table(lines))


if __name__ == "__main__":
    main()
