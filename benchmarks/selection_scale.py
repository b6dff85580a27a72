"""What selection costs as the pool grows: seconds per step and peak memory of every strategy at 10⁴, 10⁵ and 10⁶ questions.

    python benchmarks/selection_scale.py [STRATEGY …] [--quick]

Each strategy and size runs in a process of its own (its memory is its own), three steps of 64 groups of 8 on simulated questions; the
smaller of the last two counts, engine excluded. Seconds are processor seconds of one thread, so that other work on the machine does not
count. Memory is the process's peak above that of plain GRPO at the same size. Prints a table and writes
``benchmarks/results/selection_scale.csv``, of which rows of other strategies stay.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from harness.registry import BUILTIN_STRATEGIES, strategy_entry
from harness.testing.simulation import SimulatedRun, untrained_predictor
from harness.types import PromptGroup

ROOT = Path(__file__).resolve().parents[1]
SIZES = (10_000, 100_000, 1_000_000)


def measure(name: str, size: int) -> dict[str, float]:
    """Seconds per step outside the engine, and this process's peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        entry = strategy_entry(name)
        predictor = untrained_predictor(Path(folder)) if "predictor" in entry.requires else None
        run = SimulatedRun(entry.build({}), size, groups_per_step=64, group_size=8, predictor=predictor)
        engine = EngineTime(run)
        seconds = []
        for _ in range(3):
            started = time.process_time() - engine.seconds
            run.step()
            seconds.append(time.process_time() - engine.seconds - started)
    return {
        "seconds": min(seconds[1:]),
        "first": seconds[0],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class EngineTime:
    """Processor seconds that a run's engine has taken for rollouts."""

    def __init__(self, run: SimulatedRun) -> None:
        self.seconds = 0.0
        self._rollout = run.engine.rollout
        run.engine.rollout = self._timed  # type: ignore[method-assign]

    def _timed(self, *arguments: Any) -> list[PromptGroup]:
        started = time.process_time()
        groups = self._rollout(*arguments)
        self.seconds += time.process_time() - started
        return groups


def in_own_process(name: str, size: int) -> dict[str, float]:
    """:func:`measure` where nothing else has used memory before."""
    code = f"import json; from benchmarks.selection_scale import measure; print(json.dumps(measure({name!r}, {size})))"
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("strategies", nargs="*", default=list(BUILTIN_STRATEGIES))
    parser.add_argument("--quick", action="store_true", help="10⁴ questions only, nothing written")
    arguments = parser.parse_args()
    sizes = SIZES[:1] if arguments.quick else SIZES
    base = {size: in_own_process("grpo", size)["peak"] for size in sizes}
    rows = []
    for name in arguments.strategies:
        for size in sizes:
            found = in_own_process(name, size)
            rows.append((name, size, round(found["seconds"], 4), round(found["first"], 3), round(found["peak"] - base[size], 1)))
            print(f"{name:16} {size:>9,}  {rows[-1][2]:8.4f} s/step  first {rows[-1][3]:7.3f} s  {rows[-1][4]:+8.1f} MiB", flush=True)
    if not arguments.quick:
        path = ROOT / "benchmarks" / "results" / "selection_scale.csv"
        columns = ["strategy", "questions", "seconds_per_step", "first_step_seconds", "mib_above_grpo"]
        table = pd.concat([pd.read_csv(path), pd.DataFrame(rows, columns=columns)])
        table.drop_duplicates(["strategy", "questions"], keep="last").sort_values("questions").sort_values(
            "strategy", kind="stable", key=lambda names: names.map(list(BUILTIN_STRATEGIES).index)
        ).to_csv(path, index=False)


if __name__ == "__main__":
    main()
