"""Our rules against the authors' code, on inputs generated here: the largest difference for every strategy with public code.

    python benchmarks/against_authors.py CLONES [-o benchmarks/results/against_authors.csv]

CLONES is a folder with clones of the authors' repositories, each named ``owner+name`` or ``name`` (a bare clone may lie one level
deeper). A repository that is not there is skipped, and the table says so. To add a row, write a :class:`Comparison` into a file of
``benchmarks/authors`` and name that file in ``FAMILIES``.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.authors.comparison import Clone, Comparison
from harness import __version__

FAMILIES = ("predictor", "history", "filters", "replay", "rounds", "allocation")
COLUMNS = ("strategy", "rule", "repository", "commit", "file", "cases", "largest_difference", "deviation", "halfway")
RESULT = Path(__file__).parent / "results" / "against_authors.csv"


def comparisons() -> Iterator[Comparison]:
    """Every registered comparison, in the order of the families."""
    for family in FAMILIES:
        yield from importlib.import_module(f"benchmarks.authors.{family}").COMPARISONS


def clone_of(repository: str, clones: Path) -> Clone | None:
    """The clone of owner/name below a folder, or None."""
    owner, _, name = repository.partition("/")
    for folder in (clones / f"{owner}+{name}", clones / f"{owner}+{name}" / "repo", clones / name):
        if (folder / ".git").exists() or (folder / "HEAD").is_file():
            return Clone(folder)
    return None


def rows_of(comparison: Comparison, clones: Path) -> Iterator[dict[str, str | int]]:
    """Rows of the table; without the clone, or where the clone lacks the code, one that says so."""
    row: dict[str, str | int] = {
        "strategy": comparison.strategy, "rule": "", "repository": comparison.repository, "commit": "", "file": comparison.path,
        "cases": 0, "largest_difference": "", "deviation": "", "halfway": __version__,
    }  # fmt: skip
    clone = clone_of(comparison.repository, clones)
    if clone is None:
        yield {**row, "rule": "skipped: no clone"}
        return
    row["commit"] = clone.commit[:12]
    try:
        for found in comparison.run(clone, comparison.path):
            difference = f"{found.difference:.3g}"
            yield {**row, "rule": found.rule, "cases": found.cases, "largest_difference": difference, "deviation": found.deviation}
    except (FileNotFoundError, LookupError) as error:
        yield {**row, "rule": f"skipped: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path, help="folder with clones of the authors' repositories")
    parser.add_argument("-o", "--output", type=Path, default=RESULT, help="CSV file to write")
    arguments = parser.parse_args()
    rows = []
    for comparison in comparisons():
        for row in rows_of(comparison, arguments.clones):
            rows.append(row)
            print(f"{row['strategy']:20} {row['rule']:60.60} {row['largest_difference']}")
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
