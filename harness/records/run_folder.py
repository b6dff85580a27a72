"""A run's folder and the state derived from it.

``runs/<suite>/<run_id>/`` holds ``spec.json``, ``ledger.jsonl``, ``attempts/N/{env.json,log.txt}``, ``checkpoints/`` and ``lock``.
No state is written down: a run is *running* while a living worker holds its lock, and otherwise what the last line of its
ledger says it is. A worker that was killed in whatever way therefore never stays "running".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import FailureKind
from harness.records.file_locks import is_locked
from harness.records.ledger import LEDGER_NAME, NO_RECORD, damaged_line, parse_line
from harness.records.ledger_records import Attempt, Complete, Failure, Record
from harness.records.tail import lines_from_the_end
from harness.spec import RunSpec, SpecError
from harness.types import Costs, EvalPoint, StepRecord

RunState = Literal["pending", "running", "interrupted", "complete", "exhausted", "failed"]

STOP_NAME = "stop"
"""A file of this name in a run's folder asks the worker to end at its next checkpoint."""

ACTIVITY_NAME = "activity"

STATES: tuple[RunState, ...] = ("complete", "exhausted", "running", "interrupted", "pending", "failed")
DONE: frozenset[RunState] = frozenset({"complete", "exhausted"})


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where things are in a run's folder."""

    root: Path

    @property
    def spec(self) -> Path:
        """The resolved run spec."""
        return self.root / "spec.json"

    @property
    def ledger(self) -> Path:
        """The run's ledger."""
        return self.root / LEDGER_NAME

    @property
    def attempts(self) -> Path:
        """Logs and environments, one folder per attempt."""
        return self.root / "attempts"

    @property
    def checkpoints(self) -> Path:
        """The engine's checkpoints."""
        return self.root / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held by the worker for as long as it lives."""
        return self.root / "lock"

    @property
    def activity(self) -> Path:
        """What its worker is at between two records."""
        return self.root / ACTIVITY_NAME

    @property
    def stop(self) -> Path:
        """While it exists, the worker ends at its next checkpoint."""
        return self.root / STOP_NAME


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known of a run from the end of its ledger.

    step: last training step recorded, or that of the checkpoint a new attempt went on from.
    accuracy: of the last evaluation, in [0, 1], or None.
    seconds, tokens: training seconds on the clock and generated tokens, as of the last record that has costs.
    failure, failure_kind: why the last attempt failed, as a sentence and as its kind; None unless that is the last record.
    wall_seconds_per_step: of the attempt that completed the run, evaluations and checkpoints included; None where not recorded.
    start_seconds: of that attempt before its first step or evaluation; 0 where not recorded (then a part of every step).
    last_evaluation: the record behind ``accuracy``.
    """

    state: RunState
    step: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    failure: str | None = None
    failure_kind: FailureKind | None = None
    tokens: int = 0
    wall_seconds_per_step: float | None = None
    start_seconds: float = 0.0
    last_evaluation: EvalPoint | None = None

    @property
    def mendable(self) -> bool:
        """Whether it failed in a way that the next command should try again."""
        return self.failure_kind is not None and self.failure_kind.mendable

    @property
    def is_result(self) -> bool:
        """Done, or failed in training itself: a run that diverged never reaches the target and must count as a miss."""
        return self.state in DONE or (self.state == "failed" and self.failure_kind is FailureKind.NAN)


def suite_folder(runs_dir: Path, suite: str) -> Path:
    """The folder of all runs of a suite."""
    return runs_dir / suite


def run_paths(runs_dir: Path, spec: RunSpec) -> RunPaths:
    """The folder of a run."""
    return RunPaths(suite_folder(runs_dir, spec.suite) / spec.run_id)


def check_spec(paths: RunPaths) -> RunSpec:
    """Read ``spec.json``. Raises SpecError if it cannot be read, or describes another run than the folder's name says."""
    spec = RunSpec.load(paths.spec)
    if spec.run_id != paths.root.name:
        raise SpecError(
            f"{paths.spec} describes run {spec.run_id}, but its folder is called {paths.root.name}: the file was edited or the "
            "folder renamed; move the folder away and run again"
        )
    return spec


def run_status(paths: RunPaths, spec: RunSpec, *, holding_lock: bool = False) -> RunStatus:
    """State of a run under ``spec``, whose ``max_steps`` and budget may have changed since it ran. Never raises for what a ledger holds.

    holding_lock: the caller holds the run's lock itself and asks what the ledger says.
    """
    last: Record | None = None
    step = 0
    evaluated: EvalPoint | None = None
    costs: Costs | None = None
    for record in _last_records(paths):
        last = last or record
        if isinstance(record, (StepRecord, EvalPoint)) and costs is None:
            step, costs = record.step, record.costs
        elif isinstance(record, Attempt) and costs is None:
            step = max(step, record.resumed_from)
        if isinstance(record, EvalPoint):
            evaluated = record
            break
    state = _state(spec, last, costs, paths, holding_lock)
    if state in DONE and not holding_lock and (line := damaged_line(paths.ledger)) is not None:
        last = Failure(
            kind=FailureKind.INPUT, message=f"{paths.ledger}, line {line} is damaged; move the run's folder away and run it again"
        )
        state = "failed"
    return RunStatus(
        state=state,
        step=step,
        accuracy=evaluated.accuracy if evaluated is not None else None,
        seconds=costs.training_seconds if costs else 0.0,
        failure=last.message if isinstance(last, Failure) else None,
        failure_kind=last.kind if isinstance(last, Failure) else None,
        tokens=costs.generated_tokens if costs else 0,
        wall_seconds_per_step=_wall_seconds_per_step(last),
        start_seconds=(last.start_seconds or 0.0) if isinstance(last, Complete) else 0.0,
        last_evaluation=evaluated,
    )


def _last_records(paths: RunPaths) -> Iterator[Record]:
    """Records from the last one backwards; a line that is none ends them (whoever reads the whole ledger names it)."""
    for line in lines_from_the_end(paths.ledger):
        try:
            yield parse_line(line)
        except NO_RECORD:
            return


def _wall_seconds_per_step(last: Record | None) -> float | None:
    if not isinstance(last, Complete) or last.seconds is None or last.resumed_from is None or last.step <= last.resumed_from:
        return None  # written by an earlier version, or nothing was left to train
    return (last.seconds - (last.start_seconds or 0.0)) / (last.step - last.resumed_from)


def _state(spec: RunSpec, last: Record | None, costs: Costs | None, paths: RunPaths, holding_lock: bool) -> RunState:
    if isinstance(last, Complete) and last.step >= spec.algorithm.max_steps:
        return "complete"
    if not holding_lock and is_locked(paths.lock):
        return "running"
    if isinstance(last, Failure):
        return "failed"
    if costs is not None and spec.budget.reached(costs):
        return "exhausted"
    return "pending" if last is None and next(lines_from_the_end(paths.ledger), None) is None else "interrupted"
