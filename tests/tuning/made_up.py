"""A suite whose runs are made up: ledgers by the real writer, accuracies by formula, so that a study costs milliseconds."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Attempt, Complete, Record, start_of
from harness.records.run_folder import RunPaths, run_paths
from harness.spec import RunSpec
from harness.suite.reader import load_suite
from harness.suite.suite import Suite
from harness.types import Costs, EvalPoint

SUITE = """
name = "made-up"
seeds = [1, 2]
baseline = "grpo"

[algorithm]
groups_per_step = 6
group_size = 4
max_steps = 20
learning_rate = 1e-3

[evaluation]
every_steps = 2

[tuning]
trials = 8
seeds = [11, 12]

[[combinations]]
name = "first"
backend = "toy_engine:ToyBackend"
model = "softmax"
task = "tuned_task:Task"

[[combinations]]
name = "second"
backend = "toy_engine:ToyBackend"
model = "softmax"
task = "tuned_task:Task"
algorithm = { groups_per_step = 8 }

[[strategies]]
name = "grpo"

[[strategies]]
name = "rr"
config = { capacity = 32 }
"""


def made_up_suite(folder: Path, text: str = SUITE) -> Suite:
    """The suite, read from a file as a user's would be."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made-up.toml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path)


def accuracy(spec: RunSpec, step: int) -> float:
    """Rises from 0.1; how fast depends on the settings (best learning rate 4e-3, 4 updates), and a little on seed and step."""
    algorithm = spec.algorithm
    miss = abs(math.log(algorithm.learning_rate / 4e-3)) + 0.3 * abs(math.log2(algorithm.updates_per_batch / 4))
    speed = 0.25 * math.exp(-miss)
    noise = zlib.crc32(f"{spec.seed}/{step}".encode()) / 2**32 - 0.5
    return min(1.0, 0.1 + 0.6 * (1 - math.exp(-speed * step)) + 0.02 * noise)


def write_run(spec: RunSpec, runs_dir: Path, before_record: Callable[[RunPaths], None] = lambda paths: None) -> None:
    """Bring a run to its ``max_steps``, going on from what a complete ledger holds, as a worker would."""
    paths = run_paths(runs_dir, spec)
    paths.root.mkdir(parents=True, exist_ok=True)
    spec.save(paths.spec)
    before_record(paths)
    fresh = not paths.ledger.exists() or b"\n" not in paths.ledger.read_bytes()
    start = 0 if fresh else _last_complete(paths)
    ledger = LedgerWriter(paths.ledger)
    try:
        for record in _records(spec, fresh, start):
            before_record(paths)
            ledger.write(record)
    finally:
        ledger.close()


def _last_complete(paths: RunPaths) -> int:
    steps = [0]
    for line in paths.ledger.read_text(encoding="utf-8").splitlines():
        if '"type":"complete"' in line and line.endswith("}"):
            steps.append(int(line.partition('"step":')[2].partition(",")[0]))
    return max(steps)


def _records(spec: RunSpec, fresh: bool, start: int) -> Iterator[Record]:
    if fresh:
        yield start_of(spec)
    yield Attempt(1, {}, start)
    tokens = 1000 * int(spec.strategy.config.get("fresh_fraction", 1.0) * spec.algorithm.groups_per_step)
    every, last = spec.evaluation.every_steps, spec.algorithm.max_steps
    for step in [s for s in range(last + 1) if (s % every == 0 or s == last) and (s > start or start == 0)]:
        at = accuracy(spec, step)
        costs = Costs(training_seconds=0.5 * step, training_steps=step, generated_tokens=tokens * step, trained_tokens=tokens * step)
        yield EvalPoint(step, at, {"validation": at}, 100, costs)
    yield Complete(last)


def write_runs(runs: Sequence[RunSpec], runs_dir: Path) -> bool:
    """An executor for the tuner: every run it is given."""
    for spec in runs:
        write_run(spec, runs_dir)
    return True
