"""Workers forked from a warm one (:mod:`harness.worker.warm`), which has imported what a backend trains with.

Whatever goes wrong with the warm worker costs the time that it would have saved, never a run: one that dies is started again, and a
worker that it has not forked by then is started as a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.backend import Preloads
from harness.errors import UserError
from harness.registry import TASK_IMPORTS, load_backend
from harness.runner.executors.process import WorkerProcess, last_words, worker_environment
from harness.spec import RunSpec
from harness.worker.protocol import PACKET_BYTES

#: Set to 0, every worker is started as a process of its own.
SWITCH = "HALFWAY_WARM"


@dataclass(slots=True)
class Fork:
    """What is known of a fork: its process id once it is there, its exit code once it has ended."""

    pid: int | None = None
    code: int | None = None


class WarmProcess:
    """A warm worker and its forks. ready: whether it has imported everything; before that it has no forks."""

    def __init__(self, python: str, backend: str, threads: int, tasks: Sequence[str]) -> None:
        self.ready = False
        self._forks: list[Fork] = []
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [python, "-P", "-m", "harness.worker", "--warm", backend, str(threads), *tasks],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=worker_environment(python, {}),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it can be asked for forks."""
        return self._process.poll() is None

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int) -> Fork:
        """Ask for a worker with these arguments, variables and open files. Raises OSError if it cannot be asked."""
        request = {"number": len(self._forks), "arguments": list(arguments), "environment": dict(environment)}
        socket.send_fds(self._channel, [json.dumps(request).encode()], [stdout, stderr])
        self._forks.append(Fork())
        return self._forks[-1]

    def look(self) -> None:
        """Take in what it has said since the last time."""
        with contextlib.suppress(OSError):
            while packet := self._channel.recv(PACKET_BYTES):
                said = json.loads(packet)
                if "number" not in said:
                    self.ready = True
                    continue
                fork = self._forks[said["number"]]
                fork.pid, fork.code = said.get("pid", fork.pid), said.get("code")

    def kill(self) -> None:
        """End it and its forks at once."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it; only after its forks have ended."""
        self.kill()
        self._channel.close()


class WarmWorkers:
    """The warm workers of a command: one per interpreter, backend, number of threads and set of variables. Close it at the end."""

    def __init__(self) -> None:
        self._processes: dict[tuple[object, ...], WarmProcess] = {}

    def of(self, spec: RunSpec, python: str, tasks: Sequence[str]) -> WarmProcess | None:
        """The warm worker for a run, started if need be; None where runs have to start by themselves.

        That is so for runs of several processes, for backends that cannot preload, and after an import that failed.
        tasks: names of the tasks of all runs.
        """
        backend, threads = spec.combination.backend, spec.execution.threads
        if os.environ.get(SWITCH) == "0" or spec.execution.processes > 1 or not _can_fork(backend):
            return None
        key = (python, backend, threads, frozenset(os.environ.items()))
        known = self._processes.get(key)
        if known is not None:
            known.look()
            if known.alive:
                return known
            known.close()
            if not known.ready:
                return None
        try:
            self._processes[key] = WarmProcess(python, backend, threads, [task for task in tasks if task in TASK_IMPORTS])
        except OSError:
            return None  # so that the worker itself says what is wrong
        return self._processes[key]

    def close(self) -> None:
        """End all of them."""
        for process in self._processes.values():
            process.close()


def _can_fork(backend: str) -> bool:
    if sys.platform != "linux":
        return False
    try:
        return isinstance(load_backend(backend), Preloads)
    except UserError:
        return False


class ForkedWorker:
    """See :class:`harness.runner.executors.base.Worker`: a fork of a warm worker, in a session of its own."""

    placed = True
    ended_by: str | None = None
    machine_lost = False

    def __init__(
        self,
        warm: WarmProcess,
        python: str,
        arguments: list[str],
        environment: Mapping[str, str],
        stdout: Path | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._warm, self._python, self._arguments, self._environment, self._stdout = warm, python, arguments, environment, stdout
        self._on_close = on_close
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._alone: WorkerProcess | None = None  # in place of a fork that never came
        self._asked: int | None = None  # the signal it was sent, or is to be sent once it is there
        self._code: int | None = None
        self._fork = Fork()
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(open(stdout, "wb")) if stdout else self._stderr
            try:
                self._fork = warm.fork(arguments, environment, out.fileno(), self._stderr.fileno())
            except OSError:
                self._start_alone()

    def poll(self) -> int | None:
        """Exit code, minus the signal that killed it, or None while it runs; its children have ended with it."""
        if self._alone is not None:
            return self._alone.poll()
        if self._code is None:
            self._code = self._look()
        return self._code

    def terminate(self) -> None:
        """Ask the worker itself; its children end with it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker and its children at once."""
        self._end(signal.SIGKILL)

    def error_message(self) -> str:
        """The last line that it wrote to stderr."""
        return self._alone.error_message() if self._alone is not None else last_words(self._stderr, self._python)

    def close(self) -> None:
        """Close the captured stderr."""
        self._stderr.close()
        if self._alone is not None:
            self._alone.close()
        self._on_close()

    def _look(self) -> int | None:
        known, alive = self._fork.pid, self._warm.alive  # before what it said, so that its last words are not missed
        self._warm.look()
        if self._fork.code is not None:
            return self._fork.code
        if alive:
            if self._asked is not None and known is None and self._fork.pid is not None:
                self._send(self._fork.pid, self._asked)
            return None
        if self._asked is not None and self._fork.pid is None:
            return -self._asked
        if self._fork.pid is None:
            self._start_alone()
            return None
        self._send(self._fork.pid, signal.SIGKILL)  # it dies with the warm worker; its children may not
        return -signal.SIGKILL

    def _end(self, number: int) -> None:
        if self.poll() is not None:
            return
        if self._alone is not None:
            (self._alone.kill if number == signal.SIGKILL else self._alone.terminate)()
            return
        self._asked = number
        if self._fork.pid is not None:
            self._send(self._fork.pid, number)
        elif not self._warm.ready:  # nothing has begun that could end well
            self._warm.kill()

    def _send(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            (os.killpg if number == signal.SIGKILL else os.kill)(pid, number)

    def _start_alone(self) -> None:
        self._alone = WorkerProcess(self._python, self._arguments, self._environment, self._stdout)
