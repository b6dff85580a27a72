"""One CSV row per training step of every run in a folder of runs: for measurements that are not a whole course.

    python benchmarks/steps.py RUNS/SUITE -o benchmarks/results/NAME.csv

Accuracy stands in the row of the step after which it was measured (step 0: the start). Seconds are rounded to 10⁻⁴.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from harness.records.ledger import read_ledger
from harness.spec import RunSpec

PHASES = ("probe", "rollout", "log_probs", "update")


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    """Rows of one run, the start first; empty where nothing was recorded."""
    spec, log = RunSpec.load(run_dir / "spec.json"), read_ledger(run_dir / "ledger.jsonl")
    who = {"combination": spec.combination.name, "strategy": spec.strategy.label, "seed": spec.seed}
    accuracy = {e.step: e.accuracy for e in log.evaluations}
    rows: list[dict[str, Any]] = [{**who, "step": 0, "accuracy": accuracy[0]}] if 0 in accuracy else []
    for step in log.steps:
        informative = sum(0 < rate < 1 for rate in step.pass_rates) / max(1, len(step.pass_rates))
        rows.append(
            {
                **who,
                "step": step.step,
                "accuracy": accuracy.get(step.step),
                "fresh_groups": len(step.pass_rates),
                "informative": round(informative, 4),
                "fresh_log_ratio": step.fresh_log_ratio,
                "generated_tokens": step.costs.generated_tokens,
                "trained_tokens": step.costs.trained_tokens,
                "seconds": round(step.seconds, 4),
                **{f"seconds_{phase}": round(step.phases[phase], 4) for phase in PHASES},
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of a suite's runs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV file to write")
    arguments = parser.parse_args()
    folders = sorted(file.parent for file in arguments.runs.glob("*/ledger.jsonl"))
    table = pd.DataFrame([row for folder in folders for row in rows_of(folder)])
    table = table.sort_values(["combination", "strategy", "seed", "step"], kind="stable")
    table.to_csv(arguments.output, index=False, lineterminator="\n")
    print(f"{len(folders)} runs, {len(table)} rows: {arguments.output}")


if __name__ == "__main__":
    main()
