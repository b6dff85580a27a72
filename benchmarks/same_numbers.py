"""Check that a change left the numbers as they were: compare two folders of runs byte for byte, apart from ids and timings.

    halfway run suite.toml --runs-dir before      # on the old code
    halfway run suite.toml --runs-dir after       # on the new code
    python benchmarks/same_numbers.py before after

Runs are matched by suite, combination, strategy and seed. Ledger records must be equal after removing whatever depends on a clock, a hash
or the environment; rollouts kept with ``execution.keep_rollouts`` must be equal in every column. If runs differ, prints the first
difference of each and exits with code 1.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

#: Keys whose values depend on a clock, an identity hash or the environment.
UNSTABLE = re.compile(r"(^|_)(seconds|crc|time|run_id|version|schema|environment|started|host|hash|attempt)($|_)|^phases$")


def stable(value: Any) -> Any:
    """``value`` without the keys that may differ between two equal runs."""
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if not UNSTABLE.search(k)}
    return [stable(v) for v in value] if isinstance(value, list) else value


def runs(folder: Path) -> dict[str, Path]:
    """Run folders by suite, combination, strategy and seed."""
    found = {}
    for spec in sorted(folder.glob("*/*/spec.json")):
        data = json.loads(spec.read_text(encoding="utf-8"))
        found["/".join([data["suite"], data["combination"]["name"], data["strategy"]["label"], str(data["seed"])])] = spec.parent
    return found


def records(run: Path) -> list[tuple[str, str]]:
    """(type, canonical text) of every record that describes the training."""
    parsed = [json.loads(line) for line in (run / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(r["type"], json.dumps(stable(r), sort_keys=True)) for r in parsed if r["type"] in ("step", "evaluation", "complete")]


def difference(before: Path, after: Path) -> str | None:
    """The first difference between two runs, as one line; None if there is none."""
    old, new = records(before), records(after)
    for i, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            keys = [k for k in json.loads(a[1]) if json.loads(a[1])[k] != json.loads(b[1]).get(k)] if a[0] == b[0] else [a[0], b[0]]
            return f"record {i} ({a[0]}) differs in {', '.join(keys)}"
    if len(old) != len(new):
        return f"{len(old)} records against {len(new)}"
    for file in sorted((before / "rollouts").glob("*.parquet")):
        other = after / "rollouts" / file.name
        if not other.is_file():
            return f"{file.name} is missing"
        old_table, new_table = pq.read_table(file), pq.read_table(other)
        if not old_table.equals(new_table.select(old_table.column_names)):  # a later version may keep more columns
            return f"{file.name} differs"
    return None


def main() -> int:
    """Print one line per run and return 0 if all are equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a folder of runs, as given to --runs-dir")
    parser.add_argument("after", type=Path)
    folders = parser.parse_args()
    before, after = runs(folders.before), runs(folders.after)
    failed = sorted(set(before) ^ set(after))
    for name in failed:
        print(f"{name}: on one side only")
    for name in sorted(set(before) & set(after)):
        found = difference(before[name], after[name])
        failed += [name] if found else []
        print(f"{name}: {found or 'equal'}")
    print(f"{len(set(before) & set(after))} runs compared, {len(failed)} differ")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
