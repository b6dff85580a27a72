"""What a person sees while a suite runs: bars on a terminal, one line per event anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from harness.runs import DONE, RunStatus
from harness.spec import RunSpec
from harness.tally import Tally


class Display(Protocol):
    """Told by the runner what happens."""

    def begin(self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int) -> None:
        """The command starts; ``statuses`` by run id, as found on disk; so many runs go at a time."""

    def preparing(self, combination: str, what: str, done: int, total: int) -> None:
        """Something that runs share is being built; ``total`` is 0 where it is not known."""

    def prepared(self, combination: str) -> None:
        """What the runs of a combination share is there."""

    def started(self, run: RunSpec, step: int) -> None:
        """A worker was started; so many steps were recorded before."""

    def recorded(self, run: RunSpec, record: Mapping[str, Any]) -> None:
        """A worker wrote a record into its ledger."""

    def ended(self, run: RunSpec, status: RunStatus) -> None:
        """A run is done, failed or stopped."""

    def note(self, words: str) -> None:
        """Anything else worth a line."""

    def close(self) -> None:
        """The command ends."""


def make_display(stream: TextIO | None = None) -> Display:
    """Bars if ``stream`` (default: stderr) is a terminal that can draw them, lines otherwise."""
    stream = stream or sys.stderr
    if stream.isatty():
        from rich.console import Console

        console = Console(file=stream)  # respects NO_COLOR
        if not console.is_dumb_terminal:
            from harness.progress_bars import BarDisplay

            return BarDisplay(console)
    return LineDisplay(stream)


def end_words(status: RunStatus) -> str:
    """How a run ended, for one line."""
    accuracy = "" if status.accuracy is None else f", accuracy {status.accuracy:.3f}"
    if status.state in DONE:
        words = "complete" if status.state == "complete" else "stopped at its budget"
        return f"{words}: {status.step} steps{accuracy}, {status.seconds:.1f} s of training"
    if status.state == "failed":
        return f"failed: {status.failure}"
    return f"{status.state} at step {status.step}"


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

    def recorded(self, run: RunSpec, record: Mapping[str, Any]) -> None:
        """Say where a run goes on, what an evaluation found, and what a backend warns of."""
        if self._tally:
            self._tally.recorded(run.run_id, record)
        if record.get("type") == "evaluation":
            self.note(f"{run.title}: step {record['step']}/{run.algorithm.max_steps}, accuracy {record['accuracy']:.3f}")
        elif record.get("type") == "attempt" and record["resumed_from"]:
            self.note(f"{run.title}: going on from step {record['resumed_from']}")
        elif record.get("type") == "warning":
            self.note(f"{run.title}: warning: {record['message']}")

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
