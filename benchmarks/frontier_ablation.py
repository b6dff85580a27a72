"""What every part of ``frontier`` is worth to a simulated policy: the strategy whole, without each part, and beside others.

    python -m benchmarks.frontier_ablation [--seeds 10] [--quick]
    python -m benchmarks.frontier_ablation --rehearse TABLE [--seeds 10]

Conditions: the suite ``simulated`` (fitted to a recorded run) at prices μ = 1 and ⅓ of a generated token, and the same policy with a
learning rate three times as high for 80 steps, where stored rollouts age fast. Prompts of simulated questions say nothing, so
``frontier`` reads embeddings here. Prints the speed-up over GRPO to 90 % of its gain at that price (median of paired seeds, 95 % interval)
and writes ``benchmarks/results/frontier_ablation_simulated.csv``. SIMULATED, not measured.

With ``--rehearse`` the same arms play against recorded pass rates instead, into ``benchmarks/results/frontier_ablation_rehearsed.csv``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from benchmarks.simulated_runs import Arm, KeptRecords, simulate, speed_up, target_of
from harness.rehearsal.leaderboard import Player, hold
from harness.rehearsal.play import Conditions
from harness.rehearsal.recording import read_recording
from harness.stats import Curve, SpeedUp
from harness.strategies.frontier_replay import Off
from reports.rehearsal import to_csv

ROOT = Path(__file__).resolve().parents[1]
FAST = {"learning_rate": 1e-2, "max_steps": 80}
CHOICE = ("coverage", "history", "prior", "representativeness", "retirement")
STORED = ("replay", "clip", "uses", "freshness", "retirement")
#: Condition → price of a generated token, changes to the algorithm, the parts that act there, and what else runs.
CONDITIONS: dict[str, tuple[float, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "mu=1": (1.0, {}, get_args(Off), ("rr", "mopps+rr", "fair-replay", "dots-rr", "oracle", "oracle+rr")),
    "mu=1/3": (1 / 3, {}, CHOICE, ("mopps", "oracle")),
    "fast, mu=1": (1.0, FAST, STORED, ("rr", "mopps+rr")),
}


def arms(price: float, algorithm: dict[str, Any], parts: tuple[str, ...], others: tuple[str, ...]) -> dict[str, Arm]:
    """Label → arm, plain GRPO first."""
    whole = {"features": "embeddings", "generated_price": price}
    found = {"grpo": Arm("grpo", {}, algorithm), "frontier": Arm("frontier", whole, algorithm)}
    found["frontier, text only"] = Arm("frontier", {"generated_price": price}, algorithm)
    found |= {f"frontier without {part}": Arm("frontier", {**whole, "without": [part]}, algorithm) for part in parts}
    dots = {"references": 64, "tau": 0.1}
    return found | {name: Arm(name, dots if name == "dots-rr" else {}, algorithm) for name in others}


def rehearse(table: Path, seeds: range) -> None:
    """The strategy, each part off, and its other features, against recorded pass rates."""
    configs: dict[str, dict[str, Any]] = {"frontier": {}, "frontier, embeddings": {"features": "embeddings"}}
    configs |= {f"frontier without {part}": {"without": [part]} for part in get_args(Off)}
    configs |= {f"frontier, mu={price}": {"generated_price": value} for price, value in (("1/3", 1 / 3), ("5", 5.0))}
    # Stored groups are all informative; without them, the selection itself is seen.
    configs |= {f"{label}, no replay": {**c, "without": [*c.get("without", []), "replay"]} for label, c in list(configs.items())}
    recording = read_recording(table, drop_repeated=True)
    board = hold(recording, [Player(label, "frontier", c) for label, c in configs.items()], Conditions(), seeds=seeds, processes=1)
    for line in board.rows:
        found = {name: line.estimates[name] for name in ("informative", "wasted", "coverage", "concentration")}
        print(f"{line.label:45} " + "  ".join(f"{name} {e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]" for name, e in found.items()), flush=True)
    (ROOT / "benchmarks" / "results" / "frontier_ablation_rehearsed.csv").write_text(to_csv(board), encoding="utf-8")


def row(condition: str, label: str, runs: list[KeptRecords], over: SpeedUp, steps: SpeedUp, curves: list[Curve]) -> dict[str, Any]:
    """One line of the table."""

    def mean(values: Any) -> float:
        return round(float(np.mean(list(values))), 4)

    return {
        "condition": condition, "strategy": label, "n": over.n, "at_least": round(over.at_least, 4), "at_most": round(over.at_most, 4),
        "low": over.low and round(over.low, 4), "high": over.high and round(over.high, 4), "verdict": over.verdict,
        "steps_at_least": round(steps.at_least, 4), "steps_low": steps.low and round(steps.low, 4),
        "steps_high": steps.high and round(steps.high, 4), "final_accuracy": mean(c.accuracy[-3:].mean() for c in curves),
        "informative": mean(s.non_degenerate_share for r in runs for s in r.steps),
        "fresh_informative": mean(0 < p < 1 for r in runs for s in r.steps for p in s.pass_rates),
        "generated_per_step": mean(r.points[-1].costs.generated_tokens / len(r.steps) for r in runs),
        "questions_drawn": mean(len({q for s in r.steps for q in s.question_ids}) for r in runs),
    }  # fmt: skip


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="two seeds, 20 steps, nothing written")
    parser.add_argument("--rehearse", type=Path, metavar="TABLE", help="play against this table of pass rates instead")
    arguments = parser.parse_args()
    seeds = range(1, 3 if arguments.quick else arguments.seeds + 1)
    if arguments.rehearse:
        rehearse(arguments.rehearse, seeds)
        return
    rows = []
    for condition, (price, algorithm, parts, others) in CONDITIONS.items():
        baseline: list[Curve] = []
        algorithm = {**algorithm, "max_steps": 20} if arguments.quick else algorithm
        for label, arm in arms(price, algorithm, parts, others).items():
            runs = [simulate(arm, seed) for seed in seeds]
            curves = [r.curve(label, s) for r, s in zip(runs, seeds, strict=True)]
            baseline = baseline or curves
            target = target_of(baseline)
            over, steps = (speed_up(baseline, curves, target, cost) for cost in (f"price:{price:g}", "training_steps"))
            rows.append(row(condition, label, runs, over, steps, curves))
            bounds = "" if over.low is None else f"[{over.low:.2f}, {over.high:.2f}]"
            print(f"{condition:11} {label:34} {over.at_least:5.2f} {bounds:14} {over.verdict}", flush=True)
        if not arguments.quick:
            pd.DataFrame(rows).to_csv(ROOT / "benchmarks" / "results" / "frontier_ablation_simulated.csv", index=False)


if __name__ == "__main__":
    main()
