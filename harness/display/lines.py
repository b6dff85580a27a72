"""What a person sees while a suite runs: bars on a terminal, one line per event anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from harness.display.base import end_words
from harness.display.tally import Tally
from harness.records.ledger_records import Attempt, Record, Warned
from harness.records.run_folder import DONE, RunStatus
from harness.spec import RunSpec
from harness.types import EvalPoint


class LineDisplay:
    """One line per event, with the seconds since the start; reads well in a log."""

    def __init__(self, stream: TextIO, every_seconds: float = 10.0) -> None:
        self._stream, self._every = stream, every_seconds
        self._start = time.monotonic()
        self._spoken: dict[str, tuple[str, float]] = {}
        self._tally: Tally | None = None

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int) -> None:
        """Say how much there is to do."""
        self._tally = Tally(runs, statuses, parallel)
        done = sum(status.state in DONE for status in statuses.values())
        self.note(f"{runs[0].suite}: {len(runs)} runs, {done} already done")

    def preparing(self, combination: str, what: str, done: int, total: int) -> None:
        """Say what is being built: when it changes, and every few seconds."""
        before, when = self._spoken.get(combination, ("", 0.0))
        now = time.monotonic()
        if what != before or now - when >= self._every:
            self._spoken[combination] = (what, now)
            self.note(f"preparing {combination}: {what}{f' {done}/{total}' if total else ''}")

    def prepared(self, combination: str) -> None:
        """Say nothing: the first run is about to start."""

    def started(self, run: RunSpec, step: int) -> None:
        """Say so."""
        if self._tally:
            self._tally.started(run.run_id, step)
        self.note(f"{run.title}: started")

    def recorded(self, run: RunSpec, record: Record) -> None:
        """Say where a run goes on, what an evaluation found, and what a backend warns of."""
        if self._tally:
            self._tally.recorded(run.run_id, record)
        match record:
            case EvalPoint():
                self.note(f"{run.title}: step {record.step}/{run.algorithm.max_steps}, accuracy {record.accuracy:.3f}")
            case Attempt() if record.resumed_from:
                self.note(f"{run.title}: going on from step {record.resumed_from}")
            case Warned():
                self.note(f"{run.title}: warning: {record.message}")
            case _:
                pass

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """Say how, and how far its combination is."""
        self.note(f"{run.title}: {end_words(status)}")
        if self._tally:
            self._tally.ended(run.run_id, status.state)
            self.note(self._tally.words(run.combination.name))

    def note(self, words: str) -> None:
        """Write one line."""
        self._stream.write(f"[{time.monotonic() - self._start:7.1f} s] {words}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream open."""
