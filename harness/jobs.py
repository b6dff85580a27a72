"""Attempts at runs as the runner sees them: followed through the files they write, stopped, judged."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any

from harness.errors import Interrupted
from harness.executors import Worker
from harness.runs import RunPaths
from harness.spec import RunSpec
from harness.worker import INTERRUPTED


class Follower:
    """Reads what is appended to a JSON Lines file, whole lines only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = self._end_of_lines()
        self._seen = self._stamp()
        self._changed = time.monotonic()

    def news(self) -> list[Any]:
        """Records since the last call."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._changed = stamp, time.monotonic()
        if stamp[0] <= self._offset:
            return []
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        records = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return records

    def silent_seconds(self) -> float:
        """Seconds since the file last changed, as far as ``news`` has looked; the wall clock may jump meanwhile."""
        return time.monotonic() - self._changed

    def begin_now(self) -> None:
        """Count silence from now on: what writes the file has only just begun."""
        self._changed = time.monotonic()

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_size, status.st_mtime_ns)

    def _end_of_lines(self) -> int:
        """Where the next whole line starts: behind it may be a torn tail that the worker is going to cut."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return 0
        return data.rfind(b"\n") + 1


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
