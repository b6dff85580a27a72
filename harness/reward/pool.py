"""Worker processes that score answers, one at a time each; the stuck and the dead are replaced."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from harness.reward.scoring_process import OVERDUE, receive, send
from harness.reward.spec import RewardError, RewardSpec

#: Longest time a worker may take to import what it needs.
START_SECONDS = 120.0
#: A worker measures its own processor seconds; from outside it is killed after this many times the limit on the wall clock.
PATIENCE = 10.0
#: The worker sees the modules that this process sees, the user's own among them.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[4]); from harness.reward import scoring_process; "
    "scoring_process.main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))"
)

Item = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How scoring one answer ended; ``score`` counts for ``scored`` only, ``message`` is what was raised or, if ``refused``, returned."""

    kind: Literal["scored", "raised", "refused", "timeout", "crashed"]
    score: float = 0.0
    message: str = ""


class _Worker:
    """One process: starting (not ``ready``), idle, or busy with the answer at position ``task`` until ``deadline``."""

    def __init__(self, spec: RewardSpec) -> None:
        self._spec = spec
        self.task: int | None = None
        self.ready = False
        self.deadline = time.monotonic() + START_SECONDS
        arguments = [spec.name, str(spec.seconds), str(os.getpid()), json.dumps(sys.path)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if spec.is_user_function else subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait_ready(self) -> None:
        """Block until the scorer is imported; RewardError if that fails."""
        if self.ready:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                self.start_is_late()
        self.read_ready()

    def read_ready(self) -> None:
        """Take the first message, which says that the scorer is imported; RewardError if it is not."""
        try:
            reply = receive(self.process.stdout)  # type: ignore[arg-type]
        except EOFError:
            raise RewardError(f"reward {self._spec.name!r}: the process that imports it died") from None
        if "error" in reply:
            raise RewardError(reply["error"])
        self.ready = True

    def start_is_late(self) -> NoReturn:
        raise RewardError(f"reward {self._spec.name!r}: importing it took more than {START_SECONDS:.0f} seconds")

    def give(self, position: int, item: Item) -> None:
        patience = 1.0 if self._spec.is_user_function else PATIENCE
        self.task, self.deadline = position, time.monotonic() + patience * self._spec.seconds
        send(self.process.stdin, item)  # type: ignore[arg-type]

    def take(self) -> Outcome:
        self.task = None
        try:
            reply = receive(self.process.stdout)  # type: ignore[arg-type]
        except (EOFError, ValueError):
            self.process.kill()  # it is gone, or garbles its replies
            return Outcome("timeout" if self.process.wait() == -OVERDUE else "crashed")
        if "score" in reply:
            return Outcome("scored", float(reply["score"]))
        for kind in ("raised", "refused"):
            if kind in reply:
                return Outcome(kind, message=reply[kind])
        return Outcome("timeout")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class WorkerPool:
    """Up to ``size`` workers, started when first needed."""

    def __init__(self, spec: RewardSpec, size: int) -> None:
        self._spec, self._size = spec, size
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _kill_all, self._workers)

    def start(self) -> None:
        """Have all workers running and ready; RewardError if the scorer cannot be imported."""
        self._launch(self._size)
        try:
            for worker in self._workers:
                worker.wait_ready()
        except RewardError:
            self.close()
            raise

    def close(self) -> None:
        """End all workers."""
        _kill_all(self._workers)

    def run(self, items: Sequence[Item], watch: Callable[[int, Outcome], None]) -> list[Outcome]:
        """Score all items; ``watch(position, outcome)`` sees every outcome as it comes and may raise to end the call."""
        outcomes: list[Outcome | None] = [None] * len(items)
        waiting = deque(range(len(items)))
        try:
            self._launch(len(items))
            while waiting or any(w.task is not None for w in self._workers):
                self._hand_out(items, waiting)
                for position, outcome in self._collect():
                    outcomes[position] = outcome
                    watch(position, outcome)
        except BaseException:
            self.close()  # a reply that nobody waits for must not become the next call's answer
            raise
        return [o for o in outcomes if o is not None]

    def _launch(self, count: int) -> None:
        while len(self._workers) < min(self._size, count):
            self._workers.append(_Worker(self._spec))

    def _hand_out(self, items: Sequence[Item], waiting: deque[int]) -> None:
        for worker in list(self._workers):
            if not waiting:
                return
            if worker.ready and worker.task is None:
                try:
                    worker.give(waiting[0], items[waiting[0]])
                except OSError:  # it died between two answers
                    worker.task = None
                    self._replace(worker)
                else:
                    waiting.popleft()

    def _collect(self) -> list[tuple[int, Outcome]]:
        """Wait for the next replies, or for the next deadline."""
        active = [w for w in self._workers if w.task is not None or not w.ready]
        if not active:
            return []
        with selectors.DefaultSelector() as selector:
            for worker in active:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
            events = selector.select(max(0.0, min(w.deadline for w in active) - time.monotonic()))
        done: list[tuple[int, Outcome]] = []
        for worker in [key.data for key, _ in events]:
            if not worker.ready:
                worker.read_ready()
                continue
            position, outcome = worker.task, worker.take()
            done.append((position, outcome))
            if worker.process.returncode is not None:
                self._replace(worker)
        now = time.monotonic()
        for worker in [w for w in active if now >= w.deadline]:
            if not worker.ready:
                worker.start_is_late()
            if worker.task is not None:
                done.append((worker.task, Outcome("timeout")))
                self._replace(worker)
        return done

    def _replace(self, worker: _Worker) -> None:
        """Kill a worker and start another in its place; the new one imports while the others work."""
        worker.kill()
        self._workers[self._workers.index(worker)] = _Worker(self._spec)


def _kill_all(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.kill()
    workers.clear()
