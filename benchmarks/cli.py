"""How long a person waits: `halfway --help`, and the status of 1,000 finished runs with ledgers of real length.

python benchmarks/cli.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.ledger import LedgerWriter
from harness.runs import run_paths, run_status
from harness.spec import CombinationSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec
from harness.types import Costs, EvalPoint, StepRecord

STEPS, GROUPS = 48, 32


def seconds_of(command: list[str], times: int) -> float:
    """Median wall seconds of a command."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def spec(seed: int) -> RunSpec:
    """One of the runs."""
    return RunSpec(
        suite="many",
        combination=CombinationSpec(name="c", backend="trl", model=ModelSpec(name="m"), task=TaskSpec(name="t")),
        strategy=StrategySpec(label="grpo", name="grpo", version="1"),
        seed=seed,
    )


def write_ledger(path: Path, run: RunSpec) -> None:
    """A finished run: steps with their questions and pass rates, an evaluation every four."""
    ledger = LedgerWriter(path)
    ledger.write("run", schema=1, run_id=run.run_id, spec=run.model_dump(mode="json"))
    ledger.write("attempt", number=1, environment={}, resumed_from=0)
    for step in range(1, STEPS + 1):
        costs = Costs(training_seconds=0.4 * step, training_steps=step)
        record = StepRecord(
            step, list(range(GROUPS)), [0.125] * GROUPS, [], [], 0.5, 0, 1, 0.4, {"rollout": 0.2, "update": 0.2}, costs, 0.1, 0.2, 7.5
        )
        ledger.write("step", record)
        if step % 4 == 0:
            ledger.write("evaluation", EvalPoint(step, 0.3, {"test": 0.3}, 512, costs))
    ledger.write("complete", step=STEPS)
    ledger.close()


def measure(runs: int, times: int) -> dict[str, Any]:
    """Seconds of help and of the status of ``runs`` runs."""
    help_seconds = seconds_of([sys.executable, "-m", "harness.cli", "--help"], times)
    specs = [spec(seed) for seed in range(runs)]
    with tempfile.TemporaryDirectory() as folder:
        first = run_paths(Path(folder), specs[0])
        write_ledger(first.ledger, specs[0])
        for run in specs[1:]:
            paths = run_paths(Path(folder), run)
            paths.root.mkdir(parents=True)
            shutil.copy(first.ledger, paths.ledger)
        start = time.perf_counter()
        states = [run_status(run_paths(Path(folder), run), run).state for run in specs]
        status_seconds = time.perf_counter() - start
        size = first.ledger.stat().st_size
    assert set(states) == {"complete"}
    return {"help_seconds": round(help_seconds, 3), "runs": runs, "ledger_bytes": size, "status_seconds": round(status_seconds, 3)}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs and repetitions")
    quick = parser.parse_args().quick
    print(json.dumps(measure(runs=100 if quick else 1000, times=5 if quick else 21), indent=2))


if __name__ == "__main__":
    main()
