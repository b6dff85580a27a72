"""Measure how long a user waits for `halfway --help`, and for `status` and `plan` of 1,000 finished runs with ledgers of real length.

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

from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Attempt, Complete, start_of
from harness.records.run_folder import run_paths, run_status
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, plan
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


def write_suite(folder: Path, runs: int) -> Suite:
    """A suite of ten combinations with two arms each, and enough seeds for ``runs`` runs."""
    text = f'name = "many"\nseeds = {list(range(runs // 20))}\n'
    for i in range(10):
        text += f'[[combinations]]\nname = "c{i}"\nbackend = "trl"\nmodel = "m{i}"\ntask = "spell-backward"\n'
    text += '[[strategies]]\nname = "grpo"\n[[strategies]]\nname = "dots-rr"\n'
    (folder / "many.toml").write_text(text)
    return load_suite(folder / "many.toml")


def write_ledger(path: Path, run: RunSpec) -> None:
    """Write a finished run: steps with their questions and pass rates, an evaluation every four steps."""
    ledger = LedgerWriter(path)
    ledger.write(start_of(run))
    ledger.write(Attempt(1, {}, 0))
    for step in range(1, STEPS + 1):
        costs = Costs(training_seconds=0.4 * step, training_steps=step)
        record = StepRecord(
            step, list(range(GROUPS)), [0.125] * GROUPS, [], [], 0.5, 0, 1, 0.4, {"rollout": 0.2, "update": 0.2}, costs, 0.1, 0.2, 7.5
        )
        ledger.write(record)
        if step % 4 == 0:
            ledger.write(EvalPoint(step, 0.3, {"test": 0.3}, 512, costs))
    ledger.write(Complete(STEPS))
    ledger.close()


def measure(runs: int, times: int) -> dict[str, Any]:
    """Seconds of ``--help`` and of ``status`` for ``runs`` runs: of reading their ledgers, and of the whole commands."""
    halfway = [sys.executable, "-m", "harness.cli"]
    help_seconds = seconds_of([*halfway, "--help"], times)
    with tempfile.TemporaryDirectory() as folder:
        specs = plan(write_suite(Path(folder), runs))
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
        where = [f"{folder}/many.toml", "--runs-dir", folder]
        commands = {name: round(seconds_of([*halfway, name, *where], 1 + times // 4), 3) for name in ("status", "plan")}
    assert set(states) == {"complete"}
    return {
        "help_seconds": round(help_seconds, 3), "runs": len(specs), "ledger_bytes": size, "status_seconds": round(status_seconds, 3),
        "status_command_seconds": commands["status"], "plan_command_seconds": commands["plan"],
    }  # fmt: skip


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs and repetitions")
    quick = parser.parse_args().quick
    print(json.dumps(measure(runs=100 if quick else 1000, times=5 if quick else 21), indent=2))


if __name__ == "__main__":
    main()
