"""Make the tables of the field from runs: what every strategy rolled out, trained on, and needed to reach the target.

    halfway run field --report report
    python -m benchmarks.field runs/field report            # benchmarks/results/field.csv and the tables of docs/strategies.md

No number in those tables is typed: rollouts and tokens come from the ledgers; targets, ratios and intervals from ``halfway report``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.document import insert
from harness.cli.strategies import strategy_rows
from harness.records.ledger import LEDGER_NAME, read_ledger
from harness.stats.speedup import SpeedUp
from reports import words

ROOT = Path(__file__).resolve().parents[1]
PER_STEP = ("fresh_rollouts", "probe_rollouts", "filtered_rollouts", "replayed_rollouts")
LEDGERS = ("generated_tokens", "training_seconds")  # costs to the target


def ledger_rows(runs: Path) -> pd.DataFrame:
    """One row per run that has all its steps: rollouts per step by kind."""
    rows = []
    for folder in sorted(p for p in runs.iterdir() if (p / LEDGER_NAME).is_file()):
        log = read_ledger(folder / LEDGER_NAME)
        if not log.complete:
            continue
        costs = log.steps[-1].costs.to_json()
        shares = {column: costs[column] / len(log.steps) for column in PER_STEP}
        rows.append({"strategy": log.spec["strategy"]["label"], "seed": log.spec["seed"], **shares})
    return pd.DataFrame(rows)


def field_table(runs: Path, report: Path) -> pd.DataFrame:
    """One row per strategy, by name; medians over its complete runs."""
    results = pd.read_csv(report / "results.csv").set_index("strategy")
    per_run = ledger_rows(runs).drop(columns="seed").groupby("strategy")
    table = per_run.median().join(per_run.size().rename("n"))
    columns = ["reached", "non_degenerate_share", "seconds_per_step", "final_accuracy_median", "median_training_steps", "verdict"]
    for ledger in LEDGERS:
        columns += [f"{figure}_{ledger}" for figure in ("median", "at_least", "at_most", "low", "high")]
    return table.join(results[columns]).sort_index()


def costs_markdown(table: pd.DataFrame) -> str:
    """What a step of every strategy rolled out, trained on and took, for the docs."""
    heads = ["strategy", "n", "non-degenerate", "fresh", "probe", "filtered", "replayed", "s / step"]
    rows = []
    for name, row in table.iterrows():
        kinds = [f"{row[column]:.0f}" for column in PER_STEP]
        rows.append([f"`{name}`", f"{row.n:.0f}", f"{row.non_degenerate_share:.2f}", *kinds, f"{row.seconds_per_step:.2f}"])
    return _markdown(heads, rows)


def targets_markdown(table: pd.DataFrame) -> str:
    """What every strategy needed to the target, with its ratios to GRPO, for the docs."""
    heads = ["strategy", "reached", "steps", "tokens", "token ratio [interval]", "seconds", "time ratio [interval]", "final accuracy"]
    rows = []
    for name, row in table.iterrows():
        steps = _or_dash(row.median_training_steps, "{:.0f}")
        tokens, seconds = _or_dash(row.median_generated_tokens / 1000, "{:,.0f} k"), _or_dash(row.median_training_seconds, "{:.1f}")
        rows.append([
            f"`{name}`", f"{row.reached:.0f} of {row.n:.0f}", steps, tokens, _ratio(row, "generated_tokens"),
            seconds, _ratio(row, "training_seconds"), f"{row.final_accuracy_median:.3f}",
        ])  # fmt: skip
    return _markdown(heads, rows)


def _or_dash(value: float, form: str) -> str:
    return form.format(value) if math.isfinite(value) else "–"


def _ratio(row: Any, ledger: str) -> str:
    """GRPO's cost over the strategy's and its interval, in the report's words; 1 for GRPO itself."""
    least, most, low, high = (float(row[f"{figure}_{ledger}"]) for figure in ("at_least", "at_most", "low", "high"))
    if math.isnan(least):
        return "1"
    none = math.isnan(low) or math.isnan(high)
    found = SpeedUp(int(row.n), least, most, None if none else low, None if none else high, np.empty((0, 2)))
    return f"{words.speed_up(found)} {words.interval(found)}"


def methods_markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """What every shipped strategy observes, where it acts and what it costs, as ``halfway strategies`` says it."""
    heads = ["strategy", "what it is", "source", "observes", "acts", "costs beyond its batch", "backends"]
    table = []
    for row in rows:
        where = ", ".join(backend for backend, reason in row["backends"].items() if not reason)
        table.append([f"`{row['name']}`", row["summary"], row["source"], row["observes"], row["acts"], row["costs"], where])
    return _markdown(heads, table)


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main() -> None:
    """See the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the suite's runs, such as runs/field")
    parser.add_argument("report", type=Path, nargs="?", help="folder of its report, for results.csv")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "results" / "field.csv")
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "strategies.md")
    parser.add_argument("--methods-only", action="store_true", help="renew the table of methods alone; needs no runs")
    options = parser.parse_args()
    shipped = [row for row in strategy_rows([]) if row["origin"] == "built in"]
    insert(options.document, "methods", methods_markdown(shipped))
    if options.methods_only:
        return
    if options.runs is None or options.report is None:
        parser.error("give the folders of the runs and of their report")
    table = field_table(options.runs, options.report)
    table.round(4).to_csv(options.csv)
    insert(options.document, "field", costs_markdown(table))
    insert(options.document, "targets", targets_markdown(table))
    print(f"{len(table)} strategies, {int(table.n.sum())} runs: {options.csv}, {options.document}")


if __name__ == "__main__":
    main()
