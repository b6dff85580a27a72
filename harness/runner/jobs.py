"""Attempts at runs as the runner sees them: followed through the files they write, stopped, judged."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

from harness.errors import Interrupted
from harness.records.run_folder import RunPaths
from harness.records.tail import Follower
from harness.runner.executors.base import Worker
from harness.spec import RunSpec
from harness.worker.protocol import INTERRUPTED


class Watch:
    """Stops a worker that has written nothing for too long."""

    def __init__(self, process: Worker, follower: Follower, silence_seconds: float) -> None:
        self._process, self._follower, self.seconds = process, follower, silence_seconds
        self.silenced = False

    def look(self) -> None:
        """Kill the worker if it has been silent; one that waits for its place cannot be anything else."""
        if not self._process.placed:
            self._follower.begin_now()
        elif self._follower.silent_seconds() > self.seconds:
            self.silenced = True
            self._process.kill()


class Job:
    """One attempt at a run."""

    def __init__(self, spec: RunSpec, paths: RunPaths, follower: Follower, process: Worker, step: int) -> None:
        self.spec, self.paths, self.follower, self.process, self.step = spec, paths, follower, process, step
        self.watch = Watch(process, follower, spec.execution.silence_seconds)
        self.recorded_failure = False

    def news(self) -> list[dict[str, Any]]:
        """Ledger records since the last call."""
        records = [r for r in self.follower.news() if isinstance(r, dict)]
        for record in records:
            if record.get("type") in ("step", "evaluation"):
                self.step = int(record["step"])
            elif record.get("type") == "attempt":
                self.step = int(record["resumed_from"])
            self.recorded_failure = record.get("type") == "failure"
        return records

    def finish_soon(self) -> None:
        """Ask the worker to end at its next checkpoint."""
        with contextlib.suppress(OSError):  # a full disk ends it in its own way
            self.paths.stop.touch()

    def clear_up(self) -> None:
        """Take back a request to end that the worker may not have needed."""
        with contextlib.suppress(OSError):
            self.paths.stop.unlink(missing_ok=True)

    def how_it_died(self, code: int) -> str | None:
        """For a worker that was ended rather than ending: how. None if it ended by itself."""
        if self.watch.silenced:
            return f"stopped after recording nothing for {self.spec.execution.silence_seconds:g} s"
        if self.process.death is not None:
            return self.process.death
        if code == INTERRUPTED:
            return "asked to stop (SIGTERM)"
        if code == Interrupted.exit_code:
            return self.process.last_words() or "interrupted"
        if code < 0:
            return f"killed by signal {-code} ({_signal_name(-code)})"
        return None

    def advice(self, code: int) -> str:
        """What usually lies behind such a death."""
        if self.watch.silenced:
            return "often a reward function or a data loader that hangs; raise execution.silence_seconds if its steps are just long"
        if code == -signal.SIGKILL:
            return "often the kernel, out of memory: run fewer at once (--max-parallel) or lower execution.micro_batch_rollouts"
        return f"see {self.log}"

    @property
    def log(self) -> Path:
        """Log of the newest attempt."""
        numbers = [int(p.name) for p in self.paths.attempts.glob("*") if p.name.isdigit()]
        return self.paths.attempts / str(max(numbers, default=1)) / "log.txt"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
