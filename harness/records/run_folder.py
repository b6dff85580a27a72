"""A run's folder and the state derived from it.

``runs/<suite>/<run_id>/`` holds ``spec.json``, ``ledger.jsonl``, ``attempts/N/{env.json,log.txt}``, ``checkpoints/`` and ``lock``.
No state is written down: a run is *running* while a living worker holds its lock, and otherwise what the last line of its
ledger says it is. A worker that was killed in whatever way therefore never stays "running".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.records.file_locks import is_locked
from harness.records.ledger import LEDGER_NAME
from harness.records.tail import records_from_the_end
from harness.spec import RunSpec, SpecError

RunState = Literal["pending", "running", "interrupted", "complete", "exhausted", "failed"]

STOP_NAME = "stop"
"""A file of this name in a run's folder asks the worker to end at its next checkpoint."""

STATES: tuple[RunState, ...] = ("complete", "exhausted", "running", "interrupted", "pending", "failed")
DONE: frozenset[RunState] = frozenset({"complete", "exhausted"})
MENDABLE = frozenset({"input", "disk", "memory", "out-of-memory"})
"""Kinds of failure that a person can mend (a missing package, a full disk): the next command tries the run again."""

DIVERGED = frozenset({"nan", "nan-loss"})
"""Kinds of failure that lie in the training itself. All others (a bug, a lost rank, a reward that raises) say nothing of the strategy."""


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
    def stop(self) -> Path:
        """While it exists, the worker ends at its next checkpoint."""
        return self.root / STOP_NAME


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What ``status`` shows of one run: state, last step and accuracy recorded, training seconds, last failure.

    tokens: generated so far. wall_seconds_per_step: of the attempt that completed it, everything included; None where not recorded.
    """

    state: RunState
    step: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    failure: str | None = None
    failure_kind: str | None = None
    tokens: int = 0
    wall_seconds_per_step: float | None = None

    @property
    def mendable(self) -> bool:
        """Failed in a way that the next command should try again."""
        return self.failure_kind in MENDABLE

    @property
    def is_result(self) -> bool:
        """Done, or failed in training itself (a NaN loss): such a run never reaches the target and must count as a miss."""
        return self.state in DONE or (self.state == "failed" and self.failure_kind in DIVERGED)


def suite_folder(runs_dir: Path, suite: str) -> Path:
    """The folder of all runs of a suite."""
    return runs_dir / suite


def run_paths(runs_dir: Path, spec: RunSpec) -> RunPaths:
    """The folder of a run."""
    return RunPaths(suite_folder(runs_dir, spec.suite) / spec.run_id)


def check_spec(paths: RunPaths) -> RunSpec:
    """Read ``spec.json`` and hold it against the folder's name; SpecError in words if they disagree."""
    spec = RunSpec.load(paths.spec)
    if spec.run_id != paths.root.name:
        raise SpecError(
            f"{paths.spec} describes run {spec.run_id}, but its folder is called {paths.root.name}: the file was edited or the "
            "folder renamed; move the folder away and run again"
        )
    return spec


def run_status(paths: RunPaths, spec: RunSpec, *, mine: bool = False) -> RunStatus:
    """State of a run under ``spec`` (whose ``max_steps`` and budget may have changed since it ran).

    ``mine``: the caller holds the lock and asks what the ledger says.
    """
    step, accuracy, seconds = 0, None, 0.0
    last: dict[str, Any] = {}
    costs: dict[str, Any] = {}
    try:
        for record in records_from_the_end(paths.ledger):
            last = last or record
            kind = record.get("type")
            if kind in ("step", "evaluation") and not costs:
                step, costs = int(record["step"]), record["costs"]
                seconds = float(costs["training_seconds"])
            if kind == "attempt" and not costs:
                step = max(step, int(record["resumed_from"]))
            if kind == "evaluation":
                accuracy = float(record["accuracy"])
                break
    except (KeyError, TypeError, ValueError):
        pass  # not a record of this version: whoever reads the whole ledger says so, with its line
    failed = last.get("type") == "failure"
    locked = not mine and is_locked(paths.lock)
    return RunStatus(
        state=_state(spec, last, costs, locked),
        step=step,
        accuracy=accuracy,
        seconds=seconds,
        failure=str(last.get("message")) if failed else None,
        failure_kind=str(last.get("kind")) if failed else None,
        tokens=int(costs.get("generated_tokens", 0)),
        wall_seconds_per_step=_wall_seconds_per_step(last),
    )


def _wall_seconds_per_step(last: dict[str, Any]) -> float | None:
    try:
        return float(last["seconds"]) / (int(last["step"]) - int(last["resumed_from"])) if last.get("type") == "complete" else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # written by an earlier version, or nothing was left to train


def _state(spec: RunSpec, last: dict[str, Any], costs: dict[str, Any], locked: bool) -> RunState:
    kind = last.get("type")
    if kind == "complete" and last.get("step", 0) >= spec.algorithm.max_steps:
        return "complete"
    if locked:
        return "running"
    if kind == "failure":
        return "failed"
    if costs and spec.budget.reached(costs):
        return "exhausted"
    return "interrupted" if last else "pending"
