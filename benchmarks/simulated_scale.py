"""Questions of scale that the paper leaves open, put to a simulated policy: larger pools, longer runs, other groups and batches, staleness.

    python -m benchmarks.simulated_scale [--only "G = 4"] [--seeds 5] [--quick] [--into docs/rehearsal.md]

The suite ``simulated`` with one thing changed at a time. Speed-up over plain GRPO of the same setting to 90 % of its gain, μ = 1 (median
of paired seeds, 95 % interval); nothing is tuned anew. Prints and writes ``benchmarks/results/simulated_scale.csv``, and with ``--into``
the table of the guide. SIMULATED, not measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.document import insert
from benchmarks.simulated_runs import Arm, simulate, speed_up, target_of
from harness.stats import EQUAL_PRICES, Curve, SpeedUp

ROOT = Path(__file__).resolve().parents[1]
#: Setting → (changes to the algorithm, changes to the task).
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as fitted: 2,048 questions, B = 32, G = 8": ({}, {}),
    "pool of 1,000": ({}, {"train": 1_000}),
    "pool of 10,000": ({}, {"train": 10_000}),
    "pool of 100,000": ({}, {"train": 100_000}),
    "G = 4": ({"group_size": 4}, {}),
    "G = 16": ({"group_size": 16}, {}),
    "B = 8": ({"groups_per_step": 8}, {}),
    "B = 128": ({"groups_per_step": 128}, {}),
    "800 steps": ({"max_steps": 800}, {}),
    "rollouts 4 steps old": ({"staleness": 4}, {}),
    "rollouts 16 steps old": ({"staleness": 16}, {}),
}
ARMS: dict[str, dict[str, Any]] = {"rr": {}, "mopps+rr": {}, "frontier": {"features": "embeddings"}}
MARK = "simulated scale"


def words(found: SpeedUp) -> str:
    """``1.38 [1.35, 1.40]``; bounds where a run missed the target."""
    middle = f"{found.at_least:.2f}" if found.exact else f"{found.at_least:.2f} to {found.at_most:.2f}"
    return middle if found.low is None else f"{middle} [{found.low:.2f}, {found.high:.2f}]"


def markdown(table: pd.DataFrame) -> str:
    """One line per setting, one column per strategy."""
    rows = table.to_dict("records")
    lines = [f"| simulated | GRPO's informative share | {' | '.join(f'`{a}`' for a in ARMS)} |", "|---|---|" + "---|" * len(ARMS)]
    for setting in (name for name in SETTINGS if name in set(table["setting"])):
        own = {r["strategy"]: r for r in rows if r["setting"] == setting}
        lines.append(f"| {setting} | {own['grpo']['informative']:.2f} | {' | '.join(own[a]['ratio'] for a in ARMS)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two seeds, 20 steps, nothing written")
    parser.add_argument("--only", action="append", choices=SETTINGS, help="a setting; repeatable. The rows of the others stay")
    parser.add_argument("--into", type=Path, metavar="FILE.md")
    arguments = parser.parse_args()
    seeds = range(1, 3 if arguments.quick else arguments.seeds + 1)
    rows: list[dict[str, Any]] = []
    chosen = arguments.only or list(SETTINGS)
    for setting, (changed, task) in ((name, SETTINGS[name]) for name in chosen):
        algorithm = {**changed, "max_steps": 20} if arguments.quick else changed
        baseline: list[Curve] = []
        for name, config in {"grpo": {}, **ARMS}.items():
            runs = [simulate(Arm(name, config, algorithm, task), seed) for seed in seeds]
            curves = [r.curve(name, s) for r, s in zip(runs, seeds, strict=True)]
            baseline = baseline or curves
            found = speed_up(baseline, curves, target_of(baseline), EQUAL_PRICES)
            informative = float(np.mean([s.non_degenerate_share for r in runs for s in r.steps]))
            rows.append(
                {
                    "setting": setting, "strategy": name, "n": found.n, "at_least": found.at_least, "at_most": found.at_most,
                    "low": found.low, "high": found.high, "informative": informative,
                    "final_accuracy": float(np.mean([c.accuracy[-1] for c in curves])), "ratio": words(found),
                }
            )  # fmt: skip
            print(f"{setting:45} {name:10} {words(found)}", flush=True)
    if arguments.quick:
        return
    path = ROOT / "benchmarks" / "results" / "simulated_scale.csv"
    kept = pd.read_csv(path)
    table = pd.concat([kept[~kept["setting"].isin(chosen)], pd.DataFrame(rows).round(4)], ignore_index=True)
    table.to_csv(path, index=False)
    if arguments.into:
        insert(arguments.into, MARK, markdown(table))


if __name__ == "__main__":
    main()
