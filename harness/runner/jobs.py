"""Attempts at runs as the runner sees them: followed through the files they write, stopped, judged."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from harness.errors import Interrupted
from harness.records.activity import ActivityReader
from harness.records.ledger import NO_RECORD, parse_line
from harness.records.ledger_records import Attempt, Failure, Record
from harness.records.run_folder import RunPaths
from harness.records.tail import Tail
from harness.runner.executors.base import Worker
from harness.spec import RunSpec
from harness.types import EvalPoint, StepRecord
from harness.worker.protocol import INTERRUPTED


class Watchdog:
    """Kills a worker whose file has not changed for too long."""

    def __init__(self, worker: Worker, tail: Tail, silence_seconds: float) -> None:
        self._worker, self._tail, self.seconds = worker, tail, silence_seconds
        self.fired = False

    def check(self) -> None:
        """Kill the worker if it has been silent; the time it waits for resources does not count."""
        if not self._worker.placed:
            self._tail.restart_silence()
        elif self._tail.silent_seconds() > self.seconds:
            self.fired = True
            self._worker.kill()


class Job:
    """One attempt at a run. ``step``: the last training step that it or an earlier attempt recorded."""

    def __init__(self, spec: RunSpec, paths: RunPaths, tail: Tail, worker: Worker, step: int) -> None:
        self.spec, self.paths, self.worker, self.step = spec, paths, worker, step
        self._tail = tail
        self._activity = ActivityReader(paths.activity)
        self.watchdog = Watchdog(worker, tail, spec.execution.silence_seconds)
        self.recorded_failure = False

    def new_records(self) -> list[Record]:
        """Ledger records since the last call."""
        records: list[Record] = []
        for line in self._tail.new_lines():
            with contextlib.suppress(*NO_RECORD):  # whoever reads the whole ledger names the line
                records.append(parse_line(line))
        for record in records:
            if isinstance(record, (StepRecord, EvalPoint)):
                self.step = record.step
            elif isinstance(record, Attempt):
                self.step = record.resumed_from
            self.recorded_failure = isinstance(record, Failure)
        return records

    def activity(self) -> tuple[str, int, int] | None:
        """(what, done, total) if the worker has said since the last call what it is at."""
        return self._activity.news()

    def request_stop(self) -> None:
        """Ask the worker to end at its next checkpoint."""
        with contextlib.suppress(OSError):  # on a full disk the worker ends by itself
            self.paths.stop.touch()

    def withdraw_stop_request(self) -> None:
        """Remove a request to end that the worker may not have needed."""
        with contextlib.suppress(OSError):
            self.paths.stop.unlink(missing_ok=True)

    def interruption(self, code: int) -> str | None:
        """How the worker was ended from outside, as a clause; None if it ended by itself with that exit code."""
        if self.watchdog.fired:
            return f"stopped after recording nothing for {self.spec.execution.silence_seconds:g} s"
        if self.worker.ended_by is not None:
            return self.worker.ended_by
        if code == INTERRUPTED:
            return "asked to stop (SIGTERM)"
        if code == Interrupted.exit_code:
            return self.worker.error_message() or "interrupted"
        if code < 0:
            return f"killed by signal {-code} ({_signal_name(-code)})"
        return None

    def advice(self, code: int) -> str:
        """The usual cause of such an end, and what to do about it."""
        if self.watchdog.fired:
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
