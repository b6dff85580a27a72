"""Building what the runs of a combination share, before any of them starts: one worker process per combination."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.display.base import Display
from harness.errors import UserError
from harness.records.tail import Follower
from harness.runner.executors.base import Executor, Worker
from harness.runner.jobs import Watch
from harness.spec import RunSpec

POLL_SECONDS = 0.1


class Preparation:
    """Prepares combinations one after the other; ``worker`` is the one at work."""

    def __init__(self, executor: Executor, folder: Path, display: Display, press: Callable[[], None]) -> None:
        self._executor, self._folder, self._display, self._press = executor, folder, display, press
        self.worker: Worker | None = None

    def prepare(self, combination: str, runs: Sequence[RunSpec]) -> tuple[str, int]:
        """(words, exit code) of the preparation of these runs of one combination; code 0 if they can start."""
        try:
            for _ in range(runs[0].execution.attempts):
                words, code, again = self._prepare(combination, runs)
                if not again:
                    break
            return words, code
        except UserError as error:
            return str(error), error.exit_code
        except OSError as error:
            return f"{error.strerror} ({error.filename or self._folder})", UserError.exit_code

    def _prepare(self, combination: str, runs: Sequence[RunSpec]) -> tuple[str, int, bool]:
        """Words, exit code, and whether the machine was lost under it."""
        arms = {spec.strategy.label: spec for spec in reversed(runs)}
        self._folder.mkdir(parents=True, exist_ok=True)
        specs, progress = self._folder / f"{combination}.json", self._folder / f"{combination}.progress"
        specs.write_text(json.dumps([spec.model_dump(mode="json") for spec in arms.values()]), encoding="utf-8")
        progress.unlink(missing_ok=True)
        follower = Follower(progress)
        self._display.preparing(combination, "starting", 0, 0)
        worker = self.worker = self._executor.prepare(runs[0], specs, progress)
        watch = Watch(worker, follower, runs[0].execution.silence_seconds)
        try:
            while (code := worker.poll()) is None:
                for what, done, total in follower.news():
                    self._display.preparing(combination, what, done, total)
                watch.look()
                self._press()
                time.sleep(POLL_SECONDS)
            self._display.prepared(combination)
            log = specs.with_suffix(".log")
            if watch.silenced:
                return f"its process showed no progress for {watch.seconds:g} s and was stopped (log: {log})", 1, False
            if worker.death is not None:
                return worker.death, 1, worker.blameless
            if code < 0:
                return f"its process was killed by signal {-code} (log: {log})", 1, False
            return worker.last_words() or f"its process ended with code {code} (log: {log})", code, False
        finally:
            self.worker = None
            worker.close()
