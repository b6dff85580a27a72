"""Measure how far TRL and verl agree on the suite ``backends``: the same specs, seeds and random numbers on both.

    halfway run backends && python benchmarks/verl_agreement.py [--runs-dir runs] [--csv benchmarks/results/backends-agreement.csv]

Reads ledgers only. Prints, per strategy and seed, in how many steps the same questions were selected, how far pass rates and accuracies
differ, the largest gap between the log-probs of sampling and of training on fresh tokens, and seconds per step.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.records.ledger import RunLog, read_ledger


def pairs_in(folder: Path) -> list[tuple[str, int, RunLog, RunLog]]:
    """(strategy, seed, TRL's run, verl's run) of every pair in a suite's folder."""
    found: dict[tuple[str, int], dict[str, RunLog]] = defaultdict(dict)
    for path in sorted(folder.glob("*/ledger.jsonl")):
        log = read_ledger(path)
        if log.steps:
            found[log.spec["strategy"]["label"], log.spec["seed"]][log.spec["combination"]["backend"]] = log
    return [(label, seed, logs["trl"], logs["verl"]) for (label, seed), logs in sorted(found.items()) if {"trl", "verl"} <= set(logs)]


def compared(label: str, seed: int, trl: RunLog, verl: RunLog) -> dict[str, Any]:
    """One pair of runs. Pass rates are compared where the same question was rolled out in the same step."""
    steps = list(zip(trl.steps, verl.steps, strict=False))
    gaps = []
    for ours, theirs in steps:
        known = dict(zip(ours.question_ids, ours.pass_rates, strict=True))
        gaps += [known[q] - rate for q, rate in zip(theirs.question_ids, theirs.pass_rates, strict=True) if q in known]
    accuracy = [a.accuracy - b.accuracy for a, b in zip(trl.evaluations, verl.evaluations, strict=False)]
    return {
        "strategy": label,
        "seed": seed,
        "steps": len(steps),
        "steps_with_the_same_questions": sum(a.question_ids == b.question_ids for a, b in steps),
        "steps_with_the_same_pass_rates": sum(a.question_ids == b.question_ids and a.pass_rates == b.pass_rates for a, b in steps),
        "pass_rate_gap_mean": statistics.fmean(gaps) if gaps else None,
        "pass_rate_gap_mean_absolute": statistics.fmean(map(abs, gaps)) if gaps else None,
        "accuracy_gap_mean": statistics.fmean(accuracy),
        "accuracy_gap_largest": max(accuracy, key=abs),
        "accuracy_trl": trl.evaluations[-1].accuracy,
        "accuracy_verl": verl.evaluations[-1].accuracy,
        "log_prob_gap_trl": max(s.fresh_log_ratio or 0.0 for s in trl.steps),
        "log_prob_gap_verl": max(s.fresh_log_ratio or 0.0 for s in verl.steps),
        "seconds_per_step_trl": statistics.median(s.seconds for s in trl.steps),
        "seconds_per_step_verl": statistics.median(s.seconds for s in verl.steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--csv", type=Path, help="also write the table there")
    arguments = parser.parse_args()
    rows = [compared(*pair) for pair in pairs_in(arguments.runs_dir / "backends")]
    if not rows:
        raise SystemExit(f"no strategy has run on both backends in {arguments.runs_dir / 'backends'}; run: halfway run backends")
    for row in rows:
        print("; ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()))
    if arguments.csv is not None:
        with open(arguments.csv, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
