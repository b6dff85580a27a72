"""Building what the runs of a combination share, before any of them starts: one worker process per combination."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.display.base import Display
from harness.errors import UserError
from harness.files import write_text
from harness.records.tail import Tail
from harness.runner.executors.base import Executor, Worker
from harness.runner.jobs import Watchdog
from harness.spec import RunSpec
from harness.worker.protocol import read_progress

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Prepared:
    """How a preparation ended. code: exit code, 0 if the runs can start; message: why not; machine_lost: its machine was lost meanwhile."""

    message: str
    code: int
    machine_lost: bool = False


class Preparation:
    """Prepares combinations one after the other; ``worker`` is the one at work. ``on_poll`` is called while it works."""

    def __init__(self, executor: Executor, folder: Path, display: Display, on_poll: Callable[[], None]) -> None:
        self._executor, self._folder, self._display, self._on_poll = executor, folder, display, on_poll
        self.worker: Worker | None = None

    def prepare(self, combination: str, runs: Sequence[RunSpec]) -> Prepared:
        """Prepare these runs of one combination; started again, up to ``execution.attempts`` times, where its machine is lost."""
        ended = Prepared("", 0)
        try:
            for _ in range(runs[0].execution.attempts):
                ended = self._prepare(combination, runs)
                if not ended.machine_lost:
                    break
        except UserError as error:
            return Prepared(str(error), error.exit_code)
        except OSError as error:
            return Prepared(f"{error.strerror} ({error.filename or self._folder})", UserError.exit_code)
        return ended

    def _prepare(self, combination: str, runs: Sequence[RunSpec]) -> Prepared:
        arms = {spec.strategy.label: spec for spec in reversed(runs)}
        specs, progress = self._folder / f"{combination}.json", self._folder / f"{combination}.progress"
        write_text(specs, json.dumps([spec.model_dump(mode="json") for spec in arms.values()]))
        progress.unlink(missing_ok=True)
        tail = Tail(progress)
        self._display.preparing(combination, "starting", 0, 0)
        worker = self.worker = self._executor.prepare(runs[0], specs, progress)
        watchdog = Watchdog(worker, tail, runs[0].execution.silence_seconds)
        try:
            while (code := worker.poll()) is None:
                self._show(combination, tail.new_lines())
                watchdog.check()
                self._on_poll()
                self._display.tick()
                time.sleep(POLL_SECONDS)
            self._display.prepared(combination)
            log = specs.with_suffix(".log")
            if watchdog.fired:
                return Prepared(f"its process showed no progress for {watchdog.seconds:g} s and was stopped (log: {log})", 1)
            if worker.ended_by is not None:
                return Prepared(worker.ended_by, 1, worker.machine_lost)
            if code < 0:
                return Prepared(f"its process was killed by signal {-code} (log: {log})", 1)
            return Prepared(worker.error_message() or f"its process ended with code {code} (log: {log})", code)
        finally:
            self.worker = None
            worker.close()

    def _show(self, combination: str, lines: Sequence[bytes]) -> None:
        for line in lines:
            if progress := read_progress(line):
                self._display.preparing(combination, *progress)
