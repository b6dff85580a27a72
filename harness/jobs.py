"""Worker processes as the runner sees them: started, followed through the files they write, stopped, judged."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
from harness.errors import UserError
from harness.runs import RunPaths
from harness.spec import RunSpec
from harness.worker import INTERRUPTED, PARENT_VARIABLE


def interpreter(spec: RunSpec) -> str:
    """The Python that runs this backend: ``HALFWAY_PYTHON_<BACKEND>``, the suite's ``execution.python``, or this one.

    Raises UserError if there is no such program.
    """
    backend = spec.combination.backend
    variable = "HALFWAY_PYTHON_" + re.sub(r"\W", "_", backend).upper()
    chosen = os.environ.get(variable) or spec.execution.python.get(backend) or sys.executable
    if shutil.which(chosen) is None:
        source = variable if os.environ.get(variable) else "execution.python"
        raise UserError(f"the Python for backend {backend!r}, {chosen} (from {source}), is not a program that can be started")
    return chosen


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


class WorkerProcess:
    """A subprocess in a session of its own, so that a Ctrl-C in the terminal reaches the runner alone."""

    def __init__(self, python: str, arguments: list[str], environment: Mapping[str, str], stdout: Path | None = None) -> None:
        self._python = python
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; a pipe could fill up
        out = open(stdout, "wb") if stdout else None  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [python, "-P", "-m", "harness.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out or self._stderr,
                stderr=self._stderr,
                env=_environment(python, environment),
                start_new_session=True,
            )
        finally:
            if out:
                out.close()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code, minus the signal that killed it, or None while it runs; clears away what it leaves behind."""
        code = self._process.poll()
        if code is not None:
            self._signal_group(signal.SIGKILL)  # children that outlived their worker
        return code

    def terminate(self) -> None:
        """Ask the worker itself; its children end with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the worker and its children at once."""
        self._signal_group(signal.SIGKILL)

    def last_words(self) -> str:
        """The last line of what the process said on stderr."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        words = lines[-1].strip() if lines else ""
        if "No module named 'harness" in words:
            return f"{self._python} has no halfway: install it there, in the same version, with the extra of that backend"
        return words

    def close(self) -> None:
        """Let go of the captured stderr."""
        self._stderr.close()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class Job:
    """One attempt at a run."""

    def __init__(self, spec: RunSpec, paths: RunPaths, slot: int, environment: Mapping[str, str], step: int) -> None:
        self.spec, self.paths, self.slot, self.step = spec, paths, slot, step
        self.follower = Follower(paths.ledger)
        self.process = WorkerProcess(interpreter(spec), [str(paths.root)], environment)
        self.silenced = False
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

    def watch(self) -> None:
        """Stop a worker that has recorded nothing for too long."""
        if not self.silenced and self.follower.silent_seconds() > self.spec.execution.silence_seconds:
            self.silenced = True
            self.process.kill()

    def how_it_died(self, code: int) -> str | None:
        """For a worker that was ended rather than ending: how. None if it ended by itself."""
        if self.silenced:
            return f"stopped after recording nothing for {self.spec.execution.silence_seconds:g} s"
        if code == INTERRUPTED:
            return "asked to stop (SIGTERM)"
        if code < 0:
            return f"killed by signal {-code} ({_signal_name(-code)})"
        return None

    def advice(self, code: int) -> str:
        """What usually lies behind such a death."""
        if self.silenced:
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


def _environment(python: str, extra: Mapping[str, str]) -> dict[str, str]:
    environment = {**os.environ, **extra, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    root = Path(harness.__file__).resolve().parents[1]
    if python == sys.executable and root.name not in ("site-packages", "dist-packages"):
        # A source folder that is not installed: the worker must find the same code that started it.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return environment
