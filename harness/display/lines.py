"""What a person sees while a suite runs: bars on a terminal, one line per event anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from harness.display.base import activity_words, end_words
from harness.display.durations import duration
from harness.display.tally import Tally
from harness.records.ledger_records import Attempt, Record, Warned, step_of
from harness.records.run_folder import DONE, RunStatus
from harness.spec import RunSpec
from harness.types import EvalPoint

#: Things under way that one line names.
SHOWN = 4


class LineDisplay:
    """One line per event, with the seconds since the start; reads well in a log. What is under way breaks a silence of ten seconds."""

    def __init__(self, stream: TextIO, every_seconds: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every, self._now = stream, every_seconds, now
        self._start = self._written = now()
        self._spoken: dict[str, tuple[str, float]] = {}
        self._under_way: dict[str, tuple[str, float]] = {}  # title -> (what, since when)
        self._tally: Tally | None = None

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int) -> None:
        """Say how much there is to do."""
        self._tally = Tally(runs, statuses, parallel)
        done = sum(status.state in DONE for status in statuses.values())
        self.note(f"{runs[0].suite}: {len(runs)} runs, {done} already done")

    def preparing(self, combination: str, what: str, done: int, total: int) -> None:
        """Say what is being built: when it changes, and every few seconds."""
        before, when = self._spoken.get(combination, ("", 0.0))
        now = self._now()
        self._set(f"preparing {combination}", activity_words(what, done, total), since=now if what != before else None)
        if what != before or now - when >= self._every:
            self._spoken[combination] = (what, now)
            self.note(f"preparing {combination}: {activity_words(what, done, total)}")

    def prepared(self, combination: str) -> None:
        """Say nothing: the first run is about to start."""
        self._under_way.pop(f"preparing {combination}", None)

    def started(self, run: RunSpec, step: int) -> None:
        """Say so."""
        if self._tally:
            self._tally.started(run.run_id, step)
        self._set(run.title, "starting", since=self._now())
        self.note(f"{run.title}: started")

    def working(self, run: RunSpec, what: str, done: int, total: int) -> None:
        """Keep it, for when nothing else is said."""
        before, _ = self._under_way.get(run.title, ("", 0.0))
        same = before == what or before.startswith(f"{what} ")
        self._set(run.title, activity_words(what, done, total), since=None if same else self._now())

    def tick(self) -> None:
        """After ten seconds without a line, say what is under way."""
        now = self._now()
        if now - self._written < self._every or not self._under_way:
            return
        said = [f"{title}: {what} ({duration(now - since)})" for title, (what, since) in self._under_way.items()]
        more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
        self.note("; ".join(said[:SHOWN]) + more)

    def recorded(self, run: RunSpec, record: Record) -> None:
        """Say where a run goes on, what an evaluation found, and what a backend warns of."""
        if self._tally:
            self._tally.recorded(run.run_id, record)
        step = step_of(record)
        if step is not None:
            self._set(run.title, f"after step {step}/{run.algorithm.max_steps}", since=self._now())
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
        self._under_way.pop(run.title, None)
        self.note(f"{run.title}: {end_words(status)}")
        if self._tally:
            self._tally.ended(run.run_id, status.state)
            self.note(self._tally.words(run.combination.name))

    def note(self, words: str) -> None:
        """Write one line."""
        self._written = self._now()
        self._stream.write(f"[{self._written - self._start:7.1f} s] {words}\n")
        self._stream.flush()

    def _set(self, title: str, what: str, since: float | None) -> None:
        """What is under way; ``since`` None: it began when it was first said."""
        began = self._under_way.get(title, ("", self._now()))[1] if since is None else since
        self._under_way[title] = (what, began)

    def close(self) -> None:
        """Leave the stream open."""
