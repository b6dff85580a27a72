"""Measure what tuning is worth: a strategy with the suite's own settings against the same strategy with those of ``halfway tune``.

    halfway tune SUITE --only combination=NAME --only strategy=grpo --trials 10
    python benchmarks/tuning.py SUITE --combination NAME [--strategy grpo] [--runs-dir runs] [--csv FILE]

Both run in pairs on the reporting seeds and test questions, which tuning never used. The target is computed from the untuned runs by
the suite's rule, as in a report without tuning. Tokens and steps come first, because seconds depend on the machine. Run it again to
continue; if it is stopped early, it compares the finished pairs.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.display.choose import make_display
from harness.records.curves import curve_of
from harness.records.ledger import RunLog, read_ledger
from harness.records.run_folder import run_paths, run_status
from harness.runner.suite_runner import run_suite
from harness.spec import RunSpec
from harness.stats import paired_speed_up, parse_target, reach, resolve_target
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, find_suite, plan
from harness.tuning.apply import tuned
from harness.tuning.lock_file import Lock, find_lock

LEDGERS = ("generated_tokens", "token_cost", "training_steps", "optimizer_steps", "cpu_seconds", "training_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--combination", required=True)
    parser.add_argument("--strategy", default="grpo")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--max-parallel", type=int)
    parser.add_argument("--csv", type=Path)
    words = parser.parse_args()
    suite = load_suite(find_suite(words.suite))
    path = find_lock(suite, words.runs_dir)
    if path is None:
        sys.exit(f"no lock file for {suite.name}: run 'halfway tune {words.suite}' first")
    lock = Lock.read(path)
    pairs = list(zip(_runs(suite, words), _runs(tuned(suite, lock, path), words), strict=True))
    display = make_display()
    try:
        run_suite([run for pair in pairs for run in pair], words.runs_dir, display, max_parallel=words.max_parallel)
    finally:
        display.close()
    finished = [pair for pair in pairs if all(run_status(run_paths(words.runs_dir, run), run).is_result for run in pair)]
    if not finished:
        sys.exit("no pair of runs is finished yet; start the same command again")
    logs = [tuple(read_ledger(run_paths(words.runs_dir, run).ledger) for run in pair) for pair in finished]
    rows = list(_compare(suite, lock, words, logs))
    writer = csv.DictWriter(sys.stdout, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    if words.csv:
        with open(words.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _runs(suite: Suite, words: argparse.Namespace) -> list[RunSpec]:
    return [run for run in plan(suite) if (run.combination.name, run.strategy.label) == (words.combination, words.strategy)]


def _compare(suite: Suite, lock: Lock, words: argparse.Namespace, logs: Sequence[tuple[RunLog, ...]]) -> list[dict[str, Any]]:
    study = lock.study(words.combination, words.strategy)
    assert study is not None, "tuned() found its settings"
    rule = parse_target(suite.target.model_dump(mode="json"))
    own, best = [curve_of(pair[0]) for pair in logs], [curve_of(pair[1]) for pair in logs]
    target = resolve_target(rule, own)
    rows = []
    for ledger in LEDGERS:
        a, b = ([reach(c, target.accuracy, cost=ledger, rule=rule.crossing) for c in curves] for curves in (own, best))
        found = paired_speed_up(list(zip(a, b, strict=True)))
        rows.append(
            {
                "combination": words.combination, "strategy": words.strategy, "trials": len(study.trials),
                "tuning_seeds": len(lock.seeds), "reporting_seeds": len(logs),
                "own_settings": json.dumps(study.own.settings), "tuned_settings": json.dumps(study.winner.settings),
                "objective_own": round(study.own.value, 4), "objective_tuned": round(study.winner.value, 4),
                "target_accuracy": round(target.accuracy or float("nan"), 4), "ledger": ledger,
                "reached_own": sum(r.reached for r in a), "reached_tuned": sum(r.reached for r in b),
                "median_own": _median(a), "median_tuned": _median(b), "speed_up": f"{found.at_least:.3f}" if found.exact else "open",
                "low": "" if found.low is None else f"{found.low:.3f}", "high": "" if found.high is None else f"{found.high:.3f}",
                "verdict": found.verdict, "final_own": round(float(_middle([c.accuracy[-1] for c in own])), 4),
                "final_tuned": round(float(_middle([c.accuracy[-1] for c in best])), 4),
            }
        )  # fmt: skip
    return rows


def _median(outcomes: Sequence[Any]) -> str:
    return f"{_middle([o.cost for o in outcomes]):.6g}"


def _middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return float(ordered[len(ordered) // 2]) if len(ordered) % 2 else float(ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) / 2


if __name__ == "__main__":
    main()
