"""How far TRL and verl agree on the suite ``backends``: the same specs, seeds and random numbers on both.

    halfway run backends && python benchmarks/verl_agreement.py [--runs-dir runs]

Reads ledgers only. Per strategy and seed: in how many steps the same questions were selected, how far pass rates and accuracies are
apart, and the largest gap between the log-probs of sampling and of training on fresh tokens.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from harness.ledger import RunLog, read_ledger


def pairs_in(folder: Path) -> list[tuple[str, int, RunLog, RunLog]]:
    """(strategy, seed, TRL's run, verl's run) of every pair in a suite's folder."""
    found: dict[tuple[str, int], dict[str, RunLog]] = defaultdict(dict)
    for path in sorted(folder.glob("*/ledger.jsonl")):
        log = read_ledger(path)
        found[log.spec["strategy"]["label"], log.spec["seed"]][log.spec["combination"]["backend"]] = log
    return [(label, seed, logs["trl"], logs["verl"]) for (label, seed), logs in sorted(found.items()) if {"trl", "verl"} <= set(logs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    print("strategy seed  steps  same questions  first step  mean pass-rate gap  accuracy gap mean/last  log-prob gap TRL/verl")
    for label, seed, trl, verl in pairs_in(parser.parse_args().runs_dir / "backends"):
        steps = list(zip(trl.steps, verl.steps, strict=False))
        if not steps:
            continue
        same = sum(a.question_ids == b.question_ids for a, b in steps)
        gaps = [abs(x - y) for a, b in steps if a.question_ids == b.question_ids for x, y in zip(a.pass_rates, b.pass_rates, strict=True)]
        first = "equal" if steps[0][0].pass_rates == steps[0][1].pass_rates else "differs"
        accuracy = [abs(a.accuracy - b.accuracy) for a, b in zip(trl.evaluations, verl.evaluations, strict=False)]
        fresh = [max(s.fresh_log_ratio or 0.0 for s in log.steps) for log in (trl, verl)]
        print(
            f"{label:8s} {seed:4d}  {len(steps):5d}  {same:7d}/{len(steps):<6d}  {first:10s}  {np.mean(gaps):18.4f}  "
            f"{np.mean(accuracy):13.4f}/{accuracy[-1]:.4f}  {fresh[0]:.1e}/{fresh[1]:.1e}"
        )


if __name__ == "__main__":
    main()
