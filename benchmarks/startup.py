"""Measure what a run waits for beside its training: from its start to its first step, and from its last step to its end.

python benchmarks/startup.py [--quick]

Runs of the quick suite's GRPO with two steps, one at a time, once forked from a warm worker and once each as a process of its own
(HALFWAY_WARM=0), in this order and then the other way round; the shared preparation is done before. Prints both side by side.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.display.lines import LineDisplay
from harness.records.ledger_records import Record
from harness.records.run_folder import RunStatus
from harness.runner.suite_runner import run_suite
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from harness.types import StepRecord

WAYS = {"warm": "1", "alone": "0"}


class Stopwatch(LineDisplay):
    """A display that prints nothing and notes, in seconds, how long runs take to their first step and from their last."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.starts: list[float] = []
        self.ends: list[float] = []
        self._steps: list[float] = []
        self._started = 0.0

    def started(self, run: RunSpec, step: int) -> None:
        self._started, self._steps = time.perf_counter(), []
        super().started(run, step)

    def recorded(self, run: RunSpec, record: Record) -> None:
        if isinstance(record, StepRecord):
            self._steps.append(time.perf_counter())
        super().recorded(run, record)

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        self.starts.append(self._steps[0] - self._started)
        self.ends.append(time.perf_counter() - self._steps[-1])
        super().ended(run, status)


def short_runs(count: int) -> list[RunSpec]:
    """GRPO on the quick suite's model, two steps."""
    suite = load_suite(find_suite("quick"))
    baseline = next(run for run in plan(suite) if run.strategy.label == suite.baseline)
    algorithm = baseline.algorithm.model_copy(update={"max_steps": 2})
    return [baseline.model_copy(update={"algorithm": algorithm, "seed": seed}) for seed in range(1, count + 1)]


def measure(runs: Sequence[RunSpec], way: str) -> tuple[Stopwatch, float]:
    """The times of all runs, and the seconds of the whole command."""
    os.environ["HALFWAY_WARM"] = WAYS[way]
    watch, begun = Stopwatch(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = run_suite(runs, Path(folder), watch, max_parallel=1)
    if result.exit_code:
        raise SystemExit("\n".join(str(outcome.status.failure) for outcome in result.outcomes))
    return watch, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two runs each, one round")
    quick = parser.parse_args().quick
    runs = short_runs(2 if quick else 5)
    measure(runs[:1], "warm")  # what runs share is built here
    found: dict[str, list[tuple[Stopwatch, float]]] = {way: [] for way in WAYS}
    for way in list(WAYS) if quick else [*WAYS, *reversed(WAYS)]:
        found[way].append(measure(runs, way))
    print(f"{'seconds, median of runs':32}{'warm':>8}{'alone':>8}{'ratio':>8}")
    rows = {
        "start to first step": [[s for watch, _ in found[way] for s in watch.starts] for way in WAYS],
        "last step to end": [[s for watch, _ in found[way] for s in watch.ends] for way in WAYS],
        f"whole command, {len(runs)} runs": [[whole for _, whole in found[way]] for way in WAYS],
    }
    for name, values in rows.items():
        warm, alone = (statistics.median(value) for value in values)
        print(f"{name:32}{warm:8.2f}{alone:8.2f}{alone / warm:8.1f}")


if __name__ == "__main__":
    main()
